"""Runs as a page that loads nothing: its words, its tables, and what its charts are drawn from."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from builders import TARGETS, planner_settings, service_settings
from hypothesis import given
from hypothesis import strategies as st
from results import ROW, outcome, played, played_services, service_result
from simulations import world_of

from planner.scaling.types import Role
from planner.sim.baselines.contenders import World, contenders
from planner.sim.compare import Moment, Played, play
from planner.sim.html import page, plotly_script
from planner.sim.html.frontier import frontier, pareto
from planner.sim.html.verdict import verdict
from planner.sim.loads import Level, drawn
from planner.sim.policies import Cause
from planner.sim.settings import conditions_as_configured
from planner.sim.stage import ScaleAction

REQUESTS = list(drawn([Level(0.0, 180.0, 10.0, 3000, 150)], 1.0, seed=3))
WORLD = world_of(planner_settings(service_settings(name="chat"), budget_gpus=8), REQUESTS)
ONE = {"chat": TARGETS}
TWO = {"chat": TARGETS, "batch": replace(TARGETS, objective=0.8)}


def content(html: str) -> Any:
    """What the charts are drawn from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def visible(html: str) -> str:
    """The page without scripts and styles."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)


def rows(html: str) -> list[list[str]]:
    """The cells of the summary, row by row, its head first."""
    found = re.search(r'<table class="summary">(.*?)</table>', html, re.DOTALL)
    assert found is not None
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", found.group(1))]


def two_services() -> World:
    """A disaggregated and an aggregated service under one budget."""
    services = (service_settings("chat"), service_settings("batch", (Role.AGGREGATED,), targets=TWO["batch"]))
    settings = planner_settings(*services, budget_gpus=8)
    conditions = {service.name: conditions_as_configured(service) for service in services}
    return World(settings, {"chat": REQUESTS, "batch": REQUESTS[::2]}, conditions, 8)


@pytest.fixture(scope="module")
def runs() -> list[Played]:
    return [play(contender) for contender in contenders("planner,static:2+1", WORLD)]


def test_a_page_holds_everything_and_may_load_nothing(runs: list[Played]) -> None:
    html = page(runs, WORLD, "load.csv on a profile", plotly_script())

    assert "default-src 'none'" in html
    assert "Plotly" in html
    assert not re.search(r"\b(src|href)=", visible(html))
    assert "$" not in visible(html), "a placeholder was not filled"


def test_what_scrolls_can_be_reached_from_the_keyboard(runs: list[Played]) -> None:
    scrolling = re.findall(r'<div class="scroll"([^>]*)>', page(runs, WORLD, "load.csv", ""))

    assert scrolling
    assert all('tabindex="0"' in attributes and "aria-label=" in attributes for attributes in scrolling)


# --- what the charts show -----------------------------------------------------------------------------------------


def test_charts_show_truth_beside_what_the_metrics_said(runs: list[Played]) -> None:
    data = content(page(runs, WORLD, "load.csv", ""))

    planner, static = (run["services"]["chat"] for run in data["runs"])
    result, moments = runs[0].result.only, runs[0].moments["chat"]
    assert planner["at_s"] == [30.0 * tick for tick in range(1, 7)]
    assert planner["rate"] == [row.rate_per_s for row in result.timeline]
    assert planner["rate_seen"] == [moment.rate_per_s for moment in moments]
    assert planner["ttft_p95_ms"] == [row.ttft_p95_s and row.ttft_p95_s * 1000 for row in result.timeline]
    assert planner["ttft_seen_ms"] == [moment.ttft_s and moment.ttft_s * 1000 for moment in moments]
    assert planner["forecast"]["at_s"] == [30.0 * tick + 150.0 for tick in range(1, 7)]
    assert all(low <= high for low, high in zip(planner["forecast"]["low"], planner["forecast"]["high"], strict=True))
    assert static["forecast"] == {"at_s": [], "point": [], "low": [], "high": []}
    assert static["pools"]["prefill"] == {"ordered": [2] * 6, "ready": [2] * 6, "needed": [2] * 6}
    assert data["services"] == {"chat": {"ttft_ms": 200, "itl_ms": 20, "objective": 95, "quantile": 90}}


def test_what_is_missing_is_a_gap(runs: list[Played]) -> None:
    run = runs[0]
    silent = replace(run.result.only.timeline[1], good_share=None, ttft_p95_s=None, itl_p95_s=None)
    timeline = (run.result.only.timeline[0], silent, *run.result.only.timeline[2:])
    moments = (run.moments["chat"][0], Moment(None, None, None, None), *run.moments["chat"][2:])
    result = replace(run.result, services={"chat": replace(run.result.only, timeline=timeline)})

    drawn_from = content(page([replace(run, result=result, moments={"chat": moments})], WORLD, "load.csv", ""))

    seen = drawn_from["runs"][0]["services"]["chat"]
    gappy = ("rate_seen", "good", "ttft_p95_ms", "ttft_seen_ms", "itl_p95_ms", "itl_seen_ms")
    for name in gappy:
        assert [value is None for value in seen[name]] == [i == 1 for i in range(6)], name
    assert seen["forecast"]["at_s"] == [30.0 * tick + 150.0 for tick in range(1, 7)]
    for name in ("point", "low", "high"):
        assert [value is None for value in seen["forecast"][name]] == [i == 1 for i in range(6)], name


def test_what_is_needed_is_shown_for_the_load_it_was_computed_from() -> None:
    data = content(page([played("planner"), played("planner", seed=1)], WORLD, "load.csv", ""))

    here, elsewhere = (run["services"]["chat"]["pools"]["prefill"]["needed"] for run in data["runs"])
    assert (here, elsewhere) == ([2], None)


def test_services_have_charts_and_decisions_of_their_own() -> None:
    world = two_services()

    html = page([play(contender) for contender in contenders("planner,static:peak", world)], world, "loads", "")

    data = content(html)
    assert [list(run["services"]) for run in data["runs"]] == [["chat", "batch"]] * 2
    assert list(data["runs"][0]["services"]["chat"]["pools"]) == ["prefill", "decode"]
    assert list(data["runs"][0]["services"]["batch"]["pools"]) == ["aggregated"]
    assert re.findall(r'data-run="(\d)" data-service="(\w+)"', html) == [
        ("0", "chat"), ("0", "batch"), ("1", "chat"), ("1", "batch"),
    ]  # fmt: skip


# --- the frontier -------------------------------------------------------------------------------------------------


def test_the_frontier_has_a_point_per_run_over_all_services() -> None:
    services = {"chat": service_result(950, 50), "batch": service_result(700, 300, gpu_hours=1.0)}
    nothing = played_services("nothing", {"chat": service_result(0, 0), "batch": service_result(0, 0)})

    chart = frontier([played_services("hpa:queue", services), nothing], TWO)

    assert chart == {
        "objective": None,
        "variations": [""],
        "frontier": [{"name": "hpa:queue", "family": "hpa", "shape": 0, "gpu_hours": 3.0, "good": 82.5, "kept": False}],
        "sweeps": [],
    }


def test_runs_that_differ_only_in_numbers_are_joined_along_the_best_of_them() -> None:
    swept = [
        played("clairvoyant", 960, 40, gpu_hours=2.0),
        played("clairvoyant:0.5", 800, 200, gpu_hours=1.0),
        played("clairvoyant:0.6", 700, 300, gpu_hours=1.5),
        played("static:7+3", 900, 100, gpu_hours=10.0),
        played("static:8+2", 990, 10, gpu_hours=10.0),
        played("static:8+4", 1000, 0, gpu_hours=12.0),
        played("static:peak", 999, 1, gpu_hours=11.0),
        played("hpa:queue=2", 900, 100, gpu_hours=1.0),
        played("hpa:utilisation=0.7", 910, 90, gpu_hours=2.0),
        played("forecaster:arima", 900, 100, gpu_hours=1.0),
        played("forecaster:prophet", 910, 90, gpu_hours=2.0),
    ]

    chart = frontier(swept, ONE)

    assert chart["objective"] == 95.0
    assert chart["sweeps"] == [
        {"family": "clairvoyant", "shape": 0, "gpu_hours": [1.0, 2.0], "good": [80.0, 96.0]},
        {"family": "static", "shape": 0, "gpu_hours": [10.0, 12.0], "good": [99.0, 100.0]},
    ]


def test_a_sweep_never_joins_runs_of_different_worlds() -> None:
    chart = frontier([played("clairvoyant:0.5", 500, 500, gpu_hours=1.0), played("clairvoyant:0.9", seed=1)], ONE)

    assert chart["variations"] == ["seed 0", "seed 1"]
    assert chart["sweeps"] == []


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1))
def test_no_point_of_a_line_is_beaten_and_every_other_point_is(points: list[tuple[float, float]]) -> None:
    best = pareto(points)

    assert best == sorted(set(best))
    for cost, service in points:
        beaten = any(
            other_cost <= cost and other >= service and (other_cost, other) != (cost, service)
            for other_cost, other in points
        )
        assert ((cost, service) in best) == (not beaten)


# --- words and tables ---------------------------------------------------------------------------------------------


def test_a_manager_reads_what_was_kept_and_who_did_it_for_less() -> None:
    cheaper = played("static:3+1", met=999, missed=1, gpu_hours=1.5)

    assert verdict([played("planner"), cheaper, played("hpa:queue", met=1, gpu_hours=1.0)], ONE) == (
        "planner: 95.00% of 1,000 requests met both targets (first token within 200 ms, then a token every 20 ms); the "
        "objective of 95% was kept, with 2.00 GPU-hours in 1:00:00. Of the policies that kept the agreement and could "
        "be run, static:3+1 was the cheapest, with 1.50 GPU-hours."
    )


def test_a_manager_reads_how_each_service_did() -> None:
    services = {"chat": service_result(940, 60), "batch": service_result(900, 100)}

    assert verdict([played_services("planner", services)], TWO) == (
        "planner: 92.00% of 2,000 requests met both targets of their service, with 4.00 GPU-hours in 1:00:00. chat "
        "missed its objective of 95% with 94.00%. batch kept its objective of 80% with 90.00%."
    )


@pytest.mark.parametrize(
    ("others", "ending"),
    [
        pytest.param([], "in 1:00:00.", id="alone"),
        pytest.param([played("hpa:queue", gpu_hours=3.0)], "could be run, it was the cheapest.", id="cheapest"),
        pytest.param([played("clairvoyant", gpu_hours=0.1)], "in 1:00:00.", id="nobody can run the clairvoyant"),
        pytest.param(
            [played("planner", 1, 9, seed=1), played("hpa:queue", gpu_hours=0.1, seed=1)],
            "Of 2 runs of planner, 1 kept the agreement.",
            id="other seeds are counted and not compared with",
        ),
    ],
)
def test_the_verdict_compares_what_can_be_compared(others: list[Played], ending: str) -> None:
    assert verdict([played("planner"), *others], ONE).endswith(ending)


@pytest.mark.parametrize(
    ("runs", "targets", "text"),
    [
        pytest.param(
            [played("planner", 0, 0)], ONE, r"^Nothing finished, so there is nothing to judge\.$", id="nothing at all"
        ),
        pytest.param(
            [played_services("planner", {"chat": service_result(), "batch": service_result(0, 0)})],
            TWO,
            r"Nothing of batch finished\.$",
            id="nothing of one service",
        ),
        pytest.param(
            [played("planner", 1, 9), played("hpa:queue", 1, 9)],
            ONE,
            r"objective of 95% was missed, .* No policy that could be run kept the agreement\.$",
            id="kept by none",
        ),
    ],
)
def test_the_verdict_says_what_went_wrong(runs: list[Played], targets: Any, text: str) -> None:
    assert re.search(text, verdict(runs, targets))


def test_the_summary_has_a_row_per_run() -> None:
    html = page([played("planner"), played("static:3+1", 999, 1, gpu_hours=1.5)], WORLD, "load.csv", "")

    assert rows(html) == [
        ["Policy", "Agreement", "In time", "GPU-hours", "to the first policy", "GPUs on average", "GPUs at most",
         "TTFT p95", "ITL p95", "Scale actions", "In time per GPU-hour"],
        ["planner", "kept", "95.00%", "2.00", "-", "2.0", "4", "100.0 ms", "100.0 ms", "0", "475"],
        ["static:3+1", "kept", "99.90%", "1.50", "-25%", "1.5", "4", "100.0 ms", "100.0 ms", "0", "666"],
    ]  # fmt: skip


def test_the_summary_has_a_row_per_service_and_columns_for_mishaps() -> None:
    lossy = service_result(outcome=outcome(940, 60, lost=3))
    one_pool = replace(ROW, pools={Role.AGGREGATED: ROW.pools[Role.PREFILL]})
    services = {"chat": lossy, "batch": service_result(900, 100, gpu_hours=1.0, timeline=(one_pool,))}

    head, *body = rows(page([played_services("planner", services)], two_services(), "loads", ""))

    assert head[-2:] == ["In time per GPU-hour", "Lost"]
    assert body == [
        ["planner", "missed", "92.00%", "3.00", "-", "3.0", "4", "-", "-", "0", "613", "3"],
        ["chat", "missed", "94.00%", "2.00", "-", "2.0", "-", "100.0 ms", "100.0 ms", "0", "470", "3"],
        ["batch", "kept", "90.00%", "1.00", "-", "1.0", "-", "100.0 ms", "100.0 ms", "0", "900", "0"],
    ]


@pytest.mark.parametrize(
    ("variation", "label"),
    [
        ({"startup_s": 0.0}, "planner, start-up 0 s"),
        ({"seed": 7}, "planner, seed 7"),
        ({"scale": 1.5, "seed": 7}, "planner, load x 1.5, seed 7"),
    ],
)
def test_worlds_are_told_apart_and_not_compared(variation: Any, label: str) -> None:
    made = [played("planner", gpu_hours=3.0), played("planner", gpu_hours=1.0, **variation)]

    html = page(made, WORLD, "load.csv", "")

    assert [row[0] for row in rows(html)[2:]] == [label]
    assert [run["name"] for run in content(html)["runs"]][1] == label
    assert [row[4] for row in rows(html)[1:]] == ["-", "-"], "costs of different worlds were compared"


def test_decisions_are_listed_with_their_reasons_and_names_do_no_harm() -> None:
    because = (Cause("forecast", "more than <b>usual</b>"), Cause("raise", "prefill: 1 -> 2", Role.PREFILL))
    service = service_result(actions=(ScaleAction(60.0, Role.PREFILL, 1, 2, because),))

    html = page([played_services("</script>", {"chat": service})], WORLD, "<load>", "")

    assert content(html)["runs"][0]["name"] == "</script>"
    assert (
        '<tr><th scope="row">0:01:00</th><td>prefill</td><td>1 → 2</td><td>more than &lt;b&gt;usual&lt;/b&gt;</td></tr>'
    ) in html
    assert "&lt;load&gt;" in html


def test_a_fleet_that_never_scaled_says_so() -> None:
    assert "<p>It never scaled.</p>" in page([played("static:1+1")], WORLD, "load.csv", "")
