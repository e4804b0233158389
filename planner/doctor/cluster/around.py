"""What stands around the targets: owners, autoscalers, claims of devices, nodes."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Iterable, Mapping
from functools import partial

from planner.connectors.kubernetes.api.discovery import Resource, collection_of, path_of
from planner.connectors.kubernetes.changing import AUTOSCALERS
from planner.connectors.kubernetes.objects.gpus import GPU_RESOURCE
from planner.connectors.kubernetes.objects.owners import Reference, owners_of
from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.doctor.cluster.asks import Asks
from planner.doctor.cluster.needs import Need
from planner.doctor.cluster.objects import Targets, there

Owners = Mapping[tuple[str, Reference], Object | None]
"""As `ClusterEvidence.owners`."""


async def owners(asks: Asks, found: Targets) -> Owners:
    """Level by level: who owns the targets, who owns these, and so on."""
    known: dict[tuple[str, Reference], Object | None] = {}
    while missing := sorted(_unknown(found, known), key=str):
        known |= zip(missing, await gather(*(_owner(asks, *each) for each in missing)), strict=True)
    return known


def _unknown(found: Targets, known: Owners) -> set[tuple[str, Reference]]:
    return {
        (ref.namespace, each.reference)
        for ref, target in there(found)
        for each in owners_of(target.target, partial(_looked_up, known, ref.namespace))
        if (ref.namespace, each.reference) not in known
    }


def _looked_up(known: Owners, namespace: str, reference: Reference) -> Object | None:
    return known.get((namespace, reference))


async def _owner(asks: Asks, namespace: str, reference: Reference) -> Object | None:
    resource = await asks.served(reference.group, reference.kind)
    if not isinstance(resource, Resource):
        return None
    found = await asks.get(path_of(resource, namespace, reference.name))
    return found if isinstance(found, Mapping) else None


async def autoscalers(asks: Asks, namespaces: Iterable[str]) -> Mapping[str, tuple[Object, ...] | None]:
    """As `ClusterEvidence.autoscalers`."""
    every = await gather(*(asks.served(*each) for each in AUTOSCALERS))
    resources = [each for each in every if isinstance(each, Resource)]

    async def all_of(namespace: str) -> tuple[Object, ...] | None:
        listed = await gather(*(asks.items(collection_of(each, namespace)) for each in resources))
        if None in every or None in listed:
            return None
        return tuple(each for items in listed for each in items or ())

    names = sorted(namespaces)
    return dict(zip(names, await gather(*map(all_of, names)), strict=True))


async def claims(asks: Asks, found: Targets) -> Mapping[str, Mapping[str, Object] | None]:
    """As `ClusterEvidence.claims`."""
    named = {ref.namespace for ref, each in there(found) if "resourceClaimTemplateName" in str(each.target.get("spec"))}
    templates: dict[str, Mapping[str, Object] | None] = {}
    for namespace in sorted(named):
        resource = await asks.served("resource.k8s.io", "ResourceClaimTemplate")
        items: tuple[Object, ...] | None = None if resource is None else ()
        if isinstance(resource, Resource):
            items = await asks.items(collection_of(resource, namespace))
        names = None if items is None else {str(read(each, path(".metadata.name"))): each for each in items}
        templates[namespace] = names
    return templates


async def node_gpus(asks: Asks) -> int | None:
    """Allocatable GPUs of all nodes; None where they may not be listed, which the planner needs not."""
    if not await asks.allowed(Need("nodes", "", "", "nodes", "list")):
        return None
    nodes = await asks.items("/api/v1/nodes")
    if nodes is None:
        return None
    allocatable = (read(node, path(".status.allocatable")) or {} for node in nodes)
    counts = (count for of_node in allocatable for name, count in of_node.items() if GPU_RESOURCE.fullmatch(name))
    return sum(int(count) for count in counts if str(count).isdecimal())
