"""The pods that one replica of a target is made of, as its object says: so many of each pod spec.

A kind that only hands a count on to another object (an adapter), or whose pods come from a preset or an instance type,
says nothing here; a pod of the pool then tells (`gpus.gpus_of_pod`), or the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from planner.connectors.kubernetes.objects.paths import Item, Object, path, read

Shape = tuple[tuple[int, Object], ...]
"""Pod specs, each with how many such pods one replica has; empty when the object does not say."""


def shape_of(target: Object, component: str) -> Shape:
    """The pods of one replica of the component; empty when the object does not say."""
    group = str(target.get("apiVersion", "")).rpartition("/")[0]
    known = _SHAPES.get((group, str(target.get("kind", ""))), _template)
    return tuple((count, spec) for count, spec in known(target, component) if count > 0 and isinstance(spec, Mapping))


Pods = Iterable[tuple[int, Any]]


def _template(target: Object, component: str) -> Pods:
    yield 1, read(target, path(".spec.template.spec"))


def _leader_worker_set(target: Object, component: str) -> Pods:
    """The leader is made like the workers when it has no template of its own."""
    group = read(target, path(".spec.leaderWorkerTemplate"))
    worker = read(group, path(".workerTemplate.spec"))
    yield 1, read(group, path(".leaderTemplate.spec")) or worker
    yield _count(group, ".size", 1) - 1, worker


def _dynamo(target: Object, component: str) -> Pods:
    services = read(target, (*path(".spec.services"), component))
    part = services or read(target, (*path(".spec.components"), Item("name", component)))
    nodes = _count(part, ".multinode.nodeCount", 1)
    limits = read(part, path(".resources.limits")) or {}
    if "gpu" in limits:
        yield nodes, _one_container({limits.get("gpuType", "nvidia.com/gpu"): limits["gpu"]})
        return
    main = read(part, path(".extraPodSpec.mainContainer"))
    yield nodes, read(part, path(".podTemplate.spec")) or (main and {"containers": [main]})


def _llm_inference_service(target: Object, component: str) -> Pods:
    """With workers a replica is a group of data / dataLocal pods, or of one for each pipeline stage."""
    part = read(target, path(".spec.prefill" if component == "prefill" else ".spec"))
    parallel = read(part, path(".parallelism"))
    leader, worker = read(part, path(".template")), read(part, path(".worker"))
    if worker is None:
        yield 1, leader
        return
    pods = _count(parallel, ".data", 1) // max(_count(parallel, ".dataLocal", 1), 1)
    pods = max(pods, _count(parallel, ".pipeline", 1))
    if pods > 1:
        yield 1, leader
        yield pods - 1, worker


def _storm_service(target: Object, component: str) -> Pods:
    for role in read(target, path(".spec.template.spec.roles")) or []:
        pods = _count(role, ".podGroupSize", 1)
        if not component:
            yield pods * _count(role, ".replicas", 1), read(role, path(".template.spec"))
        elif role.get("name") == component:
            yield pods, read(role, path(".template.spec"))


def _model_serving(target: Object, component: str) -> Pods:
    for role in read(target, path(".spec.template.roles")) or []:
        copies = _count(role, ".replicas", 1) if not component else int(role.get("name") == component)
        yield copies, read(role, path(".entryTemplate.spec"))
        yield copies * _count(role, ".workerReplicas", 0), read(role, path(".workerTemplate.spec"))


def _ray_workers(spec: str) -> Callable[[Object, str], Pods]:
    def shape(target: Object, component: str) -> Pods:
        group = read(target, (*path(f"{spec}.workerGroupSpecs"), Item("groupName", component)))
        yield _count(group, ".numOfHosts", 1), read(group, path(".template.spec"))

    return shape


def _ray_cluster_fleet(target: Object, component: str) -> Pods:
    cluster = read(target, path(".spec.template.spec"))
    yield 1, read(cluster, path(".headGroupSpec.template.spec"))
    for group in read(cluster, path(".workerGroupSpecs")) or []:
        pods = _count(group, ".replicas", 1) * _count(group, ".numOfHosts", 1)
        yield pods, read(group, path(".template.spec"))


def _pod_clique(target: Object, component: str) -> Pods:
    yield 1, read(target, path(".spec.podSpec"))


def _pod_clique_set(target: Object, component: str) -> Pods:
    """Cliques within scaling groups come as often as their group does."""
    template = read(target, path(".spec.template"))
    times = {
        name: _count(group, ".replicas", 1)
        for group in read(template, path(".podCliqueScalingGroups")) or []
        for name in group.get("cliqueNames") or []
    }
    for clique in read(template, path(".cliques")) or []:
        pods = _count(clique, ".spec.replicas", 1) * times.get(clique.get("name"), 1)
        yield pods, read(clique, path(".spec.podSpec"))


def _vllm_runtime(target: Object, component: str) -> Pods:
    gpus = read(target, path(".spec.deploymentConfig.resources.gpu"))
    yield 1, None if gpus is None else _one_container({"nvidia.com/gpu": gpus})


def _nim_service(target: Object, component: str) -> Pods:
    if read(target, path(".spec.multiNode")) is None:
        yield 1, {"containers": [{"resources": read(target, path(".spec.resources")) or {}}]}


def _one_container(limits: Object) -> Object:
    return {"containers": [{"resources": {"limits": limits}}]}


def _count(value: Any, where: str, default: int) -> int:
    """The count at the path, or what the kind's API defaults it to."""
    said = read(value, path(where))
    return said if type(said) is int else default


_SHAPES: Mapping[tuple[str, str], Callable[[Object, str], Pods]] = {
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): _leader_worker_set,
    ("nvidia.com", "DynamoGraphDeployment"): _dynamo,
    ("serving.kserve.io", "LLMInferenceService"): _llm_inference_service,
    ("orchestration.aibrix.ai", "StormService"): _storm_service,
    ("orchestration.aibrix.ai", "RayClusterFleet"): _ray_cluster_fleet,
    ("workload.serving.volcano.sh", "ModelServing"): _model_serving,
    ("ray.io", "RayCluster"): _ray_workers(".spec"),
    ("ray.io", "RayService"): _ray_workers(".spec.rayClusterConfig"),
    ("grove.io", "PodClique"): _pod_clique,
    ("grove.io", "PodCliqueSet"): _pod_clique_set,
    ("production-stack.vllm.ai", "VLLMRuntime"): _vllm_runtime,
    ("apps.nvidia.com", "NIMService"): _nim_service,
}
