"""From history to the demand to size for.

The history holds one point a tick, only where the load was valid; a gap stays a gap. From it come

- the rate: the forecaster's quantile at the horizon (start-up time and one interval: when a replica ordered now
  serves), never less than the reactive floor, what arrives and waits now;
- the lengths: means weighted by requests and by age, because a window of three requests says little and lengths
  drift within minutes. An idle window has no lengths and leaves them as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.scaling.forecast.types import Forecast, Series
from planner.scaling.reading import Missing, Reading, Valid
from planner.scaling.reasons import Code, Reason, because
from planner.scaling.settings import DemandSettings, ServiceSettings
from planner.scaling.types import Demand, Observation

_NEGLIGIBLE_WEIGHT = 1e-3
"""Older points change a mean by less than a thousandth and are not visited."""


@dataclass(frozen=True, slots=True)
class DemandPoint:
    """The load of one window; lengths are None when it brought no request."""

    at_s: float
    rate_per_s: float
    isl_tokens: float | None
    osl_tokens: float | None
    isl_cv2: float | None


@dataclass(frozen=True, slots=True)
class Lengths:
    """What requests look like, whatever their rate."""

    isl_tokens: float
    osl_tokens: float
    isl_cv2: float

    def at(self, rate_per_s: float, arrival_cv2: float = 1.0) -> Demand:
        """So many of them a second, coming as irregularly as `arrival_cv2` says."""
        return Demand(rate_per_s, self.isl_tokens, self.osl_tokens, self.isl_cv2, arrival_cv2)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The rate to size for and where it comes from."""

    rate_per_s: float
    forecast: Forecast | None
    reasons: tuple[Reason, ...]


def remember(
    history: tuple[DemandPoint, ...], observation: Observation, settings: DemandSettings
) -> tuple[DemandPoint, ...]:
    """History with this observation, if its load is valid, and without what is older than `history_s`."""
    oldest_s = observation.at_s - settings.history_s
    first = next((i for i, point in enumerate(history) if point.at_s >= oldest_s), len(history))
    kept = history[first:]
    if not isinstance(observation.rate_per_s, Valid):
        return kept
    point = DemandPoint(
        at_s=observation.at_s,
        rate_per_s=observation.rate_per_s.value,
        isl_tokens=_valid(observation.isl_tokens),
        osl_tokens=_valid(observation.osl_tokens),
        isl_cv2=_valid(observation.isl_cv2),
    )
    return (*kept, point)


def outlook(
    history: tuple[DemandPoint, ...], observation: Observation, service: ServiceSettings, lead_s: float
) -> Outlook | None:
    """The rate a replica ordered now will meet when it is Ready, in `lead_s`, until an order of the next tick would be.

    None when neither history nor observation says anything.
    """
    reasons: list[Reason] = []
    horizon_s = lead_s + service.interval_s
    forecast, rate_per_s = None, 0.0
    if history:
        series = Series(tuple(p.at_s for p in history), tuple(p.rate_per_s for p in history))
        forecast = service.forecaster.forecast(series, observation.at_s, horizon_s)
        rate_per_s = forecast.quantile(service.demand.quantile)
        reasons.append(
            because(
                Code.FORECAST,
                model=forecast.model,
                why=forecast.why,
                point=forecast.point,
                horizon_s=horizon_s,
                quantile=service.demand.quantile,
                rate_per_s=rate_per_s,
            )
        )
    elif isinstance(observation.rate_per_s, Missing):
        return None
    if service.demand.reactive_floor and not isinstance(observation.rate_per_s, Missing):
        now_per_s, waiting = observation.rate_per_s.value, _waiting(observation)
        floor_per_s = now_per_s + waiting / horizon_s
        if floor_per_s > rate_per_s:
            rate_per_s = floor_per_s
            reasons.append(because(Code.REACTIVE_FLOOR, floor_per_s=floor_per_s, rate_per_s=now_per_s, waiting=waiting))
    return Outlook(rate_per_s, forecast, tuple(reasons))


def lengths_of(history: tuple[DemandPoint, ...], service: ServiceSettings) -> Lengths:
    """Means over past windows, each weighted by its rate and halved every `lengths_half_life_s`.

    Ages count from the newest window that brought requests, so that a long silence forgets nothing. What the traffic
    has not shown is the agreement's.
    """
    half_life_s = service.demand.lengths_half_life_s
    newest_s: float | None = None
    isl, osl, cv2 = _Mean(), _Mean(), _Mean()
    for point in reversed(history):
        if point.rate_per_s <= 0:
            continue
        if newest_s is None:
            newest_s = point.at_s
        decay = 0.5 ** ((newest_s - point.at_s) / half_life_s)
        if decay < _NEGLIGIBLE_WEIGHT:
            break
        weight = point.rate_per_s * decay
        isl.add(point.isl_tokens, weight)
        osl.add(point.osl_tokens, weight)
        cv2.add(point.isl_cv2, weight)
    targets = service.targets
    return Lengths(isl.of(targets.isl_tokens), osl.of(targets.osl_tokens), cv2.of(service.sizing.isl_cv2))


class _Mean:
    """A weighted mean of the values there are."""

    __slots__ = ("total", "weights")

    def __init__(self) -> None:
        self.total = self.weights = 0.0

    def add(self, value: float | None, weight: float) -> None:
        if value is not None:
            self.total += weight * value
            self.weights += weight

    def of(self, otherwise: float) -> float:
        return self.total / self.weights if self.weights > 0 else otherwise


def _waiting(observation: Observation) -> float:
    """Requests waiting at the busiest pool: prefill's queue and decode's are one after the other, not added."""
    waiting = [p.waiting.value for p in observation.pools.values() if not isinstance(p.waiting, Missing)]
    return max(waiting, default=0.0)


def _valid(reading: Reading[float]) -> float | None:
    return reading.value if isinstance(reading, Valid) else None
