import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaincinv, ndtr

from planner.slo.attainment import Attainment, AttainmentError, Bounds, Standing

COUNTS = st.integers(0, 10_000)
ATTAINMENTS = st.builds(Attainment, met=COUNTS, missed=COUNTS, open=COUNTS)
CONFIDENCES = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])


def test_counts_verdicts() -> None:
    assert Attainment.of(["met", "open", "met", "missed"]) == Attainment(met=2, missed=1, open=1)


@given(a=ATTAINMENTS, b=ATTAINMENTS, c=ATTAINMENTS)
def test_attainments_add_up_in_any_order(a: Attainment, b: Attainment, c: Attainment) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Attainment() == a


@pytest.mark.parametrize(
    ("attainment", "share"),
    [
        pytest.param(Attainment(met=3, missed=1), 0.75, id="met over judged"),
        pytest.param(Attainment(met=3, missed=1, open=96), 0.75, id="open requests are not judged"),
        pytest.param(Attainment(missed=4), 0.0, id="none met is zero"),
        pytest.param(Attainment(open=4), None, id="none judged is not zero"),
    ],
)
def test_share(attainment: Attainment, share: float | None) -> None:
    assert attainment.share == share


# Figures of statsmodels 0.14 proportion_confint(..., method="wilson").
@pytest.mark.parametrize(
    ("met", "missed", "confidence", "expected"),
    [
        pytest.param(8, 2, 0.95, Bounds(0.490162, 0.943318), id="few"),
        pytest.param(950, 50, 0.95, Bounds(0.934686, 0.961870), id="many"),
        pytest.param(30, 0, 0.95, Bounds(0.886487, 1.0), id="all met"),
        pytest.param(0, 30, 0.95, Bounds(0.0, 0.113513), id="none met"),
        pytest.param(0, 0, 0.95, Bounds(0.0, 1.0), id="nothing judged"),
    ],
)
def test_wilson_bounds(met: int, missed: int, confidence: float, expected: Bounds) -> None:
    bounds = Attainment(met, missed).bounds(confidence)

    assert (bounds.lower, bounds.upper) == pytest.approx((expected.lower, expected.upper), abs=1e-6)


@given(met=st.integers(1, 10_000), missed=st.integers(1, 10_000), confidence=CONFIDENCES)
def test_each_bound_is_the_share_that_the_score_test_just_rejects(met: int, missed: int, confidence: float) -> None:
    n = met + missed
    bounds = Attainment(met, missed).bounds(confidence)

    for share in (bounds.lower, bounds.upper):
        z = abs(met / n - share) / math.sqrt(share * (1 - share) / n)
        assert 2 * ndtr(z) - 1 == pytest.approx(confidence, abs=1e-6)


@given(met=st.integers(20, 10_000), missed=st.integers(20, 10_000))
def test_wilson_bounds_lie_close_to_the_exact_ones(met: int, missed: int) -> None:
    exact_lower = betaincinv(met, missed + 1, 0.025)
    exact_upper = betaincinv(met + 1, missed, 0.975)

    bounds = Attainment(met, missed).bounds(0.95)

    assert bounds.lower == pytest.approx(exact_lower, abs=0.02)
    assert bounds.upper == pytest.approx(exact_upper, abs=0.02)


@given(attainment=ATTAINMENTS, confidence=CONFIDENCES)
def test_the_bounds_hold_the_share_and_stay_within_0_and_1(attainment: Attainment, confidence: float) -> None:
    bounds = attainment.bounds(confidence)

    assert 0 <= bounds.lower <= bounds.upper <= 1
    if attainment.share is not None:
        assert bounds.lower <= attainment.share <= bounds.upper


@pytest.mark.parametrize(
    ("attainment", "standing"),
    [
        pytest.param(Attainment(met=990, missed=10), "met", id="well above, many requests"),
        pytest.param(Attainment(met=900, missed=100), "violated", id="well below, many requests"),
        pytest.param(Attainment(met=950, missed=50), "undecided", id="at the objective"),
        pytest.param(Attainment(met=30), "undecided", id="all of too few met"),
        pytest.param(Attainment(met=73), "met", id="all of just enough met"),
        pytest.param(Attainment(met=72), "undecided", id="one fewer is not enough"),
        pytest.param(Attainment(met=1, missed=2), "violated", id="three requests may show a gross violation"),
        pytest.param(Attainment(open=1000), "undecided", id="nothing judged"),
    ],
)
def test_standing_of_a_95_percent_objective(attainment: Attainment, standing: Standing) -> None:
    assert attainment.standing(objective=0.95) == standing


@pytest.mark.parametrize("name", ["met", "missed", "open"])
def test_refuses_a_negative_count(name: str) -> None:
    with pytest.raises(AttainmentError, match=f"^{name}: -1 must not be negative$"):
        Attainment(**{name: -1})


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_refuses_a_confidence_that_is_no_share(confidence: float) -> None:
    with pytest.raises(AttainmentError, match=f"^confidence: {confidence!r} must lie between 0 and 1"):
        Attainment(met=1).bounds(confidence)


@pytest.mark.parametrize("objective", [0.0, 1.0, 95.0, math.nan])
def test_refuses_an_objective_that_is_no_share(objective: float) -> None:
    with pytest.raises(AttainmentError, match=f"^objective: {objective!r} must lie between 0 and 1"):
        Attainment(met=1).standing(objective)
