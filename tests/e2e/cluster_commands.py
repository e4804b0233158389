"""How each program of a test cluster is called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cluster_keys import Keys
from cluster_programs import Program, free_port

STORE = "etcd"
"""Folder of the data, within the cluster's."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything is."""

    folder: Path
    """For logs, data and what the programs are told; empty at first but for the keys."""
    kubernetes: Path
    """Component of the test bed."""
    kwok: Path
    """Component of the test bed."""
    keys: Keys
    kubeconfig: Path
    etcd_port: int
    port: int
    """Of the API server."""


def etcd(site: Site) -> Program:
    """The store. It does not wait for the disk: its data lives no longer than its machine."""
    url = f"http://127.0.0.1:{site.etcd_port}"
    peers = f"http://127.0.0.1:{free_port()}"
    command = [
        str(_asset("etcd", site)), f"--data-dir={site.folder / STORE}", "--unsafe-no-fsync",
        f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
    ]  # fmt: skip
    return Program("etcd", command, site.folder)


def apiserver(site: Site) -> Program:
    """The API server, with RBAC."""
    keys = site.keys
    command = [
        str(_asset("kube-apiserver", site)), f"--etcd-servers=http://127.0.0.1:{site.etcd_port}",
        "--bind-address=127.0.0.1", f"--secure-port={site.port}", f"--cert-dir={site.folder}",
        f"--tls-cert-file={keys.server.certificate}", f"--tls-private-key-file={keys.server.key}",
        f"--client-ca-file={keys.authority.certificate}", "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={keys.service_accounts.certificate}",
        f"--service-account-signing-key-file={keys.service_accounts.key}", "--service-cluster-ip-range=10.0.0.0/24",
    ]  # fmt: skip
    return Program("kube-apiserver", command, site.folder)


def controllers(site: Site) -> Program:
    """Deployments, jobs, service accounts, autoscalers and the rest.

    It makes an account for each of them first, which at its usual 20 requests per second takes seconds.
    """
    command = [
        str(site.kubernetes / "kube-controller-manager"), f"--kubeconfig={site.kubeconfig}", "--secure-port=0",
        "--leader-elect=false", f"--root-ca-file={site.keys.authority.certificate}",
        f"--service-account-private-key-file={site.keys.service_accounts.key}",
        "--use-service-account-credentials=true", "--kube-api-qps=200", "--kube-api-burst=400",
        "--horizontal-pod-autoscaler-sync-period=2s",
    ]  # fmt: skip
    return Program("kube-controller-manager", command, site.folder)


def scheduler(site: Site) -> Program:
    """Gives pods their nodes, and says why a pod has none."""
    command = [
        str(site.kubernetes / "kube-scheduler"), f"--kubeconfig={site.kubeconfig}", "--secure-port=0",
        "--leader-elect=false",
    ]  # fmt: skip
    return Program("kube-scheduler", command, site.folder)


def kwok(site: Site) -> Program:
    """The kubelets, pretended."""
    stages = site.folder / "stages.yaml"
    stages.write_text(yaml.safe_dump_all(_prompt(path) for path in sorted(site.kwok.glob("stages/*.yaml"))))
    command = [
        str(site.kwok / "kwok"), f"--kubeconfig={site.kubeconfig}", f"--config={stages}", "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40", "--node-port=0",
    ]  # fmt: skip
    return Program("kwok", command, site.folder)


def _asset(name: str, site: Site) -> Path:
    """The one in the folder that other test tools for Kubernetes look into, where there is such a folder."""
    return Path(os.environ.get("KUBEBUILDER_ASSETS") or site.kubernetes) / name


def _prompt(path: Path) -> dict[str, Any]:
    """A stage of kwok's; one of pods takes no seconds by chance, but as many as the pod's annotation says, or none."""
    stage: dict[str, Any] = yaml.safe_load(path.read_text())
    if stage["metadata"]["name"].startswith("pod-"):
        # Without its jitter too: kwok takes that for the longest that it may be, whatever the annotation asks for.
        annotation = stage["spec"]["delay"].get("durationFrom")
        stage["spec"]["delay"] = {"durationMilliseconds": 0, "durationFrom": annotation}
    return stage
