"""Logs: a line each, for people at a terminal, as JSON everywhere else.

What a record carries beyond its message (`extra={"service": "chat"}`) stands beside it. Nothing secret is ever handed
to a logger; this module could not tell.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """As a line."""
        values: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str)


class PlainLines(logging.Formatter):
    """Time, level, service and message."""

    def format(self, record: logging.LogRecord) -> str:
        """As a line, and an exception's lines below it."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        service = _extras(record).get("service")
        where = f"{service}: " if service else ""
        line = f"{at} {record.levelname.lower():<7} {where}{record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(stream: TextIO | None = None, *, plain: bool | None = None) -> None:
    """Send all logs to `stream` (None: stderr), in place of whatever was set up before; None: plain at a terminal."""
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainLines() if (stream.isatty() if plain is None else plain) else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # uvicorn's lines about itself add nothing to ours.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
