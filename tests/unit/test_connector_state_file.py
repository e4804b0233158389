"""Orders on disk: whole at every moment, read back as they were, refused when damaged."""

from __future__ import annotations

import json
import os
from asyncio import run
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.clock import VirtualClock
from planner.connectors.orders import Order, ServiceOrders
from planner.connectors.state_file import StateFileError, read_orders, write_orders
from planner.connectors.types import Plan
from planner.connectors.virtual import VirtualConnector
from planner.scaling.types import Role, Sample

PREFILL, DECODE = Role.PREFILL, Role.DECODE
POOLS: Mapping[str, Mapping[Role, int]] = {"chat": {PREFILL: 2, DECODE: 3}}
OLD = {"chat": ServiceOrders.beginning(POOLS["chat"])}
NEW = {"chat": OLD["chat"].ordered(Order("001", {PREFILL: 2, DECODE: 5}, 0.1))}


def connector(path: Path, pools: Mapping[str, Mapping[Role, int]] = POOLS) -> VirtualConnector:
    return VirtualConnector(pools, VirtualClock(), state=path, accept_within_s=60, report_max_age_s=90)


# --- the file ---------------------------------------------------------------------------------------------------


def test_orders_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    order = Order("001", {PREFILL: 2, DECODE: 5}, 0.1)
    orders = NEW["chat"].refused(order, "no room", {PREFILL: 1, DECODE: 4}, 7.3).reported({PREFILL: 2, DECODE: 4}, 9)

    write_orders(path, {"chat": orders, **{f"idle {n}": OLD["chat"] for n in range(3)}})

    assert read_orders(path) == {"chat": orders, **{f"idle {n}": OLD["chat"] for n in range(3)}}
    assert [file.name for file in tmp_path.iterdir()] == ["orders.json"]


class Killed(BaseException):
    """Ends everything, as SIGKILL does."""


@pytest.mark.parametrize("step", ["write", "fsync", "replace", "folder"])
@pytest.mark.parametrize("end", [Killed, OSError], ids=["killed", "disk full"])
def test_interrupted_at_any_step_the_file_is_the_old_or_the_new(
    step: str, end: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "orders.json"
    write_orders(path, OLD)

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise end(28, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(json, "dump", fail)
        elif step == "fsync":
            patch.setattr(os, "fsync", fail)
        elif step == "replace":
            patch.setattr(Path, "replace", fail)
        else:
            patch.setattr(os, "open", fail)
        with pytest.raises(Killed if end is Killed else StateFileError, match="No space left on device"):
            write_orders(path, NEW)

    assert read_orders(path) == (NEW if step == "folder" else OLD)
    write_orders(path, NEW)
    assert read_orders(path) == NEW


def test_without_a_file_there_are_no_orders(tmp_path: Path) -> None:
    assert read_orders(tmp_path / "orders.json") == {}


@given(cut=st.integers(0, 10_000))
@settings(max_examples=30)
def test_a_file_that_was_cut_short_is_refused_with_the_remedy(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "orders.json"
    write_orders(path, NEW)
    text = path.read_text()
    path.write_text(text[: cut % len(text)])

    with pytest.raises(StateFileError, match=r"orders\.json: is damaged \(.*\); restore the file, or delete it to beg"):
        connector(path)


def _without(document: dict[str, Any], key: str) -> dict[str, Any]:
    chat = {name: value for name, value in document["services"]["chat"].items() if name != key}
    return document | {"services": {"chat": chat}}


def _with(document: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    return document | {"services": {"chat": document["services"]["chat"] | {key: value}}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda _: [], "is no file of orders", id="a list"),
        pytest.param(lambda it: it | {"schema": "sla-planner/profile"}, "is no file of orders", id="another schema"),
        pytest.param(lambda it: it | {"schema_version": 9}, "schema_version 9 is not 1; start the", id="later version"),
        pytest.param(lambda it: it | {"services": None}, r"is damaged \(services: ", id="no services"),
        pytest.param(lambda it: _without(it, "most"), r"is damaged \(services\.chat\.most: Field req", id="a gap"),
        pytest.param(lambda it: _with(it, "answer", "?"), r"is damaged \(services\.chat\.answer: ", id="no answer"),
        pytest.param(
            lambda it: _with(it, "settled", {"prefill": 2}),
            r"is damaged \(services\.chat: .*all counts must be 0 or more, and of the same pools",
            id="a pool is lost",
        ),
        pytest.param(
            lambda it: _with(it, "settled", {"prefill": 2, "decode": -3}),
            r"is damaged \(services\.chat: .*all counts must be 0 or more",
            id="less than nothing",
        ),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(damage: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    write_orders(path, NEW)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))

    with pytest.raises(StateFileError, match=message) as raised:
        connector(path)

    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match=r"cannot be read \(Is a directory\); "):
        connector(tmp_path)


def test_a_path_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match=r"cannot be written \(No such file or directory\); see to its folder"):
        connector(tmp_path / "missing" / "orders.json")


# --- restarts ---------------------------------------------------------------------------------------------------


def test_a_launcher_notices_nothing_of_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    run(connector(path).apply(Plan("chat", {DECODE: 5}, "001")))

    after = connector(path)

    assert run(after.orders("chat", None, 0)) == Order("001", {PREFILL: 2, DECODE: 5}, 0)
    assert run(after.orders("chat", "001", 0)) is None
    assert after.acknowledge("chat", "001", completed=True, reason=None, ready=None) == "completed"
    assert connector(path).acknowledge("chat", "001", completed=False, reason=None, ready=None) == "already completed"


def test_the_configuration_speaks_for_services_that_the_file_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    begun = connector(path, {"chat": {DECODE: 3}, "search": {DECODE: 1}, "mail": {DECODE: 1}})
    for service in ("chat", "search", "mail"):
        run(begun.apply(Plan(service, {DECODE: 9}, "001")))

    after = connector(path, {"chat": {DECODE: 4}, "mail": {PREFILL: 1, DECODE: 2}, "code": {DECODE: 5}})

    wanted = {name: run(after.read(name)) for name in ("chat", "mail", "code")}
    assert {name: {role: pool.wanted for role, pool in pools.items()} for name, pools in wanted.items()} == {
        "chat": {DECODE: Sample(9, 0)},
        "mail": {PREFILL: Sample(1, 0), DECODE: Sample(2, 0)},
        "code": {DECODE: Sample(5, 0)},
    }
    assert read_orders(path).keys() == {"chat", "mail", "code"}


def test_what_cannot_be_kept_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "orders.json"
    one = connector(path)
    run(one.apply(Plan("chat", {DECODE: 5}, "001")))
    before = run(one.read("chat"))

    def fail(*_: Any) -> NoReturn:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        applied = run(one.apply(Plan("chat", {DECODE: 7}, "002")))
        with pytest.raises(StateFileError, match="No space left on device"):
            one.acknowledge("chat", "001", completed=True, reason=None, ready=None)
        with pytest.raises(StateFileError, match="No space left on device"):
            one.report("chat", {PREFILL: 2, DECODE: 4})

    assert (applied.status, "No space left on device" in applied.detail) == ("failed", True)
    assert run(one.read("chat")) == before
    assert run(one.orders("chat", "001", 0)) is None
    assert run(one.apply(Plan("chat", {DECODE: 7}, "002"))).status == "applied"
