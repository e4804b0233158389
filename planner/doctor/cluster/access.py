"""Whether the API server answers, as whom it takes us, what we may do there, and who else is writing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.connectors.kubernetes.objects.paths import path, read
from planner.connectors.kubernetes.objects.pods import epoch_s
from planner.doctor.cluster.evidence import ClusterEvidence
from planner.doctor.cluster.needs import Need, in_words, rules_of
from planner.doctor.finding import Finding, Level, parted
from planner.scaling.types import Absent

_MUCH_SKEW_S = 5.0
_SERVICE_ACCOUNT = "system:serviceaccount:"
_WITHOUT: Mapping[str, str] = {
    "events": "nobody sees in the cluster what the planner did",
    "marks": "the idlest pods do not go first",
}
"""What is lost with the permissions that the planner can do without."""


def server(evidence: ClusterEvidence) -> Iterator[Finding]:
    """That it answers, whose clock is right, and as whom we ask."""
    yield Finding(None, "api server", Level.GOOD, f"Kubernetes {evidence.version or 'of a version it does not tell'}")
    for cause in evidence.unanswered:
        yield Finding(None, "api server", Level.PROBLEM, *parted(f"a question was not answered: {cause}"))
    if evidence.skew_s is not None and abs(evidence.skew_s) > _MUCH_SKEW_S:
        text = f"{abs(evidence.skew_s):.0f} s {'ahead of' if evidence.skew_s > 0 else 'behind'} this machine's"
        yield Finding(None, "clock", Level.REMARK, text, "set both clocks by the same time server")
    elif evidence.skew_s is not None:
        yield Finding(None, "clock", Level.GOOD, f"within {_MUCH_SKEW_S:g} s of this machine's")
    if evidence.account is None:
        return
    if evidence.account.startswith(_SERVICE_ACCOUNT):
        yield Finding(None, "account", Level.GOOD, evidence.account)
    else:
        yield Finding(
            None, "account", Level.REMARK,
            f"{evidence.account} is no ServiceAccount; what is permitted to it may not be to the planner",
            "run this in the planner's pod, or give --kubeconfig with a token of its ServiceAccount",
        )  # fmt: skip


def permissions(evidence: ClusterEvidence) -> Iterator[Finding]:
    """All that is lacking in one namespace, with the rules that grant it."""
    who = evidence.account or "the account"
    lacking: dict[tuple[bool, str], list[Need]] = {}
    for need in evidence.denied:
        lacking.setdefault((need.why in _WITHOUT, need.namespace), []).append(need)
    for (can_do_without, namespace), needs in sorted(lacking.items()):
        without = " and ".join(dict.fromkeys(_WITHOUT.get(need.why, "") for need in needs))
        yield Finding(
            None, "permissions", Level.REMARK if can_do_without else Level.PROBLEM,
            f"in namespace {namespace} {who} may not {in_words(needs)}{without and '; without it: '}{without}",
            f"give it a Role in {namespace} with rules: {rules_of(needs)}",
        )  # fmt: skip
    if evidence.asked and not evidence.denied:
        namespaces = sorted({one.pool.target.object.namespace for one in evidence.pools})
        text = f"all {evidence.asked} that the planner needs for its targets in {', '.join(namespaces)}"
        yield Finding(None, "permissions", Level.GOOD, text)


def lease(evidence: ClusterEvidence) -> Iterator[Finding]:
    """Who holds the Lease, and so writes."""
    name = "/".join(evidence.fleet.lease)
    if evidence.lease is None:
        return
    if isinstance(evidence.lease, Absent):
        yield Finding(None, "lease", Level.GOOD, f"there is no Lease {name} yet; the planner makes it")
        return
    holder = read(evidence.lease, path(".spec.holderIdentity"))
    renewed, lasts_s = (read(evidence.lease, path(f".spec.{name}")) for name in ("renewTime", "leaseDurationSeconds"))
    if not holder:
        yield Finding(None, "lease", Level.GOOD, f"nobody holds the Lease {name}")
    elif renewed is None:
        yield Finding(None, "lease", Level.GOOD, f"{holder} holds the Lease {name}")
    else:
        age_s = max(evidence.at_s - epoch_s(str(renewed)), 0.0)
        over = type(lasts_s) is int and age_s > lasts_s
        text = f"{holder} {'held' if over else 'holds'} the Lease {name}, renewed {age_s:.0f} s ago"
        yield Finding(None, "lease", Level.GOOD, f"{text}; the next planner takes it" if over else text)
