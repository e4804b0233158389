"""What each kind of target means: where its replicas stand, what one patch makes of them, and what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.connectors.kubernetes.objects.kinds import (
    ANY,
    Kind,
    Patch,
    TargetError,
    bounds_of,
    patch_of,
    refusal,
    replicas_of,
    selector_of,
)
from planner.connectors.kubernetes.objects.paths import at, owns, path, text
from planner.connectors.kubernetes.objects.table import KINDS, kind_of, version_of
from planner.scaling.types import Absent

SELECTOR = {"matchLabels": {"app": "chat"}}
STATUS = {"selector": "app=chat"}
ROLES = [
    {"name": "prefill", "replicas": 1, "template": {"x": [1, {"y": None}]}},
    {"name": "decode", "replicas": 2, "unknownToUs": {"kept": True}},
]
GROUPS = [
    {"groupName": "gpu", "replicas": 2, "minReplicas": 1, "maxReplicas": 6, "rayStartParams": {}},
    {"groupName": "cpu", "replicas": 1},
]
CLUSTER = {"status": {"activeServiceStatus": {"rayClusterName": "chat-x1"}}}


@dataclass(frozen=True)
class Row:
    """One count of one kind: 2 replicas now, and what a patch to 3 says below `spec`."""

    api_version: str
    kind: str
    spec: Mapping[str, Any]
    patched: Mapping[str, Any]
    pods: str = "app=chat"
    component: str = ""
    through: str = "scale"
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> dict[str, Any]:
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"namespace": "prod", "name": "chat", "resourceVersion": "41", "generation": 2},
            "spec": copy.deepcopy(self.spec),
            **self.more,
        }

    @property
    def meaning(self) -> Kind:
        return kind_of(self.api_version, self.kind, "plurals")

    def __str__(self) -> str:
        return f"{self.kind} {self.api_version} {self.component}".strip()


def scaled(api_version: str, kind: str, pods: str = "app=chat", **spec: Any) -> Row:
    return Row(api_version, kind, {"replicas": 2, **spec}, {"replicas": 3}, pods, more={"status": STATUS})


def with_replicas(items: list[dict[str, Any]], place: int, count: int) -> list[dict[str, Any]]:
    return [{**item, "replicas": count} if each == place else item for each, item in enumerate(items)]


def dynamo(version: str, spec: Mapping[str, Any], patched: Mapping[str, Any]) -> Row:
    pods = "nvidia.com/dynamo-graph-deployment-name=chat,nvidia.com/dynamo-component=Decode"
    return Row(f"nvidia.com/{version}", "DynamoGraphDeployment", spec, patched, pods, "Decode", "object")


DYNAMO_COMPONENTS = [{"name": "Frontend", "replicas": 1}, {"name": "Decode", "replicas": 2, "podTemplate": {"a": 1}}]
STORM, SERVING = "orchestration.aibrix.ai/v1alpha1", "workload.serving.volcano.sh/v1alpha1"
LLMD_PODS = "app.kubernetes.io/name=chat,kserve.io/component=workload,llm-d.ai/role"
LLMD_SPEC = {"replicas": 2, "prefill": {"replicas": 2, "template": {}}, "model": {"uri": "hf://x"}}
RAY_PATCHED = with_replicas(GROUPS, 0, 3)

ROWS = [
    scaled("apps/v1", "Deployment", selector=SELECTOR),
    scaled("apps/v1", "StatefulSet", selector=SELECTOR),
    scaled("apps/v1", "ReplicaSet", selector=SELECTOR),
    scaled("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "leaderworkerset.sh/name=chat"),
    scaled("disaggregatedset.x-k8s.io/v1", "DisaggregatedSetRoleScaler"),
    scaled("nvidia.com/v1alpha1", "DynamoGraphDeploymentScalingAdapter"),
    scaled("nvidia.com/v1beta1", "DynamoGraphDeploymentScalingAdapter"),
    dynamo(
        "v1alpha1",
        {"services": {"Frontend": {"replicas": 1}, "Decode": {"replicas": 2, "resources": {}}}},
        {"services": {"Decode": {"replicas": 3}}},
    ),
    dynamo("v1beta1", {"components": DYNAMO_COMPONENTS}, {"components": with_replicas(DYNAMO_COMPONENTS, 1, 3)}),
    scaled("grove.io/v1alpha1", "PodClique", "grove.io/podclique=chat", minAvailable=1),
    scaled("grove.io/v1alpha1", "PodCliqueScalingGroup", "grove.io/podcliquescalinggroup=chat", minAvailable=1),
    scaled("grove.io/v1alpha1", "PodCliqueSet", "app.kubernetes.io/part-of=chat"),
    Row(
        "serving.kserve.io/v1alpha2",
        "LLMInferenceService",
        LLMD_SPEC,
        {"replicas": 3},
        f"{LLMD_PODS} in (decode,both)",
        "decode",
        "object",
    ),
    Row(
        "serving.kserve.io/v1alpha2",
        "LLMInferenceService",
        LLMD_SPEC,
        {"prefill": {"replicas": 3}},
        f"{LLMD_PODS}=prefill",
        "prefill",
        "object",
    ),
    scaled(STORM, "StormService", "storm-service-name=chat"),
    Row(
        STORM,
        "StormService",
        {"replicas": 1, "template": {"spec": {"roles": ROLES}}},
        {"template": {"spec": {"roles": with_replicas(ROLES, 1, 3)}}},
        "storm-service-name=chat,role-name=decode",
        "decode",
        "object",
    ),
    scaled(STORM, "RayClusterFleet", selector=SELECTOR),
    Row(
        "production-stack.vllm.ai/v1alpha1",
        "VLLMRuntime",
        {"deploymentConfig": {"replicas": 2, "image": {}}},
        {"replicas": 3},
        more={"status": STATUS},
    ),
    scaled(SERVING, "ModelServing", "modelserving.volcano.sh/name=chat"),
    Row(
        SERVING,
        "ModelServing",
        {"replicas": 1, "template": {"roles": ROLES}},
        {"template": {"roles": with_replicas(ROLES, 1, 3)}},
        "modelserving.volcano.sh/name=chat,modelserving.volcano.sh/role=decode",
        "decode",
        "object",
    ),
    scaled("workloads.x-k8s.io/v1alpha2", "RoleBasedGroupScalingAdapter"),
    scaled("kaito.sh/v1beta1", "InferenceSet"),
    Row(
        "apps.nvidia.com/v1alpha1",
        "NIMService",
        {"replicas": 2},
        {"replicas": 3},
        "app.kubernetes.io/name=chat",
        through="object",
    ),
    Row(
        "ray.io/v1",
        "RayCluster",
        {"workerGroupSpecs": GROUPS},
        {"workerGroupSpecs": RAY_PATCHED},
        "ray.io/cluster=chat,ray.io/group=gpu",
        "gpu",
        "object",
    ),
    Row(
        "ray.io/v1",
        "RayService",
        {"rayClusterConfig": {"workerGroupSpecs": GROUPS}},
        {"rayClusterConfig": {"workerGroupSpecs": RAY_PATCHED}},
        "ray.io/cluster=chat-x1,ray.io/group=gpu",
        "gpu",
        "object",
        CLUSTER,
    ),
    scaled("example.com/v7", "Somebodys"),
]
every_row = pytest.mark.parametrize("row", ROWS, ids=str)


def merged(target: Any, patch: Any) -> Any:
    """What the API server makes of a merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def named(spec: Mapping[str, Any] | None = None, kind: str = "Deployment", api: str = "apps/v1") -> dict[str, Any]:
    return Row(api, kind, {"replicas": 2} if spec is None else spec, {}).target


