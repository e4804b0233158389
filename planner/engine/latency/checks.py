"""Single JSON values of a model file, checked: each check gives the value, or raises ModelError naming it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any

from planner.engine.latency.types import Range
from planner.errors import UserError

_SHOWN = 60


class ModelError(UserError):
    """A model that cannot be used; the message names the field, the value and the remedy."""


def required(value: object, wanted: str | int, where: str) -> None:
    """The one value that is supported there."""
    if type(value) is not type(wanted) or value != wanted:
        raise ModelError(f"{where}: {shown(value)} is not supported; it must be {wanted!r}; fit the model again")


def an_object(value: object, where: str, keys: Collection[str], optional: Collection[str] = ()) -> Mapping[str, Any]:
    """An object with all of the keys, perhaps the optional ones, and no other."""
    known = (*keys, *(key for key in optional if key not in keys))
    if not isinstance(value, Mapping):
        raise ModelError(f"{where}: {shown(value)} must be an object with the keys {', '.join(known)}")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ModelError(f"{where}: {', '.join(missing)} missing; fit the model again, the file may be truncated")
    unknown = [str(key) for key in value if key not in known]
    if unknown:
        raise ModelError(f"{where}: unknown key {', '.join(unknown)}; the keys are {', '.join(known) or 'none'}")
    return value


def a_list(value: object, where: str) -> list[Any]:
    """A list, possibly empty."""
    if not isinstance(value, list):
        raise ModelError(f"{where}: {shown(value)} must be a list; write [] for none")
    return value


def a_text(value: object, where: str) -> str:
    """A text that says something."""
    if not (isinstance(value, str) and value.strip()):
        raise ModelError(f"{where}: {shown(value)} must be a text that is not empty")
    return value


def a_count(value: object, where: str) -> int:
    """A whole number from 0."""
    if not (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        raise ModelError(f"{where}: {shown(value)} must be a whole number from 0; fit the model again")
    return value


def a_finite(value: object, where: str) -> float:
    """A number that is neither NaN nor infinite; JSON as Python writes it can hold both."""
    # So written it holds for NaN, and for whole numbers that no float can hold.
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        raise ModelError(f"{where}: {shown(value)} must be a finite number; fit the model again")
    return float(value)


def a_number(value: object, where: str) -> float:
    """A finite number from 0."""
    number = a_finite(value, where)
    if number < 0:
        raise ModelError(f"{where}: {shown(value)} must not be below zero; fit the model again")
    return number


def a_range(value: object, where: str) -> Range:
    """A list of the least and the most."""
    if not (isinstance(value, list) and len(value) == 2):
        raise ModelError(f"{where}: {shown(value)} must be a list of the least and the most")
    least, most = (a_number(each, f"{where}[{i}]") for i, each in enumerate(value))
    if least > most:
        raise ModelError(f"{where}: {shown(value)} must not fall; give the least first")
    return Range(least, most)


def sizes(value: object, where: str) -> tuple[int, ...]:
    """A list of whole numbers that grow."""
    counts = tuple(a_count(each, f"{where}[{i}]") for i, each in enumerate(a_list(value, where)))
    if counts != tuple(sorted(set(counts))):
        raise ModelError(f"{where}: {shown(value)} must ascend, each size once")
    return counts


def shown(value: object) -> str:
    """A value as an error shows it: short, and on one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
