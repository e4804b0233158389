"""How long a token takes when requests decode together.

Measured points form lines of equal context. A line is repaired to rise with concurrency and drawn over the KV tokens
held, concurrency * context. Between two contexts the lines are blended at equal KV tokens, linearly in 1 / context: a
step costs about a + b * requests + c * kv_tokens = a + (b / context + c) * kv_tokens, for which the blend is exact,
and a blend of rising lines rises, so ITL never falls as concurrency grows.

Edges, never silent (`covers`):
- loads below the first or above the last measured one take its ITL; a context between two lines has blended edges
  (the first load blended as requests, the last as KV tokens), and inside a blend a line that ends early goes on with
  its mean slope, since holding it level would promise speed nobody has seen;
- a context shorter than measured counts as the shortest with as many requests, a longer one as the longest with as
  many tokens; both are slower than the truth.

The argument for each choice, and what was rejected, is in docs/adr/0005-profile-interpolation.md.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeVar

import numpy as np

from planner.scaling.profile.curves import Array, frozen, grid_over
from planner.scaling.profile.lines import Line, measured_lines
from planner.scaling.profile.points import MS_PER_S, DecodePoints

_ROUNDING = 1e-9
_Float = TypeVar("_Float", float, Array)


class _Blend(NamedTuple):
    """Where a context lies between two lines, and the measured edges there in requests."""

    before: int
    after: int
    weight: float
    """Of the line after, in [0, 1]."""
    context_tokens: float
    """Turns requests into KV tokens on the lines: the context asked for, or the shortest measured one if longer."""
    lowest: float
    highest: float

    def of(self, before: _Float, after: _Float) -> _Float:
        """The value between the two lines' values."""
        return (1 - self.weight) * before + self.weight * after


