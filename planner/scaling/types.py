"""What crosses the core's border: samples in, decisions out, and the observation between them.

All types are frozen; times are seconds on the caller's clock; units stand in the field names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from planner.scaling.reading import Reading


class Role(StrEnum):
    """What a pool of replicas does for its service."""

    PREFILL = "prefill"
    DECODE = "decode"
    AGGREGATED = "aggregated"


# --- what a source hands in -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """One number read from the outside world, true at `at_s`."""

    value: float
    at_s: float
    status: Literal["sample"] = "sample"


@dataclass(frozen=True, slots=True)
class Absent:
    """The outside world gave no number, and why."""

    cause: str
    status: Literal["absent"] = "absent"


Sampled = Sample | Absent

UNTOLD = Absent("the orchestrator does not tell")


@dataclass(frozen=True, slots=True)
class Start:
    """How one replica came up, as its orchestrator saw it."""

    replica: str
    """Tells it from all others of its pool, those that are gone included."""
    ready_at_s: float
    """When it became Ready last, on the orchestrator's clock."""
    took_s: float
    """From its place on a node to Ready: waiting for a GPU is no part of a start."""

    @property
    def placed_at_s(self) -> float:
        """When it was given its node; unlike `ready_at_s`, the same for all its life."""
        return self.ready_at_s - self.took_s


@dataclass(frozen=True, slots=True)
class PoolSamples:
    """Raw numbers of one pool. Counts are replicas; `waiting` and `running` are requests summed over the pool."""

    wanted: Sampled
    """Replicas ordered: what the target's spec says."""
    ready: Sampled
    starting: Sampled
    """Ordered and scheduled, not Ready yet."""
    pending: Sampled
    """Ordered and unschedulable: no GPU was found."""
    draining: Sampled
    """Being removed, still holding GPUs."""
    rolling_out: Sampled
    """1 while the pool's template is being changed, else 0."""
    reporting: Sampled
    """Ready replicas whose metrics were read."""
    waiting: Sampled
    running: Sampled
    failing: Sampled = UNTOLD
    """Of those starting, replicas that will not come: they crash, or cannot be started."""
    pending_go_first: Sampled = UNTOLD
    """1 where a cut takes pending replicas before all others, else 0."""


@dataclass(frozen=True, slots=True)
class ReplicaSamples:
    """What an orchestrator tells of one pool; fields that `PoolSamples` has, too, mean the same."""

    wanted: Sampled
    ready: Sampled
    starting: Sampled
    pending: Sampled
    draining: Sampled
    rolling_out: Sampled
    failing: Sampled = UNTOLD
    pending_go_first: Sampled = UNTOLD
    starts: tuple[Start, ...] | Absent = field(default=UNTOLD, kw_only=True)
    """Of replicas that are Ready and never restarted, the newest if there are many."""


@dataclass(frozen=True, slots=True)
class ServiceSamples:
    """Raw numbers of one service over the last `window_s` seconds."""

    window_s: float
    rate_per_s: Sampled
    """Requests arriving per second (arrivals, not completions)."""
    isl_tokens: Sampled
    """Mean input length of the window's requests."""
    osl_tokens: Sampled
    """Mean output length of the window's requests."""
    isl_cv2: Sampled
    """Squared coefficient of variation of the input length."""
    ttft_s: Sampled
    """Mean time to first token."""
    queue_s: Sampled
    """Mean time those requests waited before their prefill began; many engines publish it, not all."""
    itl_s: Sampled
    """Mean inter-token latency."""
    pools: Mapping[Role, PoolSamples]
    good_share: Sampled = Absent("the source does not tell")
    """Of the window's requests, those that met both targets. Shown to people; nothing is decided by it."""
    remarks: tuple[str, ...] = ()
    """What is odd about where the numbers come from, a sentence each. Shown to people; nothing is decided by it."""
    starts: Mapping[Role, tuple[Start, ...]] = field(default_factory=dict)
    """Start-ups of each pool's replicas; a pool whose orchestrator tells none is absent."""


# --- what the core makes of it ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replicas:
    """Replica counts of one pool at one moment. All but `wanted` hold GPUs, `pending` excepted."""

    wanted: int
    ready: int
    starting: int = 0
    pending: int = 0
    draining: int = 0
    rolling_out: bool = False
    failing: int | None = None
    """Of those starting; None when the orchestrator does not tell."""
    pending_go_first: bool = False

    @property
    def committed(self) -> int:
        """Replicas that hold GPUs, or will as soon as the scheduler finds some; the budget counts them all."""
        return max(self.wanted, self.ready + self.starting + self.pending) + self.draining


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """One pool, each field valid, stale or missing."""

    replicas: Reading[Replicas]
    waiting: Reading[float]
    running: Reading[float]
    starts: tuple[Start, ...] | None = None
    """Start-ups as the orchestrator saw them; None when it does not tell."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One service at one tick, each field valid, stale or missing."""

    at_s: float
    window_s: float
    rate_per_s: Reading[float]
    isl_tokens: Reading[float]
    osl_tokens: Reading[float]
    isl_cv2: Reading[float]
    ttft_s: Reading[float]
    queue_s: Reading[float]
    itl_s: Reading[float]
    pools: Mapping[Role, PoolObservation]


@dataclass(frozen=True, slots=True)
class Demand:
    """The load to size for."""

    rate_per_s: float
    isl_tokens: float
    osl_tokens: float
    isl_cv2: float
    """Squared coefficient of variation of the input length; 0 when all prompts are alike."""
    arrival_cv2: float = 1.0
    """Squared coefficient of variation of the time between arrivals; 1 is Poisson, more is clumps."""

    @property
    def context_tokens(self) -> float:
        """Mean context of a decoding request: isl + osl/2."""
        return self.isl_tokens + self.osl_tokens / 2
