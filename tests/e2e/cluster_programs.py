"""Programs of a test cluster: each on free ports, in a process group of its own, with a log.

None outlives the tests, even where those are killed: a shell that waits for the end of its input kills the group then.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

TAIL_LINES = 15
KILLS_GROUP_AT_END_OF_INPUT = 'read -r _; kill -KILL "-$1"'


class Program:
    """One command that can be started, killed and started again."""

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name = name
        self._command = command
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs; what it says is appended to its log."""
        if self._process is not None and not self.has_ended:
            return
        self.stop()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        self._guard = subprocess.Popen(
            ["sh", "-c", KILLS_GROUP_AT_END_OF_INPUT, "guard", str(self._process.pid)],
            stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def stop(self) -> None:
        """Kill its group, as a lost machine would end it; its ports are free when this returns."""
        # The guard first: once the program is waited for, its number may be somebody else's.
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.kill()
            self._guard.wait()
            self._guard.stdin.close()
            self._guard = None
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def has_ended(self) -> bool:
        """Whether it ended of itself."""
        return self._process is not None and self._process.poll() is not None

    def tail(self) -> str:
        """The end of its log, under its name."""
        said = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join([f"--- {self.name}{' (ended)' if self.has_ended else ''}", *said[-TAIL_LINES:]])


def free_port() -> int:
    """A port nobody listens on, and below those that outgoing connections take: one may be left and taken again."""
    for port in random.sample(range(20000, 32768), 100):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                tried.bind(("127.0.0.1", port))
                return port
    raise OSError("no free port found between 20000 and 32767")
