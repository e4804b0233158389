"""Decision records: written, read back, re-run, explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import INTERVAL_S, pool_samples, service_samples

from planner.config import load_config
from planner.config.build import build_settings, settings_from_document
from planner.explain import explain
from planner.journal import CHECKPOINT_TICKS, Journal, JournalError, JournalWriter
from planner.scaling.settings import PlannerSettings
from planner.scaling.tick import initial_state, tick
from planner.scaling.types import Role

FLAGS = {
    "sla.isl": 3000, "sla.osl": 150, "sla.ttft": 200, "sla.itl": 20, "budget.gpus": 32,
    "profile": "h200-llama-3.1-8b-fp8-tp1", "forecast.model": "moving-average",
}  # fmt: skip


def write_journal(path: Path, ticks: int) -> PlannerSettings:
    loaded = load_config(None, {}, FLAGS)
    settings = build_settings(loaded)
    state = initial_state(settings, 0)
    with path.open("w", encoding="utf-8") as stream:
        writer = JournalWriter(stream, loaded.to_document(), loaded.profile_documents())
        for n in range(ticks):
            at_s = INTERVAL_S * n
            pools = {
                role: pool_samples(at_s, wanted=2 + n // 40, ready=2 + n // 40) for role in (Role.PREFILL, Role.DECODE)
            }
            samples = {"default": service_samples(at_s, rate_per_s=10 + n % 13, pools=pools)}
            before = state
            state, result = tick(state, samples, settings, at_s)
            writer.record(before, samples, result)
    return settings


def test_every_decision_is_computed_anew_from_its_record_and_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write_journal(path, CHECKPOINT_TICKS + 5)

    journal = Journal.read(path)
    settings = settings_from_document(journal.config, journal.profiles)

    assert len(journal.ticks) == CHECKPOINT_TICKS + 5
    assert sorted(journal.states) == [0, CHECKPOINT_TICKS]
    for n in (0, 1, 37, CHECKPOINT_TICKS, CHECKPOINT_TICKS + 4):
        assert journal.replay(n, settings).same


def test_the_settings_come_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    settings = write_journal(path, 1)

    journal = Journal.read(path)
    read_back = settings_from_document(journal.config, journal.profiles)

    assert read_back.budget_gpus == settings.budget_gpus
    assert read_back.services["default"].profile == settings.services["default"].profile
    assert read_back.services["default"].guards == settings.services["default"].guards


def test_a_record_that_was_changed_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    settings = write_journal(path, 3)
    lines = path.read_text().splitlines()
    record = json.loads(lines[-1])
    record["result"]["decisions"]["default"]["pools"]["decode"]["replicas"] = 31
    path.write_text("\n".join([*lines[:-1], json.dumps(record)]) + "\n")

    assert not Journal.read(path).replay(2, settings).same
    assert Journal.read(path).replay(1, settings).same


def test_a_torn_tail_is_read_past_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    settings = write_journal(path, 3)
    path.write_text(path.read_text()[:-200])

    journal = Journal.read(path)

    assert len(journal.ticks) == 2
    assert journal.torn == "line 4 is torn and was left out"
    assert journal.replay(1, settings).same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", r"is not a journal; write one with: planner simulate --journal FILE, or replay", id="empty"),
        pytest.param("a,b\n1,2\n", r"journal.jsonl:1: is damaged", id="another file"),
        pytest.param('{"kind":"tick"}\n', r"is not a journal", id="without a start"),
        pytest.param('[1]\n', r"is not a journal", id="no object"),
        pytest.param('{"schema":"sla-planner/journal","schema_version":9}\n', r"schema_version 9 is not 1", id="newer"),
        pytest.param(
            '{"schema":"sla-planner/journal","schema_version":1,"kind":"start"}\n',
            r"a record is not as the schema says \('config'\)", id="incomplete",
        ),
    ],
)  # fmt: skip
def test_what_is_not_a_journal_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(text)

    with pytest.raises(JournalError, match=message):
        Journal.read(path)


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"none\.jsonl: cannot be read \(No such file or directory\)"):
        Journal.read(tmp_path / "none.jsonl")


def test_a_decision_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    settings = write_journal(path, 3)

    with pytest.raises(JournalError, match="decision 7: the journal holds 0 to 2"):
        Journal.read(path).replay(7, settings)


def test_an_explanation_holds_the_whole_arithmetic(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    settings = write_journal(path, 40)

    result = Journal.read(path).replay(39, settings).result
    text = explain(result.decisions["default"], result.budget)

    for part in ("observed", "forecast", "correction", "sizing, method queueing", "budget", "decision", "because"):
        assert f"\n{part}" in text
    decision = result.decisions["default"]
    assert decision.sizing is not None
    for pool in decision.sizing.pools.values():
        assert all(step.meaning in text for step in pool.steps)
    assert all(reason.text in text for reason in decision.reasons)
