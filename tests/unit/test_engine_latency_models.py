"""Step-time models: what they predict, the largest chunk within a limit, and what a fit finds again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from step_logs import LINEAR, SEEN, decode_only

from planner.engine.latency.demo import NOISE, TRUTH, demo_run
from planner.engine.latency.linear import LinearPhysical, condition_of, fit_linear
from planner.engine.latency.roofline import Roofline, fit_roofline
from planner.engine.latency.saturation import Saturation, published_form
from planner.engine.latency.saturation_fit import fit_saturation, initial_values, physical_doubts
from planner.engine.latency.types import FEATURES, FitError, LatencyModel, Range, Seen
from planner.engine.step import Step, Steps

ROOF = Roofline(1.0, 0.05, 8.0, 0.01, 1e-4, 5e-6, (1, 2, 4, 8, 16, 32, 64), SEEN)
SATURATION = Saturation(20.0, 0.3, 0.5, 2.0, 3.0, 4.0, 0.05, 0.6, 10.0, 22.0, SEEN)
MODELS: list[LatencyModel] = [
    LINEAR,
    replace(LINEAR, pair_ms=0.0),
    replace(LINEAR, token_ms=0.0, pair_ms=0.0),
    ROOF,
    replace(ROOF, graph_sizes=(), weights_ms=0.0),
    SATURATION,
    replace(SATURATION, w_0=0.0),
    replace(SATURATION, tau_b=0.0),
    replace(SATURATION, w_1=0.0),
    replace(SATURATION, w_0=0.0, w_1=0.0),
]
NAMES = [
    *("linear", "linear without pairs", "linear without tokens", "roofline", "roofline without roof"),
    *("saturation", "saturation without w_0", "saturation without tau_B", "saturation without w_1"),
    "saturation without work",
]
any_model = pytest.mark.parametrize("model", MODELS, ids=NAMES)

COUNTS = st.integers(0, 4096)
STEPS = st.builds(Step, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 10**6), st.integers(0, 10**8))


def as_columns(steps: list[Step]) -> Steps:
    columns = {name: np.array([getattr(step, name) for step in steps], dtype=np.float64) for name in FEATURES}
    return Steps(**columns, took_ms=np.ones(len(steps)))


@any_model
@given(step=STEPS, more=st.fixed_dictionaries({name: st.integers(0, 5000) for name in FEATURES}))
def test_a_step_with_more_of_anything_is_never_predicted_shorter(
    model: LatencyModel, step: Step, more: dict[str, int]
) -> None:
    larger = Step(**{name: getattr(step, name) + more[name] for name in FEATURES})

    assert model.predict_ms(larger) >= model.predict_ms(step) * (1 - 1e-12)


@any_model
@given(steps=st.lists(STEPS, min_size=1, max_size=5))
def test_one_by_one_and_all_at_once_agree(model: LatencyModel, steps: list[Step]) -> None:
    assert model.predict_all_ms(as_columns(steps)) == pytest.approx([model.predict_ms(step) for step in steps])


@any_model
@given(
    step=STEPS,
    start=st.integers(0, 100_000),
    most=st.integers(0, 4096),
    limit_ms=st.floats(0.1, 2000, allow_nan=False),
)
def test_the_largest_chunk_fits_and_one_more_token_does_not(
    model: LatencyModel, step: Step, start: int, most: int, limit_ms: float
) -> None:
    chunk = model.largest_chunk(step, start, most, limit_ms)

    assert 0 <= chunk <= most
    if chunk > 0:
        assert model.predict_ms(step.plus_chunk(start, chunk)) <= limit_ms
    if chunk < most:
        assert model.predict_ms(step.plus_chunk(start, chunk + 1)) > limit_ms * (1 - 1e-9)


# --- linear-physical ----------------------------------------------------------------------------------------------


def test_linear_adds_what_the_step_computes() -> None:
    step = Step(requests=3, tokens=18, prefills=1, prefill_tokens=16, kv_tokens=500, pairs=136)

    assert LINEAR.predict_ms(step) == pytest.approx(6.0 + 0.03 * 18 + 0.02 * 3 + 1e-4 * 500 + 5e-6 * 136)


def test_a_linear_fit_finds_the_truth_behind_the_noise() -> None:
    fitted = fit_linear(demo_run(4000).steps)

    for name, tolerance in (("step_ms", 0.02), ("token_ms", 0.02), ("kv_token_ms", 0.02), ("pair_ms", 0.05)):
        assert getattr(fitted, name) == pytest.approx(getattr(TRUTH, name), rel=tolerance), name
    assert fitted.request_ms == pytest.approx(TRUTH.request_ms, rel=0.15)
    assert sum(fitted.seen.steps.values()) == 4000


def test_one_step_in_a_hundred_that_was_held_up_hardly_moves_a_linear_fit() -> None:
    steps = demo_run(4000).steps
    held_up = replace(steps, took_ms=np.where(np.arange(4000) % 100 == 0, steps.took_ms * 50, steps.took_ms))

    clean, disturbed = fit_linear(steps), fit_linear(held_up)

    moved = np.abs(disturbed.predict_all_ms(steps) / clean.predict_all_ms(steps) - 1)
    assert moved.max() < 0.05


@given(seed=st.integers(0, 1000), factor=st.floats(1e-3, 1e3))
def test_a_linear_fit_scales_with_the_time(seed: int, factor: float) -> None:
    steps = demo_run(60, seed).steps

    fitted = fit_linear(replace(steps, took_ms=steps.took_ms * factor))

    assert fitted.predict_all_ms(steps) == pytest.approx(fit_linear(steps).predict_all_ms(steps) * factor)


def test_condition_is_small_on_mixed_steps_and_infinite_or_huge_on_decode_alone() -> None:
    steps = demo_run(2000).steps

    assert 1 < condition_of(steps) < 20
    assert condition_of(decode_only(steps)) > 1e6
    assert condition_of(steps.where(slice(0, 0))) == np.inf


@pytest.mark.parametrize("fit", [fit_linear, fit_roofline], ids=["linear", "roofline"])
def test_no_step_is_no_model(fit: object) -> None:
    assert callable(fit)
    with pytest.raises(FitError, match=r"^steps: there are none; record some$"):
        fit(demo_run(60).steps.where(slice(0, 0)))


# --- roofline -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "roof_ms"),
    [
        pytest.param(1, 8.0, id="weights bind"),
        pytest.param(160, 8.0, id="at the knee"),
        pytest.param(200, 10.0, id="beyond it"),
    ],
)
def test_roofline_takes_the_weights_or_the_tokens(tokens: int, roof_ms: float) -> None:
    assert ROOF.predict_ms(Step(requests=1, tokens=tokens)) == pytest.approx(1.0 + 0.01 + roof_ms)


@pytest.mark.parametrize(
    ("tokens", "padded"),
    [pytest.param(1, 1, id="captured"), pytest.param(33, 64, id="padded"), pytest.param(65, 65, id="above all")],
)
def test_roofline_pads_to_the_next_captured_size(tokens: int, padded: int) -> None:
    computing = replace(ROOF, weights_ms=0.0)

    assert computing.predict_ms(Step(1, tokens)) == pytest.approx(1.0 + 0.01 + 0.05 * padded)


@pytest.mark.parametrize("sizes", [(), (1, 2, 4, 8, 16, 32, 64, 128)], ids=["eager", "graphs"])
def test_a_roofline_fit_finds_the_knee(sizes: tuple[int, ...]) -> None:
    truth = Roofline(1.0, 0.05, 0.05 * 128, 0.01, 1e-4, 5e-6, sizes, SEEN)
    shapes = demo_run(2000).steps
    steps = replace(shapes, took_ms=truth.predict_all_ms(shapes))

    fitted = fit_roofline(steps, sizes)

    assert fitted.predict_all_ms(steps) == pytest.approx(steps.took_ms, rel=1e-6)
    assert fitted.weights_ms == pytest.approx(truth.weights_ms)
    assert fitted.graph_sizes == sizes


def test_without_a_knee_roofline_is_the_linear_model() -> None:
    steps = demo_run(2000).steps

    linear, roof = fit_linear(steps), fit_roofline(steps)

    assert roof.predict_all_ms(steps) == pytest.approx(linear.predict_all_ms(steps), rel=2 * NOISE)


# --- saturation ---------------------------------------------------------------------------------------------------


def test_the_published_form_is_as_published() -> None:
    b, s = np.array([2.0]), np.array([3.0])
    throughput = 20 * (1 - np.exp(-0.3 * 2)) * (1 - np.exp(-0.5 * 3))

    found = published_form(b, s, 20.0, 0.3, 0.5, 2.0, 3.0, 4.0, 0.05, 0.6)

    assert found == pytest.approx(4 + (2 + 3 * 3) / throughput + 0.05 * 2 + 0.6 * 3)
    assert SATURATION.published_ms(b * 10, s * 22) == pytest.approx(found)


@given(b=st.floats(0.1, 100), s=st.floats(0.1, 100))
def test_levelled_it_is_never_above_the_published_form(b: float, s: float) -> None:
    """And equal where that does not fall any more."""
    batch, tokens = round(b * 10) or 1, round(s * 22) or 1
    levelled = SATURATION.predict_ms(Step(batch, tokens))
    published = float(SATURATION.published_ms(np.array(float(batch)), np.array(float(tokens))))

    assert levelled <= published * (1 + 1e-12)
    if batch > 400 and tokens > 200:
        assert levelled == pytest.approx(published)


def test_where_the_published_form_stops_falling_in_tokens_is_found() -> None:
    tokens = np.linspace(0.5, 400, 4000)
    work = SATURATION.w_0 + SATURATION.w_1 * tokens / 22
    least = tokens[np.argmin(work / -np.expm1(-0.5 * tokens / 22))]

    assert SATURATION.falls_to_tokens == pytest.approx(least, abs=0.2)


def test_only_ratios_to_p_max_enter() -> None:
    doubled = replace(SATURATION, p_max=40.0, w_0=4.0, w_1=6.0)
    steps = demo_run(50).steps

    assert doubled.predict_all_ms(steps) == pytest.approx(SATURATION.predict_all_ms(steps))


def test_initial_values_are_as_published() -> None:
    steps = demo_run(500).steps
    p_max, k_b, k_s, w_0, w_1, tau_0, tau_b, tau_s = initial_values(steps)

    assert (k_b, k_s, w_0, tau_b, tau_s) == (0.1, 0.01, 0.1, 1e-3, 1e-3)
    assert p_max == pytest.approx(np.quantile(steps.tokens / steps.took_ms, 0.95))
    assert tau_0 == pytest.approx(steps.took_ms.min() / 2)
    assert w_1 == pytest.approx(np.polyfit(steps.tokens / np.median(steps.tokens), steps.took_ms, 1)[0])


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_a_saturation_fit_predicts_what_follows_the_form(loss: str) -> None:
    shapes = demo_run(400).steps
    steps = replace(shapes, took_ms=SATURATION.published_ms(shapes.requests, shapes.tokens))

    fitted = fit_saturation(steps, "huber" if loss == "huber" else "squared")

    assert fitted.published_ms(steps.requests, steps.tokens) == pytest.approx(steps.took_ms, rel=0.02)
    assert all(value >= 0 for value in fitted.parameters().values())


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        pytest.param(demo_run(7).steps, r"^steps: 7 cannot tell 8 parameters; record more$", id="too few"),
        pytest.param(
            replace(demo_run(50).steps, tokens=np.zeros(50)),
            r"^steps: some have no request or no token; leave those out$",
            id="no tokens",
        ),
    ],
)
def test_what_cannot_be_fitted_by_saturation_is_told(steps: Steps, message: str) -> None:
    with pytest.raises(FitError, match=message):
        fit_saturation(steps)


def test_physical_checks_name_what_is_doubtful() -> None:
    doubtful = replace(SATURATION, p_max=5000.0, k_b=1e-4, w_0=10.0)

    assert physical_doubts(doubtful) == (
        "P_max 5e+03 tokens/ms lies outside 1 to 1000; only its ratio to w_0, w_1 has meaning",
        "k_B 0.0001: throughput at the most requests seen is 0% of its limit",
        "time falls up to 62 tokens; levelled in use",
    )
    assert physical_doubts(replace(SATURATION, w_0=0.0)) == ()


def test_saturation_refuses_a_divisor_of_zero() -> None:
    with pytest.raises(FitError, match=r"^k_b: 0.0 must be above zero; fit the model again$"):
        replace(SATURATION, k_b=0.0)


# --- what was seen ------------------------------------------------------------------------------------------------


def test_seen_holds_the_ranges_of_each_phase() -> None:
    steps = as_columns([Step(1, 1, kv_tokens=10), Step(4, 4, kv_tokens=90), Step(2, 17, 1, 16, 5, 136)])

    seen = Seen.of(steps)

    assert seen.steps == {"decode": 2, "mixed": 1}
    assert seen.features["decode"]["kv_tokens"] == Range(10, 90)
    assert seen.features["mixed"]["tokens"] == Range(17, 17)


def test_a_phase_that_was_not_seen_has_no_ranges() -> None:
    assert Seen.of(as_columns([Step(1, 1)])).features["mixed"] == {}


@pytest.mark.parametrize("model", [LINEAR, ROOF, SATURATION], ids=lambda model: model.name)
def test_parameters_make_the_model_again(model: LinearPhysical | Roofline | Saturation) -> None:
    assert type(model).from_parameters(model.parameters(), SEEN) == model
    assert list(model.parameters()) == list(type(model).UNITS)
