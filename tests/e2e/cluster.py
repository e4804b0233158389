"""A real Kubernetes control plane whose nodes and pods are pretended, for tests.

etcd, the API server with RBAC, the controller manager and the scheduler are the real programs; kwok plays the kubelets.
A pod that has a node becomes Ready at once, or after the annotation `READY_DELAY` of its template, and runs nothing;
one that is deleted is gone at once, or after the annotation `DELETE_DELAY`.
Everything listens on 127.0.0.1 and lies in one temporary folder. It takes about 570 MiB of memory.

Limits: no kubelet, no network, no DNS, no webhooks, no API aggregation.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import cluster_commands
import urllib3
from cluster_api import Api, Object, RefusedError, kubeconfig
from cluster_commands import Site
from cluster_keys import make_keys
from cluster_programs import free_port

PATIENCE_S = 60.0

READY_DELAY = "pod-ready.stage.kwok.x-k8s.io/delay"
"""Annotation of a pod: how long it starts up, as Go writes durations: 120s."""
DELETE_DELAY = "pod-delete.stage.kwok.x-k8s.io/delay"
"""Annotation of a pod: how long it takes to end, whatever its grace period."""

Answer = TypeVar("Answer")


class Cluster(Api):
    """The control plane, and its API as an administrator has it."""

    def __init__(self, folder: Path, *, kubernetes: Path, kwok: Path) -> None:
        """Not started. `kubernetes` and `kwok` are components of the test bed; KUBEBUILDER_ASSETS goes before them."""
        keys = make_keys(folder)
        port, etcd_port = free_port(), free_port()
        super().__init__(f"https://127.0.0.1:{port}", keys.authority.certificate, pair=keys.admin)
        self.kubeconfig = folder / "kubeconfig"
        """Of the administrator."""
        admin = {"client-certificate": str(keys.admin.certificate), "client-key": str(keys.admin.key)}
        self.kubeconfig.write_text(kubeconfig(self.url, self.ca_file, admin))
        self._site = site = Site(folder, kubernetes, kwok, keys, self.kubeconfig, etcd_port, port)
        self._etcd = cluster_commands.etcd(site)
        self._etcd_health = f"http://127.0.0.1:{etcd_port}/health"
        self._apiserver = cluster_commands.apiserver(site)
        self._others = [
            cluster_commands.controllers(site), cluster_commands.scheduler(site), cluster_commands.kwok(site),
        ]  # fmt: skip
        self._programs = [self._etcd, self._apiserver, *self._others]

    def start(self) -> None:
        """Start it all; returns when pods can be made. Raises AssertionError with the ends of the logs."""
        self._etcd.start()
        self.until("etcd answers", lambda: urllib3.request("GET", self._etcd_health, timeout=1.0, retries=False))
        self.start_apiserver()
        for each in self._others:
            each.start()
        # Pods are refused until the controller manager has made it.
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        default = {**account, "metadata": {"name": "default", "namespace": "default"}}
        self.until("pods have a service account", lambda: self.get(default))

    def stop(self) -> None:
        """Kill it all, the store last, and forget what was stored: it is 120 MB, and test folders are kept a while."""
        for each in reversed(self._programs):
            each.stop()
        shutil.rmtree(self._site.folder / cluster_commands.STORE, ignore_errors=True)

    def start_apiserver(self) -> None:
        """Start the API server unless it runs, always at the same port; returns when it is ready."""
        self._apiserver.start()
        self.until("the API server is ready", self.is_ready)

    def stop_apiserver(self) -> None:
        """Kill the API server: from now on nobody answers at `url`. All others go on."""
        self._apiserver.stop()

    def gpu_node(
        self, name: str, gpus: int, resource: str = "nvidia.com/gpu", labels: Mapping[str, str] | None = None
    ) -> Object:
        """Add a node with so many GPUs, 192 cores and 2 TiB of memory; returns it, for `delete`."""
        has = {"cpu": "192", "memory": "2Ti", "pods": "250", resource: str(gpus)}
        return self.request(
            "POST",
            "/api/v1/nodes",
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
                "status": {"capacity": has, "allocatable": has},
            },
        )

    def until(self, what: str, check: Callable[[], Answer]) -> Answer:
        """Wait until `check` returns something true, and return it; a refusal or no answer means not yet.

        Raises AssertionError with the ends of the logs after a minute, or when a program ended of itself.
        """
        deadline_s = time.monotonic() + PATIENCE_S
        last: object = None
        while time.monotonic() < deadline_s and not any(each.has_ended for each in self._programs):
            try:
                if answer := check():
                    return answer
                last = answer
            except (RefusedError, urllib3.exceptions.HTTPError) as error:
                last = error
            time.sleep(0.05)
        logs = "\n".join(each.tail() for each in self._programs)
        raise AssertionError(f"waited in vain until {what}; last seen: {last!r}\n{logs}")
