"""PromQL for what a detection chose: one query serves all services, each of which is one value of the grouping labels.

- `rate` comes before `sum`, so that a restart costs one scrape and not the counter.
- What was scraped twice counts once: of series alike in pod and parts the largest is taken. Without pod labels that
  cannot be known, and only repeated ranks are merged.
- Of a ratio under two names each pod counts with the first that it has, and never with both.
- A ratio over nothing has no answer, never NaN: its divisor must be above 0. The divisor is asked alone too, for there
  0 means idle and no answer means missing.
- Edges of buckets are written `1` by some clients and `1.0` by others; both are asked for.

Every result carries exactly the grouping labels that its series have; `Queries.buckets` and `Queries.ttft_edges` carry
`le` besides. Prometheus leaves a label out that is empty. A router's series may have other labels than the engines', so
they have a scope of their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from planner.errors import UserError
from planner.sources.prometheus.detect import Choice, Chosen
from planner.sources.prometheus.maps import Balance, Buckets, Kind, PoolMean, Quantity, Rate, Ratio, Total

POD = ("namespace", "pod")
"""Labels by which Kubernetes scrape configurations usually tell pods apart."""

SPREAD_WINDOWS = 10
"""Windows behind `Queries.buckets`: a variation needs more requests than a mean. Then one request in every window is
enough for it, and a service that always has a rate has a variation too."""

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
class Scope:
    """Which series to ask for, and by which labels to tell services and pools apart. Raises QueryError."""

    group_by: tuple[str, ...]
    matchers: tuple[Matcher, ...]

    def __post_init__(self) -> None:
        _checked("group_by", self.group_by)


@dataclass(frozen=True, slots=True)
class Queries:
    """PromQL by what it answers; a quantity that was not chosen has no query."""

    values: Mapping[Quantity, str]
    """In the quantity's unit; `reporting` counts pods. Histograms have none: see `buckets` and `within`."""
    events: Mapping[Quantity, str]
    """Of each mean, and of `ttft_buckets`, how many events per second it is of: 0 is idle, no answer is missing."""
    ages_s: Mapping[Quantity, str]
    """Age of the worst sample behind a value, in seconds. A pod that is gone ages for five minutes, then vanishes."""
    within: Mapping[float, str]
    """By target in seconds: share of requests with their first token within it. No answer where it is no edge."""
    buckets: Mapping[Quantity, str]
    """Of `isl_buckets`, by edge `le`: requests of the last ten windows that were at most as long."""
    ttft_edges: str | None
    """Series behind each edge `le` of the TTFT histogram, in its own unit: the targets that have an exact answer."""


def queries(
    choice: Choice,
    group_by: Sequence[str],
    matchers: Sequence[Matcher],
    window_s: float,
    targets_ttft_s: Sequence[float],
    pod_labels: Sequence[str] = POD,
    router: Scope | None = None,
) -> Queries:
    """All queries for what was chosen, over the last `window_s` seconds.

    `router` is the scope of what a router tells; None: `group_by` and `matchers`, as of engines. `pod_labels` tell pods
    apart; empty where the scrape configuration sets none. Raises QueryError for a label that is none, and for a window
    or a target that is not above 0.
    """
    engines = Scope(tuple(group_by), tuple(matchers))
    _checked("pod_labels", pod_labels)
    if not 0.001 <= window_s < math.inf:
        raise QueryError(f"window_s: {window_s:g} is no window; give a finite number of seconds, 0.001 or more")
    for target_s in targets_ttft_s:
        if not 0 < target_s < math.inf:
            raise QueryError(f"targets_ttft_s: {target_s:g} is no target; give a finite number of seconds above 0")
    scopes: Mapping[Kind, Scope] = {"engine": engines, "router": router or engines}
    writers = {
        quantity: _Writer(chosen, scopes[chosen.map.kind], window_s, tuple(pod_labels))
        for quantity, chosen in choice.items()
    }
    ttft = writers.get(Quantity.TTFT_BUCKETS)
    isl = writers.get(Quantity.ISL_BUCKETS)
    return Queries(
        values={
            quantity: writer.reporting() if quantity is Quantity.REPORTING else writer.value()
            for quantity, writer in writers.items()
            if not isinstance(writer.chosen.alternative, Buckets)
        },
        events={
            quantity: writer.events(writer.chosen.alternative)
            for quantity, writer in writers.items()
            if isinstance(writer.chosen.alternative, Ratio | Buckets) and writer is not isl
        },
        ages_s={quantity: writer.age_s() for quantity, writer in writers.items()},
        within={target_s: ttft.within(target_s) for target_s in targets_ttft_s} if ttft else {},
        buckets={Quantity.ISL_BUCKETS: isl.counts()} if isl else {},
        ttft_edges=ttft.edges() if ttft else None,
    )


