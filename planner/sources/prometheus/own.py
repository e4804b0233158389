"""The planner's own metrics, read back: how many replicas there were, as the planner before this one saw them.

Prometheus renames labels that its scrape configuration sets too: `service` becomes `exported_service`. Counts that two
planners tell at once, as those of two fleets whose services have the same names, tell nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from planner.scaling.types import PoolSamples, Sample, ServiceSamples
from planner.sources.prometheus.answers import Labels, Vector

REPLICAS = '{__name__=~"sla_planner_replicas|sla_planner_rolling_out"}'
"""All of them, whoever tells them."""

_STATES = ("wanted", "ready", "starting", "pending", "draining", "rolling_out")

Counts = Mapping[tuple[str, str], Mapping[str, float]]
"""Service and pool to state to replicas."""


def counts(answer: Vector) -> Counts:
    """Of the services and pools of which every state was told, by one planner."""
    told: dict[tuple[str, str], dict[str, float]] = {}
    tellers: Counter[tuple[str, str, str]] = Counter()
    for sample in answer.samples:
        key = _original(sample.labels, "service"), _original(sample.labels, "pool")
        state = sample.labels.get("state", "rolling_out")
        told.setdefault(key, {})[state] = sample.value
        tellers[*key, state] += 1
    return {
        key: states
        for key, states in told.items()
        if all(state in states and tellers[*key, state] == 1 for state in _STATES)
    }


def with_counts(samples: ServiceSamples, service: str, known: Counts, at_s: float) -> ServiceSamples:
    """The samples with the replica counts of then, where those of all pools are known."""
    if not all((service, role) in known for role in samples.pools):
        return samples
    return replace(
        samples,
        pools={role: _counted(pool, known[service, role], at_s) for role, pool in samples.pools.items()},
    )


def _counted(pool: PoolSamples, states: Mapping[str, float], at_s: float) -> PoolSamples:
    return replace(pool, **{state: Sample(states[state], at_s) for state in _STATES})


def _original(labels: Labels, name: str) -> str:
    return labels.get(f"exported_{name}", labels.get(name, ""))
