"""The past on a real Prometheus: what is told of it afterwards is what was told when it was the present."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_site import Replica, Site, site

from planner.clock import WallClock
from planner.scaling.types import Absent, PoolSamples, Role, Sample, Sampled, ServiceSamples
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import PrometheusSettings
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import PrometheusSource
from planner.sources.types import PastError

A = Role.AGGREGATED
STEP_S = 2.0
TIMES = 4
SERVICES = {name: Asked(Selector({"namespace": name}, {}), {A: 1}, 0.5) for name in ("chat", "code")}
COUNTS = {"wanted": 3, "ready": 2, "starting": 1, "pending": 0, "draining": 0}


class OwnMetrics(Replica):
    """What a planner exports of `chat`; its scrape configuration has a label `service` of its own."""

    def text(self) -> str:
        counts = [f'sla_planner_replicas{{service="chat",pool="aggregated",state="{state}"}} {count}'
                  for state, count in COUNTS.items()]  # fmt: skip
        return "\n".join([*counts, 'sla_planner_rolling_out{service="chat",pool="aggregated"} 0', ""])


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, prometheus_program: str) -> Iterator[Site]:
    engines = [
        Replica({"namespace": "chat", "pod": "a-0"}, rate_per_s=20.0, waiting=0.0),
        Replica({"namespace": "chat", "pod": "a-1"}, rate_per_s=10.0, waiting=0.0),
        Replica({"namespace": "code", "pod": "b-0"}, rate_per_s=5.0, waiting=0.0),
    ]
    with site(
        tmp_path_factory.mktemp("site"), *engines, OwnMetrics({"service": "sla-planner"}), program=prometheus_program
    ) as made:
        made.start()
        yield made


def source(url: str) -> PrometheusSource:
    client = PrometheusClient(PrometheusSettings(url))
    return PrometheusSource(client, SERVICES, load_maps(), WallClock(), window_s=5.0, deadline_s=10.0)


def told(sampled: Sampled) -> object:
    """A value, or that there is none."""
    return pytest.approx(sampled.value, rel=0.1, abs=0.05) if isinstance(sampled, Sample) else None


def numbers(samples: ServiceSamples) -> list[Sampled]:
    pool = samples.pools[A]
    return [
        samples.rate_per_s, samples.isl_tokens, samples.osl_tokens, samples.ttft_s, samples.queue_s, samples.itl_s,
        samples.good_share, pool.reporting, pool.waiting, pool.running,
    ]  # fmt: skip


async def lived_and_asked_again(url: str) -> tuple[list[float], list[dict[str, ServiceSamples]], dict[str, Any]]:
    """Samples as they came, and those of the same times asked for afterwards."""
    clock, one = WallClock(), source(url)
    first_s = clock.now_s()
    at_s = [first_s + STEP_S * index for index in range(TIMES)]
    lived = []
    for each_s in at_s:
        await clock.sleep_until(each_s)
        lived.append({name: await one.collect(name) for name in SERVICES})
    await clock.sleep_until(at_s[-1] + STEP_S)
    past: dict[str, list[ServiceSamples]] = {name: [] for name in SERVICES}
    async for piece in one.past(list(SERVICES), at_s):
        for name, samples in piece.items():
            past[name] += samples
    await one.close()
    return at_s, lived, past


def test_what_is_told_of_the_past_is_what_was_told_then(here: Site) -> None:
    at_s, lived, past = asyncio.run(lived_and_asked_again(here.url))

    for name in SERVICES:
        assert len(past[name]) == TIMES
        for then, now in zip((each[name] for each in lived), past[name], strict=True):
            assert [None if isinstance(each, Absent) else each.value for each in numbers(now)] == list(
                map(told, numbers(then))
            )
    ages_s = [each_s - samples.rate_per_s.at_s for each_s, samples in zip(at_s, past["chat"], strict=True)]
    assert all(0 <= age_s < STEP_S for age_s in ages_s), ages_s


def test_replicas_of_the_past_are_those_that_the_planner_exported_then(here: Site) -> None:
    async def script() -> dict[str, Sequence[ServiceSamples]]:
        one = source(here.url)
        pieces = [piece async for piece in one.past(list(SERVICES), [time.time() - 2.0])]
        await one.close()
        (piece,) = pieces
        return dict(piece)

    past = asyncio.run(script())

    def counts(pool: PoolSamples) -> dict[str, float | None]:
        found = {name: getattr(pool, name) for name in COUNTS}
        return {name: each.value if isinstance(each, Sample) else None for name, each in found.items()}

    assert counts(past["chat"][0].pools[A]) == COUNTS
    assert counts(past["code"][0].pools[A]) == dict.fromkeys(COUNTS)


def test_a_prometheus_that_is_away_has_no_past() -> None:
    async def script() -> None:
        one = source("http://127.0.0.1:1")
        try:
            async for _ in one.past(["chat"], [time.time()]):
                raise AssertionError("nobody is there")
        finally:
            await one.close()

    with pytest.raises(PastError, match=r"127\.0\.0\.1:1/api/v1/query: Connection refused"):
        asyncio.run(script())


# --- as commands ---

CONFIG = """\
budget: {{gpus: 8}}
profile: h200-llama-3.1-8b-fp8-tp1
mode: aggregated
sla: {{isl: 1000, osl: 50, ttft: 500, itl: 50}}
interval_s: 2
scaling: {{delayed_start_s: 0}}
forecast: {{history_s: 60}}
prometheus: {{url: {url}, window_s: 5, timeout_s: 10}}
metrics: {{match: namespace=chat}}
"""


def said(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = folder / "planner.yaml"
    config.write_text(CONFIG.format(url=url))
    command = [sys.executable, "-m", "planner", *arguments, "-c", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_run_once_explains_a_decision_on_what_is_and_was_and_changes_nothing(here: Site, tmp_path: Path) -> None:
    done = said(tmp_path, here.url, "run", "--once", "--dry-run")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "arrivals    30." in done.stdout or "arrivals    29." in done.stdout, done.stdout
    assert "replicas  2 ordered, 2 ready" in done.stdout
    assert "aggregated: current 2, wanted " in done.stdout
    assert "\nstands on\n  0 past windows" not in done.stdout
    assert done.stdout.endswith("nothing was changed\n")


def test_run_once_on_a_prometheus_that_is_away_says_so_and_exits_with_1(tmp_path: Path) -> None:
    done = said(tmp_path, "http://127.0.0.1:1", "run", "--once", "--dry-run")

    assert done.returncode == 1
    assert "arrivals    missing: http://127.0.0.1:1/api/v1/query: Connection refused" in done.stdout
    assert "note: default: its past is not known: http://127.0.0.1:1" in done.stderr


def test_replay_decides_on_the_past_and_compares_other_settings(here: Site, tmp_path: Path) -> None:
    as_it_was = said(tmp_path, here.url, "replay", "--prometheus", "--from", "-8s", "--json")
    document = json.loads(as_it_was.stdout)
    rates = [tick["rate_per_s"] for tick in document["ticks"] if tick["rate_per_s"]]
    assert len(rates) >= 2
    assert rates[-1] == pytest.approx(30.0, rel=0.1)

    compared = said(
        tmp_path, here.url, "replay", "--prometheus", "--from", "-8s", "--json", "--what-if", "budget.gpus=1"
    )
    configured, otherwise = json.loads(compared.stdout)["replays"].values()
    assert (otherwise["peak_gpus"], configured["peak_gpus"] > 1) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["run", "--once"], "error: --once: goes with --dry-run alone", id="once without dry run"),
        pytest.param(["replay", "--prometheus", "--from", "noon"], "error: --from: 'noon' is no time", id="time"),
        pytest.param(["replay", "--prometheus"], "error: prometheus.url: http://127.0.0.1:1", id="away"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = said(tmp_path, "http://127.0.0.1:1", *arguments)

    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith(message)
