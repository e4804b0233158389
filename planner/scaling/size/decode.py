"""Fewest decode replicas whose concurrency stays where the ITL target holds.

n* is the concurrency, among those with ITL(n, context) * factor <= itl and within the KV capacity, that yields the
most tokens per second. Requests in flight at that speed are rate * osl * ITL(n*) (Little's law), spread over c
replicas; how many meet on one replica is Poisson (M/G/inf is insensitive to the distribution of lengths), so c is the
fewest with P(Poisson(in flight / c) <= n*) >= objective.

When not even one request at a time meets the target, n* = 1: the limit of the attainable fleets, never fewer.
"""

from __future__ import annotations

import math

from scipy.special import pdtr

from planner.scaling.profile import DecodeProfile
from planner.scaling.size.queueing import fewest
from planner.scaling.size.types import PoolSizing, Step
from planner.scaling.types import Demand, Role
from planner.slo.targets import Targets


def size_decode(demand: Demand, targets: Targets, profile: DecodeProfile, factor: float) -> PoolSizing:
    """Decode replicas by the queueing method."""
    context = demand.context_tokens
    best = max(1, profile.best_concurrency(targets.itl_s / factor, context))
    itl_s = profile.itl_s(best, context) * factor
    in_flight = demand.rate_per_s * demand.osl_tokens * itl_s
    replicas = fewest(
        lambda servers: concurrency_holds(in_flight / servers, best, targets.objective),
        at_least=max(1, math.ceil(in_flight / best)),
    )
    steps = (
        Step("rate", demand.rate_per_s, "req/s", "demand"),
        Step("context", context, "tokens", f"isl + osl/2 = {demand.isl_tokens:.0f} + {demand.osl_tokens:.0f}/2"),
        Step("n*", best, "requests", f"concurrency of most tokens/s with ITL(n, context) x {factor:.2f} <= "
             f"{targets.itl_ms:g} ms, of {profile.max_concurrency(context):.0f} measured"),
        Step("ITL(n*)", itl_s, "s", f"inter-token latency there, times the ITL factor {factor:.2f}"),
        Step("L", in_flight, "requests", f"in flight, rate x osl x ITL(n*), osl {demand.osl_tokens:.0f} tokens"),
        Step("c", replicas, "replicas", f"fewest with P(Poisson(L/c) <= n*) >= {targets.objective:g}"),
        Step("P(c)", float(pdtr(best, in_flight / replicas)), "", f"that probability with {replicas} replicas"),
    )  # fmt: skip
    return PoolSizing(
        role=Role.DECODE,
        replicas=replicas,
        steps=steps,
        utilisation=in_flight / (replicas * best),
        unattainable=unattainable_itl(targets, profile, context, factor),
        outside=beyond_decode_profile(profile, context),
    )


def concurrency_holds(mean: float, at_most: int, objective: float) -> bool:
    """P(Poisson(mean) <= at_most) >= objective."""
    return float(pdtr(at_most, mean)) >= objective


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
