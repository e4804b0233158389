"""Whether every replica is heard, and counted once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from planner.doctor.blame import in_words
from planner.doctor.evidence import Evidence, ServiceEvidence
from planner.doctor.finding import Finding, Level
from planner.scaling.types import Absent
from planner.sources.prometheus.answers import Labels
from planner.sources.prometheus.maps import Quantity
from planner.sources.prometheus.queries import POD


def reporting(_: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """How many replicas of each pool report, against the Ready ones where their number was given."""
    for role, pool in one.samples.pools.items():
        if isinstance(pool.reporting, Absent) or role in one.unseen:
            continue  # said under its quantity, or under its labels
        heard = round(pool.reporting.value)
        ready = None if one.wanted.ready is None else one.wanted.ready.get(role)
        text = f"{role}: {heard} reporting" + ("" if ready is None else f", {ready} Ready")
        if ready is None or heard == ready:
            yield Finding(one.name, "pods", Level.GOOD, text)
        elif heard < ready:
            yield Finding(
                one.name, "pods", Level.PROBLEM, f"{text}; the planner may raise such a fleet, never lower it",
                "see on Prometheus's page /targets which pods are not scraped, and why",
            )  # fmt: skip
        else:
            yield Finding(
                one.name, "pods", Level.REMARK, f"{text}; a pod that is gone may linger for five minutes",
                f"if it stays so, narrow metrics.match or metrics.{role}: another's pods are counted",
            )  # fmt: skip


def identity(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """The labels that tell pods apart are there; if not, several pods may be taken for one."""
    wanted = evidence.setup.pod_labels
    if not one.reporting:
        return
    if not wanted:
        if any("pod" in series for series in one.reporting):
            yield Finding(
                one.name, "pod labels", Level.REMARK,
                "prometheus.pod_labels is empty, so a pod that is scraped twice counts twice; the series carry pod",
                "prometheus.pod_labels: give [namespace, pod]",
            )  # fmt: skip
        return
    lacking = [label for label in wanted if not all(series.get(label) for series in one.reporting)]
    if not lacking:
        return
    targets = defaultdict(set)
    for role in one.wanted.asked.roles:
        for series in one.of_pool(role):
            targets[role, _pod(series, wanted)].add((series.get("instance", ""), series.get("job", "")))
    merged = max(map(len, targets.values()), default=0)
    text = f"not all series carry {' and '.join(lacking)} of prometheus.pod_labels"
    usable = [label for label in POD if all(series.get(label) for series in one.reporting)]
    remedy = (
        f"prometheus.pod_labels: give [{', '.join(usable if 'pod' in usable else ['instance'])}], "
        f"or have {' and '.join(lacking)} attached when scraping"
    )
    if merged <= 1:
        yield Finding(one.name, "pod labels", Level.REMARK, text, remedy)
    else:
        yield Finding(
            one.name, "pod labels", Level.PROBLEM,
            f"{text}: {merged} targets are taken for one pod, and only the largest of them counts", remedy,
        )  # fmt: skip


def twice(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """Series that are alike in pod and in the engine's own parts: of these the largest is taken."""
    pod_labels = evidence.setup.pod_labels
    if not pod_labels or not all(series.get(label) for series in one.reporting for label in pod_labels):
        return
    chosen = one.detection.choice.get(Quantity.REPORTING)
    if chosen is None:
        return
    known = (*chosen.map.parts, *chosen.map.repeats)
    alike: dict[tuple[str, ...], list[Labels]] = defaultdict(list)
    for series in one.reporting:
        alike[(*_pod(series, pod_labels), *_pod(series, known))].append(series)
    several = {key: series for key, series in alike.items() if len(series) > 1}
    if not several:
        return
    pods = {_pod(series, pod_labels) for series in one.reporting}
    of = f"{len({key[: len(pod_labels)] for key in several})} of {len(pods)}"
    first = next(iter(several.values()))
    differing = _differing(first)
    example = f"{in_words({label: first[0][label] for label in pod_labels})} by " + " and ".join(
        in_words({label: series.get(label, "") for label in differing}) for series in first[:2]
    )
    if {"job", "instance"}.isdisjoint(differing):
        yield Finding(
            one.name, "scraped twice", Level.REMARK,
            f"{of} pods have several series of {chosen.spelt(chosen.alternative.series)} from one target, such as "
            f"{example}; the largest counts",
            f"where they add up, write a map {chosen.map.name} whose parts name {' and '.join(differing)}, see "
            "docs/metric-maps.md; where they say the same, all is well",
        )  # fmt: skip
    else:
        yield Finding(
            one.name, "scraped twice", Level.REMARK,
            f"{of} pods are scraped more than once, such as {example}; the planner counts each once",
            "leave one scrape job for them; where a pod runs several engines, add instance to prometheus.pod_labels",
        )  # fmt: skip


def _pod(series: Labels, labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(series.get(label, "") for label in labels)


def _differing(series: list[Labels]) -> list[str]:
    names = sorted({name for each in series for name in each})
    return [name for name in names if len({each.get(name) for each in series}) > 1]