def by_pod(choice: Choice, quantity: Quantity, matchers: Sequence[Matcher], pod_labels: Sequence[str] = POD) -> str:
    """A gauge of each pod, told apart by the last of `pod_labels`, its name."""
    *_, pod = pod_labels
    return _Writer(choice[quantity], Scope((pod,), tuple(matchers)), 1.0, tuple(pod_labels)).value()


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the PromQL of one quantity."""

    chosen: Chosen
    scope: Scope
    window_s: float
    pod_labels: tuple[str, ...]

    @property
    def group_by(self) -> tuple[str, ...]:
        return self.scope.group_by

    @property
    def window(self) -> str:
        return _duration(self.window_s)

    def value(self) -> str:
        match self.chosen.alternative:
            case Rate(series=series):
                return self.summed_rate(series)
            case Balance(series=series, holds=holds):
                growth = (self._summed(f"deriv({self._selector(held)}[{self.window}])") for held in holds)
                return f"clamp_min({' + '.join([self.summed_rate(series), *growth])}, 0)"
            case Ratio(unit=unit) as ratio:
                in_ms = " / 1000" if unit == "milliseconds" else ""
                whole = self._summed(
                    self._rate(ratio.series), *(self._rate(older.series) for older in self.chosen.older)
                )
                return f"{whole} / ({self.events(ratio)} > 0){in_ms}"
            case Total(series=series):
                return self._summed(self._selector(series))
            case PoolMean(series=series, times=times):
                of_the_pool = f"{self._selector(series)} * {self._selector(times)}"
                once = _by("max", (*self.group_by, *self.chosen.map.parts))
                return f"{_by('sum', self.group_by)} ({once} ({of_the_pool}))"
            case Buckets():
                raise AssertionError("buckets have no value of their own")

    def events(self, mean: Ratio | Buckets) -> str:
        """What a mean or a share is of, per second."""
        return self._summed(self._rate(mean.over), *(self._rate(older.over) for older in self.chosen.older))

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

    def counts(self) -> str:
        """Requests up to each edge."""
        span = _duration(SPREAD_WINDOWS * self.window_s)
        return self._summed(f"increase({self._selector(self.chosen.alternative.series)}[{span}])", more=("le",))

    def edges(self) -> str:
        return f"{_by('count', (*self.group_by, 'le'))} ({self._selector(self.chosen.alternative.series)})"

    def summed_rate(self, series: str, more: tuple[Matcher, ...] = ()) -> str:
        return self._summed(self._rate(series, more))

    def _rate(self, series: str, more: tuple[Matcher, ...] = ()) -> str:
        return f"rate({self._selector(series, more)}[{self.window}])"

    def _summed(self, *vectors: str, more: tuple[str, ...] = ()) -> str:
        """Of several vectors, a pod's is the first in which it stands."""
        labels = (*self.group_by, *self.pod_labels, *self.chosen.map.parts, *more)
        once = (
            f"{_by('max', labels)} ({vector})" if self.pod_labels else self._merged(vector, self.chosen.map.repeats)
            for vector in vectors
        )
        return f"{_by('sum', (*self.group_by, *more))} ({' or '.join(once)})"

    def _merged(self, vector: str, labels: tuple[str, ...]) -> str:
        dropped = [label for label in dict.fromkeys(labels) if label not in self.group_by]
        return f"max without ({', '.join(dropped)}) ({vector})" if dropped else vector

    def _selector(self, series: str, more: tuple[Matcher, ...] = ()) -> str:
        keep = (Matcher(label, value) for label, value in self.chosen.map.keep.get(series, {}).items())
        conditions = ", ".join(str(matcher) for matcher in (*self.scope.matchers, *keep, *more))
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
