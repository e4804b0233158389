"""The connector over a cluster that is only pretended: what it reads, writes, refuses and remembers."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest
from kubernetes_pretended import Pretended, Server, deployment, pod

from planner.clock import VirtualClock
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.connector import KubernetesConnector, Pool
from planner.connectors.kubernetes.objects.paths import Object
from planner.connectors.kubernetes.objects.targets import target_of
from planner.connectors.kubernetes.objects.writers import Policy
from planner.connectors.types import Applied, Plan
from planner.scaling.types import Absent, Role, Sample

P, D = Role.PREFILL, Role.DECODE
PREFILL, DECODE = target_of("Deployment/prefill", "llm"), target_of("Deployment/decode", "llm")
GRAPH = "DynamoGraphDeployment/graph"
NOW_S = 1000.0


def graph(prefill: int = 2, decode: int = 2) -> dict[str, Any]:
    service = {"resources": {"limits": {"gpu": "1"}}}
    services = {"P": {"replicas": prefill, **service}, "D": {"replicas": decode, **service}}
    return {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "graph", "namespace": "llm", "uid": "uid-graph", "resourceVersion": "7"},
        "spec": {"services": services},
    }


def connector(
    pretended: Pretended, policy: Policy | None = None, pools: Mapping[Role, Pool] | None = None
) -> tuple[KubernetesConnector, VirtualClock]:
    clock = VirtualClock(NOW_S)
    chosen = pools or {P: Pool(PREFILL, 1), D: Pool(DECODE, 1)}
    made = KubernetesConnector(
        Server(pretended), pretended, {"chat": chosen}, {"chat": policy or Policy()}, clock, pretended.fence
    )
    return made, clock


def play(script: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(script())


def applied(pretended: Pretended, replicas: Mapping[Role, int], **options: Any) -> Applied:
    made, _ = connector(pretended, **options)

    async def script() -> Applied:
        await made.read("chat")
        return await made.apply(Plan("chat", replicas, "1"))

    result: Applied = play(script)
    return result


def test_counts_are_read_from_the_object_and_its_pods() -> None:
    pretended = Pretended(deployment("prefill", 3), deployment("decode", 1))
    pretended.pods_of = {
        "prefill": [pod("prefill", 0), pod("prefill", 1, ready=False)],
        "decode": [pod("decode", 0)],
    }
    made, _ = connector(pretended)

    read = play(lambda: made.read("chat"))

    def count(value: float) -> Sample:
        return Sample(value, NOW_S)

    assert (read[P].wanted, read[P].ready, read[P].starting) == (count(3), count(1), count(1))
    assert (read[D].wanted, read[D].ready, read[D].rolling_out) == (count(1), count(1), count(0))


def test_a_target_that_is_not_there_is_absent_with_the_cause_and_never_zero() -> None:
    made, _ = connector(Pretended(deployment("prefill")))

    read = play(lambda: made.read("chat"))

    cause = Absent("Deployment llm/decode: there is no such object; create it, or correct the target")
    assert [getattr(read[D], name) for name in ("wanted", "ready", "starting", "draining")] == [cause] * 4
    assert isinstance(read[P].wanted, Sample)


def test_a_plan_is_one_patch_an_object_fewer_first_each_with_the_version_it_was_decided_on() -> None:
    pretended = Pretended(deployment("prefill", 2), deployment("decode", 4))

    done = applied(pretended, {P: 3, D: 2})

    assert done == Applied("applied", "Deployment llm/decode: replicas to 2; Deployment llm/prefill: replicas to 3")
    assert pretended.patches == [
        ("decode/scale", {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 2}}),
        ("prefill/scale", {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 3}}),
    ]
    assert [each["spec"]["replicas"] for each in pretended.put_in] == [2, 3]
    assert {each["metadata"]["resourceVersion"] for each in pretended.put_in} == {"8"}


def test_two_counts_of_one_object_change_in_one_patch() -> None:
    pretended = Pretended(graph())
    pools = {role: Pool(target_of(f"{GRAPH}#{role.value[0].upper()}", "llm"), 1) for role in (P, D)}

    done = applied(pretended, {P: 3, D: 1}, pools=pools)

    assert done.status == "applied", done
    ((path, body),) = pretended.patches
    assert path == "graph"
    assert {name: service["replicas"] for name, service in body["spec"]["services"].items()} == {"P": 3, "D": 1}


def test_what_is_so_already_is_left_alone() -> None:
    pretended = Pretended(deployment("prefill", 3), deployment("decode", 2))

    assert applied(pretended, {P: 3}) == Applied("unchanged", "Deployment llm/prefill is so already")
    assert pretended.patches == []


HPA = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "rival", "namespace": "llm"},
    "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "prefill"}},
}
OWNED: dict[str, Any] = {
    "ownerReferences": [{"apiVersion": "production-stack.vllm.ai/v1alpha1", "kind": "VLLMRuntime", "name": "runtime",
                         "controller": True}]
}  # fmt: skip


@pytest.mark.parametrize(
    ("target", "others", "why"),
    [
        pytest.param(deployment("prefill"), [HPA], "HorizontalPodAutoscaler rival scales it", id="HPA"),
        pytest.param(deployment("prefill", **OWNED), [], "VLLMRuntime runtime owns it", id="owner"),
        pytest.param(
            deployment("prefill", gpus=4), [], "a replica holds 4 GPUs, and the budget counts 1", id="other GPUs"
        ),
        pytest.param(deployment("prefill", gpus=0), [], "gpus_per_replica", id="no GPUs"),
    ],
)
def test_what_would_be_fought_over_or_miscounted_is_refused(
    target: dict[str, Any], others: list[dict[str, Any]], why: str
) -> None:
    pretended = Pretended(target, deployment("decode"))
    pretended.others = others

    done = applied(pretended, {P: 3}, pools={P: Pool(PREFILL, 1, configured=False)})

    assert done.status == "refused"
    assert why in done.detail
    assert pretended.patches == []


def test_gpus_that_cannot_be_counted_are_those_configured() -> None:
    pretended = Pretended(deployment("prefill", gpus=0), deployment("decode"))

    assert applied(pretended, {P: 3}, pools={P: Pool(PREFILL, 1, configured=True)}).status == "applied"


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        pytest.param(ApiError(409, "Conflict"), "failed", "changed meanwhile; decided anew", id="conflict"),
        pytest.param(ApiError(403, "Forbidden", "PATCH x"), "refused", "PATCH x", id="forbidden"),
        pytest.param(ApiError(500, "InternalError"), "failed", "500 InternalError", id="500"),
        pytest.param(ApiError(None, "Timeout", "nothing came"), "failed", "nothing came", id="timeout"),
    ],
)
def test_a_patch_that_did_not_succeed_is_said_and_remembered_as_nothing(
    error: ApiError, status: str, says: str
) -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    pretended.fails = error

    done = applied(pretended, {P: 3})

    assert (done.status, says in done.detail) == (status, True), done
    assert pretended.put_in == []


def test_a_status_that_changed_meanwhile_is_no_conflict_but_another_spec_is() -> None:
    class Churning(Pretended):
        """While the checks are made, a controller writes."""

        def __init__(self, change: str) -> None:
            super().__init__(deployment("prefill"), deployment("decode"))
            self.change = change

        async def all(self, group: str, kind: str, namespace: str) -> tuple[Object, ...]:
            target = copy.deepcopy(self.objects["prefill"])
            target["metadata"]["resourceVersion"] = "9"
            target[self.change] = {**target[self.change], "changed": True}
            self.objects["prefill"] = target
            return ()

    versions = {}
    for change in ("status", "spec"):
        pretended = Churning(change)
        applied(pretended, {P: 3})
        ((_, body),) = pretended.patches
        versions[change] = body["metadata"]["resourceVersion"]

    assert versions == {"status": "9", "spec": "7"}


def test_only_the_leader_writes() -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    pretended.leads = False

    assert applied(pretended, {P: 3}) == Applied("paused", "not leading: Lease llm/sla-planner, holder: other")
    assert pretended.patches == []


def set_by(pretended: Pretended, manager: str, replicas: int) -> None:
    """The prefill pool's count, with what the object remembers of it."""
    target = pretended.objects["prefill"]
    target["spec"]["replicas"] = replicas
    target["metadata"]["managedFields"] = [
        {"manager": manager, "operation": "Update", "subresource": "scale", "time": "2026-11-21T13:00:00Z",
         "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    ]  # fmt: skip


def test_a_count_that_somebody_else_sets_is_respected_for_a_while() -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    made, clock = connector(pretended, Policy("respect", 600.0))

    async def script() -> list[str]:
        await made.read("chat")
        done = [await made.apply(Plan("chat", {P: 3}, "1"))]
        set_by(pretended, "kubectl", 5)
        for seconds in (0.0, 599.0, 2.0):
            await clock.advance(seconds)
            await made.read("chat")
            done.append(await made.apply(Plan("chat", {P: 3}, "2")))
        return [each.status for each in done]

    assert play(script) == ["applied", "paused", "paused", "applied"]
    assert [body["spec"]["replicas"] for _, body in pretended.patches] == [3, 3]


def test_the_echo_of_our_own_write_is_nobody_elses_change() -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    made, _ = connector(pretended, Policy("pause"))

    async def script() -> list[str]:
        statuses: list[str] = []
        for count in (3, 4, 5):
            await made.read("chat")
            statuses.append((await made.apply(Plan("chat", {P: count}, "1"))).status)
        return statuses

    assert play(script) == ["applied"] * 3


def test_a_write_of_ours_whose_answer_was_lost_is_remembered_once_it_shows() -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    made, _ = connector(pretended, Policy("pause"))

    async def script() -> list[Applied]:
        await made.read("chat")
        await made.apply(Plan("chat", {P: 3}, "1"))
        set_by(pretended, "sla-planner", 4)
        await made.read("chat")
        set_by(pretended, "kubectl", 3)
        await made.read("chat")
        return [await made.apply(Plan("chat", {P: 4}, "2"))]

    why = "kubectl set 3 where the planner had set 4; paused until resumed"
    assert play(script) == [Applied("paused", f"Deployment llm/prefill: {why}")]


def test_people_may_let_it_go_on() -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    made, _ = connector(pretended, Policy("pause"))

    async def script() -> list[object]:
        await made.read("chat")
        before = made.go_on("chat")
        await made.apply(Plan("chat", {P: 4}, "1"))
        set_by(pretended, "kubectl", 3)
        await made.read("chat")
        held = await made.apply(Plan("chat", {P: 4}, "2"))
        conflicts, said = dict(made.conflicts("chat")), made.go_on("chat")
        await made.read("chat")
        done = await made.apply(Plan("chat", {P: 4}, "3"))
        return [before, held.status, conflicts, said, done.status]

    why = "kubectl set 3 where the planner had set 4; paused until resumed"
    assert play(script) == [False, "paused", {P: why}, True, "applied"]


def test_an_object_that_is_made_again_by_the_same_name_has_no_count_of_ours_to_be_changed() -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    made, _ = connector(pretended, Policy("pause"))

    async def script() -> Applied:
        await made.read("chat")
        await made.apply(Plan("chat", {P: 4}, "1"))
        pretended.objects["prefill"] = deployment("prefill", uid="another")
        set_by(pretended, "helm", 1)
        await made.read("chat")
        return await made.apply(Plan("chat", {P: 3}, "2"))

    assert play(script) == Applied("applied", "Deployment llm/prefill: replicas to 3")


def test_a_kind_that_is_never_scaled_is_absent_with_what_to_scale_instead() -> None:
    group = {
        "apiVersion": "workloads.x-k8s.io/v1alpha2", "kind": "RoleBasedGroup",
        "metadata": {"name": "group", "namespace": "llm", "resourceVersion": "7"}, "spec": {},
    }  # fmt: skip
    made, _ = connector(Pretended(group), pools={D: Pool(target_of("RoleBasedGroup/group", "llm"), 1)})

    read = play(lambda: made.read("chat"))

    why = "set the role's scalingAdapter.enable and scale its RoleBasedGroupScalingAdapter"
    assert read[D].wanted == Absent(f"RoleBasedGroup llm/group is not scaled: its roles are scaled apart; {why}")


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        pytest.param(True, Applied("applied", "InferenceSet llm/set: replicas to 3"), id="configured"),
        pytest.param(
            False,
            Applied(
                "refused",
                "InferenceSet llm/set is not scaled: it does not say how many GPUs a replica holds; "
                "set decode.gpus_per_replica, if only to the profile's 8",
            ),
            id="of the profile",
        ),
    ],
)
def test_the_gpus_of_an_object_that_does_not_tell_must_be_configured(configured: bool, expected: Applied) -> None:
    preset = {
        "apiVersion": "kaito.sh/v1beta1", "kind": "InferenceSet",
        "metadata": {"name": "set", "namespace": "llm", "resourceVersion": "7"},
        "spec": {"replicas": 2}, "status": {"selector": "app=decode"},
    }  # fmt: skip
    pools = {D: Pool(target_of("InferenceSet/set", "llm"), 8, configured)}

    assert applied(Pretended(preset), {D: 3}, pools=pools) == expected


