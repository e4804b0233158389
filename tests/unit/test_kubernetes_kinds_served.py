"""Which kinds an API server serves, as its discovery documents say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes_server import FakeApiServer, play, refuses, says

from planner.connectors.kubernetes.api.client import Api
from planner.connectors.kubernetes.api.discovery import Discovery, Resource, UnknownKindError, collection_of, path_of
from planner.connectors.kubernetes.api.errors import ApiError

NVIDIA = "nvidia.com"
DYNAMO = "DynamoGraphDeployment"

DEPLOYMENT = Resource("apps", "v1", "Deployment", "deployments", namespaced=True, scalable=True)
DAEMON_SET = Resource("apps", "v1", "DaemonSet", "daemonsets", namespaced=True, scalable=False)
NODE = Resource("", "v1", "Node", "nodes", namespaced=False, scalable=False)

NOWHERE = refuses(404, "NotFound", "the server could not find the requested resource")


def group(name: str, preferred: str, *others: str) -> dict[str, Any]:
    """An APIGroup, which lists its versions in the server's order."""
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in (*others, preferred)]
    return {"kind": "APIGroup", "name": name, "versions": versions, "preferredVersion": versions[-1]}


def resources(*entries: tuple[str, str], namespaced: bool = True) -> dict[str, Any]:
    """An APIResourceList of names and kinds."""
    listed = [{"name": name, "kind": kind, "namespaced": namespaced} for name, kind in entries]
    return {"kind": "APIResourceList", "resources": listed}


def serve(server: FakeApiServer) -> None:
    """The core, apps, and Dynamo at two versions of which one has the other kind."""
    documents: dict[str, Any] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/api/v1": resources(("nodes", "Node"), ("nodes/status", "Node"), namespaced=False),
        "/apis": {"groups": [group("apps", "v1"), group(NVIDIA, "v1alpha1", "v1beta1")]},
        "/apis/apps": group("apps", "v1"),
        "/apis/apps/v1": resources(
            ("daemonsets", "DaemonSet"),
            ("deployments", "Deployment"),
            ("deployments/scale", "Scale"),
            ("deployments/status", "Deployment"),
        ),
        f"/apis/{NVIDIA}": group(NVIDIA, "v1alpha1", "v1beta1"),
        f"/apis/{NVIDIA}/v1alpha1": resources(("dynamographdeployments", DYNAMO), ("dynamomodels", "DynamoModel")),
        f"/apis/{NVIDIA}/v1beta1": resources(("dynamographdeployments", DYNAMO)),
    }
    for path, document in documents.items():
        server.script("GET", path, says(document))
    for absent in ("/apis/aps", "/apis/unheard.of", "/apis/nvidia.co"):
        server.script("GET", absent, NOWHERE)


def found(folder: Path, script: Callable[[FakeApiServer, Discovery], Awaitable[Any]]) -> Any:
    """What `script` makes of a discovery of what is served."""

    async def played(server: FakeApiServer, api: Api) -> Any:
        serve(server)
        return await script(server, Discovery(api))

    return play(folder, played)


@pytest.mark.parametrize(
    ("api_version", "kind", "expected"),
    [
        pytest.param("apps/v1", "Deployment", DEPLOYMENT, id="at its version"),
        pytest.param("apps", "Deployment", DEPLOYMENT, id="at whatever version"),
        pytest.param("apps/v1", "DaemonSet", DAEMON_SET, id="without a scale"),
        pytest.param("v1", "Node", NODE, id="core, without namespaces"),
        pytest.param("", "Node", NODE, id="core, at whatever version"),
        pytest.param(
            NVIDIA,
            DYNAMO,
            Resource(NVIDIA, "v1beta1", DYNAMO, "dynamographdeployments", namespaced=True, scalable=False),
            id="the newest version we know, not the server's favourite",
        ),
        pytest.param(
            f"{NVIDIA}/v1alpha1",
            DYNAMO,
            Resource(NVIDIA, "v1alpha1", DYNAMO, "dynamographdeployments", namespaced=True, scalable=False),
            id="the version that is named",
        ),
        pytest.param(
            NVIDIA,
            "DynamoModel",
            Resource(NVIDIA, "v1alpha1", "DynamoModel", "dynamomodels", namespaced=True, scalable=False),
            id="the version that has the kind",
        ),
    ],
)
def test_finds_a_kind(tmp_path: Path, api_version: str, kind: str, expected: Resource) -> None:
    assert found(tmp_path, lambda _, discovery: discovery.find(api_version, kind)) == expected


