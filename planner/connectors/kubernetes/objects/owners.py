"""Who else sets a target's replicas: the controllers that own it, and autoscalers that point at it or at an owner.

An object with a controller owner is that controller's to shape: whatever is written to it is set back, unless the
owner is known to leave the count alone. What is unknown is refused, with the topmost owner that would set it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from planner.connectors.kubernetes.objects.paths import Item, Object, path, read
from planner.connectors.kubernetes.objects.refusals import EXTERNAL_CLASS, is_external

DEEPEST = 10
"""Owners above that are not looked at: chains are short, and a ring must end."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object in the target's namespace, whatever its version."""

    group: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Owner:
    """A controller above the target."""

    reference: Reference
    found: Object | None
    """None when it is gone, or cannot be read."""
    child: Object
    """What it owns: the target, or the owner below."""


Lookup = Callable[[Reference], Object | None]
"""The object in the target's namespace; None when there is none."""


def reference_of(target: Object) -> Reference:
    """What others call the object."""
    return _reference(target.get("apiVersion"), target.get("kind"), read(target, path(".metadata.name")))


def owners_of(target: Object, lookup: Lookup) -> tuple[Owner, ...]:
    """The controllers above the target, the nearest first."""
    owners: list[Owner] = []
    child: Object | None = target
    while child is not None and len(owners) < DEEPEST and (controller := _controller(child)) is not None:
        found = lookup(controller)
        owners.append(Owner(controller, found, child))
        child = found
    return tuple(owners)


def owner_refusal(owners: tuple[Owner, ...]) -> str | None:
    """Why the target's owners forbid that it is scaled, with what to scale instead; None when they leave it alone."""
    reasons = [why for owner in owners if (why := _refuses(owner)) is not None]
    return reasons[-1] if reasons else None


def rival(target: Object, owners: tuple[Owner, ...], autoscalers: Iterable[Object]) -> str | None:
    """Which of the namespace's HorizontalPodAutoscalers, ScaledObjects and PodAutoscalers scale the target or an owner.

    An HPA that a ScaledObject made is told by the name of the ScaledObject.
    """
    ours = {reference_of(target): "it"} | {owner.reference: f"its owner {owner.reference}" for owner in owners}
    found = {}
    for each in autoscalers:
        points_at = _target_of(each)
        if points_at in ours:
            found[reference_of(each)] = (each, ours[points_at])
    told = [
        f"{reference} scales {whom}"
        for reference, (each, whom) in found.items()
        if (maker := _controller(each)) is None or maker not in found
    ]
    return f"{' and '.join(told)}; delete it, or leave the target to it" if told else None


def _target_of(autoscaler: Object) -> Reference:
    """KEDA's reference defaults to a Deployment; the others always say what they scale."""
    points_at = read(autoscaler, path(".spec.scaleTargetRef")) or {}
    return _reference(
        points_at.get("apiVersion") or "apps/v1", points_at.get("kind") or "Deployment", points_at.get("name")
    )


def _controller(target: Object) -> Reference | None:
    for owner in read(target, path(".metadata.ownerReferences")) or []:
        if owner.get("controller") is True:
            return _reference(owner.get("apiVersion"), owner.get("kind"), owner.get("name"))
    return None


def _reference(api_version: object, kind: object, name: object) -> Reference:
    return Reference(str(api_version).rpartition("/")[0], str(kind), str(name))


# --- what is known of owners ------------------------------------------------------------------------------------


def _refuses(owner: Owner) -> str | None:
    known = _OWNERS.get((owner.reference.group, owner.reference.kind))
    instead = f"scale {owner.reference} instead" if known is None else known(owner)
    return None if instead is None else f"{owner.reference} owns it and would set its replicas back; {instead}"


def _inference_service(owner: Owner) -> str | None:
    if owner.found is not None and is_external(owner.found):
        return None
    return f"set the annotation {EXTERNAL_CLASS} of {owner.reference} to external"


def _dynamo_graph(owner: Owner) -> str | None:
    if owner.child.get("kind") == "DynamoGraphDeploymentScalingAdapter":
        return None
    return f"scale a DynamoGraphDeploymentScalingAdapter of {owner.reference}, or a component of it, instead"


def _dynamo_component(owner: Owner) -> str | None:
    return "scale the component's DynamoGraphDeploymentScalingAdapter, or the component of its DynamoGraphDeployment"


def _disaggregated_set(owner: Owner) -> str | None:
    roles = read(owner.found, path(".spec.roles")) or []
    external = any(read(role, path(".scaling.mode")) == "External" for role in roles)
    if owner.child.get("kind") == "DisaggregatedSetRoleScaler" and external:
        return None
    return f"give the role of {owner.reference} scaling.mode External, and scale its DisaggregatedSetRoleScaler"


def _role_based_group(owner: Owner) -> str | None:
    role = str(read(owner.child, path(".spec.scaleTargetRef.role")))
    enabled = read(owner.found, (*path(".spec.roles"), Item("name", role), *path(".scalingAdapter.enable"))) is True
    if owner.child.get("kind") == "RoleBasedGroupScalingAdapter" and enabled:
        return None
    return f"set scalingAdapter.enable of the role of {owner.reference}, and scale its RoleBasedGroupScalingAdapter"


def _pod_clique_set(owner: Owner) -> str | None:
    """Grove leaves the counts of groups, and of cliques outside a group, as autoscalers set them."""
    if owner.child.get("kind") in {"PodClique", "PodCliqueScalingGroup"}:
        return None
    return f"scale {owner.reference} instead"


_OWNERS: Mapping[tuple[str, str], Callable[[Owner], str | None]] = {
    ("serving.kserve.io", "InferenceService"): _inference_service,
    ("nvidia.com", "DynamoGraphDeployment"): _dynamo_graph,
    ("nvidia.com", "DynamoComponentDeployment"): _dynamo_component,
    ("disaggregatedset.x-k8s.io", "DisaggregatedSet"): _disaggregated_set,
    ("workloads.x-k8s.io", "RoleBasedGroup"): _role_based_group,
    ("grove.io", "PodCliqueSet"): _pod_clique_set,
}
