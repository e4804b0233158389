"""Service over cost: a point for each run, and a line through the best of those that differ only in numbers.

A sweep is what is left of a policy's name without its numbers: clairvoyant:0.9 and clairvoyant:0.99 are one, as are
static:7+3 and static:8+4, or hpa:queue=2 and hpa:queue=4. Its line joins its Pareto-best points: those that no other of
the sweep beats in service at the same or a lower cost.

Units: GPU-hours, percent of all requests judged.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from planner.sim.compare import Played
from planner.sim.html.names import label, variation
from planner.sim.report import differing
from planner.slo.targets import Targets

_NUMBERS = re.compile(r"[:=][\d.+]+$")

Point = tuple[float, float]
"""Cost and service."""


def frontier(played: Sequence[Played], targets: Mapping[str, Targets]) -> dict[str, object]:
    """The chart's part of the data; runs in which nothing was judged have no point.

    The objective is null when the services' differ, since then none holds for all requests together.
    """
    varied = differing(played)
    variations = list(dict.fromkeys(variation(one, varied) for one in played))
    points: list[dict[str, object]] = []
    sweeps: defaultdict[tuple[str, int], list[Point]] = defaultdict(list)
    for one in played:
        share = one.attainment.share
        if share is None:
            continue
        family, shape = one.name.partition(":")[0], variations.index(variation(one, varied))
        point = (one.result.gpu_hours, share * 100)
        sweeps[_NUMBERS.sub("", one.name), shape].append(point)
        points.append(
            {
                "name": label(one, varied), "family": family, "shape": shape, "gpu_hours": point[0], "good": point[1],
                "kept": keeps(one, targets),
            }
        )  # fmt: skip
    best = ((sweep.partition(":")[0], shape, pareto(each)) for (sweep, shape), each in sweeps.items())
    objectives = {each.objective for each in targets.values()}
    return {
        "objective": round(objectives.pop() * 100, 9) if len(objectives) == 1 else None,
        "variations": variations,
        "frontier": points,
        "sweeps": [
            {"family": family, "shape": shape, "gpu_hours": [x for x, _ in line], "good": [y for _, y in line]}
            for family, shape, line in best
            if len(line) > 1
        ],
    }


def pareto(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats in service at the same or a lower cost, cheapest first."""
    best: list[Point] = []
    for cost, service in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or service > best[-1][1]:
            best.append((cost, service))
    return best


def keeps(one: Played, targets: Mapping[str, Targets]) -> bool:
    """Whether every service that is named in `targets` kept its objective."""
    shares = ((one.result.services[name].outcome.good_share, agreed.objective) for name, agreed in targets.items())
    return all(share is not None and share >= objective for share, objective in shares)
