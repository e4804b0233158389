"""What a replay must assume because the recording does not say, and what that changes of the configuration.

- A pool without replica columns is assumed: see `fleet`. Its queue is empty, unless waiting and running are recorded.
- A pool with them, recorded in part: `starting` is wanted less ready, pending and draining are 0, all Ready replicas
  report. Waiting and running stay missing, and nothing is lowered, unless the user says that there was no queue.
- Recorded latencies belong to the recorded fleet: with an assumed one, or without latencies, the profile is taken as
  it is.
- Rows wider apart than the planner's interval are decided on one by one, and the interval is theirs.

A blank cell is never assumed away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.scaling.types import Absent, PoolSamples, Role, Sample, Sampled, ServiceSamples
from planner.sources.recorded import Recording
from planner.sources.windows import Window


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Made once for a recording and the pools it is replayed for."""

    assumed: frozenset[Role]
    """Pools whose replicas follow the orders."""
    no_queue: bool
    """Requests in a recorded pool are taken as none where the file has no column of them."""
    correct: bool
    """Latencies may correct the profile."""
    interval_s: float
    notes: tuple[str, ...]
    """Each assumption, for people."""

    def amended(self, document: Mapping[str, Any], service: str) -> dict[str, Any]:
        """The configuration document under which the replay decides."""
        chosen = dict(document["services"][service])
        chosen["interval_s"] = self.interval_s
        if not self.correct:
            chosen["correction"] = {**chosen["correction"], "enabled": False}
        return {**document, "services": {**document["services"], service: chosen}}

    def samples(
        self, window: Window, assumed: Mapping[Role, PoolSamples], recorded: Collection[Role]
    ) -> ServiceSamples:
        """A tick's samples; `assumed` is what the assumed pools' metrics would say, `recorded` the other pools."""

        def latency(quantity: str) -> Sampled:
            return window.mean(quantity) if self.correct else Absent("no latency of this fleet is recorded")

        return ServiceSamples(
            window_s=window.length_s,
            rate_per_s=window.rate(),
            isl_tokens=window.mean("isl_tokens"),
            osl_tokens=window.mean("osl_tokens"),
            isl_cv2=window.isl_cv2(),
            ttft_s=latency("ttft_s"),
            queue_s=latency("queue_s"),
            itl_s=latency("itl_s"),
            pools={
                **{role: _with_recorded_requests(window, role, pool) for role, pool in assumed.items()},
                **{role: _recorded_pool(window, role, self.no_queue) for role in recorded},
            },
        )


def assume(recording: Recording, roles: Collection[Role], interval_s: float, *, no_queue: bool) -> Assumptions:
    """What replaying `recording` for pools of these roles, every `interval_s`, takes for granted."""
    has = recording.quantities
    assumed = frozenset(role for role in roles if f"{role}_wanted" not in has)
    notes = []
    for role in roles:
        if role in assumed:
            notes.append(f"{role}: no replicas are recorded; a fleet that follows the orders is assumed")
            continue
        lacks = [name for name in ("starting", "pending", "draining", "reporting") if f"{role}_{name}" not in has]
        if lacks:
            notes.append(f"{role}: {', '.join(lacks)} not recorded; taken from wanted and ready")
        unseen = [name for name in ("waiting", "running") if f"{role}_{name}" not in has]
        if unseen:
            then = "taken as 0" if no_queue else "nothing is lowered (--assume-no-queue takes it as 0)"
            notes.append(f"{role}: {' and '.join(unseen)} not recorded; {then}")
    for quantity, name in (("isl_tokens", "input"), ("osl_tokens", "output")):
        if quantity not in has:
            notes.append(f"the {name} length is not recorded; the agreement's is sized for, and nothing is lowered")
    correct = not assumed and {"ttft_s", "itl_s"} <= has
    if not correct:
        notes.append("latencies of this fleet are not recorded; the profile is taken as it is")
    widest_s = max(interval_s, recording.interval_s)
    if widest_s > interval_s:
        notes.append(f"rows are {widest_s:g} s apart; the interval of {interval_s:g} s is widened to that")
    return Assumptions(assumed, no_queue, correct, widest_s, tuple(notes))


def _with_recorded_requests(window: Window, role: Role, pool: PoolSamples) -> PoolSamples:
    recorded = {
        name: window.gauge(role, name) for name in ("waiting", "running") if f"{role}_{name}" in window.quantities
    }
    return replace(pool, **recorded)


def _recorded_pool(window: Window, role: Role, no_queue: bool) -> PoolSamples:
    wanted, ready = window.gauge(role, "wanted"), window.gauge(role, "ready")
    if isinstance(wanted, Absent) or isinstance(ready, Absent):
        lacking = zero = wanted if isinstance(wanted, Absent) else ready
    else:
        lacking, zero = replace(wanted, value=max(0.0, wanted.value - ready.value)), replace(wanted, value=0.0)

    def gauge(name: str, otherwise: Sampled) -> Sampled:
        return window.gauge(role, name) if f"{role}_{name}" in window.quantities else otherwise

    unseen = Sample(0.0, window.end_s) if no_queue else Absent("the recording has no column of it")
    return PoolSamples(
        wanted=wanted,
        ready=ready,
        starting=gauge("starting", lacking),
        pending=gauge("pending", zero),
        draining=gauge("draining", zero),
        rolling_out=zero,
        reporting=gauge("reporting", ready),
        waiting=gauge("waiting", unseen),
        running=gauge("running", unseen),
    )
