"""Every kind of target on a real API server: read, written, left alone otherwise, and refused where it must be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import pytest
from cluster import Cluster
from cluster_api import Object
from kubernetes_definitions import DEFINITIONS, remove, serve
from kubernetes_hands import hands, said
from kubernetes_kinds import (
    BOTH,
    BUILT_IN,
    CASES,
    ENGINE,
    NODE,
    OLDER,
    SELECTOR,
    TEMPLATE,
    Case,
    Spec,
    graph_v1beta1,
    llm,
    ray_cluster,
    storm,
)  # fmt: skip

from planner.connectors.kubernetes.objects.table import KINDS
from planner.connectors.kubernetes.objects.targets import target_of
from planner.connectors.types import Applied
from planner.scaling.types import Role

D, P = Role.DECODE, Role.PREFILL
NUMBERS = count(1)


@pytest.fixture(scope="module")
def kinds(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, while it serves every kind, and with a node."""
    serve(cluster, *DEFINITIONS)
    node = cluster.gpu_node("targets", gpus=64, labels=NODE)
    yield cluster
    remove(cluster, *DEFINITIONS)
    cluster.delete(node)


@pytest.fixture
def namespace(kinds: Cluster) -> Iterator[str]:
    """A new one that takes pods; emptied afterwards, for the node's sake."""
    name = f"targets-{next(NUMBERS)}"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
    kinds.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    kinds.until("pods are taken", lambda: kinds.get(account))
    yield name
    kinds.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


# --- what stands in the cluster ---------------------------------------------------------------------------------------


def make(cluster: Cluster, case: Case, namespace: str, replicas: int) -> Object:
    """The object and its status, and its pods where no controller makes them."""
    made = cluster.apply(case.object(namespace, replicas))
    if case.api_version == BUILT_IN:
        return made
    if case.status:
        merge(cluster, f"{where(made)}/status", {"status": _nested(case.status)})
    for replica in range(replicas):
        for number in range(case.pods_each):
            cluster.apply(_pod(case, namespace, replica, number))
    return cluster.get(made)


def merge(cluster: Cluster, path: str, body: Mapping[str, Any], manager: str = "kubectl") -> Object:
    """A merge patch, as somebody else."""
    return cluster.request("PATCH", f"{path}?fieldManager={manager}", body, "application/merge-patch+json")


def where(target: Object) -> str:
    """The object's path."""
    group, kind, metadata = target["apiVersion"].partition("/")[0], target["kind"], target["metadata"]
    plurals = {(each.group, each.kind): each.plural for each in DEFINITIONS}
    plural = plurals.get((group, kind), f"{kind.lower()}s")
    return f"/apis/{target['apiVersion']}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"


def _pod(case: Case, namespace: str, replica: int, number: int) -> Spec:
    labels = {name: value.format(replica=replica) for name, value in case.pods.items()}
    sizes = {"leaderworkerset.sh/size": str(case.pods_each)} if "leaderworkerset.sh/name" in labels else {}
    named = {"name": f"chat-{replica}-{number}", "namespace": namespace}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {**named, "labels": labels, "annotations": sizes},
        "spec": ENGINE,
    }  # fmt: skip


def _nested(by_path: Mapping[str, str]) -> Spec:
    status: Spec = {}
    for path, value in by_path.items():
        *way, last = path.split(".")
        inner = status
        for each in way:
            inner = inner.setdefault(each, {})
        inner[last] = value
    return status


def ours(target: Object) -> list[tuple[str, str]]:
    """The planner's writes as the object remembers them: how, and through which subresource."""
    entries = [each for each in target["metadata"]["managedFields"] if each["manager"] == "sla-planner"]
    return [(each["operation"], each.get("subresource", "")) for each in entries]


# --- every kind -------------------------------------------------------------------------------------------------------


MEANWHILE = {"minReadySeconds": 1}
"""What somebody else changes: a field that Deployments and their like have, and that the made-up kinds keep."""


