"""The page's words and tables, as escaped HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from planner.sim.compare import Played
from planner.sim.html.data import label
from planner.sim.ledger import Quantiles
from planner.sim.report import clock, in_words, why
from planner.slo.targets import Targets

_S_PER_H = 3600.0
_PROPHETIC = "clairvoyant"
"""Contenders that nobody can run."""

_SUMMARY_HEAD = (
    "Policy", "Agreement", "In time", "GPU-hours", "to the first policy", "GPUs on average", "GPUs at most", "TTFT p95",
    "ITL p95", "Scale actions", "In time per GPU-hour",
)  # fmt: skip


def title(played: Sequence[Played]) -> str:
    """What the page is about."""
    return f"Simulation: {played[0].name}" if len(played) == 1 else f"Simulation: {len(played)} runs compared"


def verdict(played: Sequence[Played], targets: Targets) -> str:
    """What a manager takes away, in one or two plain sentences."""
    first, outcome = played[0], played[0].result.outcome
    if outcome.good_share is None:
        return "Nothing finished, so there is nothing to judge."
    kept = "kept" if _keeps(first, targets) else "missed"
    sentence = (
        f"{label(first, played)}: {outcome.good_share:.1%} of {outcome.attainment.judged:,} requests met both targets "
        f"(first token within {targets.ttft_ms:g} ms, then a token every {targets.itl_ms:g} ms); the objective of "
        f"{targets.objective:.0%} was {kept}, with {first.result.gpu_hours:.2f} GPU-hours in "
        f"{clock(first.result.duration_s)}."
    )
    rivals = [one for one in played if one.startup_s == first.startup_s and not one.name.startswith(_PROPHETIC)]
    if len(rivals) == 1:
        return sentence
    keepers = [one for one in rivals if _keeps(one, targets)]
    if not keepers:
        return f"{sentence} No policy that could be run kept it."
    cheapest = min(keepers, key=lambda one: one.result.gpu_hours)
    among = f"{sentence} Of the policies that kept it and could be run,"
    if cheapest is first:
        return f"{among} it was the cheapest."
    return f"{among} {label(cheapest, played)} was the cheapest, with {cheapest.result.gpu_hours:.2f} GPU-hours."


def summary(played: Sequence[Played], targets: Targets) -> str:
    """A row per run."""
    rows = [_summary_row(one, played, targets) for one in played]
    return _table(_SUMMARY_HEAD, rows, "summary")


def decisions(one: Played, index: int) -> str:
    """Every scale action of the run with this index, and its reasons."""
    rows = [
        (clock(action.at_s), action.role, f"{action.before} → {action.after}", "; ".join(why(action)))
        for action in one.result.actions
    ]
    body = _table(("At", "Pool", "Replicas", "Why"), rows, "decisions") if rows else "<p>It never scaled.</p>"
    return f'<div class="run-decisions" data-run="{index}">{body}</div>'


def _summary_row(one: Played, played: Sequence[Played], targets: Targets) -> tuple[str, ...]:
    result, outcome = one.result, one.result.outcome
    per_hour = one.good_per_gpu_hour
    first = next(each for each in played if each.startup_s == one.startup_s)
    return (
        label(one, played),
        "kept" if _keeps(one, targets) else "missed",
        "-" if outcome.good_share is None else f"{outcome.good_share:.1%}",
        f"{result.gpu_hours:.2f}",
        "-" if one is first else f"{result.gpu_hours / first.result.gpu_hours - 1:+.0%}",
        f"{result.gpu_hours * _S_PER_H / result.duration_s:.1f}",
        f"{result.peak_gpus}",
        _p95(outcome.ttft_s),
        _p95(outcome.itl_s),
        f"{len(result.actions)}",
        "-" if per_hour is None else f"{per_hour:,.0f}",
    )


def _keeps(one: Played, targets: Targets) -> bool:
    share = one.result.outcome.good_share
    return share is not None and share >= targets.objective


def _p95(quantiles: Quantiles | None) -> str:
    return "-" if quantiles is None else in_words(quantiles.p95)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], kind: str) -> str:
    columns = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td{_mark(text)}>{escape(text)}</td>" for text in others)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    body = "\n".join(lines)
    table = f'<table class="{kind}"><thead><tr>{columns}</tr></thead>\n<tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _mark(text: str) -> str:
    return f' class="{text}"' if text in ("kept", "missed") else ""