# --- other services -------------------------------------------------------------------------------------------------


def test_other_services_are_taken_up_with_what_is_known_of_targets_that_stay() -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    made, _ = connector(pretended)

    async def script() -> None:
        await made.read("chat")
        known = made._memory._known[DECODE]
        made.adopt({"code": {D: Pool(DECODE, 1)}, "new": {P: Pool(target_of("Deployment/new", "llm"), 1)}}, {})
        assert made._memory._known[DECODE] is known
        assert pretended.wanted == {DECODE.object, target_of("Deployment/new", "llm").object}
        assert await made.read("chat") == {}
        assert (await made.apply(Plan("chat", {P: 3}, "1"))).detail == (
            "service chat is unknown; decided anew at the next tick"
        )
        assert (made.target("chat", P), made.conflicts("chat"), made.go_on("chat")) == (None, {}, False)

    play(script)


def test_a_plan_under_way_goes_on_to_its_end_and_its_targets_are_known_until_then() -> None:
    pretended = Pretended(deployment("prefill"), deployment("decode"))
    made, _ = connector(pretended)

    async def script() -> None:
        await made.read("chat")
        applying = asyncio.create_task(made.apply(Plan("chat", {P: 3, D: 3}, "1")))
        await asyncio.sleep(0)
        made.adopt({}, {})
        assert pretended.wanted == {PREFILL.object, DECODE.object}
        assert (await applying).status == "applied"
        await asyncio.sleep(0)
        assert (pretended.wanted, made._memory._known) == (set(), {})
        assert sorted(path for path, _ in pretended.patches) == ["decode/scale", "prefill/scale"]

    play(script)
