"""From the configuration to sources: who shares one, and what cannot be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from planner.cli.prometheus import prometheus_sources
from planner.clock import VirtualClock
from planner.config import ConfigError, load_config
from planner.config.metrics import labels_of
from planner.config.model import Service
from planner.errors import UserError

BASE = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 3000, osl: 150, ttft: 500, itl: 50}
"""


def services(tmp_path: Path, more: str) -> dict[str, Service]:
    path = tmp_path / "planner.yaml"
    path.write_text(BASE + more)
    return load_config(path, {}, {}).config.services


def test_services_with_the_same_prometheus_are_asked_for_together(tmp_path: Path) -> None:
    configured = services(
        tmp_path,
        "mode: aggregated\nprometheus: {url: 'http://one:9090'}\nservices:\n"
        "  a: {metrics: {match: namespace=a}}\n  b: {metrics: {match: namespace=b}}\n"
        "  c: {prometheus: {url: 'http://two:9090'}}\n",
    )

    sources = prometheus_sources(configured, VirtualClock())

    assert sources._of["a"] is sources._of["b"]
    assert sources._of["a"] is not sources._of["c"]
    asyncio.run(sources.close())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param("", "prometheus.url: default has none; give the address of its Prometheus", id="no address"),
        pytest.param(
            "prometheus: {url: 'http://p:9090'}\nmetrics: {prefill: role=prefill}\n",
            "metrics.decode: is empty; give labels that tell the decode pool's engines from",
            id="pools alike",
        ),
        pytest.param(
            "mode: aggregated\nprometheus: {url: 'http://p:9090', user: ann}\n",
            "prometheus.user, prometheus.password_file: one is of no use without the other",
            id="half a login",
        ),
        pytest.param("mode: aggregated\nprometheus: {url: 'ftp://p'}\n", "url: .*ftp://p", id="no web address"),
        pytest.param(
            "mode: aggregated\nprometheus: {url: 'http://p', maps: [absent.yaml]}\n", "absent.yaml", id="no map"
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_remedy(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prometheus_sources(services(tmp_path, more), VirtualClock())


def test_labels_are_pairs_with_or_without_spaces() -> None:
    assert labels_of("namespace=llm, model_name = a/b=c") == {"namespace": "llm", "model_name": "a/b=c"}
    assert labels_of("") == {}


@pytest.mark.parametrize("text", ["namespace", "=x", "a-b=c", "a=1, a=2"])
def test_what_is_no_label_is_refused_where_it_stands(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=f'metrics.match: "{text}" must be labels such as namespace=llm'):
        services(tmp_path, f"metrics: {{match: '{text}'}}\n")
