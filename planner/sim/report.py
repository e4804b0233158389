"""A result in words: what was kept, what it cost, what was done and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from planner.sim.ledger import Quantiles
from planner.sim.run import Result, ScaleAction
from planner.slo.targets import MS_PER_S, Targets

LARGEST_ACTIONS = 8

_RESTATING = ("raise", "lower")
"""Causes that say no more than the action itself."""


def report(result: Result, targets: Targets, *, all_actions: bool) -> str:
    """Several lines of plain text, without a newline at the end.

    `all_actions` lists every scale action, else the `LARGEST_ACTIONS` that moved most replicas.
    """
    return "\n".join(_lines(result, targets, all_actions))


def _lines(result: Result, targets: Targets, all_actions: bool) -> Iterator[str]:
    outcome = result.outcome
    share = "nothing to judge" if outcome.good_share is None else f"{outcome.good_share:.2%}"
    judged = outcome.attainment.judged
    yield f"good       {share} of {judged} requests met both targets, objective {targets.objective:.0%}"
    yield f"TTFT       {_latency(outcome.ttft_s)}, target {targets.ttft_ms:g} ms"
    yield f"ITL        {_latency(outcome.itl_s)}, target {targets.itl_ms:g} ms (a request's mean gap)"
    yield f"cost       {result.gpu_hours:.2f} GPU-hours in {_clock(result.duration_s)}, at most {result.peak_gpus} GPUs"
    yield (
        f"requests   {outcome.arrived} arrived: {outcome.finished} finished, {outcome.failed} refused as longer than "
        f"the KV cache, {outcome.in_flight} in flight"
    )
    reasons = Counter(cause.code for row in result.timeline for cause in row.reasons)
    if reasons:
        counts = ", ".join(f"{code} {count}" for code, count in sorted(reasons.items(), key=lambda item: -item[1]))
        yield f"reasons    in {len(result.timeline)} decisions: {counts}"
    yield from _actions(result.actions, all_actions)


def _actions(actions: tuple[ScaleAction, ...], all_actions: bool) -> Iterator[str]:
    yield f"scaling    {len(actions) or 'no'} action{'' if len(actions) == 1 else 's'}"
    shown = actions
    if not all_actions and len(actions) > LARGEST_ACTIONS:
        largest = sorted(actions, key=lambda action: -abs(action.after - action.before))[:LARGEST_ACTIONS]
        shown = tuple(action for action in actions if action in largest)
        yield f"           the {LARGEST_ACTIONS} largest; --verbose lists all"
    for action in shown:
        causes = "; ".join(cause.text for cause in action.reasons if cause.code not in _RESTATING)
        yield f"  {_clock(action.at_s)}  {action.role} {action.before} -> {action.after}  {causes}".rstrip()


def _latency(quantiles: Quantiles | None) -> str:
    if quantiles is None:
        return "nothing finished"
    return f"p50 {_span(quantiles.p50)}, p95 {_span(quantiles.p95)}, p99 {_span(quantiles.p99)}"


def _span(seconds: float) -> str:
    return f"{seconds * MS_PER_S:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