# --- every kind -------------------------------------------------------------------------------------------------


@every_row
def test_the_replicas_are_read_where_the_kind_has_them(row: Row) -> None:
    assert replicas_of(row.meaning, row.target, row.component) == 2


@every_row
def test_a_patch_says_the_count_and_the_version_it_was_decided_on(row: Row) -> None:
    patch = patch_of(row.meaning, row.target, {row.component: 3})

    assert patch == Patch(
        "scale" if row.through == "scale" else "object",
        {"metadata": {"resourceVersion": "41"}, "spec": row.patched},
    )


@every_row
def test_the_pods_are_selected_as_the_kind_marks_them(row: Row) -> None:
    assert selector_of(row.meaning, row.target, row.component) == row.pods


@every_row
def test_a_plain_object_of_the_kind_is_not_refused(row: Row) -> None:
    assert refusal(row.meaning, row.target, row.component) is None


@every_row
def test_a_count_that_is_not_there_is_absent_and_never_written(row: Row) -> None:
    target = {**row.target, "spec": {}}

    assert isinstance(replicas_of(row.meaning, target, row.component), Absent)
    with pytest.raises(TargetError, match=rf"^target: {row.kind} prod/chat: \.spec\..* is not there; correct the comp"):
        patch_of(row.meaning, target, {row.component: 3})


