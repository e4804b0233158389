"""What the columns of a profile say about each other: mixed units are errors, other contradictions are doubts.

Three identities tie the columns together, so that a mistake in one shows in another:
- prefill throughput = isl / (TTFT * GPUs), prompts being measured one at a time;
- decode throughput = requests decoding / (ITL * GPUs);
- concurrency * context fits into the KV memory.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from planner.scaling.profile.curves import Array
from planner.scaling.profile.lines import RAN_AS_ASKED
from planner.scaling.profile.points import MS_PER_S, DecodePoints, PrefillPoints, ProfileError, few

_ANOTHER_UNIT = 100.0
"""A ratio this far from 1 is a unit (1000), not a measurement."""
_SAME_FACTOR = 0.02
_WIDE_GAP = 10.0


def prefill_doubts(points: PrefillPoints, gpus: int) -> tuple[str, ...]:
    """Warnings about prefill columns that contradict each other.

    Raises ProfileError when TTFT is not in ms.
    """
    isl, ttft_ms, filed = (np.array(c) for c in (points.isl_tokens, points.ttft_ms, points.tokens_per_s_per_gpu))
    factor = isl * MS_PER_S / (ttft_ms * gpus) / filed
    _require_ms("prefill.ttft_ms", factor, [f"isl {length:g}" for length in isl])
    typical = float(np.median(factor))
    strays = np.flatnonzero(np.abs(factor / typical - 1) > _SAME_FACTOR)
    doubts = []
    if abs(typical - 1) > _SAME_FACTOR:
        doubts.append(
            f"prefill: throughput is divided by {typical * gpus:.3g} GPUs, TTFT by {gpus}: "
            f"a {'typical' if strays.size else 'constant'} factor of {typical:.3g}; used as filed"
        )
    if strays.size:
        named = few([f"isl {isl[i]:g} ({factor[i]:.3g})" for i in strays])
        doubts.append(f"prefill: isl / TTFT / GPUs is not throughput times {typical:.3g} at {named}")
    return tuple(doubts)


def decode_doubts(points: DecodePoints, gpus: int, max_kv_tokens: int) -> tuple[str, ...]:
    """Warnings about decode columns that contradict each other, and about wide gaps between contexts.

    Raises ProfileError when ITL is not in ms.
    """
    context, concurrency, itl_ms, filed = (
        np.array(c) for c in (points.context_tokens, points.concurrency, points.itl_ms, points.tokens_per_s_per_gpu)
    )
    names = [f"context {c:g} concurrency {n:g}" for c, n in zip(context, concurrency, strict=True)]
    ran = filed * gpus * itl_ms / MS_PER_S / concurrency
    _require_ms("decode.itl_ms", 1 / ran, names)
    doubts = []
    short = np.flatnonzero(ran < RAN_AS_ASKED)
    if short.size:
        doubts.append(
            f"decode: throughput * ITL * GPUs is {ran[short].min():.2f} to {ran[short].max():.2f} of the concurrency "
            f"at {short.size} of {ran.size} points ({few([names[i] for i in short])}): "
            "fewer requests ran than were asked for, or something else ran beside decode"
        )
    over = np.flatnonzero(ran > 1 / RAN_AS_ASKED)
    if over.size:
        doubts.append(
            f"decode: throughput * ITL * GPUs is up to {ran[over].max():.2f} of the concurrency "
            f"at {over.size} of {ran.size} points ({few([names[i] for i in over])}): "
            "more tokens than so many requests can make"
        )
    full = np.flatnonzero(concurrency * context > max_kv_tokens)
    if full.size:
        doubts.append(
            f"decode: {few([names[i] for i in full])} need more than the {max_kv_tokens} KV tokens; "
            "doubt max_kv_tokens or the contexts"
        )
    doubts += [
        f"decode: no context between {before:g} and {after:g}; interpolated over a wide gap"
        for before, after in pairwise(np.unique(context))
        if after > _WIDE_GAP * before
    ]
    return tuple(doubts)


def _require_ms(field: str, too_fast: Array, names: list[str]) -> None:
    """`too_fast` is how many times quicker the time column is than the throughput column says."""
    for unit, wrong in (("seconds", too_fast > _ANOTHER_UNIT), ("microseconds", too_fast < 1 / _ANOTHER_UNIT)):
        if wrong.any():
            where = "" if wrong.all() else f" at {few([names[i] for i in np.flatnonzero(wrong)])}"
            typical = float(np.median(too_fast[wrong]))
            raise ProfileError(
                f"{field}: looks like {unit}{where} (times and throughput disagree by a factor of {typical:.4g}); "
                "give times in ms"
            )
