"""Which objects of a cluster are meant: the pools' targets and the Lease, as configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config.model import Service
    from planner.connectors.kubernetes.connector import Pool
    from planner.connectors.kubernetes.objects.writers import Policy
    from planner.scaling.settings import PlannerSettings
    from planner.scaling.types import Role

LEASE = "sla-planner"


def has_targets(services: Mapping[str, Service]) -> bool:
    """Whether any pool has an object of a cluster."""
    return any(getattr(service.kubernetes, role) for service in services.values() for role in service.pools)


def pools_of(services: Mapping[str, Service], settings: PlannerSettings) -> Mapping[str, Mapping[Role, Pool]]:
    """Every service's pools. Raises UserError for one without a target, and for a target that two pools have."""
    pools = {name: _pools(name, service, settings) for name, service in services.items()}
    refuse_shared(services)
    return pools


def policies_of(services: Mapping[str, Service]) -> Mapping[str, Policy]:
    """What to do when somebody else scales, for each service whose replicas are ours to set."""
    from planner.connectors.kubernetes.objects.writers import Policy

    return {
        name: Policy(service.kubernetes.on_change, service.kubernetes.respect_s)
        for name, service in services.items()
        if service.kubernetes.actuator == "planner"
    }


def _pools(name: str, service: Service, settings: PlannerSettings) -> Mapping[Role, Pool]:
    from planner.connectors.kubernetes.connector import Pool
    from planner.connectors.kubernetes.objects.targets import target_of

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


def refuse_shared(services: Mapping[str, Service]) -> None:
    """Raises UserError for a target that two pools have."""
    from planner.connectors.kubernetes.objects.targets import target_of

    seen: dict[object, str] = {}
    for name, service in services.items():
        for role in service.pools:
            text = getattr(service.kubernetes, role)
            if text is None:
                continue
            target, pool = target_of(text, service.kubernetes.namespace), f"{name}.{role}"
            if (other := seen.setdefault(target, pool)) != pool:
                raise UserError(f"kubernetes.{role}: {target} is that of {other} and of {pool}; give each its own")


def lease_of(text: str | None, namespace: str) -> tuple[str, str]:
    """Namespace and name of the Lease; `text` is what --lease said. Raises UserError."""
    if text is None:
        return namespace, LEASE
    where, slash, name = text.partition("/")
    if not (where and slash and name):
        raise UserError(f"--lease: {text!r} must be NAMESPACE/NAME")
    return where, name
