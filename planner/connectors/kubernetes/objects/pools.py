"""What the pods of a pool say together: replicas ready, starting, pending, draining and failing, and a roll-out.

A replica is a pod, or a group of pods: then it is ready when all its pods are, and otherwise what the worst of them is.
Times are seconds since the epoch; pods that are over are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.pods import Phase, PodState, pod_state
from planner.connectors.kubernetes.objects.table import LWS_GROUP
from planner.scaling.lead import KEPT
from planner.scaling.types import Absent, ReplicaSamples, Sample, Sampled, Start

LWS_SIZE = "leaderworkerset.sh/size"
"""Annotation of a LeaderWorkerSet's pods: how many their group has."""
REVISIONS = (
    "pod-template-hash",
    "leaderworkerset.sh/template-revision-hash",
    "controller-revision-hash",
    "grove.io/pod-template-hash",
)
"""Labels that tell what a pod was made from; the first that a pod has counts."""
COUNT_UPDATED = frozenset({"Deployment", "StatefulSet", "LeaderWorkerSet"})
"""Kinds whose status counts updated replicas, and leaves out a 0."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """One pool."""

    samples: ReplicaSamples
    failing: int
    """Of those starting, replicas that will not come."""
    reasons: tuple[str, ...]
    """Why replicas are pending or failing, each once, with how many pods say so."""
    pods: tuple[PodState, ...]
    """All but those that are over, by name."""


def pool_state(
    pods: Sequence[Object],
    target: Object,
    wanted: int | Absent,
    at_s: float,
    *,
    group_by: tuple[str, ...] = (),
    group_size: int | None = None,
) -> PoolState:
    """What the pods of one component of `target` say at `at_s`; `wanted` is what the target asks for.

    `group_by` are the labels that pods of one replica share (`Part.group_by`); pods that lack one of them are replicas
    of their own, and pods of a LeaderWorkerSet always go by its groups. `group_size` is how many pods a group has,
    where they do not say it themselves: without it a group is as large as it is seen.
    """
    alive = [(pod, state) for pod in pods if (state := pod_state(pod)).phase != "over"]
    replicas: dict[tuple[str, ...], list[tuple[Object, PodState]]] = {}
    for pod, state in alive:
        replicas.setdefault(_replica(pod, group_by), []).append((pod, state))
    phases = {
        key: _worst([state.phase for _, state in members], _size([pod for pod, _ in members], group_size, key))
        for key, members in replicas.items()
    }
    failing = sum(phase == "failing" for phase in phases.values())
    told = tuple(sorted((state for _, state in alive), key=lambda state: state.name))

    def count(*counted: Phase) -> Sampled:
        return Sample(sum(phase in counted for phase in phases.values()), at_s)

    return PoolState(
        samples=ReplicaSamples(
            wanted=wanted if isinstance(wanted, Absent) else Sample(wanted, at_s),
            ready=count("ready"),
            starting=count("starting", "failing"),
            pending=count("pending"),
            draining=count("draining"),
            rolling_out=Sample(int(rolling_out(target, [pod for pod, _ in alive])), at_s),
            failing=Sample(failing, at_s),
            pending_go_first=Sample(
                int(_of_one_replica_set([pod for pod, state in alive if state.phase != "draining"])), at_s
            ),
            starts=_starts([members for key, members in replicas.items() if phases[key] == "ready"]),
        ),
        failing=failing,
        reasons=_reasons(told),
        pods=told,
    )


def rolling_out(target: Object, pods: Iterable[Object]) -> bool:
    """Whether the target's template is being changed.

    The controller has yet to see the object, or replicas of the old template are left that it means to replace. Where
    the object's status counts no updated replicas, pods made from several revisions tell.
    """
    generation, seen = read(target, path(".metadata.generation")), read(target, path(".status.observedGeneration"))
    if type(generation) is int and type(seen) is int and seen < generation:
        return True
    if read(target, path(".spec.updateStrategy.type")) == "OnDelete":
        return False
    if type(replicas := read(target, path(".status.replicas"))) is int:
        updated = read(target, path(".status.updatedReplicas"))
        if type(updated) is int or target.get("kind") in COUNT_UPDATED:
            return (updated or 0) < replicas - _kept_old(target)
    going = path(".metadata.deletionTimestamp")
    revisions = {_revision(pod) for pod in pods if read(pod, going) is None} - {None}
    return len(revisions) > 1


def _kept_old(target: Object) -> int:
    """Replicas that a partitioned update leaves as they are, for as long as the partition stands."""
    for where in (
        ".spec.updateStrategy.rollingUpdate.partition",
        ".spec.rolloutStrategy.rollingUpdateConfiguration.partition",
    ):
        if type(kept := read(target, path(where))) is int:
            return kept
    return 0


def _revision(pod: Object) -> str | None:
    labels = read(pod, path(".metadata.labels")) or {}
    return next((labels[label] for label in REVISIONS if label in labels), None)


def _of_one_replica_set(pods: list[Object]) -> bool:
    """A ReplicaSet removes pods without a node first; a StatefulSet the last ones, whatever they do. Of several
    ReplicaSets one rolls out, and a cut is shared among them."""
    controllers = {_controller(pod) for pod in pods}
    return len(controllers) == 1 and {kind for kind, _ in controllers} == {"ReplicaSet"}


def _controller(pod: Object) -> tuple[str, str]:
    """Kind and UID of what made the pod; empty when nothing did."""
    owners: list[Object] = read(pod, path(".metadata.ownerReferences")) or []
    owner = next((each for each in owners if each.get("controller")), {})
    return str(owner.get("kind", "")), str(owner.get("uid", ""))


# --- groups -----------------------------------------------------------------------------------------------------


def _replica(pod: Object, group_by: tuple[str, ...]) -> tuple[str, ...]:
    """What tells the pod's replica from others: its group's labels, or its own name."""
    labels = read(pod, path(".metadata.labels")) or {}
    for names in (LWS_GROUP, group_by):
        if names and all(name in labels for name in names):
            return (*names, *(labels[name] for name in names))
    return (str(read(pod, path(".metadata.name"))),)


def _starts(replicas: list[list[tuple[Object, PodState]]]) -> tuple[Start, ...]:
    """How those replicas came up of which every pod tells it, the newest `KEPT`, oldest first."""
    starts = [start for members in replicas if (start := _start(members)) is not None]
    return tuple(sorted(starts, key=lambda start: start.ready_at_s)[-KEPT:])


def _start(members: list[tuple[Object, PodState]]) -> Start | None:
    startups = [state.startup for _, state in members if state.startup is not None]
    if len(startups) < len(members):
        return None
    ready_at_s = max(startup.ready_at_s for startup in startups)
    # Eight digits of a UID tell a pool's pods apart; a name would not: a StatefulSet gives it again.
    replica = min(str(read(pod, path(".metadata.uid")))[:8] for pod, _ in members)
    return Start(replica, ready_at_s, ready_at_s - min(startup.scheduled_at_s for startup in startups))


def _size(members: list[Object], otherwise: int | None, key: tuple[str, ...]) -> int:
    """How many pods the replica has when it is whole."""
    if len(key) == 1:
        return 1
    for pod in members:
        said = (read(pod, path(".metadata.annotations")) or {}).get(LWS_SIZE)
        if isinstance(said, str) and said.isdecimal():
            return int(said)
    return len(members) if otherwise is None else otherwise


def _worst(phases: list[Phase], size: int) -> Phase:
    worst_first: tuple[Phase, ...] = ("draining", "failing", "pending", "starting")
    found = next((phase for phase in worst_first if phase in phases), None)
    return found or ("ready" if len(phases) >= size else "starting")


def _reasons(pods: tuple[PodState, ...]) -> tuple[str, ...]:
    said = [f"{pod.phase}: {pod.reason}" for pod in pods if pod.phase in {"pending", "failing"}]
    return tuple(f"{reason} ({said.count(reason)} pods)" for reason in dict.fromkeys(said))
