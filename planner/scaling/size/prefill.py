"""Fewest prefill replicas for which P(wait + S <= ttft) >= objective.

Replicas are servers, a prompt's service time S is the profile's TTFT(isl) times the correction factor, and the wait is
that of a G/G/c queue (see `queueing`). A prompt whose service alone exceeds the target cannot be saved by replicas:
it is asked not to wait at all. So the fleet for an unattainable agreement is the limit of the fleets for attainable
ones, never a smaller one, and a looser agreement never needs more.
"""

from __future__ import annotations

import math

from planner.scaling.profile import PrefillProfile
from planner.scaling.settings import SizingSettings
from planner.scaling.size.prompts import PromptService, beyond_profile, prompt_service
from planner.scaling.size.queueing import Wait, fewest, wait
from planner.scaling.size.types import PoolSizing, Step
from planner.scaling.types import Demand, Role
from planner.slo.targets import Targets


def size_prefill(
    demand: Demand, targets: Targets, profile: PrefillProfile, factor: float, settings: SizingSettings
) -> PoolSizing:
    """Prefill replicas by the queueing method."""
    prompts = prompt_service(demand, profile, factor)
    load = demand.rate_per_s * prompts.mean_s

    def waiting(servers: int) -> Wait:
        return prefill_wait(demand, prompts, servers, settings)

    def share_met(servers: int) -> float:
        return float(waiting(servers).within(targets.ttft_s - prompts.service_s).mean())

    replicas = fewest(lambda servers: share_met(servers) >= targets.objective, at_least=math.floor(load) + 1)
    reachable = prompts.share_within(targets.ttft_s)
    steps = [
        Step("rate", demand.rate_per_s, "req/s", "demand"),
        Step("S", prompts.mean_s, "s", f"mean of TTFT(isl) over prompts of mean {demand.isl_tokens:.0f} tokens, "
             f"times the TTFT factor {factor:.2f}"),
        Step("Cs2", prompts.cv2, "", "squared coefficient of variation of S"),
        Step("Ca2", demand.arrival_cv2, "", "squared coefficient of variation of the time between arrivals"),
        Step("a", load, "replicas", "offered load, rate x S"),
        Step("c", replicas, "replicas", f"fewest with P(wait + S <= {targets.ttft_ms:g} ms) >= {targets.objective:g}, "
             f"{settings.routing} routing"),
        Step("P(c)", share_met(replicas), "", f"share that waits no longer than it may, with {replicas} replicas"),
    ]  # fmt: skip
    if replicas > math.floor(load) + 1:
        fewer = replicas - 1
        steps.append(Step("P(c-1)", share_met(fewer), "", f"the same with {fewer}"))
    steps.append(Step("W", waiting(replicas).mean_s, "s", "mean wait"))
    return PoolSizing(
        role=Role.PREFILL,
        replicas=replicas,
        steps=tuple(steps),
        utilisation=load / replicas,
        unattainable=None if reachable >= targets.objective else unattainable_ttft(prompts, targets),
        outside=beyond_profile(prompts.isl_tokens, profile),
    )


def prefill_wait(demand: Demand, prompts: PromptService, servers: int, settings: SizingSettings) -> Wait:
    """The wait of these prompts before `servers` replicas."""
    return wait(demand.rate_per_s, prompts.mean_s, prompts.cv2, demand.arrival_cv2, servers, settings.routing)


def unattainable_ttft(prompts: PromptService, targets: Targets) -> str:
    """Why the TTFT target is out of reach, and what is within it."""
    return (
        f"{prompts.share_within(targets.ttft_s):.0%} of the prompts can be served within ttft {targets.ttft_ms:g} ms "
        f"even without a queue, the objective is {targets.objective:.0%}; "
        f"without a queue the mean is {prompts.mean_s * 1e3:.0f} ms"
    )
