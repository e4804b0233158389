"""The project's Helm chart, and helm to render and install it, for tests."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from cluster_api import Object

CHART = Path(__file__).parents[2] / "deploy/helm/sla-planner"

BASICS = (
    "sla.isl=3000", "sla.osl=150", "sla.ttft=200", "sla.itl=20", "budget.gpus=16",
    "profile=h200-llama-3.1-8b-fp8-tp1", "prometheus.url=http://prometheus.monitoring:9090",
)  # fmt: skip
MINIMAL = (*BASICS, "targets.prefill=Deployment/vllm-prefill", "targets.decode=Deployment/vllm-decode")


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm, with nothing of the machine's user."""

    program: str
    home: Path

    def __call__(self, *arguments: str, settings: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run it, and wait for its end."""
        homes = {f"HELM_{kind}_HOME": str(self.home) for kind in ("CACHE", "CONFIG", "DATA")}
        # What it discovers of a cluster goes below HOME, or without one below the working directory.
        homes["HOME"] = str(self.home)
        sets = [part for each in settings for part in ("--set", each)]
        return subprocess.run([self.program, *arguments, *sets], capture_output=True, text=True, check=False, env=homes)

    def template(self, *settings: str, more: tuple[str, ...] = ()) -> list[Object]:
        """What a release `p` in the namespace `serving` is made of."""
        result = self("template", "p", str(CHART), "--namespace=serving", *more, settings=settings)
        assert result.returncode == 0, result.stderr
        return list(yaml.safe_load_all(result.stdout))

    def objects(self, *settings: str, more: tuple[str, ...] = ()) -> dict[tuple[str, str], Object]:
        """The same by kind and name."""
        return {(each["kind"], each["metadata"]["name"]): each for each in self.template(*settings, more=more)}
