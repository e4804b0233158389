"""What the Helm chart permits its planner: a Role in each namespace of targets, and no more than they need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from chart_helm import BASICS, MINIMAL, Helm
from cluster_api import Object


@pytest.fixture
def helm(helm_program: str, tmp_path: Path) -> Helm:
    return Helm(helm_program, tmp_path / "helm")


def rule(group: str, resource: str, verbs: str, name: str | None = None) -> Object:
    named = {} if name is None else {"resourceNames": [name]}
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs.split(), **named}


PODS = rule("", "pods", "list watch")
REST = [
    rule("autoscaling", "horizontalpodautoscalers", "list"),
    rule("keda.sh", "scaledobjects", "list"),
    rule("autoscaling.aibrix.ai", "podautoscalers", "list"),
    rule("resource.k8s.io", "resourceclaimtemplates", "list"),
    rule("events.k8s.io", "events", "create patch"),
]
LEASE = {("serving", "p-sla-planner-lease"): [rule("coordination.k8s.io", "leases", "get update", "p-sla-planner")]}


def deployments(*names: str) -> list[Object]:
    owner = rule("serving.kserve.io", "inferenceservices", "get")
    first, *others = (rule("apps", "deployments/scale", "get patch", name) for name in names)
    return [rule("apps", "deployments", "list watch"), first, owner, *others]


PERMITTED: Mapping[str, tuple[tuple[str, ...], Mapping[tuple[str, str], list[Object]]]] = {
    "deployments": (
        MINIMAL, {("serving", "p-sla-planner-serving"): [PODS, *deployments("vllm-prefill", "vllm-decode"), *REST]},
    ),
    "components-of-one-object": (
        (*BASICS, "targets.prefill=DynamoGraphDeployment/g#Prefill", "targets.decode=DynamoGraphDeployment/g#Decode"),
        {
            ("serving", "p-sla-planner-serving"): [
                PODS,
                rule("nvidia.com", "dynamographdeployments", "list watch"),
                rule("nvidia.com", "dynamographdeployments", "patch", "g"),
                *REST,
            ]
        },
    ),
    "a-field-of-the-object": (
        (*BASICS, "mode=aggregated", "targets.aggregated=NIMService.apps.nvidia.com/nim"),
        {
            ("serving", "p-sla-planner-serving"): [
                PODS,
                rule("apps.nvidia.com", "nimservices", "list watch"),
                rule("apps.nvidia.com", "nimservices", "patch", "nim"),
                *REST,
            ]
        },
    ),
    "services-elsewhere": (
        (
            *BASICS, "mode=aggregated", "services.chat.kubernetes.aggregated=Deployment/chat",
            "services.code.kubernetes.aggregated=Deployment/code", "services.code.kubernetes.namespace=tools",
        ),
        {
            ("serving", "p-sla-planner-serving"): [PODS, *deployments("chat"), *REST],
            ("tools", "p-sla-planner-serving"): [PODS, *deployments("code"), *REST],
        },
    ),
    "a-kind-of-your-own": (
        (
            *BASICS, "mode=aggregated", "targets.aggregated=Fleet.example.com/vllm",
            "rbac.rules[0].apiGroups={example.com}", "rbac.rules[0].resources={fleets/scale}",
            "rbac.rules[0].verbs={get,patch}",
        ),
        {("serving", "p-sla-planner-serving"): [PODS, *REST, rule("example.com", "fleets/scale", "get patch")]},
    ),
    "none": ((*MINIMAL, "rbac.create=false"), {}),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "expected"), PERMITTED.values(), ids=PERMITTED)
def test_roles_name_what_is_scaled_and_nothing_else(
    helm: Helm, settings: tuple[str, ...], expected: Mapping[tuple[str, str], list[Object]]
) -> None:
    objects = helm.template(*settings)

    roles = [each for each in objects if each["kind"] == "Role"]
    found = {(each["metadata"].get("namespace", "serving"), each["metadata"]["name"]): each["rules"] for each in roles}
    assert found == ({**LEASE, **expected} if expected else {})
    assert {each["kind"] for each in objects} & {"ClusterRole", "ClusterRoleBinding"} == set()
