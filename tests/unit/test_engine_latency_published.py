"""The saturation model under its published interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planner.engine.latency.published import ThroughputSaturationModel
from planner.engine.latency.saturation import published_form
from planner.engine.latency.types import FitError
from planner.errors import UserError

TRUTH = (20.0, 0.3, 0.5, 0.5, 3.0, 4.0, 0.05, 0.6)


def frame(count: int = 300) -> dict[str, Any]:
    random = np.random.default_rng(0)
    batch = random.integers(1, 65, count).astype(float)
    tokens = batch + random.integers(0, 1000, count)
    time_ms = published_form(batch / np.median(batch), tokens / np.median(tokens), *TRUTH)
    return {"batch_size": batch, "total_tokens": tokens, "time_ms": time_ms}


def test_it_fits_predicts_and_tells_how_well() -> None:
    data = frame()

    model = ThroughputSaturationModel().fit(data)

    assert model.predict(batch_size=8, total_tokens=256) == pytest.approx(
        float(model.predict(np.array([8.0]), np.array([256.0]))[0])  # type: ignore[index]
    )
    assert model.predict(data["batch_size"], data["total_tokens"]) == pytest.approx(data["time_ms"], rel=0.05)
    assert model.quality.r2 == pytest.approx(1, abs=1e-3)
    assert model.residuals_ms == pytest.approx(
        data["time_ms"] - model.predict(data["batch_size"], data["total_tokens"])
    )
    assert isinstance(model.doubts, tuple)


def test_a_data_frame_under_the_symbols_is_as_good() -> None:
    import pandas as pd

    data = frame()
    renamed = pd.DataFrame({"B": data["batch_size"], "S": data["total_tokens"], "T": data["time_ms"]})

    assert ThroughputSaturationModel().fit(renamed).model == ThroughputSaturationModel().fit(data).model


def test_the_published_filter_drops_long_steps_and_can_be_switched_off() -> None:
    data = frame()
    data["time_ms"] = np.where(np.arange(300) < 100, 400.0, data["time_ms"])

    assert ThroughputSaturationModel().fit(data).quality.steps == 200
    assert ThroughputSaturationModel(keep="all").fit(data).quality.steps == 300


def test_contours_span_the_ranges_asked_for() -> None:
    figure = ThroughputSaturationModel().fit(frame()).plot_contour(batch_range=(1, 64), token_range=(1, 2048))

    axes = figure.axes[0]
    assert axes.get_xlim() == pytest.approx((1, 64))
    assert axes.get_ylim() == pytest.approx((1, 2048))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("requests", "tokens")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        pytest.param(
            lambda: ThroughputSaturationModel().predict(1, 1),
            r"^model: not fitted yet; call fit\(frame\) first$",
            id="predicted before fitted",
        ),
        pytest.param(
            lambda: ThroughputSaturationModel().fit({"batch_size": [1.0], "time_ms": [1.0]}),
            r"^total_tokens: no such column; name it total_tokens or S$",
            id="a column missing",
        ),
        pytest.param(
            lambda: ThroughputSaturationModel().fit(frame() | {"time_ms": np.full(300, np.nan)}),
            r"^time_ms: holds values that are not finite; remove those rows$",
            id="NaN",
        ),
        pytest.param(
            lambda: ThroughputSaturationModel().fit(frame(5)),
            r"^steps: 5 cannot tell 8 parameters; record more$",
            id="too few",
        ),
        pytest.param(
            lambda: ThroughputSaturationModel().fit(frame()).predict(0, 5),
            r"^batch_size, total_tokens: 0, 5 must be above zero$",
            id="no request",
        ),
    ],
)
def test_misuse_is_told(use: Callable[[], object], message: str) -> None:
    with pytest.raises(FitError, match=message):
        use()


def test_a_range_that_does_not_rise_is_told() -> None:
    model = ThroughputSaturationModel().fit(frame())

    with pytest.raises(UserError, match=r"^batch_range: \(0, 64\) must rise from above zero$"):
        model.plot_contour(batch_range=(0, 64))
