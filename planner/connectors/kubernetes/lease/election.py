"""Who leads, decided by one candidate from what it sees of the Lease; no I/O.

All times are seconds on the candidate's own monotonic clock, so that clocks that disagree, or are set, do no harm.

Never may two write at once:

- A leader may write until `DEADLINE_S` after it *sent* its last renewal that succeeded. A process that was stopped, or
  an answer that came late, finds that time past.
- Another takes the Lease only when it has itself watched it stand unchanged for `DURATION_S`, which began after that
  renewal had arrived, or when its holder gave it up, having stopped writing first.
- Every taking and renewing replaces a version that was read. Of two who try, one gets a conflict.
- A Lease that is missing, as after somebody deleted it, is created without a holder. Like any that does not name one
  and was not given up it is waited for: whoever led before has stopped by then. A first installation pays for that
  with `DURATION_S`, once.

The time between the two limits is for what a leader sent just before its deadline to arrive, so a write's own deadline
must not be longer; and for clocks that do not run alike, one up to half as fast again as the other. Nobody can fence a
process that is stopped after it asked and before it sent, nor a virtual machine whose clock stood still with it: what
those send is refused for the resourceVersion it was decided on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from planner.connectors.kubernetes.lease.record import DURATION_S, LeaseError, Record

DEADLINE_S = 10.0
"""Without a renewal for so long, a leader stops."""

Action = Literal["create", "take", "renew", "wait"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one candidate knows."""

    identity: str
    """Its own alone, and never used again."""
    may_write_until_s: float = -math.inf
    seen: Record | None = None
    """The Lease as seen last; None when there was none."""
    unchanged_since_s: float = math.inf
    """When it was first seen so; never, before the first look."""


def decide(candidate: Candidate, record: Record | None, now_s: float) -> tuple[Candidate, Action]:
    """What to do about the Lease, as it was read before `now_s`; None where there is none."""
    if record != candidate.seen or candidate.unchanged_since_s == math.inf:
        candidate = replace(candidate, seen=record, unchanged_since_s=now_s)
    if record is not None and record.holder == candidate.identity:
        return candidate, "renew"
    candidate = closed(candidate)
    if record is None:
        return candidate, "create"
    expired = now_s - candidate.unchanged_since_s >= DURATION_S
    return candidate, "take" if expired or record.holder == "" else "wait"


def held(candidate: Candidate, record: Record, sent_s: float) -> Candidate:
    """A taking or renewing, sent at `sent_s`, was answered with `record`.

    Raises LeaseError when that names another holder.
    """
    if record.holder != candidate.identity:
        raise LeaseError(f"the Lease was to name {candidate.identity!r} and is answered to name {record.holder!r}")
    return replace(candidate, seen=record, unchanged_since_s=sent_s, may_write_until_s=sent_s + DEADLINE_S)


def closed(candidate: Candidate) -> Candidate:
    """It may not write any more."""
    return replace(candidate, may_write_until_s=-math.inf)
