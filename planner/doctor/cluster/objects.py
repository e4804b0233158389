"""The targets and their pods, as a running planner would find them: one list for each kind and namespace."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Collection, Iterator, Mapping

from planner.connectors.kubernetes.api.discovery import Resource, collection_of, path_of
from planner.connectors.kubernetes.objects.kinds import WHOLE, part_of, replicas_of, selector_of
from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.pools import pool_state
from planner.connectors.kubernetes.objects.selectors import selects
from planner.connectors.kubernetes.objects.table import kind_of
from planner.connectors.kubernetes.objects.targets import ObjectRef, TargetRef
from planner.doctor.cluster.asks import Asks
from planner.doctor.cluster.evidence import Fleet, Found, PoolEvidence
from planner.doctor.cluster.wording import meant
from planner.scaling.types import Absent

Targets = Mapping[ObjectRef, Found | Absent | None]
"""As `PoolEvidence.found`."""


async def targets(asks: Asks, refs: Collection[ObjectRef]) -> Targets:
    """The objects, or why there is none."""
    places = sorted({(ref.group, ref.kind, ref.namespace) for ref in refs})
    kinds = sorted({(group, kind) for group, kind, _ in places})
    resources = dict(zip(kinds, await gather(*(asks.served(*kind) for kind in kinds)), strict=True))

    async def listed(group: str, kind: str, namespace: str) -> Mapping[str, Object] | None:
        resource = resources[group, kind]
        items = await asks.items(collection_of(resource, namespace)) if isinstance(resource, Resource) else None
        return None if items is None else {str(read(each, path(".metadata.name"))): each for each in items}

    objects = dict(zip(places, await gather(*(listed(*place) for place in places)), strict=True))
    return {
        ref: _one_of(ref, resources[ref.group, ref.kind], objects[ref.group, ref.kind, ref.namespace]) for ref in refs
    }


def there(found: Targets) -> Iterator[tuple[ObjectRef, Found]]:
    """Those that were found."""
    return ((ref, each) for ref, each in found.items() if isinstance(each, Found))


def tells_no_pods(found: Found, component: str) -> bool:
    """Whether only its Scale can tell its pods."""
    return component == WHOLE and isinstance(selector_of(found.kind, found.target, component), Absent)


async def pools(asks: Asks, fleet: Fleet, found: Targets) -> tuple[PoolEvidence, ...]:
    """All pools, with their pods."""
    namespaces = sorted({ref.namespace for ref in found})
    listed = await gather(*(asks.items(f"/api/v1/namespaces/{namespace}/pods") for namespace in namespaces))
    pods = dict(zip(namespaces, listed, strict=True))
    every = [
        PoolEvidence(role, fleet.services[service], pool, found[pool.target.object])
        for service, of_service in fleet.pools.items()
        for role, pool in of_service.items()
    ]
    return tuple(await gather(*(_with_pods(asks, each, pods[each.pool.target.object.namespace]) for each in every)))


def _one_of(
    ref: ObjectRef, resource: Resource | Absent | None, objects: Mapping[str, Object] | None
) -> Found | Absent | None:
    if not isinstance(resource, Resource):
        return resource
    if objects is None:
        return None
    if ref.name in objects:
        return Found(resource, kind_of(resource.api_version, resource.kind, resource.plural), objects[ref.name])
    return Absent(f"there is no {ref}; {meant(ref.name, objects)}")


async def _with_pods(asks: Asks, one: PoolEvidence, pods: tuple[Object, ...] | None) -> PoolEvidence:
    target = one.pool.target
    if not isinstance(one.found, Found) or pods is None:
        return one
    part, selector = part_of(one.found.kind, target.component), await _selector(asks, one.found, target)
    if part is None or selector is None:
        return one
    matches = selects(selector)
    mine = tuple(pod for pod in pods if matches(read(pod, path(".metadata.labels")) or {}))
    wanted = replicas_of(one.found.kind, one.found.target, target.component)
    state = pool_state(mine, one.found.target, wanted, 0.0, group_by=part.group_by)
    return PoolEvidence(one.role, one.service, one.pool, one.found, mine, state)


async def _selector(asks: Asks, found: Found, target: TargetRef) -> str | None:
    told = selector_of(found.kind, found.target, target.component)
    if tells_no_pods(found, target.component) and found.resource.scalable:
        ref = target.object
        scale = await asks.get(path_of(found.resource, ref.namespace, ref.name, "scale"))
        told = selector_of(found.kind, scale, WHOLE) if isinstance(scale, Mapping) else told
    return told if isinstance(told, str) else None
