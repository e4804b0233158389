"""The connector while things go wrong on a real cluster: it holds, says why, harms nothing, and goes on by itself.

A script of plans stands for the planner; its clock runs faster than the wall's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from api_proxy import Fault, Forward, Proxy, passes, proxy, refuses
from cluster import Cluster
from cluster_api import Object
from kubernetes_definitions import DEFINITIONS, remove, serve
from kubernetes_fleet import SCALES, SEES, TARGET, Fleet, fleet
from kubernetes_hands import Hands, Read, hands, said

from planner.clock import WallClock
from planner.connectors.kubernetes.objects.pools import PoolState, pool_state
from planner.connectors.kubernetes.objects.targets import target_of
from planner.connectors.kubernetes.objects.writers import Policy
from planner.connectors.types import Applied
from planner.scaling.types import Absent, Role

D, P = Role.DECODE, Role.PREFILL
SPEED = 20.0
"""Seconds of the connector's clock in one of the wall's: its minute of patience passes in 3 s."""


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path) -> Fleet:
    return fleet(cluster, tmp_path)


def scaling(here: Fleet, policy: Policy | None = None) -> AbstractAsyncContextManager[Hands]:
    """By the account's permissions alone."""
    return hands(here.kubeconfig, here.namespace, {D: TARGET}, policy=policy, clock=WallClock(SPEED))


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def is_seen(**counts: int) -> Callable[[Read], bool]:
    """Whether the counts are as given."""
    return lambda seen: all(said(getattr(seen[D], name)) == value for name, value in counts.items())


def is_absent(seen: Read) -> bool:
    """Whether the count is not known, for a cause that is."""
    cause = said(seen[D].wanted)
    return isinstance(cause, str) and not cause.endswith(("for yet", "listed yet"))


async def serving(one: Hands, here: Fleet, replicas: int) -> None:
    """Wait until all serve and the controllers have said so: what they write of an object is a conflict to others."""

    def is_settled(seen: Read) -> bool:
        found = one.watches.find(target_of(TARGET, here.namespace).object)
        if isinstance(found, Absent) or found[1].get("status", {}).get("availableReplicas") != replicas:
            return False
        return is_seen(wanted=replicas, ready=replicas)(seen) and found[1] == here.deployment

    await one.until(f"{replicas} serve", is_settled)


def written(one: Hands) -> list[int]:
    """Counts that were set, in order: nothing else can have removed a replica."""
    return [body["spec"]["replicas"] for body in one.writes.done]


# --- permissions ------------------------------------------------------------------------------------------------------


def test_a_wrong_token_is_said_and_a_right_one_is_taken_up(here: Fleet) -> None:
    here.deploy(2)
    here.write_token("none")

    async def story() -> None:
        async with scaling(here) as one:
            gone = await one.until("they are unknown", is_absent)
            here.admit()
            await one.until("they are known", is_seen(wanted=2, ready=2))
            await one.until_applied({D: 3})

            assert "401 Unauthorized" in str(said(gone[D].wanted))
            assert written(one) == [3]

    play(story)


def test_nothing_is_written_without_the_permission_and_it_is_used_once_given(here: Fleet) -> None:
    here.deploy(2)
    here.permit(SEES)

    async def story() -> None:
        async with scaling(here) as one:
            await serving(one, here, 2)
            refused = [await one.tick({D: 1}) for _ in range(3)]
            assert (here.replicas, written(one)) == (2, [])
            here.permit(SCALES)
            await one.until_applied({D: 3})

            assert {each.status for each in refused} == {"refused"}
            assert 'cannot patch resource "deployments/scale" in API group "apps"' in refused[0].detail
            assert written(one) == [3]

    play(story)


