"""Who set each pool's replicas last, and whether they will again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from planner.connectors.kubernetes.objects.kinds import part_of
from planner.connectors.kubernetes.objects.paths import at
from planner.connectors.kubernetes.objects.writers import OURS, writers_of
from planner.doctor.cluster.evidence import ClusterEvidence, Found, PoolEvidence
from planner.doctor.cluster.wording import said
from planner.doctor.finding import Finding, Level

_LEAVE_OUT = "leave replicas out of its manifest"
_SETS_BACK: Mapping[str, str] = {
    "argocd-controller": f"{_LEAVE_OUT}, or give the Application ignoreDifferences for /spec/replicas and the sync "
    "option RespectIgnoreDifferences=true",
    "kustomize-controller": f"{_LEAVE_OUT} in the Kustomization's source",
}
"""Field managers of tools that write what their manifests say again and again, and what to do about it
(argo-cd.readthedocs.io, "Diffing Customization"; fluxcd.io/flux, "Kustomization")."""
_SETS_ONCE = frozenset({"helm", "helm-controller", "Helm"})
"""Those that write at each upgrade."""


def last_writer(evidence: ClusterEvidence, one: PoolEvidence) -> Iterator[Finding]:
    """Who set the count to what it is, and whether they will again."""
    part = part_of(one.found.kind, one.pool.target.component) if isinstance(one.found, Found) else None
    if part is None or not isinstance(one.found, Found) or one.service.name in evidence.fleet.external:
        return
    writers = writers_of(one.found.target, at(part.replicas, one.pool.target.component))
    for writer in writers:
        at_s = "" if writer.at_s is None else f", {datetime.fromtimestamp(writer.at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
        text = f"replicas are as {writer.manager} set them{at_s}"
        if remedy := _SETS_BACK.get(writer.manager):
            again = "; it writes its own back, which the planner takes for a fight"
            yield said(one, "last writer", Level.PROBLEM, f"{text}{again}", remedy)
        elif writer.manager in _SETS_ONCE:
            again = "; the next upgrade sets them so again"
            yield said(one, "last writer", Level.REMARK, f"{text}{again}", _LEAVE_OUT)
        elif writer is writers[0]:
            who = "the planner" if writer.manager == OURS else writer.manager
            yield said(one, "last writer", Level.GOOD, f"replicas are as {who} set them{at_s}")
