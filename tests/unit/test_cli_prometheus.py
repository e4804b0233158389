"""From the configuration to sources: who shares one, and what cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.cli.prometheus import Sources
from planner.cli.prometheus import asked as asked_of
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

    sources = Sources(configured, VirtualClock())

    a, b, c = map(sources._source, "abc")
    assert a is b
    assert a is not c
    asyncio.run(sources.close())


async def taken_up(sources: Sources, commit: Callable[[], None]) -> None:
    """Within a loop, in which the sources that are replaced retire."""
    asked = sources.queries().asked
    commit()
    while sources._retiring:
        await asyncio.sleep(0)
    assert sources.queries().asked == asked


def test_other_services_are_taken_up_when_told_to_and_a_source_whose_services_stay_is_kept(tmp_path: Path) -> None:
    base = "mode: aggregated\nprometheus: {url: 'http://one:9090'}\nservices:\n  a: {metrics: {match: namespace=a}}\n"
    more = base + "  c: {prometheus: {url: 'http://two:9090'}}\n"
    sources = Sources(services(tmp_path, base), VirtualClock())
    kept = sources._source("a")

    commit = sources.prepare(services(tmp_path, more))
    with pytest.raises(KeyError, match="c"):
        sources._source("c")
    asyncio.run(taken_up(sources, commit))

    assert sources._source("a") is kept
    assert sources._source("c") is not kept
    with pytest.raises(UserError, match=r"^prometheus\.url: a has none"):
        sources.prepare(services(tmp_path, "mode: aggregated\nservices: {a: {}}\n"))
    asyncio.run(taken_up(sources, sources.prepare(services(tmp_path, more.replace("namespace=a", "namespace=b")))))
    assert sources._source("a") is not kept
    asyncio.run(sources.close())


def test_a_router_has_the_labels_of_its_engines_unless_it_is_given_others(tmp_path: Path) -> None:
    configured = services(
        tmp_path,
        "mode: aggregated\nprometheus: {url: 'http://one:9090'}\nservices:\n"
        "  a: {metrics: {match: model_name=a}}\n"
        "  b: {metrics: {match: model_name=b, router: 'namespace=llm, model=b'}}\n",
    )

    a, b = (asked_of(service).selector for service in configured.values())

    assert (a.router, a.of_router) == (None, {"model_name": "a"})
    assert b.of_router == {"namespace": "llm", "model": "b"}


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
        Sources(services(tmp_path, more), VirtualClock())


def test_labels_are_pairs_with_or_without_spaces() -> None:
    assert labels_of("namespace=llm, model_name = a/b=c") == {"namespace": "llm", "model_name": "a/b=c"}
    assert labels_of("") == {}


@pytest.mark.parametrize("text", ["namespace", "=x", "a-b=c", "a=1, a=2"])
def test_what_is_no_label_is_refused_where_it_stands(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=f'metrics.match: "{text}" must be labels such as namespace=llm'):
        services(tmp_path, f"metrics: {{match: '{text}'}}\n")
