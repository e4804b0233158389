"""Who else sets a target's replicas: owners that would set them back, and autoscalers that point at it."""

from __future__ import annotations

from typing import Any

import pytest

from planner.connectors.kubernetes.objects.owners import (
    DEEPEST,
    Reference,
    owner_refusal,
    owners_of,
    reference_of,
    rival,
)

APPS, GROVE, LWS = "apps/v1", "grove.io/v1alpha1", "leaderworkerset.x-k8s.io/v1"
DYNAMO, KSERVE, RBG = "nvidia.com/v1alpha1", "serving.kserve.io/v1beta1", "workloads.x-k8s.io/v1alpha2"
SETS = "disaggregatedset.x-k8s.io/v1"
EXTERNAL = {"serving.kserve.io/autoscalerClass": "external"}


def thing(
    api: str,
    kind: str,
    name: str = "chat",
    *,
    owner: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    controller: bool = True,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "prod", "name": name, "annotations": annotations or {}}
    if owner is not None:
        named = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
        metadata["ownerReferences"] = [{**named, "uid": "1", "controller": controller}]
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec or {}}


def judged(target: dict[str, Any], *above: dict[str, Any]) -> str | None:
    there = {reference_of(each): each for each in above}
    return owner_refusal(owners_of(target, there.get))


DEPLOYMENT = thing(APPS, "Deployment")
ISVC, EXTERNAL_ISVC = thing(KSERVE, "InferenceService"), thing(KSERVE, "InferenceService", annotations=EXTERNAL)
DGD = thing(DYNAMO, "DynamoGraphDeployment", "graph")
SET = thing(SETS, "DisaggregatedSet", spec={"roles": [{"name": "decode", "scaling": {"mode": "External"}}]})
OWN_SET = thing(SETS, "DisaggregatedSet", spec={"roles": [{"name": "decode"}]})
GROUP = thing(RBG, "RoleBasedGroup", spec={"roles": [{"name": "decode", "scalingAdapter": {"enable": True}}]})
OWN_GROUP = thing(RBG, "RoleBasedGroup", spec={"roles": [{"name": "decode"}]})
OF_ROLE = {"scaleTargetRef": {"name": "chat", "role": "decode"}}
PCS = thing(GROVE, "PodCliqueSet", "graph-set")
PCS_OF_DGD = thing(GROVE, "PodCliqueSet", "graph-set", owner=DGD)
PCSG = thing(GROVE, "PodCliqueScalingGroup", "graph-group", owner=PCS)
LLMISVC = thing("serving.kserve.io/v1alpha2", "LLMInferenceService")


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        pytest.param(
            [thing(APPS, "ReplicaSet", owner=DEPLOYMENT), DEPLOYMENT],
            "Deployment chat owns it and would set its replicas back; scale Deployment chat instead",
            id="ReplicaSet of a Deployment",
        ),
        pytest.param(
            [thing(APPS, "Deployment", owner=ISVC), ISVC],
            "InferenceService chat owns it and would set its replicas back; "
            "set the annotation serving.kserve.io/autoscalerClass of InferenceService chat to external",
            id="Deployment of an InferenceService",
        ),
        pytest.param(
            [thing(LWS, "LeaderWorkerSet", "a1b2", owner=SET), SET],
            "DisaggregatedSet chat owns it and would set its replicas back; "
            "give the role of DisaggregatedSet chat scaling.mode External, and scale its DisaggregatedSetRoleScaler",
            id="LeaderWorkerSet of a DisaggregatedSet",
        ),
        pytest.param(
            [thing(SETS, "DisaggregatedSetRoleScaler", owner=OWN_SET), OWN_SET],
            "DisaggregatedSet chat owns it and would set its replicas back; "
            "give the role of DisaggregatedSet chat scaling.mode External, and scale its DisaggregatedSetRoleScaler",
            id="role scaler of a set that scales itself",
        ),
        pytest.param(
            [
                thing(APPS, "Deployment", owner=thing("production-stack.vllm.ai/v1alpha1", "VLLMRuntime", "llama")),
                thing("production-stack.vllm.ai/v1alpha1", "VLLMRuntime", "llama"),
            ],
            "VLLMRuntime llama owns it and would set its replicas back; scale VLLMRuntime llama instead",
            id="Deployment of a VLLMRuntime",
        ),
        pytest.param(
            [thing(LWS, "LeaderWorkerSet", owner=LLMISVC), LLMISVC],
            "LLMInferenceService chat owns it and would set its replicas back; scale LLMInferenceService chat instead",
            id="LeaderWorkerSet of an LLMInferenceService",
        ),
        pytest.param(
            [thing(GROVE, "PodClique", owner=PCSG), PCSG, PCS],
            "PodCliqueScalingGroup graph-group owns it and would set its replicas back; "
            "scale PodCliqueScalingGroup graph-group instead",
            id="PodClique of a group",
        ),
        pytest.param(
            [thing(GROVE, "PodClique", owner=PCS_OF_DGD), PCS_OF_DGD, DGD],
            "DynamoGraphDeployment graph owns it and would set its replicas back; "
            "scale a DynamoGraphDeploymentScalingAdapter of DynamoGraphDeployment graph, or a component of it, instead",
            id="PodClique of a Dynamo graph: the topmost owner is told",
        ),
        pytest.param(
            [
                thing(APPS, "Deployment", owner=thing(DYNAMO, "DynamoComponentDeployment", "decode")),
                thing(DYNAMO, "DynamoComponentDeployment", "decode"),
            ],
            "DynamoComponentDeployment decode owns it and would set its replicas back; scale the component's "
            "DynamoGraphDeploymentScalingAdapter, or the component of its DynamoGraphDeployment",
            id="Deployment of a Dynamo component",
        ),
        pytest.param(
            [thing(RBG, "RoleBasedGroupScalingAdapter", owner=OWN_GROUP, spec=OF_ROLE), OWN_GROUP],
            "RoleBasedGroup chat owns it and would set its replicas back; set scalingAdapter.enable of the role of "
            "RoleBasedGroup chat, and scale its RoleBasedGroupScalingAdapter",
            id="adapter of a role that is not enabled",
        ),
        pytest.param(
            [thing(APPS, "StatefulSet", owner=PCS), PCS],
            "PodCliqueSet graph-set owns it and would set its replicas back; scale PodCliqueSet graph-set instead",
            id="what Grove does not leave alone",
        ),
        pytest.param(
            [thing(APPS, "Deployment", owner=thing("example.com/v1", "Somebodys"))],
            "Somebodys chat owns it and would set its replicas back; scale Somebodys chat instead",
            id="an unknown owner that cannot be read",
        ),
        pytest.param(
            [thing(APPS, "Deployment", owner=ISVC)],
            "InferenceService chat owns it and would set its replicas back; "
            "set the annotation serving.kserve.io/autoscalerClass of InferenceService chat to external",
            id="an InferenceService that cannot be read",
        ),
    ],
)
def test_a_target_whose_owner_would_set_it_back_is_refused(chain: list[dict[str, Any]], why: str) -> None:
    assert judged(*chain) == why


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param([DEPLOYMENT], id="no owner"),
        pytest.param(
            [thing(APPS, "Deployment", owner=ISVC, controller=False), ISVC], id="an owner that is no controller"
        ),
        pytest.param([thing(APPS, "Deployment", owner=EXTERNAL_ISVC), EXTERNAL_ISVC], id="InferenceService external"),
        pytest.param([thing(DYNAMO, "DynamoGraphDeploymentScalingAdapter", owner=DGD), DGD], id="adapter of Dynamo"),
        pytest.param([thing(SETS, "DisaggregatedSetRoleScaler", owner=SET), SET], id="role scaler"),
        pytest.param([thing(RBG, "RoleBasedGroupScalingAdapter", owner=GROUP, spec=OF_ROLE), GROUP], id="role adapter"),
        pytest.param([PCSG, PCS], id="PodCliqueScalingGroup of a set"),
        pytest.param([thing(GROVE, "PodClique", owner=PCS), PCS], id="PodClique outside a group"),
    ],
)
def test_a_target_whose_owner_leaves_its_count_alone_is_not_refused(chain: list[dict[str, Any]]) -> None:
    assert judged(*chain) is None


