"""What a doctor makes of a cluster: each finding, with its numbers and its remedy, and nothing that merely follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from builders import TARGETS, pool_settings, service_settings

from planner.connectors.kubernetes.api.discovery import Resource
from planner.connectors.kubernetes.connector import Pool
from planner.connectors.kubernetes.objects.owners import Reference
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.pools import pool_state
from planner.connectors.kubernetes.objects.table import kind_of
from planner.connectors.kubernetes.objects.targets import target_of
from planner.doctor.cluster import ClusterEvidence, Fleet, Found, PoolEvidence, judge
from planner.doctor.cluster.needs import Need
from planner.doctor.finding import Finding, Level
from planner.scaling.types import Absent, Role, Sample, ServiceSamples

A, P = Role.AGGREGATED, Role.PREFILL
NOW_S = 1_790_000_000.0
CREATED, SCHEDULED = "2026-09-21T14:00:00Z", "2026-09-21T14:00:05Z"
GROUPS = {"Deployment": "apps/v1", "RayCluster": "ray.io/v1", "NIMService": "apps.nvidia.com/v1alpha1"}
PLURALS = {"Deployment": "deployments", "RayCluster": "rayclusters", "NIMService": "nimservices"}
ACCOUNT = "system:serviceaccount:llm:sla-planner"
SERVICE = service_settings(roles=(A,))
LIMITS = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}


def a_pod(name: str, took_s: int = 115, gpus: int = 1, **status: Any) -> Object:
    """A Ready one unless its status says otherwise."""
    minute, second = divmod(5 + took_s, 60)
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": SCHEDULED},
        {"type": "Ready", "status": "True", "lastTransitionTime": f"2026-09-21T14:{minute:02}:{second:02}Z"},
    ]
    return {
        "metadata": {"name": name, "creationTimestamp": CREATED},
        "spec": {
            "nodeName": "node-1", "terminationGracePeriodSeconds": 60,
            "containers": [{"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}],
        },
        "status": {"phase": "Running", "conditions": conditions, **status},
    }  # fmt: skip


def unschedulable(name: str) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/4 nodes have a GPU."}
    return {"metadata": {"name": name}, "status": {"phase": "Pending", "conditions": [condition]}}


def crashing(name: str) -> Object:
    container = {"name": "vllm", "restartCount": 5, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    return a_pod(name, conditions=[], containerStatuses=[container])


PODS = (a_pod("a-0"), a_pod("a-1"))


def an_object(kind: str = "Deployment", managers: tuple[str, ...] = (), spec: Object | None = None) -> dict[str, Any]:
    fields = [{"manager": each, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}} for each in managers]
    template = {"spec": {"containers": [LIMITS], "terminationGracePeriodSeconds": 60}}
    return {
        "apiVersion": GROUPS[kind], "kind": kind,
        "metadata": {"name": "vllm", "namespace": "llm", "managedFields": fields},
        "spec": {"replicas": 2, "template": template} if spec is None else spec,
    }  # fmt: skip


def found(target: dict[str, Any]) -> Found:
    group, _, version = str(target["apiVersion"]).rpartition("/")
    kind = str(target["kind"])
    row = kind_of(str(target["apiVersion"]), kind, PLURALS[kind])
    return Found(Resource(group, version, kind, PLURALS[kind], namespaced=True, scalable=True), row, target)


def a_pool(
    target: dict[str, Any] | None = None, pods: tuple[Object, ...] = PODS, component: str = "", role: Role = A,
    wanted: int = 2, gpus: int = 1, configured: bool = True, **pool: Any,
) -> PoolEvidence:  # fmt: skip
    target = an_object() if target is None else target
    name = f"{target['kind']}.{str(target['apiVersion']).rpartition('/')[0]}/vllm"
    ref = target_of(f"{name}#{component}" if component else name, "llm")
    service = replace(SERVICE, pools={role: pool_settings(role, **pool)})
    state = pool_state(pods, target, wanted, NOW_S)
    return PoolEvidence(role, service, Pool(ref, gpus, configured), found(target), pods, state)


LEASE = ("llm", "sla-planner")
FLEET = Fleet({"chat": SERVICE}, {}, budget_gpus=8, lease=LEASE)
GOOD = ClusterEvidence(
    FLEET, version="v1.36.1", account=ACCOUNT, skew_s=0.4, at_s=NOW_S, asked=11,
    autoscalers={"llm": ()}, lease=Absent("there is none"), node_gpus=64, pools=(a_pool(),),
)  # fmt: skip


def of(one: PoolEvidence, **changes: Any) -> ClusterEvidence:
    return replace(GOOD, pools=(one,), **changes)


def notable(evidence: ClusterEvidence, seen: Mapping[str, ServiceSamples] | None = None) -> list[Finding]:
    return [finding for finding in judge(evidence, seen or {}) if finding.level is not Level.GOOD]


def problem(check: str, text: str, remedy: str | None, service: str | None = "chat") -> Finding:
    return Finding(service, check, Level.PROBLEM, text, remedy)


def remark(check: str, text: str, remedy: str | None, service: str | None = "chat") -> Finding:
    return Finding(service, check, Level.REMARK, text, remedy)


# --- what is good -----------------------------------------------------------------------------------------------------


def test_says_of_a_sound_fleet_what_it_looked_at() -> None:
    assert [(finding.check, finding.text) for finding in judge(GOOD, {})] == [
        ("api server", "Kubernetes v1.36.1"),
        ("clock", "within 5 s of this machine's"),
        ("account", ACCOUNT),
        ("permissions", "all 11 that the planner needs for its targets in llm"),
        ("lease", "there is no Lease llm/sla-planner yet; the planner makes it"),
        ("budget", "the pools hold 2 GPUs of budget.gpus 8"),
        ("target", "aggregated: Deployment llm/vllm, 2 replicas"),
        ("gpus", "aggregated: 1 GPU a replica, as the budget counts"),
        ("pods", "aggregated: 2 of 2 Ready"),
        ("start-up", "aggregated: median 115 s, slowest 115 s of 2 pods; startup_s is 120"),
        (
            "grace period",
            "aggregated: terminationGracePeriodSeconds 60 s; by the agreement 200 ms to the first token and 4 x 150 "
            "tokens of 20 ms take 12.2 s",
        ),
    ]
    assert notable(GOOD) == []


def test_counts_ready_replicas_for_the_doctor_of_prometheus() -> None:
    assert GOOD.ready == {"chat": {A: 2}}
    assert of(PoolEvidence(A, SERVICE, GOOD.pools[0].pool, None)).ready == {}


# --- the cluster ------------------------------------------------------------------------------------------------------


def test_when_the_api_server_does_not_answer_nothing_else_is_said() -> None:
    down = ClusterEvidence(FLEET, failure="GET /version: Connection refused; see whether it runs")

    assert judge(down, {}) == (problem("api server", "GET /version: Connection refused", "see whether it runs", None),)


LACKING = (
    Need("pods", "llm", "", "pods", "list"),
    Need("pods", "llm", "", "pods", "watch"),
    Need("plan", "llm", "apps", "deployments", "patch", "scale", "vllm-a"),
    Need("plan", "llm", "apps", "deployments", "patch", "scale", "vllm-b"),
)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        pytest.param(
            {"unanswered": ("GET /x: nothing came within 5 s; see whether it is overloaded",)},
            problem(
                "api server", "a question was not answered: GET /x: nothing came within 5 s",
                "see whether it is overloaded", None,
            ),
            id="no answer",
        ),
        pytest.param(
            {"skew_s": -61.0},
            remark("clock", "61 s behind this machine's", "set both clocks by the same time server", None),
            id="clock behind",
        ),
        pytest.param(
            {"account": "admin"},
            remark(
                "account", "admin is no ServiceAccount; what is permitted to it may not be to the planner",
                "run this in the planner's pod, or give --kubeconfig with a token of its ServiceAccount", None,
            ),
            id="a person",
        ),
        pytest.param(
            {"denied": LACKING},
            problem(
                "permissions", f"in namespace llm {ACCOUNT} may not list and watch pods, patch deployments.apps/scale",
                'give it a Role in llm with rules: [{apiGroups: [""], resources: [pods], verbs: [list, watch]}, '
                "{apiGroups: [apps], resources: [deployments/scale], resourceNames: [vllm-a, vllm-b], verbs: [patch]}]",
                None,
            ),
            id="permissions",
        ),
        pytest.param(
            {"denied": (Need("events", "llm", "events.k8s.io", "events", "create"),)},
            remark(
                "permissions",
                f"in namespace llm {ACCOUNT} may not create events.events.k8s.io; without it: nobody sees in the "
                "cluster what the planner did",
                "give it a Role in llm with rules: [{apiGroups: [events.k8s.io], resources: [events], verbs: "
                "[create]}]",
                None,
            ),
            id="events",
        ),
        pytest.param(
            {"denied": (Need("marks", "llm", "", "pods", "patch"),)},
            remark(
                "permissions",
                f"in namespace llm {ACCOUNT} may not patch pods; without it: the idlest pods do not go first",
                'give it a Role in llm with rules: [{apiGroups: [""], resources: [pods], verbs: [patch]}]', None,
            ),
            id="marks",
        ),
        pytest.param(
            {"fleet": replace(FLEET, budget_gpus=1)},
            problem(
                "budget", "the pools hold 2 GPUs, 1 more than budget.gpus 1; the planner would lower the fleet at once",
                "budget.gpus: give 2 or more, or scale down before", None,
            ),
            id="above the budget",
        ),
        pytest.param(
            {"node_gpus": 4},
            remark(
                "budget", "budget.gpus is 8, and the nodes have 4 GPUs; a plan beyond them waits for nodes",
                "right where nodes are added when pods need them; else budget.gpus: give 4", None,
            ),
            id="more than there is",
        ),
    ],
)  # fmt: skip
def test_what_is_odd_about_the_cluster_is_told(changes: dict[str, Any], finding: Finding) -> None:
    assert notable(replace(GOOD, **changes)) == [finding]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        pytest.param({"holderIdentity": ""}, "nobody holds the Lease llm/sla-planner", id="given up"),
        pytest.param({"holderIdentity": "p-1"}, "p-1 holds the Lease llm/sla-planner", id="without a time"),
        pytest.param(
            {"holderIdentity": "p-1", "leaseDurationSeconds": 15, "renewTime": "2026-09-21T14:13:15.000000Z"},
            "p-1 holds the Lease llm/sla-planner, renewed 5 s ago", id="held",
        ),
        pytest.param(
            {"holderIdentity": "p-1", "leaseDurationSeconds": 15, "renewTime": "2026-09-21T14:12:20.000000Z"},
            "p-1 held the Lease llm/sla-planner, renewed 60 s ago; the next planner takes it", id="let go",
        ),
    ],
)  # fmt: skip
def test_the_lease_tells_who_writes(spec: Object, text: str) -> None:
    findings = judge(replace(GOOD, lease={"spec": spec}), {})

    assert [finding.text for finding in findings if finding.check == "lease"] == [text]


# --- targets ----------------------------------------------------------------------------------------------------------

HPA: Object = {
    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "rival"},
    "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm"}},
}  # fmt: skip
EXTERNAL = replace(FLEET, external=frozenset({"chat"}))
OWNED = an_object() | {
    "metadata": {
        "name": "vllm", "namespace": "llm",
        "ownerReferences": [{"apiVersion": "example.com/v1", "kind": "Fleet", "name": "all", "controller": True}],
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("evidence", "finding"),
    [
        pytest.param(
            of(a_pool(OWNED), owners={("llm", Reference("example.com", "Fleet", "all")): None}),
            problem(
                "target",
                "aggregated: Deployment llm/vllm would not be scaled: Fleet all owns it and would set its replicas "
                "back",
                "scale Fleet all instead",
            ),
            id="owned",
        ),
        pytest.param(
            of(a_pool(an_object("NIMService", spec={"replicas": 2, "scale": {"enabled": True}}))),
            problem(
                "target",
                "aggregated: NIMService llm/vllm would not be scaled: its operator scales it by an HPA",
                "set .spec.scale.enabled to false, and scale it then",
            ),
            id="refused by its kind",
        ),
        pytest.param(
            of(a_pool(an_object(spec={"template": an_object()["spec"]["template"]}))),
            problem(
                "target", "aggregated: Deployment llm/vllm: .spec.replicas is not there",
                "kubernetes.aggregated: correct the component, or write the count there once",
            ),
            id="no count",
        ),
        pytest.param(
            of(a_pool(an_object(spec={**an_object()["spec"], "replicas": 0}), pods=(), wanted=0)),
            problem(
                "target",
                "aggregated: Deployment llm/vllm has 0 replicas, which means maintenance: nothing is written until "
                "somebody sets it above 0",
                "when that is over, set it to 1 or more",
            ),
            id="maintenance",
        ),
        pytest.param(
            of(a_pool(), autoscalers={"llm": (HPA,)}),
            problem(
                "autoscaler",
                "aggregated: Deployment llm/vllm would not be scaled: HorizontalPodAutoscaler rival scales it",
                "delete it, or leave the target to it",
            ),
            id="autoscaler",
        ),
        pytest.param(
            of(a_pool(), fleet=EXTERNAL),
            problem(
                "autoscaler",
                "aggregated: kubernetes.actuator is external, and no autoscaler sets the replicas of Deployment "
                "llm/vllm",
                "give it an HPA or a ScaledObject that asks for the planner's figure",
            ),
            id="no autoscaler",
        ),
        pytest.param(
            of(a_pool(min_replicas=3)),
            remark(
                "bounds", "aggregated: 2 replicas, below min_replicas 3: it would be raised at once",
                "if that is not meant, aggregated.min_replicas: give 2",
            ),
            id="below the least",
        ),
        pytest.param(
            of(a_pool(max_replicas=1)),
            remark(
                "bounds", "aggregated: 2 replicas, above max_replicas 1: it would be lowered",
                "if that is not meant, aggregated.max_replicas: give 2",
            ),
            id="above the most",
        ),
        pytest.param(
            of(a_pool(an_object(managers=("kustomize-controller",)))),
            problem(
                "last writer",
                "aggregated: replicas are as kustomize-controller set them; it writes its own back, which the planner "
                "takes for a fight",
                "leave replicas out of its manifest in the Kustomization's source",
            ),
            id="Flux",
        ),
        pytest.param(
            of(a_pool(an_object(managers=("helm",)))),
            remark(
                "last writer", "aggregated: replicas are as helm set them; the next upgrade sets them so again",
                "leave replicas out of its manifest",
            ),
            id="Helm",
        ),
    ],
)  # fmt: skip
def test_what_keeps_a_target_from_being_scaled_is_told(evidence: ClusterEvidence, finding: Finding) -> None:
    assert notable(evidence) == [finding]


def test_what_could_not_be_read_is_not_taken_for_nothing() -> None:
    unread = {"autoscalers": {"llm": None}, "claims": {"llm": None}}
    claims = {"containers": [{}], "resourceClaims": [{"resourceClaimTemplateName": "gpu"}]}
    target = an_object(spec={"replicas": 2, "template": {"spec": claims}})

    assert notable(of(a_pool(target), fleet=EXTERNAL, **unread)) == []


def test_the_autoscaler_that_is_the_actuator_is_no_rival() -> None:
    assert notable(of(a_pool(), fleet=EXTERNAL, autoscalers={"llm": (HPA,)})) == []


@pytest.mark.parametrize(
    ("managers", "text"),
    [
        pytest.param(("sla-planner",), "aggregated: replicas are as the planner set them", id="ours"),
        pytest.param(("kubectl", "sla-planner"), "aggregated: replicas are as kubectl set them", id="two that agree"),
    ],
)
def test_who_set_the_replicas_is_told(managers: tuple[str, ...], text: str) -> None:
    findings = judge(of(a_pool(an_object(managers=managers))), {})

    assert [finding.text for finding in findings if finding.check == "last writer"] == [text]


def test_of_a_target_that_is_not_there_nothing_else_is_said() -> None:
    one = PoolEvidence(A, SERVICE, GOOD.pools[0].pool, Absent("there is no Deployment llm/vlm; did you mean vllm?"))

    assert [finding for finding in judge(of(one), {}) if finding.service is not None] == [
        problem(
            "target", "aggregated: there is no Deployment llm/vlm", "kubernetes.aggregated: did you mean vllm?"
        )
    ]  # fmt: skip


def test_a_kind_without_a_scale_subresource_is_told() -> None:
    one = a_pool()
    assert isinstance(one.found, Found)
    unscalable = replace(one.found, resource=replace(one.found.resource, scalable=False))

    assert notable(of(replace(one, found=unscalable))) == [
        problem(
            "target", "aggregated: Deployment llm/vllm cannot be scaled: apps/v1 serves no scale subresource for it",
            "kubernetes.aggregated: give an object that has one",
        )
    ]  # fmt: skip


RAY_GROUP = {"groupName": "decode", "replicas": 2, "minReplicas": 2, "maxReplicas": 6}
RAY = {"workerGroupSpecs": [{**RAY_GROUP, "template": {"spec": {"containers": [LIMITS]}}}]}


def test_bounds_of_the_object_itself_are_compared() -> None:
    findings = notable(of(a_pool(an_object("RayCluster", spec=RAY), component="decode")))

    assert findings == [
        problem(
            "bounds",
            "aggregated: RayCluster llm/vllm (decode) allows no fewer than 2 replicas, and min_replicas is 1: a plan "
            "below would be refused",
            "aggregated.min_replicas: give 2",
        ),
        problem(
            "bounds",
            "aggregated: RayCluster llm/vllm (decode) allows no more than 6 replicas, and max_replicas is not set: a "
            "plan above would be refused",
            "aggregated.max_replicas: give 6",
        ),
    ]


# --- GPUs -------------------------------------------------------------------------------------------------------------

PRESET = an_object("NIMService", spec={"replicas": 2, "multiNode": {}})
"""Does not say what its pods are."""
BIG = (a_pod("a-0", gpus=2), a_pod("a-1", gpus=2))


@pytest.mark.parametrize(
    ("one", "finding"),
    [
        pytest.param(
            a_pool(gpus=2),
            problem(
                "gpus",
                "aggregated: a replica holds 1 GPU by its pod template, and the budget counts 2; the planner would not "
                "scale it",
                "aggregated.gpus_per_replica: give 1",
            ),
            id="template against budget",
        ),
        pytest.param(
            a_pool(an_object(spec={"replicas": 2, "template": {"spec": {"containers": [{}]}}})),
            problem(
                "gpus",
                "aggregated: Deployment llm/vllm: no GPU is found in its pod template; the planner would not scale it",
                "set aggregated.gpus_per_replica",
            ),
            id="none in the template",
        ),
        pytest.param(
            a_pool(pods=BIG),
            problem(
                "gpus",
                "aggregated: a replica's running pods hold 2 GPUs, its pod template and the budget count 1",
                "see who changes its pods; the budget is held by the template's count",
            ),
            id="pods against template",
        ),
        pytest.param(
            a_pool(PRESET, pods=BIG),
            problem(
                "gpus", "aggregated: a replica's running pods hold 2 GPUs, and the budget counts 1",
                "aggregated.gpus_per_replica: give 2",
            ),
            id="pods against configuration",
        ),
        pytest.param(
            a_pool(PRESET, configured=False),
            problem(
                "gpus",
                "aggregated: NIMService llm/vllm does not say how many GPUs a replica holds; the planner would not "
                "scale it",
                "aggregated.gpus_per_replica: give 1",
            ),
            id="nobody said so, and pods tell",
        ),
        pytest.param(
            a_pool(PRESET, configured=False, pods=(), wanted=0),
            problem(
                "gpus",
                "aggregated: NIMService llm/vllm does not say how many GPUs a replica holds; the planner would not "
                "scale it",
                "aggregated.gpus_per_replica: give it, if only the 1 of the profile",
            ),
            id="nobody said so",
        ),
    ],
)  # fmt: skip
def test_gpus_that_are_counted_wrongly_are_told(one: PoolEvidence, finding: Finding) -> None:
    assert [each for each in notable(of(one)) if each.check == "gpus"] == [finding]


@pytest.mark.parametrize(
    ("one", "text"),
    [
        pytest.param(a_pool(PRESET), "aggregated: 1 GPU a replica as configured, as its running pods hold", id="pods"),
        pytest.param(
            a_pool(PRESET, pods=()), "aggregated: 1 GPU a replica as configured, not told by its object", id="no pods"
        ),
    ],
)
def test_where_the_object_does_not_tell_its_pods_or_the_configuration_do(one: PoolEvidence, text: str) -> None:
    assert [each.text for each in judge(of(one), {}) if each.check == "gpus"] == [text]


# --- pods -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pods", "finding"),
    [
        pytest.param(
            (a_pod("a-0"), unschedulable("a-1")),
            problem(
                "pods",
                "aggregated: 1 of 2 Ready, 1 pending; pending: 0/4 nodes have a GPU. (1 pods); after "
                "scaling.max_pending_s 300 s the pool is raised no further",
                "add nodes or free their GPUs; else lower budget.gpus to what the cluster has",
            ),
            id="pending",
        ),
        pytest.param(
            (a_pod("a-0"), crashing("a-1")),
            problem(
                "pods",
                "aggregated: 1 of 2 Ready, 1 failing; failing: vllm: CrashLoopBackOff, 5 restarts (1 pods)",
                "see kubectl describe and kubectl logs of these pods: they hold GPUs and serve nobody",
            ),
            id="failing",
        ),
        pytest.param(
            tuple({**a_pod(name), "metadata": {"name": name, "labels": {"pod-template-hash": name}}} for name in "ab"),
            remark("pods", "aggregated: 2 of 2 Ready, rolling out", "ask again when the roll-out is over"),
            id="rolling out",
        ),
        pytest.param(
            (a_pod("a-0", took_s=20), a_pod("a-1", took_s=31)),
            remark(
                "start-up", "aggregated: median 26 s, slowest 31 s of 2 pods; startup_s is 120",
                "startup_s: give 31, until it is learnt",
            ),
            id="quick starts",
        ),
    ],
)  # fmt: skip
def test_pods_that_need_attention_are_told(pods: tuple[Object, ...], finding: Finding) -> None:
    assert notable(of(a_pool(pods=pods))) == [finding]


def test_pods_that_start_or_end_are_counted() -> None:
    starting = a_pod("a-1", conditions=[])
    ending = a_pod("a-2")
    ending = {**ending, "metadata": {**ending["metadata"], "deletionTimestamp": CREATED}}

    findings = judge(of(a_pool(pods=(a_pod("a-0"), starting, ending))), {})
    assert [each.text for each in findings if each.check == "pods"] == [
        "aggregated: 1 of 2 Ready, 1 starting, 1 draining"
    ]


# --- draining ---------------------------------------------------------------------------------------------------------


def seen(osl: float, itl_s: float) -> dict[str, ServiceSamples]:
    none = Absent("not asked")
    lengths, each_s = Sample(osl, NOW_S), Sample(itl_s, NOW_S)
    return {"chat": ServiceSamples(60.0, none, none, lengths, none, none, none, each_s, {})}


@pytest.mark.parametrize(
    ("osl", "itl_s", "finding"),
    [
        pytest.param(
            1000.0, 0.02,
            remark(
                "grace period",
                "aggregated: terminationGracePeriodSeconds 60 s; as seen 200 ms to the first token and 4 x 1000 tokens "
                "of 20 ms take 80.2 s: long requests would be cut when the pool is lowered",
                "pod template: set terminationGracePeriodSeconds to 81 or more",
            ),
            id="long ones are cut",
        ),
        pytest.param(
            2000.0, 0.04,
            problem(
                "grace period",
                "aggregated: terminationGracePeriodSeconds 60 s; as seen 200 ms to the first token and 4 x 2000 tokens "
                "of 40 ms take 320.2 s, and even a request of mean length 80.2 s: it would be cut when the pool is "
                "lowered",
                "pod template: set terminationGracePeriodSeconds to 321 or more",
            ),
            id="most are cut",
        ),
    ],
)  # fmt: skip
def test_requests_must_end_before_their_pod_is_killed(osl: float, itl_s: float, finding: Finding) -> None:
    assert notable(GOOD, seen(osl, itl_s)) == [finding]


def test_shorter_requests_than_agreed_change_nothing() -> None:
    assert notable(GOOD, seen(10.0, 0.01)) == []


def test_a_prefill_engine_waits_for_the_first_token_alone() -> None:
    findings = judge(of(a_pool(role=P)), seen(9000.0, 1.0))

    assert [each.text for each in findings if each.check == "grace period"] == [
        f"prefill: terminationGracePeriodSeconds 60 s; by the agreement {TARGETS.ttft_ms:g} ms to the first token take "
        "0.2 s"
    ]


def test_pods_tell_the_grace_period_that_the_object_does_not() -> None:
    findings = judge(of(a_pool(PRESET)), {})

    assert [each.level for each in findings if each.check == "grace period"] == [Level.GOOD]
    assert [each for each in judge(of(a_pool(PRESET, pods=())), {}) if each.check == "grace period"] == []
