"""The points of a profile as they were filed, and what must hold for each of them.

Units are the document's: ms, tokens, requests, tokens per second and GPU. A point that is absent, not finite or not
positive is an error, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from planner.errors import UserError

MS_PER_S = 1000.0
_FEW = 3


class ProfileError(UserError):
    """A profile that cannot be used; the message names the field or point, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class PrefillPoints:
    """Prompts sent one at a time: how long each took and the throughput that makes.

    Raises ProfileError for unequal lengths, an absent or impossible value, or lengths not in ascending order.
    """

    isl_tokens: tuple[float, ...]
    ttft_ms: tuple[float, ...]
    tokens_per_s_per_gpu: tuple[float, ...]

    def __post_init__(self) -> None:
        _require_columns("prefill", self, at_least=2)
        for before, after in pairwise(self.isl_tokens):
            if after <= before:
                raise ProfileError(
                    f"prefill.isl_tokens: {after:g} follows {before:g}; sort the points by isl, each isl once"
                )


@dataclass(frozen=True, slots=True)
class DecodePoints:
    """Scattered measurements of decoding, one per (context, concurrency), in any order.

    Raises ProfileError for unequal lengths, an absent or impossible value, or a pair that occurs twice.
    """

    context_tokens: tuple[float, ...]
    """Mean context of the decoding requests, half the output written: isl + osl/2."""
    concurrency: tuple[float, ...]
    """Requests decoding together in one replica."""
    itl_ms: tuple[float, ...]
    tokens_per_s_per_gpu: tuple[float, ...]
    """Output tokens."""

    def __post_init__(self) -> None:
        _require_columns("decode", self, at_least=2)
        seen: set[tuple[float, float]] = set()
        for pair in zip(self.context_tokens, self.concurrency, strict=True):
            if pair in seen:
                raise ProfileError(
                    f"decode: context {pair[0]:g} with concurrency {pair[1]:g} occurs twice; keep one of the points"
                )
            seen.add(pair)


def few(names: Sequence[str]) -> str:
    """The first names of a list that may be long, and how many more there are."""
    return ", ".join(names[:_FEW]) + (f", and {len(names) - _FEW} more" if len(names) > _FEW else "")


def _require_columns(part: str, points: PrefillPoints | DecodePoints, at_least: int) -> None:
    """Equally long columns of positive, finite numbers."""
    columns = {field.name: getattr(points, field.name) for field in fields(points)}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ProfileError(f"{part}: columns differ in length ({described}); is the file truncated?")
    if len(points.tokens_per_s_per_gpu) < at_least:
        raise ProfileError(f"{part}: {len(points.tokens_per_s_per_gpu)} points; at least {at_least} are needed")
    for name, values in columns.items():
        for i, value in enumerate(values):
            if not (math.isfinite(value) and value > 0):
                raise ProfileError(f"{part}.{name}[{i}]: {value!r} must be a positive, finite number; measure it again")
