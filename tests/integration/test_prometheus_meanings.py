"""What a pattern of series means, from a real Prometheus to orders: one row of the table in `observe` after another.

Each row is a service with two replicas in a pool, of which one would do, or which are too few. All are busy at first;
then each turns into its row, a window passes, and the planner decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from builders import GUARDS, planner_settings, service_settings
from prometheus_dialects import Dialect, sglang, vllm
from prometheus_site import Replica, Site, site

from planner.clock import WallClock
from planner.scaling.decision import Decision
from planner.scaling.reading import Missing, Stale, Valid
from planner.scaling.tick import initial_state, tick
from planner.scaling.types import Role, Sample, ServiceSamples
from planner.sources.prometheus.batch import Asked
from planner.sources.prometheus.client import PrometheusClient
from planner.sources.prometheus.client_settings import PrometheusSettings
from planner.sources.prometheus.map_files import load_maps
from planner.sources.prometheus.readings import Selector
from planner.sources.prometheus.source import PrometheusSource

P, D = Role.PREFILL, Role.DECODE
WINDOW_S = 5.0
LITTLE_PER_S, MUCH_PER_S = 0.5, 60.0
"""Of each replica: of the first, one replica can bear two; of the second none bears one."""
SELECTORS = {P: {"role": "prefill"}, D: {"role": "decode"}}
GONE = 'no series carries {{namespace="{row}", role="prefill"}}'

Fleet = Sequence[Replica]


def goes_idle(fleet: Fleet) -> None:
    for one in fleet:
        one.turn(rate_per_s=0.0, waiting=0.0, running=0.0)


def stalls(fleet: Fleet) -> None:
    for one in fleet:
        one.turn(rate_per_s=0.0, waiting=0.0, running=3.0)


def half_vanishes(fleet: Fleet) -> None:
    for one in fleet[::2]:
        one.silent = True


def vanishes(fleet: Fleet) -> None:
    for one in fleet:
        one.silent = True


def stays(fleet: Fleet) -> None:
    pass


@dataclass(frozen=True)
class Row:
    """A fleet and what becomes of it."""

    turns: Callable[[Fleet], None] = stays
    rate_per_s: float = LITTLE_PER_S
    ready: int = 2
    """At the end; two at first."""
    also: tuple[Dialect, ...] = ()
    """Speakers under the same selector, in each pool."""


ROWS = {
    "normal, little": Row(),
    "normal, much": Row(rate_per_s=MUCH_PER_S),
    "idle": Row(goes_idle),
    "stalled": Row(stalls),
    "partial, little": Row(half_vanishes),
    "partial, much": Row(half_vanishes, rate_per_s=MUCH_PER_S),
    "missing": Row(vanishes),
    "at zero": Row(vanishes, ready=0),
    "two engines": Row(also=(sglang(), sglang())),
}


def fleet_of(name: str, row: Row) -> Fleet:
    return [
        Replica(
            {"namespace": name, "pod": f"{role}-{number}", "role": role}, rate_per_s=row.rate_per_s, isl=3000.0,
            osl=150.0, ttft_s=0.065, itl_s=0.008, waiting=0.0, queue_s=0.004, speaks=speaks,
        )
        for role in (P, D)
        for number, speaks in enumerate((vllm(), vllm(), *row.also))
    ]  # fmt: skip


def counted(samples: ServiceSamples, ready: int, now_s: float) -> ServiceSamples:
    """With the counts that an orchestrator would give."""
    some, none = Sample(ready, now_s), Sample(0, now_s)
    pools = {
        role: replace(pool, wanted=some, ready=some, starting=none, pending=none, draining=none, rolling_out=none)
        for role, pool in samples.pools.items()
    }
    return replace(samples, pools=pools)


async def decided(here: Site, fleets: Mapping[str, Fleet]) -> Mapping[str, Decision]:
    """The last decision on each row."""
    clock = WallClock()
    asked = {name: Asked(Selector({"namespace": name}, SELECTORS), {P: 1, D: 1}, 0.5) for name in ROWS}
    client = PrometheusClient(PrometheusSettings(here.url))
    source = PrometheusSource(client, asked, load_maps(), clock, window_s=WINDOW_S, deadline_s=30.0)
    guards = replace(GUARDS, stabilisation_down_s=0)
    settings = planner_settings(*(service_settings(name, guards=guards) for name in ROWS), budget_gpus=200)
    state = initial_state(settings, clock.now_s())

    async def observed(ready: Mapping[str, int]) -> Mapping[str, ServiceSamples]:
        samples = await asyncio.gather(*map(source.collect, ROWS))
        return {name: counted(one, ready[name], clock.now_s()) for name, one in zip(ROWS, samples, strict=True)}

    state, _ = tick(state, await observed(dict.fromkeys(ROWS, 2)), settings, clock.now_s())
    for name, row in ROWS.items():
        row.turns(fleets[name])
    at_the_end = {name: row.ready for name, row in ROWS.items()}
    await asyncio.to_thread(here.until_scraped_after, time.time() + WINDOW_S)
    _, result = tick(state, await observed(at_the_end), settings, clock.now_s())
    await source.close()
    return result.decisions


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory, prometheus_program: str) -> Mapping[str, Decision]:
    fleets = {name: fleet_of(name, row) for name, row in ROWS.items()}
    everyone = [one for fleet in fleets.values() for one in fleet]
    with site(tmp_path_factory.mktemp("meanings"), *everyone, program=prometheus_program) as here:
        here.start()
        return asyncio.run(decided(here, fleets))


def plan(decision: Decision) -> tuple[int | None, int | None]:
    """Replicas of prefill and decode to have; None leaves the pool alone."""
    return decision.plan.get(P), decision.plan.get(D)


def texts(decision: Decision) -> str:
    return "\n".join(reason.text for reason in decision.reasons)


Decisions = Mapping[str, Decision]


def test_all_ready_pods_report_and_requests_come_normal_it_follows_the_load_down(decisions: Decisions) -> None:
    decision = decisions["normal, little"]

    assert isinstance(decision.observation.rate_per_s, Valid)
    assert decision.observation.rate_per_s.value == pytest.approx(2 * LITTLE_PER_S, rel=0.1)
    assert plan(decision) == (1, 1)


def test_all_ready_pods_report_and_requests_come_normal_it_follows_the_load_up(decisions: Decisions) -> None:
    decision = decisions["normal, much"]

    assert isinstance(decision.observation.rate_per_s, Valid)
    assert min(decision.plan.values()) > 2


def test_all_ready_pods_report_and_nothing_comes_waits_or_runs_idle_the_rate_is_zero_and_lengths_are_kept(
    decisions: Decisions,
) -> None:
    decision = decisions["idle"]
    seen = decision.observation

    assert isinstance(seen.rate_per_s, Valid)
    assert (seen.rate_per_s.value, seen.isl_tokens) == (0.0, Missing("none in the window"))
    assert decision.sizing is not None
    assert decision.sizing.demand.isl_tokens == pytest.approx(3000.0, rel=0.01)
    assert plan(decision) == (1, 1)


def test_all_ready_pods_report_nothing_comes_and_some_run_stalled_it_holds(decisions: Decisions) -> None:
    decision = decisions["stalled"]

    assert isinstance(decision.observation.rate_per_s, Stale)
    assert plan(decision) == (2, 2)
    assert "not lowered from 2 to 1 on doubt (rate: no arrivals while 12 requests are in the system)" in texts(decision)


def test_some_ready_pods_report_partial_it_never_lowers(decisions: Decisions) -> None:
    decision = decisions["partial, little"]

    assert isinstance(decision.observation.rate_per_s, Stale)
    assert plan(decision) == (2, 2)
    assert "not lowered from 2 to 1 on doubt (rate: prefill: 1 of 2 Ready replicas report)" in texts(decision)


def test_some_ready_pods_report_partial_it_may_raise(decisions: Decisions) -> None:
    decision = decisions["partial, much"]

    assert isinstance(decision.observation.rate_per_s, Stale)
    assert min(decision.plan.values()) > 2


def test_no_pod_reports_though_some_are_ready_missing_it_holds_and_says_so(decisions: Decisions) -> None:
    decision = decisions["missing"]

    assert decision.observation.rate_per_s == Missing(GONE.format(row="missing"))
    assert [decision.pools[role].current for role in (P, D)] == [2, 2]
    assert not decision.changes
    assert texts(decision) == f"held: the load is unknown ({GONE.format(row='missing')})"


def test_no_pod_reports_and_there_is_none_at_zero_it_orders_nothing_on_its_own(decisions: Decisions) -> None:
    decision = decisions["at zero"]

    assert decision.observation.rate_per_s == Missing(GONE.format(row="at zero"))
    assert not decision.changes


def test_two_engines_report_under_one_selector_it_never_lowers_though_enough_replicas_seem_to_report(
    decisions: Decisions,
) -> None:
    decision = decisions["two engines"]

    assert isinstance(decision.observation.rate_per_s, Stale)
    assert min(decision.plan.values()) >= 2
    assert "report under one selector" in texts(decision)
