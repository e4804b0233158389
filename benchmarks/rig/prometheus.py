"""A real Prometheus that scrapes what a benchmark serves, with the labels that Kubernetes would attach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.processes import free_port, serving


@dataclass(frozen=True, slots=True)
class Target:
    """What to scrape: host and port, a path, and the labels to attach (namespace, pod)."""

    address: str
    path: str
    labels: Mapping[str, str]


@contextmanager
def prometheus(program: str, folder: Path, targets: Sequence[Target], *, scrape_s: float) -> Iterator[str]:
    """The address of one that scrapes every `scrape_s`. Raises SystemExit when it does not start."""
    listed = [
        {"targets": [target.address], "labels": {"__metrics_path__": target.path, **target.labels}}
        for target in targets
    ]  # fmt: skip
    every = f"{scrape_s * 1e3:.0f}ms"
    document = {
        "global": {"scrape_interval": every, "scrape_timeout": every},
        "scrape_configs": [{"job_name": "pods", "static_configs": listed}],
    }
    config, address = folder / "prometheus.json", f"127.0.0.1:{free_port()}"
    # YAML takes JSON as it is.
    config.write_text(json.dumps(document))
    command = [
        program, f"--config.file={config}", f"--web.listen-address={address}", f"--storage.tsdb.path={folder / 'tsdb'}",
    ]  # fmt: skip
    with serving(command, f"http://{address}/-/ready", folder / "prometheus.log", patience_s=60):
        yield f"http://{address}"
