"""Values for tests: valid by default, each field overridable, so that a test shows only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from planner.profiler.library import load_profile
from planner.scaling.forecast import build
from planner.scaling.profile import Profile
from planner.scaling.reading import Valid
from planner.scaling.settings import (
    CorrectionSettings,
    DemandSettings,
    GuardSettings,
    ObserveSettings,
    PlannerSettings,
    PoolSettings,
    ServiceSettings,
    SizingSettings,
)
from planner.scaling.types import (
    Demand,
    Observation,
    PoolObservation,
    PoolSamples,
    Replicas,
    Role,
    Sample,
    ServiceSamples,
)
from planner.slo.targets import Targets

INTERVAL_S = 30.0
STARTUP_S = 120.0

TARGETS = Targets(isl_tokens=3000, osl_tokens=150, ttft_ms=200, itl_ms=20)
DEMAND = Demand(rate_per_s=100, isl_tokens=3000, osl_tokens=150, isl_cv2=0)
SIZING = SizingSettings(method="queueing", routing="least_loaded", arrival_cv2=1.0, isl_cv2=1.0)
GUARDS = GuardSettings(
    tolerance=0.0,
    stabilisation_up_s=0,
    stabilisation_down_s=120,
    max_up_factor=1.0,
    max_up_replicas=4,
    max_down_factor=0.5,
    max_pending_s=300,
    delayed_start_s=0,
)
CORRECTION = CorrectionSettings(
    enabled=True, smoothing=0.5, lowest=0.5, highest=3.0, min_requests=20, max_utilisation=0.8
)


@cache
def h200() -> Profile:
    """The measured H200 8B profile that ships with the project."""
    return load_profile("h200-llama-3.1-8b-fp8-tp1")


def pool_settings(role: Role, **overrides: Any) -> PoolSettings:
    """One GPU a replica, at least one, bounded by the budget alone."""
    return replace(PoolSettings(role=role, gpus_per_replica=1), **overrides)


def service_settings(
    name: str = "chat", roles: tuple[Role, ...] = (Role.PREFILL, Role.DECODE), **overrides: Any
) -> ServiceSettings:
    """A service on the H200 profile with a constant forecaster."""
    service = ServiceSettings(
        name=name,
        targets=TARGETS,
        profile=h200(),
        pools={role: pool_settings(role) for role in roles},
        interval_s=INTERVAL_S,
        startup_s=STARTUP_S,
        forecaster=build("constant", interval_s=INTERVAL_S),
        observe=ObserveSettings(max_age_s=90),
        demand=DemandSettings(quantile=0.9, history_s=14400, lengths_half_life_s=300, reactive_floor=True),
        correction=CORRECTION,
        sizing=SIZING,
        guards=GUARDS,
    )
    return replace(service, **overrides)


def planner_settings(*services: ServiceSettings, budget_gpus: int = 64) -> PlannerSettings:
    """These services, or one default service, under a budget that does not bind."""
    chosen = services or (service_settings(),)
    return PlannerSettings({service.name: service for service in chosen}, budget_gpus)


def pool_samples(at_s: float = 0.0, **counts: float) -> PoolSamples:
    """Two ready replicas, quiet; counts by name."""
    values: dict[str, float] = {
        "wanted": 2, "ready": 2, "starting": 0, "pending": 0, "draining": 0, "rolling_out": 0,
        "waiting": 0, "running": 1,
    }  # fmt: skip
    values |= counts
    values.setdefault("reporting", values["ready"])
    return PoolSamples(**{name: Sample(value, at_s) for name, value in values.items()})


def service_samples(
    at_s: float = 0.0, *, rate_per_s: float = 10.0, pools: Mapping[Role, PoolSamples] | None = None, **values: float
) -> ServiceSamples:
    """Ten requests a second of 3,000 in and 150 out, comfortably within the agreement."""
    numbers: dict[str, float] = {
        "isl_tokens": 3000, "osl_tokens": 150, "isl_cv2": 0.5, "ttft_s": 0.065, "queue_s": 0.004, "itl_s": 0.008,
    }  # fmt: skip
    numbers |= values
    chosen = pools if pools is not None else {role: pool_samples(at_s) for role in (Role.PREFILL, Role.DECODE)}
    samples: dict[str, Any] = {name: Sample(value, at_s) for name, value in numbers.items()}
    return ServiceSamples(window_s=INTERVAL_S, rate_per_s=Sample(rate_per_s, at_s), pools=chosen, **samples)


def replicas(wanted: int, **counts: Any) -> Replicas:
    """A settled pool of `wanted` ready replicas; counts by name."""
    return replace(Replicas(wanted=wanted, ready=wanted), **counts)


def observation(
    at_s: float = 0.0, *, rate_per_s: float = 10.0, counts: Mapping[Role, Replicas] | None = None
) -> Observation:
    """The valid observation of `service_samples`."""
    chosen = counts if counts is not None else {Role.PREFILL: replicas(2), Role.DECODE: replicas(2)}
    return Observation(
        at_s=at_s,
        window_s=INTERVAL_S,
        rate_per_s=Valid(rate_per_s, at_s),
        isl_tokens=Valid(3000.0, at_s),
        osl_tokens=Valid(150.0, at_s),
        isl_cv2=Valid(0.5, at_s),
        ttft_s=Valid(0.065, at_s),
        queue_s=Valid(0.004, at_s),
        itl_s=Valid(0.008, at_s),
        pools={
            role: PoolObservation(Valid(pool, at_s), Valid(0.0, at_s), Valid(1.0, at_s))
            for role, pool in chosen.items()
        },
    )