def test_a_ring_of_owners_ends() -> None:
    ring = thing(APPS, "Deployment", owner=DEPLOYMENT)

    assert len(owners_of(ring, lambda reference: ring)) == DEEPEST


# --- autoscalers ------------------------------------------------------------------------------------------------


def scaler(api: str, kind: str, points_at: dict[str, str], name: str = "auto", **more: Any) -> dict[str, Any]:
    return thing(api, kind, name, spec={"scaleTargetRef": points_at}, **more)


TO_CHAT = {"apiVersion": APPS, "kind": "Deployment", "name": "chat"}
HPA = scaler("autoscaling/v2", "HorizontalPodAutoscaler", TO_CHAT)
KEDA = scaler("keda.sh/v1alpha1", "ScaledObject", {"name": "chat"}, "by-queue")
KEDAS_HPA = scaler("autoscaling/v2", "HorizontalPodAutoscaler", TO_CHAT, "keda-hpa-by-queue", owner=KEDA)
AIBRIX = scaler("autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", TO_CHAT)
ELSEWHERE = scaler("autoscaling/v2", "HorizontalPodAutoscaler", {**TO_CHAT, "name": "other"}, "other")
OTHER_KIND = scaler("autoscaling/v2", "HorizontalPodAutoscaler", {**TO_CHAT, "kind": "StatefulSet"}, "other")


@pytest.mark.parametrize(
    ("autoscalers", "why"),
    [
        ([], None),
        ([ELSEWHERE, OTHER_KIND], None),
        ([ELSEWHERE, HPA], "HorizontalPodAutoscaler auto scales it; delete it, or leave the target to it"),
        ([KEDA], "ScaledObject by-queue scales it; delete it, or leave the target to it"),
        ([KEDAS_HPA, KEDA], "ScaledObject by-queue scales it; delete it, or leave the target to it"),
        ([KEDAS_HPA], "HorizontalPodAutoscaler keda-hpa-by-queue scales it; delete it, or leave the target to it"),
        ([AIBRIX], "PodAutoscaler auto scales it; delete it, or leave the target to it"),
    ],
    ids=["none", "of others", "HPA", "ScaledObject", "ScaledObject and its HPA", "its HPA alone", "PodAutoscaler"],
)
def test_an_autoscaler_of_the_target_is_told_by_kind_and_name(
    autoscalers: list[dict[str, Any]], why: str | None
) -> None:
    assert rival(DEPLOYMENT, (), autoscalers) == why


def test_an_autoscaler_of_an_owner_is_told_too() -> None:
    target = thing(APPS, "Deployment", "chat-predictor", owner=EXTERNAL_ISVC)
    owners = owners_of(target, lambda reference: EXTERNAL_ISVC)
    on_owner = scaler(
        "autoscaling/v2", "HorizontalPodAutoscaler", {"apiVersion": KSERVE, "kind": "InferenceService", "name": "chat"}
    )

    said = rival(target, owners, [on_owner])

    assert said == (
        "HorizontalPodAutoscaler auto scales its owner InferenceService chat; delete it, or leave the target to it"
    )


def test_a_reference_does_not_look_at_the_version() -> None:
    assert reference_of(thing("apps/v1beta2", "Deployment")) == Reference("apps", "Deployment", "chat")
