"""Logs: a line each, readable where somebody reads, parsable elsewhere."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from planner.logs import configure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_elsewhere_a_record_is_a_json_object_with_what_it_carries() -> None:
    stream = io.StringIO()
    configure(stream)

    logging.getLogger("planner.loop").warning("failed: %s", "no answer", extra={"service": "chat", "tick": 3})

    record = json.loads(stream.getvalue())
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "level": "warning", "logger": "planner.loop", "message": "failed: no answer", "service": "chat", "tick": 3,
    }  # fmt: skip


def test_an_exception_stays_in_its_line() -> None:
    stream = io.StringIO()
    configure(stream)

    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("planner.loop").exception("the tick failed")

    (line,) = stream.getvalue().splitlines()
    assert "ValueError: a\nb" in json.loads(line)["exception"]


def test_at_a_terminal_it_is_a_plain_line() -> None:
    stream = Terminal()
    configure(stream)

    logging.getLogger("planner.loop").info("applied", extra={"service": "chat"})

    assert stream.getvalue()[9:] == "info    chat: applied\n"
