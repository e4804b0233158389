"""What commands write beside their answer: files, and a progress bar where someone watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.sim.policies import Record


@contextmanager
def written(path: Path, option: str) -> Iterator[TextIO]:
    """A text file to write, open before any work begins, so that a wrong path costs none.

    Raises UserError, naming the option, when the file cannot be written.
    """
    try:
        stream = path.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{option}: {path} cannot be written ({error.strerror}); choose another path") from None
    with stream:
        yield stream


@contextmanager
def journal_to(path: Path | None, loaded: LoadedConfig) -> Iterator[Record | None]:
    """What records each tick in the journal `path`; nothing when there is none."""
    if path is None:
        yield None
        return
    from planner.journal import JournalWriter

    with written(path, "--journal") as stream:
        yield JournalWriter(stream, loaded.to_document(), loaded.profile_documents()).record


@contextmanager
def progress(end_s: float, label: str) -> Iterator[Callable[[float], None] | None]:
    """What moves a bar on stderr to a virtual time; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=max(1, round(end_s)), label=label, file=sys.stderr) as bar:
        yield lambda now_s: bar.update(round(now_s) - bar.pos)
