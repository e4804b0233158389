"""What the API answers, as its clients may rely on it: names, units, and what null means.

Apart from the planner's own types on purpose: those may change from one release to the next, these only by a new
`schema_version`. Times are seconds since the epoch, durations seconds, lengths tokens; only `*_ms` are milliseconds.
Null is "not known"; it is never a number in disguise. Infinite numbers are null too, since JSON has none.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planner.api.schemas_decision import Decision, DecisionLine, ReadingStatus, View, example
from planner.scaling.types import Role

SCHEMA_VERSION: Literal[1] = 1

HealthState = Literal["ok", "holding", "blind", "trouble"]


class Error(View):
    """Why a request was refused."""

    model_config = example(error="service: 'chatt' is unknown; the services are chat, code")

    error: str
    """One line: the field, the value, the remedy."""


# --- orders of people -------------------------------------------------------------------------------------------


class Pause(View):
    """Plans are made and not applied."""

    model_config = example(by="ada", why="load test", since_s=1767225600.0)

    by: str
    why: str
    since_s: float


class Hold(View):
    """Pools stay at these replicas until a time."""

    model_config = example(
        replicas={"decode": 6}, until_s=1767229200.0, by="ada", why="launch at noon", since_s=1767225600.0
    )

    replicas: dict[Role, int]
    until_s: float
    by: str
    why: str
    since_s: float


class Controls(View):
    """All orders in force."""

    dry_run: Pause | None
    """Plans of every service are made and not applied."""
    paused: dict[str, Pause]
    holds: dict[str, Hold]


# --- whole answers ----------------------------------------------------------------------------------------------


class Targets(View):
    """The agreement."""

    model_config = example(ttft_ms=500, itl_ms=50, objective=0.95, isl_tokens=3000, osl_tokens=150)

    ttft_ms: float
    itl_ms: float
    objective: float
    """Share of requests that must meet both."""
    isl_tokens: float
    """Expected mean input length."""
    osl_tokens: float
    """Expected mean output length."""


class PoolBounds(View):
    """Bounds of one pool."""

    min_replicas: int
    max_replicas: int | None
    """Null: bounded by the budget alone."""
    gpus_per_replica: int


class Health(View):
    """How a service fares."""

    model_config = example(state="holding", sentence="paused by ada: load test")

    state: HealthState
    """ok: planned and followed; holding: a plan is made and deliberately not, or not wholly, followed; blind: what a
    plan needs cannot be seen; trouble: somebody should look."""
    sentence: str


class ServiceStatus(View):
    """One service, wholly."""

    name: str
    health: Health
    targets: Targets
    bounds: dict[Role, PoolBounds]
    good_share: float | None
    """Of the last window's requests, those that met both targets."""
    decision: Decision | None
    """The last; null before the first tick."""
    pause: Pause | None
    hold: Hold | None
    trouble: list[str]
    """What is wrong with its source or connector now."""


class Budget(View):
    """The GPU budget's use."""

    model_config = example(gpus=64, held=40, wanted=44, granted=44, exceeded=False)

    gpus: int
    held: int
    wanted: int
    granted: int
    exceeded: bool
    """More is held than the budget allows."""


class Head(View):
    """What concerns all services."""

    schema_version: Literal[1] = SCHEMA_VERSION
    version: str
    """Of the planner."""
    now_s: float
    """When this was true."""
    started_s: float
    ticks: int
    """Made since the start."""
    next_tick_s: float
    interval_s: float
    budget: Budget | None
    """Null before the first tick."""
    controls: Controls
    trouble: list[str]
    """What is wrong with the planner itself."""


class Status(Head):
    """Everything about the services asked for."""

    services: dict[str, ServiceStatus]


class Figure(View):
    """A number to show, with its standing."""

    status: ReadingStatus
    value: float | None


class Counts(View):
    """Replicas of one pool; null where they cannot be read."""

    wanted: int | None
    ready: int | None
    starting: int | None
    pending: int | None


class LastChange(View):
    """The last decision that ordered something."""

    tick: int
    at_s: float
    text: str
    """Its first reason."""


class OverviewRow(View):
    """One service in short."""

    name: str
    health: HealthState
    sentence: str
    rate_per_s: Figure
    ttft_ms: Figure
    """Mean of the window."""
    ttft_target_ms: float
    itl_ms: Figure
    """Mean of the window."""
    itl_target_ms: float
    good_share: float | None
    objective: float
    gpus: int | None
    """Held; null unless every pool's replicas can be read."""
    pools: dict[Role, Counts]
    changed: LastChange | None
    """Null when no change is in memory."""
    paused: bool
    held: bool


class Overview(Head):
    """All services in short."""

    services: list[OverviewRow]


class Decisions(View):
    """A page of decisions, newest first."""

    items: list[DecisionLine]
    next: int | None
    """`before` of the next page; null on the last."""


class ForecastColumns(View):
    """The forecasts made at each point."""

    at_s: list[float | None]
    """The moments they are about."""
    point: list[float | None]
    low: list[float | None]
    """The 0.1 quantile."""
    high: list[float | None]
    """The quantile sized for."""


class CountColumns(View):
    """Replicas of one pool at each point."""

    wanted: list[int | None]
    ready: list[int | None]
    starting: list[int | None]
    pending: list[int | None]


class Series(View):
    """A service's latest points as columns of equal length, oldest first; null is a gap."""

    service: str
    targets: Targets
    at_s: list[float]
    rate_per_s: list[float | None]
    ttft_s: list[float | None]
    itl_s: list[float | None]
    good_share: list[float | None]
    forecast: ForecastColumns
    pools: dict[Role, CountColumns]


class Alive(View):
    """A probe's answer."""

    model_config = example(status="ok", age_s=3.2)

    status: Literal["ok"]
    age_s: float
    """Since the last tick was due."""


class Ready(View):
    """A probe's answer."""

    status: Literal["ok"]


class Answer(View):
    """What became of a launcher's message."""

    model_config = example(answer="completed")

    answer: str
    """completed, refused, superseded (a newer order is in force) or already completed."""


class Order(View):
    """Replicas a launcher should see to."""

    model_config = example(id="000042", replicas={"prefill": 2, "decode": 4})

    id: str
    replicas: dict[Role, Annotated[int, Field(ge=0)]]
