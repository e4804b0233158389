"""Decision records that can be re-run: written, kept within bounds for months, read back, computed anew.

Since a tick is a pure function, what a file begins with and the samples on record determine every result. The records
themselves are described in docs/journal-schema.md.
"""

from __future__ import annotations

from planner.journal.archive import Archive, Place, gone
from planner.journal.files import DEFAULT_KEEP, DEFAULT_MAX_BYTES, JournalFiles, JournalLostError
from planner.journal.reader import Journal, Replayed, Tick
from planner.journal.records import CHECKPOINT_TICKS, Control, Event, JournalError, JournalGoneError, Outcome, Trouble
from planner.journal.ring import Ring
from planner.journal.writer import JournalWriter

__all__ = [
    "CHECKPOINT_TICKS",
    "DEFAULT_KEEP",
    "DEFAULT_MAX_BYTES",
    "Archive",
    "Control",
    "Event",
    "Journal",
    "JournalError",
    "JournalFiles",
    "JournalGoneError",
    "JournalLostError",
    "JournalWriter",
    "Outcome",
    "Place",
    "Replayed",
    "Ring",
    "Tick",
    "Trouble",
    "gone",
]
