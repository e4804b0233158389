import json
import math
from collections import Counter
from typing import Any

import ddsketch
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.slo.sketch import LARGEST, SMALLEST, QuantileSketch, SketchError

LATENCIES_S = st.floats(1e-6, 1e4)
VALUES = st.one_of(LATENCIES_S, st.just(0.0), st.floats(0, LARGEST))
ERRORS = st.sampled_from([0.001, 0.01, 0.05, 0.2])
QUANTILES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]))
ROUNDING = 1e-9
"""Room for the rounding of the logarithm at a bucket's edge."""


def _of(values: list[float], relative_error: float = 0.01, max_buckets: int = 2048) -> QuantileSketch:
    sketch = QuantileSketch(relative_error, max_buckets)
    for value in values:
        sketch.add(value)
    return sketch


def _counts(sketch: QuantileSketch) -> dict[str, object]:
    """The state without the sum, which alone depends on the order, by rounding."""
    return {name: value for name, value in sketch.to_dict().items() if name != "sum"}


# --- the bound --------------------------------------------------------------------------------------------------


@given(values=st.lists(VALUES, min_size=1, max_size=200), q=QUANTILES, relative_error=ERRORS)
def test_every_quantile_is_within_the_relative_error_of_the_exact_one(
    values: list[float], q: float, relative_error: float
) -> None:
    exact = float(np.quantile(values, q, method="lower"))

    estimate = _of(values, relative_error).quantile(q)

    assert estimate is not None
    assert abs(estimate - exact) <= exact * (relative_error + ROUNDING) + SMALLEST


@given(values=st.lists(VALUES, min_size=1, max_size=20), q=QUANTILES)
def test_every_quantile_lies_within_the_exact_minimum_and_maximum(values: list[float], q: float) -> None:
    estimate = _of(values, relative_error=0.2).quantile(q)

    assert estimate is not None
    assert min(values) <= estimate <= max(values)


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize(
    "values",
    [
        pytest.param(np.random.default_rng(1).lognormal(-1, 1, 20_000), id="lognormal"),
        pytest.param(np.random.default_rng(2).pareto(1.2, 20_000) + 1e-3, id="heavy tail"),
        pytest.param(np.full(20_000, 0.05), id="constant"),
        pytest.param(np.repeat([0.02, 5.0], 10_000), id="two far modes"),
    ],
)
def test_large_samples_keep_the_bound(values: np.ndarray[Any, np.dtype[np.float64]], q: float) -> None:
    exact = float(np.quantile(values, q, method="lower"))

    assert _of(values.tolist()).quantile(q) == pytest.approx(exact, rel=0.01 + ROUNDING)


@given(values=st.lists(LATENCIES_S, min_size=1, max_size=200), q=QUANTILES)
def test_agrees_with_the_reference_library(values: list[float], q: float) -> None:
    reference = ddsketch.DDSketch(0.01)
    for value in values:
        reference.add(value)
    theirs = reference.get_quantile_value(q)

    ours = _of(values).quantile(q)

    # The same bucket, but for a value at a bucket's edge, where the two logarithms may round apart; and ours is held
    # within the exact minimum and maximum.
    assert ours is not None
    assert theirs is not None
    assert ours == pytest.approx(theirs, rel=0.0202)
    assert ours == pytest.approx(min(max(theirs, min(values)), max(values)), rel=0.0202)


def test_agrees_with_the_reference_library_bucket_for_bucket_on_a_sample() -> None:
    values = np.random.default_rng(3).lognormal(-1, 1, 5_000).tolist()
    reference = ddsketch.DDSketch(0.01)
    for value in values:
        reference.add(value)

    ours = _of(values)

    for q in np.linspace(0.001, 0.999, 999).tolist():
        assert ours.quantile(q) == pytest.approx(reference.get_quantile_value(q), rel=1e-9)


# --- merging ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_buckets", [2048, 8, 1])
@given(data=st.data(), values=st.lists(VALUES, max_size=100), parts=st.integers(1, 5))
def test_merging_equals_adding_all_in_any_order(
    max_buckets: int, data: st.DataObject, values: list[float], parts: int
) -> None:
    shuffled = data.draw(st.permutations(values))
    merged = QuantileSketch(0.01, max_buckets)
    for part in range(parts):
        merged.merge(_of(shuffled[part::parts], 0.01, max_buckets))

    whole = _of(values, 0.01, max_buckets)

    assert _counts(merged) == _counts(whole)
    assert merged.sum == pytest.approx(math.fsum(values), rel=1e-9)


