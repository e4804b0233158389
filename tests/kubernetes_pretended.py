"""A Kubernetes cluster that is only pretended, for tests: objects, pods, and an API server that takes patches."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.lease.lease import NotLeadingError
from planner.connectors.kubernetes.objects.kinds import Kind
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.selectors import selects
from planner.connectors.kubernetes.objects.table import kind_of
from planner.connectors.kubernetes.objects.targets import ObjectRef
from planner.scaling.types import Absent


def deployment(name: str, replicas: int = 2, gpus: int = 1, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "llm", "uid": f"uid-{name}", "resourceVersion": "7", "generation": 1}
        | metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}]}},
        },
        "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas},
    }


def pod(app: str, number: int, ready: bool = True) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{app}-{number}", "namespace": "llm", "labels": {"app": app}},
        "spec": {"nodeName": "gpu-0"},
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True" if ready else "False"},
            ],
        },
    }


class Pretended:
    """A cluster, its API server, and the lease."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {each["metadata"]["name"]: each for each in objects}
        self.pods_of: dict[str, list[Object]] = {}
        self.others: list[dict[str, Any]] = []
        self.patches: list[tuple[str, Object]] = []
        self.fails: ApiError | None = None
        self.leads = True
        self.put_in: list[Object] = []
        self.wanted: set[ObjectRef] = set()

    def find(self, ref: ObjectRef) -> tuple[Kind, Object] | Absent:
        target = self.objects.get(ref.name)
        if target is None:
            return Absent(f"{ref}: there is no such object; create it, or correct the target")
        return kind_of(target["apiVersion"], target["kind"], f"{target['kind'].lower()}s"), target

    def want(self, refs: Collection[ObjectRef]) -> None:
        self.wanted = set(refs)

    def pods(self, namespace: str, selector: str) -> list[Object] | Absent:
        matches = selects(selector)
        every = [each for pods in self.pods_of.values() for each in pods]
        return [each for each in every if matches(each["metadata"]["labels"])]

    def put(self, ref: ObjectRef, written: Object) -> None:
        self.put_in.append(written)
        self.objects[ref.name] = copy.deepcopy(dict(written))

    def path(self, ref: ObjectRef, sub: str | None = None) -> str:
        return f"{ref.name}{'/' + sub if sub else ''}"

    async def get(self, group: str, kind: str, namespace: str, name: str) -> Object | None:
        found = [each for each in self.others if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        return found[0] if found else None

    async def all(self, group: str, kind: str, namespace: str) -> tuple[Object, ...]:
        return tuple(each for each in self.others if each["kind"] == kind)

    def fence(self) -> None:
        if not self.leads:
            raise NotLeadingError("not leading: Lease llm/sla-planner, holder: other")


class Server:
    """The API server of a cluster that is only pretended."""

    def __init__(self, pretended: Pretended) -> None:
        self._of = pretended

    async def get(self, path: str, **params: str | int) -> dict[str, Any]:
        raise ApiError(404, "NotFound")

    async def patch(self, path: str, body: Object) -> dict[str, Any]:
        if self._of.fails is not None:
            raise self._of.fails
        self._of.patches.append((path, body))
        answer: dict[str, Any] = {"metadata": {"resourceVersion": "8"}, "spec": copy.deepcopy(dict(body["spec"]))}
        if not path.endswith("/scale"):
            target = copy.deepcopy(self._of.objects[path])
            target["metadata"]["resourceVersion"] = "8"
            for name, service in body["spec"].get("services", {}).items():
                target["spec"]["services"][name] |= service
            return target
        return answer

    async def close(self) -> None: ...
