"""From the configuration to the core's settings: other names, other units, the same values."""

from __future__ import annotations

from collections.abc import Mapping

from planner.config.load import LoadedConfig, config_from_document
from planner.config.model import Service
from planner.config.rules import gpus_per_replica
from planner.scaling.forecast import build
from planner.scaling.profile import Profile
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
from planner.scaling.types import Role
from planner.slo.targets import Targets


def build_settings(loaded: LoadedConfig) -> PlannerSettings:
    """What the core decides by."""
    services = loaded.config.services
    return PlannerSettings(
        services={
            name: _service(name, service, loaded.profiles[service.profile]) for name, service in services.items()
        },
        budget_gpus=loaded.config.budget.gpus,
    )


def settings_from_document(document: Mapping[str, object], profiles: Mapping[str, object]) -> PlannerSettings:
    """The settings of a record: what `LoadedConfig.to_document` and `LoadedConfig.profile_documents` wrote.

    Raises ConfigError with a line for each mistake.
    """
    return build_settings(config_from_document(document, profiles))


def _service(name: str, service: Service, profile: Profile) -> ServiceSettings:
    return ServiceSettings(
        name=name,
        targets=Targets(
            isl_tokens=service.sla.isl,
            osl_tokens=service.sla.osl,
            ttft_ms=service.sla.ttft,
            itl_ms=service.sla.itl,
            objective=service.sla.objective,
        ),
        profile=profile,
        pools={role: _pool(role, service, profile) for role in service.pools},
        interval_s=service.interval_s,
        startup_s=service.startup_s,
        forecaster=build(service.forecast.model, interval_s=service.interval_s),
        observe=ObserveSettings(**service.observe.model_dump()),
        demand=DemandSettings(**service.forecast.model_dump(exclude={"model"})),
        correction=CorrectionSettings(**service.correction.model_dump()),
        sizing=SizingSettings(**service.sizing.model_dump()),
        guards=GuardSettings(**service.scaling.model_dump()),
        priority=service.priority,
    )


def _pool(role: Role, service: Service, profile: Profile) -> PoolSettings:
    pool = service.pools[role]
    return PoolSettings(
        role=role,
        gpus_per_replica=gpus_per_replica(service, role, profile),
        min_replicas=pool.min_replicas,
        max_replicas=pool.max_replicas,
    )
