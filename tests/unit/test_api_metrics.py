"""The metrics: what each says, that nothing unknown becomes a number, and that their names keep to the rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from api_boards import Api, FakePlanner, blind, board, fake_planner, lines
from builders import h200, pool_samples, service_samples
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from planner.board import ServiceBoard, Totals
from planner.controls import Controls, Hold, Pause
from planner.scaling.cap import Budget
from planner.scaling.reading import Missing, Reading, Stale
from planner.scaling.types import Role
from planner.sources.types import Queries

PAUSE = Pause("ada", "load test", 50.0)


READINGS = ("rate", "isl", "osl", "ttft", "itl")


def scraped(planner: FakePlanner, queries: Callable[[], Queries] | None = None) -> dict[str, float]:
    """Samples by name and sorted labels."""
    found: dict[str, float] = {}
    for family in parse_text(Api(planner, queries=queries).get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "model")
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def full() -> FakePlanner:
    hold = Hold({Role.DECODE: 6}, 900.0, "ada", "launch", 50.0)
    controls = Controls(dry_run=PAUSE, paused={"chat": PAUSE}, holds={"chat": hold})
    return fake_planner("chat", budget=Budget(64, 4, 9, 8), controls=controls, trouble=("one", "two"))


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        ("ticks_total", 3),
        ("decisions_total{reason=forecast}", 7),
        ("tick_duration_seconds", 0.25),
        ("last_tick_timestamp_seconds", 60),
        ("next_tick_timestamp_seconds", 90),
        ("start_timestamp_seconds", 0),
        ("troubles", 2),
        ("dry_run", 1),
        ("budget_gpus{state=limit}", 64),
        ("budget_gpus{state=held}", 4),
        ("budget_gpus{state=wanted}", 9),
        ("budget_gpus{state=granted}", 8),
        ("service_health{service=chat,state=holding}", 1),
        ("service_health{service=chat,state=ok}", 0),
        ("service_paused{service=chat}", 1),
        ("service_held{service=chat}", 1),
        ("service_reason{reason=forecast,service=chat}", 1),
        ("request_rate{service=chat}", 90),
        ("observation_timestamp_seconds{service=chat}", 60),
        ("ttft_seconds{service=chat}", 0.065),
        ("ttft_target_seconds{service=chat}", 0.2),
        ("itl_seconds{service=chat}", 0.008),
        ("itl_target_seconds{service=chat}", 0.02),
        ("good_ratio{service=chat}", 0.97),
        ("objective_ratio{service=chat}", 0.95),
        ("replicas{pool=decode,service=chat,state=wanted}", 2),
        ("replicas{pool=decode,service=chat,state=ready}", 2),
        ("replicas{pool=decode,service=chat,state=starting}", 0),
        ("replicas{pool=decode,service=chat,state=pending}", 0),
    ],
)
def test_the_board_is_exported(sample: str, value: float) -> None:
    assert scraped(full())[f"sla_planner_{sample}"] == pytest.approx(value)


def test_every_sample_of_a_service_names_the_model_of_its_profile() -> None:
    model = h200().model
    for family in parse_text(Api(full()).get("/metrics").text):
        for sample in family.samples:
            assert ("service" in sample.labels) == ("model" in sample.labels), sample
            assert sample.labels.get("model", model) == model


def test_the_bounds_of_the_forecast_are_exported() -> None:
    found = scraped(full())

    assert found["sla_planner_forecast_band_request_rate{bound=low,service=chat}"] == 9.0
    assert found["sla_planner_forecast_band_request_rate{bound=high,service=chat}"] == 13.0


def test_what_the_decision_computed_is_exported_step_by_step() -> None:
    planner = full()
    decision = planner.made[-1].decision
    assert decision.sizing is not None
    assert decision.forecast is not None

    found = scraped(planner)

    pool, sized = decision.pools[Role.DECODE], decision.sizing.pools[Role.DECODE]
    steps = {"sized": sized.replicas, "bounded": pool.wanted, "granted": pool.granted, "ordered": pool.replicas}
    for step, count in steps.items():
        assert found[f"sla_planner_planned_replicas{{pool=decode,service=chat,step={step}}}"] == count
    assert found["sla_planner_demand_request_rate{service=chat}"] == pytest.approx(decision.sizing.demand.rate_per_s)
    assert found["sla_planner_forecast_request_rate{service=chat}"] == pytest.approx(decision.forecast.point)
    factors = decision.correction.factors
    assert found["sla_planner_correction_factor{latency=ttft,service=chat}"] == pytest.approx(factors.ttft)
    assert found["sla_planner_correction_factor{latency=itl,service=chat}"] == pytest.approx(factors.itl)


def test_what_is_not_known_is_left_out() -> None:
    planner = fake_planner("chat")
    unknown = board(lines("chat", samples={"chat": blind()}))
    shown = unknown.services["chat"]
    planner.shown = replace(unknown, services={"chat": replace(shown, points=())})

    names = {sample.split("{")[0] for sample in scraped(planner)}

    assert names & {
        "sla_planner_request_rate", "sla_planner_observation_timestamp_seconds", "sla_planner_ttft_seconds",
        "sla_planner_itl_seconds", "sla_planner_good_ratio", "sla_planner_demand_request_rate",
        "sla_planner_forecast_request_rate", "sla_planner_budget_gpus",
    } == set()  # fmt: skip
    assert "sla_planner_replicas" in names


def test_a_rate_that_is_stale_is_left_out_and_its_age_grows() -> None:
    planner = fake_planner("chat")
    line = planner.made[-1]
    seen = replace(line.decision.observation, rate_per_s=Stale(90.0, 60.0, "120 s old"))
    planner.shown = board([replace(line, decision=replace(line.decision, observation=seen))])

    found = scraped(planner)

    assert "sla_planner_request_rate{service=chat}" not in found
    assert found["sla_planner_observation_timestamp_seconds{service=chat}"] == 60


def test_before_the_first_tick_there_are_targets_and_no_measurements() -> None:
    planner = fake_planner("chat")
    planner.shown = replace(planner.shown, ticks=0, services={"chat": ServiceBoard(None, (), ())})
    planner.totals = lambda: Totals({}, None)  # type: ignore[method-assign]

    names = {sample.split("{")[0] for sample in scraped(planner)}

    assert names == {
        "sla_planner_build_info", "sla_planner_start_timestamp_seconds", "sla_planner_ticks_total",
        "sla_planner_next_tick_timestamp_seconds", "sla_planner_troubles", "sla_planner_dry_run",
        "sla_planner_service_health", "sla_planner_service_paused", "sla_planner_service_held",
        "sla_planner_ttft_target_seconds", "sla_planner_itl_target_seconds", "sla_planner_objective_ratio",
    }  # fmt: skip


def test_names_keep_to_the_rules_of_prometheus() -> None:
    api = Api(full(), queries=lambda: Queries(1, {"timeout": 0}, 0.5))
    families = list(parse_text(api.get("/metrics").text))

    assert len(families) > 20
    for family in families:
        assert re.fullmatch(r"sla_planner_[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|s|milliseconds|count|sum|bucket|gauge|counter)$", family.name)
        assert family.type in ("gauge", "counter"), family.name
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")


@pytest.mark.parametrize("reading", [Stale(0.065, 60.0, "120 s old"), Missing("status 503")], ids=["stale", "missing"])
def test_a_reading_that_is_not_valid_is_told_apart_from_a_service_that_is_gone(reading: Reading[float]) -> None:
    planner = fake_planner("chat")
    line = planner.made[-1]
    seen = replace(line.decision.observation, ttft_s=reading)
    planner.shown = board([replace(line, decision=replace(line.decision, observation=seen))])

    found = scraped(planner)

    readings = {name: found[f"sla_planner_reading_valid{{reading={name},service=chat}}"] for name in READINGS}
    assert readings == {"rate": 1, "isl": 1, "osl": 1, "ttft": 0, "itl": 1}


def test_what_was_asked_of_the_server_of_metrics_is_counted_by_what_became_of_it() -> None:
    queries = Queries(120, {"timeout": 3, "status": 0}, 4.5)

    found = scraped(fake_planner("chat"), lambda: queries)

    assert {name: value for name, value in found.items() if "_source_" in name} == {
        "sla_planner_source_queries_total": 120,
        "sla_planner_source_query_failures_total{cause=timeout}": 3,
        "sla_planner_source_query_failures_total{cause=status}": 0,
        "sla_planner_source_query_seconds_total": 4.5,
    }


def test_a_scraper_that_asks_for_openmetrics_gets_it() -> None:
    answer = Api(full()).get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = parse_openmetrics(answer.text)  # type: ignore[no-untyped-call]
    assert {family.name for family in families} > {"sla_planner_build", "sla_planner_ticks"}


def test_a_scraper_that_asks_for_nothing_gets_text() -> None:
    assert Api(full()).get("/metrics").headers["content-type"].startswith("text/plain; version=")


def test_failing_replicas_are_a_number_where_the_orchestrator_tells_and_else_left_out() -> None:
    told = service_samples(
        pools={Role.PREFILL: pool_samples(), Role.DECODE: pool_samples(wanted=3, starting=1, failing=1)}
    )
    decided = lines("chat", ticks=1, samples={"chat": told})
    found = scraped(FakePlanner(decided, board(decided)))

    assert found["sla_planner_replicas{pool=decode,service=chat,state=failing}"] == 1
    assert "sla_planner_replicas{pool=prefill,service=chat,state=failing}" not in found