@dataclass(frozen=True, slots=True, eq=False)
class DecodeProfile:
    """Decoding on one replica of `gpus` GPUs. ITL is non-decreasing in concurrency at every context.

    Every query takes a positive, finite context in tokens and raises ValueError for another.
    """

    gpus: int
    max_kv_tokens: int
    """Tokens whose keys and values one replica can hold."""
    points: DecodePoints
    """As filed, before repair."""
    lines: tuple[Line, ...]
    """What was measured, by ascending context, after repair."""
    warnings: tuple[str, ...]
    _contexts: tuple[float, ...]
    _first: tuple[float, ...]
    """Lightest load of each line, requests."""
    _last: tuple[float, ...]
    """Heaviest load of each line, KV tokens."""
    _kv_tokens: Array
    """The grid that all lines are drawn on."""
    _itl_s: Array
    """Lines by grid points."""
    _share: Array

    @classmethod
    def fit(cls, points: DecodePoints, gpus: int, max_kv_tokens: int) -> Self:
        """Repair and interpolate the points.

        Raises ProfileError when an ITL falls too far with higher concurrency to be noise, or when no context was
        measured at two loads.
        """
        lines, warnings = measured_lines(points, gpus)
        loads = np.concatenate([line.kv_tokens for line in lines])
        grid = grid_over(0.0, loads.max(), loads)
        return cls(
            gpus=gpus,
            max_kv_tokens=max_kv_tokens,
            points=points,
            lines=lines,
            warnings=warnings,
            _contexts=tuple(line.context_tokens for line in lines),
            _first=tuple(line.concurrency[0] for line in lines),
            _last=tuple(line.kv_tokens[-1] for line in lines),
            _kv_tokens=frozen(grid),
            _itl_s=frozen(np.stack([line.itl_ms_over(grid) for line in lines]) / MS_PER_S),
            _share=frozen(np.stack([line.share_over(grid) for line in lines])),
        )

    @property
    def context_range(self) -> tuple[float, float]:
        """Shortest and longest context measured, tokens."""
        return self._contexts[0], self._contexts[-1]

    def covers(self, concurrency: float, context_tokens: float) -> bool:
        """Whether the load lies within what was measured, and not merely next to it."""
        shortest, longest = self.context_range
        blend = self._blend(context_tokens)
        slack = _ROUNDING * blend.highest
        return shortest <= context_tokens <= longest and blend.lowest - slack <= concurrency <= blend.highest + slack

    def itl_s(self, concurrency: float, context_tokens: float) -> float:
        """Seconds between tokens when so many requests of this mean context decode together."""
        return self._itl_at(self._blend(context_tokens), concurrency)

    def max_concurrency(self, context_tokens: float) -> float:
        """Requests a replica takes at most: the smaller of KV capacity and the edge of what was measured."""
        return self._blend(context_tokens).highest

    def largest_concurrency(self, itl_s: float, context_tokens: float) -> float:
        """The most requests, fractional, whose ITL is at most `itl_s`, within `max_concurrency`.

        0.0 when not even one request meets the target, or one does not fit into the KV memory.
        """
        return self._largest(self._blend(context_tokens), itl_s)

    def itl_s_up_to(self, context_tokens: float) -> Array:
        """ITL in seconds for 1, 2, ... requests, up to the most a replica takes (at least one)."""
        blend = self._blend(context_tokens)
        requests = np.arange(1, max(1, math.floor(blend.highest + _ROUNDING)) + 1)
        kv_tokens = np.clip(requests, blend.lowest, blend.highest) * blend.context_tokens
        itl_s = blend.of(self._itl_s[blend.before], self._itl_s[blend.after])
        return np.asarray(np.interp(kv_tokens, self._kv_tokens, itl_s), dtype=np.float64)

    def settled_concurrency(self, tokens_per_s: float, context_tokens: float) -> float:
        """The mean concurrency of a replica that emits `tokens_per_s`: the least n with n = tokens_per_s * ITL(n).

        By Little's law; at least 1, at most `max_concurrency`, where a replica that cannot keep up ends.
        """
        blend = self._blend(context_tokens)
        requests = self._kv_tokens / blend.context_tokens
        spare = requests - tokens_per_s * blend.of(self._itl_s[blend.before], self._itl_s[blend.after])
        after = int(np.argmax(spare >= 0))
        if spare[after] < 0:
            return max(1.0, blend.highest)
        before = max(after - 1, 0)
        gained = float(spare[after] - spare[before])
        share = float(-spare[before]) / gained if gained > 0 else 0.0
        settled = float(requests[before] + share * (requests[after] - requests[before]))
        return max(1.0, min(settled, blend.highest))

    def tokens_per_s_per_gpu(self, concurrency: float, context_tokens: float) -> float:
        """Output tokens per second and GPU at this load; above `max_concurrency`, those of the edge."""
        return self._throughput_at(self._blend(context_tokens), concurrency)

    def best_tokens_per_s_per_gpu(self, itl_s: float, context_tokens: float) -> float:
        """The highest throughput over all measured loads whose ITL meets the target; if none does, the lowest load's.

        The published throughput sizing divides demand by this number.
        """
        blend = self._blend(context_tokens)
        largest = max(self._largest(blend, itl_s), min(blend.lowest, blend.highest))
        running = self._kv_tokens / blend.context_tokens
        share, itl = (blend.of(table[blend.before], table[blend.after]) for table in (self._share, self._itl_s))
        peaks = _peaks(share, running, itl)
        share, running, itl = (
            np.concatenate([values, values[:-1] + peaks * np.diff(values)]) for values in (share, running, itl)
        )
        inside = (running > blend.lowest) & (running < largest)
        within = float((share[inside] * running[inside] / itl[inside]).max(initial=0.0)) / self.gpus
        return max(within, *(self._throughput_at(blend, edge) for edge in (blend.lowest, largest)))

    def _itl_at(self, blend: _Blend, concurrency: float) -> float:
        return self._value_at(self._itl_s, blend, max(min(concurrency, blend.highest), blend.lowest))

    def _throughput_at(self, blend: _Blend, concurrency: float) -> float:
        running = min(concurrency, blend.highest)
        return self._value_at(self._share, blend, running) * running / (self._itl_at(blend, running) * self.gpus)

    def _value_at(self, table: Array, blend: _Blend, concurrency: float) -> float:
        """Linear between grid points; scalars all the way, since the simulator asks at every decode step."""
        kv_tokens = concurrency * blend.context_tokens
        i = min(bisect_right(self._kv_tokens, kv_tokens), self._kv_tokens.size - 1)
        start, stop = self._kv_tokens.item(i - 1), self._kv_tokens.item(i)
        ahead = min((kv_tokens - start) / (stop - start), 1.0)
        here, there = (blend.of(table.item(blend.before, j), table.item(blend.after, j)) for j in (i - 1, i))
        return here + ahead * (there - here)

    def _largest(self, blend: _Blend, itl_s: float) -> float:
        if blend.highest < 1 - _ROUNDING or itl_s < self._itl_at(blend, blend.lowest):
            return 0.0

        def itl_at(point: int) -> float:
            return blend.of(self._itl_s.item(blend.before, point), self._itl_s.item(blend.after, point))

        # The first grid point that misses the target: a level stretch before it counts in full.
        i = bisect_right(range(self._kv_tokens.size), itl_s, lo=1, key=itl_at)
        if i == self._kv_tokens.size:
            return blend.highest
        here, there = itl_at(i - 1), itl_at(i)
        start, stop = self._kv_tokens.item(i - 1), self._kv_tokens.item(i)
        kv_tokens = start + (itl_s - here) / (there - here) * (stop - start)
        largest = min(max(kv_tokens / blend.context_tokens, blend.lowest), blend.highest)
        return largest if largest >= 1 - _ROUNDING else 0.0

    def _blend(self, context_tokens: float) -> _Blend:
        if not (math.isfinite(context_tokens) and context_tokens > 0):
            raise ValueError(f"context_tokens: {context_tokens!r} must be a positive, finite number of tokens")
        shortest, longest = self.context_range
        inside = min(max(context_tokens, shortest), longest)
        on_line = max(context_tokens, shortest)
        after = min(bisect_right(self._contexts, inside), len(self._contexts) - 1)
        before = max(after - 1, 0)
        weight = _weight(inside, self._contexts[before], self._contexts[after])
        first = (1 - weight) * self._first[before] + weight * self._first[after]
        last = (1 - weight) * self._last[before] + weight * self._last[after]
        highest = min(last / on_line, self.max_kv_tokens / context_tokens)
        return _Blend(before, after, weight, on_line, first * inside / on_line, highest)


def _peaks(share: Array, running: Array, itl: Array) -> Array:
    """Where between two grid points share * running / itl, each linear there, is level: 0 to 1, and 0 where nowhere.

    With share * running = a + b x + c x^2, its derivative is 0 where c itl' x^2 + 2 c itl x + b itl - a itl' is.
    """
    more_share, more_running, more_itl = np.diff(share), np.diff(running), np.diff(itl)
    share, running, itl = share[:-1], running[:-1], itl[:-1]
    a, b, c = share * running, share * more_running + running * more_share, more_share * more_running
    with np.errstate(divide="ignore", invalid="ignore"):
        # Written so that itl' = 0 is no division by zero.
        over = (b * itl - a * more_itl) / (c * itl)
        x = -over / (1 + np.sqrt(1 - over * more_itl / itl))
    return np.where(np.isfinite(x), np.clip(x, 0.0, 1.0), 0.0)


def _weight(context: float, before: float, after: float) -> float:
    """Weight of the longer context in a blend that is linear in 1 / context."""
    if before == after:
        return 1.0
    return (1 / before - 1 / context) / (1 / before - 1 / after)
