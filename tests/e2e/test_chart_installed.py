"""The installed Helm chart: what its planner can do, what it may, and what is left of it.

On a real control plane that enforces the Pod Security Standard "restricted". Pods there run nothing, so the installed
planner runs as a process of this machine: with the arguments of the installed Deployment, the configuration of the
installed ConfigMap, and a token of the installed ServiceAccount.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from chart_helm import BASICS, CHART, Helm
from cluster import Cluster
from cluster_api import Object, kubeconfig
from kubernetes_site import Stage, stage

NUMBERS = count(1)


@pytest.fixture
def helm(helm_program: str, tmp_path: Path) -> Helm:
    return Helm(helm_program, tmp_path / "helm")


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path, newest_prometheus: str) -> Iterator[Stage]:
    with stage(cluster, tmp_path, newest_prometheus) as made:
        yield made


def test_installed_it_scales_what_it_may_and_goes_without_a_trace(here: Stage, helm: Helm) -> None:
    namespace = a_namespace(here)
    site = (f"--kubeconfig={here.cluster.kubeconfig}", f"--namespace={namespace}")

    settings = (*settings_for(here), "dryRun=false", "replicas=2")
    installed = helm("install", "p", str(CHART), *site, "--wait", "--timeout=60s", settings=settings)
    assert installed.returncode == 0, installed.stderr
    assert f"The planner scales:\n  Deployment/engine in {here.namespace}" in installed.stdout
    with planner(here, namespace):
        here.engines.load_per_s = 60.0
        here.until("the fleet grew", lambda: here.deployment["spec"]["replicas"] >= 4)
        leader = holder(here, namespace)
        upgraded = helm("upgrade", "p", str(CHART), *site, "--reuse-values", settings=("config.priority=1",))
        assert upgraded.returncode == 0, upgraded.stderr
        assert holder(here, namespace) == leader != ""

    fields = here.deployment["metadata"]["managedFields"]
    assert [each["manager"] for each in fields if each.get("subresource") == "scale"] == ["sla-planner"]
    assert "orbidden" not in here.log()
    assert here.most_gpus <= here.budget
    assert {what: may(here, namespace, *what.split()) for what in MAY} == MAY

    removed = helm("uninstall", "p", *site, "--wait", "--timeout=60s")
    assert removed.returncode == 0, removed.stderr
    here.until("all is gone", lambda: left(here, namespace) == [])


def test_a_first_install_advises_and_one_command_lets_it_act(here: Stage, helm: Helm) -> None:
    namespace = a_namespace(here)
    site = (f"--kubeconfig={here.cluster.kubeconfig}", f"--namespace={namespace}")
    here.engines.load_per_s = 60.0
    # As the planner's doctor wants it for requests of this length.
    grace = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}}
    engine = f"/apis/apps/v1/namespaces/{here.namespace}/deployments/engine"
    here.cluster.request("PATCH", engine, grace, "application/merge-patch+json")
    here.until("it is rolled out", lambda: (here.deployment["status"].get("updatedReplicas"), here.ready()) == (1, 1))

    installed = helm("install", "p", str(CHART), *site, settings=settings_for(here))
    assert installed.returncode == 0, installed.stderr
    (command,) = (line.strip() for line in installed.stdout.splitlines() if "dryRun=false" in line)
    before = here.deployment["metadata"]["generation"]
    tester = helm.objects(*settings_for(here), more=(f"--namespace={namespace}",))["Pod", "p-sla-planner-test"]
    here.cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", tester)
    with planner(here, namespace) as url:
        here.until("it says what it would do", lambda: "RescaleAdvised" in events(here))
        assert complaints(tester, here, namespace, url) == {}
    advised = here.deployment
    assert (advised["spec"]["replicas"], advised["metadata"]["generation"]) == (1, before)

    arguments = command.replace("<chart>", str(CHART)).split()[1:]
    upgraded = helm(*arguments, f"--kubeconfig={here.cluster.kubeconfig}")
    assert upgraded.returncode == 0, upgraded.stderr
    with planner(here, namespace):
        here.until("it acts", lambda: here.deployment["spec"]["replicas"] >= 4)
    removed = helm("uninstall", "p", *site)
    assert removed.returncode == 0, removed.stderr


def a_namespace(here: Stage) -> str:
    """A new one, for a release and nothing else."""
    name = f"chart-{next(NUMBERS)}"
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    here.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}})
    return name


def settings_for(here: Stage) -> tuple[str, ...]:
    """Values of a release that has everything its planner needs."""
    return (
        *BASICS[:4], "budget.gpus=8", BASICS[5], f"prometheus.url={here.prometheus.url}", "prometheus.window_s=4",
        "mode=aggregated", f"targets.namespace={here.namespace}", "targets.aggregated=Deployment/engine",
        f"metrics.match=namespace={here.namespace}", "config.interval_s=2", "config.startup_s=4",
        "config.observe.max_age_s=10", "config.scaling.delayed_start_s=0", "config.forecast.model=constant",
    )  # fmt: skip


def events(here: Stage) -> set[str]:
    """Reasons of the Events on the target."""
    return {each["reason"] for each in here.cluster.find("events.k8s.io/v1", "Event", here.namespace)}


def complaints(tester: Object, here: Stage, namespace: str, url: str) -> dict[str, str]:
    """What containers of the pod of helm test say that fail, with the planner's own address for that of its Service."""
    answers, finds = tester["spec"]["containers"]
    file = f"--config={here.folder}/planner.yaml"
    arguments = [file if each.startswith("--config=") else each for each in finds["args"]]
    commands = {
        answers["name"]: [sys.executable, *answers["command"][1:-1], f"{url}readyz"],
        finds["name"]: [
            sys.executable, "-m", "planner", *arguments, f"--kubeconfig={installed(here, namespace)}",
        ],
    }  # fmt: skip
    ended = {name: subprocess.run(each, capture_output=True, text=True, check=False) for name, each in commands.items()}
    return {name: each.stdout + each.stderr for name, each in ended.items() if each.returncode != 0}