@every_row
def test_no_kind_takes_a_count_below_0(row: Row) -> None:
    with pytest.raises(TargetError, match=r"-1 replicas cannot be; ask for 0 or more$"):
        patch_of(row.meaning, row.target, {row.component: -1})


def test_the_table_holds_every_kind_that_is_not_generic() -> None:
    tested = {(row.api_version, row.kind) for row in ROWS} | {
        ("disaggregatedset.x-k8s.io/v1", "DisaggregatedSet"),
        ("serving.kserve.io/v1beta1", "InferenceService"),
        ("serving.kserve.io/v1alpha1", "LLMInferenceService"),
        ("workloads.x-k8s.io/v1alpha2", "RoleBasedGroup"),
    }

    known = {(f"{kind.group}/{version}", kind.kind) for kind in KINDS for version in kind.versions}
    assert known == tested - {("example.com/v7", "Somebodys")}


# --- patches ----------------------------------------------------------------------------------------------------


@given(row=st.sampled_from(ROWS), count=st.integers(1, 6))
def test_what_a_patch_asks_for_is_read_back_and_nothing_else_changes(row: Row, count: int) -> None:
    before = row.target
    patch = patch_of(row.meaning, before, {row.component: count})
    assert before == row.target

    if patch.through == "scale":
        assert patch.body == {"metadata": {"resourceVersion": "41"}, "spec": {"replicas": count}}
        return
    after = merged(before, patch.body)
    assert replicas_of(row.meaning, after, row.component) == count
    assert merged(after, patch_of(row.meaning, after, {row.component: 2}).body) == before


json_values = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    unknown=st.lists(st.dictionaries(st.text(max_size=4), json_values, max_size=4), min_size=2, max_size=4),
    counts=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
def test_unknown_fields_of_list_items_are_sent_back_as_they_were(
    unknown: list[dict[str, Any]], counts: tuple[int, int]
) -> None:
    roles = [{**fields, "name": f"r{place}", "replicas": 1} for place, fields in enumerate(unknown)]
    target = named({"template": {"spec": {"roles": roles}}}, "StormService", STORM)
    kind = kind_of(STORM, "StormService", "stormservices")

    body = patch_of(kind, target, {"r0": counts[0], "r1": counts[1]}).body

    asked = {0: counts[0], 1: counts[1]}
    assert body["spec"]["template"]["spec"]["roles"] == [
        {**role, "replicas": asked.get(place, 1)} for place, role in enumerate(roles)
    ]


def test_two_counts_of_one_object_change_in_one_patch() -> None:
    kind = kind_of("serving.kserve.io/v1alpha2", "LLMInferenceService", "llminferenceservices")
    target = named(LLMD_SPEC, "LLMInferenceService", "serving.kserve.io/v1alpha2")

    patch = patch_of(kind, target, {"prefill": 4, "decode": 5})

    assert patch == Patch(
        "object", {"metadata": {"resourceVersion": "41"}, "spec": {"replicas": 5, "prefill": {"replicas": 4}}}
    )


@pytest.mark.parametrize(
    ("target", "changes", "error"),
    [
        pytest.param(
            {**named(), "metadata": {"name": "chat", "namespace": "prod"}},
            {"": 1},
            r"^target: Deployment prod/chat has no \.metadata\.resourceVersion; read it from the API server$",
            id="no version",
        ),
        pytest.param(
            named(),
            {"decode": 1},
            r"^target: Deployment prod/chat: Deployment has no component 'decode'; its components: none, it is sca",
            id="no such component",
        ),
        pytest.param(
            named({"services": {}}, "DynamoGraphDeployment", "nvidia.com/v1alpha1"),
            {"": 1},
            r"DynamoGraphDeployment is not scaled as a whole; name one of its components$",
            id="not as a whole",
        ),
        pytest.param(
            named({"replicas": True}),
            {"": 1},
            r"^target: Deployment prod/chat: \.spec\.replicas is True, no count of replicas; correct the component, or",
            id="no count",
        ),
        pytest.param(
            named({"replicas": 3, "minAvailable": 2}, "PodCliqueScalingGroup", "grove.io/v1alpha1"),
            {"": 1},
            r"^target: PodCliqueScalingGroup prod/chat: 1 is below its \.spec\.minAvailable 2; set min_replicas to 2 ",
            id="below minAvailable",
        ),
        pytest.param(
            named({"workerGroupSpecs": GROUPS}, "RayCluster", "ray.io/v1"),
            {"gpu": 7},
            r"7 is above its \.spec\.workerGroupSpecs\[groupName=gpu\]\.maxReplicas 6; set max_replicas to 6 or less$",
            id="above maxReplicas",
        ),
        pytest.param(
            named({"workerGroupSpecs": [GROUPS[0], GROUPS[0]]}, "RayCluster", "ray.io/v1"),
            {"gpu": 3},
            r"\.spec\.workerGroupSpecs\[groupName=gpu\]\.replicas is not there; correct the component",
            id="two items of one name",
        ),
        pytest.param(
            named({"replicas": 1}, "Scale", "autoscaling/v1"),
            {"decode": 3},
            r"^target: Scale prod/chat holds no 'decode'; read StormService itself, it is not scaled so$",
            id="the Scale of an object with roles",
        ),
    ],
)
def test_what_cannot_be_written_is_said_and_not_written(
    target: dict[str, Any], changes: dict[str, int], error: str
) -> None:
    api, kind = (STORM, "StormService") if target["kind"] == "Scale" else (target["apiVersion"], target["kind"])

    with pytest.raises(TargetError, match=error):
        patch_of(kind_of(api, kind, "plurals"), target, changes)


