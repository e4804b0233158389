"""GPUs that a replica holds, by the target's pod template and by its running pods, against what the budget counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.connectors.kubernetes.objects.gpus import gpus_of_pods, gpus_per_replica
from planner.connectors.kubernetes.objects.kinds import TargetError, part_of, refusal
from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.shapes import shape_of
from planner.doctor.cluster.evidence import ClusterEvidence, Found, PoolEvidence
from planner.doctor.cluster.wording import count_of, said
from planner.doctor.finding import Finding, Level, parted


def gpus(evidence: ClusterEvidence, one: PoolEvidence) -> Iterator[Finding]:
    """The template counts where there is one; else pods or the configuration tell."""
    found, component = one.found, one.pool.target.component
    if not isinstance(found, Found) or part_of(found.kind, component) is None:
        return
    if refusal(found.kind, found.target, component) is not None:
        return
    claims = evidence.claims.get(one.pool.target.object.namespace, {})
    if claims is None:
        return
    believed, setting = one.pool.gpus_per_replica, f"{one.role}.gpus_per_replica"
    running = _running(one, found, claims)
    if not shape_of(found.target, component):
        yield _untold(one, running)
        return
    try:
        counted = gpus_per_replica(found.target, component, claims, one.role)
    except TargetError as error:
        text, remedy = parted(str(error).removeprefix("target: "))
        yield said(one, "gpus", Level.PROBLEM, f"{text}; the planner would not scale it", remedy)
        return
    if counted != believed:
        yield said(
            one, "gpus", Level.PROBLEM,
            f"a replica holds {count_of(counted, 'GPU')} by its pod template, and the budget counts {believed}; the "
            "planner would not scale it",
            f"{setting}: give {counted}",
        )  # fmt: skip
    elif running is not None and running != believed:
        yield said(
            one, "gpus", Level.PROBLEM,
            f"a replica's running pods hold {count_of(running, 'GPU')}, its pod template and the budget count "
            f"{believed}",
            "see who changes its pods; the budget is held by the template's count",
        )  # fmt: skip
    else:
        yield said(one, "gpus", Level.GOOD, f"{count_of(counted, 'GPU')} a replica, as the budget counts")


def _untold(one: PoolEvidence, running: int | None) -> Finding:
    """Its object does not say what its pods are."""
    believed, setting = one.pool.gpus_per_replica, f"{one.role}.gpus_per_replica"
    if running is not None and running != believed:
        text = f"a replica's running pods hold {count_of(running, 'GPU')}, and the budget counts {believed}"
        return said(one, "gpus", Level.PROBLEM, text, f"{setting}: give {running}")
    if not one.pool.configured:
        return said(
            one, "gpus", Level.PROBLEM,
            f"{one.pool.target} does not say how many GPUs a replica holds; the planner would not scale it",
            f"{setting}: give {believed if running is not None else f'it, if only the {believed} of the profile'}",
        )  # fmt: skip
    by = "not told by its object" if running is None else "as its running pods hold"
    return said(one, "gpus", Level.GOOD, f"{count_of(believed, 'GPU')} a replica as configured, {by}")


def _running(one: PoolEvidence, found: Found, claims: Mapping[str, Object]) -> int | None:
    """Of a replica, by its pods; None unless all replicas are whole and alike."""
    replicas = one.replicas
    if one.pods is None or replicas is None or replicas.rolling_out:
        return None
    if not replicas.ready or replicas.starting or replicas.pending or replicas.draining:
        return None
    alive = [pod for pod in one.pods if read(pod, path(".status.phase")) not in {"Succeeded", "Failed"}]
    try:
        held = gpus_of_pods(found.target, alive, claims, one.role)
    except TargetError:
        return None
    return held // replicas.ready if held % replicas.ready == 0 else None
