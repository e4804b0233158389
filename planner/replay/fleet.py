"""The fleet a recording lacks: it follows the planner's orders, each replica ready a start-up time later.

It serves everything at once, so its queue is empty by construction, a replica that is removed is gone, and GPUs are
always found. Pure: an order makes a new pool. Seconds on the recording's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.scaling.types import PoolSamples, Sample


@dataclass(frozen=True, slots=True)
class AssumedPool:
    """One pool's replicas."""

    ready: int
    ready_at_s: tuple[float, ...] = ()
    """When each starting replica will be ready, ascending."""

    def at(self, now_s: float) -> AssumedPool:
        """The pool at `now_s`, when those have started whose time has come."""
        starting = tuple(at_s for at_s in self.ready_at_s if at_s > now_s)
        return AssumedPool(self.ready + len(self.ready_at_s) - len(starting), starting)

    def ordered(self, replicas: int, now_s: float, startup_s: float) -> AssumedPool:
        """The pool after an order; the newest replicas go first, as in a ReplicaSet."""
        more = replicas - self.ready - len(self.ready_at_s)
        if more >= 0:
            return AssumedPool(self.ready, (*self.ready_at_s, *[now_s + startup_s] * more))
        return AssumedPool(min(self.ready, replicas), self.ready_at_s[: max(0, replicas - self.ready)])

    def samples(self, now_s: float) -> PoolSamples:
        """What its metrics would say."""

        def sample(value: int) -> Sample:
            return Sample(float(value), now_s)

        return PoolSamples(
            wanted=sample(self.ready + len(self.ready_at_s)),
            ready=sample(self.ready),
            starting=sample(len(self.ready_at_s)),
            pending=sample(0),
            draining=sample(0),
            rolling_out=sample(0),
            reporting=sample(self.ready),
            waiting=sample(0),
            running=sample(0),
        )
