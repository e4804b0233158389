"""The adaptive target: how long the next step may take, in ms.

    target = clamp(T_min + k * queue_length, T_min_effective, TPOT)
    k = (TPOT - T_min) / queue_threshold;   T_min_effective = max(T_min, step of the decodes alone)

Short steps while nothing waits, up to the agreed time per output token as the queue grows. The tightest agreement among
the decodes bounds it. A short queue of old requests raises it too: the target goes as far from T_min to TPOT as the
oldest prompt is through its TTFT. Never above TPOT; what the decodes alone exceed cannot be mended by waiting longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.engine.optimise.reasons import Code, Reason, because
from planner.engine.optimise.types import Work
from planner.engine.settings import SLASchedulerConfig


@dataclass(frozen=True, slots=True)
class Aim:
    """How long the step may take, and whether that is enough."""

    target_ms: float
    capacity_short: bool
    """The decodes alone take longer than agreed, or a prompt is past its TTFT: more replicas are needed."""
    reasons: tuple[Reason, ...] = ()


def aim(work: Work, decodes_ms: float, config: SLASchedulerConfig) -> Aim:
    """The target for a step whose decodes alone take `decodes_ms`, the margin included."""
    agreed_ms = work.decodes.tightest_tpot_ms
    tpot_ms = config.slo_tpot_ms if agreed_ms is None else agreed_ms
    least_ms = min(config.min_batch_time_ms, tpot_ms)
    range_ms = tpot_ms - least_ms
    share = _oldest(work)
    queue_ms = least_ms + range_ms * min(1.0, work.queue_length / config.queue_threshold)
    raised_ms = min(least_ms + range_ms * min(1.0, share), tpot_ms)
    before_ms = min(max(queue_ms, decodes_ms), tpot_ms)
    capacity_short = decodes_ms > tpot_ms or share >= 1
    if raised_ms <= before_ms:
        return Aim(before_ms, capacity_short)
    reason = because(Code.TTFT_RAISED_TARGET, before_ms=before_ms, target_ms=raised_ms, share=share)
    return Aim(raised_ms, capacity_short, (reason,))


def _oldest(work: Work) -> float:
    """The largest share of its TTFT that a prompt has waited, among those looked at; 0 without any."""
    return max([prompt.age_ms / prompt.ttft_ms for prompt in (*work.prompts, *work.waiting)], default=0.0)