@pytest.mark.parametrize("lacks", [0, 1, 2], ids=["deployments", "pods", "autoscalers"])
def test_what_cannot_be_seen_holds_the_plan_and_is_named(here: Fleet, lacks: int) -> None:
    here.deploy(2)
    here.permit([rule for rule in SCALES if rule != SEES[lacks]])

    async def story() -> None:
        async with scaling(here) as one:
            if SEES[lacks]["resources"] == ["horizontalpodautoscalers"]:
                await serving(one, here, 2)
                told = (await one.tick({D: 1})).detail
            else:
                told = str(said((await one.until("they are unknown", is_absent))[D].ready))
            (resource,) = SEES[lacks]["resources"]
            assert f'cannot list resource "{resource}"' in told
            here.permit(SCALES)
            await serving(one, here, 2)
            await one.until_applied({D: 3})
            assert written(one) == [3]

    play(story)


# --- others who write -------------------------------------------------------------------------------------------------


def test_a_writer_at_the_same_time_is_never_overwritten(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here) as one:
            await serving(one, here, 2)
            rounds = []
            for number in range(5):
                # In one step of the loop with the plan, which is decided on what the object asked for before.
                here.merge("", {"spec": {"minReadySeconds": 1 + number}})
                rounds.append(await one.plan({D: 3}))
            assert (here.replicas, written(one)) == (2, [])
            await one.until_applied({D: 3})

            name = f"Deployment {here.namespace}/engine"
            assert rounds == [Applied("failed", f"{name} changed meanwhile; decided anew at the next tick")] * 5
            assert here.deployment["spec"]["minReadySeconds"] == 5
            assert written(one) == [3]

    play(story)


def test_a_count_set_by_hand_is_respected_for_a_while(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here, Policy("respect", 60.0)) as one:
            await one.until_applied({D: 3})
            here.scale(5)
            await one.until("it is seen", is_seen(wanted=5))
            held = await one.tick({D: 3})
            assert here.replicas == 5
            waited = await one.until_applied({D: 3})

            assert held.status == "paused"
            assert "kubectl set 5 where the planner had set 3; respected for another" in held.detail
            assert {each.status for each in waited} == {"paused"}
            assert written(one) == [3, 3]

    play(story)


def test_a_count_set_by_hand_is_taken_back_where_the_policy_says_so(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here, Policy("reclaim")) as one:
            await one.until_applied({D: 3})
            here.scale(5)
            await one.until("it is seen", is_seen(wanted=5))
            done = await one.outcome({D: 3})

            assert done.status == "applied"
            assert (here.replicas, written(one)) == (3, [3, 3])

    play(story)


def test_a_count_set_by_hand_ends_all_writing_where_the_policy_says_so(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here, Policy("pause")) as one:
            await one.until_applied({D: 3})
            here.scale(5)
            await one.until("it is seen", is_seen(wanted=5))
            tried = one.writes.tried
            held = [await one.tick({D: count}) for count in (3, 4, 6)]

            name = f"Deployment {here.namespace}/engine"
            why = "kubectl set 5 where the planner had set 3; paused until resumed"
            assert held == [Applied("paused", f"{name}: {why}")] * 3
            assert (here.replicas, one.writes.tried, written(one)) == (5, tried, [3])

    play(story)


@pytest.mark.parametrize("on_change", ["respect", "reclaim", "pause"])
def test_zero_by_hand_is_maintenance_until_it_ends(here: Fleet, on_change: Any) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here, Policy(on_change, 1.0)) as one:
            await one.until_applied({D: 3})
            here.scale(0)
            await one.until("it is seen", is_seen(wanted=0, ready=0))
            tried = one.writes.tried
            held = [await one.tick({D: 3}) for _ in range(3)]
            assert (here.replicas, one.writes.tried, written(one)) == (0, tried, [3])
            here.scale(1)
            await one.until("its end is seen", is_seen(wanted=1))
            await one.until_applied({D: 3})

            assert {each.status for each in held} == {"paused"}
            assert "in maintenance until the count is above 0" in held[0].detail
            assert written(one) == [3, 3]

    play(story)


