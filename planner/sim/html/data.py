"""What the charts show, as JSON-able data. Times in seconds from the start, latencies in ms, shares in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Role
from planner.sim.compare import Played
from planner.slo.targets import MS_PER_S

BAND_LOW = 0.1
"""The forecast band reaches from this quantile to the one that is sized for."""


def label(one: Played, played: Sequence[Played]) -> str:
    """A run's name, with its start-up time where several were played."""
    several = len({each.startup_s for each in played}) > 1
    return f"{one.name}, start-up {one.startup_s:g} s" if several else one.name


def chart_data(
    played: Sequence[Played], needed: Sequence[Mapping[Role, int]], service: ServiceSettings
) -> dict[str, object]:
    """Everything page.js draws; `needed` are the replicas that each window needs."""
    return {
        "targets": {"ttft_ms": service.targets.ttft_ms, "itl_ms": service.targets.itl_ms},
        "objective": service.targets.objective * 100,
        "quantile": service.demand.quantile * 100,
        "band_low": BAND_LOW * 100,
        "frontier": [_point(one, played) for one in played if one.result.outcome.good_share is not None],
        "runs": [_run(one, label(one, played), needed, service.demand.quantile) for one in played],
    }


def _point(one: Played, played: Sequence[Played]) -> dict[str, object]:
    share = one.result.outcome.good_share
    assert share is not None
    return {
        "name": label(one, played),
        "family": one.name.partition(":")[0],
        "startup_s": one.startup_s,
        "gpu_hours": one.result.gpu_hours,
        "good": share * 100,
    }


def _run(one: Played, name: str, needed: Sequence[Mapping[Role, int]], quantile: float) -> dict[str, object]:
    timeline = one.result.timeline
    windows = needed[: len(timeline)]
    forecasts = [moment.forecast for moment in one.moments if moment.forecast is not None]
    return {
        "name": name,
        "at_s": [row.at_s for row in timeline],
        "rate": [row.rate_per_s for row in timeline],
        "ttft_ms": [_ms(moment.ttft_s) for moment in one.moments],
        "itl_ms": [_ms(moment.itl_s) for moment in one.moments],
        "pools": {
            role: {
                "wanted": [row.order.get(role, row.pools[role].wanted) for row in timeline],
                "ready": [row.pools[role].ready for row in timeline],
                "needed": [window[role] for window in windows],
            }
            for role in timeline[0].pools
        },
        "forecast": {
            "at_s": [forecast.at_s + forecast.horizon_s for forecast in forecasts],
            "point": [forecast.point for forecast in forecasts],
            "low": [forecast.quantile(BAND_LOW) for forecast in forecasts],
            "high": [forecast.quantile(quantile) for forecast in forecasts],
        },
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * MS_PER_S
