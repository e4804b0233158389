"""Quantiles of a stream in bounded memory, mergeable across processes, with a stated relative error.

DDSketch: Masson, Rim, Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees",
PVLDB 12(12), 2019. With a relative error a and gamma = (1 + a) / (1 - a), bucket k counts the values in
(gamma^(k-1), gamma^k]; its estimate 2 gamma^k / (gamma + 1) is within a of each of them.

Invariants
- A quantile is within the relative error of the exact one, the value of rank floor(q (n - 1)) (numpy's "lower"),
  and lies between the exact minimum and maximum.
- Buckets, count, min and max depend on what was added, not on the order, nor on how it was spread over merged
  sketches; the sum likewise, up to floating-point rounding.

Limits
- Values are non-negative, in any unit. Those up to 1e-9 (a nanosecond, when seconds) count as zero.
- Above `max_buckets` occupied buckets, the lowest are merged into one: its quantiles come out too high, never too
  low, and the others stay exact to the bound. At 1 % and 2048 buckets that needs values over more than 17 decades.

Mutable, unlike most of the core: it takes a value per token. One writer; not safe across threads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import nsmallest

from planner.errors import UserError

SCHEMA_VERSION = 1
SMALLEST = 1e-9
"""Values up to this count as zero."""
LARGEST = 1e100
"""Values above this are refused, so that neither an estimate nor the sum can overflow."""


class SketchError(UserError):
    """A value, a quantile or a stored state that a sketch cannot take."""


class QuantileSketch:
    """Counts of values by logarithmic bucket. Raises SketchError on parameters that cannot be."""

    __slots__ = ("_buckets", "_keys_per_e", "_zeros", "count", "max", "max_buckets", "min", "relative_error", "sum")

    count: int
    """Weight added in total."""
    sum: float
    """Sum of value times weight, exact but for rounding."""
    min: float | None
    """Smallest value, exact; None before there is one."""
    max: float | None
    """Largest value, exact; None before there is one."""

    def __init__(self, relative_error: float = 0.01, max_buckets: int = 2048) -> None:
        if not 1e-4 <= relative_error <= 0.5:
            raise SketchError(f"relative_error: {relative_error!r} must lie in 0.0001..0.5; write 0.01 for 1 %")
        if max_buckets < 1:
            raise SketchError(f"max_buckets: {max_buckets!r} must be at least 1; 2048 suits latencies")
        self.relative_error = relative_error
        self.max_buckets = max_buckets
        self._keys_per_e = 1 / math.log((1 + relative_error) / (1 - relative_error))
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self.count = 0
        self.sum = 0.0
        self.min = None
        self.max = None

    def add(self, value: float, weight: int = 1) -> None:
        """Count `value` `weight` times. Raises SketchError, and changes nothing, on a value or weight out of range."""
        if not 0 <= value <= LARGEST:
            raise SketchError(f"value: {value!r} must lie in 0..{LARGEST:g}; leave out what is not known")
        if weight < 1:
            raise SketchError(f"weight: {weight!r} must be at least 1; leave out what did not happen")
        if value <= SMALLEST:
            self._zeros += weight
        else:
            key = self._key(value)
            self._buckets[key] = self._buckets.get(key, 0) + weight
            if len(self._buckets) > self.max_buckets:
                self._collapse_lowest()
        self.count += weight
        self.sum += value * weight
        self.min = value if self.min is None or value < self.min else self.min
        self.max = value if self.max is None or value > self.max else self.max

    def add_all(self, values: Sequence[float]) -> None:
        """Count each value once, faster than one by one. Raises SketchError, and changes nothing, as `add` does."""
        if not values:
            return
        low, high = min(values), max(values)
        if not (low >= 0 and high <= LARGEST) or any(map(math.isnan, values)):
            wrong = next(value for value in values if not 0 <= value <= LARGEST)
            raise SketchError(f"value: {wrong!r} must lie in 0..{LARGEST:g}; leave out what is not known")
        ceil, log, keys_per_e = math.ceil, math.log, self._keys_per_e
        keys = [ceil(log(value) * keys_per_e) for value in values if value > SMALLEST]
        self._zeros += len(values) - len(keys)
        for key, weight in Counter(keys).items():
            self._buckets[key] = self._buckets.get(key, 0) + weight
        self._collapse_lowest()
        self.count += len(values)
        self.sum += math.fsum(values)
        self.min = low if self.min is None or low < self.min else self.min
        self.max = high if self.max is None or high > self.max else self.max

    def merge(self, other: QuantileSketch) -> None:
        """Count everything `other` has counted; `other` stays as it is.

        Raises SketchError, and changes nothing, when the two do not have the same parameters.
        """
        if (self.relative_error, self.max_buckets) != (other.relative_error, other.max_buckets):
            raise SketchError(
                f"relative_error, max_buckets: {other.relative_error!r}, {other.max_buckets!r} cannot be merged into "
                f"{self.relative_error!r}, {self.max_buckets!r}; build both sketches with the same"
            )
        for key, weight in list(other._buckets.items()):
            self._buckets[key] = self._buckets.get(key, 0) + weight
        self._collapse_lowest()
        self._zeros += other._zeros
        self.count += other.count
        self.sum += other.sum
        self.min = min((low for low in (self.min, other.min) if low is not None), default=None)
        self.max = max((high for high in (self.max, other.max) if high is not None), default=None)

    def __add__(self, other: QuantileSketch) -> QuantileSketch:
        """A new sketch of both."""
        both = QuantileSketch(self.relative_error, self.max_buckets)
        both.merge(self)
        both.merge(other)
        return both

    def quantile(self, q: float) -> float | None:
        """The value that a share `q` of the weight does not exceed, within the relative error; None when empty."""
        if not 0 <= q <= 1:
            raise SketchError(f"q: {q!r} must lie in 0..1; write 0.95 for the 95th percentile")
        if self.min is None or self.max is None:
            return None
        rank = q * (self.count - 1)
        return min(max(self._estimate_at(rank), self.min), self.max)

    def _key(self, value: float) -> int:
        return math.ceil(math.log(value) * self._keys_per_e)

    def _estimate_at(self, rank: float) -> float:
        below = self._zeros
        estimate = 0.0
        for key in sorted(self._buckets):
            if below > rank:
                break
            below += self._buckets[key]
            estimate = math.exp(key / self._keys_per_e) * (1 - self.relative_error)
        return estimate

    def _collapse_lowest(self) -> None:
        excess = len(self._buckets) - self.max_buckets
        if excess > 0:
            *lowest, kept = nsmallest(excess + 1, self._buckets)
            self._buckets[kept] += sum(self._buckets.pop(key) for key in lowest)

    def to_dict(self) -> dict[str, object]:
        """The state, as JSON can hold it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "relative_error": self.relative_error,
            "max_buckets": self.max_buckets,
            "zeros": self._zeros,
            "sum": self.sum,
            "min": self.min,
            "max": self.max,
            "buckets": [[key, self._buckets[key]] for key in sorted(self._buckets)],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> QuantileSketch:
        """The sketch that `to_dict` described, perhaps in another process.

        Raises SketchError when the state is not one: another version, a field missing, a count that cannot be.
        """
        if state.get("schema_version") != SCHEMA_VERSION:
            raise SketchError(
                f"schema_version: {state.get('schema_version')!r} is not {SCHEMA_VERSION}; write it with this version"
            )
        sketch = cls(_number(state, "relative_error"), _count("max_buckets", state.get("max_buckets")))
        sketch._zeros = _count("zeros", state.get("zeros"))
        sketch._buckets = sketch._read_buckets(state.get("buckets"))
        sketch.count = sketch._zeros + sum(sketch._buckets.values())
        sketch.sum = _number(state, "sum")
        if sketch.count:
            low, high = _number(state, "min"), _number(state, "max")
            if low > high:
                raise SketchError(f"min: {low!r} lies above max = {high!r}; the state is damaged, drop it")
            sketch.min, sketch.max = low, high
        return sketch

    def _read_buckets(self, entries: object) -> dict[int, int]:
        if not isinstance(entries, list) or len(entries) > self.max_buckets:
            raise SketchError(f"buckets: must be a list of at most {self.max_buckets} [key, count]; drop the state")
        lowest, highest = self._key(SMALLEST), self._key(LARGEST)
        buckets: dict[int, int] = {}
        for entry in entries:
            match entry:
                case [int(key), weight] if lowest <= key <= highest and key not in buckets:
                    buckets[key] = _count("buckets", weight)
                case _:
                    raise SketchError(
                        f"buckets: {entry!r} is no new [key, count] in {lowest}..{highest}; drop the state"
                    )
        return buckets


def _number(state: Mapping[str, object], name: str) -> float:
    value = state.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise SketchError(f"{name}: {value!r} must be a finite number, not negative; the state is damaged, drop it")
    return value


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SketchError(f"{name}: {value!r} must be a whole number, not negative; the state is damaged, drop it")
    return value
