"""The journal of a process that runs for months: files in a folder, rotated and bounded.

- Every file begins with a `start` that holds the state, so each is explained and computed anew by itself.
- All files together never hold more than `keep` x `max_bytes`: room is made before a file is begun, and a record that
  would not fit beside the start of an empty file is refused.
- Each line is handed to the kernel in one write and nothing is buffered here, so a process that is killed loses at most
  the line being written. Nothing is forced to the disk: a machine that loses power may lose the last seconds.
- A write that fails loses that record, is reported, and leaves no stub: the next record begins a new file. So an outage
  of the disk costs what was decided meanwhile, and nothing that was on record except, at most, the oldest file.

One process writes to a folder; others may read, and may delete files. File names sort by their last part, a number that
grows with each file whatever the clock does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from errno import EFBIG
from pathlib import Path
from typing import Any

from planner.controls import Hold
from planner.journal.records import (
    CHECKPOINT_TICKS,
    Basis,
    Event,
    JournalError,
    Samples,
    checkpoint_line,
    event_line,
    start_line,
    tick_line,
)
from planner.scaling.decision import TickResult
from planner.scaling.state import PlannerState

DEFAULT_MAX_BYTES = 64 * 2**20
"""A tick of one service takes 6 to 7 kB, so at one every 30 s a file holds about three and a half days of it."""
DEFAULT_KEEP = 8

_NAME = re.compile(r"journal-\d{8}T\d{6}Z-(\d+)\.jsonl")


class JournalLostError(OSError):
    """A record could not be written; the next one begins a new file. The cause is the system's error."""

    def __init__(self, message: str, lost: int) -> None:
        super().__init__(message)
        self.lost = lost
        """Records lost since the process began."""


class _TooLongError(OSError):
    """The record does not fit in any file; what is open stays as it is."""


def journal_files(folder: Path) -> list[Path]:
    """The folder's journal files, oldest first. Raises OSError when it cannot be listed."""
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


class JournalFiles:
    """Appends a process's records to files in a folder.

    Every method that records raises JournalLostError when the record could not be written, and may be called again.
    """

    def __init__(
        self, folder: Path, config: Mapping[str, Any], profiles: Mapping[str, Any], state: PlannerState,
        *, max_bytes: int = DEFAULT_MAX_BYTES, keep: int = DEFAULT_KEEP,
    ) -> None:  # fmt: skip
        """Make the folder if need be; the first record begins the first file.

        Raises JournalError when the folder cannot be made, or a bound is less than 1.
        """
        for name, value in (("max_bytes", max_bytes), ("keep", keep)):
            if value < 1:
                raise JournalError(f"{name}: {value} must be 1 or more")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"journal: {folder} cannot be a folder ({error.strerror}); choose another path"
            ) from error
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep = keep
        self._lost = 0
        self._told = 0
        self._open: _OpenFile | None = None
        self.begin(config, profiles, state)

    @property
    def lost(self) -> int:
        """Records that could not be written since the process began."""
        return self._lost

    def begin(self, config: Mapping[str, Any], profiles: Mapping[str, Any], state: PlannerState) -> None:
        """Go on under a new configuration, from `state`: the next record begins a new file."""
        self._basis = Basis(config, profiles)
        self._state: PlannerState | None = state
        self._start_state = state
        self._unsaved_ticks = 0
        self.close()

    def tick(
        self, n: int, before: PlannerState, samples: Samples, result: TickResult,
        *, after: PlannerState, holds: Mapping[str, Hold],
    ) -> None:  # fmt: skip
        """Tick `n`: the state it began with, what came in, what went out, the state it left; the holds in force.

        `n` grows; the states are those that went into and came out of the tick.
        """
        # A state that is not where the record stands (a tick was lost, or the caller began anew) is put on record.
        known = before is self._state and self._unsaved_ticks < CHECKPOINT_TICKS
        self._start_state = before
        self._state = None
        try:
            line = tick_line(n, samples, result, holds)
            self._append(line, result.at_s, checkpoint=b"" if known else checkpoint_line(before))
            self._unsaved_ticks += 1
            self._state = after
        finally:
            self._start_state = after

    def event(self, event: Event) -> None:
        """Something that happened."""
        self._append(event_line(event), event.at_s)

    def close(self) -> None:
        """Let go of the file; a record that comes after all begins a new one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _append(self, line: bytes, at_s: float, *, checkpoint: bytes = b"") -> None:
        try:
            file = self._open
            if file is None or file.gone() or file.size + len(checkpoint) + len(line) > self._max_bytes:
                self._next_file(at_s, len(line)).write(line)
                self._told = self._lost
                return
            if checkpoint:
                file.write(checkpoint)
                self._unsaved_ticks = 0
            file.write(line)
        except OSError as error:
            self._lost += 1
            if not isinstance(error, _TooLongError):
                self._abandon()
            raise JournalLostError(
                f"journal: a record could not be written to {self._folder} ({error.strerror}); {self._lost} lost so "
                "far, mend the disk and the next record begins a new file",
                self._lost,
            ) from error

    def _next_file(self, at_s: float, line_bytes: int) -> _OpenFile:
        start = start_line(self._basis, self._start_state, self._lost - self._told)
        if len(start) + line_bytes > self._max_bytes:
            raise _TooLongError(
                EFBIG, f"a start of {len(start)} bytes and a record of {line_bytes} exceed max_bytes {self._max_bytes}"
            )
        self.close()
        files = journal_files(self._folder)
        self._make_room(files)
        number = 1 + (_number(files[-1]) if files else 0)
        stamp = datetime.fromtimestamp(at_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        self._open = _OpenFile(self._folder / f"journal-{stamp}-{number:06d}.jsonl")
        self._open.write(start)
        self._unsaved_ticks = 0
        return self._open

    def _make_room(self, files: list[Path]) -> None:
        # By bytes as well as by number: files of an earlier process may have been allowed to grow larger.
        sizes: dict[Path, int] = {}
        for path in files:
            with suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
        others = self._keep - 1
        for path in list(sizes):
            if len(sizes) <= others and sum(sizes.values()) <= others * self._max_bytes:
                return
            path.unlink(missing_ok=True)
            del sizes[path]

    def _abandon(self) -> None:
        """Close the file, without what was half-written; one that holds nothing but its start would only push out
        files that do, so it is removed."""
        if self._open is None:
            return
        file, self._open = self._open, None
        with suppress(OSError):
            file.mend()
        file.close()


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


class _OpenFile:
    """One file being appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.size = 0
        """Bytes of whole lines."""
        self._lines = 0

    def gone(self) -> bool:
        """Whether the name no longer leads here, so that what is written could not be found."""
        ours = os.fstat(self._descriptor)
        try:
            theirs = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(ours, theirs)

    def write(self, line: bytes) -> None:
        """Append a whole line."""
        left = line
        # Only a disk that fills up takes a part; asking again tells why.
        while left:
            left = left[os.write(self._descriptor, left) :]
        self.size += len(line)
        self._lines += 1

    def mend(self) -> None:
        """Take away what is not a whole line; the file too, when nothing follows its start."""
        if self._lines <= 1:
            self._path.unlink()
        else:
            os.ftruncate(self._descriptor, self.size)

    def close(self) -> None:
        """Let go of it. What an error would be about was written, and is not taken back."""
        with suppress(OSError):
            os.close(self._descriptor)
