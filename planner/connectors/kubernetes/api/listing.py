"""Lists as the API server sends them: what chooses among objects, and what their items leave out."""

from __future__ import annotations

from dataclasses import dataclass

from planner.connectors.kubernetes.objects.paths import Object


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a path as they were at one moment."""

    items: tuple[Object, ...]
    """Each with apiVersion and kind."""
    resource_version: str
    """That moment: where a watch goes on."""


def selectors(labels: str, fields: str) -> dict[str, str | int]:
    """The parameters of a list or watch; an empty selector chooses all."""
    named: dict[str, str | int] = {"labelSelector": labels, "fieldSelector": fields}
    return {name: selector for name, selector in named.items() if selector}


def items_of(page: Object) -> list[Object]:
    """The page's items, each saying what it is: items of built-in kinds leave that to the list."""
    said = {"apiVersion": page.get("apiVersion"), "kind": str(page.get("kind", "")).removesuffix("List")}
    return [{**said, **item} for item in page.get("items") or []]