def test_the_bounds_of_an_object_are_told() -> None:
    ray = named({"workerGroupSpecs": GROUPS}, "RayCluster", "ray.io/v1")

    assert bounds_of(kind_of("ray.io/v1", "RayCluster", "rayclusters"), ray, "gpu") == (1, 6)
    assert bounds_of(kind_of("apps/v1", "Deployment", "deployments"), named()) == (0, None)
    assert bounds_of(kind_of("apps/v1", "Deployment", "deployments"), named(), "decode") == (0, None)


# --- the Scale of an object -------------------------------------------------------------------------------------

SCALE: dict[str, Any] = {
    "apiVersion": "autoscaling/v1",
    "kind": "Scale",
    "metadata": {"namespace": "prod", "name": "chat", "resourceVersion": "9"},
    "spec": {"replicas": 4},
    "status": {"replicas": 4, "selector": "a=b"},
}


@pytest.mark.parametrize(
    "kind", [("example.com/v7", "Somebodys"), ("production-stack.vllm.ai/v1alpha1", "VLLMRuntime")]
)
def test_a_scale_tells_count_and_selector_of_any_kind(kind: tuple[str, str]) -> None:
    meaning = kind_of(*kind, "plurals")

    assert replicas_of(meaning, SCALE) == 4
    assert selector_of(meaning, SCALE) == "a=b"
    assert patch_of(meaning, SCALE, {"": 0}) == Patch(
        "scale", {"metadata": {"resourceVersion": "9"}, "spec": {"replicas": 0}}
    )


def test_a_scale_without_a_count_is_at_0_for_its_encoding_leaves_zeros_out() -> None:
    assert replicas_of(kind_of("apps/v1", "Deployment", "deployments"), {**SCALE, "spec": {}}) == 0


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"matchLabels": {"a": "1", "b": "2"}}, "a=1,b=2"),
        (
            {
                "matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["x", "y"]},
                    {"key": "b", "operator": "NotIn", "values": ["z"]},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                ]
            },
            "a in (x,y),b notin (z),c,!d",
        ),
        (None, Absent("Deployment prod/chat: .spec.selector is not there, so its pods are unknown")),
        # An empty selector would select every pod of the namespace.
        ({}, Absent("Deployment prod/chat: .spec.selector is not there, so its pods are unknown")),
    ],
    ids=["labels", "expressions", "none", "empty"],
)
def test_a_label_selector_is_written_as_the_api_server_takes_it(selector: Any, expected: str | Absent) -> None:
    assert selector_of(kind_of("apps/v1", "Deployment", "deployments"), named({"selector": selector})) == expected


