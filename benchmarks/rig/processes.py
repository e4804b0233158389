"""Servers that a benchmark starts: each in a process group of its own, which is gone when the block ends.

A group, because a server's children outlive it: vLLM's engine stays when its API server is told to end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody holds now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def serving(
    command: Sequence[str | Path], alive: str, log: Path, *, patience_s: float, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers at the address `alive`. Raises SystemExit, with the end of its log, when it never does."""
    environment = None if env is None else {**os.environ, **env}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        _until(alive, process, log, patience_s)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def fetched(url: str) -> str:
    """The text at an address. Raises OSError."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def _until(alive: str, process: subprocess.Popen[bytes], log: Path, patience_s: float) -> None:
    deadline_s = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            fetched(alive)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{process.args!r} does not serve:\n{log.read_text(errors='replace')[-3000:]}")
