"""Whether the labels written under `metrics` find series, and if not, which of them is to blame."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations

from planner.doctor.blame import blamed, in_words
from planner.doctor.evidence import Evidence, ServiceEvidence, shared
from planner.doctor.finding import Finding, Level
from planner.scaling.types import Role
from planner.sources.prometheus.answers import Labels, carries
from planner.sources.prometheus.batch import known_series


def selector(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """`metrics.match` finds series that a map knows."""
    wanted = one.wanted.asked.selector.service
    if any(carries(series, wanted) for series in evidence.there):
        return
    if evidence.there:
        yield blamed(one.name, "metrics.match", evidence.there, wanted)
        return
    engines = ", ".join(sorted(evidence.setup.maps))
    yield Finding(
        one.name, "selector", Level.PROBLEM,
        f"Prometheus has no series of any engine or router with a metric map ({engines})",
        "have the engines scraped; for another engine, write a map and name it in prometheus.maps, "
        "see docs/metric-maps.md",
    )  # fmt: skip


def router(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """`metrics.router`, where it is given, finds a router."""
    wanted = one.wanted.asked.selector.router
    if wanted is None or one.detection.routers:
        return
    maps = [each for each in evidence.setup.maps.values() if each.kind == "router"]
    names = known_series(maps)
    there = [series for series in evidence.there if series.get("__name__") in names]
    if there:
        yield blamed(one.name, "metrics.router", there, wanted)
        return
    known = ", ".join(sorted(each.name for each in maps))
    yield Finding(
        one.name, "router", Level.PROBLEM, f"Prometheus has no series of any router with a metric map ({known})",
        "have the router scraped, or leave metrics.router out: then the engines tell arrivals and time to first token",
    )  # fmt: skip


def services(evidence: Evidence) -> Iterator[Finding]:
    """No replica is of two services."""
    owners: dict[frozenset[tuple[str, str]], list[str]] = defaultdict(list)
    for one in evidence.services:
        for series in one.reporting:
            owners[frozenset(series.items())].append(one.name)
    claimed = Counter(pair for names in owners.values() for pair in combinations(names, 2))
    for (first, second), count in claimed.items():
        yield Finding(
            second, "services", Level.PROBLEM,
            f"{count} of its series are those of service {first} too, so load counts twice",
            "metrics.match: give each service labels that only its own series carry",
        )  # fmt: skip


def pools(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """Each pool's labels find replicas, no two pools' the same ones, and together all of the service's."""
    asked = one.wanted.asked
    for role in one.unseen:
        yield _unseen(one, role)
    for first, second in combinations(asked.roles, 2):
        both = shared(one.of_pool(first), one.of_pool(second))
        if both:
            yield Finding(
                one.name, "pools", Level.PROBLEM,
                f"{len(both)} series carry the labels of {first} and of {second}, such as "
                f"{_brief(evidence, one, both[0])}; what they tell counts twice",
                f"metrics.{first}, metrics.{second}: give labels that tell the pools apart",
            )  # fmt: skip
    labels = [asked.selector.of_pool(role) for role in asked.roles]
    stray = [series for series in one.reporting if not any(carries(series, each) for each in labels)]
    if stray and not one.unseen:
        yield Finding(
            one.name, "pools", Level.REMARK,
            f"{len(stray)} series of the service are of none of its pools, such as {_brief(evidence, one, stray[0])}",
            f"metrics.match: narrow it, if they are another's; else widen "
            f"{' or '.join(f'metrics.{role}' for role in asked.roles)}",
        )  # fmt: skip


def _brief(evidence: Evidence, one: ServiceEvidence, series: Labels) -> str:
    """By the labels that tell pods and pools apart."""
    of_pools = (label for labels in one.wanted.asked.selector.pools.values() for label in labels)
    telling = {*evidence.setup.pod_labels, *of_pools}
    return in_words({label: value for label, value in series.items() if label in telling} or series)


def _unseen(one: ServiceEvidence, role: Role) -> Finding:
    selector = one.wanted.asked.selector
    own = selector.pools.get(role, {})
    for label in own.keys() & selector.service.keys():
        if own[label] != selector.service[label]:
            return Finding(
                one.name, "selector", Level.PROBLEM,
                f'metrics.match wants {label}="{selector.service[label]}", metrics.{role} {label}="{own[label]}": '
                "no series is both",
                f"metrics.match: leave {label} out",
            )  # fmt: skip
    # What another pool rightly claims is no suggestion for this one.
    others = [labels for other, labels in selector.pools.items() if other != role and other not in one.unseen]
    free = [series for series in one.reporting if not any(carries(series, labels) for labels in others)]
    if free:
        return blamed(one.name, f"metrics.{role}", free, own)
    return Finding(
        one.name, "selector", Level.PROBLEM,
        f"{in_words(own)}: no series, and all that the service has are of another pool",
        f"see whether {role} engines run and are scraped; if so, metrics.{role}: give labels that they carry",
    )  # fmt: skip
