"""A forecaster of the user's own, by import string.

`pkg.mod:attr` names anything that, called with the interval in seconds, gives a `Forecaster`: a class or a function.
It is used as it is: quantiles, bounds and the verdict on itself are its own affair.
"""

from __future__ import annotations

import importlib
from typing import cast

from planner.errors import UserError
from planner.scaling.forecast.types import Forecaster


def from_import_string(name: str, interval_s: float) -> Forecaster:
    """The forecaster that `name` ("pkg.mod:attr") makes for cells of `interval_s` seconds.

    Raises UserError that tells apart a malformed string, a missing module, a module that fails while it is imported,
    and a missing attribute. What the attribute itself raises when called is its own.
    """
    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *path.split("."))):
        raise UserError(f"forecaster: {name!r} is no import string; write it as 'package.module:attribute'")
    found: object = _module(name, module_name)
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise UserError(f"forecaster: {name!r}: module {module_name!r} has no attribute {path!r}; correct the name")
        found = getattr(found, attribute)
    if not callable(found):
        raise UserError(f"forecaster: {name!r} is not callable; name a class or function that takes interval_s")
    return cast("Forecaster", found(interval_s))


def _module(name: str, module_name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module itself or a package above it; any other missing module is missing from inside it.
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise UserError(
                f"forecaster: {name!r}: no module named {error.name!r}; install it or correct the name"
            ) from error
        raise UserError(_failed(name, module_name, error)) from error
    except Exception as error:
        raise UserError(_failed(name, module_name, error)) from error


def _failed(name: str, module_name: str, error: Exception) -> str:
    cause = " ".join(str(error).split())
    return (
        f"forecaster: {name!r}: importing {module_name!r} failed with {type(error).__name__}: {cause}; mend that module"
    )