def test_pods_of_an_unknown_component_are_not_selected() -> None:
    said = selector_of(kind_of("apps/v1", "Deployment", "deployments"), named(), "decode")

    assert isinstance(said, Absent)


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "kind", "component", "spec", "annotations", "why"),
    [
        pytest.param(
            "nvidia.com/v1alpha1",
            "DynamoGraphDeployment",
            "Decode",
            {"services": {"Decode": {"replicas": 2, "scalingAdapter": {"enabled": True}}}},
            {},
            "Decode has a scaling adapter; scale DynamoGraphDeploymentScalingAdapter chat-decode instead",
            id="a v1alpha1 service with an adapter",
        ),
        pytest.param(
            "nvidia.com/v1beta1",
            "DynamoGraphDeployment",
            "decode",
            {"components": [{"name": "decode", "replicas": 2, "scalingAdapter": {}}]},
            {},
            "decode has a scaling adapter; scale DynamoGraphDeploymentScalingAdapter chat-decode instead",
            id="a v1beta1 component with an adapter",
        ),
        pytest.param(
            "serving.kserve.io/v1beta1",
            "InferenceService",
            "",
            {},
            {},
            "its controller scales it; set its annotation serving.kserve.io/autoscalerClass to external, "
            "and scale Deployment chat-predictor",
            id="an InferenceService that scales itself",
        ),
        pytest.param(
            "serving.kserve.io/v1beta1",
            "InferenceService",
            "",
            {},
            {"serving.kserve.io/autoscalerClass": "external"},
            "it has bounds, and no count; scale Deployment chat-predictor instead",
            id="an InferenceService of class external",
        ),
        pytest.param(
            "serving.kserve.io/v1alpha2",
            "LLMInferenceService",
            "decode",
            {**LLMD_SPEC, "scaling": {"maxReplicas": 4}},
            {},
            "it scales itself by .spec.scaling; remove that, and scale it by its replicas",
            id="an LLMInferenceService that scales itself",
        ),
        pytest.param(
            "serving.kserve.io/v1alpha2",
            "LLMInferenceService",
            "prefill",
            {"prefill": {"replicas": 1, "scaling": {}}},
            {},
            "it scales itself by .spec.prefill.scaling; remove that, and scale it by its replicas",
            id="an LLMInferenceService that scales its prefill",
        ),
        pytest.param(
            "apps.nvidia.com/v1alpha1",
            "NIMService",
            "",
            {"replicas": 1, "scale": {"enabled": True}},
            {},
            "its operator scales it by an HPA; set .spec.scale.enabled to false, and scale it then",
            id="a NIMService with an HPA",
        ),
        pytest.param(
            "ray.io/v1",
            "RayCluster",
            "gpu",
            {"enableInTreeAutoscaling": True, "workerGroupSpecs": GROUPS},
            {},
            "Ray's autoscaler owns its worker groups; set .spec.enableInTreeAutoscaling to false, "
            "or leave the scaling to Ray",
            id="a RayCluster with its autoscaler",
        ),
        pytest.param(
            "ray.io/v1",
            "RayService",
            "gpu",
            {"rayClusterConfig": {"enableInTreeAutoscaling": True, "workerGroupSpecs": GROUPS}},
            {},
            "Ray's autoscaler owns its worker groups; set .spec.rayClusterConfig.enableInTreeAutoscaling to false, "
            "or leave the scaling to Ray",
            id="a RayService with its autoscaler",
        ),
        pytest.param(
            STORM,
            "StormService",
            "decode",
            {"replicas": 3, "template": {"spec": {"roles": ROLES}}},
            {},
            "it runs 3 copies of all its roles; scale it as a whole, or set .spec.replicas to 1",
            id="a role of a StormService of several",
        ),
        pytest.param(
            SERVING,
            "ModelServing",
            "decode",
            {"replicas": 2, "template": {"roles": ROLES}},
            {},
            "it runs 2 copies of all its roles; scale it as a whole, or set .spec.replicas to 1",
            id="a role of a ModelServing of several",
        ),
        pytest.param(
            "disaggregatedset.x-k8s.io/v1",
            "DisaggregatedSet",
            "decode",
            {},
            {},
            "its roles are scaled apart; give the role scaling.mode External and scale its DisaggregatedSetRoleScaler",
            id="a DisaggregatedSet",
        ),
        pytest.param(
            "workloads.x-k8s.io/v1alpha2",
            "RoleBasedGroup",
            "decode",
            {},
            {},
            "its roles are scaled apart; set the role's scalingAdapter.enable and scale its "
            "RoleBasedGroupScalingAdapter",
            id="a RoleBasedGroup",
        ),
    ],
)
def test_what_its_own_controller_would_set_back_is_refused_with_what_to_scale_instead(
    api: str, kind: str, component: str, spec: dict[str, Any], annotations: dict[str, str], why: str
) -> None:
    target = named(spec, kind, api)
    target["metadata"]["annotations"] = annotations
    meaning = kind_of(api, kind, "plurals")

    assert refusal(meaning, target, component) == why
    with pytest.raises(TargetError, match=rf"^target: {kind} prod/chat is not scaled: "):
        patch_of(meaning, target, {component: 3})


