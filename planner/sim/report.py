"""Results in words: what was kept, what it cost, what was done and why; and several of them as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from planner.sim.compare import Played
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


_COLUMNS = (
    "policy", "start-up s", "good %", "TTFT p50 ms", "p95", "p99", "ITL p95 ms", "GPU-hours", "actions",
    "good/GPU-hour",
)  # fmt: skip


def table(played: Sequence[Played]) -> str:
    """One line per policy, under a head, without a newline at the end."""
    cells = [_COLUMNS, *(_row(one) for one in played)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(text.rjust(width) if column else text.ljust(width) for column, (text, width) in enumerate(pairs))
        for pairs in (tuple(zip(row, widths, strict=True)) for row in cells)
    )


def _row(one: Played) -> tuple[str, ...]:
    outcome, per_hour = one.result.outcome, one.good_per_gpu_hour
    itl = outcome.itl_s
    return (
        one.name,
        f"{one.startup_s:g}",
        "-" if outcome.good_share is None else f"{outcome.good_share:.1%}".removesuffix("%"),
        *_in_ms(outcome.ttft_s),
        "-" if itl is None else f"{itl.p95 * MS_PER_S:.1f}",
        f"{one.result.gpu_hours:.2f}",
        f"{len(one.result.actions)}",
        "-" if per_hour is None else f"{per_hour:.0f}",
    )


def _in_ms(quantiles: Quantiles | None) -> tuple[str, ...]:
    if quantiles is None:
        return ("-", "-", "-")
    return tuple(f"{value * MS_PER_S:.0f}" for value in (quantiles.p50, quantiles.p95, quantiles.p99))


def _lines(result: Result, targets: Targets, all_actions: bool) -> Iterator[str]:
    outcome = result.outcome
    share = "nothing to judge" if outcome.good_share is None else f"{outcome.good_share:.2%}"
    judged = outcome.attainment.judged
    yield f"good       {share} of {judged} requests met both targets, objective {targets.objective:.0%}"
    yield f"TTFT       {_latency(outcome.ttft_s)}, target {targets.ttft_ms:g} ms"
    yield f"ITL        {_latency(outcome.itl_s)}, target {targets.itl_ms:g} ms (a request's mean gap)"
    yield f"cost       {result.gpu_hours:.2f} GPU-hours in {clock(result.duration_s)}, at most {result.peak_gpus} GPUs"
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
        causes = "; ".join(why(action))
        yield f"  {clock(action.at_s)}  {action.role} {action.before} -> {action.after}  {causes}".rstrip()


def why(action: ScaleAction) -> list[str]:
    """The sentences that say more than the action itself."""
    return [cause.text for cause in action.reasons if cause.code not in _RESTATING]


def _latency(quantiles: Quantiles | None) -> str:
    if quantiles is None:
        return "nothing finished"
    return f"p50 {in_words(quantiles.p50)}, p95 {in_words(quantiles.p95)}, p99 {in_words(quantiles.p99)}"


def in_words(seconds: float) -> str:
    """A latency, in ms below a second."""
    return f"{seconds * MS_PER_S:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def clock(seconds: float) -> str:
    """A time of the run as h:mm:ss."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
