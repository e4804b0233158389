"""What a running planner takes up of a changed configuration, and what it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.cli.run_world import Asked, outside_of
from planner.clock import WallClock
from planner.config import LoadedConfig, load_config
from planner.errors import UserError
from planner.scaling.types import Role

BASE = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
mode: aggregated
sla: {isl: 1000, osl: 50, ttft: 500, itl: 50}
prometheus: {url: 'http://one:9090'}
"""


def loaded(tmp_path: Path, more: str) -> LoadedConfig:
    path = tmp_path / "planner.yaml"
    path.write_text(BASE + more)
    return load_config(path, {}, {})


def asked(config: LoadedConfig, *, launchers: bool = True) -> Asked:
    return Asked(config, {}, (), 1.0, 0, launchers=launchers, dry_run=False, state=None, token_file=None, hosts=())


def take_up(commit: Callable[[], None]) -> None:
    """As within the planner's loop."""

    async def script() -> None:
        commit()

    asyncio.run(script())


def test_other_labels_are_taken_up_and_a_service_that_launchers_do_not_know_is_refused(tmp_path: Path) -> None:
    begun = loaded(tmp_path, "services: {chat: {metrics: {match: a=b}}, code: {metrics: {match: a=c}}}\n")
    outside = outside_of(asked(begun), WallClock())
    assert outside.sources is not None
    before = outside.sources._source("chat")

    take_up(outside.prepare(loaded(tmp_path, "services: {chat: {metrics: {match: a=d}}}\n")))
    assert outside.sources._source("chat") is not before

    with pytest.raises(UserError, match=r"^services: new came while the planner runs; its connector knows those"):
        outside.prepare(loaded(tmp_path, "services: {chat: {}, new: {}}\n"))


def test_other_objects_of_a_cluster_are_taken_up_and_another_actuator_is_refused(tmp_path: Path) -> None:
    begun = loaded(tmp_path, "kubernetes: {aggregated: Deployment/vllm}\n")
    outside = outside_of(asked(begun, launchers=False), WallClock())
    assert outside.hands is not None

    def target(service: str) -> str:
        assert outside.hands is not None
        return str(outside.hands.connector._services[service][Role.AGGREGATED].target)

    commit = outside.prepare(loaded(tmp_path, "kubernetes: {aggregated: Deployment/other}\n"))
    assert target("default") == "Deployment default/vllm"
    take_up(commit)
    assert target("default") == "Deployment default/other"
    take_up(outside.prepare(loaded(tmp_path, "services: {new: {kubernetes: {aggregated: Deployment/new}}}\n")))
    assert target("new") == "Deployment default/new"

    with pytest.raises(UserError, match=r"^services\.default\.kubernetes\.actuator: external came while the planner"):
        outside.prepare(loaded(tmp_path, "kubernetes: {aggregated: Deployment/vllm, actuator: external}\n"))


DISCOVERED: dict[str, tuple[str, str]] = {
    "no Prometheus": ("prometheus: {url: null}", r"^prometheus\.url: chat has none"),
    "pools that cannot be told apart": (
        "mode: disaggregated\nkubernetes: {prefill: Deployment/p, decode: Deployment/d}",
        r"^metrics\.prefill: is empty",
    ),
    "a target of another": (
        "kubernetes: {aggregated: Deployment/vllm}",
        r"^kubernetes\.aggregated: Deployment default/vllm is that of one\.aggregated and of chat\.aggregated",
    ),
    "none of ours to scale": (
        "kubernetes: {aggregated: Deployment/x, actuator: external}",
        r"^services\.chat\.kubernetes\.actuator: external came while the planner runs; restart it",
    ),
}


@pytest.mark.parametrize(("own", "message"), DISCOVERED.values(), ids=DISCOVERED)
def test_a_service_that_cannot_be_had_is_told_from_those_that_can(tmp_path: Path, own: str, message: str) -> None:
    lines = "".join(f"    {line}\n" for line in own.split("\n"))
    before = "services:\n  one:\n    kubernetes: {aggregated: Deployment/vllm}\n"
    outside = outside_of(asked(loaded(tmp_path, before), launchers=False), WallClock())
    candidate = loaded(tmp_path, before + "  chat:\n" + lines)

    outside.check("one", loaded(tmp_path, before))
    with pytest.raises(UserError, match=message):
        outside.check("chat", candidate)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("services: {a: {kubernetes: {aggregated: Deployment/x}}, b: {}}\n",
         r"^kubernetes\.aggregated: service b has no target for it; give one, such as Deployment/vllm-aggregated$"),
        ("kubernetes: {aggregated: Deployment/x}\nservices: {a: {}, b: {}}\n",
         r"^kubernetes\.aggregated: Deployment default/x is that of a\.aggregated and of b\.aggregated"),
    ],
    ids=["one without", "two with the same"],
)  # fmt: skip
def test_targets_that_make_no_sense_are_one_error(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        outside_of(asked(loaded(tmp_path, more), launchers=False), WallClock())
