"""Two replays of the same load side by side: as configured, and under other settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from planner.replay.report import document
from planner.replay.run import Replay

SCHEMA = "sla-planner/what-if/1"

_HEADER = ("", "GPU-hours", "peak GPUs", "new orders", "held", "not lowered")


def compared(replays: Mapping[str, Replay], notes: Iterable[str]) -> str:
    """A table with a line for each, by title, without a newline at the end."""
    rows = [_HEADER, *(_row(title, replay) for title, replay in replays.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = [f"assumed    {note}" for note in notes]
    for first, *rest in rows:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *cells)).rstrip())
    return "\n".join(lines)


def comparison(replays: Mapping[str, Replay], notes: Iterable[str]) -> dict[str, Any]:
    """As JSON-able data: the document of each replay by its title."""
    notes = list(notes)
    return {"schema": SCHEMA, "replays": {title: document(replay, notes) for title, replay in replays.items()}}


def _row(title: str, replay: Replay) -> tuple[str, ...]:
    return (
        title, f"{replay.gpu_hours:.2f}", str(replay.peak_gpus), str(len(replay.changes)), str(replay.held),
        str(replay.doubted),
    )  # fmt: skip
