"""Fewest decode replicas whose concurrency stays where the ITL target holds.

n* is the largest concurrency with ITL(n, context) * factor <= itl within the KV capacity. How many requests meet on a
replica follows the law of processor sharing (see `sharing`); c is the fewest replicas with P(n <= n*) >= objective.

When not even one request at a time meets the target, n* = 1: the limit of the attainable fleets, never fewer.
"""

from __future__ import annotations

import math

from planner.scaling.profile import DecodeProfile
from planner.scaling.size.queueing import fewest
from planner.scaling.size.sharing import InFlight
from planner.scaling.size.types import PoolSizing, Step
from planner.scaling.types import Demand, Role
from planner.slo.targets import Targets


def size_decode(demand: Demand, targets: Targets, profile: DecodeProfile, factor: float) -> PoolSizing:
    """Decode replicas by the queueing method."""
    context = demand.context_tokens
    tokens_per_s = demand.rate_per_s * demand.osl_tokens
    most = largest_within(targets.itl_s / factor, context, profile)
    in_flight = InFlight.of(tokens_per_s, profile.itl_s_up_to(context) * factor)
    replicas = fewest(
        lambda servers: in_flight.at_most(most, servers) >= targets.objective, at_least=in_flight.fewest_stable
    )
    steps = [
        Step("rate", demand.rate_per_s, "req/s", "demand"),
        Step("context", context, "tokens", f"isl + osl/2 = {demand.isl_tokens:.0f} + {demand.osl_tokens:.0f}/2"),
        Step("n*", most, "requests", f"largest concurrency with ITL(n, context) x {factor:.2f} <= {targets.itl_ms:g} "
             f"ms, of {profile.max_concurrency(context):.0f} measured"),
        Step("R", tokens_per_s, "tokens/s", f"rate x osl, osl {demand.osl_tokens:.0f} tokens"),
        Step("c", replicas, "replicas", f"fewest with P(n <= n*) >= {targets.objective:g}, n the requests that decode "
             "together when each replica emits R/c"),
        Step("P(c)", in_flight.at_most(most, replicas), "", f"that probability with {replicas} replicas"),
    ]  # fmt: skip
    if replicas > in_flight.fewest_stable:
        fewer = replicas - 1
        steps.append(Step("P(c-1)", in_flight.at_most(most, fewer), "", f"the same with {fewer}"))
    mean = in_flight.mean(replicas)
    steps.append(Step("E[n]", mean, "requests", "mean concurrency"))
    return PoolSizing(
        role=Role.DECODE,
        replicas=replicas,
        steps=tuple(steps),
        utilisation=min(1.0, mean / most),
        unattainable=unattainable_itl(targets, profile, context, factor),
        outside=beyond_decode_profile(profile, context),
    )


def largest_within(itl_s: float, context_tokens: float, profile: DecodeProfile) -> int:
    """The most requests that decode within `itl_s`; 1 when not even one does."""
    return max(1, math.floor(profile.largest_concurrency(itl_s, context_tokens) + 1e-9))


def unattainable_itl(targets: Targets, profile: DecodeProfile, context_tokens: float, factor: float) -> str | None:
    """Why the ITL target is out of reach at any concurrency; None when it is not."""
    alone_s = profile.itl_s(1, context_tokens) * factor
    if alone_s <= targets.itl_s:
        return None
    return f"itl {targets.itl_ms:g} ms; one request alone takes {alone_s * 1e3:.1f} ms a token"


def beyond_decode_profile(profile: DecodeProfile, context_tokens: float) -> str | None:
    """In words, that this context was never measured; None when it was."""
    if profile.covers(1, context_tokens):
        return None
    return f"context {context_tokens:.0f} tokens lies outside the profile's measured contexts; timed as at its edge"
