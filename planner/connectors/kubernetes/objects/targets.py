"""What to scale, as people write it: `Deployment/vllm-decode`, `LeaderWorkerSet.leaderworkerset.x-k8s.io/llama`,
`DynamoGraphDeployment/graph#VllmDecodeWorker`.

A kind that is known needs no group; one of `#` names a component of an object that holds several counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.connectors.kubernetes.objects.kinds import WHOLE, TargetError
from planner.connectors.kubernetes.objects.table import KINDS

_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_FORM = re.compile(
    rf"(?P<kind>[A-Z][A-Za-z0-9]*)(\.(?P<group>[a-z0-9.-]+))?/(?P<name>{_NAME})(#(?P<component>[A-Za-z0-9._-]+))?"
)


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object of the cluster, at whatever version it is served."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class TargetRef:
    """One replica count: an object, or a component of it."""

    object: ObjectRef
    component: str = WHOLE

    def __str__(self) -> str:
        return f"{self.object}{f' ({self.component})' if self.component else ''}"


def target_of(text: str, namespace: str) -> TargetRef:
    """What the text means. Raises TargetError."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise TargetError(f"target: {text!r} is none; write Kind/name, Kind.group/name or Kind/name#component")
    kind, group = form["kind"], form["group"]
    if group is None:
        groups = sorted({row.group for row in KINDS if row.kind == kind})
        if len(groups) != 1:
            meant = f"one of {', '.join(groups)}" if groups else "that of its API"
            raise TargetError(f"target: {text!r}: the group of {kind} is not known; write {kind}.GROUP/..., {meant}")
        (group,) = groups
    return TargetRef(ObjectRef(group, kind, namespace, form["name"]), form["component"] or WHOLE)
