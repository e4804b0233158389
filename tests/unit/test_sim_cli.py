"""`planner simulate` from the outside: what it prints, and what a user's mistake costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner import cli

LOAD = "t,request_rate,isl,osl\n0,4,3000,150\n60,10,3000,150\n120,10,3000,150\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PLANNER_CONFIG", raising=False)
    path = tmp_path / "load.csv"
    path.write_text(LOAD)
    return path


def ran(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run `planner simulate`; its exit code."""
    monkeypatch.setattr("sys.argv", ["planner", "simulate", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_needs_no_configuration(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "--trace", str(load)) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{load} on h200-llama-3.1-8b-fp8-tp1, start-up 120 s, scaled by the planner"
    assert [line.split()[0] for line in lines[1:8]] == [
        "good", "TTFT", "ITL", "cost", "requests", "reasons", "scaling",
    ]  # fmt: skip


def test_prints_one_json_object_that_repeats(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "--trace", str(load), "--seed", "7", "--json") == 0
    first = capsys.readouterr().out
    assert ran(monkeypatch, "--trace", str(load), "--seed", "7", "--json") == 0

    assert capsys.readouterr().out == first
    document = json.loads(first)
    assert document["schema"] == "sla-planner/simulation/1"
    assert len(document["timeline"]) == document["duration_s"] / 30
    assert document["config"]["services"]["default"]["sla"]["ttft"] == 500


def test_a_static_fleet_stays_as_it_was_asked_for(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "--trace", str(load), "--static", "3,2") == 0

    out = capsys.readouterr().out
    assert "fixed at 3 prefill, 2 decode" in out
    assert "cost       0.25 GPU-hours in 0:03:00, at most 5 GPUs" in out


def test_a_static_peak_is_sized_from_the_trace(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "--trace", str(load), "--static", "peak", "--scale", "6") == 0

    assert "fixed at 4 prefill, 2 decode" in capsys.readouterr().out


def test_records_a_journal(load: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "run.jsonl"

    assert ran(monkeypatch, "--trace", str(load), "--journal", str(journal)) == 0

    kinds = [json.loads(line)["kind"] for line in journal.read_text().splitlines()]
    assert kinds == ["start", *["tick"] * 6]


def test_compares_policies_side_by_side(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = "planner,static:2+1,hpa:utilisation"

    assert ran(monkeypatch, "--trace", str(load), "--compare", specs, "--compare-startup", "0,60") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{load} on h200-llama-3.1-8b-fp8-tp1, TTFT 500 ms, ITL 50 ms, objective 95%"
    assert [line.split()[:2] for line in lines[2:]] == [
        [policy, startup] for startup in ("0", "60") for policy in specs.split(",")
    ]


def test_compares_one_of_each_kind_when_not_told_which(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "--trace", str(load), "--compare", "--json") == 0

    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "sla-planner/comparison/1"
    assert document["trace"] == str(load)
    assert [run["policy"] for run in document["runs"]] == [
        "planner", "published", "hpa:utilisation", "hpa:queue", "static:peak", "clairvoyant",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="one run"),
        pytest.param(["--static", "2,1"], id="a fixed fleet"),
        pytest.param(["--compare", "planner,clairvoyant"], id="a comparison"),
    ],
)
def test_writes_a_page(load: Path, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report.html"

    assert ran(monkeypatch, "--trace", str(load), "--report", str(report), *arguments) == 0

    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--trace", "absent.csv"], "error: absent.csv: cannot be read (No such file", id="no trace"),
        pytest.param(["--scale", "0"], "error: scale: 0.0 must be a positive, finite number", id="scale"),
        pytest.param(["--static", "3"], "error: --static: '3' must be peak, or a replica count of 1", id="one count"),
        pytest.param(["--static", "0,1"], "error: --static: '0,1' must be peak, or", id="zero replicas"),
        pytest.param(["--static", "a,b"], "such as 2,2", id="no numbers"),
        pytest.param(["--profile", "h900"], "h900", id="unknown profile"),
        pytest.param(["--static", "1,1", "--journal", "x"], "a static fleet decides nothing", id="static journal"),
        pytest.param(["--journal", "/dev/null/x"], "error: --journal: /dev/null/x cannot be written", id="journal"),
        pytest.param(["--gpus", "1"], "gpus", id="budget below the minima"),
        pytest.param(["--compare", "plannr"], "'plannr' is no policy; did you mean planner?", id="policy"),
        pytest.param(["--compare", "static:1"], "'static:1' is no fleet of prefill and decode", id="split"),
        pytest.param(["--compare", "planner", "--static", "1,1"], "--static: compare it with the", id="two ways"),
        pytest.param(["--compare", "planner", "--journal", "x"], "--journal: records one run", id="journal of many"),
        pytest.param(["--compare-startup", "0,60"], "--compare-startup: there is nothing to comp", id="no compare"),
        pytest.param(
            ["--compare", "planner", "--compare-startup", "0,-1"], "'0,-1' must be seconds of 0 or more", id="start-up"
        ),
        pytest.param(["--report", "/dev/null/x"], "error: --report: /dev/null/x cannot be written", id="report"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    load: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trace = [] if "--trace" in arguments else ["--trace", str(load)]

    assert ran(monkeypatch, *trace, *arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_refuses_to_play_several_services(
    load: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "two.yaml"
    config.write_text(
        "budget: {gpus: 8}\nprofile: h200-llama-3.1-8b-fp8-tp1\nsla: {isl: 3000, osl: 150, ttft: 500, itl: 50}\n"
        "services: {one: {}, two: {}}\n"
    )

    assert ran(monkeypatch, "--trace", str(load), "--config", str(config)) == 2

    assert "error: services: one, two are too many; a simulation plays one service" in capsys.readouterr().err
