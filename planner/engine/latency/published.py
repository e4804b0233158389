"""The saturation model under its published interface.

    model = ThroughputSaturationModel().fit(frame)
    model.predict(batch_size=8, total_tokens=256)
    model.plot_contour(batch_range=(1, 64), token_range=(1, 2048))

A thin, mutable shell around `Saturation`, which is what an engine uses. `frame` is a pandas DataFrame or any mapping of
columns. Needs scipy to fit, and matplotlib to draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from planner.engine.latency.quality import Quality, quality
from planner.engine.latency.saturation import Saturation
from planner.engine.latency.saturation_fit import Loss, fit_saturation, physical_doubts
from planner.engine.latency.screen import PUBLISHED_MS
from planner.engine.latency.types import FitError
from planner.engine.step import Floats, Steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = {
    "batch_size": ("batch_size", "B"),
    "total_tokens": ("total_tokens", "S"),
    "time_ms": ("time_ms", "T_ms", "T"),
}


class ThroughputSaturationModel:
    """Fit, predict and draw; what it was fitted on and how well is kept beside."""

    def __init__(self, loss: Loss = "squared", keep: Literal["published", "all"] = "published") -> None:
        """`keep` is which steps to fit on: as published those of 1 to 300 ms, or all with a time above zero.

        The long ones are signal, and the published filter makes the model err on just those.
        """
        self._loss = loss
        self._keep = keep
        self._fitted: tuple[Saturation, Quality, Floats] | None = None

    def fit(self, frame: Mapping[str, Any]) -> Self:
        """Fit on the columns batch_size, total_tokens and time_ms (or B, S and T or T_ms), in requests, tokens and ms.

        Raises FitError for a column that lacks, a value that is not finite, and too few steps.
        """
        batch, tokens, took_ms = (_column(frame, name) for name in _COLUMNS)
        least, most = PUBLISHED_MS if self._keep == "published" else (np.finfo(float).tiny, np.inf)
        kept = (batch > 0) & (tokens > 0) & (took_ms >= least) & (took_ms <= most)
        batch, tokens, took_ms = batch[kept], tokens[kept], took_ms[kept]
        # The form asks for nothing else; tokens beyond one a request must be of prefills.
        chunks = np.maximum(tokens - batch, 0.0)
        none = np.zeros_like(batch)
        steps = Steps(batch, tokens, np.minimum(chunks, 1.0), chunks, none, none, took_ms)
        model = fit_saturation(steps, self._loss)
        predicted = model.published_ms(batch, tokens)
        self._fitted = model, quality(predicted, took_ms), took_ms - predicted
        return self

    def predict(self, batch_size: float | Floats, total_tokens: float | Floats) -> float | Floats:
        """The time of a step, ms, by the form as published; arrays give an array.

        Raises FitError before `fit`, and for a batch or tokens not above zero.
        """
        batch, tokens = np.asarray(batch_size, dtype=np.float64), np.asarray(total_tokens, dtype=np.float64)
        if not ((batch > 0).all() and (tokens > 0).all()):
            raise FitError(f"batch_size, total_tokens: {batch_size!r}, {total_tokens!r} must be above zero")
        time_ms = self.model.published_ms(batch, tokens)
        return float(time_ms) if time_ms.ndim == 0 else time_ms

    def plot_contour(self, batch_range: tuple[int, int] = (1, 64), token_range: tuple[int, int] = (1, 2048)) -> Figure:
        """Contours of the predicted time over batch sizes and tokens; both ends included.

        Raises FitError before `fit`, ModuleNotFoundError without matplotlib.
        """
        from planner.engine.latency.plot import contour

        model = self.model
        return contour(model.published_ms, "saturation as published", batch_range, token_range)

    @property
    def model(self) -> Saturation:
        """The fit as an immutable value."""
        return self._known()[0]

    @property
    def quality(self) -> Quality:
        """R2, RMSE, MAE and MAPE on the steps it was fitted on."""
        return self._known()[1]

    @property
    def residuals_ms(self) -> Floats:
        """Measured less predicted, of the steps it was fitted on."""
        return self._known()[2]

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the physical checks find wrong."""
        return physical_doubts(self.model)

    def _known(self) -> tuple[Saturation, Quality, Floats]:
        if self._fitted is None:
            raise FitError("model: not fitted yet; call fit(frame) first")
        return self._fitted


def _column(frame: Mapping[str, Any], name: str) -> Floats:
    for alias in _COLUMNS[name]:
        if alias in frame:
            values = np.asarray(frame[alias], dtype=np.float64)
            if not np.isfinite(values).all():
                raise FitError(f"{alias}: holds values that are not finite; remove those rows")
            return values
    raise FitError(f"{name}: no such column; name it {' or '.join(_COLUMNS[name])}")
