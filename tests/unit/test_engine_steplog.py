"""Step logs: what an engine writes is read back, and whatever cannot be true is one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from step_logs import columns, csv_text, logged, records, write_csv, write_jsonl, write_records

from planner.engine.latency.demo import demo_run
from planner.engine.latency.logs import Run, read_runs, run_of
from planner.engine.latency.screen import joined, screened
from planner.engine.step import Step
from planner.engine.steplog import LoggedStep, StepLogError, read_log

COUNTS = st.integers(0, 2**40)
LOGGED = st.builds(
    LoggedStep,
    run=st.text(st.characters(codec="utf-8"), min_size=1),
    model=st.none() | st.text(st.characters(codec="utf-8"), min_size=1),
    number=st.integers(0, 2**40),
    end_s=st.floats(0, 1e9),
    took_ms=st.floats(0, 1e6),
    step=st.builds(
        lambda requests, tokens, prefills, chunk, kv, pairs: Step(
            requests + prefills, tokens + chunk, prefills, chunk, kv, pairs
        ),
        *[COUNTS] * 6,
    ),
    after_idle=st.booleans(),
)


@given(steps=st.lists(LOGGED, max_size=4))
def test_what_is_written_is_read_again(steps: list[LoggedStep], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_jsonl(tmp_path_factory.mktemp("logs") / "a.jsonl", steps)

    assert read_log(path).steps == tuple(steps)


def test_a_line_holds_one_step() -> None:
    step = LoggedStep("engine-0", "llama", 7, 12.5, 8.25, Step(3, 18, 1, 16, 500, 136), True)

    assert json.loads(step.line()) == {
        "schema": 1,
        "run": "engine-0",
        "model": "llama",
        "step": 7,
        "end_s": 12.5,
        "took_ms": 8.25,
        "requests": 3,
        "tokens": 18,
        "prefills": 1,
        "prefill_tokens": 16,
        "kv_tokens": 500,
        "pairs": 136,
        "after_idle": True,
    }


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_csv_file_under_short_names_holds_the_same(name: str, tmp_path: Path) -> None:
    steps = logged(30)

    assert read_log(write_csv(tmp_path / name, csv_text(steps))).steps == tuple(steps)


def test_unknown_columns_are_left_alone_and_named(tmp_path: Path) -> None:
    spoilt = [record | {"budget": 512, "weather": "fine"} for record in records(logged(3))]

    log = read_log(write_records(tmp_path / "a.jsonl", spoilt))

    assert (log.ignored, log.steps) == (("budget", "weather"), tuple(logged(3)))


def test_a_csv_file_that_tells_queues_tells_idleness(tmp_path: Path) -> None:
    heading, *rows = csv_text(logged(4)).splitlines()
    queues = ["1,0", "0,0", "0,3", "2,1"]
    text = "\n".join([f"{heading},running,waiting", *(f"{row},{q}" for row, q in zip(rows, queues, strict=True))])

    log = read_log(write_csv(tmp_path / "a.csv", text + "\n"))

    assert [step.after_idle for step in log.steps] == [False, False, True, False]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("a.jsonl", "".join(f"{step.line()}\n" for step in logged(9))[:-60], id="JSON lines"),
        pytest.param("a.csv", csv_text(logged(9))[:-40], id="CSV"),
    ],
)
def test_a_torn_last_line_is_left_out_and_told(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    logs = read_runs(tmp_path)

    assert len(logs.runs[0]) == 8
    assert len(logs.notes) == 1
    assert logs.notes[0].startswith(f"{name}:")
    assert logs.notes[0].endswith(": the last line is torn; left out")


# --- what is wrong ------------------------------------------------------------------------------------------------


def spoil(index: int, **values: object) -> list[dict[str, Any]]:
    spoilt = records(logged(20))
    for name, value in values.items():
        if value is ...:
            del spoilt[index][name]
        else:
            spoilt[index][name] = value
    return spoilt


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        pytest.param(
            [{key: value for key, value in each.items() if key not in ("kv_tokens", "pairs")} for each in spoil(0)],
            r"^a\.jsonl: no column kvd \(kv_tokens\), attn_p \(pairs\); record steps with all of them$",
            id="missing columns",
        ),
        pytest.param(
            [
                {("took_s" if key == "took_ms" else key): value for key, value in each.items()}
                for each in records(logged(3))
            ],
            r"^a\.jsonl: column took_s holds seconds; step times are needed in ms, as T_ms$",
            id="another unit by its name",
        ),
        pytest.param(
            spoil(4, took_ms=float("nan")),
            r"^a\.jsonl:5: took_ms nan must be a finite number from 0; remove the line$",
            id="NaN",
        ),
        pytest.param(spoil(4, took_ms="soon"), r"^a\.jsonl:5: took_ms 'soon' must be a finite number", id="a text"),
        pytest.param(spoil(4, tokens=True), r"^a\.jsonl:5: tokens True must be a finite number", id="a truth value"),
        pytest.param(spoil(4, tokens=-1), r"^a\.jsonl:5: tokens -1 must be a finite number from 0", id="below zero"),
        pytest.param(
            spoil(4, tokens=10**400, prefill_tokens=0), r"^a\.jsonl:5: tokens 1000\d+ must be", id="beyond floats"
        ),
        pytest.param(spoil(4, tokens=1.5), r"^a\.jsonl:5: tokens 1\.5 must be a whole number", id="half a token"),
        pytest.param(spoil(4, pairs=...), r"^a\.jsonl:5: pairs is missing; remove the line$", id="one value missing"),
        pytest.param(spoil(4, prefills=99), r"^a\.jsonl:5: prefills 99 exceeds requests \d+; record", id="impossible"),
        pytest.param(
            spoil(4, schema=2), r"^a\.jsonl:5: schema 2 is not known; this planner reads 1$", id="a later schema"
        ),
        pytest.param(
            spoil(4, end_s=0.0),
            r"^a\.jsonl:5: end_s 0\.0 lies before the .* of the line above; record with a monotonic clock",
            id="a clock that went back",
        ),
        pytest.param(
            spoil(4, step=2),
            r"^a\.jsonl:5: step 2 of run demo is in line 2 too; remove one, or name the runs apart$",
            id="a step twice",
        ),
        pytest.param(
            [each | {"took_ms": each["took_ms"] / 1000} for each in records(logged(100))],
            r"^a\.jsonl: T_ms of run demo is 0\.00\d+ of the time between steps; write step times in ms, and",
            id="step times in s",
        ),
        pytest.param(
            [each | {"end_s": each["end_s"] * 1000} for each in records(logged(100))],
            r"^a\.jsonl: T_ms of run demo is 0\.00\d+ of the time between steps; write step times in ms, and",
            id="ends in ms",
        ),
        pytest.param(
            [each | {"took_ms": each["took_ms"] * 1000} for each in records(logged(100))],
            r"^a\.jsonl: T_ms of run demo is .* times the time between steps; write step times in ms \(not µs\)",
            id="step times in µs",
        ),
        pytest.param(
            [
                each | {"took_ms": each["took_ms"] / (1000 if i % 4 == 0 else 1)}
                for i, each in enumerate(records(logged(100)))
            ],
            r"^a\.jsonl: T_ms of run demo mixes units: \d+% of the steps seem to be in s; write all step times in ms$",
            id="mixed units",
        ),
    ],
)
def test_what_no_step_can_have_is_one_error_that_names_it(
    spoilt: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    write_records(tmp_path / "a.jsonl", spoilt)

    with pytest.raises(StepLogError, match=message):
        read_runs(tmp_path)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        pytest.param(
            "a.jsonl",
            lambda path: path.write_text(f"{logged(1)[0].line()}\nhello\n{logged(2)[1].line()}\n"),
            r"^a\.jsonl:2: 'hello' is not a JSON object; remove the line$",
            id="a line that is no JSON",
        ),
        pytest.param(
            "a.csv.gz",
            lambda path: path.write_bytes(write_csv(path, csv_text(logged(90))).read_bytes()[:-90]),
            r"^a\.csv\.gz: cannot be read \(.*\); is it damaged\? copy it again$",
            id="cut off gzip",
        ),
        pytest.param(
            "a.csv.gz",
            lambda path: path.write_text("plain"),
            r"^a\.csv\.gz: cannot be read \(Not a gzipped file .*\); check the path$",
            id="no gzip",
        ),
        pytest.param(
            "a.csv",
            lambda path: path.write_bytes(b"t,B\n\xff\xfe,1\n"),
            r"^a\.csv: cannot be read \(.*\); is it damaged\? copy it again$",
            id="other bytes",
        ),
        pytest.param("a.csv", lambda path: path.write_text(""), r"holds no step; record some with", id="empty"),
        pytest.param("a.txt", lambda path: path.write_text("x"), r"holds no step; record some with", id="no log"),
    ],
)
def test_a_file_that_is_no_log_is_told(name: str, make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make(tmp_path / name)

    with pytest.raises(StepLogError, match=message):
        read_runs(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("nowhere", r"nowhere: does not exist; give a step log or a folder of them$", id="no folder"),
        pytest.param("a.txt", r"a\.txt: is no step log by its name; logs end in \.jsonl, ", id="another file"),
    ],
)
def test_a_path_that_holds_no_logs_is_told(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")

    with pytest.raises(StepLogError, match=message):
        read_runs(tmp_path / name)


# --- runs ---------------------------------------------------------------------------------------------------------


def test_several_runs_of_a_folder_stay_apart(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [*logged(30, "one"), *logged(20, "two", seed=1)])
    write_csv(tmp_path / "b.csv", csv_text(logged(10, "three", seed=2)))

    logs = read_runs(tmp_path)

    assert [(run.name, run.log, len(run)) for run in logs.runs] == [
        ("one", "a.jsonl", 30),
        ("two", "a.jsonl", 20),
        ("three", "b.csv", 10),
    ]
    assert (columns(logs.runs[0].steps) == columns(run_of(logged(30), "a").steps)).all()


def test_a_run_in_two_files_is_a_duplicate(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write_jsonl(tmp_path / name, logged(5))

    with pytest.raises(StepLogError, match=r"^b\.jsonl: run demo is in a\.jsonl too; remove one, or name the runs"):
        read_runs(tmp_path)


def test_rare_steps_far_apart_mix_no_units(tmp_path: Path) -> None:
    """A slow trickle of requests has steps a thousandth of the time between them, and nothing is wrong with it."""
    steps = [replace(step, end_s=step.end_s + (i // 4) * 5.0) for i, step in enumerate(logged(100))]

    assert len(read_runs(write_jsonl(tmp_path / "a.jsonl", steps)).runs[0]) == 100


# --- screening ----------------------------------------------------------------------------------------------------


def run_with(**values: object) -> Run:
    made = demo_run(100)
    steps = replace(made.steps, **{k: v for k, v in values.items() if k in ("tokens", "took_ms")})  # type: ignore[arg-type]
    return replace(made, steps=steps, **{k: v for k, v in values.items() if k in ("after_idle", "end_s")})  # type: ignore[arg-type]


MADE = demo_run(100)
AT_50 = np.arange(100) == 50
WARM_UP = {"warm-up (first 5)": 5}


@pytest.mark.parametrize(
    ("run", "dropped"),
    [
        pytest.param(MADE, WARM_UP, id="the first steps"),
        pytest.param(
            run_with(tokens=np.where(AT_50, 0, MADE.steps.tokens)), {"no tokens": 1, **WARM_UP}, id="no tokens"
        ),
        pytest.param(run_with(after_idle=AT_50), {**WARM_UP, "first after idle": 1}, id="after idle"),
        pytest.param(
            run_with(end_s=MADE.end_s + 60 * (np.arange(100) >= 50)),
            {**WARM_UP, "first after a pause of 10 s": 1},
            id="after a jump of the clock",
        ),
        pytest.param(
            run_with(took_ms=np.where(AT_50, 5000, MADE.steps.took_ms)),
            {**WARM_UP, "longer than since the step before": 1},
            id="longer than the clock says",
        ),
    ],
)
def test_steps_that_say_nothing_are_left_out_with_the_reason(run: Run, dropped: dict[str, int]) -> None:
    kept, left_out = screened(run)

    assert left_out == dropped
    assert len(kept) == 100 - sum(dropped.values())


def test_long_steps_are_kept_and_the_published_filter_drops_them() -> None:
    long = replace(
        MADE, end_s=MADE.end_s + 0.5 * np.arange(100), steps=replace(MADE.steps, took_ms=np.full(100, 450.0))
    )

    assert screened(long)[1] == WARM_UP
    assert screened(long, "published")[1] == {"above 300 ms": 100}


def test_steps_are_joined_in_order() -> None:
    steps = MADE.steps

    assert (columns(joined([steps.where(slice(0, 40)), steps.where(slice(40, None))])) == columns(steps)).all()
