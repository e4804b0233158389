"""All files of a journal: one file, or a folder of them, in the order they were written.

The ticks of a process are numbered from 0 on, through all its files; a process that starts again begins at 0 again. So
a number alone may mean several decisions in a folder, while a file and a number mean one, and a time means the decision
that was in force.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from planner.journal.files import journal_files
from planner.journal.reader import Journal, Tick
from planner.journal.records import Control, JournalError, JournalGoneError, Outcome, Trouble


@dataclass(frozen=True, slots=True)
class Place:
    """One tick in one of the files."""

    file: int
    """Position in `Archive.files`."""
    tick: Tick


@dataclass(frozen=True, slots=True)
class Archive:
    """Every file that could be read."""

    path: Path
    files: tuple[Journal, ...]
    notes: tuple[str, ...]
    """What was left out and what is missing, a sentence each."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file, or all journal files of a folder.

        In a folder, files that are removed meanwhile or were cut off in their first line are left out with a note.
        Raises JournalError as `Journal.read`, and for a folder without any journal.
        """
        if not path.is_dir():
            journal = Journal.read(path)
            return cls(path, (journal,), tuple(_notes(journal)))
        files: list[Journal] = []
        notes: list[str] = []
        try:
            paths = journal_files(path)
        except OSError as error:
            raise JournalError(f"{path}: cannot be listed ({error.strerror}); give the journal's path") from error
        for each in paths:
            try:
                journal = Journal.read(each)
            except JournalGoneError:
                notes.append(gone(each))
                continue
            except JournalError:
                if not _never_started(each):
                    raise
                notes.append(f"{each.name}: was cut off in its first line and is left out")
                continue
            files.append(journal)
            notes += _notes(journal)
        if not files:
            raise JournalError(f"{path}: holds no journal; give the folder that planner writes its journal to")
        return cls(path, tuple(files), tuple(notes))

    def __iter__(self) -> Iterator[Place]:
        """Every tick, oldest first."""
        return (Place(number, tick) for number, journal in enumerate(self.files) for tick in journal.ticks)

    def number(self, n: int) -> Place:
        """Tick `n`. Raises JournalError when there is none, or when several processes on record numbered one so."""
        found = [place for place in self if place.tick.n == n]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(self.files[place.file].path.name for place in found)
            raise JournalError(f"decision {n}: is in {names}; give one of these files instead of the folder, or a time")
        ranges = ", ".join(f"{journal.ticks[0].n} to {journal.ticks[-1].n}" for journal in self.files if journal.ticks)
        raise JournalError(f"decision {n}: the journal holds {ranges or 'none'}")

    def at(self, time_s: float) -> Place:
        """The decision in force at a time: the last one made by then. Raises JournalError when there is none."""
        by_then = [place for place in self if place.tick.now_s <= time_s]
        if not by_then:
            first_s = min((place.tick.now_s for place in self), default=None)
            begins = "no decision" if first_s is None else f"none before {first_s:.0f} s"
            raise JournalError(f"time {time_s:.0f} s: the journal holds {begins}; give a later time")
        latest_s = max(place.tick.now_s for place in by_then)
        return [place for place in by_then if place.tick.now_s == latest_s][-1]

    def last(self, *, changed: bool) -> Place | None:
        """The last decision, or the last one that changed the fleet; None when there is none."""
        return next((place for place in reversed(list(self)) if place.tick.orders or not changed), None)

    def outcomes(self, place: Place) -> Mapping[str, Outcome]:
        """What became of a tick's orders, by service, where it is on record."""
        found: dict[str, Outcome] = {}
        for number, journal in enumerate(self.files[place.file :]):
            # A later file may still tell, unless its ticks are another process's, which counts anew.
            if number and journal.ticks and journal.ticks[0].n <= place.tick.n:
                break
            told = [event for event in journal.events if isinstance(event, Outcome) and event.n == place.tick.n]
            found |= {outcome.service: outcome for outcome in told}
        return found

    def meanwhile(self, place: Place) -> list[Control | Trouble]:
        """What people ordered and what went wrong since the decision before this one, in the order recorded."""
        until_s = place.tick.now_s
        earlier = [other.tick.now_s for other in self if other.tick.now_s < until_s]
        since_s = max(earlier, default=float("-inf"))
        events = (event for journal in self.files for event in journal.events)
        return [event for event in events if not isinstance(event, Outcome) and since_s < event.at_s <= until_s]


def gone(path: Path) -> str:
    """The note on a file that is there no longer."""
    return f"{path.name}: was removed meanwhile, by rotation most likely, and is left out"


def _never_started(path: Path) -> bool:
    with path.open("rb") as stream:
        return not any(b"\n" in block for block in iter(lambda: stream.read(2**20), b""))


def _notes(journal: Journal) -> Iterator[str]:
    if journal.lost:
        yield f"{journal.path.name}: {journal.lost} records before it could not be written"
    if journal.torn is not None:
        yield f"{journal.path.name}: {journal.torn}"
