"""Policies side by side: the same load for all, in order, whatever the number of processes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest
from builders import planner_settings
from simulations import simulate_one, world_of

from planner.scaling.tick import PlannerState
from planner.scaling.types import Role
from planner.sim.baselines.contenders import Variation, World, contenders, planner
from planner.sim.compare import SCHEMA, compare, comparison_document, play
from planner.sim.loads import Level, Request, drawn
from planner.sim.policies import PlannerPolicy
from planner.sim.settings import fleet_as_configured


def world() -> World:
    levels = [Level(0.0, 120.0, 10.0, 3000, 150), Level(120.0, 240.0, 30.0, 3000, 150)]
    return world_of(planner_settings(budget_gpus=8), list(drawn(levels, 1.0, seed=3)))


def test_plays_what_simulate_plays() -> None:
    here = world()
    service = here.services["chat"]
    fleet = fleet_as_configured(service, here.conditions["chat"])

    played = play(planner(here))

    assert (played.name, played.variation) == ("planner", Variation())
    assert played.result == simulate_one(
        here.requests["chat"], PlannerPolicy(here.settings), fleet, service.targets, interval_s=30.0, gpus=8,
        service="chat",
    )  # fmt: skip


def test_keeps_what_each_tick_saw_and_expected() -> None:
    played = play(planner(world()))

    assert len(played.moments["chat"]) == len(played.result.only.timeline) == 8
    first = played.moments["chat"][0]
    assert first.ttft_s is not None
    assert 0.05 < first.ttft_s < 0.5
    assert first.itl_s is not None
    assert first.itl_s < 0.02
    assert [(m.forecast.at_s, m.forecast.horizon_s) for m in played.moments["chat"] if m.forecast] == [
        (30.0 * tick, 150.0) for tick in range(1, 9)
    ]


def test_what_does_not_forecast_has_no_forecast_and_silence_no_latency() -> None:
    (static,) = contenders("static:1+1", world_of(planner_settings(), [Request(0.0, 3000, 150), Request(65.0, 10, 1)]))

    moments = play(static).moments["chat"]

    assert [moment.forecast for moment in moments] == [None] * 3
    assert (moments[1].ttft_s, moments[1].itl_s) == (None, None)


def test_hands_the_planners_ticks_on() -> None:
    ticks: list[float] = []

    def record(before: PlannerState, samples: Any, result: Any) -> None:
        ticks.append(result.at_s)

    play(planner(world()), record=record)

    assert ticks == [30.0 * tick for tick in range(1, 9)]


def test_results_come_in_order_and_do_not_depend_on_the_number_of_processes() -> None:
    chosen = contenders("static:3,clairvoyant,planner", world())

    alone = list(compare(chosen, jobs=1))

    assert [one.name for one in alone] == ["static:1+2", "static:2+1", "clairvoyant", "planner"]
    assert list(compare(chosen, jobs=2)) == alone


def test_the_budget_binds_all_but_a_fixed_fleet() -> None:
    here = world_of(replace(world().settings, budget_gpus=3), world().requests["chat"])

    wide, hpa, clairvoyant = (play(one) for one in contenders("static:4+4,hpa:queue,clairvoyant", here))

    assert wide.result.peak_gpus == 8
    assert hpa.result.peak_gpus <= 3
    assert clairvoyant.result.peak_gpus <= 3


def test_a_clairvoyant_beats_the_published_formulas_on_a_step() -> None:
    step = [Level(0.0, 240.0, 3.0, 3000, 150), Level(240.0, 480.0, 30.0, 3000, 150)]
    here = world_of(planner_settings(), list(drawn(step, 1.0, seed=3)))

    published, clairvoyant = (play(one) for one in contenders("published,clairvoyant", here))

    assert clairvoyant.result.only.outcome.good_share == pytest.approx(1.0, abs=0.02)
    assert published.result.only.outcome.good_share is not None
    assert published.result.only.outcome.good_share < 0.9


def test_good_requests_are_counted_per_gpu_hour() -> None:
    (static,) = contenders("static:2+1", world())

    played = play(static)

    assert played.result.gpu_hours == pytest.approx(3 * 240 / 3600)
    assert played.good_per_gpu_hour == pytest.approx(played.result.only.outcome.attainment.met / 0.2)


def test_the_document_names_its_schema_and_survives_json() -> None:
    chosen = contenders("static:2+1,planner", world())

    document = comparison_document([play(one) for one in chosen])

    assert document["schema"] == SCHEMA
    runs = json.loads(json.dumps(document, allow_nan=False))["runs"]
    assert [run["policy"] for run in runs] == ["static:2+1", "planner"]
    assert set(runs[0]) == {
        "policy", "variation", "good_share", "gpu_hours", "good_per_gpu_hour", "peak_gpus", "duration_s",
        "interval_s", "services",
    }  # fmt: skip
    assert set(runs[0]["services"]["chat"]) == {"outcome", "gpu_hours", "actions"}


def test_needs_joblib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)

    with pytest.raises(ModuleNotFoundError, match="joblib"):
        compare(contenders("planner", world()))


def test_a_fixed_fleet_starts_as_asked() -> None:
    (static,) = contenders("static:2+1", world())

    pools = play(static).result.only.timeline[0].pools

    assert (pools[Role.PREFILL].ready, pools[Role.DECODE].ready) == (2, 1)