@pytest.mark.parametrize(
    ("version", "spec"),
    [
        ("v1alpha1", {"services": {"Decode": {"replicas": 2, "scalingAdapter": {}}}}),
        ("v1beta1", {"components": [{"name": "Decode", "replicas": 2, "scalingAdapter": {"enabled": False}}]}),
        ("v1beta1", {"components": [{"name": "Other", "scalingAdapter": {}}, {"name": "Decode", "replicas": 2}]}),
    ],
    ids=["not enabled", "switched off", "another component's"],
)
def test_a_component_without_an_adapter_of_its_own_is_not_refused(version: str, spec: dict[str, Any]) -> None:
    api = f"nvidia.com/{version}"
    target = named(spec, "DynamoGraphDeployment", api)

    assert refusal(kind_of(api, "DynamoGraphDeployment", "plurals"), target, "Decode") is None


def test_a_kind_without_a_count_says_so() -> None:
    kind = kind_of("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")

    said = replicas_of(kind, named({}, "InferenceService", "serving.kserve.io/v1beta1"))

    assert said == Absent("InferenceService prod/chat: InferenceService has no replicas to set")


# --- versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "kind", "served", "expected"),
    [
        ("nvidia.com", "DynamoGraphDeployment", ["v1alpha1", "v1beta1"], "v1beta1"),
        ("nvidia.com", "DynamoGraphDeployment", ["v1alpha1"], "v1alpha1"),
        ("nvidia.com", "DynamoGraphDeployment", ["v3", "v2"], "v3"),
        ("example.com", "Somebodys", ["v7"], "v7"),
    ],
    ids=["newest known", "older known", "none known", "generic"],
)
def test_the_newest_known_version_that_is_served_is_spoken(
    group: str, kind: str, served: list[str], expected: str
) -> None:
    assert version_of(group, kind, served) == expected


def test_a_kind_that_is_not_served_is_said() -> None:
    with pytest.raises(ValueError, match=r"^Deployment\.apps is not served$"):
        version_of("apps", "Deployment", [])


def test_a_newer_version_is_read_like_the_newest_known_and_a_vanished_path_is_said() -> None:
    kind = kind_of("nvidia.com/v2", "DynamoGraphDeployment", "dynamographdeployments")

    assert text(kind.parts[ANY].replicas) == ".spec.components[name=*].replicas"
    with pytest.raises(TargetError, match=r"\.spec\.components\[name=Decode\]\.replicas is not there"):
        patch_of(kind, named({"parts": []}, "DynamoGraphDeployment", "nvidia.com/v2"), {"Decode": 1})


def test_an_unknown_kind_is_scaled_by_its_scale_alone() -> None:
    kind = kind_of("example.com/v7", "Somebodys", "somebodies")

    assert (kind.group, kind.kind, kind.plural, kind.versions) == ("example.com", "Somebodys", "somebodies", ())


# --- paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", [".spec.replicas", ".spec.components[name=*].replicas", ".spec.services.*.replicas"]
)
def test_a_path_is_written_as_it_was_read(written: str) -> None:
    assert text(path(written)) == written


@pytest.mark.parametrize("written", ["", "spec.replicas", ".spec.", ".roles[0]", ".a b"])
def test_what_is_no_path_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"is no path; write it like \.spec\.roles\[name=decode\]\.replicas$"):
        path(written)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"f:spec": {"f:roles": {'k:{"name":"decode"}': {".": {}, "f:replicas": {}}}}}, True),
        ({"f:spec": {"f:roles": {'k:{"name":"prefill"}': {"f:replicas": {}}}}}, False),
        ({"f:spec": {"f:roles": {'k:{"name":"decode"}': {"f:image": {}}}}}, False),
        ({"f:spec": {"f:roles": {}}}, True),
        ({"f:spec": {"f:roles": {'k:{"name":"decode"}': {"f:replicas": {".": {}}}}}}, True),
        ({"f:spec": {"f:roles": {"f:odd": {}}}}, False),
        ({"f:status": {"f:replicas": {}}}, False),
        (None, False),
    ],
    ids=[
        "the item",
        "another item",
        "another field",
        "a list owned whole",
        "a field with fields",
        "no list",
        "another place",
        "nothing",
    ],
)
def test_managed_fields_tell_who_owns_a_count_in_a_list(fields: Any, expected: bool) -> None:
    assert owns(fields, at(path(".spec.roles[name=*].replicas"), "decode")) is expected
