"""The source on a real Prometheus: what it makes of real answers, and of none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_site import Replica, site

from planner.clock import WallClock
from planner.scaling.types import Absent, Role, Sample, Sampled, ServiceSamples
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import PrometheusSettings
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import PrometheusSource

P, D, A = Role.PREFILL, Role.DECODE, Role.AGGREGATED
CHAT = Asked(Selector({"namespace": "chat"}, {P: {"role": "prefill"}, D: {"role": "decode"}}), {P: 1, D: 1}, 0.5)
CODE = Asked(Selector({"namespace": "code"}, {}), {A: 1}, 0.5)


def replica(namespace: str, pod: str, role: str | None = None, **changes: Any) -> Replica:
    labels = {"namespace": namespace, "pod": pod} | ({} if role is None else {"role": role})
    return Replica(labels, **changes)


FLEET = (
    replica("chat", "p-0", "prefill", rate_per_s=2.0, ttft_s=0.2, running=1.0),
    replica("chat", "p-1", "prefill", rate_per_s=4.0, ttft_s=0.5, running=2.0),
    replica("chat", "d-0", "decode", rate_per_s=6.0, ttft_s=0.01, osl=150.0, itl_s=0.03, running=20.0, waiting=0.0),
    replica("code", "a-0", rate_per_s=10.0, isl=300.0, osl=40.0),
)


async def collected(url: str, **services: Asked) -> tuple[dict[str, ServiceSamples], int]:
    """What a source collects of all services at once, and how many queries that took."""
    client = PrometheusClient(PrometheusSettings(url))
    source = PrometheusSource(client, services, load_maps(), WallClock(), window_s=5.0, deadline_s=10.0)
    samples = dict(zip(services, await asyncio.gather(*map(source.collect, services)), strict=True))
    asked = client.stats().queries
    await source.close()
    return samples, asked


def near(value: float) -> object:
    return pytest.approx(value, rel=0.1)


def value(sampled: Sampled) -> float:
    assert isinstance(sampled, Sample), sampled
    return sampled.value


def test_two_services_of_one_prometheus_are_told_apart_with_one_set_of_queries(
    tmp_path: Path, prometheus_program: str
) -> None:
    with site(tmp_path, *FLEET, program=prometheus_program) as here:
        here.start()
        both, asked_of_both = asyncio.run(collected(here.url, chat=CHAT, code=CODE))
        _, asked_of_one = asyncio.run(collected(here.url, chat=CHAT))

    chat, code = both["chat"], both["code"]
    assert value(chat.rate_per_s) == near(6.0)
    assert value(chat.isl_tokens) == near(1000.0)
    assert value(chat.ttft_s) == near((2 * 0.2 + 4 * 0.5) / 6)
    assert (value(chat.osl_tokens), value(chat.itl_s)) == (near(150.0), near(0.03))
    assert value(chat.good_share) == near(0.9)
    assert [value(chat.pools[role].running) for role in (P, D)] == [3.0, 20.0]
    assert [value(chat.pools[role].reporting) for role in (P, D)] == [2.0, 1.0]
    assert [value(code.rate_per_s), value(code.isl_tokens), value(code.osl_tokens)] == [
        near(10.0), near(300.0), near(40.0),
    ]  # fmt: skip
    assert value(code.pools[A].reporting) == 1.0
    assert asked_of_both == asked_of_one


def test_pods_that_are_scraped_twice_count_once(tmp_path: Path, prometheus_program: str) -> None:
    with site(tmp_path, *FLEET, program=prometheus_program) as here:
        here.start(twice=True)
        samples, _ = asyncio.run(collected(here.url, chat=CHAT))

    assert value(samples["chat"].rate_per_s) == near(6.0)
    assert value(samples["chat"].pools[P].reporting) == 2.0
    assert value(samples["chat"].pools[P].running) == 3.0


async def loads_of_pods(url: str, *roles: Role) -> list[Mapping[str, float]]:
    client = PrometheusClient(PrometheusSettings(url))
    source = PrometheusSource(client, {"chat": CHAT}, load_maps(), WallClock(), window_s=5.0, deadline_s=10.0)
    before = await source.loads("chat", roles[0])
    await source.collect("chat")
    loads = [before, *[await source.loads("chat", role) for role in roles]]
    await source.close()
    return loads


def test_each_pods_requests_in_work_and_waiting_are_told_once_however_often_it_is_scraped(
    tmp_path: Path, prometheus_program: str
) -> None:
    with site(tmp_path, *FLEET, program=prometheus_program) as here:
        here.start(twice=True)
        unknown, prefill, decode = asyncio.run(loads_of_pods(here.url, P, D))

    assert unknown == {}
    assert prefill == {"p-0": 2.0, "p-1": 3.0}
    assert decode == {"d-0": 20.0}


def test_a_selector_that_matches_nothing_says_so(tmp_path: Path, prometheus_program: str) -> None:
    wrong = Asked(Selector({"namespace": "caht"}, {}), {A: 1}, 0.5)
    with site(tmp_path, *FLEET, program=prometheus_program) as here:
        here.start()
        samples, _ = asyncio.run(collected(here.url, chat=wrong, code=CODE))

    assert samples["chat"].rate_per_s == Absent(
        "no metric map fits the series found; check the selector, or give a map"
    )
    assert value(samples["code"].rate_per_s) == near(10.0)


def test_while_prometheus_is_down_all_is_absent_with_the_cause_and_it_comes_back_by_itself(
    tmp_path: Path, prometheus_program: str
) -> None:
    async def script(url: str) -> None:
        client = PrometheusClient(PrometheusSettings(url, retries=0))
        clock = WallClock(speed=1000.0)  # rounds far apart
        source = PrometheusSource(client, {"chat": CHAT}, load_maps(), clock, window_s=5.0, deadline_s=5.0)
        assert value((await source.collect("chat")).rate_per_s) == near(6.0)
        here.stop()
        await clock.sleep_until(clock.now_s() + 10.0)
        down = await source.collect("chat")
        assert isinstance(down.rate_per_s, Absent)
        assert str(here.port) in down.rate_per_s.cause
        assert all(isinstance(pool.reporting, Absent) for pool in down.pools.values())
        here.start()
        await clock.sleep_until(clock.now_s() + 10.0)
        assert value((await source.collect("chat")).rate_per_s) > 0
        await source.close()

    with site(tmp_path, *FLEET, program=prometheus_program) as here:
        here.start()
        asyncio.run(script(here.url))
