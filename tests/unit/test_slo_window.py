import math
import operator
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.slo.attainment import Attainment
from planner.slo.sketch import QuantileSketch
from planner.slo.window import RollingWindow, WindowError

SPAN_S, SLOTS = 30.0, 6
SLOT_S = SPAN_S / SLOTS
TIMES_S = st.lists(st.floats(0, 100), max_size=60)


def _largest(a: float, b: float) -> float:
    return max(a, b)


def _filled(at_s: Sequence[float]) -> RollingWindow[frozenset[float]]:
    """A window that holds its own times, so that a test sees which ones are in it."""
    window: RollingWindow[frozenset[float]] = RollingWindow(SPAN_S, SLOTS, frozenset.union)
    for time_s in at_s:
        window = window.add(time_s, frozenset({time_s}))
    return window


def test_attainment_of_the_last_half_minute() -> None:
    window = RollingWindow(30.0, 6, Attainment.__add__)
    for at_s in range(0, 60, 10):
        window = window.add(at_s, Attainment(met=9, missed=1))
    window = window.add(55.0, Attainment(missed=5))

    assert window.total(59.0) == Attainment(met=27, missed=8)
    assert window.total(74.0) == Attainment(met=18, missed=7)


def test_the_worst_delay_is_forgotten_once_it_is_older_than_the_span() -> None:
    window = RollingWindow(30.0, 6, _largest).add(1.0, 8.0).add(20.0, 2.0).add(21.0, 1.0)

    assert [window.total(now_s) for now_s in (21.0, 31.0, 36.0, 54.0)] == [8.0, 8.0, 2.0, 2.0]


def test_an_empty_window_has_no_total_which_is_not_zero() -> None:
    window = RollingWindow(30.0, 6, _largest)

    assert window.total(0.0) is None
    assert window.add(0.0, 1.0).total(1000.0) is None


def test_adding_leaves_the_window_before_as_it_was() -> None:
    before = RollingWindow(30.0, 6, operator.add).add(0.0, 1)

    assert before.add(1.0, 5).total(1.0) == 6
    assert before.total(1.0) == 1


def test_sketches_in_a_window_are_merged_not_changed() -> None:
    first, second = QuantileSketch(), QuantileSketch()
    first.add(1.0)
    second.add(3.0)
    window = RollingWindow(30.0, 6, QuantileSketch.__add__).add(0.0, first).add(1.0, second)

    merged = window.total(1.0)

    assert merged is not None
    assert (merged.count, merged.min, merged.max) == (2, 1.0, 3.0)
    assert (first.count, second.count) == (1, 1)


@given(at_s=TIMES_S.map(sorted), wait_s=st.floats(0, 100))
def test_a_reading_holds_the_whole_span_and_less_than_a_slot_more(at_s: list[float], wait_s: float) -> None:
    now_s = (at_s[-1] if at_s else 0.0) + wait_s

    held = _filled(at_s).total(now_s) or frozenset()

    rounding_s = 1e-9
    assert held >= {time_s for time_s in at_s if now_s - time_s <= SPAN_S - rounding_s}
    assert held <= {time_s for time_s in at_s if now_s - time_s < SPAN_S + SLOT_S + rounding_s}


@given(at_s=st.lists(st.floats(100, 100 + SPAN_S - SLOT_S), min_size=1, max_size=30), data=st.data())
def test_order_of_arrival_within_the_span_does_not_matter(at_s: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(at_s))

    assert _filled(shuffled) == _filled(at_s)


def test_steady_traffic_fills_every_slot_and_no_more() -> None:
    window = _filled([i * SLOT_S for i in range(20)])

    assert [number for number, _ in window.kept] == list(range(19 - SLOTS, 20))


@given(at_s=TIMES_S.map(sorted))
def test_memory_is_bounded_by_the_number_of_slots(at_s: list[float]) -> None:
    assert len(_filled(at_s).kept) <= SLOTS + 1


def test_refuses_a_value_older_than_what_is_kept() -> None:
    window = RollingWindow(30.0, 6, operator.add).add(62.0, 1)

    assert window.add(30.0, 1).total(62.0) == 2
    with pytest.raises(
        WindowError, match=r"^at_s: 29\.9 lies before the 30\.0 s kept, whose newest slot begins at 60\.0"
    ):
        window.add(29.9, 1)


@pytest.mark.parametrize("at_s", [math.nan, math.inf])
def test_refuses_a_time_that_is_not_finite(at_s: float) -> None:
    window = RollingWindow(30.0, 6, _largest)

    with pytest.raises(WindowError, match=f"^at_s: {at_s!r} must be a finite time$"):
        window.add(at_s, 1.0)
    with pytest.raises(WindowError, match=f"^at_s: {at_s!r} must be a finite time$"):
        window.total(at_s)


@pytest.mark.parametrize(
    ("span_s", "slots", "message"),
    [
        (0.0, 6, "^span_s: 0.0 must be a positive, finite number of seconds$"),
        (math.inf, 6, "^span_s: inf must be"),
        (math.nan, 6, "^span_s: nan must be"),
        (30.0, 0, "^slots: 0 must be at least 1$"),
    ],
)
def test_refuses_a_window_without_extent(span_s: float, slots: int, message: str) -> None:
    with pytest.raises(WindowError, match=message):
        RollingWindow(span_s, slots, _largest)
