"""Nested settings in which every value knows where it was written.

A tree is a mapping of keys to trees or to `Given` values. Trees are laid over one another: first the sources (file,
environment, flags), then each service over what stands at the top level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from planner.config.catalogue import KeyPath, is_section


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was written, where it stands, and which source it comes from."""

    value: object
    path: KeyPath
    origin: str


Tree: TypeAlias = "dict[str, Tree | Given]"


def grow(document: Mapping[str, object], origin: str, at: KeyPath = ()) -> Tree:
    """The tree of a document; a section with nothing in it (null) gives nothing."""
    return {key: _grow(value, origin, (*at, key)) for key, value in document.items()}


def _grow(value: object, origin: str, path: KeyPath) -> Tree | Given:
    if isinstance(value, Mapping):
        return grow(value, origin, path)
    if value is None and is_section(path):
        return {}
    return Given(value, path, origin)


def plant(tree: Tree, given: Given) -> Tree:
    """The tree with one more value, at its path."""
    branch: Tree | Given = given
    for key in reversed(given.path):
        branch = {key: branch}
    assert isinstance(branch, dict)  # a path has at least one key
    return overlay(tree, branch)


def overlay(lower: Tree, upper: Tree) -> Tree:
    """Both trees, the upper one's values before the lower one's.

    A value where a section belongs stays, whichever tree it is in: it is a mistake that must be reported, not hidden.
    """
    merged = dict(lower)
    for key, above in upper.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(above, dict):
            merged[key] = overlay(below, above)
        elif not (isinstance(below, Given) and isinstance(above, dict)):
            merged[key] = above
    return merged


def plain(tree: Tree) -> dict[str, object]:
    """The values alone."""
    return {key: plain(branch) if isinstance(branch, dict) else branch.value for key, branch in tree.items()}


def find(tree: Tree | Given, path: KeyPath) -> Tree | Given | None:
    """What stands at a path, None when nothing was given there."""
    branch: Tree | Given | None = tree
    for key in path:
        if not isinstance(branch, dict):
            return None
        branch = branch.get(key)
    return branch


def written_at(branch: Tree | Given | None, depth: int = 0) -> Given | None:
    """The value itself, or for a section some value in it with its path cut to the section's.

    What a service inherits keeps the path it was written at, so a mistake is reported where it can be mended.
    """
    if isinstance(branch, Given):
        return Given(branch.value, branch.path[: len(branch.path) - depth], branch.origin)
    for below in (branch or {}).values():
        found = written_at(below, depth + 1)
        if found is not None:
            return found
    return None
