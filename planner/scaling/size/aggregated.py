"""Fewest aggregated replicas: one engine does prefill and decode in shared steps.

With c replicas each takes rate/c requests per second.

- Prefill duty u = rate/c * S, the share of time the engine computes prompts. Decode gets the rest, so a token takes
  ITL(n) / (1 - u). n* and the law of n are as for decode (see `decode`), with this stretched ITL.
- A prompt is computed in chunks of at most CHUNK_TOKENS, each in a step shared with the running decodes, so its time
  at the engine is S + ceil(isl / CHUNK_TOKENS) * ITL(n), n the concurrency that this load settles at. It queues as in
  `prefill`.

Both criteria must hold; both ease with every replica added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.scaling.profile import Profile
from planner.scaling.settings import SizingSettings
from planner.scaling.size.decode import beyond_decode_profile, largest_within, unattainable_itl
from planner.scaling.size.prefill import prefill_wait, unattainable_ttft
from planner.scaling.size.prompts import PromptService, beyond_profile, prompt_service
from planner.scaling.size.queueing import fewest
from planner.scaling.size.sharing import InFlight
from planner.scaling.size.types import Factors, PoolSizing, Step
from planner.scaling.types import Demand, Role
from planner.slo.targets import Targets

CHUNK_TOKENS = 8192
"""Prompt tokens an engine computes in one step: vLLM's default token budget for online serving on large GPUs."""


def sharing_steps(alone: PromptService, step_s: float) -> PromptService:
    """Prompts whose every chunk shares a decode step of `step_s`, from what they take alone."""
    chunks = np.ceil(alone.isl_tokens / CHUNK_TOKENS)
    return PromptService.of(alone.isl_tokens, alone.service_s + chunks * step_s)


@dataclass(frozen=True, slots=True)
class _Load:
    """What `servers` aggregated replicas carry, and how well."""

    duty: float
    most: int
    """Largest concurrency within the ITL target."""
    running: float
    """Concurrency that the load settles at."""
    prompts: PromptService
    ttft_met: float
    """Share of the requests whose first token comes in time."""
    itl_met: float
    """Share of the time that the concurrency is within the target's."""


def size_aggregated(
    demand: Demand, targets: Targets, profile: Profile, factors: Factors, settings: SizingSettings
) -> PoolSizing:
    """Aggregated replicas by the queueing method."""
    alone = prompt_service(demand, profile.prefill, factors.ttft)
    prefill_load = demand.rate_per_s * alone.mean_s
    context = demand.context_tokens

    tokens_per_s = demand.rate_per_s * demand.osl_tokens
    itl_s = profile.decode.itl_s_up_to(context) * factors.itl

    def load(servers: int) -> _Load:
        duty = prefill_load / servers
        stretched = tokens_per_s / (1 - duty)
        most = largest_within(targets.itl_s * (1 - duty) / factors.itl, context, profile.decode)
        running = profile.decode.settled_concurrency(stretched * factors.itl / servers, context)
        step_s = profile.decode.itl_s(running, context) * factors.itl
        prompts = sharing_steps(alone, step_s)
        waiting = prefill_wait(demand, prompts, servers, settings)
        ttft_met = float(waiting.within(targets.ttft_s - prompts.service_s).mean())
        return _Load(duty, most, running, prompts, ttft_met, InFlight.of(stretched, itl_s).at_most(most, servers))

    def holds(servers: int) -> bool:
        loaded = load(servers)
        return min(loaded.ttft_met, loaded.itl_met) >= targets.objective

    replicas = fewest(holds, at_least=math.floor(prefill_load) + 1)
    chosen = load(replicas)
    steps = (
        Step("rate", demand.rate_per_s, "req/s", "demand"),
        Step("S", alone.mean_s, "s", f"mean of TTFT(isl) over prompts of mean {demand.isl_tokens:.0f} tokens, times "
             f"the TTFT factor {factors.ttft:.2f}"),
        Step("u", chosen.duty, "", f"prefill duty of each of {replicas} replicas, rate x S / c"),
        Step("n*", chosen.most, "requests", f"largest concurrency with ITL(n, context) x {factors.itl:.2f} / (1 - u) "
             f"<= {targets.itl_ms:g} ms"),
        Step("R", tokens_per_s, "tokens/s", f"rate x osl, osl {demand.osl_tokens:.0f} tokens"),
        Step("n", chosen.running, "requests", "concurrency that R/c settles at, prefill duty included"),
        Step("S'", chosen.prompts.mean_s, "s", "S and the decode steps its chunks share"),
        Step("c", replicas, "replicas", f"fewest with P(wait + S' <= {targets.ttft_ms:g} ms) and P(n <= n*) both >= "
             f"{targets.objective:g}, {settings.routing} routing"),
        Step("P(ttft)", chosen.ttft_met, "", f"share whose first token comes in time, with {replicas} replicas"),
        Step("P(itl)", chosen.itl_met, "", "share of the time within n*"),
    )  # fmt: skip
    reachable = alone.share_within(targets.ttft_s)
    ttft_out = None if reachable >= targets.objective else unattainable_ttft(alone, targets)
    return PoolSizing(
        role=Role.AGGREGATED,
        replicas=replicas,
        steps=steps,
        utilisation=min(1.0, max(chosen.duty, chosen.running / chosen.most)),
        unattainable=ttft_out or unattainable_itl(targets, profile.decode, context, factors.itl),
        outside=beyond_profile(alone.isl_tokens, profile.prefill) or beyond_decode_profile(profile.decode, context),
    )
