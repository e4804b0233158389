"""Services and files that come, change and go while the planner runs, on a virtual clock and pretended watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from builders import pool_samples, service_samples
from kubernetes_watched import WatchedServer

from planner.cli.run_kubernetes import Hands
from planner.cli.run_world import Outside
from planner.clock import VirtualClock
from planner.config import LoadedConfig, build_settings, load_config
from planner.config.build import settings_from_document
from planner.connectors.kubernetes.api.errors import ApiError
from planner.connectors.kubernetes.connector import KubernetesConnector
from planner.connectors.kubernetes.events.events import Events
from planner.connectors.kubernetes.watches.cluster import Cluster
from planner.connectors.kubernetes.watches.services import ServiceWatches
from planner.controls import Controls, Pause
from planner.errors import UserError
from planner.journal import Archive, JournalFiles
from planner.loop import ControlLoop, Pace
from planner.reload import Reload
from planner.scaling.state import initial_state
from planner.scaling.types import Role, ServiceSamples
from planner.steering import Steering

CONFIG = """\
budget: {gpus: 12}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 3000, osl: 150, ttft: 200, itl: 20}
prometheus: {url: "http://prometheus:9090"}
metrics: {match: "model_name={service}"}
scaling: {delayed_start_s: 0}
discover: {namespaces: [llm]}
"""
START_S = 1000.0
DEPLOYMENTS = "/apis/apps/v1/namespaces/llm/deployments"


class Source:
    """Engines of whatever service is asked for, at a rate each."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.rates_per_s: dict[str, float] = {}
        self.asked: list[str] = []

    async def collect(self, service: str) -> ServiceSamples:
        self.asked.append(service)
        now_s = self.clock.now_s()
        pools = {Role.AGGREGATED: pool_samples(now_s)}
        return service_samples(now_s, rate_per_s=self.rates_per_s.get(service, 5.0), pools=pools)

    async def close(self) -> None: ...


class Lease:
    """It leads."""

    leads, trouble = True, None

    async def run(self) -> None: ...

    def check(self) -> None: ...


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class Stage:
    """A planner in play."""

    def __init__(self, folder: Path, text: str, controls: Controls | None) -> None:
        self.folder = folder
        self.file = folder / "planner.yaml"
        self.file.write_text(text)
        begun = self.load()
        self.clock = VirtualClock(START_S)
        self.server = WatchedServer()
        api = cast("Any", self.server)
        self.cluster = Cluster(api, (), self.clock, Random(1))
        self.connector = KubernetesConnector(api, self.cluster, {}, {}, self.clock, lambda: None)
        services = ServiceWatches(api, self.clock, Random(1), ("Deployment", "StatefulSet", "LeaderWorkerSet"))
        events = Events(self.server, self.clock, "planner")
        hands = Hands(api, self.connector, self.cluster, cast("Any", Lease()), events, services)
        hands.prepare(begun)()
        self.source = Source(self.clock)
        outside = Outside(self.source, self.connector, begun.config.services, hands=hands)
        settings = build_settings(begun)
        self.journal = folder / "journal"
        journal = JournalFiles(
            self.journal, begun.to_document(), begun.profile_documents(), initial_state(settings, START_S)
        )
        self.loop = ControlLoop(
            settings, self.source, self.connector, self.clock, journal=journal, controls=controls, tell=hands.say,
            pace=Pace(lead_s=5.0), compute=at_once, idle_interval_s=begun.interval_s,
        )  # fmt: skip
        self.steering = Steering(self.loop.desk, self.clock, self.loop.scribe)
        self.beside = hands.beside(self.loop, self.clock)
        self.reload = Reload(self.file, self.load, begun, self.loop, self.clock, outside, at_once)

    def load(self) -> LoadedConfig:
        return load_config(self.file, {}, {})

    def rewrite(self, text: str) -> None:
        """A new file in its place, as a ConfigMap's is."""
        (self.folder / "new").write_text(text)
        (self.folder / "new").rename(self.file)

    async def settle(self, seconds: float = 8.0) -> None:
        """Changes are looked at every 2 s, troubles told every 5 s."""
        await self.clock.advance(seconds)

    async def ticks(self, count: int) -> None:
        await self.clock.advance(30.0 * count)

    @property
    def services(self) -> list[str]:
        """On the board."""
        return sorted(self.loop.desk.board.services)

    @property
    def trouble(self) -> tuple[str, ...]:
        return self.loop.desk.board.trouble


def play(
    folder: Path,
    script: Callable[[Stage], Coroutine[Any, Any, None]],
    text: str = CONFIG,
    controls: Controls | None = None,
) -> Stage:
    """Run `script` beside the planner, from before it looked for the first time."""

    async def whole() -> Stage:
        stage = Stage(folder, text, controls)
        running = [asyncio.create_task(work()) for work in (stage.loop.run, *stage.beside, stage.reload.watch)]
        try:
            await script(stage)
        finally:
            stage.loop.stop()
            await stage.clock.advance(1.0)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        assert not [task for task in running if task.done() and not task.cancelled() and task.exception()]
        return stage

    return asyncio.run(whole())


