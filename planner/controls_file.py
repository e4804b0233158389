"""People's orders on disk, so that a restart obeys them: JSON with a schema version, replaced whole."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from planner.controls import ControlError, Controls
from planner.whole_file import replace_whole

SCHEMA = "sla-planner/controls"
SCHEMA_VERSION = 1


def read_controls(path: Path) -> Controls:
    """The orders in `path`, none when there is no such file. Raises ControlError when it makes no sense."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA or document["schema_version"] != SCHEMA_VERSION:
            raise ValueError("another schema")
        return TypeAdapter(Controls).validate_python(document["controls"])
    except FileNotFoundError:
        return Controls()
    except OSError as error:
        raise ControlError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        what = str(error).splitlines()[0]
        raise ControlError(
            f"{path}: is not a file of orders ({what}); remove it, and give the orders in force again"
        ) from None


def write_controls(path: Path, controls: Controls) -> None:
    """Replace the file. Raises ControlError, and leaves it as it was, when it cannot be written."""
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "controls": TypeAdapter(Controls).dump_python(controls, mode="json"),
    }
    try:
        replace_whole(path, document)
    except OSError as error:
        raise ControlError(f"{path}: cannot be written ({error.strerror}); the order is not taken") from None
