"""The fit of the published saturation form, by scipy; for tools, not for an engine's process.

As published: B and S scaled by their medians, initial values from the data, every parameter above zero, squared or
Huber loss of errors in ms. So long steps weigh most, and the form errs by a fifth on short ones.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np

from planner.engine.latency.saturation import Saturation, published_form
from planner.engine.latency.types import FitError, Seen
from planner.engine.step import Floats, Steps

Loss = Literal["squared", "huber"]
PARAMETERS = 8
_LEAST = 1e-9
_EVALUATIONS = 5000
_TOLERANCE = 1e-5
_HUBER_KNEE = 0.1
"""Of the median time: errors above count in proportion, below by their square."""


def fit_saturation(steps: Steps, loss: Loss = "squared") -> Saturation:
    """The eight parameters that err least on these steps.

    Raises FitError with fewer steps than parameters, for a step without requests or tokens, and when the fit does not
    settle.
    """
    import scipy.optimize

    if len(steps) < PARAMETERS:
        raise FitError(f"steps: {len(steps)} cannot tell {PARAMETERS} parameters; record more")
    if min(steps.requests.min(), steps.tokens.min()) <= 0:
        raise FitError("steps: some have no request or no token; leave those out")
    batch_median, tokens_median = float(np.median(steps.requests)), float(np.median(steps.tokens))

    def form(scaled: Floats, *parameters: float) -> Floats:
        return published_form(scaled[0], scaled[1], *parameters)

    # Its stubs do not know what it hands on to least_squares.
    curve_fit: Any = scipy.optimize.curve_fit
    try:
        with warnings.catch_warnings():
            # The covariance is not asked for; that it is singular follows from the redundant parameter.
            warnings.simplefilter("ignore", scipy.optimize.OptimizeWarning)
            found, _ = curve_fit(
                form,
                np.stack((steps.requests / batch_median, steps.tokens / tokens_median)),
                steps.took_ms,
                p0=initial_values(steps),
                bounds=(_LEAST, np.inf),
                loss="linear" if loss == "squared" else "huber",
                f_scale=_HUBER_KNEE * float(np.median(steps.took_ms)),
                # The valley is flat: further steps change R2 in the fifth digit.
                ftol=_TOLERANCE,
                max_nfev=_EVALUATIONS,
            )
    except RuntimeError as error:
        raise FitError("saturation: the fit does not settle on these steps; use another model") from error
    p_max, k_b, k_s, w_0, w_1, tau_0, tau_b, tau_s = found.tolist()
    return Saturation(p_max, k_b, k_s, w_0, w_1, tau_0, tau_b, tau_s, batch_median, tokens_median, seen=Seen.of(steps))


def initial_values(steps: Steps) -> tuple[float, ...]:
    """P_max, k_B, k_S, w_0, w_1, tau_0, tau_B, tau_S to begin with, as published."""
    scaled = steps.tokens / np.median(steps.tokens)
    spread = float(np.sum((scaled - scaled.mean()) ** 2))
    slope = float(np.sum((scaled - scaled.mean()) * steps.took_ms)) / spread if spread > 0 else 0.0
    values = (
        float(np.quantile(steps.tokens / steps.took_ms, 0.95)),
        *(0.1, 0.01, 0.1),
        slope,
        float(steps.took_ms.min()) / 2,
        *(1e-3, 1e-3),
    )
    return tuple(max(value, 2 * _LEAST) for value in values)


def physical_doubts(model: Saturation) -> tuple[str, ...]:
    """What the published checks find wrong with a fit, each in one line; none is an error by itself.

    Throughput should saturate within what was seen, be plausible, and the time should not fall as either grows.
    """
    doubts = []
    features = [ranges for ranges in model.seen.features.values() if ranges]
    if not 1 <= model.p_max <= 1000:
        doubts.append(
            f"P_max {model.p_max:.3g} tokens/ms lies outside 1 to 1000; only its ratio to w_0, w_1 has meaning"
        )
    for name, rate, median, feature in (
        ("k_B", model.k_b, model.batch_median, "requests"),
        ("k_S", model.k_s, model.tokens_median, "tokens"),
    ):
        most = max((ranges[feature].most for ranges in features), default=median)
        reached = -np.expm1(-rate * most / median)
        if reached < 0.5:
            doubts.append(f"{name} {rate:.3g}: throughput at the most {feature} seen is {reached:.0%} of its limit")
    if model.falls_to_tokens > min((ranges["tokens"].least for ranges in features), default=0.0):
        doubts.append(f"time falls up to {model.falls_to_tokens:.0f} tokens; levelled in use")
    return tuple(doubts)
