"""PromQL for what a detection chose: one query serves all services, each of which is one value of the grouping labels.

- `rate` comes before `sum`, so that a restart costs one scrape and not the counter.
- What was scraped twice counts once: of series alike in pod and parts the largest is taken. Without pod labels that
  cannot be known, and only repeated ranks are merged.
- A ratio over nothing has no answer, never NaN: its divisor must be above 0. The divisor is asked alone too, for there
  0 means idle and no answer means missing.
- Edges of buckets are written `1` by some clients and `1.0` by others; both are asked for.

Every result carries exactly the grouping labels that its series have; `Queries.ttft_edges` carries `le` besides.
Prometheus leaves a label out that is empty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from planner.errors import UserError
from planner.sources.prometheus.detect import Choice, Chosen
from planner.sources.prometheus.maps import Balance, Buckets, PoolMean, Quantity, Rate, Ratio, Total

POD = ("namespace", "pod")
"""Labels by which Kubernetes scrape configurations usually tell pods apart."""

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RE2_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_IN_QUOTES = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"}


class QueryError(UserError):
    """A query that cannot be built; the message names the field, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label. Printed as PromQL, whatever its value contains."""

    label: str
    value: str
    op: Literal["=", "!=", "=~", "!~"] = "="

    def __post_init__(self) -> None:
        _checked("matchers", (self.label,))

    @classmethod
    def any_of(cls, label: str, values: Sequence[str]) -> Self:
        """The label has one of the values, taken literally. Raises QueryError when there is none."""
        if not values:
            raise QueryError(f"matchers: {label} has no value to match; give one")
        return cls(label, "|".join(_RE2_SPECIAL.sub(r"\\\g<0>", value) for value in values), "=~")

    def __str__(self) -> str:
        quoted = "".join(_IN_QUOTES.get(character, character) for character in self.value)
        return f'{self.label}{self.op}"{quoted}"'


@dataclass(frozen=True, slots=True)
class Queries:
    """PromQL by what it answers; a quantity that was not chosen has no query."""

    values: Mapping[Quantity, str]
    """In the quantity's unit; `reporting` counts pods. `ttft_buckets` has none: see `within`."""
    events: Mapping[Quantity, str]
    """Of each mean, and of `ttft_buckets`, how many events per second it is of: 0 is idle, no answer is missing."""
    ages_s: Mapping[Quantity, str]
    """Age of the worst sample behind a value, in seconds. A pod that is gone ages for five minutes, then vanishes."""
    within: Mapping[float, str]
    """By target in seconds: share of requests with their first token within it. No answer where it is no edge."""
    ttft_edges: str | None
    """Series behind each edge `le` of the TTFT histogram, in its own unit: the targets that have an exact answer."""


