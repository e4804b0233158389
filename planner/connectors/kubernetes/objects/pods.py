"""What one pod says: whether it serves, comes, cannot come or goes, and how long it took to start.

Times are seconds since the epoch. A pod is one of

- ready;
- pending: the scheduler found no room for it, or may not look yet;
- failing: its containers crash, are killed for memory, or cannot be started; it holds its GPUs meanwhile;
- starting: on its way otherwise, also before the scheduler looked at it;
- draining: being removed, still holding GPUs;
- over: succeeded, failed, or removed before it had a node. It holds nothing and is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from planner.connectors.kubernetes.objects.paths import Object, path, read

Phase = Literal["ready", "starting", "pending", "failing", "draining", "over"]

WILL_NOT_START = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "StartError",
    }
)
"""Reasons for which a container waits, and that seldom pass by themselves."""
CRASHES = 2
"""A container that died so often before its pod was ever Ready is failing while it runs too: between two crashes a
loading engine runs for minutes. Once may be chance."""


@dataclass(frozen=True, slots=True)
class Startup:
    """How a pod came up."""

    created_at_s: float
    scheduled_at_s: float
    ready_at_s: float

    @property
    def startup_s(self) -> float:
        """From creation to Ready."""
        return self.ready_at_s - self.created_at_s


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod."""

    name: str
    phase: Phase
    reason: str = ""
    """The scheduler's message of a pending one, what is wrong with a failing one; else empty."""
    restarts: int = 0
    """Of all its containers."""
    startup: Startup | None = None
    """Of a ready one that never restarted: Ready tells when it became so last, which after a restart is no start. Nor
    is it after a readiness that was lost and came back, which a pod does not show."""


def pod_state(pod: Object) -> PodState:
    """What one pod says."""
    name = str(read(pod, path(".metadata.name")))
    containers = _containers(pod)
    restarts = sum(_restarts(each) for each in containers)
    scheduled = _condition(pod, "PodScheduled")
    placed = read(pod, path(".spec.nodeName")) is not None
    going = read(pod, path(".metadata.deletionTimestamp")) is not None
    if read(pod, path(".status.phase")) in {"Succeeded", "Failed"} or (going and not placed):
        return PodState(name, "over", restarts=restarts)
    if going:
        return PodState(name, "draining", restarts=restarts)
    if _condition(pod, "Ready").get("status") == "True":
        return PodState(name, "ready", restarts=restarts, startup=None if restarts else _startup(pod))
    if not placed and scheduled.get("status") == "False":
        message = str(scheduled.get("message") or scheduled.get("reason") or "the scheduler gives no reason")
        return PodState(name, "pending", message, restarts)
    wrong = next((why for each in containers if (why := _wrong(each))), None)
    if wrong is not None:
        return PodState(name, "failing", wrong, restarts)
    return PodState(name, "starting", restarts=restarts)


def _containers(pod: Object) -> list[Object]:
    return [
        each
        for where in (".status.initContainerStatuses", ".status.containerStatuses")
        for each in read(pod, path(where)) or []
    ]


def _restarts(container: Object) -> int:
    count = container.get("restartCount")
    return count if type(count) is int else 0


def _wrong(container: Object) -> str | None:
    """What keeps a container from serving; None when nothing does, or it is not known yet."""
    restarts = _restarts(container)
    waiting = read(container, path(".state.waiting.reason"))
    died = [_death(read(container, path(where))) for where in (".state.terminated", ".lastState.terminated")]
    now, before = died
    if "OOMKilled" in died and not container.get("ready"):
        reason = "OOMKilled"
    elif waiting in WILL_NOT_START:
        reason = str(waiting)
    elif now is not None:
        reason = now
    elif before is not None and restarts >= CRASHES and not container.get("ready"):
        reason = before
    else:
        return None
    return f"{container.get('name')}: {reason}, {restarts} restarts"


def _death(terminated: Any) -> str | None:
    """Why a container died; None when it did not, or ended well."""
    if terminated is None or terminated.get("exitCode") == 0:
        return None
    return str(terminated.get("reason") or "Error")


def _startup(pod: Object) -> Startup | None:
    times = (
        read(pod, path(".metadata.creationTimestamp")),
        _condition(pod, "PodScheduled").get("lastTransitionTime"),
        _condition(pod, "Ready").get("lastTransitionTime"),
    )
    if any(each is None for each in times):
        return None
    startup = Startup(*(epoch_s(str(each)) for each in times))
    return startup if startup.scheduled_at_s <= startup.ready_at_s else None


def epoch_s(timestamp: str) -> float:
    """Seconds since the epoch of a time as the API server writes it (RFC 3339)."""
    return datetime.fromisoformat(timestamp).timestamp()


def _condition(pod: Object, kind: str) -> Object:
    conditions: list[Object] = read(pod, path(".status.conditions")) or []
    return next((each for each in conditions if each.get("type") == kind), {})
