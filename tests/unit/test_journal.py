"""Decision records: written to a stream, read back, re-run, explained."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from journal_runs import START_S, begun, journal_files, loaded, minutes, rewrite, settings, steps, varied, write_stream

from planner.config.build import settings_from_document
from planner.connectors.types import Status
from planner.explain import explain
from planner.journal import CHECKPOINT_TICKS, Control, Event, Journal, JournalError, Outcome, Trouble
from planner.journal.difference import first_difference
from planner.scaling.tick import tick


def test_every_decision_is_computed_anew_from_its_record_and_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    made = write_stream(path, CHECKPOINT_TICKS + 5)

    journal = Journal.read(path)
    read_back = settings_from_document(journal.config, journal.profiles)

    assert [tick.n for tick in journal] == list(range(CHECKPOINT_TICKS + 5))
    assert len(journal.states) == 2
    for n in (0, 1, 37, CHECKPOINT_TICKS, CHECKPOINT_TICKS + 4):
        replayed = journal.replay(n, read_back)
        assert replayed.same
        assert replayed.result == made[n].result


def test_a_tick_is_computed_anew_from_the_nearest_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    write_stream(path, CHECKPOINT_TICKS + 5)
    made_s: list[float] = []

    def counted(state: Any, samples: Any, using: Any, now_s: float) -> Any:
        made_s.append(now_s)
        return tick(state, samples, using, now_s)

    monkeypatch.setattr("planner.journal.reader.tick", counted)
    Journal.read(path).replay(CHECKPOINT_TICKS + 2, settings())

    assert made_s == [START_S + 30 * (CHECKPOINT_TICKS + n) for n in range(3)]


def test_the_settings_come_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write_stream(path, 1)

    journal = Journal.read(path)
    read_back = settings_from_document(journal.config, journal.profiles)

    assert read_back.budget_gpus == settings().budget_gpus
    assert read_back.services["default"].profile == settings().services["default"].profile
    assert read_back.services["default"].guards == settings().services["default"].guards


def test_the_digest_is_of_configuration_and_profiles_as_canonical_json(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write_stream(path, 1)
    both = {"profiles": loaded().profile_documents(), "config": loaded().to_document()}

    text = json.dumps(both, sort_keys=True, separators=(",", ":"))

    assert Journal.read(path).digest == hashlib.sha256(text.encode("ascii")).hexdigest()


def test_a_configuration_that_is_not_the_digests_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write_stream(path, 1)
    rewrite(path, 0, {"config.budget.gpus": 33})

    with pytest.raises(JournalError, match=r"config and profiles are not those of the digest; restore the file"):
        Journal.read(path)


def without(fields: frozenset[str], value: Any) -> Any:
    """A JSON value without these fields, wherever they are."""
    if isinstance(value, dict):
        return {name: without(fields, inner) for name, inner in value.items() if name not in fields}
    return [without(fields, inner) for inner in value] if isinstance(value, list) else value


ADDED = {
    "samples": frozenset({"failing", "pending_go_first", "starts"}),
    "state": frozenset({"failing_since_s", "unproven_since_s", "seen", "told"}),
}
"""Fields that journals of this schema version may lack."""


def test_a_journal_from_before_fields_were_added_is_read_and_decides_the_same(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    made = write_stream(path, CHECKPOINT_TICKS + 2)
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record in records:
        record |= {name: without(fields, record[name]) for name, fields in ADDED.items() if name in record}
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")

    replayed = list(Journal.read(path).rerun(settings()))

    assert [one.result.decisions["default"].plan for one in replayed] == [
        step.result.decisions["default"].plan for step in made
    ]


def test_a_record_that_was_changed_is_found_out_and_the_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    made = write_stream(path, 3)
    rewrite(path, 3, {"result.decisions.default.pools.decode.replicas": 31})

    assert Journal.read(path).replay(1, settings()).same
    computed = made[2].result.decisions["default"].pools["decode"].replicas  # type: ignore[index]
    assert Journal.read(path).replay(2, settings()).difference == (
        f"result.decisions.default.pools.decode.replicas: recorded 31, computed {computed}"
    )


@pytest.mark.parametrize(
    ("recorded", "computed", "difference"),
    [
        pytest.param({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]}, None, id="equal"),
        pytest.param({"a": 1, "b": [1, 2]}, {"b": [1, 3], "a": 1}, "result.b[1]: recorded 2, computed 3", id="deep"),
        pytest.param({"a": 1, "b": 2}, {"a": 2, "b": 3}, "result.a: recorded 1, computed 2", id="the first of two"),
        pytest.param({"a": [1]}, {"a": [1, 2]}, "result.a[1]: recorded 'nothing', computed 2", id="longer"),
        pytest.param({"a": 1}, {"a": 1, "b": 0}, "result.b: recorded 'nothing', computed 0", id="a field more"),
        pytest.param({"a": None}, {}, "result.a: recorded None, computed 'nothing'", id="a null field less"),
        pytest.param({"a": {}}, {"a": []}, "result.a: recorded {}, computed []", id="another form"),
    ],
)
def test_the_first_difference_is_named_by_its_path(recorded: Any, computed: Any, difference: str | None) -> None:
    assert first_difference(recorded, computed) == difference


# --- what a kill leaves -----------------------------------------------------------------------------------------

EVENTS: tuple[Event, ...] = (
    Outcome(1, "default", "applied", "prefill 2 -> 3", START_S + 31),
    Control(START_S + 40, "Zoë", "naïve café ☕", "pause chat", {"service": "chat", "deep": [1, {"x": None}]}),
    Trouble(START_S + 50, "a tick failed: Größe\u2028unbekannt"),
)


def eventful_journal() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        files = journal_files(Path(folder))
        for step in steps(varied(4), begun()):
            step.write(files)
            if step.n == 1:
                for event in EVENTS:
                    files.event(event)
        files.close()
        (path,) = Path(folder).iterdir()
        return path.read_bytes()


EVENTFUL = eventful_journal()
LINES = EVENTFUL.splitlines(keepends=True)
ENDS = [sum(map(len, LINES[: n + 1])) - 1 for n in range(len(LINES))]
"""Where each record is whole: at its last brace; the end of the line may be missing."""


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(EVENTFUL)

    assert Journal.read(path).events == EVENTS


@given(cut=st.integers(0, len(EVENTFUL)) | st.builds(int.__add__, st.sampled_from(ENDS), st.integers(-2, 2)))
def test_a_file_cut_anywhere_gives_every_whole_record_before_the_cut(cut: int) -> None:
    whole = [json.loads(line) for line, end in zip(LINES, ENDS, strict=True) if end <= cut]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        path.write_bytes(EVENTFUL[:cut])

        if not whole:
            with pytest.raises(JournalError, match="is not a journal"):
                Journal.read(path)
            return
        journal = Journal.read(path)

        assert [tick.n for tick in journal] == [record["n"] for record in whole if record["kind"] == "tick"]
        assert journal.events == EVENTS[: sum(record["kind"] in {"outcome", "control", "trouble"} for record in whole)]
        torn = f"line {len(whole) + 1} is torn and was left out"
        assert journal.torn == (torn if cut > ENDS[len(whole) - 1] + 1 and cut < len(EVENTFUL) else None)
        assert all(replayed.same for replayed in journal.rerun(settings()))


def test_damage_before_the_last_line_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(EVENTFUL.replace(b'"kind":"control"', b'"kind":"con\x00\xfftrol', 1))

    with pytest.raises(JournalError, match=r"journal\.jsonl:5: is damaged \(.+\); restore the file"):
        Journal.read(path)


@pytest.mark.parametrize("rest", [b"", LINES[1]], ids=["at the end", "in the middle"])
def test_a_line_too_long_for_a_record_is_not_read_into_memory(
    rest: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.journal.reader.LONGEST_LINE_BYTES", 20_000)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(EVENTFUL + b"x" * 50_000 + b"\n" + rest)

    with pytest.raises(JournalError, match=r"journal\.jsonl:9: is damaged"):
        Journal.read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", r"is not a journal; write one with: planner simulate --journal FILE, or replay", id="empty"),
        pytest.param("a,b\n1,2\n", r"journal.jsonl:1: is damaged", id="another file"),
        pytest.param('{"kind":"tick"}\n', r"is not a journal", id="without a start"),
        pytest.param('[1]\n', r"is not a journal", id="no object"),
        pytest.param('{"schema":"sla-planner/journal"', r"cut off in its first line; take another", id="never started"),
        pytest.param('{"schema":"sla-planner/journal","schema_version":1}\n', r"schema_version 1 is not 2", id="older"),
        pytest.param(
            '{"schema":"sla-planner/journal","schema_version":2,"kind":"start"}\n',
            r"a record is not as the schema says \('config'\)", id="incomplete",
        ),
        pytest.param(
            EVENTFUL.decode() + '{"kind":"rumour"}\n', r"a record is not as the schema says \(.+\); restore", id="kind"
        ),
        pytest.param(
            EVENTFUL.decode() + '{"kind":"tick","n":9}\n', r"a record is not as the schema says \('now_s'\)", id="tick"
        ),
    ],
)  # fmt: skip
def test_what_is_not_a_journal_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(JournalError, match=message):
        Journal.read(path)


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"none\.jsonl: cannot be read \(No such file or directory\)"):
        Journal.read(tmp_path / "none.jsonl")


def test_a_file_that_went_after_it_was_read_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write_stream(path, 3)
    journal = Journal.read(path)
    path.unlink()

    with pytest.raises(JournalError, match=r"cannot be read \(No such file or directory\)"):
        journal.replay(1, settings())


@pytest.mark.parametrize(("ticks", "holds"), [(3, "0 to 2"), (0, "none")])
def test_a_decision_that_is_not_there_is_one_clear_error(tmp_path: Path, ticks: int, holds: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(LINES[0])
    if ticks:
        write_stream(path, ticks)

    with pytest.raises(JournalError, match=f"decision 7: the journal holds {holds}"):
        Journal.read(path).replay(7, settings())


# --- what is computed anew --------------------------------------------------------------------------------------


@given(played=st.lists(minutes(), min_size=1, max_size=8))
@hypothesis_settings(max_examples=40)
def test_any_tick_decides_as_recorded_whatever_came_in_and_was_held(played: list[Any]) -> None:
    made = list(steps(played, begun()))
    with tempfile.TemporaryDirectory() as folder:
        files = journal_files(Path(folder))
        for step in made:
            step.write(files)
        files.close()
        (path,) = Path(folder).iterdir()
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line, parse_constant=pytest.fail)
        journal = Journal.read(path)

        replayed = [journal.replay(step.n, settings()) for step in made]

    assert [one.difference for one in replayed] == [None] * len(made)
    assert [one.result for one in replayed] == [step.result for step in made]
    assert [one.holds for one in replayed] == [
        {} if minute.held is None else {"default": minute.held} for minute in played
    ]


@pytest.mark.parametrize("status", ["applied", "unchanged", "dry-run", "paused", "refused", "failed"])
def test_every_status_of_a_connector_can_be_recorded(status: Status, tmp_path: Path) -> None:
    files = journal_files(tmp_path)
    files.event(Outcome(0, "default", status, "so", START_S))
    files.close()
    (path,) = tmp_path.iterdir()

    assert Journal.read(path).events == (Outcome(0, "default", status, "so", START_S),)


def test_an_explanation_holds_the_whole_arithmetic(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write_stream(path, 40)

    result = Journal.read(path).replay(39, settings()).result
    text = explain(result.decisions["default"], result.budget)

    for part in ("observed", "forecast", "correction", "sizing, method queueing", "budget", "decision", "because"):
        assert f"\n{part}" in text
    decision = result.decisions["default"]
    assert decision.sizing is not None
    for pool in decision.sizing.pools.values():
        assert all(step.meaning in text for step in pool.steps)
    assert all(reason.text in text for reason in decision.reasons)
