"""A planner that hands its figure on to KEDA, which scales a Deployment by it: the process, and the ScaledObject."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster_api import Object, kubeconfig
from cluster_programs import free_port
from keda_site import SCALED_OBJECT, Keda
from kubernetes_site import CONFIG, PLANNER, Stage

AT_ONCE: Object = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 100, "periodSeconds": 15}]}
"""Rules of an HPA that do not slow it down; the tolerance is as it is by default."""
SERVICE = "default"
SERVING = "external scaler: serving"


class Handed:
    """A Deployment, a planner whose figure the test says, and KEDA between them."""

    def __init__(self, stage: Stage, keda: Keda) -> None:
        self.stage, self.keda = stage, keda
        self.address = f"127.0.0.1:{free_port()}"
        self._config = stage.folder / "planner.yaml"

    @property
    def replicas(self) -> int:
        """That the Deployment is to have."""
        count: int = self.stage.deployment["spec"]["replicas"]
        return count

    @property
    def hpa(self) -> Object:
        """That KEDA made."""
        name = {"name": "keda-hpa-engine", "namespace": self.stage.namespace}
        return self.stage.cluster.get(
            {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": name}
        )

    def condition(self, name: str) -> str:
        """Status of a condition of the ScaledObject."""
        found = self.stage.cluster.get(self._scaled_object).get("status", {}).get("conditions") or []
        return next((each["status"] for each in found if each["type"] == name), "")

    def wants(self, replicas: int) -> None:
        """From the next decision on the planner wants so many: its bounds leave nothing else."""
        bounds = f"aggregated: {{min_replicas: {replicas}, max_replicas: {replicas}}}\n"
        text = CONFIG.format(
            budget=self.stage.budget, url=self.stage.prometheus.url, namespace=self.stage.namespace
        ).replace("respect_s: 6", "actuator: external")
        self._config.write_text(text.replace("stabilisation_down_s: 8", "max_up_replicas: 100") + bounds)

    def scaled_object(self, up: Object) -> None:
        """Tell KEDA to ask the planner; `up` are the HPA's rules for raising."""
        trigger = {"scalerAddress": self.address, "service": SERVICE, "pool": "aggregated"}
        self.stage.cluster.apply({
            **self._scaled_object,
            "spec": {
                "scaleTargetRef": {"name": "engine"},
                "pollingInterval": 1,
                "minReplicaCount": 1,
                "maxReplicaCount": self.stage.budget,
                "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": up}}},
                "triggers": [{"type": "external", "metricType": "AverageValue", "metadata": trigger}],
            },
        })  # fmt: skip

    @contextmanager
    def planner(self) -> Iterator[None]:
        """It runs, as its ServiceAccount, and can be asked."""
        token = self.stage.cluster.token_for(PLANNER, self.stage.namespace)
        access = self.stage.folder / "planner.kubeconfig"
        access.write_text(kubeconfig(self.stage.cluster.url, self.stage.cluster.ca_file, {"token": token}))
        command = [
            sys.executable, "-m", "planner", "run", "-c", str(self._config), "--listen", "127.0.0.1:0",
            "--kubeconfig", str(access), "--external-scaler", self.address,
        ]  # fmt: skip
        with (self.stage.folder / "planner.log").open("ab") as log:
            served = self.log().count(SERVING)
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self.until("the figure can be asked for", lambda: self.log().count(SERVING) > served)
            yield
        finally:
            process.terminate()
            process.wait()

    def until(self, what: str, check: Any) -> Any:
        """Wait for something, with what everybody said when it does not come."""
        try:
            return self.keda.until(what, check)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-4000:]}") from None

    def log(self) -> str:
        """What the planner said."""
        return Path(self.stage.folder / "planner.log").read_text()

    @property
    def _scaled_object(self) -> Object:
        return {**SCALED_OBJECT, "metadata": {"name": "engine", "namespace": self.stage.namespace}}
