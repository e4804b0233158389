"""Metric maps: which series of an engine or a router tell which quantity, as data.

For each quantity a map lists alternatives, the best first: names change from version to version, and what is there
decides. Series are written with the first of the map's prefixes; collectors that rename leave the others. A quantity
that no series tells is absent with a sentence, which users are shown. No code knows an engine by its name.

`map_files` reads maps from YAML.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator


class Quantity(StrEnum):
    """What a map may tell of a service. Rates are per second, means over requests or tokens."""

    ARRIVALS = "arrivals"
    """Requests per second."""
    ISL_TOKENS = "isl_tokens"
    OSL_TOKENS = "osl_tokens"
    TTFT_S = "ttft_s"
    QUEUE_S = "queue_s"
    ITL_S = "itl_s"
    WAITING = "waiting"
    RUNNING = "running"
    REPORTING = "reporting"
    """A series that every live replica has: it proves that replicas are read."""
    TTFT_BUCKETS = "ttft_buckets"
    """The histogram behind attainment."""
    ISL_BUCKETS = "isl_buckets"
    """The histogram of prompt lengths, which tells how much they vary."""


Kind = Literal["engine", "router"]
Unit = Literal["requests", "tokens", "seconds", "milliseconds", "replicas"]

_Series = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
_Prefix = Annotated[str, StringConstraints(pattern=r"^([a-zA-Z_:][a-zA-Z0-9_:]*)?$")]
_Label = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
_Line = Annotated[str, StringConstraints(pattern=r"^[^\r\n]*\S[^\r\n]*$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Alternative(_Entry):
    unit: Unit
    series: _Series

    @property
    def needs(self) -> tuple[str, ...]:
        """The series without which it cannot be built."""
        return (self.series,)


class Rate(_Alternative):
    """Increments of a counter per second."""

    how: Literal["rate"]


class Balance(_Alternative):
    """Arrivals where none are counted: requests counted later, and the growth of what holds those not yet counted."""

    how: Literal["balance"]
    holds: Annotated[tuple[_Series, ...], Field(min_length=1)]

    @property
    def needs(self) -> tuple[str, ...]:
        """The counter and the gauges."""
        return (self.series, *self.holds)


class Ratio(_Alternative):
    """Increments of one counter over those of another: a histogram's sum over its count, tokens over requests."""

    how: Literal["ratio"]
    over: _Series

    @property
    def needs(self) -> tuple[str, ...]:
        """Both counters."""
        return (self.series, self.over)


class Total(_Alternative):
    """A gauge summed over replicas; of `reporting`, any series, whose value says nothing."""

    how: Literal["total"]


class PoolMean(_Alternative):
    """A gauge that is a mean over a pool's replicas, times a gauge of their number.

    Each replica of a router says it of the whole pool, so it is taken once.
    """

    how: Literal["pool_mean"]
    times: _Series

    @property
    def needs(self) -> tuple[str, ...]:
        """Both gauges."""
        return (self.series, self.times)


class Buckets(_Alternative):
    """A histogram's buckets, over its count."""

    how: Literal["buckets"]
    over: _Series

    @property
    def needs(self) -> tuple[str, ...]:
        """Buckets and count."""
        return (self.series, self.over)


Alternative = Rate | Balance | Ratio | Total | PoolMean | Buckets
_Alternatives = Annotated[tuple[Annotated[Alternative, Field(discriminator="how")], ...], Field(min_length=1)]

_SECONDS = ("seconds", "milliseconds")
_FITS: Mapping[Quantity, tuple[Collection[str], Collection[str]]] = {
    Quantity.ARRIVALS: (("rate", "balance"), ("requests",)),
    Quantity.ISL_TOKENS: (("ratio",), ("tokens",)),
    Quantity.OSL_TOKENS: (("ratio",), ("tokens",)),
    Quantity.TTFT_S: (("ratio",), _SECONDS),
    Quantity.QUEUE_S: (("ratio",), _SECONDS),
    Quantity.ITL_S: (("ratio",), _SECONDS),
    Quantity.WAITING: (("total", "pool_mean"), ("requests",)),
    Quantity.RUNNING: (("total", "pool_mean"), ("requests",)),
    Quantity.REPORTING: (("total",), ("replicas",)),
    Quantity.TTFT_BUCKETS: (("buckets",), _SECONDS),
    Quantity.ISL_BUCKETS: (("buckets",), ("tokens",)),
}
"""How each quantity may be built, and the units its series may have."""


class MetricMap(_Entry):
    """The names of one engine or router. A quantity has alternatives, or a sentence why it is absent, never both."""

    name: _Line
    kind: Kind
    prefixes: Annotated[tuple[_Prefix, ...], Field(min_length=1)]
    parts: tuple[_Label, ...] = ()
    """Labels that split one replica into series that add up, such as data-parallel ranks."""
    repeats: tuple[_Label, ...] = ()
    """Labels whose series say the same of one replica, such as tensor-parallel ranks; one of them is taken."""
    keep: Mapping[_Series, Mapping[_Label, str]] = {}
    """Of a series, only what has these labels; an empty value is also that of a series without the label."""
    quantities: Mapping[Quantity, _Alternatives]
    absent: Mapping[Quantity, _Line] = {}

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        for label in self.parts:
            if label in self.repeats:
                raise ValueError(f"parts: {label!r} stands in repeats too; keep one")
        if Quantity.REPORTING not in self.quantities:
            raise ValueError("quantities.reporting: not set; name a series that every live replica has")
        for quantity, alternatives in self.quantities.items():
            if quantity in self.absent:
                raise ValueError(f"absent.{quantity}: stands in quantities too; keep one")
            hows, units = _FITS[quantity]
            for i, given in enumerate(alternatives):
                where = f"quantities.{quantity}.{i}"
                if given.how not in hows:
                    raise ValueError(f"{where}.how: {given.how!r} does not give it; write {' or '.join(hows)}")
                if given.unit not in units:
                    raise ValueError(f"{where}.unit: {given.unit!r} is no unit of it; write {' or '.join(units)}")
        return self

    @property
    def spellings(self) -> tuple[str, ...]:
        """All prefixes its series may be found under: those named, and with the colons some collectors replace."""
        return tuple(dict.fromkeys(spelt for prefix in self.prefixes for spelt in (prefix, prefix.replace(":", "_"))))

    def spelt(self, series: str, prefix: str) -> str:
        """A series as it is called under one of the spellings."""
        own = self.prefixes[0]
        return prefix + series.removeprefix(own) if series.startswith(own) else series

    def why_absent(self, quantity: Quantity) -> str:
        """What users are told of a quantity without alternatives."""
        return self.absent.get(quantity, "its map names no series for it")
