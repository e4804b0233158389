"""What the charts show, as JSON-able data. Times in seconds from the start, latencies in ms, shares in percent.

What is not known is null, and the charts leave a gap for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Role
from planner.sim.baselines.clairvoyant import needs
from planner.sim.baselines.contenders import World
from planner.sim.compare import Moment, Played
from planner.sim.html.frontier import frontier
from planner.sim.html.names import label
from planner.sim.report import differing
from planner.sim.stage import ServiceResult, TickRow
from planner.slo.targets import MS_PER_S

BAND_LOW = 0.1
"""The forecast band reaches from this quantile to the one that is sized for."""

Needs = Sequence[Mapping[Role, int]]
"""Replicas that each window needs, in order."""


def chart_data(played: Sequence[Played], world: World) -> dict[str, object]:
    """Everything page.js draws."""
    services = world.services
    varied = differing(played)
    needed = {name: needs(world.requests[name], service) for name, service in services.items()}
    return {
        "band_low": BAND_LOW * 100,
        "services": {name: _promises(service) for name, service in services.items()},
        **frontier(played, {name: service.targets for name, service in services.items()}),
        "runs": [_run(one, label(one, varied), services, needed if _same_load(one, world) else {}) for one in played],
    }


def _promises(service: ServiceSettings) -> dict[str, object]:
    targets = service.targets
    return {
        "ttft_ms": targets.ttft_ms,
        "itl_ms": targets.itl_ms,
        "objective": _percent(targets.objective),
        "quantile": _percent(service.demand.quantile),
    }


def _same_load(one: Played, world: World) -> bool:
    """Whether the world's requests, of which the needs are known, are those of this run."""
    return (one.variation.scale, one.variation.seed) == (world.variation.scale, world.variation.seed)


def _run(
    one: Played, name: str, services: Mapping[str, ServiceSettings], needed: Mapping[str, Needs]
) -> dict[str, object]:
    return {
        "name": name,
        "services": {
            each: _service(result, one.moments[each], needed.get(each), services[each].demand.quantile)
            for each, result in one.result.services.items()
        },
    }


def _service(
    result: ServiceResult, moments: Sequence[Moment], needed: Needs | None, quantile: float
) -> dict[str, object]:
    timeline = result.timeline
    return {
        "at_s": [row.at_s for row in timeline],
        "rate": [row.rate_per_s for row in timeline],
        "rate_seen": [moment.rate_per_s for moment in moments],
        "good": [_percent(row.good_share) for row in timeline],
        "ttft_p95_ms": [_ms(row.ttft_p95_s) for row in timeline],
        "ttft_seen_ms": [_ms(moment.ttft_s) for moment in moments],
        "itl_p95_ms": [_ms(row.itl_p95_s) for row in timeline],
        "itl_seen_ms": [_ms(moment.itl_s) for moment in moments],
        "pools": {role: _pool(role, timeline, needed) for role in timeline[0].pools},
        "forecast": _forecast(timeline, moments, quantile),
    }


def _pool(role: Role, timeline: Sequence[TickRow], needed: Needs | None) -> dict[str, object]:
    return {
        "ordered": [row.order.get(role, row.pools[role].wanted) for row in timeline],
        "ready": [row.pools[role].ready for row in timeline],
        "needed": None if needed is None else [window[role] for window in needed[: len(timeline)]],
    }


def _forecast(timeline: Sequence[TickRow], moments: Sequence[Moment], quantile: float) -> dict[str, object]:
    """At the times that are spoken of; all empty where the policy never forecasts."""
    forecasts = [moment.forecast for moment in moments]
    horizon_s = next((each.horizon_s for each in forecasts if each is not None), None)
    if horizon_s is None:
        return {"at_s": [], "point": [], "low": [], "high": []}
    return {
        "at_s": [row.at_s + horizon_s for row in timeline],
        "point": [None if each is None else each.point for each in forecasts],
        "low": [None if each is None else each.quantile(BAND_LOW) for each in forecasts],
        "high": [None if each is None else each.quantile(quantile) for each in forecasts],
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * MS_PER_S


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 9)  # else 0.07 * 100 reads 7.000000000000001
