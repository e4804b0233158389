"""A decision as the API shows it, from what was seen to what was ordered.

Units and the meaning of null are those of `schemas`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from planner.connectors.types import Status as AppliedStatus
from planner.scaling.reasons import Code
from planner.scaling.types import Role

ReadingStatus = Literal["valid", "stale", "missing"]


class View(BaseModel):
    """Base of all answers: values, described by the texts below their fields."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


def example(**values: Any) -> ConfigDict:
    """The settings of a model whose documentation shows these values."""
    return ConfigDict(json_schema_extra={"examples": [values]})


# --- observed ---------------------------------------------------------------------------------------------------


class Reading(View):
    """One number read from outside, and whether it may be believed."""

    model_config = example(status="stale", value=12.5, at_s=1767225540.0, cause="120 s old, at most 90 s are believed")

    status: ReadingStatus
    """valid: describes now; stale: no longer or not wholly; missing: there is no value."""
    value: float | None
    """Null when missing."""
    at_s: float | None
    """When it was true; null when missing."""
    cause: str | None
    """Why it is stale or missing; null when valid."""


class ReplicaCounts(View):
    """The replicas of one pool."""

    model_config = example(wanted=4, ready=3, starting=1, pending=0, draining=0, rolling_out=False, failing=0)

    wanted: int
    """Ordered."""
    ready: int
    starting: int
    pending: int
    """Unschedulable: no GPU was found."""
    draining: int
    rolling_out: bool
    """The pool's template is being changed."""
    failing: int | None
    """Of those starting, replicas that crash or cannot be started; null when the orchestrator does not tell."""


class ReplicasReading(View):
    """The replica counts of one pool, and whether they may be believed."""

    status: ReadingStatus
    value: ReplicaCounts | None
    at_s: float | None
    cause: str | None


class PoolSeen(View):
    """What was seen of one pool; requests are summed over its replicas."""

    replicas: ReplicasReading
    waiting: Reading
    running: Reading


class Observed(View):
    """What was seen of a service over one window."""

    at_s: float
    window_s: float
    rate_per_s: Reading
    """Requests arriving per second."""
    isl_tokens: Reading
    """Mean input length."""
    osl_tokens: Reading
    """Mean output length."""
    isl_cv2: Reading
    """Squared coefficient of variation of the input length."""
    ttft_s: Reading
    """Mean time to first token."""
    queue_s: Reading
    """Mean time before the prefill began."""
    itl_s: Reading
    """Mean inter-token latency."""
    pools: dict[Role, PoolSeen]


# --- computed ---------------------------------------------------------------------------------------------------


class Quantile(View):
    """A value that is not exceeded with probability `level`."""

    level: float
    value: float


class Forecasted(View):
    """The request rate `horizon_s` after `at_s`."""

    model: str
    """The model that made it, which may be simpler than the one asked for."""
    why: str
    """Why this model."""
    at_s: float
    horizon_s: float
    point: float
    """Requests per second."""
    quantiles: list[Quantile]
    """From the model's own past errors, ascending."""
    errors: int
    """How many past errors they rest on."""
    mean_abs_error: float | None
    """Requests per second; null before there is one."""


class Corrected(View):
    """What was learnt of hardware and arrivals, and what became of this tick's latencies."""

    model_config = example(
        ttft_factor=1.08, ttft_note="observed 81.2 ms, expected 75.1 ms, ratio 1.08", itl_factor=1.0,
        itl_note="kept: decode replicas are changing", arrival_cv2=1.4, arrival_note="kept: the queue was not empty",
    )  # fmt: skip

    ttft_factor: float
    """Observed over expected; 1 means the hardware is what the profile says."""
    ttft_note: str
    itl_factor: float
    itl_note: str
    arrival_cv2: float
    """Squared coefficient of variation of the time between arrivals; 1 is Poisson."""
    arrival_note: str


class Step(View):
    """One line of the sizing arithmetic."""

    model_config = example(symbol="lambda", value=12.5, unit="req/s", meaning="demand")

    symbol: str
    value: float | None
    """Null when infinite."""
    unit: str
    meaning: str


class PoolSized(View):
    """Replicas one pool needs for the demand."""

    replicas: int
    utilisation: float | None
    """Share of these replicas' capacity that the demand takes."""
    unattainable: str | None
    """Why no replica count meets the agreement; null when one does."""
    outside: str | None
    """What lies outside the measured range of the profile; null when nothing does."""
    steps: list[Step]


class DemandSized(View):
    """The load that was sized for."""

    rate_per_s: float
    isl_tokens: float
    osl_tokens: float
    isl_cv2: float
    arrival_cv2: float


class Sized(View):
    """Replicas per pool, with the demand they were computed for."""

    method: Literal["queueing", "throughput"]
    demand: DemandSized
    pools: dict[Role, PoolSized]


# --- decided ----------------------------------------------------------------------------------------------------


class PoolDecided(View):
    """One pool's way from wish to order; null is unknown."""

    model_config = example(current=3, wanted=5, granted=4, replicas=4)

    current: int | None
    """Ordered at present."""
    wanted: int | None
    """Sized and within the pool's bounds."""
    granted: int | None
    """What of that can be had and the budget allows."""
    replicas: int | None
    """What to order; null leaves the pool alone."""


class Reason(View):
    """What moved, or held, a plan."""

    model_config = example(
        code="raise", values={"role": "decode", "current": 3, "replicas": 4}, text="decode: 3 -> 4"
    )  # fmt: skip

    code: Code
    values: dict[str, float | int | str | None]
    text: str
    """The sentence that code and values make."""


class ReasonText(View):
    """A reason without its values."""

    code: Code
    text: str


class Applied(View):
    """What became of a plan."""

    model_config = example(status="applied", detail="set decode to 4")

    status: AppliedStatus
    """applied: handed over; unchanged: it was so already; dry-run, paused: would have been; refused: the other side
    will not; failed: nobody knows, the next tick tries again."""
    detail: str


class DecisionLine(View):
    """One decision in short."""

    tick: int
    at_s: float
    service: str
    pools: dict[Role, PoolDecided]
    reasons: list[ReasonText]
    applied: Applied | None
    """Null while it is being applied, or when there was nothing to apply."""
    changes: bool
    """Something was to be ordered."""


class Lead(View):
    """How long an order made now takes to serve."""

    lead_s: float
    starts: int
    """Start-ups it was measured on, their 0.9 quantile; 0: as configured."""


class Decision(View):
    """One decision with everything that led there."""

    tick: int
    at_s: float
    service: str
    observation: Observed
    lead: Lead
    forecast: Forecasted | None
    """Null when there is no history to forecast from."""
    correction: Corrected
    sizing: Sized | None
    """Null when the load is unknown; then every pool is left alone."""
    pools: dict[Role, PoolDecided]
    reasons: list[Reason]
    applied: Applied | None
    """Null while it is being applied, or when there was nothing to apply."""
    changes: bool
    """Something was to be ordered."""