@given(a=st.lists(VALUES, max_size=30), b=st.lists(VALUES, max_size=30))
def test_a_sum_of_sketches_leaves_both_as_they_were(a: list[float], b: list[float]) -> None:
    left, right = _of(a), _of(b)

    both = left + right

    assert _counts(both) == _counts(_of(a + b))
    assert (left.to_dict(), right.to_dict()) == (_of(a).to_dict(), _of(b).to_dict())


def test_a_sketch_merged_with_itself_counts_double() -> None:
    sketch = _of([0.0, 1.0, 2.0])

    sketch.merge(sketch)

    assert _counts(sketch) == _counts(_of([0.0, 1.0, 2.0] * 2))


@given(values=st.lists(VALUES, min_size=1, max_size=20))
def test_a_weight_is_that_many_additions(values: list[float]) -> None:
    weighted = QuantileSketch()
    for value, weight in Counter(values + values[:1]).items():
        weighted.add(value, weight)

    assert _counts(weighted) == _counts(_of(values + values[:1]))


def test_refuses_to_merge_another_relative_error() -> None:
    sketch = _of([1.0])

    with pytest.raises(
        SketchError, match=r"^relative_error, max_buckets: 0\.02, 2048 cannot be merged into 0\.01, 2048;"
    ):
        sketch.merge(_of([1.0], 0.02))
    assert _counts(sketch) == _counts(_of([1.0]))


# --- limits -----------------------------------------------------------------------------------------------------


def test_an_empty_sketch_has_no_quantile_minimum_or_maximum() -> None:
    sketch = QuantileSketch()

    assert (sketch.quantile(0.5), sketch.min, sketch.max, sketch.count, sketch.sum) == (None, None, None, 0, 0.0)


def test_minimum_maximum_count_and_sum_are_exact() -> None:
    sketch = _of([0.25, 4.0, 1.0])
    sketch.add(0.5, weight=4)

    assert (sketch.min, sketch.max, sketch.count, sketch.sum) == (0.25, 4.0, 7, 7.25)


def test_zero_and_tiny_values_count_as_zero() -> None:
    sketch = _of([0.0, 1e-300, SMALLEST, 1.0])

    assert [sketch.quantile(q) for q in (0.0, 0.34, 0.67, 1.0)] == [0.0, 0.0, 0.0, 0.99]
    assert sketch.count == 4


@given(values=st.lists(VALUES, max_size=200), max_buckets=st.integers(1, 10))
def test_the_number_of_buckets_is_bounded(values: list[float], max_buckets: int) -> None:
    state = _of(values, 0.01, max_buckets).to_dict()

    assert isinstance(state["buckets"], list)
    assert len(state["buckets"]) <= max_buckets


@given(values=st.lists(LATENCIES_S, min_size=1, max_size=100), q=QUANTILES)
def test_a_full_sketch_errs_only_upwards_and_only_below_its_highest_buckets(values: list[float], q: float) -> None:
    max_buckets = 10
    exact = float(np.quantile(values, q, method="lower"))
    distinct = sorted(values)[-max_buckets:]

    estimate = _of(values, 0.01, max_buckets).quantile(q)

    assert estimate is not None
    assert estimate >= exact * (1 - 0.01 - ROUNDING)
    if exact >= distinct[0]:
        assert estimate <= exact * (1 + 0.01 + ROUNDING)


@pytest.mark.parametrize("value", [-1e-12, math.nan, math.inf, -math.inf, 2 * LARGEST])
def test_refuses_a_value_out_of_range_and_stays_as_it_was(value: float) -> None:
    sketch = _of([1.0])

    with pytest.raises(SketchError, match=rf"^value: {value!r} must lie in 0\.\.1e\+100; ".replace("e+", r"e\+")):
        sketch.add(value)
    assert sketch.to_dict() == _of([1.0]).to_dict()


@given(before=st.lists(VALUES, max_size=20), values=st.lists(VALUES, max_size=200), most=st.sampled_from([3, 2048]))
def test_adding_many_at_once_is_adding_them_one_by_one(before: list[float], values: list[float], most: int) -> None:
    together = _of(before, max_buckets=most)
    together.add_all(values)

    assert _counts(together) == _counts(_of([*before, *values], max_buckets=most))
    assert together.sum == pytest.approx(_of([*before, *values]).sum)