MAY = {
    "targets patch apps deployments/scale engine": True,
    "targets patch apps deployments/scale other": False,
    "targets patch apps deployments engine": False,
    "targets delete apps deployments engine": False,
    "targets create core pods/eviction engine": False,
    "targets delete core pods engine": False,
    "targets list core secrets *": False,
    "own get coordination.k8s.io leases p-sla-planner": True,
    "own create coordination.k8s.io leases *": False,
    "own list core pods *": False,
    "default list core pods *": False,
}
"""Where, verb, group, resource and name: whether the installed ServiceAccount may."""


def may(here: Stage, namespace: str, where: str, verb: str, group: str, resource: str, name: str) -> bool:
    """What the API server says of it."""
    plural, _, sub = resource.partition("/")
    asked = {
        "namespace": {"targets": here.namespace, "own": namespace}.get(where, where), "verb": verb,
        "group": "" if group == "core" else group, "resource": plural, "subresource": sub,
        "name": "" if name == "*" else name,
    }  # fmt: skip
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{namespace}:p-sla-planner", "resourceAttributes": asked},
    }
    answer = here.cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return answer["status"]["allowed"] is True


def holder(here: Stage, namespace: str) -> str:
    """Who leads; empty when nobody does."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/p-sla-planner"
    name: str = here.cluster.request("GET", path)["spec"].get("holderIdentity") or ""
    return name


@contextmanager
def planner(here: Stage, namespace: str) -> Iterator[str]:
    """The installed planner, as its container would start it; where it serves."""
    metadata = {"name": "p-sla-planner", "namespace": namespace}
    config = here.cluster.get({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    deployment = here.cluster.get({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata})
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (here.folder / "planner.yaml").write_text(config["data"]["planner.yaml"])
    elsewhere = {
        "/etc/sla-planner/": f"{here.folder}/", "/var/lib/sla-planner": f"{here.folder}/state-{next(NUMBERS)}",
        "0.0.0.0:8080": "127.0.0.1:0",
    }  # fmt: skip
    command = [sys.executable, "-m", "planner", *container["args"], f"--kubeconfig={installed(here, namespace)}"]
    for there, this in elsewhere.items():
        command = [part.replace(there, this) for part in command]
    with (here.folder / "planner.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield here.until("it serves", lambda: re.search(r"http://127[.0-9]+:\d+/", here.log()))[0]
    finally:
        process.terminate()
        process.wait(timeout=30)


def installed(here: Stage, namespace: str) -> Path:
    """Of the installed ServiceAccount."""
    path = here.folder / "installed.kubeconfig"
    user = {"token": here.cluster.token_for("p-sla-planner", namespace)}
    path.write_text(kubeconfig(here.cluster.url, here.cluster.ca_file, user))
    return path


KINDS_MADE = (
    ("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "Pod"), ("v1", "ConfigMap"), ("v1", "Secret"),
    ("v1", "Service"), ("v1", "ServiceAccount"), ("coordination.k8s.io/v1", "Lease"),
    ("policy/v1", "PodDisruptionBudget"), ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "Role"), ("rbac.authorization.k8s.io/v1", "RoleBinding"),
)  # fmt: skip
EVERYWHERE = {"kube-root-ca.crt", "default"}
"""What the control plane puts into each namespace."""


def left(here: Stage, namespace: str) -> list[str]:
    """What is still there of the release."""
    own = [each for version, kind in KINDS_MADE for each in here.cluster.find(version, kind, namespace)]
    there = [
        each
        for version, kind in KINDS_MADE
        for each in here.cluster.find(version, kind, here.namespace, "app.kubernetes.io/instance=p")
    ]
    return [each["metadata"]["name"] for each in own + there if each["metadata"]["name"] not in EVERYWHERE]
