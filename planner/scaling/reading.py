"""A number that knows whether it may be believed.

Missing is not zero. A `Reading` is exactly one of three things, and the type checker makes every user say what to do
with each:

- `Valid`: describes now. May raise a fleet and may lower it.
- `Stale`: a value that no longer, or not wholly, describes now (too old, from some replicas only, contradicted by
  another series). May raise a fleet, never lower it.
- `Missing`: no value, with the cause. Never becomes a number; holds the last plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Valid(Generic[T]):
    """A value that describes the fleet at `at_s`."""

    value: T
    at_s: float
    status: Literal["valid"] = "valid"


@dataclass(frozen=True, slots=True)
class Stale(Generic[T]):
    """A value that is too old, partial or contradicted, and why."""

    value: T
    at_s: float
    cause: str
    status: Literal["stale"] = "stale"


@dataclass(frozen=True, slots=True)
class Missing:
    """No value, and why."""

    cause: str
    status: Literal["missing"] = "missing"


Reading = Valid[T] | Stale[T] | Missing
