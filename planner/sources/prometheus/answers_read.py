"""A response's body, read: JSON of the query API to an answer; whatever else it is, to a failure that says so.

Nothing here raises for what was received. Shapes: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from planner.sources.prometheus.answers import (
    Answer,
    Failure,
    LabelledSample,
    Labels,
    Matrix,
    Names,
    Rejected,
    Series,
    Vector,
)

INSTANT = frozenset({"vector", "scalar", "matrix"})
"""Result types of an instant query; a matrix when the expression is a range selector."""
RANGE = frozenset({"matrix"})
NAMES = frozenset({"names"})
"""The list of /api/v1/series, which has no result type of its own."""
_END_OF_TIME_S = 1e15
"""Beyond what Prometheus can store; JSON's numbers go further than ours."""


def read(body: bytes, expected: Collection[str], where: str, skew_s: float | None) -> Answer:
    """The answer in a response with status 200; `where` is the address for a failure's text."""
    try:
        document = json.loads(body)
    # RecursionError: nested deeper than the parser goes.
    except (ValueError, RecursionError):
        return Failure(
            "not-json", f"{where}: the answer is not valid JSON; see what stands between here and Prometheus"
        )
    try:
        return _read(document, expected, where, skew_s)
    except _ShapeError as error:
        return Failure("not-prometheus", f"{where}: {error}; check that url is a Prometheus address")


def complaint(body: bytes) -> tuple[str, str] | None:
    """Error type and error text of a refusal, as Prometheus words it; None when the body is something else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("status") != "error":
        return None
    return one_line(document.get("errorType", "")), one_line(document.get("error", ""))


def one_line(text: object, longest: int = 300) -> str:
    """Foreign text made fit for a log line."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(str(text)[: 4 * longest].split()))
    return line if len(line) <= longest else line[:longest] + "..."


class _ShapeError(Exception):
    """The JSON is not what the API documents."""


def _read(document: Any, expected: Collection[str], where: str, skew_s: float | None) -> Answer:
    envelope = _object(document, "the answer")
    if envelope.get("status") == "error":
        return Failure("refused", f"{where}: {one_line(envelope.get('error', ''))}; correct the query")
    if envelope.get("status") != "success":
        raise _ShapeError("the answer has no status")
    notes = (_texts(envelope, "warnings"), _texts(envelope, "infos"), skew_s)
    if expected == NAMES:
        return Names(tuple(_labels(each) for each in _list(envelope.get("data"), "data")), *notes)
    data = _object(envelope.get("data"), "data")
    kind, result = data.get("resultType"), _list(data.get("result"), "result")
    if kind == "string":
        return Failure("refused", f"{where}: the query gives a string; ask for numbers")
    if kind not in expected:
        raise _ShapeError(f"resultType is {one_line(kind, 40)!r}, not {' or '.join(sorted(expected))}")
    if kind == "matrix":
        series, rejected = _matrix(result)
        return Matrix(series, rejected, *notes)
    samples, rejected = _vector([{"metric": {}, "value": result}] if kind == "scalar" else result)
    return Vector(samples, rejected, *notes)


def _vector(result: list[Any]) -> tuple[tuple[LabelledSample, ...], tuple[Rejected, ...]]:
    samples: list[LabelledSample] = []
    rejected: list[Rejected] = []
    for labels, entry, twice in _unlike(result):
        at_s, value, why = _histogram(entry["histogram"]) if "histogram" in entry else _point(entry.get("value"))
        if twice or why:
            rejected.append(Rejected(labels, "duplicate series" if twice else why, at_s))
        else:
            samples.append(LabelledSample(labels, value, at_s))
    return tuple(samples), tuple(rejected)


def _matrix(result: list[Any]) -> tuple[tuple[Series, ...], tuple[Rejected, ...]]:
    series: list[Series] = []
    rejected: list[Rejected] = []
    for labels, entry, twice in _unlike(result):
        points = [_point(each) for each in _list(entry.get("values", []), "values")]
        points += [_histogram(each) for each in _list(entry.get("histograms", []), "histograms")]
        if twice:
            rejected += [Rejected(labels, "duplicate series", at_s) for at_s, _, _ in points]
            continue
        rejected += [Rejected(labels, why, at_s) for at_s, _, why in points if why]
        if kept := [(at_s, value) for at_s, value, why in points if not why]:
            series.append(Series(labels, *zip(*kept, strict=True)))
    return tuple(series), tuple(rejected)


def _unlike(result: list[Any]) -> Iterable[tuple[Labels, Mapping[str, Any], bool]]:
    """Labels and content of each series, and whether another has the same labels: nobody can tell which is right."""
    entries = [_object(each, "a series") for each in result]
    labels = [_labels(entry.get("metric")) for entry in entries]
    keys = [frozenset(each.items()) for each in labels]
    count = Counter(keys)
    return ((each, entry, count[key] > 1) for each, entry, key in zip(labels, entries, keys, strict=True))


def _point(pair: Any) -> tuple[float, float, str]:
    """Time, value, and why it is no sample."""
    at_s, text = _pair(pair)
    try:
        value = float(text) if isinstance(text, str) else None
    except ValueError:
        value = None
    if value is None:
        raise _ShapeError(f"a value is {one_line(text, 40)!r}, not a number in quotes")
    return at_s, value, "" if math.isfinite(value) else ("NaN" if math.isnan(value) else f"{value:+}".title())


def _histogram(pair: Any) -> tuple[float, float, str]:
    return _pair(pair)[0], math.nan, "native histogram"


def _pair(pair: Any) -> tuple[float, Any]:
    match pair:
        case [int() | float() as at_s, content] if not isinstance(at_s, bool) and abs(at_s) < _END_OF_TIME_S:
            return float(at_s), content
    raise _ShapeError("a sample is not a pair of time and value")


def _labels(metric: Any) -> Labels:
    labels = _object(metric, "a label set")
    if not all(isinstance(value, str) for value in labels.values()):
        raise _ShapeError("a label's value is not a text")
    return labels


def _texts(envelope: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(one_line(each) for each in _list(envelope.get(name) or [], name))


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _ShapeError(f"{name} is not a JSON object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _ShapeError(f"{name} is not a JSON list")
    return value
