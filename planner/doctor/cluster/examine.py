"""Ask one API server what `judge` needs to know: objects and pods once for each namespace, what these give rise to, and
last the permissions that these targets take here. Everything asked only reads.

So many calls: one or two for each target, and some twenty for each namespace.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from planner.clock import Clock
from planner.connectors.kubernetes.api.discovery import Resource
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.objects.kinds import Kind
from planner.connectors.kubernetes.objects.table import kind_of
from planner.connectors.kubernetes.objects.targets import TargetRef
from planner.doctor.cluster import around, objects
from planner.doctor.cluster.asks import Asks
from planner.doctor.cluster.evidence import ClusterEvidence, Fleet, Found
from planner.doctor.cluster.needs import LEASES, Need, needs_of, to_create
from planner.scaling.types import Absent

if TYPE_CHECKING:
    from planner.connectors.kubernetes.api.client import Api


async def examine(api: Api, fleet: Fleet, clock: Clock) -> ClusterEvidence:
    """What there is of these targets. The client is closed in the end."""
    try:
        return await _examined(Asks(api), fleet, clock)
    except ApiError as error:
        return ClusterEvidence(fleet, failure=str(error))
    finally:
        await api.close()


async def _examined(asks: Asks, fleet: Fleet, clock: Clock) -> ClusterEvidence:
    version = await asks.version()
    at_s = clock.now_s()
    account, server_s = await asks.ourselves()
    targets = [pool.target for of_service in fleet.pools.values() for pool in of_service.values()]
    found = await objects.targets(asks, {target.object for target in targets})
    owners, autoscalers, claims, node_gpus, lease, pools = await gather(
        around.owners(asks, found),
        around.autoscalers(asks, {target.object.namespace for target in targets}),
        around.claims(asks, found),
        around.node_gpus(asks),
        asks.get("/apis/{0}/v1/namespaces/{2}/{1}/{3}".format(*LEASES, *fleet.lease)),
        objects.pools(asks, fleet, found),
    )
    needs = [*_needs(asks, fleet, found, owners, claims)]
    needs += [to_create(fleet.lease)] if isinstance(lease, Absent) else []
    allowed = await gather(*map(asks.allowed, needs))
    denied = tuple(need for need, may in zip(needs, allowed, strict=True) if may is False)
    return ClusterEvidence(
        fleet=fleet,
        version=version,
        account=account,
        skew_s=None if server_s is None else server_s - at_s,
        at_s=at_s,
        asked=len(allowed) - allowed.count(None),
        denied=denied,
        # What is forbidden follows from a lacking permission, unless none is known to lack.
        unanswered=(*asks.failed, *(() if denied else asks.forbidden)),
        owners=owners,
        autoscalers=autoscalers,
        claims=claims,
        lease=lease,
        node_gpus=node_gpus,
        pools=pools,
    )


def _needs(
    asks: Asks, fleet: Fleet, found: objects.Targets, owners: around.Owners, claimed: Collection[str]
) -> Iterator[Need]:
    """Of all permissions those that the planner needs here and now: most clusters have no KEDA, and few targets owners.

    Of a kind that is not served nothing can be said.
    """
    served = {key: each for key, each in asks.known.items() if isinstance(each, Resource)}
    kinds: dict[TargetRef, Kind] = {}
    silent: set[tuple[str, str, str]] = set()
    not_ours: set[tuple[str, str, str]] = set()
    marked: list[TargetRef] = []
    for service, pools in fleet.pools.items():
        for pool in pools.values():
            ref, one = pool.target.object, found[pool.target.object]
            if kind := served.get((ref.group, ref.kind)):
                kinds[pool.target] = kind_of(kind.api_version, kind.kind, kind.plural)
            if isinstance(one, Found) and objects.tells_no_pods(one, pool.target.component):
                silent.add((ref.namespace, ref.group, ref.name))
            if service in fleet.external:
                not_ours.add((ref.namespace, ref.group, ref.name))
            if pool.idlest_first:
                marked.append(pool.target)
    resources = {(each.group, each.plural) for each in served.values()}
    owned = {
        (namespace, kind.group, kind.plural)
        for namespace, owner in owners
        if (kind := served.get((owner.group, owner.kind)))
    }
    for need in needs_of(kinds, fleet.lease, marked):
        of_object = need.namespace, need.group, need.name
        if {
            "rivals": (need.group, need.resource) in resources,
            "owners": (need.namespace, need.group, need.resource) in owned,
            "claims": need.namespace in claimed,
            "selector": of_object in silent,
            "plan": of_object not in not_ours,
        }.get(need.why, True):
            yield need
