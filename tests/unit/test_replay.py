"""Recorded series through the real tick: orders, holds and totals, from the outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.cli.replay import command
from planner.config import settings_from_document
from planner.errors import UserError
from planner.journal import Journal
from planner.replay.accuracy import Accuracy, Forecasts
from planner.replay.fleet import AssumedPool
from planner.scaling.forecast.types import LEVELS, Forecast

CONFIG = """
sla: {isl: 2000, osl: 100, ttft: 500, itl: 50}
profile: h200-llama-3.1-8b-fp8-tp1
budget: {gpus: 64}
startup_s: 60
forecast: {model: constant, quantile: 0.5}
sizing: {method: throughput}
"""

# By the throughput formula one replica of this profile carries 20.6 req/s of prefill and 96.9 req/s of decode, so
# 30 req/s need 2 + 1 replicas and 120 req/s need 6 + 2.
POOLS = ",".join(
    f"{role}_{name}" for role in ("prefill", "decode") for name in ("wanted", "ready", "waiting", "running")
)
WHOLE = f"t,rate,isl,osl,ttft_ms,itl_ms,{POOLS}\n"
"""A header of all that must be known before anything is lowered."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PLANNER_CONFIG", raising=False)
    path = tmp_path / "planner.yaml"
    path.write_text(CONFIG)
    return path


def load(*rates: object) -> str:
    """A recording without a fleet; a row each 30 s."""
    rows = (f"{30 * n},{rate},2000,100" for n, rate in enumerate(rates))
    return "\n".join(["t,rate,isl,osl", *rows]) + "\n"


def replayed(config: Path, text: str, capsys: pytest.CaptureFixture[str], *arguments: str, as_json: bool = True) -> Any:
    path = config.parent / "recording.csv"
    path.write_text(text)
    command.main([str(path), "-c", str(config), *(["--json"] if as_json else []), *arguments], standalone_mode=False)
    out = capsys.readouterr().out
    return json.loads(out) if as_json else out


def orders(document: Any, role: str) -> list[tuple[int | None, int | None]]:
    """What stood and what was ordered, per tick."""
    return [(tick["pools"][role]["current"], tick["pools"][role]["ordered"]) for tick in document["ticks"]]


def codes(document: Any) -> list[set[str]]:
    return [{reason["code"] for reason in tick["reasons"]} for tick in document["ticks"]]


