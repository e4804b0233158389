"""What a running planner shows: its last decisions, how things went lately, and what people ordered.

Immutable: the loop publishes a new board after every tick and whenever something changes, and whoever looks at one
sees one moment. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.connectors.types import Applied
from planner.controls import Controls
from planner.scaling.cap import Budget
from planner.scaling.decision import Decision
from planner.scaling.reasons import Code
from planner.scaling.settings import PlannerSettings
from planner.scaling.types import Role


@dataclass(frozen=True, slots=True)
class PoolPoint:
    """One pool at one tick; None where it could not be read."""

    wanted: int | None
    """After the decision: what was ordered, or what stands where nothing was."""
    ready: int | None
    starting: int | None
    pending: int | None


@dataclass(frozen=True, slots=True)
class Point:
    """One service at one tick, for charts; None where nothing valid was seen."""

    at_s: float
    rate_per_s: float | None
    ttft_s: float | None
    """Mean of the window."""
    itl_s: float | None
    good_share: float | None
    """Of the window's requests, where the source can tell."""
    forecast_at_s: float | None
    """The moment the forecast made at this tick is about."""
    forecast_point: float | None
    forecast_low: float | None
    """Its 0.1 quantile."""
    forecast_high: float | None
    """The quantile sized for."""
    pools: Mapping[Role, PoolPoint]


@dataclass(frozen=True, slots=True)
class Line:
    """One decision as it is kept in memory: everything but its history."""

    tick: int
    decision: Decision
    applied: Applied | None
    """None while it is being applied, or when there was nothing to apply."""


@dataclass(frozen=True, slots=True)
class ServiceBoard:
    """One service."""

    last: Line | None
    """None before the first tick."""
    points: tuple[Point, ...]
    """The latest, oldest first; bounded."""
    trouble: tuple[str, ...]
    """What is wrong with its source or connector now, a sentence each; empty when all is well."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What only grows, for counters, and how long the last tick took."""

    reasons: Mapping[Code, int]
    """How many decisions since the start carried each reason."""
    tick_s: float | None
    """Seconds the last tick took to compute; None before the first."""


@dataclass(frozen=True, slots=True)
class Board:
    """Everything."""

    now_s: float
    """When it was published."""
    started_s: float
    settings: PlannerSettings
    budget: Budget | None
    """None before the first tick."""
    ticks: int
    next_tick_s: float
    interval_s: float
    services: Mapping[str, ServiceBoard]
    controls: Controls
    trouble: tuple[str, ...]
    """What is wrong with the planner itself: a tick that failed, a configuration that was not taken."""
