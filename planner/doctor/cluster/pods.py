"""What each pool's pods do now, and how long those that serve took to start. Seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from planner.doctor.cluster.evidence import ClusterEvidence, PoolEvidence
from planner.doctor.cluster.wording import count_of, said
from planner.doctor.finding import Finding, Level

_FAR_OFF = 0.5
"""Share of `startup_s` by which start-ups may differ from it."""


def pods(_: ClusterEvidence, one: PoolEvidence) -> Iterator[Finding]:
    """Replicas by what they do, and why some do not come."""
    state, replicas = one.state, one.replicas
    if state is None or replicas is None:
        return
    counts = {
        "starting": replicas.starting - state.failing, "failing": state.failing, "pending": replicas.pending,
        "draining": replicas.draining,
    }  # fmt: skip
    parts = [f"{replicas.ready} of {replicas.wanted} Ready", *(f"{n} {word}" for word, n in counts.items() if n)]
    text = ", ".join(parts) + (", rolling out" if replicas.rolling_out else "")
    if state.reasons:
        text = f"{text}; {'; '.join(state.reasons)}"
    if state.failing:
        remedy = "see kubectl describe and kubectl logs of these pods: they hold GPUs and serve nobody"
        yield said(one, "pods", Level.PROBLEM, text, remedy)
    elif replicas.pending:
        yield said(
            one, "pods", Level.PROBLEM,
            f"{text}; after scaling.max_pending_s {one.service.guards.max_pending_s:g} s the pool is raised no further",
            "add nodes or free their GPUs; else lower budget.gpus to what the cluster has",
        )  # fmt: skip
    elif replicas.rolling_out:
        yield said(one, "pods", Level.REMARK, text, "ask again when the roll-out is over")
    else:
        yield said(one, "pods", Level.GOOD, text)


def startup(_: ClusterEvidence, one: PoolEvidence) -> Iterator[Finding]:
    """From getting a node to Ready, as the planner learns it, against `startup_s`."""
    if one.state is None:
        return
    starts = [pod.startup for pod in one.state.pods if pod.startup is not None]
    took_s = [start.ready_at_s - start.scheduled_at_s for start in starts]
    if not took_s:
        return
    middle_s, slowest_s, configured_s = median(took_s), max(took_s), one.service.startup_s
    text = (
        f"median {middle_s:.0f} s, slowest {slowest_s:.0f} s of {count_of(len(took_s), 'pod')}; "
        f"startup_s is {configured_s:g}"
    )
    if abs(middle_s - configured_s) <= _FAR_OFF * configured_s:
        yield said(one, "start-up", Level.GOOD, text)
    else:
        yield said(one, "start-up", Level.REMARK, text, f"startup_s: give {math.ceil(slowest_s)}, until it is learnt")
