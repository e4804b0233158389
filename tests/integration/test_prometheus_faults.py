"""Whatever happens to Prometheus: no replica is removed, the cause can be read, and all recovers by itself.

One row a fault, each through the real loop, client and API, on a real Prometheus. Load, replicas and settings are such
that a planner that took what is missing for zero would remove replicas within the fault: the row in which the load
really falls shows that they can be. All rows are played at once, and then judged by what was seen of them.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import faulty_proxy
import pytest
from fault_stage import INTERVAL_S, RATE_PER_S, REPLICAS, TIMEOUT_S, Again, Engines, Fleet, Planner, Seen
from faulty_proxy import Fault, Proxy, proxy
from prometheus_site import Site, site

LASTING_TICKS = 2
"""Ticks of a fault that must tell it; some faults show after a while, and on a busy machine a question may be late."""


# --- the rows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """Where a row is played."""

    engines: Engines
    again: Again
    fleet: Fleet
    prometheus: Site
    proxy: Proxy
    folder: Path
    """Of a Prometheus of the row's own."""


Act = Callable[[Scene], None]
"""Blocks, and so runs in a thread."""


@dataclass(frozen=True)
class Row:
    """A fault and what is right while it lasts."""

    name: str
    begin: Act
    end: Act
    says: str | None
    """Matches a sentence on /status; None where nothing is lost and nothing is to be said."""
    health: str = "blind"
    lost: frozenset[str] = frozenset({"rate", "isl", "osl", "ttft", "itl"})
    """Readings that are not valid, on /metrics."""
    failures: str | None = None
    """The cause by which /metrics counts questions without an answer."""
    ticks: int = 5
    """It lasts so long, or longer where its end takes time; then no guard remembers what was before."""
    destroyed: bool = False
    """Samples are lost: until a window is full of new ones, a rate over it is less than the load."""
    within: int = 2
    """Ticks until the load is valid again."""

    @property
    def service(self) -> str:
        """Each row is about a service of its own."""
        return self.name.replace(" ", "-")


def answers(fault: Fault) -> tuple[Act, Act]:
    """Prometheus is well, and its answers are spoilt on the way."""

    def spoil(scene: Scene) -> None:
        scene.proxy.fault = fault

    def mend(scene: Scene) -> None:
        scene.proxy.fault = faulty_proxy.honest

    return spoil, mend


def scrapes(change: Callable[[str], str]) -> tuple[Act, Act]:
    """What Prometheus scrapes is another text."""

    def spoil(scene: Scene) -> None:
        scene.engines.instead = change

    return spoil, mend_scrapes


def mend_scrapes(scene: Scene) -> None:
    scene.engines.instead = lambda text: text


def freeze(scene: Scene) -> None:
    """What carries its own time, as from a federation, grows old instead of vanishing."""
    text = scene.engines.text()
    scene.engines.instead = lambda _: text


def hide(scene: Scene) -> None:
    scene.engines.hidden = ("pod-0", "pod-1")


def show(scene: Scene) -> None:
    scene.engines.hidden = ()


def restart_an_engine(scene: Scene) -> None:
    scene.engines.pods["pod-0"].begun_s = time.time()


def scrape_twice(scene: Scene) -> None:
    scene.again.on = True


def scrape_once(scene: Scene) -> None:
    scene.again.on = False


def delete_a_pod(scene: Scene) -> None:
    scene.fleet.restarting[scene.engines.namespace] = 1


def replace_the_pod(scene: Scene) -> None:
    scene.fleet.restarting[scene.engines.namespace] = 0


def lose_the_database(scene: Scene) -> None:
    scene.prometheus.stop()
    shutil.rmtree(scene.folder / "data")


def start_again(scene: Scene) -> None:
    scene.prometheus.start()


def nothing(scene: Scene) -> None: ...


