"""What every built-in forecaster promises, whatever its model."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from planner.scaling.forecast import BUILT_IN, LEVELS, Forecaster, Series, build

INTERVAL_S = 60.0
HORIZON_S = 180.0
START_S = 1_700_000_040.0

names = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.needs("prophet") if name == "prophet" else ()) for name in BUILT_IN]
)


def wavy(cells: int) -> list[float]:
    """A slow wave with noise that looks random and is not."""
    return [20 + 10 * math.sin(cell / 25) + 3 * math.sin(cell * cell) for cell in range(cells)]


def series(values: list[float], without: range = range(0), start_s: float = START_S) -> Series:
    """`values` one interval apart, but for the cells `without`."""
    kept = [cell for cell in range(len(values)) if cell not in without]
    return Series(tuple(start_s + INTERVAL_S * cell for cell in kept), tuple(values[cell] for cell in kept))


HISTORIES = {
    "one point": series([7.0]),
    "two points": series([3.0, 9.0]),
    "silence": series([0.0] * 40),
    "constant": series([5.0] * 60),
    "wave": series(wavy(150)),
    "gap of 24 cells": series(wavy(120), without=range(70, 94)),
    "every third cell missing": series(wavy(120), without=range(1, 119, 3)),
    "collapse": series([*wavy(80), 0.0, 0.0, 0.0]),
    "spike": series([*([1.0] * 50), 500.0, *([1.0] * 20)]),
    "steep ramp": series([1.2**cell for cell in range(50)]),
}
histories = pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())


def now_s(history: Series) -> float:
    return history.at_s[-1]


@names
def test_nothing_is_invented_from_an_empty_history(name: str) -> None:
    with pytest.raises(ValueError, match="history is empty"):
        build(name, INTERVAL_S).forecast(Series((), ()), 0.0, HORIZON_S)


@names
def test_goes_by_the_name_it_was_asked_for(name: str) -> None:
    assert build(name, INTERVAL_S).name == name


@names
def test_one_point_is_forecast_to_last_with_a_spread_assumed(name: str) -> None:
    made = build(name, INTERVAL_S).forecast(HISTORIES["one point"], START_S, HORIZON_S)

    assert made.point == pytest.approx(7.0)
    assert made.quantile(0.05) < 6.0
    assert made.quantile(0.95) > 8.0
    assert (made.errors, made.mean_abs_error) == (0, None)
    assert (made.at_s, made.horizon_s) == (START_S, HORIZON_S)


@names
@histories
def test_point_and_quantiles_are_ordered_and_within_bounds(name: str, history: Series) -> None:
    made = build(name, INTERVAL_S).forecast(history, now_s(history), HORIZON_S)

    levels, values = zip(*made.quantiles, strict=True)
    assert levels == LEVELS
    assert all(low <= high for low, high in pairwise(values))
    largest = 2 * max(history.values)
    assert all(0 <= value <= largest for value in (made.point, *values))


@names
def test_the_growth_cap_is_what_was_asked_for(name: str) -> None:
    history = HISTORIES["steep ramp"]

    made = build(name, INTERVAL_S, growth_cap=1.1).forecast(history, now_s(history), HORIZON_S)

    assert made.quantile(0.99) == pytest.approx(1.1 * history.values[-1])


@names
@pytest.mark.parametrize("level", [0.1, 5.0, 1e6])
def test_a_constant_history_is_forecast_to_stay(name: str, level: float) -> None:
    history = series([level] * 100)

    made = build(name, INTERVAL_S).forecast(history, now_s(history), HORIZON_S)

    assert made.point == pytest.approx(level, rel=1e-3)
    assert made.quantile(0.95) == pytest.approx(level, rel=1e-2)


@names
@histories
def test_another_forecaster_gives_the_same_forecast(name: str, history: Series) -> None:
    first, second = build(name, INTERVAL_S), build(name, INTERVAL_S)

    first.forecast(series(wavy(33)), START_S, HORIZON_S)

    assert first.forecast(history, now_s(history), HORIZON_S) == second.forecast(history, now_s(history), HORIZON_S)


IN_A_NEW_PROCESS = """
import sys
sys.path[:0] = sys.argv[1:3]
from planner.scaling.forecast import build
from test_forecaster_contract import HISTORIES, HORIZON_S, INTERVAL_S, now_s
history = HISTORIES["wave"]
for name in sys.argv[3:]:
    print(build(name, INTERVAL_S).forecast(history, now_s(history), HORIZON_S))
"""


def test_a_new_process_gives_the_same_forecast() -> None:
    history = HISTORIES["wave"]
    asked = [name for name in BUILT_IN if name != "prophet"]
    here = [str(build(name, INTERVAL_S).forecast(history, now_s(history), HORIZON_S)) for name in asked]

    folders = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, *folders, *asked]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert there == here


@names
@pytest.mark.parametrize("factor", [0.001, 60.0])
def test_another_unit_changes_only_the_unit(name: str, factor: float) -> None:
    history = HISTORIES["gap of 24 cells"]
    scaled = Series(history.at_s, tuple(factor * value for value in history.values))
    forecaster = build(name, INTERVAL_S)

    made = forecaster.forecast(history, now_s(history), HORIZON_S)
    made_scaled = forecaster.forecast(scaled, now_s(history), HORIZON_S)

    # Searches for parameters end within a tolerance, not at the same last digit.
    assert [value / factor for _, value in made_scaled.quantiles] == pytest.approx(
        [value for _, value in made.quantiles], rel=1e-3
    )


@names
def test_a_shift_of_whole_refit_periods_changes_only_the_time(name: str) -> None:
    early, late = series(wavy(150)), series(wavy(150), start_s=START_S + INTERVAL_S * 2**14)
    forecaster = build(name, INTERVAL_S)

    made = forecaster.forecast(late, now_s(late), HORIZON_S)
    expected = forecaster.forecast(early, now_s(early), HORIZON_S)

    assert made.at_s == now_s(late)
    assert [made.point, *dict(made.quantiles).values()] == pytest.approx(
        [expected.point, *dict(expected.quantiles).values()]
    )


@names
def test_jitter_of_the_clock_hardly_matters(name: str) -> None:
    steady = series(wavy(150))
    jittered = Series(tuple(at_s + 9 * math.sin(at_s) for at_s in steady.at_s), steady.values)
    forecaster = build(name, INTERVAL_S)

    made = forecaster.forecast(jittered, now_s(jittered), HORIZON_S)

    assert made.point == pytest.approx(forecaster.forecast(steady, now_s(steady), HORIZON_S).point, rel=0.05)


@names
def test_a_stale_history_is_forecast_over_the_longer_way(name: str) -> None:
    history = series(wavy(150))
    forecaster = build(name, INTERVAL_S)

    late = forecaster.forecast(history, now_s(history) + 5 * INTERVAL_S, HORIZON_S)
    far = forecaster.forecast(history, now_s(history), HORIZON_S + 5 * INTERVAL_S)

    assert late.quantiles == far.quantiles


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "prophet"])
def test_what_lies_beyond_the_cells_it_reads_changes_nothing(name: str) -> None:
    recent, older = wavy(480), [1e6] * 40
    long = series(older + recent)
    short = Series(long.at_s[40:], long.values[40:])
    forecaster: Forecaster = build(name, INTERVAL_S)

    assert forecaster.forecast(long, now_s(long), HORIZON_S) == forecaster.forecast(short, now_s(long), HORIZON_S)
