"""Choosing among schedules for several targets."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.engine.pareto import choose_pareto_optimal, for_targets, pareto_optimal


@dataclass(frozen=True, slots=True)
class Option:
    predicted_ms: float
    tokens: int


FAST, MIDDLE, MOST = Option(20, 100), Option(30, 210), Option(50, 450)
BEATEN = Option(40, 200)


def test_one_schedule_is_made_for_each_published_target() -> None:
    assert for_targets(lambda target_ms: Option(target_ms, 1)) == (
        Option(20, 1), Option(30, 1), Option(40, 1), Option(50, 1),
    )  # fmt: skip


def test_what_another_beats_in_both_is_left_out() -> None:
    assert pareto_optimal([MOST, BEATEN, FAST, MIDDLE, FAST]) == (FAST, MIDDLE, MOST)


@pytest.mark.parametrize(
    ("latency_weight", "throughput_weight", "chosen"),
    [
        # 5, 7 and 9 tokens per ms; speeds 1, 2/3, 0 and gains 0, 1/2, 1 of the range.
        pytest.param(0.7, 0.3, FAST, id="published: 0.70, 0.62, 0.30"),
        pytest.param(0.55, 0.45, MIDDLE, id="0.55, 0.59, 0.45"),
        pytest.param(0.2, 0.8, MOST, id="0.20, 0.53, 0.80"),
    ],
)
def test_the_weights_decide(latency_weight: float, throughput_weight: float, chosen: Option) -> None:
    assert choose_pareto_optimal([MOST, MIDDLE, FAST], latency_weight, throughput_weight) == chosen


def test_of_none_none_is_chosen_and_of_one_that() -> None:
    assert choose_pareto_optimal(list[Option]()) is None
    assert choose_pareto_optimal([MIDDLE]) == MIDDLE
    assert choose_pareto_optimal([Option(0, 0)]) == Option(0, 0)


@given(st.lists(st.builds(Option, st.floats(0, 100), st.integers(0, 500)), min_size=1), st.floats(0.01, 1))
def test_the_choice_is_one_that_nothing_beats(options: list[Option], weight: float) -> None:
    chosen = choose_pareto_optimal(options, weight, 1 - weight)

    assert chosen in pareto_optimal(options)
