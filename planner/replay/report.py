"""A replay in words: what was assumed, what would have been ordered and why, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from planner.replay.run import Change, Replay, TickRow
from planner.scaling.reasons import Code, Reason

SCHEMA = "sla-planner/replay/1"

_RESTATING = {Code.RAISE, Code.LOWER, Code.KEEP}
"""Reasons that say no more than the order itself."""


def report(replay: Replay, notes: Iterable[str], *, every_tick: bool) -> str:
    """Several lines of plain text, without a newline at the end; `every_tick` lists those without a change too."""
    return "\n".join(_lines(replay, notes, every_tick))


def document(replay: Replay, notes: Iterable[str]) -> dict[str, Any]:
    """As JSON-able data, with the schema's version."""
    accuracy = replay.accuracy
    return {
        "schema": SCHEMA,
        "assumptions": list(notes),
        "interval_s": replay.interval_s,
        "gpu_hours": replay.gpu_hours,
        "peak_gpus": replay.peak_gpus,
        "recorded_gpu_hours": replay.recorded_gpu_hours,
        "changes": len(replay.changes),
        "held": replay.held,
        "doubted": replay.doubted,
        "forecast": None
        if accuracy is None
        else {
            "forecasts": accuracy.forecasts,
            "horizon_s": accuracy.horizon_s,
            "mean_abs_error_per_s": accuracy.mean_abs_error,
            "mean_rate_per_s": accuracy.mean_rate,
            "quantile": accuracy.quantile,
            "coverage": accuracy.coverage,
        },
        "ticks": [
            {
                "at_s": row.at_s,
                "rate_per_s": row.rate_per_s,
                "pools": {
                    role: {"current": pool.current, "wanted": pool.wanted, "ordered": pool.replicas}
                    for role, pool in row.pools.items()
                },
                "reasons": [{"code": reason.code, "text": reason.text} for reason in row.reasons],
            }
            for row in replay.rows
        ],
    }


def _lines(replay: Replay, notes: Iterable[str], every_tick: bool) -> Iterator[str]:
    for note in notes:
        yield f"assumed    {note}"
    yield from _every_tick(replay.rows) if every_tick else _changes(replay.changes)
    recorded = ""
    if replay.recorded_gpu_hours is not None:
        recorded = f"; the recorded fleet took {replay.recorded_gpu_hours:.2f} while it was known"
    span_s = len(replay.rows) * replay.interval_s
    yield f"cost       {replay.gpu_hours:.2f} GPU-hours in {_clock(span_s)}, at most {replay.peak_gpus} GPUs{recorded}"
    orders = f"{len(replay.changes)} new order{'' if len(replay.changes) == 1 else 's'}"
    yield (
        f"decisions  {len(replay.rows)}, one every {replay.interval_s:g} s: {orders}, "
        f"{replay.held} held for missing data, {replay.doubted} not lowered on doubt"
    )
    accuracy = replay.accuracy
    if accuracy is None:
        yield "forecast   none could be compared with what came"
        return
    yield (
        f"forecast   {accuracy.horizon_s:g} s ahead, off by {accuracy.mean_abs_error:.2f} of {accuracy.mean_rate:.2f} "
        f"req/s on average; {accuracy.coverage:.1%} of {accuracy.forecasts} windows within the "
        f"{accuracy.quantile:.0%} quantile"
    )


def _changes(changes: tuple[Change, ...]) -> Iterator[str]:
    for change in changes:
        yield _line(change.at_s, change.rate_per_s, f"{change.role} {change.before} -> {change.after}", change.reasons)


def _every_tick(rows: Iterable[TickRow]) -> Iterator[str]:
    for row in rows:
        order = ", ".join(
            f"{role} {_count(pool.current)}" + (f" -> {pool.replicas}" if pool.changes else "")
            for role, pool in row.pools.items()
        )
        yield _line(row.at_s, row.rate_per_s, order, row.reasons)


def _line(at_s: float, rate_per_s: float | None, order: str, reasons: Iterable[Reason]) -> str:
    because = "; ".join(reason.text for reason in reasons if reason.code not in _RESTATING)
    return f"{_clock(at_s):>9}  {_rate(rate_per_s):>13}  {order:<18}  {because}".rstrip()


def _rate(rate_per_s: float | None) -> str:
    return "unknown" if rate_per_s is None else f"{rate_per_s:.2f} req/s"


def _count(replicas: int | None) -> str:
    return "unknown" if replicas is None else str(replicas)


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
