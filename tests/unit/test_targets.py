import dataclasses
import math

import pytest

from planner.slo.targets import Targets


def test_milliseconds_of_the_user_become_seconds_of_the_core() -> None:
    targets = Targets(isl_tokens=1000, osl_tokens=200, ttft_ms=500, itl_ms=40)

    assert (targets.ttft_s, targets.itl_s) == (0.5, 0.04)


def test_the_mean_context_holds_half_of_the_output() -> None:
    assert Targets(isl_tokens=1000, osl_tokens=200, ttft_ms=500, itl_ms=40).context_tokens == 1100


def test_the_objective_defaults_to_95_percent() -> None:
    assert Targets(isl_tokens=1000, osl_tokens=200, ttft_ms=500, itl_ms=40).objective == 0.95


@pytest.mark.parametrize("name", ["isl_tokens", "osl_tokens", "ttft_ms", "itl_ms"])
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_refuses_a_length_or_latency_that_is_not_positive_and_finite(name: str, value: float) -> None:
    values = {"isl_tokens": 1000.0, "osl_tokens": 200.0, "ttft_ms": 500.0, "itl_ms": 40.0, name: value}

    with pytest.raises(ValueError, match=f"^{name}: {value!r} must be a positive, finite number; write what"):
        Targets(**values)


@pytest.mark.parametrize("objective", [0, 1, 95, -0.5, math.nan])
def test_refuses_an_objective_that_is_no_share(objective: float) -> None:
    with pytest.raises(ValueError, match=f"^objective: {objective!r} must lie between 0 and 1, .*write 0.95"):
        Targets(isl_tokens=1000, osl_tokens=200, ttft_ms=500, itl_ms=40, objective=objective)


def test_targets_are_a_value() -> None:
    targets = Targets(isl_tokens=1000, osl_tokens=200, ttft_ms=500, itl_ms=40)

    assert targets == Targets(isl_tokens=1000, osl_tokens=200, ttft_ms=500, itl_ms=40)
    with pytest.raises(dataclasses.FrozenInstanceError):
        targets.ttft_ms = 1.0  # type: ignore[misc]
