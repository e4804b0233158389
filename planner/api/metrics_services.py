"""Each service and its pools as Prometheus metrics, all with the service and the model of its profile as labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric

from planner.api.facts import Facts
from planner.api.health import health
from planner.api.schemas import HealthState
from planner.scaling.reading import Missing, Reading, Valid
from planner.scaling.types import Observation

PREFIX = "sla_planner_"

_SERVICE = ("service", "model")


def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    """A gauge without samples."""
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    """A sample, where there is one."""
    if value is not None:
        family.add_metric(labels, value)


def of_services(services: list[Facts]) -> list[Metric]:
    """What concerns a service as a whole."""
    state = gauge("service_health", "1 for the state the service is in.", *_SERVICE, "state")
    paused = gauge("service_paused", "1 while plans of the service are made and not applied.", *_SERVICE)
    held = gauge("service_held", "1 while pools of the service are held.", *_SERVICE)
    reason = gauge("service_reason", "1 for each reason that the last decision carries.", *_SERVICE, "reason")
    rate = gauge("request_rate", "Requests arriving per second, mean of the window.", *_SERVICE)
    at = gauge(
        "observation_timestamp_seconds",
        "When the rate seen last was true.",
        *_SERVICE,
    )
    valid = gauge(
        "reading_valid",
        "1 while a reading describes now, else 0; an idle service has neither lengths nor latencies.",
        *_SERVICE,
        "reading",
    )
    demand = gauge("demand_request_rate", "Requests per second sized for.", *_SERVICE)
    point = gauge("forecast_request_rate", "Requests per second forecast for when an order made now serves.", *_SERVICE)
    band = gauge(
        "forecast_band_request_rate",
        "Bounds of the forecast, from its own past errors: low is its 0.1 quantile, high the one sized for.",
        *_SERVICE,
        "bound",
    )
    lead = gauge("lead_seconds", "From an order to Ready, measured once enough starts were seen.", *_SERVICE)
    error = gauge("forecast_error_request_rate", "Mean absolute error of past forecasts.", *_SERVICE)
    ttft = gauge("ttft_seconds", "Mean time to first token of the window.", *_SERVICE)
    itl = gauge("itl_seconds", "Mean inter-token latency of the window.", *_SERVICE)
    ttft_target = gauge("ttft_target_seconds", "Agreed time to first token.", *_SERVICE)
    itl_target = gauge("itl_target_seconds", "Agreed inter-token latency.", *_SERVICE)
    good = gauge("good_ratio", "Share of the window's requests that met both targets.", *_SERVICE)
    objective = gauge("objective_ratio", "Share of requests that must meet both targets.", *_SERVICE)
    factor = gauge("correction_factor", "Observed over expected latency.", *_SERVICE, "latency")
    cv2 = gauge("arrival_cv2", "Learnt squared coefficient of variation of the time between arrivals.", *_SERVICE)
    for facts in services:
        name, targets = _labels(facts), facts.settings.targets
        is_in = health(facts).state
        for each in get_args(HealthState):
            state.add_metric([*name, each], each == is_in)
        paused.add_metric(name, facts.pause is not None)
        held.add_metric(name, facts.hold is not None)
        ttft_target.add_metric(name, targets.ttft_s)
        itl_target.add_metric(name, targets.itl_s)
        objective.add_metric(name, targets.objective)
        add(good, name, None if facts.point is None else facts.point.good_share)
        if facts.line is None:
            continue
        decision = facts.line.decision
        seen, forecast, sizing = decision.observation, decision.forecast, decision.sizing
        for code in dict.fromkeys(each.code for each in decision.reasons):
            reason.add_metric([*name, code], 1)
        for what, reading in _read(seen).items():
            valid.add_metric([*name, what], isinstance(reading, Valid))
        add(rate, name, _number(seen.rate_per_s))
        add(at, name, None if isinstance(seen.rate_per_s, Missing) else seen.rate_per_s.at_s)
        add(ttft, name, _number(seen.ttft_s))
        add(itl, name, _number(seen.itl_s))
        lead.add_metric(name, decision.lead.lead_s)
        add(point, name, None if forecast is None else forecast.point)
        if facts.point is not None:
            add(band, [*name, "low"], facts.point.forecast_low)
            add(band, [*name, "high"], facts.point.forecast_high)
        add(error, name, None if forecast is None else forecast.mean_abs_error)
        add(demand, name, None if sizing is None else sizing.demand.rate_per_s)
        factor.add_metric([*name, "ttft"], decision.correction.factors.ttft)
        factor.add_metric([*name, "itl"], decision.correction.factors.itl)
        cv2.add_metric(name, decision.correction.burstiness.arrival_cv2)
    return [
        state, paused, held, reason, valid, rate, at, demand, point, band, lead, error, ttft, itl, ttft_target,
        itl_target, good, objective, factor, cv2,
    ]  # fmt: skip


def _read(seen: Observation) -> Mapping[str, Reading[float]]:
    """What must be seen before anything is lowered."""
    return {
        "rate": seen.rate_per_s,
        "isl": seen.isl_tokens,
        "osl": seen.osl_tokens,
        "ttft": seen.ttft_s,
        "itl": seen.itl_s,
    }


def of_pools(services: list[Facts]) -> list[Metric]:
    """What concerns one of its pools."""
    replicas = gauge(
        "replicas",
        "Replicas of a pool as they are; wanted is what is ordered, failing are some of those starting.",
        *_SERVICE,
        "pool",
        "state",
    )
    rolling_out = gauge("rolling_out", "1 while the pool's template is being changed, else 0.", *_SERVICE, "pool")
    planned = gauge(
        "planned_replicas", "Replicas of a pool after each step of the decision.", *_SERVICE, "pool", "step"
    )
    for facts in services:
        if facts.line is None:
            continue
        name, decision = _labels(facts), facts.line.decision
        for role, pool in decision.observation.pools.items():
            if not isinstance(pool.replicas, Valid):
                continue
            counts = pool.replicas.value
            replicas.add_metric([*name, role, "wanted"], counts.wanted)
            replicas.add_metric([*name, role, "ready"], counts.ready)
            replicas.add_metric([*name, role, "starting"], counts.starting)
            replicas.add_metric([*name, role, "pending"], counts.pending)
            replicas.add_metric([*name, role, "draining"], counts.draining)
            add(replicas, [*name, role, "failing"], counts.failing)
            rolling_out.add_metric([*name, role], counts.rolling_out)
        for role, chosen in decision.pools.items():
            sized = None if decision.sizing is None else decision.sizing.pools.get(role)
            add(planned, [*name, role, "sized"], None if sized is None else sized.replicas)
            add(planned, [*name, role, "bounded"], chosen.wanted)
            add(planned, [*name, role, "granted"], chosen.granted)
            add(planned, [*name, role, "ordered"], chosen.replicas)
    return [replicas, rolling_out, planned]


def _labels(facts: Facts) -> list[str]:
    return [facts.name, facts.settings.profile.model]


def _number(reading: Reading[float]) -> float | None:
    return reading.value if isinstance(reading, Valid) else None
