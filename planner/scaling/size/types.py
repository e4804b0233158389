"""What sizing gives: replicas, and the arithmetic that led there, kept step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.scaling.settings import SizingMethod
from planner.scaling.types import Demand, Role


@dataclass(frozen=True, slots=True)
class Factors:
    """Observed over expected latency; 1 means the hardware is what the profile says."""

    ttft: float = 1.0
    itl: float = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """One line of arithmetic: a symbol, its value in `unit`, and where it comes from."""

    symbol: str
    value: float
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class PoolSizing:
    """Replicas one pool needs for a demand."""

    role: Role
    replicas: int
    steps: tuple[Step, ...]
    utilisation: float
    """Share of the capacity of these replicas that the demand takes."""
    unattainable: str | None = None
    """Why no replica count meets the agreement, with the best reachable; None when one does."""
    outside: str | None = None
    """What lies outside the measured range of the profile and was clamped."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """Replicas per pool, with the demand and the factors they were computed for."""

    method: SizingMethod
    demand: Demand
    factors: Factors
    pools: Mapping[Role, PoolSizing]
