"""Reference sizing: throughput at the target, without queues or headroom.

The formulas published with NVIDIA Dynamo's planner (ai-dynamo up to 1.0, docs "SLA-based planner"):

    prefill = ceil(rate * isl * min(1, f_ttft) / (tokens_per_s_per_gpu(isl) * gpus))
    decode  = ceil(rate * osl / (best_tokens_per_s_per_gpu(itl / f_itl, isl + osl/2) * gpus))

An aggregated replica spends its time on both, so its two shares add up before rounding.
"""

from __future__ import annotations

import math

from planner.scaling.profile import Profile
from planner.scaling.size.decode import beyond_decode_profile, unattainable_itl
from planner.scaling.size.prefill import unattainable_ttft
from planner.scaling.size.prompts import beyond_profile, prompt_service
from planner.scaling.size.types import Factors, PoolSizing, Step
from planner.scaling.types import Demand, Role
from planner.slo.targets import Targets


def size_by_throughput(role: Role, demand: Demand, targets: Targets, profile: Profile, factors: Factors) -> PoolSizing:
    """Replicas of one pool by the published formulas."""
    share, steps = 0.0, [Step("rate", demand.rate_per_s, "req/s", "demand")]
    unattainable, outside = None, None
    if role is not Role.DECODE:
        share_prefill, prefill_steps = _prefill_share(demand, profile, factors)
        share, steps = share + share_prefill, steps + prefill_steps
        prompts = prompt_service(demand, profile.prefill, factors.ttft)
        if prompts.share_within(targets.ttft_s) < targets.objective:
            unattainable = unattainable_ttft(prompts, targets)
        outside = beyond_profile(prompts.isl_tokens, profile.prefill)
    if role is not Role.PREFILL:
        share_decode, decode_steps = _decode_share(demand, targets, profile, factors)
        share, steps = share + share_decode, steps + decode_steps
        context = demand.context_tokens
        unattainable = unattainable or unattainable_itl(targets, profile.decode, context, factors.itl)
        outside = outside or beyond_decode_profile(profile.decode, context)
    replicas = max(1, math.ceil(share))
    steps.append(Step("c", replicas, "replicas", f"that work, {share:.3f} replicas, rounded up"))
    return PoolSizing(role, replicas, tuple(steps), share / replicas, unattainable, outside)


def _prefill_share(demand: Demand, profile: Profile, factors: Factors) -> tuple[float, list[Step]]:
    gpus = profile.prefill.gpus
    capacity = profile.prefill.tokens_per_s_per_gpu(demand.isl_tokens) * gpus
    work = demand.rate_per_s * demand.isl_tokens * min(1.0, factors.ttft)
    steps = [
        Step("prefill work", work, "tokens/s", f"rate x isl x min(1, f_ttft), isl {demand.isl_tokens:.0f} tokens, "
             f"f_ttft {factors.ttft:.2f}"),
        Step("prefill capacity", capacity, "tokens/s", f"profile throughput at that isl x {gpus} GPUs"),
    ]  # fmt: skip
    return work / capacity, steps


def _decode_share(demand: Demand, targets: Targets, profile: Profile, factors: Factors) -> tuple[float, list[Step]]:
    gpus, context = profile.decode.gpus, demand.context_tokens
    capacity = profile.decode.best_tokens_per_s_per_gpu(targets.itl_s / factors.itl, context) * gpus
    work = demand.rate_per_s * demand.osl_tokens
    steps = [
        Step("decode work", work, "tokens/s", f"rate x osl, osl {demand.osl_tokens:.0f} tokens"),
        Step("decode capacity", capacity, "tokens/s", f"best profile throughput with ITL <= {targets.itl_ms:g} ms / "
             f"{factors.itl:.2f} at context {context:.0f} tokens x {gpus} GPUs"),
    ]  # fmt: skip
    return work / capacity, steps
