"""JSON files that are replaced whole: a kill, or a loss of power, leaves the old or the new."""

from __future__ import annotations

import json
import os
from pathlib import Path


def replace_whole(path: Path, document: object) -> None:
    """Put `document`, JSON values, in the file's place; return when it would survive a loss of power.

    Raises OSError when that fails; the file is then as it was.
    """
    beside = path.with_name(f"{path.name}.new")
    with beside.open("w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