def ttft_ms(stage: Stage, service: str = "chat") -> float:
    return stage.loop.desk.board.settings.services[service].targets.ttft_ms


# --- labels ---------------------------------------------------------------------------------------------------------


def test_a_planner_without_services_waits_and_scales_the_first_that_is_labelled(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await stage.ticks(3)
        assert (stage.services, stage.trouble, stage.source.asked) == ([], (), [])
        stage.server.deploy("chat")
        stage.source.rates_per_s["chat"] = 60.0
        await stage.settle()
        assert stage.services == ["chat"]
        await stage.ticks(3)
        assert stage.server.replicas("chat") > 1

    play(tmp_path, script)


def test_a_changed_annotation_is_taken_up_and_a_bad_one_told_to_the_object(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.server.deploy("chat", ttft="150")
        stage.server.deploy("code")
        await stage.settle()
        assert ttft_ms(stage) == 150

        stage.server.deploy("chat", ttft="fast")
        stage.server.deploy("code", ttft="300")
        await stage.settle()
        assert (ttft_ms(stage), ttft_ms(stage, "code")) == (150, 300)
        mistake = 'services.chat.sla.ttft: "fast" must be a number above 0 (annotation of Deployment llm/chat)'
        assert stage.trouble == (f"not taken as labelled: chat: {mistake}",)
        assert stage.server.events == [mistake]

        stage.server.deploy("chat", ttft="170")
        await stage.settle()
        assert ttft_ms(stage) == 170
        assert not stage.trouble

    play(tmp_path, script)


def test_a_service_that_is_labelled_no_more_is_scaled_no_more_and_its_watches_end(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.server.deploy("chat")
        stage.source.rates_per_s["chat"] = 60.0
        await stage.ticks(2)
        scaled = stage.server.replicas("chat")
        assert scaled > 1
        assert f"{DEPLOYMENTS}?" in stage.server.watching

        stage.server.deploy("chat", None)
        stage.source.rates_per_s["chat"] = 1.0
        await stage.ticks(10)
        assert stage.services == []
        assert stage.server.replicas("chat") == scaled
        assert stage.server.watching == [f"{DEPLOYMENTS}?sla-planner.io/service"]

    play(tmp_path, script)


def test_a_second_service_comes_and_goes_while_the_first_goes_on_undisturbed(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.server.deploy("chat")
        await stage.ticks(3)
        lists = list(stage.server.lists)
        stage.server.deploy("code")
        await stage.ticks(2)
        assert stage.services == ["chat", "code"]
        stage.server.remove("code")
        await stage.ticks(2)
        assert stage.services == ["chat"]
        assert stage.server.lists == lists
        points = stage.loop.desk.board.services["chat"].points
        steps_s = [after.at_s - before.at_s for before, after in pairwise(points)]
        assert set(steps_s) == {30.0}
        assert len(stage.loop._state.services["chat"].history) >= len(points) - 1

    play(tmp_path, script)


def test_our_own_scaling_takes_nothing_up(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.server.deploy("chat")
        stage.source.rates_per_s["chat"] = 60.0
        await stage.ticks(6)
        assert stage.server.replicas("chat") > 1

    stage = play(tmp_path, script)

    assert [list(file.config["services"]) for file in Archive.read(stage.journal).files] == [["chat"]]


@pytest.mark.parametrize("after", [None, ApiError(403, "Forbidden", "deployments is forbidden")], ids=["cut", "denied"])
def test_what_cannot_be_watched_is_in_force_as_it_was(tmp_path: Path, after: ApiError | None) -> None:
    async def script(stage: Stage) -> None:
        stage.server.deploy("chat")
        await stage.ticks(2)
        stage.server.refused[DEPLOYMENTS] = after or ApiError(None, "Unreachable", "nobody answers")
        stage.server.cut()
        stage.server.remove("chat")
        await stage.ticks(10)
        assert stage.services == ["chat"]
        assert any("services by label, Deployment of llm" in each for each in stage.trouble)
        del stage.server.refused[DEPLOYMENTS]
        await stage.ticks(2)
        assert stage.services == []

    play(tmp_path, script)


def test_services_beyond_the_budget_are_refused_by_name_and_the_others_run(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.server.deploy("first", aggregated__min_replicas="10")
        await stage.settle()
        for name in ("alpha", "beta", "gamma", "delta", "epsilon"):
            stage.server.deploy(name)
        await stage.settle()
        assert stage.services == ["alpha", "beta", "first"]
        (trouble,) = stage.trouble
        assert trouble.startswith("not taken as labelled: delta: budget.gpus: with delta the minima of all services ne")
        assert trouble.count("budget.gpus") == 3

    play(tmp_path, script)


def test_holds_leave_newcomers_the_room_there_is(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.server.deploy("chat")
        await stage.settle()
        await stage.steering.hold("chat", {Role.AGGREGATED: 12}, START_S + 1e6, "ann", "a demonstration")
        stage.server.deploy("code")
        await stage.settle()
        assert stage.services == ["chat"]
        (trouble,) = stage.trouble
        assert trouble.startswith(
            "not taken as labelled: code: replicas: with this hold the minima need 13 GPUs, the b"
        )

    play(tmp_path, script)


def test_what_was_taken_for_good_and_cannot_be_had_after_all_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(outside: Outside, loaded: LoadedConfig) -> Callable[[], None]:
        raise UserError("prometheus.maps: gone")

    async def script(stage: Stage) -> None:
        with monkeypatch.context() as here:
            here.setattr(Outside, "prepare", refuse)
            stage.server.deploy("chat")
            await stage.settle()
        assert stage.services == []
        assert stage.trouble == ("discovered services: not taken: prometheus.maps: gone",)
        stage.server.deploy("code")
        await stage.settle()
        assert stage.services == ["chat", "code"]
        assert not stage.trouble

    play(tmp_path, script)


def test_orders_about_a_service_are_obeyed_when_it_comes_again(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        assert stage.loop.orders(stage.loop.desk.controls).paused.keys() == {"chat"}
        stage.server.deploy("chat")
        stage.source.rates_per_s["chat"] = 60.0
        await stage.ticks(2)
        assert stage.server.patches == []
        await stage.steering.resume("chat", "ann", "")
        stage.server.deploy("chat", None)
        await stage.settle()
        stage.server.deploy("chat")
        await stage.ticks(2)
        assert stage.server.patches != []

    play(tmp_path, script, controls=Controls(paused={"chat": Pause("ann", "since yesterday", 0.0)}))


def test_the_journal_of_services_that_come_and_go_reads_back(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await stage.ticks(1)
        stage.server.deploy("chat")
        await stage.ticks(2)
        stage.server.deploy("code")
        await stage.ticks(2)
        stage.server.remove("chat")
        stage.server.remove("code")
        await stage.ticks(2)

    stage = play(tmp_path, script)

    archive = Archive.read(stage.journal)
    assert archive.notes == ()
    assert [list(file.config["services"]) for file in archive.files] == [["chat"], ["chat", "code"]]
    for file in archive.files:
        settings = settings_from_document(file.config, file.profiles)
        assert all(file.replay(tick.n, settings).same for tick in file)
    assert len(list(archive)) == 4


# --- files ----------------------------------------------------------------------------------------------------------

FILE = (
    CONFIG.replace("discover: {namespaces: [llm]}\n", "").replace('"model_name={service}"', "a=b")
    + "mode: aggregated\n"
)


def test_a_file_adds_a_service_moves_a_target_and_takes_a_service_away(tmp_path: Path) -> None:
    def text(targets: Mapping[str, str]) -> str:
        each = (f"  {name}: {{kubernetes: {{namespace: llm, aggregated: {what}}}}}\n" for name, what in targets.items())
        return FILE + "services:\n" + "".join(each)

    async def script(stage: Stage) -> None:
        for name in ("chat", "code", "other"):
            stage.server.deploy(name, None)
        stage.source.rates_per_s |= {"chat": 60.0, "code": 60.0}
        await stage.ticks(2)
        grown = stage.server.replicas("chat")
        assert (grown > 1, stage.server.replicas("code")) == (True, 1)
        stage.rewrite(text({"chat": "Deployment/other", "code": "Deployment/code"}))
        await stage.ticks(3)
        assert stage.services == ["chat", "code"]
        assert stage.server.replicas("chat") == grown
        assert stage.server.replicas("other") > 1
        assert stage.server.replicas("code") > 1
        stage.rewrite(text({"code": "Deployment/code"}))
        await stage.settle()
        assert (stage.services, stage.trouble) == (["code"], ())

    play(tmp_path, script, text({"chat": "Deployment/chat"}))


def test_a_file_that_cannot_be_had_changes_nothing_and_services_are_looked_at_all_the_same(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.server.deploy("chat", aggregated__min_replicas="4")
        await stage.settle()
        stage.rewrite(CONFIG.replace("gpus: 12", "gpus: 3"))
        stage.server.deploy("code")
        await stage.settle()
        assert stage.services == ["chat", "code"]
        assert stage.loop.desk.board.settings.budget_gpus == 12
        (trouble,) = stage.trouble
        assert "planner.yaml: not taken: budget.gpus: 3 is less than the 4 GPUs of the minima" in trouble

        stage.rewrite(CONFIG.replace("ttft: 200", "ttft: 250"))
        await stage.settle()
        assert (ttft_ms(stage), stage.trouble) == (250, ())

    play(tmp_path, script)
