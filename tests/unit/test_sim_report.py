"""Results in words, and several of them as a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from builders import TARGETS
from results import ROW, outcome, played, played_services, result_of, service_result

from planner.scaling.types import Role
from planner.sim.compare import SCHEMA as COMPARISON_SCHEMA
from planner.sim.compare import Played, comparison_document
from planner.sim.policies import Cause
from planner.sim.report import clock, differing, in_percent, report, table
from planner.sim.run import SCHEMA
from planner.sim.stage import ScaleAction

KEEP = Cause("keep", "prefill: 1 is right", Role.PREFILL)
RAISE = Cause("raise", "prefill: 1 -> 2", Role.PREFILL)
FORECAST = Cause("forecast", "more is coming")


def test_one_service_is_told_in_lines() -> None:
    service = service_result(
        actions=(ScaleAction(60.0, Role.PREFILL, 1, 2, (FORECAST, RAISE)),),
        timeline=(replace(ROW, reasons=(FORECAST, KEEP)), replace(ROW, at_s=60.0, reasons=(FORECAST, RAISE))),
    )

    assert report(result_of({"chat": service}), {"chat": TARGETS}, all_actions=False).splitlines() == [
        "good       95.00% of 1000 requests met both targets, objective 95%",
        "TTFT       p50 50.0 ms, p95 100.0 ms, p99 1.25 s, target 200 ms",
        "ITL        p50 50.0 ms, p95 100.0 ms, p99 1.25 s, target 20 ms (a request's mean gap)",
        "cost       2.00 GPU-hours in 1:00:00, at most 4 GPUs",
        "requests   1000 arrived: 1000 finished, 0 refused as longer than the KV cache, 0 in flight",
        "in system  5.0 requests on average = 2.50/s x 2.00 s there",
        "reasons    in 2 decisions: forecast 2, keep 1, raise 1",
        "scaling    1 action",
        "  0:01:00  prefill 1 -> 2  more is coming",
    ]


def test_what_got_lost_or_was_thrown_out_is_told_where_it_happened() -> None:
    service = service_result(outcome=outcome(lost=3, preemptions=7))

    lines = report(result_of({"chat": service}), {"chat": TARGETS}, all_actions=False).splitlines()

    assert lines[4:6] == [
        "requests   1000 arrived: 1000 finished, 0 refused as longer than the KV cache, 3 lost with their replica, "
        "0 in flight",
        "preempted  7 times a full KV cache threw a request out",
    ]


def test_several_services_are_summed_and_then_told_one_by_one() -> None:
    services = {"chat": service_result(), "batch": service_result(0, 0, gpu_hours=1.5)}
    targets = {"chat": TARGETS, "batch": replace(TARGETS, ttft_ms=2000, objective=0.995)}

    assert report(result_of(services), targets, all_actions=False).splitlines() == [
        "good       95.00% of 1000 requests met both targets of their service",
        "cost       3.50 GPU-hours in 1:00:00, at most 4 GPUs",
        "",
        "chat",
        "  good       95.00% of 1000 requests met both targets, objective 95%",
        "  TTFT       p50 50.0 ms, p95 100.0 ms, p99 1.25 s, target 200 ms",
        "  ITL        p50 50.0 ms, p95 100.0 ms, p99 1.25 s, target 20 ms (a request's mean gap)",
        "  cost       2.00 GPU-hours",
        "  requests   1000 arrived: 1000 finished, 0 refused as longer than the KV cache, 0 in flight",
        "  in system  5.0 requests on average = 2.50/s x 2.00 s there",
        "  scaling    no actions",
        "",
        "batch",
        "  good       no requests to judge by both targets, objective 99.5%",
        "  TTFT       nothing finished, target 2000 ms",
        "  ITL        nothing finished, target 20 ms (a request's mean gap)",
        "  cost       1.50 GPU-hours",
        "  requests   0 arrived: 0 finished, 0 refused as longer than the KV cache, 0 in flight",
        "  in system  5.0 requests on average = 2.50/s x 2.00 s there",
        "  scaling    no actions",
    ]


def test_only_the_largest_actions_are_listed_unless_all_are_asked_for() -> None:
    actions = tuple(ScaleAction(30.0 * i, Role.PREFILL, 10, 10 + i, (RAISE,)) for i in range(1, 11))
    result = result_of({"chat": service_result(actions=actions)})

    brief = report(result, {"chat": TARGETS}, all_actions=False).splitlines()
    full = report(result, {"chat": TARGETS}, all_actions=True).splitlines()

    assert [line.strip() for line in brief[6:9]] == [
        "scaling    10 actions", "the 8 largest; --verbose lists all", "0:01:30  prefill 10 -> 13",
    ]  # fmt: skip
    assert (len(brief), len(full)) == (16, 17)


def test_a_comparison_is_a_table_of_one_line_per_policy() -> None:
    assert table([played("planner"), played("static:7+3", met=0, missed=0, gpu_hours=10.0)]).splitlines() == [
        "policy      good %  TTFT p50 ms  p95   p99  ITL p95 ms  GPU-hours  actions  good/GPU-hour",
        "planner       95.0           50  100  1250       100.0       2.00        0            475",
        "static:7+3       -            -    -     -           -      10.00        0              0",
    ]


def test_a_comparison_of_several_services_has_a_line_for_all_and_one_for_each() -> None:
    action = ScaleAction(30.0, Role.PREFILL, 1, 2, (RAISE,))
    services = {"chat": service_result(actions=(action,)), "batch": service_result(850, 150, gpu_hours=0.0)}

    assert table([played_services("planner", services)]).splitlines() == [
        "policy   service  good %  TTFT p50 ms  p95   p99  ITL p95 ms  GPU-hours  actions  good/GPU-hour",
        "planner  all        90.0            -    -     -           -       2.00        1            900",
        "planner  chat       95.0           50  100  1250       100.0       2.00        1            475",
        "planner  batch      85.0           50  100  1250       100.0       0.00        0              -",
    ]


@pytest.mark.parametrize(
    ("runs", "fields", "column"),
    [
        pytest.param([played("a", seed=4), played("b", seed=4)], [], [], id="alike"),
        pytest.param([played("a"), played("a", seed=1)], ["seed"], ["seed", "0", "1"], id="seeds"),
        pytest.param(
            [played("a", startup_s=60.0), played("a")],
            ["startup_s"],
            ["start-up s", "60", "configured"],
            id="start-up times",
        ),
        pytest.param([played("a"), played("a", scale=0.5)], ["scale"], ["load", "1", "0.5"], id="loads"),
    ],
)
def test_only_what_varies_has_a_column(runs: list[Played], fields: list[str], column: list[str]) -> None:
    assert differing(runs) == fields

    head, *lines = table(runs).splitlines()
    before = head.index("good %")
    assert [line[:before].split("  ", 1)[1].strip() for line in (head, *lines)] == (column or ["", "", ""])


@pytest.mark.parametrize(("share", "text"), [(0.95, "95%"), (0.995, "99.5%"), (0.07, "7%"), (0.9999, "99.99%")])
def test_a_promise_keeps_its_digits_and_gains_none(share: float, text: str) -> None:
    assert in_percent(share) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00:00"), (3599.6, "1:00:00"), (90061.0, "25:01:01")])
def test_times_are_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


SCHEMA_PAGE = Path(__file__).parents[2] / "docs" / "simulation-schema.md"


def fields(document: object) -> Iterator[str]:
    """Every key in a document but the names of services and roles."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            if key not in ("chat", *Role):
                yield key
            yield from fields(value)
    elif isinstance(document, list | tuple):
        for each in document:
            yield from fields(each)


def test_the_page_on_the_schema_names_every_field() -> None:
    row = replace(ROW, order={Role.PREFILL: 2}, reasons=(FORECAST,))
    action = ScaleAction(60.0, Role.PREFILL, 1, 2, (FORECAST,))
    run = replace(played("planner"), result=result_of({"chat": service_result(actions=(action,), timeline=(row,))}))

    page = SCHEMA_PAGE.read_text(encoding="utf-8")

    named = set(re.findall(r"`([a-z0-9_]+)`", page))
    assert {*fields(run.result.document()), *fields(comparison_document([run]))} - named == set()
    assert (f"`{SCHEMA}`" in page, f"`{COMPARISON_SCHEMA}`" in page) == (True, True)