def test_orders_what_the_load_needs_and_lowers_a_window_after_it_fell(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = load(30, 30, 120, 120, *[30] * 5)

    document = replayed(config, text, capsys, "--startup", "600", "--set", "scaling.max_down_factor=1")

    assert orders(document, "prefill") == [(1, 2), (2, 2), (2, 6), (6, 6), (6, 6), (6, 6), (6, 6), (6, 2), (2, 2)]
    assert orders(document, "decode") == [(1, 1), (1, 1), (1, 2), (2, 2), (2, 2), (2, 2), (2, 2), (2, 1), (1, 1)]
    # In force: 2 GPUs until the first order, then 3 twice, 8 for five intervals and 3 for the last.
    assert document["gpu_hours"] == pytest.approx((2 + 3 * 2 + 8 * 5 + 3) * 30 / 3600)
    assert (document["peak_gpus"], document["changes"], document["held"]) == (8, 5, 0)


def test_a_blank_is_missing_and_holds_the_plan(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = replayed(config, load(30, "", "", 30), capsys)

    assert orders(document, "prefill") == [(1, 2), (2, None), (2, None), (2, 2)]
    assert [tick["rate_per_s"] for tick in document["ticks"]] == [30, None, None, 30]
    assert codes(document)[1] == {"no-demand"}
    assert document["ticks"][1]["reasons"][0]["text"] == "held: the load is unknown (blank in the recording)"
    assert document["held"] == 2


def test_a_recorded_zero_is_idle_and_may_lower(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = replayed(config, load(60, *[0] * 8), capsys, "--startup", "600")

    assert orders(document, "prefill")[0] == (1, 3)
    assert orders(document, "prefill")[-1] == (1, 1)


def test_a_gap_holds_the_plan_until_the_rows_go_on(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "t,rate,isl,osl\n0,30,2000,100\n30,30,2000,100\n150,120,2000,100\n180,120,2000,100\n"

    document = replayed(config, text, capsys)

    assert orders(document, "prefill") == [(1, 2), (2, 2), (2, None), (2, None), (2, None), (2, 6), (6, 6)]
    assert document["ticks"][3]["reasons"][0]["text"] == "held: the load is unknown (no row in the recording)"


def test_a_start_in_the_middle_lowers_nothing_for_a_window(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{30 * n},30,2000,100,100,10,6,6,0,0,2,2,0,0" for n in range(20)]

    document = replayed(config, WHOLE + "\n".join(rows) + "\n", capsys, "--from", "300")

    assert document["ticks"][0]["at_s"] == 330
    assert orders(document, "prefill")[:5] == [(6, 6), (6, 6), (6, 6), (6, 6), (6, 3)]


def test_a_recorded_fleet_does_not_follow_and_the_same_order_is_listed_once(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{30 * n},120,2000,100,100,10,4,4,0,0,2,2,0,0" for n in range(3)]

    document = replayed(config, WHOLE + "\n".join(rows) + "\n", capsys)

    assert orders(document, "prefill") == [(4, 6)] * 3
    assert document["changes"] == 1
    assert document["recorded_gpu_hours"] == pytest.approx(6 * 90 / 3600)
    assert document["gpu_hours"] == pytest.approx((6 + 8 + 8) * 30 / 3600)


def test_a_blank_count_leaves_that_pool_alone_and_a_blank_queue_lowers_nothing(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{30 * n},30,2000,100,100,10,6,6,0,0,2,2,0,0" for n in range(6)]
    rows += ["180,30,2000,100,100,10,6,6,,0,2,2,0,0", "210,30,2000,100,100,10,,6,0,0,2,2,0,0"]

    document = replayed(config, WHOLE + "\n".join(rows) + "\n", capsys)

    assert orders(document, "prefill")[5:] == [(6, 3), (6, 6), (None, None)]
    assert "doubt" in codes(document)[6]
    assert "no-replica-counts" in codes(document)[7]
    # The second doubt is decode's: one pool that cannot be seen is reason enough not to lower the other.
    assert (document["held"], document["doubted"]) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "last"),
    [pytest.param([], (6, 6), id="unknown"), pytest.param(["--assume-no-queue"], (6, 3), id="assumed empty")],
)
def test_a_recorded_fleet_of_unknown_queue_is_not_lowered_unless_it_is_assumed_empty(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], last: tuple[int, int]
) -> None:
    rows = [f"{30 * n},30,2000,100,6,6,2,2" for n in range(7)]
    header = "t,rate,isl,osl,prefill_wanted,prefill_ready,decode_wanted,decode_ready\n"

    document = replayed(config, header + "\n".join(rows) + "\n", capsys, *arguments)

    assert orders(document, "prefill")[-1] == last


def test_what_is_assumed_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "t,requests,isl\n0,1800,2000\n60,1800,2000\n"

    document = replayed(config, text, capsys)

    assert document["assumptions"] == [
        "prefill: no replicas are recorded; a fleet that follows the orders is assumed",
        "decode: no replicas are recorded; a fleet that follows the orders is assumed",
        "the output length is not recorded; the agreement's is sized for, and nothing is lowered",
        "latencies of this fleet are not recorded; the profile is taken as it is",
        "rows are 60 s apart; the interval of 30 s is widened to that",
    ]
    assert [tick["at_s"] for tick in document["ticks"]] == [60, 120]
    service = document["config"]["services"]["default"]
    assert (service["interval_s"], service["correction"]["enabled"]) == (60, False)


def test_recorded_latencies_of_a_recorded_fleet_correct_the_profile(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = replayed(
        config, f"{WHOLE}0,30,2000,100,100,10,2,2,0,0,1,1,0,0\n30,30,2000,100,100,10,2,2,0,0,1,1,0,0\n", capsys
    )

    assert document["config"]["services"]["default"]["correction"]["enabled"] is True


def test_the_text_lists_new_orders_and_all_decisions_on_request(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = load(30, 30, "")

    brief = replayed(config, text, capsys, as_json=False).splitlines()
    whole = replayed(config, text, capsys, "--verbose", as_json=False).splitlines()

    assert brief[4] == (
        "  0:00:30    30.00 req/s  prefill 1 -> 2      "
        "constant expects 30.00 req/s in 90 s; sized for its 50% quantile, 30.00 req/s (as configured)"
    )
    assert brief[5:] == [
        "cost       0.07 GPU-hours in 0:01:30, at most 3 GPUs",
        "decisions  3, one every 30 s: 1 new order, 1 held for missing data, 0 not lowered on doubt",
        "forecast   none could be compared with what came",
    ]
    assert [line.split()[0] for line in whole[4:7]] == ["0:00:30", "0:01:00", "0:01:30"]
    assert whole[6].endswith("prefill 2, decode 1  held: the load is unknown (blank in the recording)")


def test_every_decision_in_the_journal_is_explained_and_reproduces(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config.parent / "journal.jsonl"

    replayed(config, load(30, "", 120, 120), capsys, "--journal", str(path))

    journal = Journal.read(path)
    settings = settings_from_document(journal.config, journal.profiles)
    assert [tick.now_s for tick in journal] == [30, 60, 90, 120]
    assert all(journal.replay(n, settings).same for n in range(4))


def test_an_assumed_replica_is_ready_a_startup_later_and_the_newest_go_first() -> None:
    pool = AssumedPool(ready=1).ordered(3, now_s=30, startup_s=60)

    assert pool == AssumedPool(1, (90, 90))
    assert pool.at(89) == pool
    assert pool.at(90) == AssumedPool(3)
    assert pool.ordered(4, 60, 60).ordered(2, 60, 60) == AssumedPool(1, (90,))
    assert AssumedPool(3, (90,)).ordered(2, 60, 60) == AssumedPool(2)
    assert AssumedPool(3).ordered(3, 60, 60) == AssumedPool(3)


def forecast(point: float, median: float) -> Forecast:
    quantiles = tuple((level, median) for level in LEVELS)
    return Forecast("constant", "as configured", 0, 60, point, quantiles, errors=0, mean_abs_error=None)


def test_forecasts_are_judged_by_what_came_at_their_horizon() -> None:
    judged = Forecasts(quantile=0.5, interval_s=30)

    judged.add(forecast(10, 12), 99.0)
    judged.add(forecast(10, 12), 99.0)
    judged.add(None, 12.0)
    judged.add(forecast(10, 12), 14.0)
    judged.add(None, 99.0)
    judged.add(None, None)

    assert judged.accuracy() == Accuracy(
        forecasts=2, horizon_s=60, mean_abs_error=3, mean_rate=13, quantile=0.5, coverage=0.5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--from", "60", "--to", "30"], "--from, --to: 60 to 30 s is empty; the end must", id="backwards"),
        pytest.param(["--from", "60"], "60 to 60 s holds no whole interval of 30 s; widen the slice", id="beyond"),
        pytest.param(["--journal", "/dev/null/x"], "--journal: /dev/null/x cannot be written", id="journal"),
        pytest.param(["--profile", "h900"], "h900", id="unknown profile"),
    ],
)
def test_a_mistake_is_one_clear_line(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        replayed(config, load(30, 30), capsys, *arguments)

    assert message in str(raised.value)


def test_refuses_several_services(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(f"{CONFIG}services: {{one: {{}}, two: {{}}}}\n")

    with pytest.raises(UserError, match="services: one, two are too many; a recording is of one service"):
        replayed(config, load(30, 30), capsys)


@pytest.mark.parametrize("name", ["azure2024_code_reconstructed", "servegen_language_m-large"])
def test_half_a_day_of_a_production_trace_is_followed(
    shared_data: Path, config: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = shared_data / "traces" / "minute" / f"{name}.csv.gz"
    arguments = ["--gpus", "400", "--forecaster", "kalman", "--from", "86400", "--to", "129600", "--json"]

    command.main([str(path), "-c", str(config), *arguments], standalone_mode=False)

    document = json.loads(capsys.readouterr().out)
    assert len(document["ticks"]) == 720
    assert document["held"] == document["doubted"] == 0
    assert 0 < document["changes"] < 720
    assert document["forecast"]["forecasts"] == 718
    assert 0.4 < document["forecast"]["coverage"] < 0.7


def test_what_if_compares_two_settings_on_the_load_alone(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{30 * n},120,2000,100,100,10,4,4,0,0,2,2,0,0" for n in range(10)]
    text = WHOLE + "\n".join(rows) + "\n"

    document = replayed(config, text, capsys, "--what-if", "budget.gpus=5", "--what-if", "forecast.model=kalman")

    configured, otherwise = document["replays"].values()
    assert list(document["replays"]) == ["as configured", "if budget.gpus=5, forecast.model=kalman"]
    assert (configured["peak_gpus"], otherwise["peak_gpus"]) == (8, 5)
    assert configured["recorded_gpu_hours"] is None

    table = replayed(config, text, capsys, "--ttft", "500", "--what-if", "sla.ttft=400", as_json=False)
    assert "if sla.ttft=400" in table
    assert "GPU-hours  peak GPUs  new orders" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "^FILE, --prometheus: one of them", id="nothing"),
        pytest.param(["x.csv", "--prometheus"], "^FILE, --prometheus: one of them", id="both"),
        pytest.param(["x.csv", "--service", "chat"], "^--service: is for --prometheus", id="service of a file"),
        pytest.param(["--prometheus", "--service", "chat"], "^--service: 'chat' is not configured; there are default",
                     id="unknown service"),
        pytest.param(["x.csv", "--what-if", "sla.ttft"], "^--what-if: 'sla.ttft' must be PATH=VALUE", id="what-if"),
        pytest.param(["x.csv", "--what-if", "sla.ttft=1", "--journal", "j"], "^--journal: holds one replay",
                     id="journal"),
        pytest.param(["--prometheus"], "^prometheus.url: default has none", id="no Prometheus"),
        pytest.param(["--prometheus", "--from", "-10s"], "^--from, --to: -10s to now holds no whole interval",
                     id="short"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_one_error(config: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        command.main([*arguments, "-c", str(config)], standalone_mode=False)