def test_a_rival_that_writes_back_is_given_way_to_and_said(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here, Policy("reclaim")) as one:
            await serving(one, here, 2)
            done = []
            for _ in range(5):
                done.append(await one.outcome({D: 3}))
                here.merge("", {"spec": {"replicas": 2}}, manager="argocd-controller")
                await one.until("it is written back", is_seen(wanted=2))

            assert [each.status for each in done] == ["applied", "applied", "paused", "paused", "paused"]
            why = "argocd-controller set 2 where the planner had set 3, and not for the first time within 600 s"
            assert done[-1].detail == f"Deployment {here.namespace}/engine: {why}; find the rival, then resume"
            assert (here.replicas, written(one)) == (2, [3, 3])

    play(story)


# --- targets and pods -------------------------------------------------------------------------------------------------


def test_a_target_that_is_deleted_is_absent_and_begins_anew_when_it_is_made_again(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here, Policy("pause")) as one:
            await one.until_applied({D: 4})
            await asyncio.to_thread(here.delete)
            gone = await one.until("it is gone", is_absent)
            nothing = await one.plan({D: 4})
            here.deploy(1)
            await one.until("it is there again", is_seen(wanted=1, ready=1))
            await one.until_applied({D: 3})

            cause = f"Deployment {here.namespace}/engine: there is no such object; create it, or correct the target"
            assert (said(gone[D].wanted), nothing) == (cause, Applied("failed", cause))
            assert written(one) == [4, 3]

    play(story)


def state(one: Hands, here: Fleet) -> PoolState:
    """What the pods say, with reasons."""
    found = one.watches.find(target_of(TARGET, here.namespace).object)
    pods = one.watches.pods(here.namespace, "app=engine")
    assert isinstance(found, tuple)
    assert isinstance(pods, list)
    return pool_state(pods, found[1], 0, 0.0)


def test_pods_without_gpus_are_pending_with_the_schedulers_reason(cluster: Cluster, tmp_path: Path) -> None:
    here = fleet(cluster, tmp_path, gpus=3)
    here.deploy(2)

    async def story() -> None:
        async with scaling(here) as one:
            await one.until_applied({D: 5})
            await one.until("two have no room", is_seen(wanted=5, ready=3, starting=0, pending=2))
            # At first the scheduler waits for the node itself.
            await one.until("no GPUs is why", lambda _: "Insufficient" in "".join(state(one, here).reasons))
            await one.until("it is why for both", lambda _: len(state(one, here).reasons) == 1)
            (reason,) = state(one, here).reasons
            here.node(2)
            await one.until("there is room", is_seen(wanted=5, ready=5, pending=0))

            assert reason.startswith("pending: 0/")
            assert "1 Insufficient nvidia.com/gpu" in reason
            assert reason.endswith("(2 pods)")
            assert written(one) == [5]

    play(story)


