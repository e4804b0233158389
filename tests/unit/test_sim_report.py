"""Several results as a table, and as a page that loads nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from builders import planner_settings

from planner.scaling.types import Role
from planner.sim.baselines.contenders import World, contenders
from planner.sim.compare import Played, play
from planner.sim.html import page, plotly_script
from planner.sim.ledger import Outcome, Quantiles
from planner.sim.loads import Level, drawn
from planner.sim.policies import Cause
from planner.sim.report import table
from planner.sim.run import Result, ScaleAction
from planner.slo.attainment import Attainment

WORLD = World(planner_settings(budget_gpus=8), list(drawn([Level(0.0, 180.0, 10.0, 3000, 150)], 1.0, seed=3)))


def outcome(met: int, missed: int, ttft_s: Quantiles | None, itl_s: Quantiles | None) -> Outcome:
    total = met + missed
    share = met / total if total else None
    return Outcome(total, total, 0, 0, Attainment(met=met, missed=missed), share, ttft_s, itl_s)


def played(name: str, met: int = 950, missed: int = 50, gpu_hours: float = 2.0, startup_s: float = 120.0) -> Played:
    latencies = Quantiles(0.05, 0.1, 1.25) if met + missed else None
    result = Result(
        seed=0, duration_s=3600.0, interval_s=30.0, outcome=outcome(met, missed, latencies, latencies),
        gpu_hours=gpu_hours, peak_gpus=4, actions=(), timeline=(),
    )  # fmt: skip
    return Played(name, startup_s, result, ())


def test_a_comparison_is_a_table_of_one_line_per_policy() -> None:
    assert table([played("planner"), played("static:7+3", met=0, missed=0, gpu_hours=10.0)]).splitlines() == [
        "policy      start-up s  good %  TTFT p50 ms  p95   p99  ITL p95 ms  GPU-hours  actions  good/GPU-hour",
        "planner            120    95.0           50  100  1250       100.0       2.00        0            475",
        "static:7+3         120       -            -    -     -           -      10.00        0              0",
    ]


def content(html: str) -> Any:
    """What the charts are drawn from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def visible(html: str) -> str:
    """The page without scripts and styles."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)


@pytest.fixture(scope="module")
def runs() -> list[Played]:
    return [play(contender, seed=0) for contender in contenders("planner,static:2+1", WORLD)]


def test_a_page_holds_everything_and_may_load_nothing(runs: list[Played]) -> None:
    html = page(runs, WORLD, "load.csv on a profile", plotly_script())

    assert "default-src 'none'" in html
    assert "Plotly" in html
    assert not re.search(r"\b(src|href)=", visible(html))
    assert "$" not in visible(html), "a placeholder was not filled"


def test_charts_show_load_forecast_replicas_and_latencies(runs: list[Played]) -> None:
    data = content(page(runs, WORLD, "load.csv", ""))

    planner, static = data["runs"]
    assert planner["at_s"] == [30.0 * tick for tick in range(1, 7)]
    assert planner["forecast"]["at_s"] == [30.0 * tick + 150.0 for tick in range(1, 7)]
    assert all(low <= high for low, high in zip(planner["forecast"]["low"], planner["forecast"]["high"], strict=True))
    assert static["forecast"]["point"] == []
    assert static["pools"]["prefill"] == {"wanted": [2] * 6, "ready": [2] * 6, "needed": [2] * 6}
    assert data["targets"] == {"ttft_ms": 200, "itl_ms": 20}
    assert [(point["name"], point["family"]) for point in data["frontier"]] == [
        ("planner", "planner"), ("static:2+1", "static"),
    ]  # fmt: skip


def test_a_manager_reads_one_sentence_and_one_table() -> None:
    made = [played("planner"), played("static:3+1", met=999, missed=1, gpu_hours=1.5), played("hpa:queue", met=1)]
    real = play(contenders("static:1+1", WORLD)[0], seed=0).result
    whole = [replace(one, result=replace(one.result, timeline=real.timeline)) for one in made]

    html = visible(page(whole, WORLD, "load.csv", ""))

    assert (
        "planner: 95.0% of 1,000 requests met both targets (first token within 200 ms, then a token every 20 ms); the "
        "objective of 95% was kept, with 2.00 GPU-hours in 1:00:00. Of the policies that kept it and could be run, "
        "static:3+1 was the cheapest, with 1.50 GPU-hours."
    ) in html
    row = re.search(r'<tr><th scope="row">static:3\+1</th>(.*?)</tr>', html)
    assert row is not None
    assert re.findall(r"<td[^>]*>(.*?)</td>", row.group(1)) == [
        "kept", "99.9%", "1.50", "-25%", "1.5", "4", "100.0 ms", "100.0 ms", "0", "666",
    ]  # fmt: skip


def test_start_up_times_are_told_apart_and_not_compared() -> None:
    real = play(contenders("static:1+1", WORLD)[0], seed=0).result
    made = [played("planner", gpu_hours=3.0), played("planner", gpu_hours=1.0, startup_s=0.0)]
    whole = [replace(one, result=replace(one.result, timeline=real.timeline)) for one in made]

    html = visible(page(whole, WORLD, "load.csv", ""))

    assert "planner, start-up 0 s" in html
    assert "was the cheapest" not in html
    assert "-67%" not in html


def test_decisions_are_listed_with_their_reasons_and_names_do_no_harm(runs: list[Played]) -> None:
    because = (Cause("forecast", "more than <b>usual</b>"), Cause("raise", "prefill: 1 -> 2", Role.PREFILL))
    action = ScaleAction(60.0, Role.PREFILL, 1, 2, because)
    run = replace(runs[0], name="</script>", result=replace(runs[0].result, actions=(action,)))

    html = page([run], WORLD, "<load>", "")

    assert content(html)["runs"][0]["name"] == "</script>"
    assert (
        '<tr><th scope="row">0:01:00</th><td>prefill</td><td>1 → 2</td><td>more than &lt;b&gt;usual&lt;/b&gt;</td></tr>'
    ) in html
    assert "&lt;load&gt;" in html


def test_a_fleet_that_never_scaled_says_so(runs: list[Played]) -> None:
    assert "<p>It never scaled.</p>" in page([runs[1]], WORLD, "load.csv", "")
