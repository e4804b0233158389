"""What the planner must be allowed in a cluster to scale these targets: one list, by which Roles are judged.

Verbs and resources are those of Kubernetes' RBAC (kubernetes.io/docs, "Using RBAC Authorization"). The Helm chart's
Role grants the same, which a test compares.

Limit: making the Lease where there is none is no part of it, for the chart makes it; see `to_create`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from planner.connectors.kubernetes.changing import AUTOSCALERS
from planner.connectors.kubernetes.objects.kinds import Kind, part_of
from planner.connectors.kubernetes.objects.targets import TargetRef

Why = Literal["pods", "targets", "plan", "selector", "rivals", "claims", "owners", "events", "marks", "lease", "nodes"]

LEASES = ("coordination.k8s.io", "leases")
OWNERS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("apps", "Deployment"): ("serving.kserve.io", "inferenceservices"),
    ("disaggregatedset.x-k8s.io", "DisaggregatedSetRoleScaler"): ("disaggregatedset.x-k8s.io", "disaggregatedsets"),
    ("nvidia.com", "DynamoGraphDeploymentScalingAdapter"): ("nvidia.com", "dynamographdeployments"),
    ("grove.io", "PodClique"): ("grove.io", "podcliquesets"),
    ("grove.io", "PodCliqueScalingGroup"): ("grove.io", "podcliquesets"),
    ("workloads.x-k8s.io", "RoleBasedGroupScalingAdapter"): ("workloads.x-k8s.io", "rolebasedgroups"),
}
"""Group and kind of targets, and group and resource of the owner that may leave their count to others."""


@dataclass(frozen=True, slots=True)
class Need:
    """One permission."""

    why: Why
    """What for; some are only needed where the cluster has something of the sort."""
    namespace: str
    group: str
    """Empty for the core group."""
    resource: str
    verb: str
    subresource: str = ""
    name: str = ""
    """Empty: any object."""

    @property
    def rule_resource(self) -> str:
        """As a Role writes it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def needs_of(
    targets: Mapping[TargetRef, Kind], lease: tuple[str, str], marked: Collection[TargetRef] = ()
) -> tuple[Need, ...]:
    """All permissions to scale these targets under the Lease (namespace, name), each once.

    `marked` are those whose idlest pods are marked to go first.
    """
    namespaces = dict.fromkeys(target.object.namespace for target in targets)
    needs = [need for namespace in namespaces for need in _of_namespace(namespace)]
    needs += [need for target, kind in targets.items() for need in _of_target(target, kind)]
    needs += [Need("marks", target.object.namespace, "", "pods", "patch") for target in marked]
    needs += [Need("lease", lease[0], *LEASES, verb, name=lease[1]) for verb in ("get", "update")]
    return tuple(dict.fromkeys(needs))


def to_create(lease: tuple[str, str]) -> Need:
    """What making the Lease takes; a name cannot be given, for there is no object yet."""
    return Need("lease", lease[0], *LEASES, "create")


def _of_namespace(namespace: str) -> Iterable[Need]:
    for verb in ("list", "watch"):
        yield Need("pods", namespace, "", "pods", verb)
    for group, kind in AUTOSCALERS:
        yield Need("rivals", namespace, group, f"{kind.lower()}s", "list")
    yield Need("claims", namespace, "resource.k8s.io", "resourceclaimtemplates", "list")
    for verb in ("create", "patch"):
        yield Need("events", namespace, "events.k8s.io", "events", verb)


def _of_target(target: TargetRef, kind: Kind) -> Iterable[Need]:
    namespace, name = target.object.namespace, target.object.name
    for verb in ("list", "watch"):
        yield Need("targets", namespace, kind.group, kind.plural, verb)
    part = part_of(kind, target.component)
    if part is not None and part.through == "object":
        yield Need("plan", namespace, kind.group, kind.plural, "patch", name=name)
    elif part is not None:
        yield Need("selector", namespace, kind.group, kind.plural, "get", "scale", name)
        yield Need("plan", namespace, kind.group, kind.plural, "patch", "scale", name)
    if owner := OWNERS.get((kind.group, kind.kind)):
        yield Need("owners", namespace, *owner, "get")


# --- in words ---------------------------------------------------------------------------------------------------------


def rules_of(needs: Iterable[Need]) -> str:
    """The rules of a Role that grant all of them, as one line of YAML."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for need in needs:
        verbs.setdefault((need.group, need.rule_resource, need.name), []).append(need.verb)
    rules: dict[tuple[str, str, bool, tuple[str, ...]], list[str]] = {}
    for (group, resource, name), of_it in verbs.items():
        # A rule with names grants nothing of the others.
        rules.setdefault((group, resource, bool(name), tuple(of_it)), []).append(name)
    return f"[{', '.join(_rule(*key, names) for key, names in rules.items())}]"


def _rule(group: str, resource: str, named: bool, verbs: tuple[str, ...], names: list[str]) -> str:
    only = f", resourceNames: [{', '.join(names)}]" if named else ""
    api_group = group or '""'
    return f"{{apiGroups: [{api_group}], resources: [{resource}]{only}, verbs: [{', '.join(verbs)}]}}"


def in_words(needs: Iterable[Need]) -> str:
    """As people say them: `list and watch pods, patch deployments.apps/scale`."""
    verbs: dict[str, dict[str, None]] = {}
    for need in needs:
        resource = f"{need.resource}.{need.group}" if need.group else need.resource
        spelt = f"{resource}/{need.subresource}" if need.subresource else resource
        verbs.setdefault(spelt, {})[need.verb] = None
    return ", ".join(f"{' and '.join(of_it)} {resource}" for resource, of_it in verbs.items())
