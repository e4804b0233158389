"""What the labels and annotations of objects say of a service, as a tree of settings or as mistakes.

Whoever may annotate an object decides about that service alone: its agreement, bounds and pace. Where metrics come
from, what is scaled, priority and budget are the configuration's; so are files and code, which a profile or a
forecaster could name. Annotations are other people's text: a value is one scalar of at most `LONGEST` characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from planner.config.catalogue import SERVICE_SETTINGS, KeyPath
from planner.config.mistakes import closest, dotted, shown
from planner.config.resolve import name_mistake
from planner.config.sources import is_path, value_of
from planner.config.tree import Given, Tree, plant
from planner.connectors.kubernetes.objects.services import PREFIX, ROLE, SERVICE, Labelled, spelt
from planner.connectors.kubernetes.objects.targets import ObjectRef
from planner.errors import UserError
from planner.scaling.types import Role

SHORT: Mapping[str, KeyPath] = {key: ("sla", key) for key in ("isl", "osl", "ttft", "itl", "objective")}
SECTIONS = ("sla", "metrics", *Role, "forecast", "scaling")
SINGLE = ("profile", "startup_s")
LONGEST = 500

_KNOWN = {dotted(setting.path): setting.path for setting in SERVICE_SETTINGS}
_OPEN = {name: path for name, path in _KNOWN.items() if path[0] in (*SECTIONS, *SINGLE)}


@dataclass(frozen=True, slots=True)
class Reading:
    """One service as its objects describe it."""

    objects: tuple[ObjectRef, ...]
    pools: Mapping[Role, ObjectRef]
    own: Tree
    """Its settings, to be laid over the top level."""
    mistakes: tuple[str, ...] = ()
    incomplete: bool = False
    """Whether the only mistake is an object that is not there."""


def read_services(objects: Iterable[Labelled]) -> dict[str, Reading]:
    """Every service that is named, by name."""
    by_name: dict[str, list[Labelled]] = {}
    for each in objects:
        by_name.setdefault(each.service, []).append(each)
    return {name: _read(name, members) for name, members in sorted(by_name.items())}


def _read(name: str, members: Sequence[Labelled]) -> Reading:
    refs = tuple(each.ref for each in members)
    mistakes = [] if (wrong := name_mistake(name)) is None else [f"{SERVICE}: {wrong}"]
    pools, badly_placed = _placed(members)
    mistakes += badly_placed
    own, badly_set = _settings(name, members)
    mistakes += badly_set
    if mistakes:
        return Reading(refs, pools, {}, tuple(mistakes))
    if (lacking := _lacking(pools)) is not None:
        (only,) = members
        text = f"{ROLE}: {only.ref} is the {only.role} pool; no object of the service is labelled {lacking}"
        return Reading(refs, pools, {}, (text,), incomplete=True)
    mode = "aggregated" if Role.AGGREGATED in pools else "disaggregated"
    root = ("services", name)
    first = members[0].ref
    own = plant(own, Given(mode, (*root, "mode"), f"label of {first}"))
    own = plant(own, Given(first.namespace, (*root, "kubernetes", "namespace"), f"label of {first}"))
    for role, ref in pools.items():
        own = plant(own, Given(spelt(ref), (*root, "kubernetes", str(role)), f"label of {ref}"))
    return Reading(refs, pools, _below(own, root))


def _placed(members: Sequence[Labelled]) -> tuple[dict[Role, ObjectRef], list[str]]:
    """Which object is which pool, and why not."""
    pools: dict[Role, ObjectRef] = {}
    mistakes = []
    for each in members:
        if each.role is None or each.role not in (*Role,):
            what = "is missing" if each.role is None else f"{shown(each.role)} is no role"
            mistakes.append(f"{ROLE}: {what} on {each.ref}; label it {', '.join(Role)}")
            continue
        role = Role(each.role)
        if (other := pools.setdefault(role, each.ref)) is not each.ref and other.namespace == each.ref.namespace:
            mistakes.append(f"{ROLE}: {other} and {each.ref} are both {role}; label one of them")
    namespaces = sorted({each.ref.namespace for each in members})
    if len(namespaces) > 1:
        mistakes.append(f"{SERVICE}: is given in the namespaces {' and '.join(namespaces)}; name one otherwise")
    elif Role.AGGREGATED in pools and len(pools) > 1:
        others = " and ".join(role for role in pools if role is not Role.AGGREGATED)
        mistakes.append(f"{ROLE}: a service is aggregated or has {others}; relabel {pools[Role.AGGREGATED]}")
    return pools, mistakes


def _lacking(pools: Mapping[Role, ObjectRef]) -> Role | None:
    if Role.AGGREGATED in pools:
        return None
    return next((role for role in (Role.PREFILL, Role.DECODE) if role not in pools), None)


def _settings(name: str, members: Sequence[Labelled]) -> tuple[Tree, list[str]]:
    """All that the annotations give, and what is wrong with them."""
    tree: Tree = {}
    mistakes: list[str] = []
    said: dict[KeyPath, tuple[str, Labelled]] = {}
    for each in members:
        for key, text in each.annotations.items():
            where = f"annotation of {each.ref}"
            path = SHORT.get(key) or _OPEN.get(key)
            if path is None:
                mistakes.append(f"{PREFIX}{key}: {_refusal(key)} ({where})")
                continue
            before, other = said.setdefault(path, (text, each))
            if before != text:
                both = f"{other.ref} says {shown(before)} and {each.ref} {shown(text)}"
                mistakes.append(f"{PREFIX}{key}: {both}; keep one")
            elif other is each:
                try:
                    given = Given(_value(path, text), ("services", name, *path), where)
                except UserError as error:
                    mistakes.append(f"{PREFIX}{key}: {error} ({where})")
                else:
                    tree = plant(tree, given)
    return tree, mistakes


def _refusal(key: str) -> str:
    if key in _KNOWN or key.split(".", maxsplit=1)[0] in ("budget", "discover", "services", "simulation"):
        return "is for the planner's own configuration; remove it"
    close = closest(key, [*SHORT, *_OPEN])
    return f"no annotation sets this; {f'did you mean {PREFIX}{close}?' if close else 'remove it'}"


def _value(path: KeyPath, text: str) -> object:
    """What a text means there. Raises UserError."""
    if len(text) > LONGEST:
        raise UserError(f"{shown(text)} is longer than {LONGEST} characters; shorten it")
    value = value_of(text)
    # Shown is the text: with anchors a short list may be endless.
    if not isinstance(value, str | int | float | bool | None):
        raise UserError(f"{shown(text)} is not a single value; give text or a number")
    if path == ("profile",) and isinstance(value, str) and is_path(value):
        raise UserError(f"{shown(text)} is a file; name a profile that comes with the planner")
    if path == ("forecast", "model") and isinstance(value, str) and ":" in value:
        raise UserError(f"{shown(text)} is code; name a forecaster that comes with the planner")
    return value


def _below(tree: Tree, root: KeyPath) -> Tree:
    for key in root:
        branch = tree[key]
        assert isinstance(branch, dict)
        tree = branch
    return tree
