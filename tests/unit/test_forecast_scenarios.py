"""What the forecasters make of ramps, steps, gaps and recorded traffic."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import pytest

from planner.scaling.forecast import Forecast, Series, build

INTERVAL_S = 60.0
HORIZON_S = 180.0

reacting = pytest.mark.parametrize("name", ["constant", "moving-average", "kalman-level", "kalman", "arima"])


def forecast(name: str, values: list[float], without: range = range(0)) -> Forecast:
    kept = [cell for cell in range(len(values)) if cell not in without]
    history = Series(tuple(INTERVAL_S * cell for cell in kept), tuple(values[cell] for cell in kept))
    return build(name, INTERVAL_S).forecast(history, history.at_s[-1], HORIZON_S)


def ripple(cell: int) -> float:
    """Noise within 1 either way, the same every time."""
    return math.sin(cell * cell)


@pytest.mark.parametrize("name", ["kalman", "arima"])
def test_a_ramp_is_foreseen_and_not_followed_behind(name: str) -> None:
    ramp = [10 + 0.5 * cell + ripple(cell) for cell in range(120)]

    made = forecast(name, ramp)

    assert made.model == name
    assert made.point == pytest.approx(10 + 0.5 * (119 + 3), abs=1.0)


@reacting
def test_on_a_ramp_the_upper_quantile_covers_even_a_model_that_lags(name: str) -> None:
    ramp = [10 + 0.5 * cell + ripple(cell) for cell in range(120)]

    assert forecast(name, ramp).quantile(0.95) >= 10 + 0.5 * (119 + 3)


quick = pytest.mark.parametrize("name", ["constant", "moving-average", "kalman-level", "kalman"])

CALM = [10 + ripple(cell) for cell in range(105)]
"""Its last refit boundary is at cell 104: what comes in the next seven cells moves no parameters."""


@quick
def test_after_a_step_out_of_calm_the_new_level_is_foreseen_within_five_cells(name: str) -> None:
    stepped = CALM + [30 + ripple(cell) for cell in range(5)]

    assert forecast(name, stepped).point == pytest.approx(30, abs=6)


@quick
def test_after_a_gap_of_24_minutes_the_new_level_is_foreseen_within_two_cells(name: str) -> None:
    values = CALM + [30 + ripple(cell) for cell in range(26)]

    assert forecast(name, values, without=range(105, 129)).point == pytest.approx(30, rel=0.2)


@reacting
def test_a_gap_in_a_steady_level_leaves_no_trace(name: str) -> None:
    made = forecast(name, [10 + ripple(cell) for cell in range(130)], without=range(105, 129))

    assert made.point == pytest.approx(10, abs=1.5)


def test_arima_slow_to_take_a_step_is_set_aside_within_fifteen_cells() -> None:
    # Refit boundaries at cells 288 and 320: none sees the step.
    stepped = [10 + ripple(cell) for cell in range(300)] + [30 + ripple(cell) for cell in range(15)]

    made = forecast("arima", stepped)

    assert made.point == pytest.approx(30, abs=3)
    assert (made.model, made.why.partition(":")[0]) == ("constant", "arima set aside")


@reacting
def test_a_collapse_is_not_foreseen_to_go_below_nothing(name: str) -> None:
    falling = [max(0.0, 100.0 - 4 * cell) for cell in range(27)]

    made = forecast(name, falling)

    assert made.point >= 0
    assert made.quantile(0.05) == 0


@reacting
def test_after_hours_of_silence_hardly_anything_is_foreseen(name: str) -> None:
    silent = [20 + ripple(cell) for cell in range(60)] + [0.0] * 300

    made = forecast(name, silent)

    assert made.point == pytest.approx(0, abs=0.1)
    assert made.quantile(0.9) == pytest.approx(0, abs=0.1)


def minutes(shared_data: Path, file: str, column: str) -> list[float]:
    with gzip.open(shared_data / f"traces/minute/{file}.csv.gz", "rt") as rows:
        return [float(row[column]) for row in csv.DictReader(rows)]


@pytest.mark.parametrize("name", ["constant", "kalman"])
@pytest.mark.parametrize(
    ("file", "column", "stride"),
    [
        ("azure2024_code_reconstructed", "requests", 23),
        ("servegen_language_m-large", "requests", 47),
        ("sageserve_input_tokens_per_min_days0-3", "llama2-70b_prod", 13),
    ],
    ids=["azure2024", "servegen", "sageserve"],
)
def test_on_recorded_traffic_nine_tenths_of_values_stay_below_the_ninth_tenth(
    shared_data: Path, file: str, column: str, stride: int, name: str
) -> None:
    values = minutes(shared_data, file, column)
    origins = range(480, len(values) - 3, stride)
    forecaster = build(name, INTERVAL_S)

    covered = 0
    for origin in origins:
        at_s = tuple(INTERVAL_S * cell for cell in range(origin - 479, origin + 1))
        history = Series(at_s, tuple(values[origin - 479 : origin + 1]))
        covered += values[origin + 3] <= forecaster.forecast(history, at_s[-1], HORIZON_S).quantile(0.9)

    assert covered / len(origins) == pytest.approx(0.9, abs=0.05)
