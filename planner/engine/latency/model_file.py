"""Model files: JSON, replaced whole, and never a pickle, which would run whatever code it holds."""

from __future__ import annotations

import json
from pathlib import Path

from planner.engine.latency.checks import ModelError
from planner.engine.latency.document import document_from_fitted, fitted_from_document
from planner.engine.latency.fitted import Fitted
from planner.whole_file import replace_whole

REFIT = "planner fit --data DIR --output model.json"
"""The command that makes a model file."""
_PICKLES = (".pkl", ".pickle", ".joblib")
_PICKLE_MARK = b"\x80"
"""The first byte of every pickle since protocol 2."""


def require_json_name(path: Path, where: str) -> None:
    """Raises ModelError, naming `where` the path was given, when its ending is that of a pickle."""
    if path.suffix.lower() in _PICKLES:
        raise ModelError(f"{where}: {path} is named as a pickle, and models are JSON; fit one: {REFIT}")


def read_model(path: Path) -> Fitted:
    """The model in a file.

    Raises ModelError, naming the file, when it cannot be read, is a pickle, or holds no valid model.
    """
    require_json_name(path, "model")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); give an absolute path to a model file") from error
    if content.startswith(_PICKLE_MARK):
        raise ModelError(f"{path}: is a pickle, which could run any code, and is not opened; fit one: {REFIT}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not JSON ({error}), perhaps truncated; fit the model again: {REFIT}") from error
    try:
        return fitted_from_document(document)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def write_model(fitted: Fitted, path: Path) -> None:
    """Put the model in the file's place, making the folders above it.

    Raises ModelError when it cannot be written; the file is then as it was.
    """
    require_json_name(path, "model")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, document_from_fitted(fitted))
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