def scaled(cluster: Cluster, case: Case, namespace: str) -> None:
    """One count from 2 to 3. The first try is decided on what somebody else has changed meanwhile."""
    before = make(cluster, case, namespace, 2)
    name = f"{case.kind} {namespace}/chat"

    async def story() -> list[Applied]:
        async with hands(cluster.kubeconfig, namespace, {D: case.target}, gpus=case.gpus) as one:

            def is_noted() -> bool:
                found = one.watches.find(target_of(case.target, namespace).object)
                assert isinstance(found, tuple)
                return bool(MEANWHILE.items() <= found[1]["spec"].items())

            await one.until("2 are ready", lambda seen: (said(seen[D].wanted), said(seen[D].ready)) == (2, 2))
            # Nothing can be told of it before the plan is decided: the loop does not run in between.
            merge(cluster, where(before), {"spec": MEANWHILE})
            done = [await one.plan({D: 3})]
            assert (cluster.get(before)["spec"], one.writes.done) == ({**before["spec"], **MEANWHILE}, [])
            await one.until("the change is seen", lambda _: is_noted())
            done += [await one.outcome({D: 3}), await one.tick({D: 3})]
            assert len(one.writes.done) == 1
            return done

    assert asyncio.run(story()) == [
        Applied("failed", f"{name} changed meanwhile; decided anew at the next tick"),
        Applied("applied", f"{name}: {case.component or 'replicas'} to 3"),
        Applied("unchanged", f"{name} is so already"),
    ]
    after = cluster.get(before)
    built_in = case.api_version == BUILT_IN
    assert after["spec"] == {**({**before["spec"], "replicas": 3} if built_in else case.spec(3)), **MEANWHILE}
    assert ours(after) == [("Update", case.through)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_count_is_read_and_set_and_nothing_else_is_touched(kinds: Cluster, namespace: str, case: Case) -> None:
    scaled(kinds, case, namespace)


@pytest.mark.parametrize("case", OLDER, ids=str)
def test_an_older_version_is_spoken_where_the_cluster_serves_no_newer(
    kinds: Cluster, namespace: str, case: Case
) -> None:
    group, version = case.api_version.split("/")
    definition = next(each for each in DEFINITIONS if (each.group, each.kind) == (group, case.kind))
    serve(kinds, definition, only=version)
    try:
        scaled(kinds, case, namespace)
    finally:
        serve(kinds, definition)


@pytest.mark.parametrize("kind", BOTH)
def test_both_counts_of_an_object_change_in_one_patch(kinds: Cluster, namespace: str, kind: str) -> None:
    case, spec, first, second = BOTH[kind]
    before = make(kinds, case, namespace, 2)

    async def story() -> Applied:
        targets = {D: f"{case.target}#{first}", P: f"{case.target}#{second}"}
        async with hands(kinds.kubeconfig, namespace, targets) as one:
            await one.until("both are known", lambda seen: (said(seen[D].wanted), said(seen[P].wanted)) == (2, 2))
            return await one.plan({D: 3, P: 1})

    assert asyncio.run(story()) == Applied("applied", f"{kind} {namespace}/chat: {first} to 3, {second} to 1")
    after = kinds.get(before)
    assert after["spec"] == spec(3, 1)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert ours(after) == [("Update", "")]


def test_every_kind_of_the_table_is_tried() -> None:
    tried = {(case.api_version, case.kind) for case in (*CASES, *OLDER)} | {each[:2] for each in NEVER}

    assert {(f"{row.group}/{version}", row.kind) for row in KINDS for version in row.versions} <= tried


# --- what is refused --------------------------------------------------------------------------------------------------

NEVER = (
    (
        "disaggregatedset.x-k8s.io/v1", "DisaggregatedSet",
        "its roles are scaled apart; give the role scaling.mode External and scale its DisaggregatedSetRoleScaler",
    ),
    (
        "serving.kserve.io/v1beta1", "InferenceService",
        "its controller scales it; set its annotation serving.kserve.io/autoscalerClass to external, and scale "
        "Deployment chat-predictor",
    ),
    (
        "workloads.x-k8s.io/v1alpha2", "RoleBasedGroup",
        "its roles are scaled apart; set the role's scalingAdapter.enable and scale its RoleBasedGroupScalingAdapter",
    ),
)  # fmt: skip
"""Kinds that hold no count to be set: version, kind, and what to scale instead."""


def refused(cluster: Cluster, namespace: str, target: Object, text: str) -> tuple[float | str, Applied]:
    """The target's count as it is seen, and what becomes of a plan for it; the object must stay as it is."""

    async def story() -> tuple[float | str, Applied]:
        async with hands(cluster.kubeconfig, namespace, {D: text}) as one:
            # What is not seen yet is absent too.
            seen = await one.until(
                "it is seen", lambda seen: not str(said(seen[D].wanted)).endswith(("for yet", "listed yet"))
            )
            done = await one.plan({D: 3})
            assert one.writes.tried == 0
            return said(seen[D].wanted), done

    told = asyncio.run(story())
    assert cluster.get(target)["spec"] == target["spec"]
    return told


@pytest.mark.parametrize(("api_version", "kind", "why"), NEVER, ids=[each[1] for each in NEVER])
def test_a_kind_without_a_count_is_refused_with_what_to_scale_instead(
    kinds: Cluster, namespace: str, api_version: str, kind: str, why: str
) -> None:
    case = Case(api_version, kind, lambda count: {"minReplicas": count})

    told = refused(kinds, namespace, make(kinds, case, namespace, 0), case.target)

    cause = f"{kind} {namespace}/chat is not scaled: {why}"
    assert told == (cause, Applied("refused", cause))


def _opted_in(count: int) -> Spec:
    spec = graph_v1beta1(count)
    spec["components"][1]["scalingAdapter"] = {}
    return spec


REFUSED = (
    (
        Case("nvidia.com/v1beta1", "DynamoGraphDeployment", _opted_in, component="Decode"),
        "Decode has a scaling adapter; scale DynamoGraphDeploymentScalingAdapter chat-decode instead",
    ),
    (
        Case("serving.kserve.io/v1alpha2", "LLMInferenceService", lambda count: llm(count) | {"scaling": {}}),
        "it scales itself by .spec.scaling; remove that, and scale it by its replicas",
    ),
    (
        Case("apps.nvidia.com/v1alpha1", "NIMService", lambda count: {"replicas": count, "scale": {"enabled": True}}),
        "its operator scales it by an HPA; set .spec.scale.enabled to false, and scale it then",
    ),
    (
        Case(
            "ray.io/v1", "RayCluster", lambda count: ray_cluster(count) | {"enableInTreeAutoscaling": True},
            component="gpu",
        ),
        "Ray's autoscaler owns its worker groups; set .spec.enableInTreeAutoscaling to false, or leave the scaling "
        "to Ray",
    ),
    (
        Case(
            "orchestration.aibrix.ai/v1alpha1", "StormService", lambda count: storm(count) | {"replicas": 2},
            component="decode",
        ),
        "it runs 2 copies of all its roles; scale it as a whole, or set .spec.replicas to 1",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("case", "why"), REFUSED, ids=[each[0].kind for each in REFUSED])
def test_an_object_that_would_be_set_back_is_refused_with_what_to_do(
    kinds: Cluster, namespace: str, case: Case, why: str
) -> None:
    # No labels of pods are needed: none is made.
    target = kinds.apply(case.object(namespace, 2))

    _, done = refused(kinds, namespace, target, case.target)

    assert done == Applied("refused", f"{case.kind} {namespace}/chat is not scaled: {why}")


DEPLOYMENT = Case(BUILT_IN, "Deployment", lambda count: {"replicas": count, "selector": SELECTOR, "template": TEMPLATE})
POINTS_AT_IT = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}}
RIVALS = {
    "HorizontalPodAutoscaler": ("autoscaling/v2", {**POINTS_AT_IT, "maxReplicas": 4}),
    "ScaledObject": ("keda.sh/v1alpha1", {"scaleTargetRef": {"name": "chat"}, "triggers": []}),
    "PodAutoscaler": ("autoscaling.aibrix.ai/v1alpha1", POINTS_AT_IT),
}


