"""The test cluster is a cluster: it schedules, it takes its time, it refuses, and it remembers."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from typing import Any

import pytest
from cluster import READY_DELAY, Cluster
from cluster_api import Api, Object, RefusedError
from urllib3.exceptions import HTTPError

Manifest = dict[str, Any]

NUMBERS = count(1)


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A new one, empty."""
    name = f"cluster-{next(NUMBERS)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def engines(namespace: str, replicas: int, gpus: int = 0, annotations: dict[str, str] | None = None) -> Manifest:
    """A Deployment whose pods go to the nodes that are labelled with the namespace."""
    labels = {"app": "engine"}
    container = {"name": "engine", "image": "engine", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "engine", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations or {}},
                "spec": {"containers": [container], "nodeSelector": {"for": namespace}},
            },
        },
    }


def pods(cluster: Cluster, namespace: str, phase: str) -> list[Object]:
    return [pod for pod in cluster.find("v1", "Pod", namespace) if pod["status"]["phase"] == phase]


def condition(pod: Object, name: str) -> Object:
    """Of a pod; empty while it has none of that name."""
    return next((each for each in pod["status"].get("conditions", []) if each["type"] == name), {})


def refusals(cluster: Cluster, namespace: str) -> list[str]:
    """What the scheduler says of the pods that it found no node for."""
    placed = [condition(pod, "PodScheduled") for pod in pods(cluster, namespace, "Pending")]
    return [each["message"] for each in placed if each.get("reason") == "Unschedulable"]


def test_it_says_its_release(cluster: Cluster) -> None:
    said = cluster.request("GET", "/version")

    # Built without the linker's flags it would say 0.0, and clients would take it for one without features.
    assert (int(said["major"]), int(said["minor"])) >= (1, 36)


def test_pods_for_which_there_are_no_gpus_wait_and_say_so(cluster: Cluster, namespace: str) -> None:
    for number in (1, 2):
        cluster.gpu_node(f"{namespace}-{number}", gpus=8, labels={"for": namespace})
    cluster.apply(engines(namespace, replicas=1, gpus=4))
    cluster.apply(engines(namespace, replicas=6, gpus=4))

    cluster.until("the scheduler refused two", lambda: len(refusals(cluster, namespace)) == 2)
    cluster.until("the others run", lambda: len(pods(cluster, namespace, "Running")) == 4)
    assert all("2 Insufficient nvidia.com/gpu" in each for each in refusals(cluster, namespace))


def test_a_pod_becomes_ready_after_its_delay(cluster: Cluster, namespace: str) -> None:
    cluster.gpu_node(namespace, gpus=8, labels={"for": namespace})
    cluster.apply(engines(namespace, replicas=1, annotations={READY_DELAY: "3s"}))

    [pod] = cluster.until("the pod runs", lambda: pods(cluster, namespace, "Running"))

    begun, ready = pod["metadata"]["creationTimestamp"], condition(pod, "Ready")
    assert ready["status"] == "True"
    took = datetime.fromisoformat(ready["lastTransitionTime"]) - datetime.fromisoformat(begun)
    assert took.total_seconds() >= 3


def test_a_deleted_pod_is_gone(cluster: Cluster, namespace: str) -> None:
    cluster.gpu_node(namespace, gpus=8, labels={"for": namespace})
    deployment = cluster.apply(engines(namespace, replicas=1))
    cluster.until("the pod runs", lambda: pods(cluster, namespace, "Running"))

    cluster.delete(deployment)

    cluster.until("the pod is gone", lambda: not cluster.find("v1", "Pod", namespace))


def test_a_service_account_may_do_what_its_role_says_and_no_more(cluster: Cluster, namespace: str) -> None:
    deployment = cluster.apply(engines(namespace, replicas=0))
    rbac = "rbac.authorization.k8s.io"
    named = {"name": "reader", "namespace": namespace}
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named})
    cluster.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": named, "rules": [rule]})
    cluster.apply({
        "apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": named,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", **named}],
    })  # fmt: skip

    reader = Api(cluster.url, cluster.ca_file, token=cluster.token_for("reader", namespace))

    # The authorizer learns of new roles by watching, a moment later.
    assert cluster.until("the role is in force", lambda: reader.get(deployment)) == cluster.get(deployment)
    with pytest.raises(RefusedError, match=r'403: .*"system:serviceaccount:\S+:reader" cannot patch resource'):
        reader.apply(engines(namespace, replicas=1))
    assert cluster.get(deployment)["spec"]["replicas"] == 0


def test_a_kind_is_served_once_it_is_defined(cluster: Cluster, namespace: str) -> None:
    names = {"kind": "Kettle", "plural": "kettles", "singular": "kettle"}
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    kettle = {
        "apiVersion": "tests.example/v1", "kind": "Kettle", "metadata": {"name": "one", "namespace": namespace},
        "spec": {"litres": 2},
    }  # fmt: skip
    with pytest.raises(RefusedError, match="404: 404 page not found"):
        cluster.apply(kettle)

    cluster.apply({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "kettles.tests.example"},
        "spec": {"group": "tests.example", "scope": "Namespaced", "names": names, "versions": [version]},
    })  # fmt: skip

    assert cluster.until("it is served", lambda: cluster.apply(kettle))["spec"] == {"litres": 2}


def test_the_api_server_comes_back_with_what_it_knew(cluster: Cluster, namespace: str) -> None:
    cluster.gpu_node(namespace, gpus=8, labels={"for": namespace})
    deployment = cluster.apply(engines(namespace, replicas=0))
    cluster.stop_apiserver()
    try:
        with pytest.raises(HTTPError):
            cluster.get(deployment)
    finally:
        cluster.start_apiserver()

    assert cluster.get(deployment)["metadata"]["uid"] == deployment["metadata"]["uid"]
    cluster.apply(engines(namespace, replicas=1))
    cluster.until("the others have found it again", lambda: pods(cluster, namespace, "Running"))
