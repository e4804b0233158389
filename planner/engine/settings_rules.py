"""What a setting may be, how text becomes one, and the one line that says why a value is refused."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from planner.errors import UserError

_LONGEST_SHOWN = 60
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_PICKLES = {".pkl", ".pickle"}


class SettingsError(UserError):
    """Settings that cannot be used. The message is the mistake, or a headline with one line for each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(
            self.mistakes[0]
            if len(self.mistakes) == 1
            else "\n  ".join([f"{len(self.mistakes)} mistakes in the settings of the scheduler:", *self.mistakes])
        )


@dataclass(frozen=True, slots=True)
class Given:
    """A value and who gave it."""

    value: object
    source: str


@dataclass(frozen=True, slots=True)
class Switch:
    """On or off."""

    def parse(self, text: str) -> object:
        """The value of an environment variable; the text itself when it is none."""
        return _WORDS.get(text.strip().lower(), text)

    def broken_by(self, value: object) -> str | None:
        """Why this is no value of the setting."""
        return None if isinstance(value, bool) else "must be true or false"


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number within bounds, both included."""

    least: float
    most: float
    whole: bool = False

    def parse(self, text: str) -> object:
        """The value of an environment variable; the text itself when it is none."""
        try:
            return int(text) if self.whole else float(text)
        except ValueError:
            return text

    def broken_by(self, value: object) -> str | None:
        """Why this is no value of the setting."""
        right = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        # A comparison with nan is false.
        if right and isinstance(value, int | float) and self.least <= value <= self.most:
            return None
        return f"must be a {'whole ' if self.whole else ''}number from {self.least:.10g} to {self.most:.10g}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words; none of them stands for no choice, where that is allowed."""

    words: tuple[str, ...]
    optional: bool = False

    def parse(self, text: str) -> object:
        """The value of an environment variable."""
        return None if self.optional and not text else text

    def broken_by(self, value: object) -> str | None:
        """Why this is no value of the setting."""
        if value in self.words or (self.optional and value is None):
            return None
        return f"must be one of {', '.join(self.words)}"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The path of a fitted model, JSON; empty for none."""

    def parse(self, text: str) -> object:
        """The value of an environment variable."""
        return text

    def broken_by(self, value: object) -> str | None:
        """Why this is no value of the setting. A pickle can run code when it is read, so none is."""
        if not isinstance(value, str):
            return "must be the path of a model file"
        if PurePath(value).suffix.lower() in _PICKLES:
            return "is a pickle, which is never used; make a model file with planner fit --data DIR --output model.json"
        return None


Rule = Switch | Number | Choice | ModelFile


def at_least_one(most: int) -> Number:
    """A count."""
    return Number(1, most, whole=True)


def share() -> Number:
    """A part of a whole."""
    return Number(0.01, 1)


def milliseconds() -> Number:
    """A time, up to an hour."""
    return Number(0.01, 3_600_000)


def line(name: str, given: Given, why: str) -> str:
    """One mistake, on one line."""
    return f"{shown(name)}: {shown(given.value)} {why} ({given.source})"


def unknown(name: str, source: str, known: Collection[str], prefix: int = 0) -> str:
    """A setting that does not exist, on one line, with the one that was probably meant.

    The first `prefix` characters, which all share, say nothing about which was meant.
    """
    by_rest = {each[prefix:]: each for each in known}
    close = difflib.get_close_matches(name[prefix:], by_rest, n=1)
    remedy = f"did you mean {by_rest[close[0]]}?" if close else "unset it"
    return f"{shown(name)}: no such setting; {remedy} ({source})"


def shown(value: object) -> str:
    """A value on one line, cut when long; a name as it is."""
    if isinstance(value, str) and value.isidentifier():
        return value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 3] + "..."
    if isinstance(value, float):
        return f"{value:.10g}"
    text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
