"""What Prometheus answered, in types that cannot be mistaken for one another.

An answer is a `Vector`, a `Matrix`, `Names`, or a `Failure` with its cause.
Times are seconds since the epoch on Prometheus's clock.

Samples are finite numbers, one per series and time. NaN, infinities, native histograms and series that came twice are
listed as `rejected`, so that whoever sums the samples knows what is not in the sum. An empty answer is an answer: the
query matched nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Cause: TypeAlias = Literal[
    "unreachable",
    "tls",
    "timeout",
    "busy",
    "closed",
    "credentials",
    "redirect",
    "status",
    "refused",
    "truncated",
    "too-large",
    "not-json",
    "not-prometheus",
]

Labels: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LabelledSample:
    """The finite value of one series at one time."""

    labels: Labels
    value: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Series:
    """One series over time: `values[i]` was true at `at_s[i]`. Steps without a finite value are left out."""

    labels: Labels
    at_s: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """What was received and is no sample: `why` is NaN, +Inf, -Inf, native histogram or duplicate series."""

    labels: Labels
    why: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Vector:
    """What an instant query gave; a scalar comes as one sample without labels."""

    samples: tuple[LabelledSample, ...]
    rejected: tuple[Rejected, ...] = ()
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    skew_s: float | None = None
    """The server's clock less ours, to about half a second and the way back; None when it does not tell its time."""
    _found: dict[tuple[str, ...], dict[tuple[str, ...], list[LabelledSample]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Samples by the values of labels, for each set of labels that was asked for."""

    def carrying(self, wanted: Labels) -> Sequence[LabelledSample]:
        """The samples that have all of these labels; an empty value is also that of a sample without the label.

        Indexed on first use: with a thousand services in an answer, each of which looks for its own, a walk through
        all samples would take seconds.
        """
        names = tuple(sorted(wanted))
        if names not in self._found:
            index = self._found.setdefault(names, {})
            for sample in self.samples:
                index.setdefault(tuple(sample.labels.get(name, "") for name in names), []).append(sample)
        return self._found[names].get(tuple(wanted[name] for name in names), ())


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a range query gave."""

    series: tuple[Series, ...]
    rejected: tuple[Rejected, ...] = ()
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    skew_s: float | None = None
    """As in `Vector`."""


@dataclass(frozen=True, slots=True)
class Names:
    """The label sets that exist; `__name__` is among the labels."""

    series: tuple[Labels, ...]
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    skew_s: float | None = None
    """As in `Vector`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """There is no answer, and why: one line that names the address and the remedy, and no secret.

    Causes: `busy` all threads hang; `refused` Prometheus understood the question and would not answer it; `status` any
    other HTTP status; `not-prometheus` JSON of another shape.
    """

    cause: Cause
    text: str


@dataclass(frozen=True, slots=True)
class Again:
    """A failure that may pass; the server asked to be left alone for `wait_s`. Never handed to whoever asked."""

    failure: Failure
    wait_s: float = 0.0


Answer: TypeAlias = Vector | Matrix | Names | Failure


def carries(labels: Labels, wanted: Labels) -> bool:
    """Whether labels are there with these values. Prometheus leaves an empty label out."""
    return all(labels.get(name, "") == value for name, value in wanted.items())