def queries(
    choice: Choice,
    group_by: Sequence[str],
    matchers: Sequence[Matcher],
    window_s: float,
    targets_ttft_s: Sequence[float],
    pod_labels: Sequence[str] = POD,
) -> Queries:
    """All queries for what was chosen, over the last `window_s` seconds.

    `pod_labels` tell pods apart; empty where the scrape configuration sets none. Raises QueryError for a label that is
    none, and for a window or a target that is not above 0.
    """
    _checked("group_by", group_by)
    _checked("pod_labels", pod_labels)
    if not 0.001 <= window_s < math.inf:
        raise QueryError(f"window_s: {window_s:g} is no window; give a finite number of seconds, 0.001 or more")
    for target_s in targets_ttft_s:
        if not 0 < target_s < math.inf:
            raise QueryError(f"targets_ttft_s: {target_s:g} is no target; give a finite number of seconds above 0")
    writers = {
        quantity: _Writer(chosen, tuple(group_by), tuple(matchers), _duration(window_s), tuple(pod_labels))
        for quantity, chosen in choice.items()
    }
    buckets = writers.get(Quantity.TTFT_BUCKETS)
    return Queries(
        values={
            quantity: writer.reporting() if quantity is Quantity.REPORTING else writer.value()
            for quantity, writer in writers.items()
            if writer is not buckets
        },
        events={
            quantity: writer.summed_rate(writer.chosen.alternative.over)
            for quantity, writer in writers.items()
            if isinstance(writer.chosen.alternative, Ratio | Buckets)
        },
        ages_s={quantity: writer.age_s() for quantity, writer in writers.items()},
        within={target_s: buckets.within(target_s) for target_s in targets_ttft_s} if buckets else {},
        ttft_edges=buckets.edges() if buckets else None,
    )


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the PromQL of one quantity."""

    chosen: Chosen
    group_by: tuple[str, ...]
    matchers: tuple[Matcher, ...]
    window: str
    pod_labels: tuple[str, ...]

    def value(self) -> str:
        match self.chosen.alternative:
            case Rate(series=series):
                return self.summed_rate(series)
            case Balance(series=series, holds=holds):
                growth = (self._summed(f"deriv({self._selector(held)}[{self.window}])") for held in holds)
                return f"clamp_min({' + '.join([self.summed_rate(series), *growth])}, 0)"
            case Ratio(series=series, over=over, unit=unit):
                in_ms = " / 1000" if unit == "milliseconds" else ""
                return f"{self.summed_rate(series)} / ({self.summed_rate(over)} > 0){in_ms}"
            case Total(series=series):
                return self._summed(self._selector(series))
            case PoolMean(series=series, times=times):
                of_the_pool = f"{self._selector(series)} * {self._selector(times)}"
                return f"{self._sum_by()} ({_by('max', (*self.group_by, *self.chosen.map.parts))} ({of_the_pool}))"
            case Buckets():
                raise AssertionError("buckets have a value only within a target")

    def reporting(self) -> str:
        selector = self._selector(self.chosen.alternative.series)
        if self.pod_labels:
            pods = f"{_by('max', (*self.group_by, *self.pod_labels))} ({selector})"
        else:
            pods = self._merged(selector, (*self.chosen.map.parts, *self.chosen.map.repeats))
        return f"{_by('count', self.group_by)} ({pods})"

    def age_s(self) -> str:
        # All series of an alternative come with one scrape; the last needed is never the many buckets.
        selector = self._selector(self.chosen.alternative.needs[-1])
        return f"{_by('max', self.group_by)} (time() - timestamp({selector}))"

    def within(self, target_s: float) -> str:
        buckets = self.chosen.alternative
        assert isinstance(buckets, Buckets)
        # Rounding: 0.29 s in ms is 290, not 289.99999999999997.
        edge = round(target_s * 1000, 9) if buckets.unit == "milliseconds" else float(target_s)
        met = self.summed_rate(buckets.series, (_at_edge(edge),))
        return f"{met} / ({self.summed_rate(buckets.over)} > 0)"

    def edges(self) -> str:
        return f"{_by('count', (*self.group_by, 'le'))} ({self._selector(self.chosen.alternative.series)})"

    def summed_rate(self, series: str, more: tuple[Matcher, ...] = ()) -> str:
        return self._summed(f"rate({self._selector(series, more)}[{self.window}])")

    def _summed(self, vector: str) -> str:
        if self.pod_labels:
            once = f"{_by('max', (*self.group_by, *self.pod_labels, *self.chosen.map.parts))} ({vector})"
        else:
            once = self._merged(vector, self.chosen.map.repeats)
        return f"{self._sum_by()} ({once})"

    def _merged(self, vector: str, labels: tuple[str, ...]) -> str:
        dropped = [label for label in dict.fromkeys(labels) if label not in self.group_by]
        return f"max without ({', '.join(dropped)}) ({vector})" if dropped else vector

    def _sum_by(self) -> str:
        return _by("sum", self.group_by)

    def _selector(self, series: str, more: tuple[Matcher, ...] = ()) -> str:
        keep = (Matcher(label, value) for label, value in self.chosen.map.keep.get(series, {}).items())
        conditions = ", ".join(str(matcher) for matcher in (*self.matchers, *keep, *more))
        return f"{self.chosen.spelt(series)}{{{conditions}}}"


def _by(aggregation: str, labels: Sequence[str]) -> str:
    return f"{aggregation} by ({', '.join(dict.fromkeys(labels))})"


def _at_edge(edge: float) -> Matcher:
    if not edge.is_integer():
        return Matcher("le", repr(edge))
    return Matcher("le", f"{edge:.0f}|{edge:.0f}[.]0", "=~")


def _duration(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def _checked(field: str, labels: Sequence[str]) -> None:
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise QueryError(f"{field}: {label!r} is no label name; write letters, digits and _, no digit first")
