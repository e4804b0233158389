"""Services that come and go by the labels of their Deployments, on a real control plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from kubernetes_labelled import Labelled, labelled_site

SECOND = """\
services:
  code:
    mode: aggregated
    metrics: {match: namespace=code}
    kubernetes: {namespace: NAMESPACE, aggregated: Deployment/code}
"""


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path, newest_prometheus: str) -> Iterator[Labelled]:
    with labelled_site(cluster, tmp_path, newest_prometheus, "chat", "code") as made:
        yield made


def test_a_service_begins_changes_and_ends_by_its_labels_and_annotations(here: Labelled) -> None:
    with here.planner():
        assert here.services() == []
        assert here.ask("/status")["services"] == {}
        assert here.ask("/healthz")["status"] == "ok"
        assert "sla_planner_build_info" in here.text("/metrics")

        here.deploy("chat")
        here.until("it is found", lambda: here.services() == ["chat"])
        here.engines["chat"].load_per_s = 30.0
        here.until("it is scaled under load", lambda: here.replicas("chat") >= 3)

        here.annotate("chat", ttft="150", aggregated__min_replicas="5")
        here.until("the agreement is taken up", lambda: here.ttft_ms("chat") == 150)
        here.until("and the minimum", lambda: here.replicas("chat") >= 5)

        here.annotate("chat", ttft="fast", aggregated__min_replicas="7")
        told = here.until("the object is told", here.refusals)
        assert 'services.chat.sla.ttft: "fast" must be a number above 0 (annotation of Deployment ' in told[0]
        assert here.ttft_ms("chat") == 150
        (trouble,) = here.ask("/overview")["trouble"]
        assert trouble.startswith("not taken as labelled: chat: services.chat.sla.ttft")
        here.annotate("chat", ttft="150", aggregated__min_replicas="1")
        here.until("it is mended", lambda: here.ask("/overview")["trouble"] == [])

        here.unlabel("chat")
        here.until("it is let go of", lambda: here.services() == [])
        left = here.replicas("chat")
        here.engines["chat"].load_per_s = 2.0
        here.deploy("code")
        here.engines["code"].load_per_s = 45.0
        here.until("another is scaled over several decisions", lambda: here.replicas("code") >= 4)
        assert here.replicas("chat") == left
    assert "Traceback" not in here.log()


def test_flags_alone_are_enough(here: Labelled) -> None:
    here.deploy("chat")
    with here.planner(
        "--gpus", "4", "--profile", "h200-llama-3.1-8b-fp8-tp1", "--interval", "2",
        "--set", f"prometheus.url={here.prometheus.url}", "--set", f"discover.namespaces=[{here.fleet.namespace}]",
        "--set", "discover.kinds=[Deployment]", "--set", "metrics.match=namespace={service}",
    ):  # fmt: skip
        here.annotate("chat", isl="3000", osl="150", ttft="200", itl="20")
        here.until("it is found", lambda: here.services() == ["chat"])


def test_one_service_comes_and_goes_and_a_file_adds_it_while_another_goes_on(here: Labelled) -> None:
    here.deploy("chat")
    with here.planner():
        here.until("the first is found", lambda: here.services() == ["chat"])
        here.engines["chat"].load_per_s = 30.0
        here.until("it is scaled", lambda: here.replicas("chat") >= 3)
        ticks = len(here.ask("/series/chat")["at_s"])

        here.deploy("code")
        here.until("the second is found", lambda: here.services() == ["chat", "code"])
        here.engines["code"].load_per_s = 25.0
        here.until("it is scaled as well", lambda: here.replicas("code") >= 2)
        here.unlabel("code")
        here.until("it is let go of", lambda: here.services() == ["chat"])

        here.configure(SECOND.replace("NAMESPACE", here.fleet.namespace))
        here.until("the file's is taken up", lambda: here.services() == ["chat", "code"])
        here.engines["code"].load_per_s = 45.0
        here.until("and scaled", lambda: here.replicas("code") >= 4)

        assert len(here.ask("/series/chat")["at_s"]) > ticks
        decisions = here.ask("/decisions?service=chat&limit=200")["items"]
        assert {each["service"] for each in decisions} == {"chat"}
        assert min(here.counts["chat"][1:]) >= 2
    assert "Traceback" not in here.log()
