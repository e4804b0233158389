"""Which objects of a cluster are meant: the pools' targets and the Lease, as configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config.model import Service
    from planner.connectors.kubernetes.connector import Pool
    from planner.scaling.settings import PlannerSettings
    from planner.scaling.types import Role

LEASE = "sla-planner"


def has_targets(services: Mapping[str, Service]) -> bool:
    """Whether any pool has an object of a cluster."""
    return any(getattr(service.kubernetes, role) for service in services.values() for role in service.pools)


def pools_of(services: Mapping[str, Service], settings: PlannerSettings) -> Mapping[str, Mapping[Role, Pool]]:
    """Every service's pools. Raises UserError for one without a target, and for a target that two pools have."""
    pools = {name: _pools(name, service, settings) for name, service in services.items()}
    _refuse_shared(pools)
    return pools


def _pools(name: str, service: Service, settings: PlannerSettings) -> Mapping[Role, Pool]:
    from planner.connectors.kubernetes.connector import Pool
    from planner.connectors.kubernetes.targets import target_of

    pools = {}
    for role, pool in settings.services[name].pools.items():
        text = getattr(service.kubernetes, role)
        if text is None:
            raise UserError(
                f"kubernetes.{role}: service {name} has no target for it; give one, such as Deployment/vllm-{role}"
            )
        configured = service.pools[role].gpus_per_replica is not None
        target = target_of(text, service.kubernetes.namespace)
        pools[role] = Pool(target, pool.gpus_per_replica, configured, service.kubernetes.idlest_first)
    return pools


def _refuse_shared(pools: Mapping[str, Mapping[Role, Pool]]) -> None:
    seen: dict[object, str] = {}
    for name, of_service in pools.items():
        for role, pool in of_service.items():
            if (other := seen.setdefault(pool.target, f"{name}.{role}")) != f"{name}.{role}":
                raise UserError(
                    f"kubernetes.{role}: {pool.target} is that of {other} and of {name}.{role}; give each its own"
                )


def lease_of(text: str | None, namespace: str) -> tuple[str, str]:
    """Namespace and name of the Lease; `text` is what --lease said. Raises UserError."""
    if text is None:
        return namespace, LEASE
    where, slash, name = text.partition("/")
    if not (where and slash and name):
        raise UserError(f"--lease: {text!r} must be NAMESPACE/NAME")
    return where, name
