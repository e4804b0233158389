"""What pods say: each one's phase and why, start-up times, and the replicas of a pool, of single pods and of groups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.connectors.kubernetes.objects.pods import PodState, Startup, pod_state
from planner.connectors.kubernetes.objects.pools import PoolState, pool_state, rolling_out
from planner.scaling.lead import KEPT
from planner.scaling.types import Absent, ReplicaSamples, Sample, Start

AT_S = 1_790_000_000.0
CREATED, SCHEDULED, READY_AT = "2026-09-21T14:00:00Z", "2026-09-21T14:00:05Z", "2026-09-21T14:02:30Z"
NO_GPU = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
CRASHED = {"terminated": {"reason": "Error", "exitCode": 1}}
KILLED = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
ENDED = {"terminated": {"reason": "Completed", "exitCode": 0}}
RUNNING: dict[str, Any] = {"running": {}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def container(
    state: dict[str, Any], last: dict[str, Any] | None = None, restarts: int = 0, ready: bool = False
) -> dict[str, Any]:
    return {"name": "engine", "state": state, "lastState": last or {}, "restartCount": restarts, "ready": ready}


def pod(
    name: str = "chat-0",
    *containers: dict[str, Any],
    ready: bool = False,
    placed: bool = True,
    going: bool = False,
    phase: str = "Running",
    unschedulable: str | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    init: tuple[dict[str, Any], ...] = (),
    owner: tuple[str, str] | None = None,
    placed_at: str = SCHEDULED,
    ready_at: str = READY_AT,
) -> dict[str, Any]:
    scheduled: dict[str, Any] = {"type": "PodScheduled", "status": "True", "lastTransitionTime": placed_at}
    if unschedulable is not None:
        scheduled |= {"status": "False", "reason": "Unschedulable", "message": unschedulable}
    serving = {"type": "Ready", "status": str(ready), "lastTransitionTime": ready_at}
    metadata: dict[str, Any] = {"name": name, "creationTimestamp": CREATED, "labels": labels or {}}
    metadata["uid"] = f"{name:->8}-4b7e"
    if owner is not None:
        metadata["ownerReferences"] = [
            {"kind": "Node", "uid": "n"},
            {"kind": owner[0], "uid": owner[1], "controller": True},
        ]
    if going:
        metadata["deletionTimestamp"] = READY_AT
    return {
        "metadata": {**metadata, "annotations": annotations or {}},
        "spec": {"nodeName": "node-1"} if placed else {},
        "status": {
            "phase": phase,
            "conditions": [scheduled, serving],
            "initContainerStatuses": list(init),
            "containerStatuses": list(containers),
        },
    }


def pending(name: str = "chat-0", **more: Any) -> dict[str, Any]:
    return pod(name, placed=False, phase="Pending", unschedulable=NO_GPU, **more)


# --- one pod ----------------------------------------------------------------------------------------------------

CAME_UP = Startup(created_at_s=1_789_999_200.0, scheduled_at_s=1_789_999_205.0, ready_at_s=1_789_999_350.0)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(
            pod("chat-0", container(RUNNING, ready=True), ready=True),
            PodState("chat-0", "ready", startup=CAME_UP),
            id="ready, with its start-up time",
        ),
        pytest.param(
            pod("chat-0", container(RUNNING, KILLED, restarts=3, ready=True), ready=True),
            PodState("chat-0", "ready", restarts=3),
            id="ready after restarts: no start-up time",
        ),
        pytest.param(pending(), PodState("chat-0", "pending", NO_GPU), id="unschedulable"),
        pytest.param(
            {"metadata": {"name": "chat-0"}, "spec": {}, "status": {"phase": "Pending"}},
            PodState("chat-0", "starting"),
            id="not looked at by the scheduler",
        ),
        pytest.param(
            {
                "metadata": {"name": "chat-0"},
                "status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
            },
            PodState("chat-0", "pending", "SchedulingGated"),
            id="gated",
        ),
        pytest.param(pod("chat-0", container(RUNNING)), PodState("chat-0", "starting"), id="loading"),
        pytest.param(
            pod("chat-0", container(waiting("ContainerCreating")), phase="Pending"),
            PodState("chat-0", "starting"),
            id="creating",
        ),
        pytest.param(
            pod("chat-0", container(waiting("PodInitializing")), init=(container(ENDED), container(RUNNING))),
            PodState("chat-0", "starting"),
            id="init containers at work",
        ),
        pytest.param(
            pod("chat-0", container(waiting("CrashLoopBackOff"), CRASHED, restarts=7)),
            PodState("chat-0", "failing", "engine: CrashLoopBackOff, 7 restarts", 7),
            id="crash loop",
        ),
        pytest.param(
            pod("chat-0", container(waiting("ImagePullBackOff")), phase="Pending"),
            PodState("chat-0", "failing", "engine: ImagePullBackOff, 0 restarts"),
            id="image back-off",
        ),
        pytest.param(
            pod("chat-0", container(waiting("ErrImagePull")), phase="Pending"),
            PodState("chat-0", "failing", "engine: ErrImagePull, 0 restarts"),
            id="image pull",
        ),
        pytest.param(
            pod("chat-0", container(waiting("CrashLoopBackOff"), KILLED, restarts=2)),
            PodState("chat-0", "failing", "engine: OOMKilled, 2 restarts", 2),
            id="out of memory is told before the loop it leads to",
        ),
        pytest.param(
            pod("chat-0", container(RUNNING, KILLED, restarts=1)),
            PodState("chat-0", "failing", "engine: OOMKilled, 1 restarts", 1),
            id="loading again after out of memory",
        ),
        pytest.param(
            pod("chat-0", container(CRASHED, restarts=1)),
            PodState("chat-0", "failing", "engine: Error, 1 restarts", 1),
            id="dead just now",
        ),
        pytest.param(
            pod("chat-0", container(RUNNING, CRASHED, restarts=1)),
            PodState("chat-0", "starting", restarts=1),
            id="one crash may be chance",
        ),
        pytest.param(
            pod("chat-0", container(RUNNING, CRASHED, restarts=2)),
            PodState("chat-0", "failing", "engine: Error, 2 restarts", 2),
            id="running between two crashes",
        ),
        pytest.param(
            pod(
                "chat-0",
                container(waiting("PodInitializing")),
                init=(container(waiting("CrashLoopBackOff"), CRASHED, 4),),
            ),
            PodState("chat-0", "failing", "engine: CrashLoopBackOff, 4 restarts", 4),
            id="an init container in a crash loop",
        ),
        pytest.param(pod(ready=True, going=True), PodState("chat-0", "draining"), id="being removed"),
        pytest.param(pending(going=True), PodState("chat-0", "over"), id="removed before it had a node"),
        pytest.param(pod(phase="Succeeded"), PodState("chat-0", "over"), id="succeeded"),
        pytest.param(pod(phase="Failed"), PodState("chat-0", "over"), id="failed, as evicted ones are"),
    ],
)
def test_a_pod_is_told_by_its_conditions_and_containers(of: dict[str, Any], expected: PodState) -> None:
    assert pod_state(of) == expected


def test_the_start_up_time_is_from_creation_to_ready() -> None:
    assert CAME_UP.startup_s == 150.0


def test_a_ready_pod_without_its_times_has_no_start_up_time() -> None:
    bare = {
        "metadata": {"name": "chat-0", "creationTimestamp": CREATED},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }

    assert pod_state(bare) == PodState("chat-0", "ready")


# --- a pool -----------------------------------------------------------------------------------------------------

STANDING: dict[str, Any] = {"kind": "Deployment", "metadata": {"generation": 3}, "status": {"observedGeneration": 3}}


def samples(
    wanted: int | None,
    ready: int = 0,
    starting: int = 0,
    pending: int = 0,
    draining: int = 0,
    rolling: bool = False,
    failing: int = 0,
) -> ReplicaSamples:
    """Counts of pods that nobody made, without starts."""
    counts = (Sample(count, AT_S) for count in (ready, starting, pending, draining, rolling, failing, 0))
    asked = Absent("no count") if wanted is None else Sample(wanted, AT_S)
    return ReplicaSamples(asked, *counts, starts=())


def counted(pool: PoolState) -> ReplicaSamples:
    return replace(pool.samples, starts=())


def test_a_pool_counts_its_pods_by_phase_and_says_why_they_do_not_come() -> None:
    pods = [
        pod("a", ready=True),
        pod("b", ready=True),
        pod("c"),
        pod("d", container(waiting("CrashLoopBackOff"), CRASHED, restarts=7)),
        pending("e"),
        pending("f"),
        pod("g", going=True),
        pod("h", phase="Failed"),
    ]

    pool = pool_state(pods, STANDING, 6, AT_S)

    assert replace(pool, samples=counted(pool)) == PoolState(
        samples=samples(6, ready=2, starting=2, pending=2, draining=1, failing=1),
        failing=1,
        reasons=("failing: engine: CrashLoopBackOff, 7 restarts (1 pods)", f"pending: {NO_GPU} (2 pods)"),
        pods=tuple(pod_state(each) for each in pods[:-1]),
    )


def test_a_pool_without_pods_has_none_and_a_count_that_is_absent_stays_so() -> None:
    assert pool_state([], STANDING, Absent("no count"), AT_S).samples == samples(None)


ONE_POD = st.sampled_from(
    [
        pod(ready=True),
        pod(),
        pending(),
        pod(going=True),
        pod(phase="Succeeded"),
        pending(going=True),
        pod("x", container(waiting("CrashLoopBackOff"), CRASHED, restarts=7)),
    ]
)


@given(st.lists(ONE_POD, max_size=12))
def test_every_pod_that_is_not_over_is_counted_once(pods: list[dict[str, Any]]) -> None:
    pods = [{**each, "metadata": {**each["metadata"], "name": f"chat-{place}"}} for place, each in enumerate(pods)]

    pool = pool_state(pods, STANDING, len(pods), AT_S)

    counts = (pool.samples.ready, pool.samples.starting, pool.samples.pending, pool.samples.draining)
    assert sum(count.value for count in counts if isinstance(count, Sample)) == len(pool.pods)
    assert len(pool.pods) == sum(pod_state(each).phase != "over" for each in pods)
    assert isinstance(pool.samples.starting, Sample)
    assert pool.failing <= pool.samples.starting.value


# --- groups of pods ---------------------------------------------------------------------------------------------


def member(group: int, worker: int, size: int = 2, **more: Any) -> dict[str, Any]:
    labels = {"leaderworkerset.sh/name": "chat", "leaderworkerset.sh/group-index": str(group)}
    return pod(f"chat-{group}-{worker}", labels=labels, annotations={"leaderworkerset.sh/size": str(size)}, **more)


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([member(0, 0, ready=True), member(0, 1, ready=True)], samples(2, ready=1), id="all are ready"),
        pytest.param([member(0, 0, ready=True), member(0, 1)], samples(2, starting=1), id="a worker is loading"),
        pytest.param([member(0, 0, ready=True)], samples(2, starting=1), id="a worker is not there yet"),
        pytest.param(
            [member(0, 0, ready=True), member(0, 1, placed=False, unschedulable=NO_GPU)],
            samples(2, pending=1),
            id="a worker finds no room",
        ),
        pytest.param(
            [member(0, 0, ready=True), member(0, 1, going=True)], samples(2, draining=1), id="a worker is being removed"
        ),
        pytest.param(
            [member(0, 0, going=True), member(0, 1, going=True)], samples(2, draining=1), id="all are removed"
        ),
        pytest.param(
            [member(0, 0, ready=True), member(0, 1, ready=True), member(1, 0, ready=True), member(1, 1)],
            samples(2, ready=1, starting=1),
            id="two groups",
        ),
        pytest.param([member(0, 0, size=1, ready=True)], samples(2, ready=1), id="a group of one"),
    ],
)
def test_a_replica_of_a_leader_worker_set_is_its_group(pods: list[dict[str, Any]], expected: ReplicaSamples) -> None:
    assert counted(pool_state(pods, STANDING, 2, AT_S)) == expected


def test_a_group_with_a_crashing_member_is_one_replica_that_will_not_come() -> None:
    crashing = member(0, 1)
    crashing["status"]["containerStatuses"] = [container(waiting("CrashLoopBackOff"), CRASHED, restarts=3)]

    pool = pool_state([member(0, 0, ready=True), crashing], STANDING, 1, AT_S)

    assert (pool.samples, pool.failing) == (samples(1, starting=1, failing=1), 1)


@pytest.mark.parametrize(
    ("size", "expected"), [(None, samples(1, ready=1)), (3, samples(1, starting=1))], ids=["as it is seen", "given"]
)
def test_pods_are_grouped_by_the_labels_of_their_kind(size: int | None, expected: ReplicaSamples) -> None:
    pods = [pod(name, ready=True, labels={"roleset-name": "chat-r1"}) for name in ("a", "b")]

    pool = pool_state(pods, STANDING, 1, AT_S, group_by=("roleset-name",), group_size=size)

    assert counted(pool) == expected


def test_pods_without_the_labels_of_a_group_are_replicas_of_their_own() -> None:
    pods = [pod(name, ready=True) for name in ("a", "b")]

    pool = pool_state(pods, STANDING, 2, AT_S, group_by=("roleset-name",), group_size=4)

    assert counted(pool) == samples(2, ready=2)


# --- start-ups --------------------------------------------------------------------------------------------------


def test_each_ready_replica_that_never_restarted_tells_its_start() -> None:
    pods = [
        pod("late", ready=True, ready_at="2026-09-21T14:04:05Z"),
        pod("early", ready=True),
        pod("crashed", container(RUNNING, CRASHED, restarts=1, ready=True), ready=True),
        pod("loading"),
        pod("going", ready=True, going=True),
        pod("odd", ready=True, placed_at="2026-09-21T14:02:31Z"),
    ]

    assert pool_state(pods, STANDING, 6, AT_S).samples.starts == (
        Start("---early", ready_at_s=1_789_999_350.0, took_s=145.0),
        Start("----late", ready_at_s=1_789_999_445.0, took_s=240.0),
    )


def test_a_group_starts_from_its_first_pod_placed_to_its_last_one_ready() -> None:
    leader = member(0, 0, ready=True, placed_at="2026-09-21T14:00:00Z")
    worker = member(0, 1, ready=True, ready_at="2026-09-21T14:05:00Z")
    other = [member(1, 0, ready=True), member(1, 1, ready=True)]
    other[1]["status"]["containerStatuses"] = [container(RUNNING, CRASHED, restarts=1, ready=True)]

    pool = pool_state([leader, worker, *other], STANDING, 2, AT_S)

    assert pool.samples.starts == (Start("chat-0-0", ready_at_s=1_789_999_500.0, took_s=300.0),)


def test_of_many_starts_the_newest_are_told() -> None:
    pods = [pod(f"r{place:04}", ready=True, ready_at=f"2026-09-21T15:{place:02}:00Z") for place in range(KEPT + 8)]

    starts = pool_state(pods, STANDING, KEPT + 8, AT_S).samples.starts

    assert not isinstance(starts, Absent)
    assert [start.replica for start in starts] == [f"---r{place:04}" for place in range(8, KEPT + 8)]


# --- who goes first ---------------------------------------------------------------------------------------------

OLD, NEW, SET = ("ReplicaSet", "a"), ("ReplicaSet", "b"), ("StatefulSet", "c")


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([pod("a", ready=True, owner=OLD), pending("b", owner=OLD)], True, id="one ReplicaSet"),
        pytest.param([pod("a", ready=True, owner=OLD), pending("b", owner=NEW)], False, id="two: it rolls out"),
        pytest.param(
            [pod("a", going=True, owner=OLD), pending("b", owner=NEW)], True, id="the old one's pods are going"
        ),
        pytest.param([pod("a", ready=True, owner=SET), pending("b", owner=SET)], False, id="StatefulSet"),
        pytest.param([pod("a", ready=True, owner=OLD), pending("b")], False, id="a pod that nobody made"),
        pytest.param([pod("a"), pending("b")], False, id="nobody made any"),
        pytest.param([], False, id="no pods"),
    ],
)
def test_what_is_pending_goes_first_where_one_replica_set_made_all_pods(
    pods: list[dict[str, Any]], expected: bool
) -> None:
    assert pool_state(pods, STANDING, 2, AT_S).samples.pending_go_first == Sample(int(expected), AT_S)


# --- roll-outs --------------------------------------------------------------------------------------------------


def rolled(
    kind: str, status: dict[str, Any], spec: dict[str, Any] | None = None, generation: int = 3
) -> dict[str, Any]:
    status = {"observedGeneration": 3, **status}
    return {"kind": kind, "metadata": {"generation": generation}, "spec": spec or {}, "status": status}


def made_from(*hashes: str, label: str = "pod-template-hash", going: bool = False) -> list[dict[str, Any]]:
    return [pod(f"chat-{place}", labels={label: each}, going=going) for place, each in enumerate(hashes)]


HALF = {"replicas": 4, "updatedReplicas": 2}
STS_PARTITION = {"updateStrategy": {"rollingUpdate": {"partition": 2}}}
LWS_PARTITION = {"rolloutStrategy": {"rollingUpdateConfiguration": {"partition": 2}}}


@pytest.mark.parametrize(
    ("target", "pods", "expected"),
    [
        pytest.param(rolled("Deployment", {}, generation=4), [], True, id="a change its controller has yet to see"),
        pytest.param(rolled("Deployment", HALF), [], True, id="half way"),
        pytest.param(rolled("Deployment", {"replicas": 4}), [], True, id="none yet: a 0 is left out"),
        pytest.param(rolled("Deployment", {"replicas": 4, "updatedReplicas": 4}), [], False, id="done"),
        pytest.param(rolled("Deployment", {}), [], False, id="at 0 replicas"),
        pytest.param(
            rolled("Deployment", {"replicas": 2, "updatedReplicas": 2}, {"replicas": 9}),
            [],
            False,
            id="scaling up alone",
        ),
        pytest.param(rolled("StatefulSet", HALF), [], True, id="StatefulSet half way"),
        pytest.param(rolled("StatefulSet", HALF, STS_PARTITION), [], False, id="StatefulSet as far as its partition"),
        pytest.param(
            rolled("StatefulSet", HALF, {"updateStrategy": {"type": "OnDelete"}}),
            made_from("a", "b"),
            False,
            id="StatefulSet that never rolls by itself",
        ),
        pytest.param(rolled("LeaderWorkerSet", HALF), [], True, id="LeaderWorkerSet half way"),
        pytest.param(rolled("LeaderWorkerSet", HALF, LWS_PARTITION), [], False, id="LeaderWorkerSet to its partition"),
        pytest.param(rolled("Somebodys", {"replicas": 2}), made_from("a", "b"), True, id="pods of two revisions"),
        pytest.param(rolled("Somebodys", {"replicas": 2}), made_from("a", "a"), False, id="pods of one revision"),
        pytest.param(
            rolled("Somebodys", {}),
            [*made_from("a", going=True), *made_from("b")],
            False,
            id="the old ones are going",
        ),
        pytest.param(
            rolled("Somebodys", {}), made_from("a", "b", label="controller-revision-hash"), True, id="another label"
        ),
        pytest.param({"kind": "Scale"}, [pod()], False, id="nothing is said"),
    ],
)
def test_a_roll_out_is_told_by_the_target_or_by_its_pods(
    target: dict[str, Any], pods: list[dict[str, Any]], expected: bool
) -> None:
    assert rolling_out(target, pods) is expected


def test_a_roll_out_is_in_the_samples() -> None:
    assert pool_state([], rolled("Deployment", HALF), 4, AT_S).samples == samples(4, rolling=True)
