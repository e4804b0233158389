"""What a user writes: every setting with its meaning, unit, bounds and the reason for its default.

These descriptions are the reference: `scripts/generate_config_reference.py` turns them into docs/configuration.md.
Users speak ms for latencies and fractions for shares; `planner.config.build` converts to the core's units. A model that
exists is sound by itself; what needs a second section or the profile is checked in `planner.config.rules`.
"""

from __future__ import annotations

from typing import Literal, NoReturn, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from planner.config.discover import Discover
from planner.config.kubernetes import Kubernetes
from planner.config.metrics import Metrics, Prometheus
from planner.config.section import NotNegative, Positive, Section
from planner.config.simulation import Simulation
from planner.errors import UserError
from planner.scaling.forecast import build
from planner.scaling.forecast.types import LEVELS
from planner.scaling.settings import Routing, SizingMethod
from planner.scaling.types import Role

Mode = Literal["disaggregated", "aggregated"]


class Sla(Section):
    """The agreement: how fast, for which traffic, for what share of the requests."""

    isl: Positive = Field(
        description="Mean input length you expect, in tokens. Used until traffic has shown its own, and to judge "
        "whether the agreement can be met. No default: only you know your traffic.",
    )
    osl: Positive = Field(
        description="Mean output length you expect, in tokens. Used until traffic has shown its own. No default.",
    )
    ttft: Positive = Field(
        description="Time to first token, from arrival to first token, in ms. No default: it is your promise.",
    )
    itl: Positive = Field(
        description="Inter-token latency after the first token, in ms. No default: it is your promise.",
    )
    objective: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="Share of the requests that must meet both latencies, as a fraction. All headroom follows from it. "
        "0.95, because that is where most agreements stand; from there to 0.98 costs a few per cent of GPU-hours, and "
        "towards 1 the fleet grows without end.",
    )


class Budget(Section):
    """What all services together may use."""

    gpus: int = Field(
        ge=1,
        description="GPUs that all replicas of all services may hold at once, those starting and draining included. "
        "Never exceeded. No default: spending is your decision.",
    )


class Pool(Section):
    """Bounds of one pool of replicas; which pools exist follows from `mode`."""

    min_replicas: int = Field(
        default=1,
        ge=1,
        description="Never fewer replicas than this. 1, because a pool without replicas answers nobody and shows no "
        "load to scale on.",
    )
    max_replicas: int | None = Field(
        default=None,
        ge=1,
        description="Never more replicas than this. null: the GPU budget alone is the bound, so that there is one "
        "number to keep right.",
    )
    gpus_per_replica: int | None = Field(
        default=None,
        ge=1,
        description="GPUs one replica holds, counted against the budget. null: those the profile was measured on, "
        "which is right unless the pod asks for more than the engine uses.",
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            _refuse(
                "max_replicas",
                self.max_replicas,
                f"is below min_replicas {self.min_replicas}; raise it or lower the minimum",
            )
        return self


class Forecast(Section):
    """How past load becomes the demand to size for."""

    model: str = Field(
        default="kalman",
        description="Forecaster: a built-in name, or `module:attribute` for your own. kalman (level and trend) by "
        "default, because it needs minutes of history, not days, and costs next to nothing; none of the others was "
        "clearly better on loads without a daily pattern.",
    )
    quantile: float = Field(
        default=0.9,
        ge=LEVELS[0],
        le=LEVELS[-1],
        description="Demand quantile to size for, taken from the forecaster's own past errors. 0.9, because below it "
        "bursts are missed and above it GPU-hours rise faster than attainment.",
    )
    history_s: Positive = Field(
        default=14400,
        description="History kept and forecast from, in seconds. Four hours carry trend and error statistics of a "
        "working day's ramp; a seasonal forecaster needs days.",
    )
    lengths_half_life_s: Positive = Field(
        default=300,
        description="Half-life of past windows in the mean input and output lengths, in seconds. 300, because lengths "
        "drift within minutes while a single window is too noisy.",
    )
    reactive_floor: bool = Field(
        default=True,
        description="Size for at least what arrives and waits now, whatever the forecast says. true, because no "
        "forecast sees an unannounced burst.",
    )

    @field_validator("model")
    @classmethod
    def _exists(cls, name: str) -> str:
        try:
            build(name, interval_s=1.0)
        except UserError as error:
            raise ValueError(str(error).removeprefix("forecaster: ")) from error
        return name


class Observe(Section):
    """When a measurement is believed."""

    max_age_s: Positive = Field(
        default=90,
        description="A sample older than this is stale, in seconds: it may raise the fleet, never lower it. 90, "
        "because it spans three usual scrape intervals of 30 s, so that one lost scrape changes nothing.",
    )


class Correction(Section):
    """How far observed latency may correct the profile."""

    enabled: bool = Field(
        default=True,
        description="Correct the profile by observed over predicted latency. true, because a profile is measured on "
        "other days, prompts and settings than yours.",
    )
    smoothing: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Weight of the newest ratio in the running mean, above 0 and at most 1. 0.2 averages over about "
        "ten intervals: noise fades and a real change is learnt in minutes.",
    )
    lowest: Positive = Field(
        default=0.5,
        description="Lowest correction factor. 0.5, because hardware twice as fast as measured is a wrong profile.",
    )
    highest: Positive = Field(
        default=3.0,
        description="Highest correction factor. 3, because beyond it the measurement or the profile is wrong, and more "
        "replicas are no answer.",
    )
    min_requests: NotNegative = Field(
        default=20,
        description="Requests a window needs for its latency to count. 20, because a mean of fewer says little.",
    )
    max_utilisation: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Predicted utilisation, as a fraction, above which latency is not learnt from. 0.8, because above "
        "it waiting dominates and the ratio says nothing about the hardware.",
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.lowest > self.highest:
            _refuse("lowest", self.lowest, f"exceeds highest {self.highest:g}; lower it or raise highest")
        return self


