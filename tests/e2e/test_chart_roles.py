"""What the Helm chart permits its planner: a Role in each namespace of targets, and no more than they need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from chart_helm import BASICS, CHART, MINIMAL, Helm
from cluster_api import Object

from planner.config import load_config


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


DISCOVERED = [
    rule("apps", "deployments", "list watch"),
    rule("apps", "deployments/scale", "get patch"),
    rule("serving.kserve.io", "inferenceservices", "get"),
    rule("leaderworkerset.x-k8s.io", "leaderworkersets", "list watch"),
    rule("leaderworkerset.x-k8s.io", "leaderworkersets/scale", "get patch"),
]


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
    "pods-to-be-marked": (
        (
            *BASICS, "mode=aggregated", "services.chat.kubernetes.aggregated=Deployment/chat",
            "services.chat.kubernetes.idlest_first=true",
            "services.code.kubernetes.aggregated=Deployment/code", "services.code.kubernetes.namespace=tools",
        ),
        {
            ("serving", "p-sla-planner-serving"): [PODS, *deployments("chat"), rule("", "pods", "patch"), *REST],
            ("tools", "p-sla-planner-serving"): [PODS, *deployments("code"), *REST],
        },
    ),
    "discovered": (
        (*BASICS, "discover.namespaces={llm,serving}", "discover.kinds={Deployment,LeaderWorkerSet}",
         "services.chat.mode=aggregated", "services.chat.kubernetes.aggregated=Deployment/chat"),
        {
            ("llm", "p-sla-planner-serving"): [PODS, *REST, *DISCOVERED],
            ("serving", "p-sla-planner-serving"): [PODS, *deployments("chat"), *REST, *DISCOVERED],
        },
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


def test_a_release_may_have_discovered_services_alone(helm: Helm, tmp_path: Path) -> None:
    objects = helm.objects("budget.gpus=16", "prometheus.url=http://prometheus:9090", "discover.namespaces={llm}")

    file = tmp_path / "planner.yaml"
    file.write_text(objects["ConfigMap", "p-sla-planner"]["data"]["planner.yaml"])
    config = load_config(file, {}, {}).config
    assert config.services == {}
    assert config.discover.model_dump() == {"namespaces": ["llm"], "kinds": ["Deployment", "StatefulSet"]}


def test_a_kind_without_a_known_scale_is_not_discovered(helm: Helm) -> None:
    result = helm(
        "template", "p", str(CHART),
        settings=("budget.gpus=16", "discover.namespaces={llm}", "discover.kinds={DynamoGraphDeployment}"),
    )  # fmt: skip

    assert "discover.kinds: DynamoGraphDeployment has no scale subresource that the chart knows" in result.stderr