NONE: frozenset[str] = frozenset()
PROXIED = (
    Row(
        "down", lambda scene: scene.proxy.down(), lambda scene: scene.proxy.up(),
        r"the load is unknown \(http.*: Connection refused; start Prometheus there or correct url\)",
        failures="unreachable",
    ),
    Row(
        "500 on everything", *answers(faulty_proxy.status(500)),
        r"the load is unknown \(http.*: status 500; see Prometheus's own log\)", failures="status",
    ),
    # Corrections pause, and nothing would be lowered; the load is seen, and the fleet could be raised.
    Row(
        "503 on TTFT alone", *answers(faulty_proxy.only("first_token_seconds_sum", faulty_proxy.status(503))),
        r"^http.*: status 503; see Prometheus's own log$", health="ok", lost=frozenset({"ttft"}), failures="status",
    ),
    Row(
        "slow", *answers(faulty_proxy.slow(1.5 * TIMEOUT_S)),
        r"the load is unknown \(http.*: (no complete answer in time|all \d+ threads wait)", failures="timeout",
    ),
    Row(
        "truncated", *answers(faulty_proxy.truncated),
        r"the load is unknown \(http.*: the answer ended early or damaged", failures="truncated",
    ),
    Row(
        "HTML", *answers(faulty_proxy.login_page),
        r"the load is unknown \(http.*: answered text/html; charset=utf-8 in place of JSON", failures="not-json",
    ),
    Row(
        "NaN in ITL", *answers(faulty_proxy.only("inter_token_latency_seconds_sum", faulty_proxy.valued("NaN"))),
        r"^the value is NaN$", health="ok", lost=frozenset({"itl"}),
    ),
    Row(
        "Inf in arrivals", *answers(faulty_proxy.only("deriv", faulty_proxy.valued("+Inf"))),
        r"the load is unknown \(the value is \+Inf\)", lost=frozenset({"rate"}),
    ),
    Row("empty", *answers(faulty_proxy.empty), r'the load is unknown \(.*no series carries {namespace="empty"}'),
    # Ages are computed by Prometheus, on its own clock, so that nothing is too old.
    Row(
        "clock ahead", *answers(faulty_proxy.clock_off(300.0)), r"clock is about 300 s ahead of ours",
        health="trouble", lost=NONE,
    ),
    Row(
        "clock behind", *answers(faulty_proxy.clock_off(-300.0)), r"clock is about 300 s behind ours",
        health="trouble", lost=NONE,
    ),
)  # fmt: skip
TOGETHER = (
    # The window empties before the last sample is too old to be believed.
    Row(
        "stale", freeze, mend_scrapes, r"no sample for \d+ s; see whether Prometheus still scrapes it", destroyed=True,
        within=4,
    ),
    Row(
        "scrapes fail", *scrapes(lambda text: "out of order"),
        r'the load is unknown \(.*no series carries {namespace="scrapes-fail"}', destroyed=True, within=4,
    ),
    Row(
        "wrong label", *scrapes(lambda text: text.replace("wrong-label", "relabelled")),
        r'the load is unknown \(.*no series carries {namespace="wrong-label"}', destroyed=True, within=4,
    ),
    Row(
        "most of the pods gone", hide, show, r"^the rate is stale: aggregated: 1 of 3 Ready replicas report$",
        destroyed=True, within=4,
    ),
    # At most one scrape of one engine's increments is lost.
    Row("an engine restarts", restart_an_engine, nothing, None, health="ok", lost=NONE),
    Row("scraped twice", scrape_twice, scrape_once, None, health="ok", lost=NONE),
    Row("a deleted pod lingers", delete_a_pod, replace_the_pod, None, health="ok", lost=NONE),
)  # fmt: skip
OWN = (
    # Prometheus starts, scrapes twice, and then has a window.
    Row(
        "an empty database", lose_the_database, start_again,
        r"the load is unknown \(http.*: Connection refused", failures="unreachable", ticks=3, destroyed=True, within=6,
    ),
)  # fmt: skip
ROWS = (*PROXIED, *TOGETHER, *OWN)
FALLS = "the load falls"


@dataclass(frozen=True)
class Played:
    """What was seen of a row."""

    seen: tuple[Seen, ...]
    steps: tuple[int, ...]
    raised_from: int
    """Replicas when the load was raised."""

    def of(self, phase: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.phase == phase]


Plays = Mapping[str, Played]


async def play(row: Row, planner: Planner, scene: Scene) -> Played:
    service, steps = row.service, planner.fleet.steps[row.service]
    await planner.until(service, lambda seen: seen.status["health"]["state"] == "ok")
    await planner.ticks(1)
    # Right after a tick: the next one asks anew.
    await asyncio.to_thread(row.begin, scene)
    planner.phases[service] = "during"
    await planner.ticks(row.ticks)
    planner.phases[service] = "after"
    await asyncio.to_thread(row.end, scene)
    await planner.until(service, lambda seen: seen.rate()["status"] == "valid")
    await planner.ticks(1)
    planner.phases[service] = "raised"
    raised_from = steps[-1]
    scene.engines.spread(steps[-1], 2 * RATE_PER_S)
    await planner.until(service, lambda _: steps[-1] > raised_from)
    return Played(tuple(planner.seen[service]), tuple(steps), raised_from)


async def fall(planner: Planner, engines: Engines) -> Played:
    """No fault: the load really falls to what a half-blind planner would see."""
    steps = planner.fleet.steps[FALLS]
    await planner.ticks(2)
    engines.spread(REPLICAS, RATE_PER_S / 4)
    await planner.until(FALLS, lambda _: steps[-1] < REPLICAS)
    return Played(tuple(planner.seen[FALLS]), tuple(steps), 0)