class Sizing(Section):
    """How demand becomes replicas."""

    method: SizingMethod = Field(
        default="queueing",
        description="queueing: the fewest replicas with which the agreement's share of requests meets both latencies. "
        "throughput: the published formulas, demand over throughput, which know no waiting and no objective. queueing, "
        "because waiting is what breaks a TTFT.",
    )
    routing: Routing = Field(
        default="least_loaded",
        description="How your router spreads requests over replicas. least_loaded: to the one with the least to do. "
        "shared_queue: one queue before all, from which a free replica takes the next; sized alike. power_of_two: the "
        "less loaded of two drawn at random. round_robin and random look at no load; these three queue more unevenly "
        "and need more replicas. least_loaded, because routers made for inference do so. Say random when unsure.",
    )
    arrival_cv2: NotNegative = Field(
        default=1.0,
        description="Squared coefficient of variation of the time between arrivals, until the wait in the queue has "
        "taught the traffic's own (where the engine publishes it and correction is enabled). 1 is Poisson, many "
        "independent users; more when requests come in clumps, less when they are paced.",
    )
    isl_cv2: NotNegative = Field(
        default=1.0,
        description="Squared coefficient of variation of the input length, used while the traffic's own is unknown. "
        "1, because prompts of people vary about as much as their mean; 0 when all are alike.",
    )


