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
    assert [line.split()[0] for line in lines[1:9]] == [
        "good", "TTFT", "ITL", "cost", "requests", "in", "reasons", "scaling",
    ]  # fmt: skip


def test_prints_one_json_object_that_repeats(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "--trace", str(load), "--seed", "7", "--json") == 0
    first = capsys.readouterr().out
    assert ran(monkeypatch, "--trace", str(load), "--seed", "7", "--json") == 0

    assert capsys.readouterr().out == first
    document = json.loads(first)
    assert document["schema"] == "sla-planner/simulation/2"
    assert len(document["services"]["default"]["timeline"]) == document["duration_s"] / 30
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
    assert document["schema"] == "sla-planner/comparison/2"
    assert document["traces"] == {"default": str(load)}
    assert [run["policy"] for run in document["runs"]] == [
        "planner", "published", "hpa:utilisation", "hpa:queue", "static:peak", "clairvoyant",
    ]  # fmt: skip


@pytest.mark.needs("dask")
def test_a_dask_cluster_gives_the_same_results(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from distributed import LocalCluster

    arguments = ["--trace", str(load), "--compare", "planner,static:2+1", "--json"]
    assert ran(monkeypatch, *arguments) == 0
    here = capsys.readouterr().out
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        assert ran(monkeypatch, *arguments, "--dask", cluster.scheduler_address) == 0

    assert capsys.readouterr().out == here


@pytest.mark.needs("dask")
def test_a_dask_scheduler_that_does_not_answer_is_one_line(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("planner.cli.simulate_compare._DASK_TIMEOUT_S", 0.2)

    assert ran(monkeypatch, "--trace", str(load), "--compare", "planner", "--dask", "tcp://127.0.0.1:9") == 2

    assert "error: --dask: no scheduler answers at 'tcp://127.0.0.1:9' (" in capsys.readouterr().err


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
        pytest.param(["--from", "9", "--to", "5"], "error: slice: 9.0 to 5.0 s is empty", id="slice"),
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
        pytest.param(["--compare-startup", "0,60"], "there is nothing to compare; add --compare", id="no compare"),
        pytest.param(
            ["--compare", "planner", "--compare-startup", "0,-1"], "'0,-1' must be numbers of 0 or more", id="start-up"
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


TWO_SERVICES = (
    "budget: {gpus: 8}\nprofile: h200-llama-3.1-8b-fp8-tp1\nsla: {isl: 3000, osl: 150, ttft: 500, itl: 50}\n"
    "services: {one: {}, two: {}}\n"
)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(TWO_SERVICES)
    return path


def test_plays_several_services_under_one_budget(
    load: Path, two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "-c", str(two), "--trace", f"one={load}", "--trace", f"two={load}", "--json") == 0

    document = json.loads(capsys.readouterr().out)
    assert document["traces"] == {"one": str(load), "two": str(load)}
    assert document["peak_gpus"] <= 8
    one, two_ = (document["services"][name] for name in ("one", "two"))
    assert one["outcome"]["arrived"] != two_["outcome"]["arrived"], "drawn apart"


def test_compares_several_services_loads_and_seeds(
    load: Path, two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--trace", f"one={load}", "--trace", "two=demo", "--compare", "static:peak"]
    varied = ["--compare-scale", "0.5,1", "--compare-seed", "0,1"]

    assert ran(monkeypatch, "-c", str(two), *arguments, *varied, "--json") == 0

    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["variation"]["seed"], run["variation"]["scale"]) for run in runs] == [
        (0, 0.5), (0, 1.0), (1, 0.5), (1, 1.0),
    ]  # fmt: skip
    assert len({run["services"]["one"]["outcome"]["arrived"] for run in runs}) == 4


def test_the_fleet_is_what_the_simulation_section_says(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = {
        "startup_s": "10", "crash_every_s": "60", "scrape_s": "15", "prefix_hit_rate": "0.5", "speeds": "[1, 0.9]",
        "routing": "power_of_two", "kv_transfer_tokens_per_s": "50000", "grace_s": "30", "outages": "[[60, 90]]",
    }  # fmt: skip
    settings = [part for name, value in truth.items() for part in ("--set", f"simulation.{name}={value}")]

    assert ran(monkeypatch, "--trace", str(load), "--static", "3,2", "--json", *settings) == 0

    outcome = json.loads(capsys.readouterr().out)["services"]["default"]["outcome"]
    assert outcome["lost"] > 0
    # Half of 3000 tokens, and moving them, against 63 ms for all of them.
    assert outcome["ttft_s"]["p50"] < 0.06


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "--trace: one, two has none; add --trace one=FILE, or one=demo", id="none"),
        pytest.param(["--trace", "x.csv"], "'x.csv' must name a service and its file, such as one=load", id="no name"),
        pytest.param(["--trace", "three=x"], "the services are one, two", id="unknown service"),
        pytest.param(["--trace", "one=a", "--trace", "one=b"], "one has two traces, a and b; give one", id="twice"),
        pytest.param(
            ["--trace", "one=demo", "--trace", "two=demo", "--static", "2,1"], "'2,1' is one fleet", id="one fleet"
        ),
    ],
)
def test_every_service_needs_a_trace_of_its_own(
    two: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "-c", str(two), *arguments) == 2

    assert message in capsys.readouterr().err


def test_plays_a_slice_of_a_trace(
    load: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, "--trace", str(load), "--from", "60", "--to", "120", "--json") == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["from_s"], document["to_s"], document["duration_s"]) == (60.0, 120.0, 60.0)


def test_rows_left_out_of_a_trace_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "burst.csv"
    trace.write_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "0,ChatGPT,10,20,30,Conversation log\n1,ChatGPT,10,0,10,Conversation log\n"
    )

    assert ran(monkeypatch, "--trace", str(trace)) == 0

    assert capsys.readouterr().err == f"note: {trace}: 1 failed requests (0 response tokens) left out\n"