def test_pods_that_never_become_ready_are_starting_and_failing_ones_are_told_apart(here: Fleet) -> None:
    here.deploy(2, start_s=3600.0)
    dies = {"name": "engine", "image": "engine", "imageID": "", "ready": False, "restartCount": 4}
    crashes = {**dies, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    serves = {"type": "Ready", "status": "True"}

    async def story() -> None:
        async with scaling(here) as one:
            await one.until("they start", is_seen(wanted=2, ready=0, starting=2))
            here.say_of_a_pod({"containerStatuses": [crashes]})
            await one.until("one fails", lambda _: state(one, here).failing > 0)
            seen = state(one, here)
            assert (seen.failing, seen.reasons) == (1, ("failing: engine: CrashLoopBackOff, 4 restarts (1 pods)",))
            assert is_seen(wanted=2, ready=0, starting=2)(await one.read())
            here.say_of_a_pod({"containerStatuses": [{**dies, "ready": True, "state": {"running": {}}}],
                               "conditions": [serves]})  # fmt: skip
            await one.until("one came back", is_seen(wanted=2, ready=1, starting=1))
            assert one.writes.tried == 0

    play(story)


@pytest.fixture
def graphs(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that serves DynamoGraphDeployments."""
    definition = next(each for each in DEFINITIONS if each.kind == "DynamoGraphDeployment")
    serve(cluster, definition)
    yield cluster
    remove(cluster, definition)


def components(counts: dict[str, int]) -> list[Object]:
    limits = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    return [{"name": name, "replicas": count, "podTemplate": {"spec": limits}} for name, count in counts.items()]


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(components({"Prefill": 2}), id="component"),
        pytest.param([*components({"Prefill": 2}), {"name": "Decode"}], id="count"),
    ],
)
def test_a_count_that_vanished_is_absent_and_is_not_written_back(
    graphs: Cluster, here: Fleet, left: Sequence[Object]
) -> None:
    graph = {
        "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
        "metadata": {"name": "graph", "namespace": here.namespace},
    }  # fmt: skip
    whole = components({"Decode": 2, "Prefill": 2})
    targets = {D: "DynamoGraphDeployment/graph#Decode", P: "DynamoGraphDeployment/graph#Prefill"}

    async def story() -> None:
        graphs.apply({**graph, "spec": {"components": whole}})
        async with hands(graphs.kubeconfig, here.namespace, targets, clock=WallClock(SPEED)) as one:
            await one.until("it is seen", is_seen(wanted=2))
            graphs.apply({**graph, "spec": {"components": list(left)}})
            gone = await one.until("it vanished", is_absent)
            refused = await one.plan({D: 3, P: 3})
            assert (graphs.get(graph)["spec"]["components"], one.writes.tried) == (left, 0)
            graphs.apply({**graph, "spec": {"components": whole}})
            await one.until("it is back", is_seen(wanted=2))
            await one.until_applied({D: 3, P: 3})

            cause = f"DynamoGraphDeployment {here.namespace}/graph: .spec.components[name=Decode].replicas is not there"
            assert said(gone[D].wanted) == cause
            remedy = "correct the component, or write the count there once"
            assert refused == Applied("refused", f"target: {cause}; {remedy}")
            assert graphs.get(graph)["spec"]["components"] == components({"Decode": 3, "Prefill": 3})
            assert len(one.writes.done) == 1

    play(story)


# --- an API server in trouble -----------------------------------------------------------------------------------------


@asynccontextmanager
async def scaling_through_proxy(here: Fleet) -> AsyncIterator[tuple[Hands, Proxy]]:
    """With calls that take a second at the most."""
    async with proxy(here.cluster.url, here.cluster.ca_file) as between:
        here.admit(between.url)
        targets = {D: TARGET}
        async with hands(here.kubeconfig, here.namespace, targets, clock=WallClock(SPEED), deadline_s=1.0) as one:
            await serving(one, here, 2)
            yield one, between


def each_patch(answer: Callable[[], web.Response]) -> Fault:
    """Patches are answered so, and not passed on."""

    async def fault(request: web.Request, forward: Forward) -> web.StreamResponse:
        return answer() if request.method == "PATCH" else await forward()

    return fault


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(lambda: refuses(500, "InternalError"), "500 InternalError: so it is told", id="500"),
        pytest.param(lambda: refuses(503, "ServiceUnavailable"), "503 ServiceUnavailable: so it is told", id="503"),
        pytest.param(lambda: refuses(429, "TooManyRequests", 60), "429 TooManyRequests: so it is told", id="429, long"),
        pytest.param(lambda: web.Response(text="<html>"), "the answer is no JSON object", id="no JSON"),
    ],
)
def test_a_write_that_is_not_done_is_said_and_tried_again_at_the_next_tick(
    here: Fleet, answer: Callable[[], web.Response], says: str
) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling_through_proxy(here) as (one, between):
            between.fault = each_patch(answer)
            done = await one.tick({D: 3})
            assert (here.replicas, one.writes.tried) == (2, 1)
            between.fault = passes
            await one.until_applied({D: 3})

            assert done.status == "failed"
            assert says in done.detail
            assert written(one) == [3]

    play(story)


def test_asked_to_wait_a_moment_it_waits_and_writes_once(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling_through_proxy(here) as (one, between):
            answers = iter([refuses(429, "TooManyRequests", 0), refuses(503, "ServiceUnavailable", 0)])

            async def busy(request: web.Request, forward: Forward) -> web.StreamResponse:
                refusal = next(answers, None) if request.method == "PATCH" else None
                return await forward() if refusal is None else refusal

            between.fault = busy
            done = await one.tick({D: 3})

            assert done == Applied("applied", f"Deployment {here.namespace}/engine: replicas to 3")
            assert (here.replicas, next(answers, None), written(one)) == (3, None, [3])

    play(story)


def test_a_write_whose_answer_is_lost_is_known_for_ours_all_the_same(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling_through_proxy(here) as (one, between):
            await one.until_applied({D: 3})
            await serving(one, here, 3)
            late = asyncio.Event()

            async def loses(request: web.Request, forward: Forward) -> web.StreamResponse:
                if request.method != "PATCH":
                    return await forward()
                body = await request.json()
                here.scale(body["spec"]["replicas"], manager="sla-planner")
                await late.wait()
                return refuses(500, "InternalError")

            between.fault = loses
            done = await one.plan({D: 4})
            late.set()
            between.fault = passes
            await one.until("it was done", is_seen(wanted=4))
            again = await one.tick({D: 4})
            # What we set before is no less somebody else's when somebody else sets it.
            here.scale(3)
            await one.until("it is seen", is_seen(wanted=3))
            held = await one.outcome({D: 4})

            assert (done.status, "nothing came within 1 s" in done.detail) == ("failed", True)
            assert again.status == "unchanged"
            assert held.status == "paused"
            assert "kubectl set 3 where the planner had set 4" in held.detail

    play(story)


def test_a_watch_that_is_cut_goes_on_also_where_the_past_is_forgotten(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling_through_proxy(here) as (one, between):
            gone: list[str] = []

            async def forgets(request: web.Request, forward: Forward) -> web.StreamResponse:
                if "watch" in request.query and request.path not in gone:
                    gone.append(request.path)
                    return refuses(410, "Expired")
                return await forward()

            between.cut()
            here.scale(4)
            await one.until("it is seen", is_seen(wanted=4, ready=4))
            between.fault = forgets
            between.cut()
            here.scale(1)
            await one.until("it is seen", is_seen(wanted=1, ready=1))

            assert sorted(each.rpartition("/")[2] for each in gone) == ["deployments", "pods"]
            assert one.writes.tried == 0

    play(story)


# --- without an API server; last, since the controllers need a while to find it again ---------------------------------


def test_without_an_api_server_the_last_counts_stand_for_a_minute_and_then_none(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here) as one:
            await serving(one, here, 2)
            here.cluster.stop_apiserver()
            try:
                done = await one.tick({D: 1})
                within = await one.read()
                gone = await one.until("they are unknown", is_absent)
                blind = await one.plan({D: 1})
            finally:
                await asyncio.to_thread(here.cluster.start_apiserver)
            await one.until("they are known again", is_seen(wanted=2, ready=2))
            await one.until_applied({D: 3})

            assert (said(within[D].wanted), said(within[D].ready)) == (2, 2)
            assert done.status == "failed"
            cause = str(said(gone[D].ready))
            assert blind == Applied("failed", str(said(gone[D].wanted)))
            refused = "Connect call failed"
            assert refused in done.detail
            assert refused in cause
            assert "see whether the API server runs and is let through to" in cause
            assert written(one) == [3]

    play(story)


def test_after_the_accounts_tokens_are_void_a_new_one_in_the_kubeconfig_is_found(here: Fleet) -> None:
    here.deploy(2)

    async def story() -> None:
        async with scaling(here) as one:
            await serving(one, here, 2)
            # Started anew, the API server has forgotten which tokens held.
            here.expel()
            here.cluster.stop_apiserver()
            await asyncio.to_thread(here.cluster.start_apiserver)
            gone = await one.until("they are unknown", is_absent)
            blind = await one.plan({D: 1})
            here.admit()
            await one.until("they are known again", is_seen(wanted=2, ready=2))
            await one.until_applied({D: 3})

            assert blind.status == "failed"
            assert "401 Unauthorized" in str(said(gone[D].wanted))
            assert "give a token or certificate that is still valid" in blind.detail
            assert written(one) == [3]

    play(story)