class Scaling(Section):
    """How fast, and when not, the fleet may change."""

    tolerance: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="A cut smaller than this share of the present replicas is not made, as a fraction. Raises are "
        "never ignored. 0.05, half of what the HPA uses, because a GPU costs more than a CPU.",
    )
    stabilisation_up_s: NotNegative = Field(
        default=0,
        description="Raise only to the lowest wish of this many seconds. 0, because every second of waiting adds to "
        "a start-up of minutes.",
    )
    stabilisation_down_s: NotNegative = Field(
        default=120,
        description="Lower only to the highest wish of this many seconds. 120, about one start-up: below it a passing "
        "lull costs a cold start, above it mostly GPU-hours. The HPA waits 300.",
    )
    max_up_factor: NotNegative = Field(
        default=1.0,
        description="A tick adds at most the larger of this share of the present replicas and `max_up_replicas`. 1 "
        "doubles the pool, as the HPA does.",
    )
    max_up_replicas: int = Field(
        default=4,
        ge=1,
        description="A tick may always add this many replicas. 4, so that a small pool is not held to doubling from 1.",
    )
    max_down_factor: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="A tick removes at most this share of the replicas, but may always remove one. 0.5 halves, as "
        "Knative does: a wrong reading then costs half a fleet, not all of it.",
    )
    max_pending_s: Positive = Field(
        default=300,
        description="A pool whose replicas have been unschedulable, or failing, for longer than this is not raised "
        "further, in seconds. Of unschedulable ones one stays ordered, and the rest is given back where a cut takes "
        "them first. 300, because a cluster that can add a node has usually done so in five minutes.",
    )
    delayed_start_s: NotNegative = Field(
        default=30,
        description="No change before the planner has watched for this long, in seconds. 30, one interval: a "
        "restart must not act on half a window.",
    )


class Service(Section):
    """One model's deployment. These keys stand at the top level, and again under each of `services`."""

    sla: Sla = Field(description=str(Sla.__doc__))
    profile: str = Field(
        min_length=1,
        description="Measured performance of the model on your GPU: the name of a built-in profile, or the path of a "
        "file; in a configuration file, a relative path starts at that file's folder. No default: a wrong profile "
        "sizes wrongly.",
    )
    mode: Mode = Field(
        default="disaggregated",
        description="disaggregated: separate prefill and decode pools. aggregated: one pool does both.",
    )
    prefill: Pool = Field(default=Pool(), description="The prefill pool; disaggregated mode only.")
    decode: Pool = Field(default=Pool(), description="The decode pool; disaggregated mode only.")
    aggregated: Pool = Field(default=Pool(), description="The only pool of aggregated mode.")
    interval_s: float = Field(
        default=30,
        ge=1,
        description="Seconds between two decisions. 30, because reaction to bursts needs short intervals, while "
        "metrics are seldom scraped more often than every 15 to 30 s.",
    )
    startup_s: NotNegative = Field(
        default=120,
        description="Seconds from ordering a replica to Ready; with one interval, how far ahead the planner looks. "
        "Used until five start-ups have been measured: of each pod, or from the counts where no pods are seen. 120, "
        "for weights on a local disk; several minutes when they are downloaded.",
    )
    forecast: Forecast = Field(default=Forecast(), description=str(Forecast.__doc__))
    observe: Observe = Field(default=Observe(), description=str(Observe.__doc__))
    correction: Correction = Field(default=Correction(), description=str(Correction.__doc__))
    sizing: Sizing = Field(default=Sizing(), description=str(Sizing.__doc__))
    scaling: Scaling = Field(default=Scaling(), description=str(Scaling.__doc__))
    prometheus: Prometheus = Field(default=Prometheus(), description=str(Prometheus.__doc__))
    metrics: Metrics = Field(default=Metrics(), description=str(Metrics.__doc__))
    kubernetes: Kubernetes = Field(default=Kubernetes(), description=str(Kubernetes.__doc__))
    priority: int = Field(
        default=0,
        description="Services with a higher number are served first when the budget is short. 0, because services "
        "are equals until you say otherwise.",
    )

    @property
    def pools(self) -> dict[Role, Pool]:
        """The pools of its mode."""
        if self.mode == "aggregated":
            return {Role.AGGREGATED: self.aggregated}
        return {Role.PREFILL: self.prefill, Role.DECODE: self.decode}


class Config(Section):
    """The whole configuration with every default filled in and every service complete."""

    budget: Budget
    simulation: Simulation = Simulation()
    discover: Discover = Discover()
    services: dict[str, Service]


def _refuse(field: str, value: float, rule: str) -> NoReturn:
    """A mistake in `field` of a section, reported under its path like pydantic's own."""
    raise PydanticCustomError("incoherent", "{rule}", {"field": field, "value": value, "rule": rule})
