"""What a visitor can watch: loads for the demo's two services, and what goes wrong meanwhile.

Forty minutes each. Units: seconds, requests per second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

from planner.errors import UserError
from planner.sim.loads import Level, Request, drawn
from planner.sim.metrics import Scraping
from planner.sim.settings import Conditions

MINUTES = 40

Rates = Sequence[tuple[float, float]]
"""(minute, requests per second), joined by straight lines."""

_RAMP: Rates = ((0, 4), (5, 6), (22, 40), (28, 40), (36, 10), (40, 8))
_SPIKE: Rates = ((0, 10), (14, 10), (14.5, 28), (20, 28), (20.5, 10), (40, 10))
_NIGHT: Rates = ((0, 4), (4, 14), (9, 20), (15, 1), (25, 1), (33, 18), (40, 24))
_CODE: Rates = ((0, 8), (18, 34), (26, 38), (34, 12), (40, 10))


def _unchanged(conditions: Conditions) -> Conditions:
    return conditions


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story of forty minutes."""

    sentence: str
    """What happens."""
    chat: Rates
    code: Rates = _CODE
    troubled: Callable[[Conditions], Conditions] = _unchanged
    """How the fleet departs from what the planner is told."""
    gpus: int | None = None
    """What the cluster really has; None: the budget."""

    def requests(self, lengths: Mapping[str, tuple[int, int]], seed: int) -> Mapping[str, list[Request]]:
        """Each service's, by its mean lengths of prompt and answer."""
        rates = {"chat": self.chat, "code": self.code}
        return {name: list(drawn(_levels(rates[name], *lengths[name]), 1.0, f"{seed}:{name}")) for name in lengths}


def _slow_starts(conditions: Conditions) -> Conditions:
    lives = replace(
        conditions.lives, startup_cv=0.3, slow_start_share=0.4, slow_start_factor=3.0, failed_start_share=0.2
    )
    return replace(conditions, lives=lives)


def _metrics_lost(conditions: Conditions) -> Conditions:
    return replace(conditions, scraping=Scraping(15.0, ((14 * 60.0, 21 * 60.0),)))


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "ramp": Scenario("The load rises tenfold in twenty minutes and falls again.", _RAMP),
        "spike": Scenario("Out of nothing, the load nearly trebles for six minutes.", _SPIKE),
        "night": Scenario("The load goes to sleep and comes back in the morning.", _NIGHT),
        "metrics-lost": Scenario(
            "In the middle of a ramp, seven minutes without metrics.", _RAMP, troubled=_metrics_lost
        ),
        "gpus-exhausted": Scenario("The budget says 12 GPUs, the cluster has 5.", _RAMP, gpus=5),
        "slow-starts": Scenario(
            "Two starts in five take three times as long, and one in five fails.", _RAMP, troubled=_slow_starts
        ),
    }
)


def scenario(name: str) -> Scenario:
    """The scenario of this name. Raises UserError that lists them."""
    if name not in SCENARIOS:
        raise UserError(f"--scenario: {name!r} is unknown; use {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def _levels(rates: Rates, isl: int, osl: int) -> Iterator[Level]:
    """Straight lines as steps of half a minute."""
    for step in range(2 * MINUTES):
        minute = step / 2 + 0.25
        yield Level(step * 30.0, (step + 1) * 30.0, _at(rates, minute), isl, osl)


def _at(rates: Rates, minute: float) -> float:
    for (before, low), (after, high) in pairwise(rates):
        if minute <= after:
            return low + (high - low) * (minute - before) / (after - before)
    return rates[-1][1]
