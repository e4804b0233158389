"""A profile as one HTML page: the points as filed and the curves the planner uses.

The page holds plotly itself and loads nothing from anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from planner.scaling.profile import DecodeProfile, PrefillProfile, Profile, ProfileError

if TYPE_CHECKING:
    import plotly.graph_objects as go

Array = NDArray[np.float64]
MS_PER_S = 1000.0
_STEPS = 120
# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#999999")


def write_plot(profile: Profile, path: Path) -> None:
    """Write the page to `path`.

    Raises ProfileError when the file cannot be written, ModuleNotFoundError without plotly.
    """
    from plotly.io import to_html
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2,
        cols=2,
        subplot_titles=(
            "Prefill: time to first token of a lone prompt",
            "Decode: inter-token latency",
            "Prefill: throughput",
            "Decode: throughput",
        ),
        horizontal_spacing=0.08,
        vertical_spacing=0.12,
    )
    _draw_prefill(figure, profile.prefill)
    _draw_decode(figure, profile.decode)
    figure.update_layout(
        template="plotly_white",
        height=900,
        title={"text": f"{profile.name}<br><sup>{_subtitle(profile)}</sup>", "x": 0.01},
        legend={"title": {"text": "context, tokens"}},
        margin={"t": 110, "l": 70, "r": 30, "b": 60},
    )
    for row in (1, 2):
        figure.update_xaxes(title_text="input length, tokens", row=row, col=1)
        figure.update_xaxes(title_text="concurrency, requests (log)", type="log", row=row, col=2)
    for row, col, text in ((1, 1, "ms"), (1, 2, "ms"), (2, 1, "tokens/s/GPU"), (2, 2, "tokens/s/GPU")):
        figure.update_yaxes(title_text=text, rangemode="tozero", row=row, col=col)
    try:
        path.write_text(to_html(figure, include_plotlyjs=True, full_html=True), encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"{path}: cannot be written ({error.strerror}); choose another file") from error


def _subtitle(profile: Profile) -> str:
    return (
        f"{profile.model}, {profile.precision}, {profile.gpu} x {profile.tensor_parallel}, {profile.engine}, "
        f"{profile.kind}; dots as filed, lines as used; {len(profile.warnings)} warnings"
    )


def _draw_prefill(figure: go.Figure, prefill: PrefillProfile) -> None:
    isl = np.linspace(*prefill.isl_range, _STEPS)
    points = prefill.points
    _draw(figure, (1, 1), (points.isl_tokens, points.ttft_ms), (isl, prefill.ttft_s_many(isl) * MS_PER_S))
    throughput = [prefill.tokens_per_s_per_gpu(length) for length in isl]
    _draw(figure, (2, 1), (points.isl_tokens, points.tokens_per_s_per_gpu), (isl, throughput))


def _draw_decode(figure: go.Figure, decode: DecodeProfile) -> None:
    filed = np.array([decode.points.context_tokens, decode.points.concurrency, decode.points.itl_ms,
                      decode.points.tokens_per_s_per_gpu])  # fmt: skip
    for i, line in enumerate(decode.lines):
        context = line.context_tokens
        _, concurrency, itl_ms, throughput = filed[:, filed[0] == context]
        loads = np.geomspace(line.concurrency[0], line.concurrency[-1], _STEPS)
        itl = [decode.itl_s(load, context) * MS_PER_S for load in loads]
        made = [decode.tokens_per_s_per_gpu(load, context) for load in loads]
        colour = _COLOURS[i % len(_COLOURS)]
        _draw(figure, (1, 2), (concurrency, itl_ms), (loads, itl), colour, f"{context:g}")
        _draw(figure, (2, 2), (concurrency, throughput), (loads, made), colour)


def _draw(
    figure: go.Figure,
    cell: tuple[int, int],
    dots: tuple[Sequence[float] | Array, Sequence[float] | Array],
    curve: tuple[Sequence[float] | Array, Sequence[float] | Array],
    colour: str = _COLOURS[0],
    name: str | None = None,
) -> None:
    """Dots and a curve of one colour; only a named curve has a legend entry, which hides its dots with it."""
    row, col = cell
    for (x, y), mode in ((curve, "lines"), (dots, "markers")):
        figure.add_scatter(
            x=list(x),
            y=list(y),
            mode=mode,
            line={"color": colour, "width": 2},
            marker={"color": colour, "size": 6},
            name=name,
            legendgroup=colour,
            showlegend=name is not None and mode == "lines",
            row=row,
            col=col,
        )
