"""Profiles by name or by path.

Profiles that come with the planner lie as `<model>/<gpu>-tp<N>.json` in `planner/_profiles` of an installed wheel, or
in `profiles` of a checkout. Their names are unique. Errors name the file.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.scaling.profile import Profile, ProfileError, document_from_profile, profile_from_document

_PACKAGE = Path(__file__).parent.parent
_FOLDERS = (_PACKAGE / "_profiles", _PACKAGE.parent / "profiles")
_SUGGESTIONS = 3


def list_profiles() -> tuple[Profile, ...]:
    """Every profile that comes with the planner, by name.

    Raises ProfileError for a file that is not a valid profile.
    """
    return tuple(sorted((_parsed(path, _document(path)) for path in _paths()), key=lambda profile: profile.name))


def load_profile(name_or_path: str) -> Profile:
    """The profile of that name, or the one in that file (anything that ends in .json or holds a slash).

    Raises ProfileError for an unknown name, listing near ones, and for a file that is not a valid profile.
    """
    if name_or_path.endswith(".json") or "/" in name_or_path:
        return read_profile(Path(name_or_path))
    names = []
    for path in _paths():
        document = _document(path)
        name = document.get("name") if isinstance(document, Mapping) else None
        if name == name_or_path:
            return _parsed(path, document)
        names.append(str(name))
    raise ProfileError(f"profile: {name_or_path!r} is not known; {_remedy(name_or_path, names)}")


def read_profile(path: Path) -> Profile:
    """The profile in a file.

    Raises ProfileError, naming the file, when it cannot be read or is not a valid profile.
    """
    return _parsed(path, _document(path))


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile's document, making the folders above it.

    Raises ProfileError when the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_formatted(document_from_profile(profile)), encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"{path}: cannot be written ({error.strerror}); choose another file") from error


def _paths() -> Iterator[Path]:
    for folder in _FOLDERS:
        yield from sorted(folder.glob("*/*.json"))


def _document(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise ProfileError(f"{path}: is not JSON ({error}); is the file truncated?") from error


def _parsed(path: Path, document: object) -> Profile:
    try:
        return profile_from_document(document)
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from error


def _remedy(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=_SUGGESTIONS, cutoff=0.3)
    if near:
        return f"did you mean {' or '.join(near)}? `planner profile list` shows all"
    return "`planner profile list` shows all; a file's path must end in .json"


def _formatted(document: Mapping[str, Any]) -> str:
    """JSON with one key per line and each column of numbers on one line, so that a change reads well in a diff."""
    lines = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            inner = ",\n".join(f"    {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items())
            lines.append(f"  {json.dumps(key)}: {{\n{inner}\n  }}")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
