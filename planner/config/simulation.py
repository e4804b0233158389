"""What `planner simulate` takes for true of the fleet, in the style of `planner.config.model`.

The planner decides by what it was told (profile, `startup_s`, `sizing`); this section says how the fleet departs from
that. Its defaults are a fleet that keeps every promise, so that each departure shows by itself. Times are in seconds,
shares are fractions.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from planner.config.section import NotNegative, Positive, Section
from planner.scaling.settings import Routing

FirstTokenFrom = Literal["prefill", "decode"]
Speed = Annotated[float, Field(gt=0, le=10)]
Outage = Annotated[list[NotNegative], Field(min_length=2, max_length=2)]


class PrefillEngine(Section):
    """How a prefill replica takes its prompts; disaggregated mode only."""

    step_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Tokens that one step computes at most, over all prompts in the engine. null: one whole prompt a "
        "step, because that is what sizing assumes.",
    )
    places: int = Field(
        default=1024,
        ge=1,
        description="Prompts in the engine at most; further ones wait before it. 1024, so that the bound binds nobody "
        "who does not ask for it.",
    )
    holds_first_tokens: bool = Field(
        default=False,
        description="Whether first tokens are held until no prompt waits, as NVIDIA Dynamo's simulated prefill workers "
        "do. false, because an engine answers when a prompt is done.",
    )


class AggregatedEngine(Section):
    """How an aggregated replica shares its steps; aggregated mode only."""

    step_tokens: int | None = Field(
        default=8192,
        ge=1,
        description="Tokens that one step computes at most, decode tokens included: chunked prefill. null: whole "
        "prompts. 8192, because it is vLLM's default for servers on large GPUs and what sizing assumes.",
    )


class Simulation(Section):
    """What the simulated fleet of `planner simulate` is really like; the planner is not told. Ignored elsewhere."""

    routing: Routing | None = Field(
        default=None,
        description="How requests are spread over prefill (or aggregated) replicas. null: as `sizing.routing` says, "
        "because a wrong belief about one's own router is an experiment of its own.",
    )
    decode_routing: Routing = Field(
        default="least_loaded",
        description="How computed prompts are spread over decode replicas. least_loaded, because routers made for "
        "inference see how full a decode engine is.",
    )
    prefill: PrefillEngine = Field(default=PrefillEngine(), description=str(PrefillEngine.__doc__))
    aggregated: AggregatedEngine = Field(default=AggregatedEngine(), description=str(AggregatedEngine.__doc__))
    first_token_from: FirstTokenFrom = Field(
        default="prefill",
        description="Which pool answers with the first token, disaggregated mode only. prefill: when the prompt is "
        "computed. decode: when decode has taken it over, its wait and the transfer included. prefill, because "
        "computing the prompt yields the token.",
    )
    prefix_hit_rate: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Share of every prompt that is found in the prefix cache and not computed, as a fraction. 0, "
        "because sizing counts on no cache.",
    )
    kv_transfer_tokens_per_s: Positive | None = Field(
        default=None,
        description="Speed at which a prompt's KV cache moves from prefill to decode, in tokens per second, "
        "disaggregated mode only. null: no time, because sizing knows none.",
    )
    speeds: list[Speed] = Field(
        default=[1.0],
        min_length=1,
        title="a list of at least one number, each above 0 and at most 10",
        description="Speeds of a pool's replicas in the order they are made, over and over: [1, 0.8] makes every "
        "second one take 1/0.8 times as long. [1], because that is what the profile promises.",
    )
    startup_s: NotNegative | None = Field(
        default=None,
        description="Mean seconds from ordering a replica that finds its GPUs to Ready; slow and failed starts come on "
        "top. null: as the service's `startup_s` says, so that the planner expects what happens.",
    )
    startup_cv: float = Field(
        default=0,
        ge=0,
        le=5,
        description="Coefficient of variation of the start-up time, which is gamma distributed. 0, so that every "
        "start takes the mean.",
    )
    slow_start_share: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Share of the starts that take `slow_start_factor` times as long, as a fraction: a node without "
        "the image, weights not yet cached. 0, because how often that happens is your cluster's.",
    )
    slow_start_factor: float = Field(
        default=4,
        ge=1,
        description="How many times as long a slow start takes. 4, because minutes of downloading stand against tens "
        "of seconds of loading from a local disk.",
    )
    failed_start_share: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Share of the starts that fail at their end and begin again after a back-off, as a fraction; it is "
        "10 s and doubles to 300 s, as the kubelet's. 0, because images that work usually start.",
    )
    crash_every_s: Positive | None = Field(
        default=None,
        description="Mean seconds between two crashes of a Ready replica, exponentially distributed; its requests are "
        "lost and it starts again. null: never.",
    )
    grace_s: NotNegative | None = Field(
        default=None,
        description="A draining replica is killed after this many seconds, its unfinished requests lost. null: it may "
        "finish, because a grace period shorter than an answer is a mistake of its own.",
    )
    scrape_s: NotNegative = Field(
        default=0,
        description="Seconds between two scrapes of the engines' metrics. 0: they are read at every decision, so that "
        "the planner sees the present.",
    )
    outages: list[Outage] = Field(
        default=[],
        title="a list of pairs [start_s, end_s], finite and 0 <= start_s < end_s",
        description="When no metrics are scraped: pairs [start_s, end_s], in seconds from the start of the simulation. "
        "Empty, because monitoring works on most days.",
    )
    gpus: int | None = Field(
        default=None,
        ge=1,
        description="GPUs the cluster really has; replicas beyond them stay pending. null: as many as `budget.gpus`.",
    )

    @field_validator("outages")
    @classmethod
    def _end_after_their_start(cls, outages: list[Outage]) -> list[Outage]:
        if any(start_s >= end_s for start_s, end_s in outages):
            raise PydanticCustomError("outage_order", "an outage ends before it starts")
        return outages
