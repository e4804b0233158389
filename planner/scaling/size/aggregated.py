"""Fewest aggregated replicas: one engine does prefill and decode in shared steps.

With c replicas each takes rate/c requests per second.

- Prefill duty u = rate/c * S, the share of time the engine computes prompts. Decode gets the rest, so a token takes
  ITL(n) / (1 - u). n* and the Poisson criterion are as for decode (see `decode`), with this stretched ITL.
- A prompt is computed in chunks of at most CHUNK_TOKENS, each in a step shared with the running decodes, so its time
  at the engine is S + ceil(isl / CHUNK_TOKENS) * ITL(n), n the concurrency that this load settles at, whatever the
  target allows. It queues as in `prefill`.

Both criteria must hold; both ease with every replica added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.scaling.profile import Profile
from planner.scaling.settings import SizingSettings
from planner.scaling.size.decode import (
    beyond_decode_profile,
    concurrency_holds,
    unattainable_itl,
)
from planner.scaling.size.prefill import prefill_wait, unattainable_ttft
from planner.scaling.size.prompts import PromptService, beyond_profile, prompt_service
from planner.scaling.size.queueing import fewest
from planner.scaling.size.types import Factors, PoolSizing, Step
from planner.scaling.types import Demand, Role
from planner.slo.targets import Targets

CHUNK_TOKENS = 8192
"""Prompt tokens an engine computes in one step: vLLM's default token budget for online serving on large GPUs."""


@dataclass(frozen=True, slots=True)
class _Load:
    """What `servers` aggregated replicas carry, and how well."""

    duty: float
    concurrency: int
    itl_s: float
    in_flight: float
    prompts: PromptService
    share_met: float
    """Share of the requests whose first token comes in time."""
    holds: bool


def size_aggregated(
    demand: Demand, targets: Targets, profile: Profile, factors: Factors, settings: SizingSettings
) -> PoolSizing:
    """Aggregated replicas by the queueing method."""
    alone = prompt_service(demand, profile.prefill, factors.ttft)
    prefill_load = demand.rate_per_s * alone.mean_s
    context = demand.context_tokens

    def load(servers: int) -> _Load:
        duty = prefill_load / servers
        concurrency = max(1, profile.decode.best_concurrency(targets.itl_s * (1 - duty) / factors.itl, context))
        itl_s = profile.decode.itl_s(concurrency, context) * factors.itl / (1 - duty)
        in_flight = demand.rate_per_s * demand.osl_tokens * itl_s / servers
        tokens_per_s = demand.rate_per_s * demand.osl_tokens / servers
        running = profile.decode.settled_concurrency(tokens_per_s * factors.itl / (1 - duty), context)
        step_s = profile.decode.itl_s(running, context) * factors.itl
        chunks = np.ceil(alone.isl_tokens / CHUNK_TOKENS)
        prompts = PromptService.of(alone.isl_tokens, alone.service_s + chunks * step_s)
        waiting = prefill_wait(demand.rate_per_s, prompts, servers, settings)
        share_met = float(waiting.within(targets.ttft_s - prompts.service_s).mean())
        holds = share_met >= targets.objective and concurrency_holds(in_flight, concurrency, targets.objective)
        return _Load(duty, concurrency, itl_s, in_flight, prompts, share_met, holds)

    replicas = fewest(lambda servers: load(servers).holds, at_least=math.floor(prefill_load) + 1)
    chosen = load(replicas)
    steps = (
        Step("rate", demand.rate_per_s, "req/s", "demand"),
        Step("S", alone.mean_s, "s", f"mean of TTFT(isl) over prompts of mean {demand.isl_tokens:.0f} tokens, times "
             f"the TTFT factor {factors.ttft:.2f}"),
        Step("u", chosen.duty, "", f"prefill duty of each of {replicas} replicas, rate x S / c"),
        Step("n*", chosen.concurrency, "requests", f"concurrency of most tokens/s with ITL(n, context) x "
             f"{factors.itl:.2f} / (1 - u) <= {targets.itl_ms:g} ms"),
        Step("ITL(n*)", chosen.itl_s, "s", "inter-token latency there, prefill duty included"),
        Step("L/c", chosen.in_flight, "requests", "in flight on each replica, rate x osl x ITL(n*) / c"),
        Step("S'", chosen.prompts.mean_s, "s", "S and the decode steps its chunks share"),
        Step("c", replicas, "replicas", f"fewest with P(wait + S' <= {targets.ttft_ms:g} ms) and "
             f"P(Poisson(L/c) <= n*) both >= {targets.objective:g}, {settings.routing} routing"),
        Step("P(c)", chosen.share_met, "", f"share whose first token comes in time, with {replicas} replicas"),
    )  # fmt: skip
    reachable = alone.share_within(targets.ttft_s)
    ttft_out = None if reachable >= targets.objective else unattainable_ttft(alone, targets)
    return PoolSizing(
        role=Role.AGGREGATED,
        replicas=replicas,
        steps=steps,
        utilisation=max(chosen.duty, chosen.in_flight / chosen.concurrency),
        unattainable=ttft_out or unattainable_itl(targets, profile.decode, context, factors.itl),
        outside=beyond_profile(alone.isl_tokens, profile.prefill) or beyond_decode_profile(profile.decode, context),
    )
