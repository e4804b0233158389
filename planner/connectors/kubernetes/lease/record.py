"""The Lease (coordination.k8s.io/v1) as candidates read and write it.

Whatever else stands in the object is written back as it was read, with the resourceVersion it was read at: when
somebody else was faster the API server answers 409. Times in it are for people; no candidate decides by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.times import micro_time

API_VERSION = "coordination.k8s.io/v1"
DURATION_S = 15.0
"""How long a Lease that nobody renews is still its holder's."""
GIVEN_UP_S = 1
"""The duration in a Lease without a holder that tells it was given up, as client-go's candidates write it. Where
somebody took the holder out by hand, the holder may not know yet."""


class LeaseError(Exception):
    """What the API server sent is no Lease, or not what was asked for."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a candidate goes by."""

    version: str
    """The resourceVersion: another one at every change, whoever makes it."""
    holder: str | None
    """Empty when its holder gave it up; None when it does not say."""


def record_of(lease: Any) -> Record:
    """Read a Lease. Raises LeaseError when it has no resourceVersion: it could not be written safely."""
    version = read(lease, path(".metadata.resourceVersion"))
    if not isinstance(version, str) or not version:
        raise LeaseError("the answer is no Lease: it has no resourceVersion")
    holder = read(lease, path(".spec.holderIdentity"))
    told = isinstance(holder, str) and (holder or read(lease, path(".spec.leaseDurationSeconds")) == GIVEN_UP_S)
    return Record(version, holder if told else None)


def unheld(namespace: str, name: str) -> Object:
    """A new Lease that does not say who holds it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"leaseDurationSeconds": int(DURATION_S), "leaseTransitions": 0},
    }


def taken(lease: Object, identity: str, now_s: float) -> Object:
    """The Lease with a new holder since `now_s`, seconds since the epoch."""
    now = micro_time(now_s)
    return _with(
        lease,
        holderIdentity=identity,
        leaseDurationSeconds=int(DURATION_S),
        acquireTime=now,
        renewTime=now,
        leaseTransitions=_transitions(lease) + 1,
    )


def renewed(lease: Object, now_s: float) -> Object:
    """The Lease, still its holder's at `now_s`."""
    return _with(lease, leaseDurationSeconds=int(DURATION_S), renewTime=micro_time(now_s))


def given_up(lease: Object, now_s: float) -> Object:
    """The Lease, nobody's since `now_s`."""
    return _with(lease, holderIdentity="", leaseDurationSeconds=GIVEN_UP_S, renewTime=micro_time(now_s))


def _with(lease: Object, **changed: Any) -> Object:
    spec = lease.get("spec")
    return {**lease, "spec": {**(spec if isinstance(spec, dict) else {}), **changed}}


def _transitions(lease: Object) -> int:
    count = read(lease, path(".spec.leaseTransitions"))
    return count if type(count) is int and count >= 0 else 0
