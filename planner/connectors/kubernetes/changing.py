"""What must hold before an object is changed; asked for right then, since it is seldom needed and must be fresh.

Some calls, once a change: the owners above the object, the autoscalers of its namespace, and the claim templates that
its pods name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from planner.connectors.kubernetes.marking import Loads
from planner.connectors.kubernetes.objects.gpus import gpus_per_replica
from planner.connectors.kubernetes.objects.kinds import Kind, TargetError, refusal
from planner.connectors.kubernetes.objects.owners import Reference, owner_refusal, owners_of, rival
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.shapes import shape_of
from planner.connectors.kubernetes.objects.targets import ObjectRef
from planner.connectors.kubernetes.objects.writers import Verdict
from planner.connectors.types import Applied
from planner.scaling.types import Absent, Role

AUTOSCALERS = (
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("keda.sh", "ScaledObject"),
    ("autoscaling.aibrix.ai", "PodAutoscaler"),
)
"""Group and kind of what else sets replicas."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one count of an object is to become."""

    role: Role
    replicas: int
    gpus_per_replica: int
    """What the budget counted."""
    configured: bool
    """Whether somebody said so; it counts where the object does not tell."""
    verdict: Verdict
    """What is to be done about somebody else's change."""
    loads: Loads | None = None
    """Who knows how busy its pods are; None where the idlest need not go first."""


class View(Protocol):
    """What is known of the cluster, as `cluster.Cluster` has it."""

    def find(self, ref: ObjectRef) -> tuple[Kind, Object] | Absent:
        """The object and its kind."""
        ...

    def pods(self, namespace: str, selector: str) -> list[Object] | Absent:
        """Pods by label."""
        ...

    def put(self, ref: ObjectRef, written: Object) -> None:
        """Take in our own write."""
        ...

    def path(self, ref: ObjectRef, sub: str | None = None) -> str:
        """Where the object is."""
        ...

    async def get(self, group: str, kind: str, namespace: str, name: str) -> Object | None:
        """Any object; None when there is none. Raises ApiError."""
        ...

    async def all(self, group: str, kind: str, namespace: str) -> tuple[Object, ...]:
        """Any objects. Raises ApiError."""
        ...


async def obstacle(
    view: View, ref: ObjectRef, kind: Kind, target: Object, changes: Mapping[str, Change]
) -> Applied | None:
    """Why the object is not to be changed now; None when it may be. Raises ApiError and TargetError."""
    held = [change.verdict for change in changes.values() if change.verdict.action in ("hold", "stop")]
    if held:
        return Applied("paused", f"{ref}: {held[0].reason}")
    for component in changes:
        if (why := refusal(kind, target, component)) is not None:
            return Applied("refused", f"{ref} is not scaled: {why}")
    known: dict[Reference, Object | None] = {}
    while (missing := _unknown_owner(target, known)) is not None:
        known[missing] = await view.get(missing.group, missing.kind, ref.namespace, missing.name)
    owners = owners_of(target, known.get)
    if (why := owner_refusal(owners)) is not None:
        return Applied("refused", f"{ref} is not scaled: {why}")
    autoscalers = [each for group, name in AUTOSCALERS for each in await view.all(group, name, ref.namespace)]
    if (why := rival(target, owners, autoscalers)) is not None:
        return Applied("refused", f"{ref} is not scaled: {why}")
    why = _miscounted(target, changes, await _claim_templates(view, ref.namespace, target))
    return None if why is None else Applied("refused", f"{ref} is not scaled: {why}")


def _miscounted(target: Object, changes: Mapping[str, Change], claims: Mapping[str, Object]) -> str | None:
    """Where a replica holds other GPUs than the budget counts, or nobody knows."""
    for component, change in changes.items():
        believed, setting = change.gpus_per_replica, f"{change.role}.gpus_per_replica"
        if not shape_of(target, component):
            # It hands its count on, or its pods come from a preset: only the configuration tells.
            if change.configured:
                continue
            return f"it does not say how many GPUs a replica holds; set {setting}, if only to the profile's {believed}"
        try:
            counted = gpus_per_replica(target, component, claims, change.role)
        except TargetError:
            # Shared GPUs, or devices that nobody here can count.
            if change.configured:
                continue
            raise
        if counted != believed:
            return f"a replica holds {counted} GPUs, and the budget counts {believed}; set {setting} to {counted}"
    return None


def _unknown_owner(target: Object, known: Mapping[Reference, Object | None]) -> Reference | None:
    """The nearest owner that was not looked up yet."""
    return next((each.reference for each in owners_of(target, known.get) if each.reference not in known), None)


async def _claim_templates(view: View, namespace: str, target: Object) -> Mapping[str, Object]:
    if "resourceClaimTemplateName" not in str(target.get("spec")):
        return {}
    templates = await view.all("resource.k8s.io", "ResourceClaimTemplate", namespace)
    return {str((each.get("metadata") or {}).get("name")): each for each in templates}
