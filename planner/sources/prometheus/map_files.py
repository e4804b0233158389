"""Metric maps in YAML: the built-in ones, and files of the user over them.

The built-in maps are the files in the folder maps/ beside this module. A file of the user is one map in the same form.
It replaces what it names of the built-in map of its name, quantity by quantity, or it is a new map.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from planner.errors import UserError
from planner.sources.prometheus.maps import Balance, Buckets, MetricMap, PoolMean, Quantity, Rate, Ratio, Total

_LONGEST_SHOWN = 60
_BY_HOW: Mapping[str, type[BaseModel]] = {
    "rate": Rate,
    "balance": Balance,
    "ratio": Ratio,
    "total": Total,
    "pool_mean": PoolMean,
    "buckets": Buckets,
}


class MapError(UserError):
    """A metric map that cannot be used; the message names file, path, value and remedy."""


def load_maps(files: Sequence[Path] = ()) -> Mapping[str, MetricMap]:
    """The built-in maps by name, and over them those of the user's files, in their order.

    Raises MapError at the first mistake in a file.
    """
    maps = dict(_built_in())
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise MapError(f"{file}: cannot be read ({error.strerror}); check the path") from error
        except UnicodeDecodeError as error:
            raise MapError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
        read = _read(text, str(file), maps)
        maps[read.name] = read
    return maps


@cache
def _built_in() -> Mapping[str, MetricMap]:
    folder = resources.files("planner.sources.prometheus").joinpath("maps")
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    read = [_read(file.read_text(encoding="utf-8"), file.name, {}) for file in files]
    return {each.name: each for each in read}


def _read(text: str, file: str, known: Mapping[str, MetricMap]) -> MetricMap:
    try:
        document = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise MapError(f"{file}{line}: {error.problem}; mend the YAML") from error
    except yaml.YAMLError as error:
        raise MapError(f"{file}: {str(error).splitlines()[0]}; mend the YAML") from error
    if not isinstance(document, dict):
        raise MapError(f"{file}: the top level is {_shown(document)}; it must be a mapping, such as name: vllm")
    name = document.get("name")
    if isinstance(name, str) and name in known:
        document = _over(known[name].model_dump(mode="json"), document)
    try:
        return MetricMap.model_validate(document)
    except ValidationError as error:
        raise MapError(f"{file}: {_mistake(error.errors(include_url=False)[0])}") from error


def _over(base: dict[str, dict[str, object]], document: Mapping[str, object]) -> dict[str, object]:
    """The document's keys in the place of the base's; of mappings, key by key."""
    merged = {**base, **document}
    for key, moved_to in (("quantities", "absent"), ("absent", "quantities"), ("keep", None)):
        own, moved = document.get(key, {}), document.get(moved_to, {}) if moved_to else {}
        if isinstance(own, dict) and isinstance(moved, dict):
            merged[key] = {**{entry: value for entry, value in base[key].items() if entry not in moved}, **own}
    return merged


def _mistake(error: ErrorDetails) -> str:
    kind, context, loc = error["type"], error.get("ctx", {}), [str(key) for key in error["loc"]]
    if kind == "value_error":
        return str(context["error"])
    # Behind a position in a list stands the alternative's `how`, by which pydantic chose the class; nobody wrote it.
    path = [key for key, before in zip(loc, ["", *loc], strict=False) if not before.isdecimal()]
    where = _shown(".".join(path).removesuffix(".[key]"))[1:-1]
    given = _shown(error["input"])
    if kind in ("extra_forbidden", "enum"):
        what, known = ("unknown key", _keys(loc[:-1])) if kind == "extra_forbidden" else ("no quantity", list(Quantity))
        close = difflib.get_close_matches(loc[-1] if kind == "extra_forbidden" else str(error["input"]), known, n=1)
        return f"{where}: {what}; " + (f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}")
    return f"{where}" + {
        "missing": ": not set; write it",
        "invalid_key": ": the key is not text; put it in quotes",
        "tuple_type": f": {given} does not fit; write a list",
        "mapping_type": f": {given} does not fit; write a mapping",
        "dict_type": f": {given} does not fit; write a mapping",
        "model_attributes_type": f": {given} does not fit; write a mapping",
        "union_tag_not_found": f".how: not set; write {', '.join(_BY_HOW)}",
        "union_tag_invalid": f".how: {_shown(context.get('tag'))} is unknown; write {', '.join(_BY_HOW)}",
        "string_pattern_mismatch": f": {given} is malformed; write what matches {context.get('pattern')}",
    }.get(kind, f": {given} does not fit; {error['msg'].replace('Input', 'it')}")


def _keys(parents: Sequence[str]) -> list[str]:
    return list((_BY_HOW[parents[-1]] if parents else MetricMap).model_fields)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key may stand only once: of two, PyYAML would quietly take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(None, None, f"{_shown(key.value)} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)
