"""Where a command serves its page and API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from planner.errors import UserError

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def listen_option(default: str) -> Callable[[CommandT], CommandT]:
    """The option --listen."""
    return click.option(
        "--listen", default=default, show_default=True, metavar="HOST:PORT",
        help="Where to serve the page and the API; port 0 takes any that is free.",
    )  # fmt: skip


def address(text: str) -> tuple[str, int]:
    """Host and port. Raises UserError for anything else."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise UserError(f"--listen: {text!r} must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return host.removeprefix("[").removesuffix("]"), int(port)
