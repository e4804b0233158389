"""The test bed's control plane, whose API server writes down each request of some accounts (kubernetes.io/docs,
"Auditing").
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from cluster import Cluster
from kubernetes_fleet import ACCOUNT

from rig.kubernetes import REPOSITORY

AUDIT = "audit.log"


def component(name: str) -> Path:
    """Where `make testbed` puts it. Raises SystemExit, as a success, where it is not: such a benchmark is left out."""
    version = (REPOSITORY / "testbed" / name / "version").read_text().strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "sla-planner" / "testbed" / f"{name}-{version}"
    if not folder.is_dir():
        print(f"left out: there is no {folder}; build it by make testbed", file=sys.stderr)
        raise SystemExit(0)
    return folder


@contextmanager
def control_plane(folder: Path, namespace: str) -> Iterator[Cluster]:
    """Started; what the planner's account in the namespace asks is written to `folder / AUDIT`."""
    signal.signal(signal.SIGTERM, _end)
    kubernetes, kwok = component("kubernetes"), component("kwok")
    assets = _assets(folder, kubernetes, f"system:serviceaccount:{namespace}:{ACCOUNT}")
    before = os.environ.get("KUBEBUILDER_ASSETS")
    os.environ["KUBEBUILDER_ASSETS"] = str(assets)
    try:
        # Apart, since the planner's account has a kubeconfig too.
        (folder / "cluster").mkdir()
        cluster = Cluster(folder / "cluster", kubernetes=kubernetes, kwok=kwok)
    finally:
        del os.environ["KUBEBUILDER_ASSETS"]
        if before is not None:
            os.environ["KUBEBUILDER_ASSETS"] = before
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _assets(folder: Path, kubernetes: Path, user: str) -> Path:
    """The programs as the cluster looks for them, the API server with an audit policy besides what it is told."""
    programs = Path(os.environ.get("KUBEBUILDER_ASSETS") or kubernetes)
    assets = folder / "assets"
    assets.mkdir()
    policy = folder / "audit.json"
    # YAML takes JSON as it is.
    policy.write_text(json.dumps({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": [user]}, {"level": "None"}],
    }))  # fmt: skip
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={folder / AUDIT}")
    command = shlex.join([str(programs / "kube-apiserver"), *flags])
    script = assets / "kube-apiserver"
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    (assets / "etcd").symlink_to(programs / "etcd")
    return assets


def _end(number: int, frame: object) -> NoReturn:
    """As Ctrl-C does, so that everything is stopped on the way out."""
    raise SystemExit(128 + number)
