"""The page's tables, as escaped HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape

from planner.sim.compare import Played
from planner.sim.html.frontier import keeps
from planner.sim.html.names import label
from planner.sim.ledger import Outcome, Quantiles
from planner.sim.report import clock, differing, in_words, parts, why
from planner.sim.stage import ScaleAction
from planner.slo.targets import Targets

_S_PER_H = 3600.0

_SUMMARY_HEAD = (
    "Policy", "Agreement", "In time", "GPU-hours", "to the first policy", "GPUs on average", "GPUs at most", "TTFT p95",
    "ITL p95", "Scale actions", "In time per GPU-hour",
)  # fmt: skip

_MISHAPS: Mapping[str, Callable[[Outcome], int]] = {
    "Refused": lambda outcome: outcome.refused,
    "Lost": lambda outcome: outcome.lost,
    "Preempted": lambda outcome: outcome.preemptions,
}
"""What has a column only where it happened."""


def summary(played: Sequence[Played], targets: Mapping[str, Targets]) -> str:
    """A row per run, and one per service under it where there are several."""
    varied = differing(played)
    outcomes = [service.outcome for one in played for service in one.result.services.values()]
    mishaps = [name for name, count in _MISHAPS.items() if any(map(count, outcomes))]
    rows: list[str] = []
    for one in played:
        first = next(each for each in played if each.variation == one.variation)
        rows += _summary_rows(one, first, label(one, varied), targets, mishaps)
    return _table("Summary", (*_SUMMARY_HEAD, *mishaps), rows, "summary")


def decisions(one: Played, index: int) -> str:
    """Every scale action of the run with this index, and its reasons, service by service."""
    return "\n".join(
        f'<div class="run-decisions" data-run="{index}" data-service="{escape(name)}">{_actions(service.actions)}</div>'
        for name, service in one.result.services.items()
    )


def _actions(actions: Sequence[ScaleAction]) -> str:
    if not actions:
        return "<p>It never scaled.</p>"
    rows = (
        _row((clock(action.at_s), action.role, f"{action.before} → {action.after}", "; ".join(why(action))))
        for action in actions
    )
    return _table("Decisions", ("At", "Pool", "Replicas", "Why"), rows, "decisions")


def _summary_rows(
    one: Played, first: Played, name: str, targets: Mapping[str, Targets], mishaps: Sequence[str]
) -> Iterator[str]:
    """`first` is the run that this one's cost is compared with."""
    services, beside = one.result.services, {part.service: part for part in parts(first)}
    for part in parts(one):
        whole = part.service is None or len(services) == 1
        concerned = list(services) if part.service is None else [part.service]
        kept = keeps(one, {service: targets[service] for service in concerned})
        ttft_s, itl_s = (None, None) if part.outcome is None else (part.outcome.ttft_s, part.outcome.itl_s)
        share, per_hour, before = part.attainment.share, part.good_per_gpu_hour, beside[part.service].gpu_hours
        cells = (
            name if whole else str(part.service),
            "kept" if kept else "missed",
            "-" if share is None else f"{share:.2%}",
            f"{part.gpu_hours:.2f}",
            "-" if one is first or before == 0 else f"{part.gpu_hours / before - 1:+.0%}",
            f"{part.gpu_hours * _S_PER_H / one.result.duration_s:.1f}",
            f"{one.result.peak_gpus}" if whole else "-",
            _p95(ttft_s),
            _p95(itl_s),
            f"{part.actions}",
            "-" if per_hour is None else f"{per_hour:,.0f}",
            *(f"{sum(_MISHAPS[mishap](services[each].outcome) for each in concerned):,}" for mishap in mishaps),
        )
        yield _row(cells, "" if whole else ' class="part"')


def _p95(quantiles: Quantiles | None) -> str:
    return "-" if quantiles is None else in_words(quantiles.p95)


def _table(name: str, head: Iterable[str], rows: Iterable[str], kind: str) -> str:
    columns = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = "\n".join(rows)
    table = f'<table class="{kind}"><thead><tr>{columns}</tr></thead>\n<tbody>{body}</tbody></table>'
    # A region that scrolls must take the focus, or the keyboard cannot scroll it.
    return f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">{table}</div>'


def _row(cells: Sequence[str], attributes: str = "") -> str:
    first, *others = cells
    data = "".join(f"<td{_mark(text)}>{escape(text)}</td>" for text in others)
    return f'<tr{attributes}><th scope="row">{escape(first)}</th>{data}</tr>'


def _mark(text: str) -> str:
    return f' class="{text}"' if text in ("kept", "missed") else ""
