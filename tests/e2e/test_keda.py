"""A real KEDA scales a real Deployment by the planner's figure; the planner writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster import Cluster
from keda_planner import AT_ONCE, Handed
from keda_site import Keda, keda
from kubernetes_site import stage

GPUS = 30
DOCUMENT = Path(__file__).parents[2] / "docs/keda.md"


@pytest.fixture(scope="module")
def here(cluster: Cluster, keda_component: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keda]:
    with keda(cluster, tmp_path_factory.mktemp("keda"), keda_component) as made:
        yield made


@pytest.fixture
def handed(here: Keda, tmp_path: Path, newest_prometheus: str) -> Iterator[Handed]:
    with stage(here.cluster, tmp_path, newest_prometheus, budget=GPUS, gpus=GPUS) as made:
        yield Handed(made, here)


def averages(handed: Handed) -> list[str]:
    """What the HPA saw last, for each replica."""
    metrics = handed.hpa["status"].get("currentMetrics") or []
    return [each["external"]["current"]["averageValue"] for each in metrics if each["type"] == "External"]


def asks(handed: Handed) -> str:
    """Whether the HPA gets an answer."""
    conditions = handed.hpa["status"].get("conditions") or []
    return next((each["status"] for each in conditions if each["type"] == "ScalingActive"), "")


def managers(handed: Handed) -> set[str]:
    """Who ever set a field of the Deployment."""
    return {each["manager"] for each in handed.stage.deployment["metadata"]["managedFields"]}


def test_keda_sets_what_the_planner_decides_and_keeps_it_while_the_planner_is_away(handed: Handed) -> None:
    handed.wants(3)
    with handed.planner():
        handed.scaled_object({**AT_ONCE, "tolerance": "0"})
        handed.until("KEDA made an HPA", lambda: handed.condition("Ready") == "True" and handed.hpa)
        metric = handed.hpa["spec"]["metrics"][0]["external"]
        handed.until("it has the replicas", lambda: handed.replicas == 3 and handed.condition("Active") == "True")
        handed.wants(20)
        handed.until("it grew", lambda: handed.replicas == 20)
        handed.wants(21)
        handed.until("a step of one passed", lambda: handed.replicas == 21)
    handed.until("the HPA asks in vain", lambda: asks(handed) == "False")
    kept = handed.replicas
    handed.wants(22)
    with handed.planner():
        handed.until("it goes on", lambda: handed.replicas == 22)

    assert (metric["metric"]["name"], metric["target"]) == (
        "s0-sla-planner-replicas",
        {"type": "AverageValue", "averageValue": "1"},
    )
    assert kept == 21
    assert "sla-planner" not in managers(handed)
    assert "handed-on: aggregated to 20" in handed.log()
    assert "abandoned" not in handed.log()
    assert "Traceback" not in handed.log()


def test_without_a_tolerance_of_its_own_an_hpa_drops_a_step_of_one(handed: Handed) -> None:
    handed.wants(20)
    with handed.planner():
        handed.scaled_object(AT_ONCE)
        handed.until("it has the replicas", lambda: handed.replicas == 20)
        handed.wants(21)
        handed.until("the HPA saw 21 for 20", lambda: averages(handed) == ["1050m"])
        dropped = handed.replicas
        handed.scaled_object({**AT_ONCE, "tolerance": "0"})
        handed.until("the step passed", lambda: handed.replicas == 21)

    assert dropped == 20


@pytest.mark.parametrize(
    ("kind", "collection"),
    [
        ("ScaledObject", "/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects"),
        ("HorizontalPodAutoscaler", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"),
    ],
)
def test_what_the_manual_shows_is_taken(here: Keda, kind: str, collection: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (shown,) = [block for block in map(yaml.safe_load, blocks) if block.get("kind") == kind]
    shown["metadata"]["namespace"] = "default"

    made = here.cluster.request("POST", f"{collection}?dryRun=All&fieldValidation=Strict", shown)

    behavior = made["spec"].get("behavior") or made["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert [behavior[way]["tolerance"] for way in ("scaleUp", "scaleDown")] == ["0", "0"]
