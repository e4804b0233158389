"""Orders on disk: one JSON document, replaced whole, so that a kill at any moment leaves the old one or the new.

Counts are replicas, times seconds since the epoch. The file belongs to one planner.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from planner.connectors.orders import ServiceOrders
from planner.errors import UserError
from planner.whole_file import replace_whole

SCHEMA = "sla-planner/orders"
SCHEMA_VERSION = 1


class StateFileError(UserError):
    """A file of orders that cannot be read or written; the message names it and the remedy."""


def read_orders(path: Path) -> Mapping[str, ServiceOrders]:
    """The orders of every service on file; none when there is no file.

    Raises StateFileError when the file cannot be read, is damaged, or is not of this schema.
    """
    remedy = "restore the file, or delete it to begin with the configured replicas"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateFileError(f"{path}: cannot be read ({error.strerror}); let the planner read it") from error
    except ValueError as error:
        raise StateFileError(f"{path}: is damaged ({error}); {remedy}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise StateFileError(f"{path}: is no file of orders (schema is not {SCHEMA!r}); choose another path")
    if document.get("schema_version") != SCHEMA_VERSION:
        raise StateFileError(
            f"{path}: schema_version {document.get('schema_version')!r} is not {SCHEMA_VERSION}; "
            "start the planner that wrote it, or delete it to begin with the configured replicas"
        )
    try:
        return _adapter().validate_python(document.get("services"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("services", *first["loc"]))
        raise StateFileError(f"{path}: is damaged ({where}: {first['msg']}); {remedy}") from error


def write_orders(path: Path, services: Mapping[str, ServiceOrders]) -> None:
    """Put `services` in the file's place; return when they would survive a loss of power.

    Raises StateFileError when that fails; the file is then as it was.
    """
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "services": _adapter().dump_python(services, mode="json"),
    }
    try:
        replace_whole(path, document)
    except OSError as error:
        raise StateFileError(f"{path}: cannot be written ({error.strerror}); see to its folder and disk") from error


@cache
def _adapter() -> TypeAdapter[Mapping[str, ServiceOrders]]:
    return TypeAdapter(Mapping[str, ServiceOrders])
