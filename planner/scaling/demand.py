"""From history to the demand to size for.

The history holds one point a tick, only where the load was valid; a gap stays a gap. From it come

- the rate: the forecaster's quantile at the horizon (start-up time and one interval: when a replica ordered now
  serves), never less than the reactive floor, what arrives and waits now;
- the lengths: means weighted by requests and by age, because a window of three requests says little and lengths
  drift within minutes. An idle window has no lengths and leaves them as they were.
"""

from __future__ import annotations

from collections.abc import Callable
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
class Outlook:
    """The demand to size for and where it comes from."""

    demand: Demand
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


def outlook(history: tuple[DemandPoint, ...], observation: Observation, service: ServiceSettings) -> Outlook | None:
    """The demand a replica ordered now will meet; None when neither history nor observation says anything."""
    reasons: list[Reason] = []
    horizon_s = service.startup_s + service.interval_s
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
    return Outlook(demand_at(rate_per_s, history, service), forecast, tuple(reasons))


def demand_at(rate_per_s: float, history: tuple[DemandPoint, ...], service: ServiceSettings) -> Demand:
    """A demand of this rate, with the lengths the traffic has shown or, before it has, the agreement's."""
    half_life_s = service.demand.lengths_half_life_s

    def mean(of: Callable[[DemandPoint], float | None], otherwise: float) -> float:
        return _weighted_mean(history, of, half_life_s, otherwise)

    return Demand(
        rate_per_s=rate_per_s,
        isl_tokens=mean(lambda p: p.isl_tokens, service.targets.isl_tokens),
        osl_tokens=mean(lambda p: p.osl_tokens, service.targets.osl_tokens),
        isl_cv2=mean(lambda p: p.isl_cv2, service.sizing.isl_cv2),
    )


def _weighted_mean(
    history: tuple[DemandPoint, ...],
    of: Callable[[DemandPoint], float | None],
    half_life_s: float,
    otherwise: float,
) -> float:
    """Mean over past windows, each weighted by its rate and halved every `half_life_s`.

    Ages count from the newest window that has a value, so that a long silence forgets nothing.
    """
    newest_s: float | None = None
    total = weights = 0.0
    for point in reversed(history):
        value = of(point)
        if value is None or point.rate_per_s <= 0:
            continue
        if newest_s is None:
            newest_s = point.at_s
        decay = 0.5 ** ((newest_s - point.at_s) / half_life_s)
        if decay < _NEGLIGIBLE_WEIGHT:
            break
        weight = point.rate_per_s * decay
        total += weight * value
        weights += weight
    return total / weights if weights > 0 else otherwise


def _waiting(observation: Observation) -> float:
    """Requests waiting at the busiest pool: prefill's queue and decode's are one after the other, not added."""
    waiting = [p.waiting.value for p in observation.pools.values() if not isinstance(p.waiting, Missing)]
    return max(waiting, default=0.0)


def _valid(reading: Reading[float]) -> float | None:
    return reading.value if isinstance(reading, Valid) else None