async def play_all(folder: Path, shared: Site, own: Site, everyone: Mapping[str, Engines], again: Again) -> Plays:
    plays: dict[str, asyncio.Task[Played]] = {}
    running: list[asyncio.Task[None]] = []
    planners: list[Planner] = []

    def planner(url: str, *names: str) -> Planner:
        planners.append(Planner(url, {name: everyone[name] for name in names}))
        running.append(asyncio.create_task(planners[-1].run()))
        return planners[-1]

    async def begin(row: Row, by: Planner, prometheus: Site, behind: Proxy) -> None:
        scene = Scene(everyone[row.service], again, by.fleet, prometheus, behind, folder)
        plays[row.service] = asyncio.create_task(play(row, by, scene))
        # Planners of one machine ask at their own moments.
        await asyncio.sleep(INTERVAL_S / len(ROWS))

    with ExitStack() as stack:
        proxies = {row.name: stack.enter_context(proxy(shared.url)) for row in PROXIED}
        unused = stack.enter_context(proxy(shared.url))
        alone = planner(own.url, *(row.service for row in OWN))
        together = planner(shared.url, *(row.service for row in TOGETHER), FALLS)
        plays[FALLS] = asyncio.create_task(fall(together, everyone[FALLS]))
        for row in OWN:
            await begin(row, alone, own, unused)
        for row in TOGETHER:
            await begin(row, together, shared, unused)
        for row in PROXIED:
            await begin(row, planner(proxies[row.name].url, row.service), shared, proxies[row.name])
        await asyncio.gather(*plays.values())
        for each in planners:
            each.loop.stop()
        await asyncio.gather(*running)
    return {name: task.result() for name, task in plays.items()}


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory, prometheus_program: str) -> Plays:
    """All rows, played at once."""
    folder = tmp_path_factory.mktemp("own")
    everyone = {name: Engines(name) for name in (*(row.service for row in ROWS), FALLS)}
    everyone["stale"].stamped = True
    again = Again(everyone["scraped-twice"])
    of_their_own = [everyone.pop(row.service) for row in OWN]
    with (
        site(tmp_path_factory.mktemp("shared"), *everyone.values(), again, program=prometheus_program) as shared,
        site(folder, *of_their_own, program=prometheus_program) as own,
    ):
        with ThreadPoolExecutor() as threads:
            list(threads.map(Site.start, (shared, own)))
        everyone |= {each.namespace: each for each in of_their_own}
        return asyncio.run(play_all(folder, shared, own, everyone, again))


# --- what was seen ----------------------------------------------------------------------------------------------------

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def test_without_a_fault_a_load_that_falls_lowers_the_fleet(plays: Plays) -> None:
    assert plays[FALLS].steps[-1] < REPLICAS


@every_row
def test_no_replica_is_removed(plays: Plays, row: Row) -> None:
    steps = plays[row.service].steps
    assert list(steps) == sorted(steps)


@every_row
def test_a_load_that_is_called_valid_is_true_or_where_samples_were_lost_no_more_than_that(
    plays: Plays, row: Row
) -> None:
    seen = [each for phase in ("before", "during", "after") for each in plays[row.service].of(phase)]
    rates = [each.rate()["value"] for each in seen if each.rate()["status"] == "valid"]
    # On a busy machine some scrapes are late or lost without any fault.
    assert max(rates) < 1.5 * RATE_PER_S
    if not row.destroyed:
        assert median(rates) == pytest.approx(RATE_PER_S, rel=0.15)


@every_row
def test_the_cause_can_be_read_on_status(plays: Plays, row: Row) -> None:
    during = plays[row.service].of("during")
    telling = [
        each
        for each in during
        if each.status["health"]["state"] == row.health
        and (
            len(each.sentences()) == 1
            if row.says is None
            else any(re.search(row.says, sentence) for sentence in each.sentences())
        )
    ]
    assert len(telling) >= LASTING_TICKS, [each.sentences() for each in during]


@every_row
def test_the_fault_can_be_seen_in_the_metrics(plays: Plays, row: Row) -> None:
    during = plays[row.service].of("during")
    telling = [
        each
        for each in during
        if each.not_valid() == row.lost
        and each.sample("service_health", service=row.service, state=row.health) == 1
        and (row.failures is None or (each.sample("source_query_failures_total", cause=row.failures) or 0) > 0)
    ]
    assert len(telling) >= LASTING_TICKS, [each.not_valid() for each in during]


def test_while_only_the_ttft_cannot_be_read_its_correction_pauses(plays: Plays) -> None:
    notes = [seen.status["decision"]["correction"]["ttft_note"] for seen in plays["503-on-TTFT-alone"].of("during")]
    paused = [note for note in notes if re.match(r"kept: the latency is missing \(http.*: status 503;", note)]
    assert len(paused) >= LASTING_TICKS, notes


@every_row
def test_when_the_fault_is_over_the_load_is_seen_again_and_scaling_goes_on(plays: Plays, row: Row) -> None:
    played = plays[row.service]
    after = [each.rate()["status"] for each in played.of("after")]
    assert "valid" in after[: row.within], after
    assert "ok" in [each.status["health"]["state"] for each in played.of("after")]
    assert played.steps[-1] > played.raised_from
