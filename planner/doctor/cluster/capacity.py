"""What all pools hold together, against the budget and against what the cluster has. GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from planner.doctor.cluster.evidence import ClusterEvidence
from planner.doctor.finding import Finding, Level


def budget(evidence: ClusterEvidence) -> Iterator[Finding]:
    """As the planner counts: by its GPUs for each replica, those that start, wait and drain included."""
    limit, nodes = evidence.fleet.budget_gpus, evidence.node_gpus
    known = [(one, one.replicas) for one in evidence.pools]
    held = sum(replicas.committed * one.pool.gpus_per_replica for one, replicas in known if replicas is not None)
    unknown = sum(replicas is None for _, replicas in known)
    text = f"the pools hold {held} GPUs{f' beside {unknown} pools not known' if unknown else ''}"
    if held > limit:
        yield Finding(
            None, "budget", Level.PROBLEM,
            f"{text}, {held - limit} more than budget.gpus {limit}; the planner would lower the fleet at once",
            f"budget.gpus: give {held} or more, or scale down before",
        )  # fmt: skip
    elif len(known) > unknown:
        yield Finding(None, "budget", Level.GOOD, f"{text} of budget.gpus {limit}")
    if nodes is not None and nodes < limit:
        yield Finding(
            None, "budget", Level.REMARK,
            f"budget.gpus is {limit}, and the nodes have {nodes} GPUs; a plan beyond them waits for nodes",
            f"right where nodes are added when pods need them; else budget.gpus: give {nodes}",
        )  # fmt: skip
