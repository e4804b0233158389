"""What befalls the planner's own process on a real control plane: its token expires; it is killed amid a plan."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from aiohttp import web
from api_proxy import Forward, Proxy, passes, proxy, refuses
from cluster import Cluster
from cluster_api import Api, RefusedError, kubeconfig
from kubernetes_fleet import ACCOUNT
from kubernetes_services import Planner, Services, aggregated, services

LEASE = "sla-planner"


def lease(here: Services) -> tuple[str, int]:
    """Who leads, and how often that changed."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{here.fleet.namespace}/leases/{LEASE}"
    spec = here.fleet.cluster.request("GET", path)["spec"]
    return spec.get("holderIdentity") or "", spec.get("leaseTransitions", 0)


# --- a token that expires ---------------------------------------------------------------------------------------------


class Kubelet:
    """It gives the planner a file with a token, replaces it, and can make the one before void.

    No token lives for less than ten minutes, so each is bound to a Secret: it is void once that is gone, and the API
    server forgets within seconds that it ever held.
    """

    def __init__(self, here: Services) -> None:
        self._here = here
        self._file = here.fleet.folder / "token"
        self._tokens: list[str] = []
        self.give()
        cluster, user = here.fleet.cluster, {"tokenFile": str(self._file)}
        here.fleet.kubeconfig.write_text(kubeconfig(cluster.url, cluster.ca_file, user))

    def give(self) -> float:
        """A new token, from now on; returns when, on the monotonic clock."""
        name = f"token-{len(self._tokens)}"
        namespace, cluster = self._here.fleet.namespace, self._here.fleet.cluster
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}})
        bound = {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": name}}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{ACCOUNT}/token"
        self._tokens.append(cluster.request("POST", path, bound)["status"]["token"])
        self._file.write_text(self._tokens[-1])
        return time.monotonic()

    def void(self, number: int) -> None:
        """One of those given, the first is 0; returns when the API server refuses it."""
        cluster, namespace = self._here.fleet.cluster, self._here.fleet.namespace
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"token-{number}", "namespace": namespace}}
        cluster.delete(secret)
        holder = Api(cluster.url, cluster.ca_file, token=self._tokens[number])

        def is_refused() -> bool:
            try:
                holder.find("v1", "Pod", namespace)
            except RefusedError as refused:
                return refused.status == 401
            return False

        cluster.until("the token is void", is_refused)


@pytest.fixture
def chat(cluster: Cluster, tmp_path: Path, newest_prometheus: str) -> Iterator[Services]:
    with services(cluster, tmp_path, newest_prometheus, ("chat",)) as made:
        yield made


def test_a_token_replaced_in_time_is_taken_up_and_nobody_notices(chat: Services) -> None:
    here, kubelet = chat, Kubelet(chat)
    with here.planner(here.config(16, {"chat": aggregated("chat")})) as planner:
        here.engines["chat"].load_per_s = 30.0
        planner.until("it scales", lambda: here.ledger.ready("chat") >= 3)
        leader = lease(here)
        kubelet.give()
        kubelet.void(0)
        here.engines["chat"].load_per_s = 60.0
        planner.until("it goes on", lambda: here.replicas("chat") >= 6)
        assert lease(here) == leader

    assert "401" not in planner.log
    assert {each.writer for each in here.ledger.changes} == {"sla-planner"}
    assert [each for each in here.ledger.changes if each.after < each.before] == []


def test_a_token_replaced_too_late_holds_everything_and_then_it_goes_on(chat: Services) -> None:
    here, kubelet = chat, Kubelet(chat)
    with here.planner(here.config(16, {"chat": aggregated("chat")})) as planner:
        here.engines["chat"].load_per_s = 30.0
        planner.until("it scales", lambda: here.ledger.ready("chat") >= 3)
        kubelet.void(0)
        before = here.replicas("chat")
        here.engines["chat"].load_per_s = 60.0
        planner.until("it cannot, and says so", lambda: not_applied(planner))
        assert here.replicas("chat") == before
        given_s = kubelet.give()
        planner.until("it goes on", lambda: here.replicas("chat") >= 6)

    assert [each for each in here.ledger.changes if each.after < each.before] == []
    recovered = next(each.at_s for each in here.ledger.changes if each.at_s > given_s)
    print(f"recovered {recovered - given_s:.1f} s after the token was there")


def not_applied(planner: Planner) -> str:
    """Why the last plan was not; empty when it was."""
    applied = planner.status("chat")["decision"]["applied"]
    return "" if applied is None or applied["status"] == "applied" else applied["detail"]


# --- killed amid a plan -----------------------------------------------------------------------------------------------


@pytest.fixture
def pair(cluster: Cluster, tmp_path: Path, newest_prometheus: str) -> Iterator[Services]:
    """One service of two pools."""
    with services(cluster, tmp_path, newest_prometheus, ("prefill", "decode"), load_per_s=1.0) as made:
        yield made


@contextmanager
def between(cluster: Cluster) -> Iterator[Proxy]:
    """What stands before the API server, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    standing = proxy(cluster.url, cluster.ca_file)
    try:
        yield asyncio.run_coroutine_threadsafe(standing.__aenter__(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(standing.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_killed_between_two_patches_of_a_plan_the_next_one_ends_in_the_right_plan(pair: Services) -> None:
    here, budget = pair, 12
    chat = {
        "mode": "disaggregated", "kubernetes": {"prefill": "Deployment/prefill", "decode": "Deployment/decode"},
        "metrics": {"match": f"site={here.fleet.namespace}", "prefill": "pool=prefill", "decode": "pool=decode"},
    }  # fmt: skip
    config, ordered, killed_s = here.config(budget, {"chat": chat}), {}, []
    with between(here.fleet.cluster) as middle:
        here.fleet.admit(middle.url)
        with here.planner(config, "one") as one:

            async def kills(request: web.Request, forward: Forward) -> web.StreamResponse:
                if request.method != "PATCH" or not request.path.endswith("/scale"):
                    return await forward()
                ordered[request.path.split("/")[-2]] = (await request.json())["spec"]["replicas"]
                if len(ordered) < 2:
                    return await forward()
                one.process.kill()
                killed_s.append(time.monotonic())
                return refuses(500, "InternalError")

            one.until("it decides", lambda: one.status("chat")["decision"])
            middle.fault = kills
            for each in here.engines.values():
                each.load_per_s = 60.0
            here.fleet.cluster.until("it is killed", lambda: killed_s)
            one.process.wait()
        middle.fault = passes
        first, second = ordered
        assert (here.replicas(first), here.replicas(second)) == (ordered[first], 1)
        with here.planner(config, "two") as two:
            two.until("the plan is whole", lambda: here.replicas(second) >= ordered[second])
            two.until("all serve", lambda: all(here.ledger.ready(name) == here.replicas(name) for name in ordered))

    assert {each.writer for each in here.ledger.changes} == {"sla-planner"}
    assert [each for each in here.ledger.changes if each.after < each.before] == []
    assert max(here.ledger.most_asked, here.ledger.most_held) <= budget
    whole_s = here.ledger.of(second)[0].at_s
    print(f"{[(each.name, each.before, each.after) for each in here.ledger.changes]} ordered {ordered}")
    print(f"whole {whole_s - killed_s[0]:.1f} s after it was killed")
