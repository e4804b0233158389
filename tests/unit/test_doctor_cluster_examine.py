"""What a doctor asks of an API server, and how often."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from builders import service_settings
from kubernetes_server import FakeApiServer, Reply, play, refuses, says

from planner.clock import VirtualClock
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.connector import Pool
from planner.connectors.kubernetes.objects.targets import target_of
from planner.doctor.cluster import ClusterEvidence, Fleet, Found, examine
from planner.doctor.cluster.needs import Need
from planner.scaling.types import Absent, Role

A = Role.AGGREGATED
NOW_S = 1_790_000_000.0
LEASE = "/apis/coordination.k8s.io/v1/namespaces/llm/leases/sla-planner"
ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
DEPLOYMENTS, PODS = "/apis/apps/v1/namespaces/llm/deployments", "/api/v1/namespaces/llm/pods"
HPAS = "/apis/autoscaling/v2/namespaces/llm/horizontalpodautoscalers"
NOT_THERE = refuses(404, "NotFound", "there is none")


def resources(*names: tuple[str, str]) -> Reply:
    return says({"resources": [{"name": name, "kind": kind, "namespaced": True} for name, kind in names]})


def a_list(kind: str, *items: dict[str, Any]) -> Reply:
    return says({"apiVersion": "v1", "kind": f"{kind}List", "metadata": {}, "items": list(items)})


def a_deployment(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "metadata": {"name": name, "namespace": "llm", **metadata},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}},
    }


def a_pod(app: str) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True"}
    return {"metadata": {"name": f"{app}-0", "labels": {"app": app}}, "status": {"conditions": [ready]}}


async def allows(request: web.Request) -> web.StreamResponse:
    """Everything but listing nodes."""
    asked = (await request.json())["spec"]["resourceAttributes"]
    return web.json_response({"status": {"allowed": asked["resource"] != "nodes"}}, status=201)


async def denies(request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": {"allowed": False}}, status=201)


def prepare(server: FakeApiServer, *apps: str) -> None:
    """A cluster with a Deployment and a pod of each app."""
    whoami = {"metadata": {"creationTimestamp": "2026-09-21T14:13:27Z"}, "status": {"userInfo": {"username": "me"}}}
    scripts = {
        ("GET", "/version"): says({"gitVersion": "v1.36.1"}),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"): says(whoami, 201),
        ("POST", ACCESS): allows,
        ("GET", "/apis"): says({"groups": []}),
        ("GET", "/apis/apps"): says({"versions": [{"version": "v1"}]}),
        ("GET", "/apis/apps/v1"): resources(("deployments", "Deployment"), ("deployments/scale", "Scale")),
        ("GET", "/apis/autoscaling"): says({"versions": [{"version": "v2"}]}),
        ("GET", "/apis/autoscaling/v2"): resources(("horizontalpodautoscalers", "HorizontalPodAutoscaler")),
        ("GET", "/apis/keda.sh"): NOT_THERE,
        ("GET", "/apis/autoscaling.aibrix.ai"): NOT_THERE,
        ("GET", DEPLOYMENTS): a_list("Deployment", *map(a_deployment, apps)),
        ("GET", PODS): a_list("Pod", *map(a_pod, apps)),
        ("GET", HPAS): a_list("HorizontalPodAutoscaler"),
        ("GET", LEASE): says({"spec": {"holderIdentity": "p-1"}}),
    }
    for (verb, path), reply in scripts.items():
        server.script(verb, path, reply)


def fleet(*names: str, target: str = "Deployment/{}") -> Fleet:
    pools = {name: {A: Pool(target_of(target.format(name), "llm"), 1)} for name in names}
    services = {name: service_settings(name, roles=(A,)) for name in names}
    return Fleet(services, pools, 8, ("llm", "sla-planner"))


def examined(
    folder: Path, wanted: Fleet, *apps: str, instead: dict[tuple[str, str], Reply] | None = None
) -> tuple[ClusterEvidence, FakeApiServer]:
    """What is found in a cluster with these apps, where some answers differ."""

    async def script(server: FakeApiServer, api: Api) -> tuple[ClusterEvidence, FakeApiServer]:
        prepare(server, *apps)
        for (verb, path), reply in (instead or {}).items():
            server.script(verb, path, reply)
        return await examine(api, wanted, VirtualClock(NOW_S)), server

    answer: tuple[ClusterEvidence, FakeApiServer] = play(folder, script)
    return answer


def asked_for(server: FakeApiServer) -> Iterator[str]:
    """Permissions, as resource and verb."""
    for each in server.asked:
        if each.path == ACCESS:
            attributes = json.loads(each.body)["spec"]["resourceAttributes"]
            yield f"{attributes['verb']} {attributes['resource']}"


def test_finds_targets_pods_and_who_writes(tmp_path: Path) -> None:
    evidence, _ = examined(tmp_path, fleet("chat"), "chat", "code")

    (one,) = evidence.pools
    assert isinstance(one.found, Found)
    assert one.found.target["metadata"]["name"] == "chat"
    assert one.pods is not None
    assert [pod["metadata"]["name"] for pod in one.pods] == ["chat-0"]
    assert evidence.ready == {"chat": {A: 1}}
    assert (evidence.version, evidence.account, evidence.skew_s) == ("v1.36.1", "me", 7.0)
    assert evidence.lease == {"spec": {"holderIdentity": "p-1"}}
    assert (evidence.denied, evidence.unanswered, evidence.node_gpus) == ((), (), None)


def test_asks_for_the_permissions_that_these_targets_take_here(tmp_path: Path) -> None:
    evidence, server = examined(tmp_path, fleet("chat"), "chat")

    assert Counter(asked_for(server)) == Counter([
        "list nodes", "list pods", "watch pods", "list horizontalpodautoscalers", "create events", "patch events",
        "list deployments", "watch deployments", "patch deployments", "get leases", "update leases",
    ])  # fmt: skip
    assert evidence.asked == 10


def test_marking_pods_takes_a_permission_where_it_is_configured(tmp_path: Path) -> None:
    wanted = fleet("chat")
    marked = {"chat": {A: replace(wanted.pools["chat"][A], idlest_first=True)}}
    _, server = examined(tmp_path, replace(wanted, pools=marked), "chat")

    assert "patch pods" in asked_for(server)


def test_a_lease_that_is_not_there_is_to_be_made(tmp_path: Path) -> None:
    evidence, server = examined(tmp_path, fleet("chat"), "chat", instead={("GET", LEASE): NOT_THERE})

    assert isinstance(evidence.lease, Absent)
    assert "create leases" in asked_for(server)


def test_permissions_that_lack_are_told_once_and_what_follows_is_not(tmp_path: Path) -> None:
    forbidden = refuses(403, "Forbidden", "not for you")
    instead = {
        ("POST", ACCESS): denies,
        ("GET", PODS): forbidden,
        ("GET", DEPLOYMENTS): forbidden,
        ("GET", HPAS): forbidden,
    }
    evidence, _ = examined(tmp_path, fleet("chat"), "chat", instead=instead)

    assert Need("pods", "llm", "", "pods", "list") in evidence.denied
    assert len(evidence.denied) == evidence.asked == 10
    assert evidence.unanswered == ()
    assert [(one.found, one.pods) for one in evidence.pools] == [(None, None)]
    assert evidence.autoscalers == {"llm": None}


def test_a_refusal_that_no_permission_explains_is_told(tmp_path: Path) -> None:
    evidence, _ = examined(tmp_path, fleet("chat"), "chat", instead={("GET", PODS): refuses(403, "Forbidden", "no")})

    assert evidence.unanswered == (
        f"GET {PODS}: 403 Forbidden: no; allow it by RBAC to the account the planner runs as",
    )


def test_an_owner_is_read_and_the_permission_for_it_asked_for(tmp_path: Path) -> None:
    owner = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "llama", "controller": True}
    path = "/apis/serving.kserve.io/v1beta1"
    instead = {
        ("GET", DEPLOYMENTS): a_list("Deployment", a_deployment("chat", ownerReferences=[owner])),
        ("GET", "/apis/serving.kserve.io"): says({"versions": [{"version": "v1beta1"}]}),
        ("GET", path): resources(("inferenceservices", "InferenceService")),
        ("GET", f"{path}/namespaces/llm/inferenceservices/llama"): says({"kind": "InferenceService"}),
    }
    evidence, server = examined(tmp_path, fleet("chat"), "chat", instead=instead)

    assert [(str(reference), found) for (_, reference), found in evidence.owners.items()] == [
        ("InferenceService llama", {"kind": "InferenceService"})
    ]
    assert "get inferenceservices" in asked_for(server)


def test_a_kind_that_tells_its_pods_in_its_scale_alone_is_asked_for_that(tmp_path: Path) -> None:
    path = "/apis/example.com/v1"
    scale = {"kind": "Scale", "apiVersion": "autoscaling/v1", "status": {"selector": "app=chat"}}
    instead = {
        ("GET", "/apis/example.com"): says({"versions": [{"version": "v1"}]}),
        ("GET", path): resources(("fleets", "Fleet"), ("fleets/scale", "Scale")),
        ("GET", f"{path}/namespaces/llm/fleets"): says({
            "apiVersion": "example.com/v1", "kind": "FleetList",
            "items": [{"metadata": {"name": "chat", "namespace": "llm"}, "spec": {"replicas": 1}}],
        }),
        ("GET", f"{path}/namespaces/llm/fleets/chat/scale"): says(scale),
    }  # fmt: skip
    evidence, server = examined(tmp_path, fleet("chat", target="Fleet.example.com/{}"), "chat", instead=instead)

    assert evidence.ready == {"chat": {A: 1}}
    assert Counter(asked_for(server))["get fleets"] == 1


def test_a_kind_that_could_not_be_looked_up_is_not_taken_for_one_that_is_not_there(tmp_path: Path) -> None:
    failing = refuses(500, "InternalError", "no")
    evidence, _ = examined(tmp_path, fleet("chat"), "chat", instead={("GET", "/apis/apps"): failing})

    assert [one.found for one in evidence.pools] == [None]
    assert evidence.unanswered == ("GET /apis/apps: 500 InternalError: no; see the API server's log",)


def test_a_server_that_hides_its_version_and_knows_no_reviews_is_examined_all_the_same(tmp_path: Path) -> None:
    instead = {
        ("GET", "/version"): refuses(403, "Forbidden"),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"): NOT_THERE,
    }
    evidence, _ = examined(tmp_path, fleet("chat"), "chat", instead=instead)

    assert (evidence.failure, evidence.version, evidence.account, evidence.skew_s) == (None, None, None, None)
    assert evidence.ready == {"chat": {A: 1}}


def test_claims_are_read_where_a_target_names_one(tmp_path: Path) -> None:
    target = a_deployment("chat")
    target["spec"]["template"] = {"spec": {"resourceClaims": [{"resourceClaimTemplateName": "gpu"}]}}
    template = {"metadata": {"name": "gpu"}}
    path = "/apis/resource.k8s.io/v1"
    instead = {
        ("GET", DEPLOYMENTS): a_list("Deployment", target),
        ("GET", "/apis/resource.k8s.io"): says({"versions": [{"version": "v1"}]}),
        ("GET", path): resources(("resourceclaimtemplates", "ResourceClaimTemplate")),
        ("GET", f"{path}/namespaces/llm/resourceclaimtemplates"): a_list("ResourceClaimTemplate", template),
    }
    evidence, server = examined(tmp_path, fleet("chat"), "chat", instead=instead)

    templates = evidence.claims["llm"]
    assert templates is not None
    assert templates["gpu"]["metadata"] == {"name": "gpu"}
    assert "list resourceclaimtemplates" in asked_for(server)


def test_gpus_of_nodes_are_added_up_where_nodes_may_be_listed(tmp_path: Path) -> None:
    nodes = ({"status": {"allocatable": {"cpu": "192", "nvidia.com/gpu": str(gpus)}}} for gpus in (8, 4))
    instead = {
        ("POST", ACCESS): says({"status": {"allowed": True}}, 201),
        ("GET", "/api/v1/nodes"): a_list("Node", *nodes),
    }
    evidence, _ = examined(tmp_path, fleet("chat"), "chat", instead=instead)

    assert evidence.node_gpus == 12


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        pytest.param("Deployment/chta", "there is no Deployment llm/chta; did you mean chat?", id="misspelt"),
        pytest.param(
            "Rollout.argoproj.io/chat",
            "target: the API server serves no group 'argoproj.io'; install the CRDs of its project", id="not served",
        ),
    ],
)  # fmt: skip
def test_a_target_that_is_not_there_says_why(tmp_path: Path, target: str, cause: str) -> None:
    instead = {("GET", "/apis/argoproj.io"): NOT_THERE}
    evidence, _ = examined(tmp_path, fleet("chat", target=target), "chat", instead=instead)

    assert [one.found for one in evidence.pools] == [Absent(cause)]


def test_an_api_server_that_fails_at_once_is_asked_no_more(tmp_path: Path) -> None:
    evidence, server = examined(tmp_path, fleet("chat"), instead={("GET", "/version"): refuses(500, "InternalError")})

    assert evidence.failure is not None
    assert evidence.failure.startswith("GET /version: 500 InternalError")
    assert len(server.asked) == 1


def test_two_hundred_services_take_a_few_hundred_calls(tmp_path: Path) -> None:
    names = [f"s{n}" for n in range(200)]
    evidence, server = examined(tmp_path, fleet(*names), *names)

    assert len(evidence.ready) == 200
    # The permission to scale each, and 28 for all together.
    assert len(server.asked) == 228
