"""How far a step-time model may be believed: quality, margins, coverage, drift, and what the data lack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from step_logs import LINEAR, SEEN, decode_only

from planner.engine.latency.coverage import Gap, gap, knows
from planner.engine.latency.demo import NOISE, TRUTH, demo_run
from planner.engine.latency.drift import Drift, PhaseDrift, tracked_ms
from planner.engine.latency.evidence import Lack, evidence
from planner.engine.latency.fit import AS_PUBLISHED, compare
from planner.engine.latency.linear import fit_linear
from planner.engine.latency.quality import Quality, quality, quality_by_phase
from planner.engine.latency.residuals import (
    DEFAULT_MARGIN,
    DEFAULT_SPREAD,
    FEWEST,
    Residuals,
    residuals,
    share_within,
)
from planner.engine.latency.types import Phase, Range, Seen, phase_of
from planner.engine.step import Step

# --- quality ------------------------------------------------------------------------------------------------------


def test_quality_is_computed_as_it_is_named() -> None:
    assert quality(np.array([1.0, 3.0]), np.array([2.0, 4.0])) == Quality(
        steps=2, r2=0.0, rmse_ms=1.0, mae_ms=1.0, mape=(0.5 + 0.25) / 2
    )


def test_without_variance_there_is_no_r2() -> None:
    assert quality(np.array([1.0, 2.0]), np.array([2.0, 2.0])).r2 is None


def test_a_phase_without_steps_has_no_quality() -> None:
    steps = decode_only(demo_run(100).steps)

    assert list(quality_by_phase(steps.took_ms, steps)) == ["decode"]


# --- margins ------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 100), share=st.floats(0.5, 2.0))
def test_nineteen_steps_in_twenty_take_at_most_prediction_times_margin(seed: int, share: float) -> None:
    steps = demo_run(1000, seed).steps
    predicted_ms = TRUTH.predict_all_ms(steps) * share

    own = residuals(predicted_ms, steps)
    within = share_within(predicted_ms, steps, {phase: each.margin for phase, each in own.items()})

    assert all(each.margin >= 1 for each in own.values())
    assert all(each >= 0.95 for each in within.values())


def test_a_margin_is_the_one_sided_quantile_of_the_noise() -> None:
    steps = demo_run(20_000).steps

    own = residuals(TRUTH.predict_all_ms(steps), steps)

    assert own["decode"].margin == pytest.approx(math.exp(1.645 * NOISE), rel=0.005)
    assert own["mixed"].spread == pytest.approx(1.645 * NOISE, rel=0.05)


def test_too_few_steps_of_a_phase_have_the_default_margin() -> None:
    steps = decode_only(demo_run(400).steps).where(slice(FEWEST - 1))

    assert residuals(TRUTH.predict_all_ms(steps), steps) == {
        "decode": Residuals(FEWEST - 1, DEFAULT_MARGIN, DEFAULT_SPREAD),
        "mixed": Residuals(0, DEFAULT_MARGIN, DEFAULT_SPREAD),
    }


# --- coverage -----------------------------------------------------------------------------------------------------

INSIDE = Step(requests=8, tokens=8, kv_tokens=8000)
CHUNK = Step(requests=8, tokens=263, prefills=1, prefill_tokens=256, kv_tokens=8000, pairs=32_896)


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        pytest.param(INSIDE, None, id="decode inside"),
        pytest.param(CHUNK, None, id="chunk inside"),
        pytest.param(replace(INSIDE, requests=80, tokens=80), None, id="a quarter beyond"),
        pytest.param(
            replace(INSIDE, requests=81), Gap("decode", "requests", 81, Range(1, 64)), id="a batch never seen"
        ),
        pytest.param(replace(CHUNK, tokens=2561), Gap("mixed", "tokens", 2561, Range(16, 2048)), id="too many tokens"),
        pytest.param(replace(CHUNK, tokens=11), Gap("mixed", "tokens", 11, Range(16, 2048)), id="too few tokens"),
        pytest.param(replace(INSIDE, kv_tokens=5), None, id="less context than seen"),
        pytest.param(
            replace(INSIDE, kv_tokens=125_001),
            Gap("decode", "kv_tokens", 125_001, Range(100, 100_000)),
            id="more context",
        ),
    ],
)
def test_a_step_is_covered_near_what_was_seen(step: Step, wanted: Gap | None) -> None:
    assert gap(SEEN, step) == wanted


def test_decode_only_data_decide_no_chunk() -> None:
    seen = Seen.of(decode_only(demo_run(400).steps))

    assert not knows(seen, "mixed")
    assert gap(seen, replace(INSIDE, kv_tokens=20_000)) is None
    assert str(gap(seen, CHUNK)) == "mixed: 0 steps seen, 20 needed"


def test_a_gap_says_what_was_seen() -> None:
    assert str(gap(SEEN, replace(INSIDE, requests=200))) == "decode: requests 200, seen 1 to 64"


@given(seed=st.integers(0, 50), index=st.integers(0, 199))
def test_every_step_that_was_fitted_on_is_covered(seed: int, index: int) -> None:
    steps = demo_run(200, seed).steps

    assert gap(Seen.of(steps), steps.at(index)) is None


# --- drift --------------------------------------------------------------------------------------------------------

OWN: Mapping[Phase, Residuals] = {"decode": Residuals(1000, 1.1, 0.1), "mixed": Residuals(1000, 1.1, 0.1)}


def after(drift: Drift, ratio: float, steps: int) -> Drift:
    for _ in range(steps):
        drift = drift.after("decode", 10 * ratio, 10.0)
    return drift


def test_without_any_step_there_is_no_drift() -> None:
    assert (Drift().factor("decode"), Drift().factor("mixed"), Drift().drifted(OWN)) == (1.0, 1.0, ())


def test_a_lasting_change_is_followed_and_called_drift() -> None:
    drift = after(Drift(), 1.3, 200)

    assert drift.factor("decode") == pytest.approx(1.3, rel=1e-3)
    assert drift.drifted(OWN) == ("decode",)
    assert drift.factor("mixed") == 1.0


def test_what_lies_within_the_scatter_is_no_drift() -> None:
    assert after(Drift(), 1.09, 500).drifted(OWN) == ()


def test_a_few_steps_are_no_drift_yet() -> None:
    assert after(Drift(), 1.9, 49).drifted(OWN) == ()


def test_one_held_up_step_counts_as_double_at_most() -> None:
    assert Drift().after("mixed", 1e6, 1.0).mixed == PhaseDrift(1, 0.05 * math.log(2))


@given(st.lists(st.tuples(st.sampled_from(["decode", "mixed"]), st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))))
def test_the_factor_stays_between_a_half_and_two(samples: list[tuple[str, float, float]]) -> None:
    drift = Drift()
    for phase, took_ms, predicted_ms in samples:
        drift = drift.after("mixed" if phase == "mixed" else "decode", took_ms, predicted_ms)

    assert 0.5 <= drift.factor("decode") <= 2
    assert 0.5 <= drift.factor("mixed") <= 2


def test_following_a_machine_that_slows_down_mends_the_prediction() -> None:
    steps = demo_run(2000).steps
    slower = replace(steps, took_ms=steps.took_ms * np.linspace(1, 1.4, 2000))
    model = fit_linear(steps)

    followed = quality(tracked_ms(model, slower), slower.took_ms)

    assert quality(model.predict_all_ms(slower), slower.took_ms).mape > 0.13
    assert followed.mape < 0.04


def test_following_looks_at_no_step_before_it_was_measured() -> None:
    steps = demo_run(100).steps
    changed = replace(steps, took_ms=np.where(np.arange(100) >= 60, steps.took_ms * 2, steps.took_ms))

    first, second = tracked_ms(LINEAR, steps), tracked_ms(LINEAR, changed)

    assert first[:61] == pytest.approx(second[:61])
    assert (second[70:] > first[70:]).all()


# --- what the data lack -------------------------------------------------------------------------------------------


def test_mixed_steps_of_many_sizes_lack_nothing() -> None:
    found = evidence(demo_run(1000).steps)

    assert found.lacks == ()
    assert found.supports_a_model
    assert found.condition < 20


def test_decode_only_supports_a_model_and_no_chunk() -> None:
    found = evidence(decode_only(demo_run(1000).steps))

    assert found.supports_a_model
    assert found.lacks == (
        Lack(
            "remark",
            "decode only (0 steps with prefill): the data cannot support chunk decisions",
            "record while prompts arrive",
        ),
    )


def test_one_batch_size_supports_no_model() -> None:
    alike = decode_only(demo_run(1000).steps)
    alike = replace(alike, requests=np.full(len(alike), 8.0), tokens=np.full(len(alike), 8.0))

    found = evidence(alike)

    assert not found.supports_a_model
    assert found.lacks[0] == Lack(
        "problem",
        "one batch size (8 requests, 8 tokens): the cost of a step, of a request and of a token cannot be told apart",
        "record under changing load",
    )


def test_too_few_steps_support_no_model() -> None:
    found = evidence(demo_run(49).steps)

    assert found.lacks == (Lack("problem", "49 steps, 50 needed", "record for longer"),)
    assert not found.supports_a_model


def test_prefill_only_is_told() -> None:
    steps = demo_run(1000).steps

    found = evidence(steps.where(steps.mixed))

    assert [lack.text for lack in found.lacks] == [
        "prefill only (0 decode-only steps): the data cannot support decisions on decode steps"
    ]


def test_sizes_that_move_together_are_told() -> None:
    steps = demo_run(1000).steps
    together = replace(steps, kv_tokens=steps.requests * 1000, tokens=steps.requests)

    assert [lack.text.split(" (")[0] for lack in evidence(together).lacks] == ["sizes move together"]


# --- all models at once -------------------------------------------------------------------------------------------


def test_all_models_are_compared_on_steps_they_were_not_fitted_on() -> None:
    train, test = demo_run(1000, 1).steps, demo_run(500, 2).steps

    compared, failed = compare(("linear-physical", "roofline", "saturation"), train, test)

    assert failed == {}
    assert list(compared) == ["linear-physical", "roofline", "saturation", AS_PUBLISHED]
    assert {each.test.steps for each in compared.values()} == {500}
    assert compared["linear-physical"].test.mape < 0.03
    assert compared["saturation"].test.mape > 0.05


def test_decode_alone_fits_all_but_the_saturation_form() -> None:
    steps = decode_only(demo_run(1000).steps)

    compared, failed = compare(("linear-physical", "roofline", "saturation"), steps, steps)

    assert list(compared) == ["linear-physical", "roofline"]
    assert failed == {
        "saturation": "saturation: decode alone (S = B) cannot tell its parameters apart; record prefills as well"
    }


def test_a_step_with_any_prefill_is_mixed() -> None:
    assert (phase_of(INSIDE), phase_of(CHUNK)) == ("decode", "mixed")
