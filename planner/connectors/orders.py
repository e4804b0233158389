"""One service's orders to a launcher: the one in force, what became of it, and what the launcher last said is ready.

Values in, values out; each change is a new `ServiceOrders`. Times are seconds since the epoch, counts are replicas.

- An order says what every pool of its service should have, not what to change, and its id is never used again.
- An order is open until a launcher completes or refuses it. Completed it stays completed, whoever refuses it later;
  refused it may still be completed, by a launcher that found room after all.
- Refused, the target falls back to what stands. The same replicas are ordered again only after a back-off.
- No launcher can have more replicas than it was ever told to start: what it says is ready is held against `most`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

from planner.errors import UserError
from planner.scaling.types import Role

Counts = Mapping[Role, int]

FIRST_BACK_OFF_S = 30.0
LONGEST_BACK_OFF_S = 600.0
REMEMBERED_ORDERS = 100
LONGEST_REASON = 200


class LauncherError(UserError):
    """What a launcher sent cannot be true, or names what is not there. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a service should have, as handed to launchers."""

    id: str
    replicas: Counts
    """Every pool of the service."""
    given_at_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A launcher would not, or could not."""

    replicas: Counts
    reason: str
    times: int
    """How often in a row these replicas were refused."""
    until_s: float
    """They are not ordered again before."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a launcher said is ready."""

    ready: Counts
    at_s: float


@dataclass(frozen=True, slots=True)
class ServiceOrders:
    """All that is known of one service."""

    settled: Counts
    """What stands: completed last, or fallen back to; what the service began with before any order."""
    most: Counts
    """More cannot exist: the largest order since one was completed, or what was ready then."""
    order: Order | None = None
    answer: Literal["open", "completed", "refused"] = "completed"
    """What the launchers made of the order."""
    refusal: Refusal | None = None
    """The latest; kept over later orders, until these very replicas are completed."""
    report: Report | None = None
    """None until a launcher says for the first time what is ready; it is then expected to go on."""
    past: tuple[str, ...] = ()
    """Ids of the latest orders that others took the place of, oldest first."""

    def __post_init__(self) -> None:
        said = (self.order, self.refusal)
        counts = [self.settled, self.most, self.ready, *(each.replicas for each in said if each is not None)]
        if any(each.keys() != self.settled.keys() or min(each.values(), default=0) < 0 for each in counts):
            raise ValueError("all counts must be 0 or more, and of the same pools")

    @classmethod
    def beginning(cls, pools: Counts) -> Self:
        """A service nobody was told anything about."""
        return cls(settled=dict(pools), most=dict(pools))

    @property
    def target(self) -> Counts:
        """What the service should have."""
        return self.order.replicas if self.order is not None and self.answer == "open" else self.settled

    @property
    def ready(self) -> Counts:
        """As said last; until anything was said, what stands."""
        return self.settled if self.report is None else self.report.ready

    def gave(self, order_id: str) -> bool:
        """Whether an order of that id was given, as far back as is remembered."""
        return order_id in self.past or (self.order is not None and self.order.id == order_id)

    def ordered(self, order: Order) -> Self:
        """`order` takes the place of the one in force."""
        past = self.past if self.order is None else (*self.past, self.order.id)[-REMEMBERED_ORDERS:]
        return replace(self, order=order, answer="open", most=_larger(self.most, order.replicas), past=past)

    def completed(self, order: Order) -> Self:
        """The order in force was brought about."""
        again = self.refusal is not None and self.refusal.replicas == order.replicas
        ready = order.replicas if self.report is None else self.report.ready
        return replace(
            self,
            answer="completed",
            settled=order.replicas,
            most=_larger(ready, order.replicas),
            refusal=None if again else self.refusal,
        )

    def refused(self, order: Order, reason: str | None, known_ready: Counts, now_s: float) -> Self:
        """The order in force will not be brought about; `known_ready` is what stands instead.

        A replica that is down at the moment is not given up by it: the target falls back between what stood and what
        was ordered, and pools that the order left as they were stay so.
        """
        settled = {
            role: before if before == asked else max(known_ready[role], min(before, asked))
            for role, before, asked in ((role, self.settled[role], order.replicas[role]) for role in self.settled)
        }
        again = self.refusal is not None and self.refusal.replicas == order.replicas
        times = self.refusal.times + 1 if self.refusal is not None and again else 1
        back_off_s = min(FIRST_BACK_OFF_S * 2.0 ** min(times - 1, 16), LONGEST_BACK_OFF_S)
        why = " ".join((reason or "no reason was given").split())[:LONGEST_REASON]
        refusal = Refusal(order.replicas, why, times, now_s + back_off_s)
        return replace(self, answer="refused", settled=settled, refusal=refusal)

    def reported(self, ready: Counts, now_s: float) -> Self:
        """A launcher says what is ready.

        Raises LauncherError when a pool is missing or unknown, or a count is not whole, negative or above `most`.
        """
        for role in ready:
            if role not in self.most:
                raise LauncherError(f"ready: there is no {role} pool; report {' and '.join(self.most)}")
        for role, most in self.most.items():
            if role not in ready:
                raise LauncherError(f"ready: {role} is missing; report every pool of the service, 0 where none is")
            count = ready[role]
            if type(count) is not int or count < 0:
                raise LauncherError(f"ready.{role}: {count!r} must be a whole number, 0 or more")
            if count > most:
                raise LauncherError(
                    f"ready.{role}: {count} is more than the {most} that can exist; "
                    "report this service's replicas alone, and count none twice"
                )
        return replace(self, report=Report(dict(ready), now_s))


def _larger(one: Counts, other: Counts) -> Counts:
    return {role: max(count, one.get(role, 0)) for role, count in other.items()}
