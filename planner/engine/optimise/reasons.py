"""Why a step was scheduled as it was, as data: a code, its numbers, and the one sentence they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """What moved a step away from the plain rule."""

    DECODE_OVER_TARGET = "decode-over-target"
    TTFT_RAISED_TARGET = "ttft-raised-target"
    STARVED_FIRST = "starved-first"
    FLOOR_OVER_TARGET = "floor-over-target"
    ONLY_PROGRESS = "only-progress"
    NOT_COVERED = "not-covered"


TEXT: Mapping[Code, str] = {
    Code.DECODE_OVER_TARGET: "{requests} decodes alone take {predicted_ms:.1f} ms, above the target of "
    "{target_ms:.1f} ms",
    Code.TTFT_RAISED_TARGET: "target raised from {before_ms:.1f} to {target_ms:.1f} ms: the oldest prompt has waited "
    "{share:.0%} of its TTFT",
    Code.STARVED_FIRST: "{request} came first: {held_steps} steps without a token, {share:.0%} of its TTFT waited",
    Code.FLOOR_OVER_TARGET: "{tokens} tokens of prefill are the floor, though the step then takes {predicted_ms:.1f} "
    "ms, above the target of {target_ms:.1f} ms",
    Code.ONLY_PROGRESS: "{tokens} token of prefill, though the step then takes {predicted_ms:.1f} ms, above the target "
    "of {target_ms:.1f} ms: nothing else runs",
    Code.NOT_COVERED: "left to the engine: {cause}",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that moved the step."""

    code: Code
    values: Mapping[str, int | float | str]

    def __str__(self) -> str:
        return TEXT[self.code].format(**self.values)


def because(code: Code, **values: int | float | str) -> Reason:
    """A reason with its numbers."""
    return Reason(code, values)
