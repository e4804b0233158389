"""Which pods go first when a pool is lowered: the idlest, as far as its controller can be told.

A ReplicaSet removes pods that are not Ready first, then those of the lowest deletion cost, an annotation (Kubernetes
documentation, "ReplicaSet", pod deletion cost). No other controller looks at it. A pod's load is its requests in work
and waiting; one whose load is unknown is taken for the busiest.

Costs that somebody else has set stand: then nothing is marked. A mark that outlived its plan is taken back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.pods import pod_state

COST = "controller.kubernetes.io/pod-deletion-cost"
FIRST = "-1000"
"""The cost of those that are to go; the others have none, which counts as 0."""


def marks(pods: Sequence[Object], fewer: int, loads: Mapping[str, float]) -> Mapping[str, str | None]:
    """The deletion costs to set, by pod, before `fewer` of these pods are removed; None takes one back.

    `loads` are requests by pod. Nothing where the pods' controller does not honour it.
    """
    alive = [pod for pod in pods if pod_state(pod).phase not in ("draining", "over")]
    costs = {_name(pod): _cost(pod) for pod in alive}
    if not alive or not all(map(_of_replica_set, alive)) or not set(costs.values()) <= {None, FIRST}:
        return {}
    ready = [_name(pod) for pod in alive if pod_state(pod).phase == "ready"]
    more = max(0, fewer - (len(alive) - len(ready)))
    idlest = sorted(ready, key=lambda name: (loads.get(name, math.inf), name))[:more]
    wanted = set(idlest) if any(name in loads for name in idlest) else set()
    return {
        name: FIRST if name in wanted else None for name, cost in costs.items() if (cost == FIRST) != (name in wanted)
    }


def marked(cost: str | None) -> Object:
    """The patch of a pod that sets its cost, or takes it back."""
    return {"metadata": {"annotations": {COST: cost}}}


def _name(pod: Object) -> str:
    return str(read(pod, path(".metadata.name")))


def _cost(pod: Object) -> str | None:
    annotations = read(pod, path(".metadata.annotations")) or {}
    return None if COST not in annotations else str(annotations[COST])


def _of_replica_set(pod: Object) -> bool:
    owners = read(pod, path(".metadata.ownerReferences")) or []
    return any(owner.get("controller") and owner.get("kind") == "ReplicaSet" for owner in owners)