@pytest.mark.parametrize(
    ("api_version", "kind", "said"),
    [
        pytest.param(
            "apps/v1",
            "deploymnt",
            "target: there is no kind 'deploymnt' in apps/v1; did you mean Deployment?",
            id="kind misspelt",
        ),
        pytest.param(
            "apps/v1",
            "Pod",
            "target: there is no kind 'Pod' in apps/v1; install its CRD, or correct the kind",
            id="kind of another group",
        ),
        pytest.param(
            "",
            "Nod",
            "target: there is no kind 'Nod' in the core group; did you mean Node?",
            id="core kind misspelt",
        ),
        pytest.param(
            f"{NVIDIA}/v1",
            DYNAMO,
            "target: nvidia.com is not served at 'v1'; write v1alpha1 or v1beta1",
            id="version not served",
        ),
        pytest.param(
            "v2", "Node", "target: the core group is not served at 'v2'; write v1", id="core version not served"
        ),
        pytest.param(
            "aps/v1",
            "Deployment",
            "target: the API server serves no group 'aps'; did you mean apps?",
            id="group misspelt",
        ),
        pytest.param(
            "unheard.of/v1",
            "Thing",
            "target: the API server serves no group 'unheard.of'; install the CRDs of its project",
            id="CRDs absent",
        ),
    ],
)
def test_a_kind_that_is_not_served_is_refused_with_what_may_have_been_meant(
    tmp_path: Path, api_version: str, kind: str, said: str
) -> None:
    async def script(server: FakeApiServer, discovery: Discovery) -> str:
        with pytest.raises(UnknownKindError) as refused:
            await discovery.find(api_version, kind)
        return str(refused.value)

    assert found(tmp_path, script) == said


def test_asks_once_for_a_group_until_told_to_forget_it(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, discovery: Discovery) -> list[str]:
        await discovery.find("apps/v1", "Deployment")
        await discovery.find("apps", "DaemonSet")
        await discovery.find("v1", "Node")
        discovery.forget("apps")
        await discovery.find("apps", "Deployment")
        await discovery.find("v1", "Node")
        return [asked.path for asked in server.asked]

    asked = ["/apis/apps", "/apis/apps/v1", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1"]
    assert found(tmp_path, script) == asked


def test_a_crd_installed_meanwhile_is_found(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, discovery: Discovery) -> Resource:
        with pytest.raises(UnknownKindError):
            await discovery.find(f"{NVIDIA}/v1beta1", "DynamoModel")
        server.script("GET", f"/apis/{NVIDIA}/v1beta1", says(resources(("dynamomodels", "DynamoModel"))))
        return await discovery.find(f"{NVIDIA}/v1beta1", "DynamoModel")

    assert found(tmp_path, script) == Resource(NVIDIA, "v1beta1", "DynamoModel", "dynamomodels", True, False)


def test_a_version_that_vanishes_between_two_questions_is_not_served(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, discovery: Discovery) -> Resource:
        server.script("GET", f"/apis/{NVIDIA}/v1beta1", NOWHERE)
        return await discovery.find(NVIDIA, DYNAMO)

    assert found(tmp_path, script).version == "v1alpha1"


def test_a_server_that_does_not_say_is_no_absent_kind(tmp_path: Path) -> None:
    async def script(server: FakeApiServer, discovery: Discovery) -> None:
        server.script("GET", "/apis/apps", refuses(403, "Forbidden", "no"))
        with pytest.raises(ApiError, match="GET /apis/apps: 403 Forbidden: no; allow it by RBAC"):
            await discovery.find("apps/v1", "Deployment")

    found(tmp_path, script)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(path_of(DEPLOYMENT, "llm", "decode"), "/apis/apps/v1/namespaces/llm/deployments/decode", id="one"),
        pytest.param(
            path_of(DEPLOYMENT, "llm", "decode", "scale"),
            "/apis/apps/v1/namespaces/llm/deployments/decode/scale",
            id="its scale",
        ),
        pytest.param(path_of(NODE, "llm", "gpu-1"), "/api/v1/nodes/gpu-1", id="core, without namespaces"),
        pytest.param(path_of(NODE, "", "a/../b?c"), "/api/v1/nodes/a%2F..%2Fb%3Fc", id="a name is no path"),
        pytest.param(collection_of(DEPLOYMENT, "llm"), "/apis/apps/v1/namespaces/llm/deployments", id="all of one"),
        pytest.param(collection_of(DEPLOYMENT), "/apis/apps/v1/deployments", id="all of all"),
        pytest.param(collection_of(NODE), "/api/v1/nodes", id="all of the core"),
    ],
)
def test_writes_the_path(path: str, expected: str) -> None:
    assert path == expected


def test_a_resource_says_its_version_as_objects_do() -> None:
    assert (DEPLOYMENT.api_version, NODE.api_version) == ("apps/v1", "v1")
