"""The client, discovery and watches against a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from cluster import Cluster

from planner.clock import WallClock
from planner.connectors.kubernetes.api import client as api_module
from planner.connectors.kubernetes.api.access import Access
from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.api.discovery import Discovery, Resource, UnknownKindError, collection_of, path_of
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.watches.watched import Watched

PATIENCE_S = 60.0
NUMBERS = count(1)
DEPLOYMENT = Resource("apps", "v1", "Deployment", "deployments", namespaced=True, scalable=True)

T = TypeVar("T")


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A new one, with a Deployment `decode` of no pods."""
    name = f"client-{next(NUMBERS)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    labels = {"app": "decode"}
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "decode", "namespace": name, "labels": labels},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "e", "image": "e"}]}},
            },
        }
    )
    return name


@pytest.fixture
def kept_running(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster for a test that stops its API server."""
    yield cluster
    cluster.start_apiserver()


def with_api(kubeconfig: Path, script: Callable[[Api], Awaitable[T]]) -> T:
    """Run `script` with a client, and close that."""

    async def played() -> T:
        api = Api(Access(kubeconfig))
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await script(api)
        finally:
            await api.close()

    return asyncio.run(played())


@asynccontextmanager
async def watching(api: Api, namespace: str) -> AsyncIterator[Watched]:
    """The Deployments of the namespace, watched."""
    path = collection_of(DEPLOYMENT, namespace)
    watched = Watched(api, path, clock=WallClock(), chance=Random(), label_selector="app in (decode)")
    task = asyncio.create_task(watched.run())
    try:
        yield watched
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(watched: Watched, check: Callable[[], bool]) -> None:
    """Wait for the change that makes it true."""
    revision = -1
    while not check():
        revision = await watched.wait_changed(revision)


def replicas(watched: Watched, namespace: str) -> Any:
    """Those that the Deployment asks for, as far as is seen."""
    return watched.objects.get((namespace, "decode"), {}).get("spec", {}).get("replicas")


def user(cluster: Cluster, folder: Path, token: str) -> Path:
    """A kubeconfig with this token."""
    file = folder / "kubeconfig"
    document = json.loads(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    file.write_text(json.dumps(document))
    return file


def test_a_deployment_is_seen_while_it_is_scaled(cluster: Cluster, namespace: str) -> None:
    scale = path_of(DEPLOYMENT, namespace, "decode", "scale")

    async def script(api: Api) -> Any:
        async with watching(api, namespace) as watched:
            await until(watched, lambda: replicas(watched, namespace) == 0 and watched.synced)
            listed = watched.objects[namespace, "decode"]
            answer = await api.patch(scale, {"spec": {"replicas": 2}})
            await until(watched, lambda: replicas(watched, namespace) == 2)
            return listed, answer, watched.objects[namespace, "decode"]

    listed, answer, seen = with_api(cluster.kubeconfig, script)

    assert (answer["kind"], answer["spec"]) == ("Scale", {"replicas": 2})
    assert {key: listed[key] for key in ("apiVersion", "kind")} == {"apiVersion": "apps/v1", "kind": "Deployment"}
    assert {key: seen[key] for key in ("apiVersion", "kind")} == {"apiVersion": "apps/v1", "kind": "Deployment"}
    managers = {(entry["manager"], entry.get("subresource", "")) for entry in seen["metadata"]["managedFields"]}
    assert ("sla-planner", "scale") in managers


def test_a_write_that_was_decided_on_an_older_state_is_refused(cluster: Cluster, namespace: str) -> None:
    scale = path_of(DEPLOYMENT, namespace, "decode", "scale")

    async def script(api: Api) -> Any:
        before = (await api.get(scale))["metadata"]["resourceVersion"]
        # Not fenced: the Deployment's controller may write its status at any time.
        await api.patch(scale, {"spec": {"replicas": 1}})
        with pytest.raises(ApiError) as refused:
            await api.patch(scale, {"metadata": {"resourceVersion": before}, "spec": {"replicas": 9}})
        return refused.value, (await api.get(scale))["spec"]

    error, spec = with_api(cluster.kubeconfig, script)

    assert (error.status, error.reason, spec) == (409, "Conflict", {"replicas": 1})
    assert str(error).startswith(f"PATCH {scale}: 409 Conflict: ")
    assert str(error).endswith("; read the object again and decide anew")


def test_our_own_write_put_in_is_not_undone_by_the_watch(cluster: Cluster, namespace: str) -> None:
    path = path_of(DEPLOYMENT, namespace, "decode")

    async def script(api: Api) -> list[Any]:
        async with watching(api, namespace) as watched:
            await until(watched, lambda: watched.synced)
            seen = []
            for count_ in range(1, 21):
                watched.put(await api.patch(path, {"spec": {"replicas": count_}}))
                seen.append(replicas(watched, namespace))
                # Whatever the watch has told by now.
                await asyncio.sleep(0)
                seen.append(replicas(watched, namespace))
            return seen

    assert with_api(cluster.kubeconfig, script) == [count_ for count_ in range(1, 21) for _ in range(2)]


def test_the_watch_comes_back_when_the_api_server_does(kept_running: Cluster, namespace: str) -> None:
    async def script(api: Api) -> Any:
        async with watching(api, namespace) as watched:
            await until(watched, lambda: watched.synced)
            await asyncio.to_thread(kept_running.stop_apiserver)
            await until(watched, lambda: watched.failure is not None)
            failure, synced = watched.failure, watched.synced
            await asyncio.to_thread(kept_running.start_apiserver)
            await until(watched, lambda: watched.failure is None)
            await api.patch(path_of(DEPLOYMENT, namespace, "decode"), {"spec": {"replicas": 3}})
            await until(watched, lambda: replicas(watched, namespace) == 3)
            return failure, synced

    failure, synced = with_api(kept_running.kubeconfig, script)

    assert synced
    assert failure.startswith(f"GET {collection_of(DEPLOYMENT, namespace)}: ")


def test_what_the_server_has_forgotten_is_an_event_that_asks_for_a_new_list(cluster: Cluster, namespace: str) -> None:
    path = collection_of(DEPLOYMENT, namespace)

    async def script(api: Api) -> Any:
        async with api.stream(path, {"watch": "true", "resourceVersion": "1"}, silence_s=PATIENCE_S) as events:
            return await anext(events)

    event = with_api(cluster.kubeconfig, script)

    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_list_is_read_in_pages(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "_PAGE", 2)
    path = f"/api/v1/namespaces/{namespace}/configmaps"

    async def script(api: Api) -> Any:
        for number in range(5):
            await api.create(path, {"metadata": {"name": f"c{number}", "labels": {"for": "pages"}}})
        with pytest.raises(ApiError, match='409 AlreadyExists: configmaps "c0" already exists; change the object'):
            await api.create(path, {"metadata": {"name": "c0"}})
        listing = await api.items(path, label_selector="for=pages")
        await api.delete(f"{path}/c0")
        with pytest.raises(ApiError, match='404 NotFound: configmaps "c0" not found; see whether'):
            await api.get(f"{path}/c0")
        return listing

    listing = with_api(cluster.kubeconfig, script)

    assert [(item["kind"], item["metadata"]["name"]) for item in listing.items] == [
        ("ConfigMap", f"c{number}") for number in range(5)
    ]
    assert listing.resource_version.isdecimal()


def test_what_is_served_is_found(cluster: Cluster) -> None:
    async def script(api: Api) -> Any:
        discovery = Discovery(api)
        with pytest.raises(UnknownKindError) as unknown:
            await discovery.find("apps/v1", "Deploymnet")
        kinds = [
            ("apps", "Deployment"),
            ("apps/v1", "DaemonSet"),
            ("v1", "Node"),
            ("autoscaling", "HorizontalPodAutoscaler"),
        ]
        return [await discovery.find(*kind) for kind in kinds], str(unknown.value)

    found, unknown = with_api(cluster.kubeconfig, script)

    assert found == [
        DEPLOYMENT,
        Resource("apps", "v1", "DaemonSet", "daemonsets", namespaced=True, scalable=False),
        Resource("", "v1", "Node", "nodes", namespaced=False, scalable=False),
        Resource(
            "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", namespaced=True, scalable=False
        ),
    ]
    assert unknown == "target: there is no kind 'Deploymnet' in apps/v1; did you mean Deployment or DaemonSet?"


def test_a_crd_is_found_once_it_is_installed(cluster: Cluster, namespace: str) -> None:
    group = f"{namespace}.example.org"

    async def script(api: Api) -> Resource:
        discovery = Discovery(api)
        with pytest.raises(UnknownKindError, match=f"serves no group '{group}'; install the CRDs"):
            await discovery.find(group, "Engine")
        await api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd(group))
        while True:
            with suppress(UnknownKindError):
                return await discovery.find(group, "Engine")
            await asyncio.sleep(0.05)

    expected = Resource(group, "v1", "Engine", "engines", namespaced=True, scalable=True)
    assert with_api(cluster.kubeconfig, script) == expected


def crd(group: str) -> dict[str, Any]:
    """Of a kind with a scale subresource."""
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"engines.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Engine", "plural": "engines", "singular": "engine"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    "subresources": {"status": {}, "scale": scale},
                }
            ],
        },
    }


def test_what_rbac_does_not_allow_names_who_and_the_remedy(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    cluster.until("the namespace has an account", lambda: cluster.get(account("default", namespace)))
    path = path_of(DEPLOYMENT, namespace, "decode")

    async def script(api: Api) -> ApiError:
        with pytest.raises(ApiError) as refused:
            await api.get(path)
        return refused.value

    error = with_api(user(cluster, tmp_path, cluster.token_for("default", namespace)), script)

    assert (error.status, error.reason) == (403, "Forbidden")
    assert f'User "system:serviceaccount:{namespace}:default" cannot get resource "deployments"' in str(error)
    assert str(error).endswith("; allow it by RBAC to the account the planner runs as")


def test_a_token_that_ended_is_replaced_by_the_one_that_lies_there_now(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    cluster.apply(account("planner", namespace))
    kubeconfig = user(cluster, tmp_path, cluster.token_for("planner", namespace))
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}

    async def script(api: Api) -> Any:
        await api.create(review, body)
        # Tokens end with the account they are of.
        cluster.delete(account("planner", namespace))
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await refused_at_last(api)
        cluster.apply(account("planner", namespace))
        user(cluster, tmp_path, cluster.token_for("planner", namespace))
        return (await api.create(review, body))["status"]["userInfo"]["username"]

    async def refused_at_last(api: Api) -> None:
        # The API server believes a token for up to 10 s.
        while True:
            await api.create(review, body)
            await asyncio.sleep(0.2)

    assert with_api(kubeconfig, script) == f"system:serviceaccount:{namespace}:planner"


def account(name: str, namespace: str) -> dict[str, Any]:
    """A ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
