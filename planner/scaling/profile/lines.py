"""Decode measurements as lines of equal context: what each load of one context costs.

Only loads that the engine really ran are kept. Throughput * ITL * GPUs is the number of requests that were decoding on
average; its share of the concurrency asked for tells a batch from a queue. A point that ran well short of what was
asked, and no more than a lighter load did, measured a queue in front of a full engine: that concurrency never existed,
and keeping it would promise capacity that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from planner.scaling.profile.curves import Array, Move, described, repaired, resampled
from planner.scaling.profile.points import MS_PER_S, DecodePoints, ProfileError, few

RAN_AS_ASKED = 0.9
"""Share of the concurrency asked for below which a point is doubted; sound runs show 0.93 to 1.0, their start and end
costing the rest."""


@dataclass(frozen=True, slots=True)
class Line:
    """One context: its loads with ascending concurrency and non-decreasing ITL, and the curve through them."""

    context_tokens: float
    concurrency: tuple[float, ...]
    itl_ms: tuple[float, ...]
    share: tuple[float, ...]
    """Requests decoding on average over the concurrency asked for."""
    knots: tuple[tuple[float, float], ...]
    """(KV tokens held, ITL in ms), ascending: the loads, or a neighbour's shape scaled through a lone one."""

    @property
    def kv_tokens(self) -> tuple[float, ...]:
        """KV tokens held at each load."""
        return tuple(concurrency * self.context_tokens for concurrency in self.concurrency)

    def itl_ms_over(self, kv_tokens: Array) -> Array:
        """ITL at so many KV tokens; beyond both ends by the curve's mean slope, for blending with a longer line."""
        x, y = np.array(self.knots).T
        slope = (y[-1] - y[0]) / (x[-1] - x[0])
        beyond = kv_tokens - np.clip(kv_tokens, x[0], x[-1])
        return np.asarray(np.maximum(resampled(x, y, kv_tokens) + slope * beyond, 0.0), dtype=np.float64)

    def share_over(self, kv_tokens: Array) -> Array:
        """The share that ran at so many KV tokens, level beyond both ends."""
        return np.asarray(np.interp(kv_tokens, self.kv_tokens, self.share), dtype=np.float64)


class _Load(NamedTuple):
    context_tokens: float
    concurrency: float
    itl_ms: float
    ran: float


def measured_lines(points: DecodePoints, gpus: int) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """The lines by ascending context, and warnings that name every point left out, levelled or borrowed from.

    Raises ProfileError when an ITL falls too far to be noise, or when no context was measured at two loads.
    """
    loads = sorted(
        _Load(context, concurrency, itl_ms, throughput * gpus * itl_ms / MS_PER_S)
        for context, concurrency, itl_ms, throughput in zip(
            points.context_tokens, points.concurrency, points.itl_ms, points.tokens_per_s_per_gpu, strict=True
        )
    )
    lines: list[Line] = []
    queued: list[str] = []
    levelled: list[Move] = []
    for _, group in groupby(loads, key=lambda load: load.context_tokens):
        ran, left_out = _without_queues(list(group))
        line, moved = _line(ran)
        lines.append(line)
        queued += [f"{_name(load)} (ran {load.ran:.0f})" for load in left_out]
        levelled += moved
    lone = [line for line in lines if len(line.concurrency) == 1]
    warnings = []
    if queued:
        warnings.append(f"decode: left out, the engine was full and queued the rest: {few(queued)}")
    if levelled:
        warnings.append(f"decode: ITL falls as concurrency grows; levelled at {described(levelled)}")
    for line in lone:
        near = _nearest(line, lines)
        lines[lines.index(line)] = _borrowing(line, near)
        warnings.append(
            f"decode: one load only at context {line.context_tokens:g}; "
            f"its curve takes the shape of context {near.context_tokens:g}"
        )
    return tuple(lines), tuple(warnings)


def _without_queues(loads: Sequence[_Load]) -> tuple[list[_Load], list[_Load]]:
    """The loads of one context that ran, and those that only queued."""
    kept, queued = [loads[0]], []
    most_ran = loads[0].ran
    for load in loads[1:]:
        if load.ran < RAN_AS_ASKED * load.concurrency and load.ran <= most_ran:
            queued.append(load)
        else:
            kept.append(load)
            most_ran = max(most_ran, load.ran)
    return kept, queued


def _line(loads: Sequence[_Load]) -> tuple[Line, tuple[Move, ...]]:
    filed = np.array([load.itl_ms for load in loads])
    itl_ms, moved = repaired(filed, "decode: ITL", lambda i: _name(loads[i]))
    scaled = [load.ran * itl / load.itl_ms for load, itl in zip(loads, itl_ms, strict=True)]
    line = Line(
        context_tokens=loads[0].context_tokens,
        concurrency=tuple(load.concurrency for load in loads),
        itl_ms=tuple(float(itl) for itl in itl_ms),
        share=tuple(ran / load.concurrency for ran, load in zip(scaled, loads, strict=True)),
        knots=tuple(
            (load.concurrency * load.context_tokens, float(itl)) for load, itl in zip(loads, itl_ms, strict=True)
        ),
    )
    return line, moved


def _nearest(lone: Line, lines: Sequence[Line]) -> Line:
    """The line of nearest context, by ratio, that has a shape to lend."""
    lenders = [line for line in lines if len(line.concurrency) > 1]
    if not lenders:
        raise ProfileError("decode: no context was measured at two or more concurrencies; add a second load")
    return min(lenders, key=lambda line: abs(np.log(line.context_tokens / lone.context_tokens)))


def _borrowing(lone: Line, near: Line) -> Line:
    """The lone line with its neighbour's curve, scaled to pass through its only point."""
    (at,) = lone.kv_tokens
    (itl_ms,) = lone.itl_ms
    scale = itl_ms / float(near.itl_ms_over(np.array([at]))[0])
    knots = {x: y * scale for x, y in near.knots} | {at: itl_ms}
    return replace(lone, knots=tuple(sorted(knots.items())))


def _name(load: _Load) -> str:
    return f"context {load.context_tokens:g} concurrency {load.concurrency:g}"
