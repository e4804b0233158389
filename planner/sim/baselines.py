"""Fleets to compare a policy with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from planner.errors import UserError
from planner.scaling.profile import Profile
from planner.scaling.size.throughput import size_by_throughput
from planner.scaling.size.types import Factors
from planner.scaling.types import Demand, Role
from planner.sim.loads import Request
from planner.slo.targets import Targets


def static_peak(
    requests: Iterable[Request], roles: Iterable[Role], profile: Profile, targets: Targets, interval_s: float
) -> Mapping[Role, int]:
    """The fewest replicas per pool that the published throughput formula asks for in any interval of the trace.

    It knows the whole trace beforehand, yet leaves no room for queues: the cheapest fixed fleet one would defend.
    Raises UserError when there are no requests.
    """
    roles = tuple(roles)
    peak: dict[Role, int] = {}
    for demand in _demands(requests, interval_s):
        for role in roles:
            needed = size_by_throughput(role, demand, targets, profile, Factors()).replicas
            peak[role] = max(peak.get(role, 0), needed)
    if not peak:
        raise UserError("trace: no requests to size a peak for; widen the slice or raise the scale")
    return peak


def _demands(requests: Iterable[Request], interval_s: float) -> Iterable[Demand]:
    for _, group in groupby(requests, key=lambda request: request.arrival_s // interval_s):
        lengths = [(request.isl, request.osl) for request in group]
        count = len(lengths)
        isl, osl = (sum(column) / count for column in zip(*lengths, strict=True))
        isl_squared = sum(isl_one**2 for isl_one, _ in lengths) / count
        yield Demand(count / interval_s, isl, osl, max(0.0, isl_squared / isl**2 - 1))