@pytest.mark.parametrize("kind", RIVALS)
def test_a_target_that_an_autoscaler_has_is_refused_with_its_name(kinds: Cluster, namespace: str, kind: str) -> None:
    api_version, spec = RIVALS[kind]
    target = kinds.apply(DEPLOYMENT.object(namespace, 0))
    metadata = {"name": "rival", "namespace": namespace}
    kinds.apply({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})

    async def story() -> tuple[Applied, int]:
        async with hands(kinds.kubeconfig, namespace, {D: DEPLOYMENT.target}) as one:
            await one.until("it is seen", lambda seen: said(seen[D].wanted) == 0)
            kinds.apply({**DEPLOYMENT.object(namespace, 1)})
            await one.until("it left maintenance", lambda seen: said(seen[D].wanted) == 1)
            return await one.plan({D: 3}), one.writes.tried

    done, tried = asyncio.run(story())

    assert (done.status, tried) == ("refused", 0)
    assert f"{kind} rival scales it; delete it, or leave the target to it" in done.detail
    assert kinds.get(target)["spec"]["replicas"] == 1


def test_what_another_object_owns_is_refused_with_the_owner(kinds: Cluster, namespace: str) -> None:
    runtime = next(case for case in CASES if case.kind == "VLLMRuntime")
    owner = make(kinds, runtime, namespace, 1)
    controls = {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": "chat", "uid": owner["metadata"]["uid"],
        "controller": True,
    }  # fmt: skip
    owned = DEPLOYMENT.object(namespace, 1)
    owned["metadata"]["ownerReferences"] = [controls]
    target = kinds.apply(owned)
    kinds.until("its controller has seen it", lambda: kinds.get(target)["status"].get("readyReplicas"))

    _, done = refused(kinds, namespace, target, DEPLOYMENT.target)

    assert done == Applied(
        "refused",
        f"Deployment {namespace}/chat is not scaled: VLLMRuntime chat owns it and would set its replicas back; "
        "scale VLLMRuntime chat instead",
    )