@pytest.mark.parametrize("value", [-1e-12, math.nan, math.inf, -math.inf, 2 * LARGEST])
def test_refuses_many_with_one_out_of_range_and_stays_as_it_was(value: float) -> None:
    sketch = _of([1.0])

    with pytest.raises(SketchError, match=rf"^value: {value!r} must lie in 0\.\.1e\+100; ".replace("e+", r"e\+")):
        sketch.add_all([2.0, value, 3.0])
    assert sketch.to_dict() == _of([1.0]).to_dict()


@pytest.mark.parametrize("weight", [0, -1])
def test_refuses_a_weight_below_one(weight: int) -> None:
    with pytest.raises(SketchError, match=f"^weight: {weight} must be at least 1"):
        QuantileSketch().add(1.0, weight)


@pytest.mark.parametrize("q", [-0.01, 1.01, 95, math.nan])
def test_refuses_a_quantile_that_is_no_share(q: float) -> None:
    with pytest.raises(SketchError, match=f"^q: {q!r} must lie in 0..1; write 0.95"):
        _of([1.0]).quantile(q)


@pytest.mark.parametrize("relative_error", [0.0, 1.0, -0.01, math.nan])
def test_refuses_a_relative_error_out_of_range(relative_error: float) -> None:
    with pytest.raises(SketchError, match=f"^relative_error: {relative_error!r} must lie in 0.0001..0.5"):
        QuantileSketch(relative_error)


def test_refuses_to_keep_no_bucket() -> None:
    with pytest.raises(SketchError, match=r"^max_buckets: 0 must be at least 1"):
        QuantileSketch(max_buckets=0)


# --- stored state -----------------------------------------------------------------------------------------------


@given(values=st.lists(VALUES, max_size=100), max_buckets=st.sampled_from([2048, 8]))
def test_the_state_survives_json(values: list[float], max_buckets: int) -> None:
    sketch = _of(values, 0.02, max_buckets)

    restored = QuantileSketch.from_dict(json.loads(json.dumps(sketch.to_dict(), allow_nan=False)))

    assert restored.to_dict() == sketch.to_dict()
    assert restored.count == sketch.count
    assert restored.quantile(0.9) == sketch.quantile(0.9)


def test_the_stored_form_is_pinned() -> None:
    assert _of([0.0, 1.0, 1.0, 2.5]).to_dict() == {
        "schema_version": 1,
        "relative_error": 0.01,
        "max_buckets": 2048,
        "zeros": 1,
        "sum": 4.5,
        "min": 0.0,
        "max": 2.5,
        "buckets": [[0, 2], [46, 1]],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"schema_version": 2}, "^schema_version: 2 is not 1; ", id="another version"),
        pytest.param({"schema_version": None}, "^schema_version: None is not 1; ", id="no version"),
        pytest.param({"relative_error": "1%"}, "^relative_error: '1%' must be a finite number", id="text for a number"),
        pytest.param({"relative_error": 0.9}, "^relative_error: 0.9 must lie in", id="relative error out of range"),
        pytest.param({"max_buckets": 2.5}, "^max_buckets: 2.5 must be a whole number", id="fraction of a bucket"),
        pytest.param({"zeros": -1}, "^zeros: -1 must be a whole number, not negative", id="negative count"),
        pytest.param({"zeros": True}, "^zeros: True must be a whole number", id="truth for a count"),
        pytest.param({"sum": math.nan}, "^sum: nan must be a finite number", id="sum is not a number"),
        pytest.param({"min": None}, "^min: None must be a finite number", id="no minimum"),
        pytest.param({"min": 3.0}, "^min: 3.0 lies above max = 2.5; ", id="minimum above maximum"),
        pytest.param({"buckets": None}, "^buckets: must be a list of at most 2048 ", id="no buckets"),
        pytest.param({"buckets": [[0, 1]] * 2049}, "^buckets: must be a list of at most 2048 ", id="too many buckets"),
        pytest.param({"buckets": [[0, 1], [0, 1]]}, r"^buckets: \[0, 1\] is no new \[key, count\] in ", id="key twice"),
        pytest.param({"buckets": [[10**9, 1]]}, r"^buckets: \[1000000000, 1\] is no new ", id="key out of range"),
        pytest.param({"buckets": [7]}, "^buckets: 7 is no new ", id="key without count"),
        pytest.param({"buckets": [[0, 0.5]]}, "^buckets: 0.5 must be a whole number", id="fraction of a count"),
    ],
)
def test_refuses_a_damaged_state(change: dict[str, object], message: str) -> None:
    with pytest.raises(SketchError, match=message):
        QuantileSketch.from_dict(_of([0.0, 1.0, 1.0, 2.5]).to_dict() | change)
