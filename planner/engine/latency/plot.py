"""Pictures of a model: what it predicts over batch and tokens, and where it errs.

Needs matplotlib (the extra `fit`), used without a window. A missing one is a ModuleNotFoundError, which the command
line answers with the command that installs it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from planner.engine.latency.types import LatencyModel, phase_masks
from planner.engine.step import Floats, Steps
from planner.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GRID = 120
_DOTS_PER_INCH = 110
# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS = {"decode": "#0072B2", "mixed": "#D55E00"}


def contour(
    predict_ms: Callable[[Floats, Floats], Floats],
    title: str,
    batch_range: tuple[int, int],
    token_range: tuple[int, int],
) -> Figure:
    """Predicted time over requests and tokens, from and to included; logarithmic where it spans much."""
    from matplotlib.figure import Figure

    for name, (least, most) in (("batch_range", batch_range), ("token_range", token_range)):
        if not 0 < least < most:
            raise UserError(f"{name}: ({least}, {most}) must rise from above zero")
    batch, tokens = np.meshgrid(np.geomspace(*batch_range, _GRID), np.geomspace(*token_range, _GRID))
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    drawn = axes.contourf(batch, tokens, predict_ms(batch, tokens), levels=20, cmap="viridis")
    figure.colorbar(drawn, ax=axes, label="predicted step time, ms")
    axes.set(xscale="log", yscale="log", xlabel="requests", ylabel="tokens", title=title)
    return figure


def model_contour(model: LatencyModel, steps: Steps) -> Figure:
    """Over the sizes that were seen: decodes of the mean context, tokens beyond one a request as one fresh chunk."""
    decodes = float(np.sum(steps.requests - steps.prefills))
    context = float(np.sum(steps.kv_tokens)) / decodes if decodes else 0.0

    def predict_ms(batch: Floats, tokens: Floats) -> Floats:
        chunk = np.maximum(tokens - batch, 0.0)
        columns = (batch, np.maximum(tokens, batch), np.minimum(chunk, 1.0), chunk, batch * context)
        return model.predict_all_ms(Steps(*columns, chunk * (chunk + 1) / 2, np.ones_like(batch)))

    most = max(2, round(float(steps.requests.max()))), max(2, round(float(steps.tokens.max())))
    return contour(predict_ms, f"{model.name}, context {context:.0f} tokens", (1, most[0]), (1, most[1]))


def residuals(model: LatencyModel, steps: Steps) -> Figure:
    """Relative error of each step over its time, by phase."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    predicted_ms = model.predict_all_ms(steps)
    for phase, mask in phase_masks(steps).items():
        error = (predicted_ms[mask] / steps.took_ms[mask] - 1) * 100
        axes.plot(steps.took_ms[mask], error, ".", markersize=2, color=_COLOURS[phase], label=phase)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="step time, ms", ylabel="predicted over measured, %", title=model.name)
    axes.legend()
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a picture, making the folders above it; its ending gives the format.

    Raises UserError when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DOTS_PER_INCH)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
