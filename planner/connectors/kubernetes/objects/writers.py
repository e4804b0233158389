"""Somebody else changed our replicas: who, and what to do about it.

An object remembers in managedFields which manager set which field last (kubernetes.io/docs, "Server-Side Apply").
A count that is not what we wrote, and that another manager holds, is a foreign change. The times there have whole
seconds, and are of the manager's latest write to any field: they tell people when, and nothing is decided by them.

What is done about it is a state machine over what is seen at each tick; times are seconds on the caller's clock. It
asks that the object seen is never older than our own last write to it.

- `respect`: the foreign count stands for `respect_s`, or until resumed; then our plan goes on.
- `reclaim`: ours is written back.
- `pause`: nothing is written until resumed.
- A foreign 0 is maintenance: whatever the policy, it is held until somebody sets the count above 0.
- Two foreign changes of what we wrote within `CONTENDED_WITHIN_S` are a fight: we stop until resumed, and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from planner.connectors.kubernetes.objects.paths import Object, Path, owns, path, read
from planner.connectors.kubernetes.objects.pods import epoch_s

OURS = "sla-planner"
"""Our field manager."""
CONTENDED_WITHIN_S = 600.0
"""Rivals write back within minutes: an HPA every 15 s, GitOps every few minutes. A person changes their mind later."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who set a field last."""

    manager: str
    operation: str
    """Apply or Update."""
    subresource: str
    """`scale`, or empty for the object itself."""
    at_s: float | None


@dataclass(frozen=True, slots=True)
class ForeignChange:
    """Replicas that somebody else set."""

    replicas: int
    ours: int | None
    """What we had written; None when we never wrote."""
    writer: Writer | None
    """None when the object does not tell."""

    def is_like(self, other: ForeignChange | None) -> bool:
        """Whether it may be the same change, seen again."""
        return other is not None and (self.replicas, self._manager) == (other.replicas, other._manager)

    @property
    def _manager(self) -> str | None:
        return None if self.writer is None else self.writer.manager

    def __str__(self) -> str:
        who = self._manager or "somebody"
        return f"{who} set {self.replicas}" + ("" if self.ours is None else f" where the planner had set {self.ours}")


def writers_of(target: Object, steps: Path) -> tuple[Writer, ...]:
    """Who set the field at the path to what it is, the latest first; several when they agree on it.

    Empty when the object does not tell.
    """
    entries = read(target, path(".metadata.managedFields")) or []
    writers = (_writer(entry) for entry in entries if owns(entry.get("fieldsV1"), steps))
    return tuple(sorted(writers, key=lambda writer: writer.at_s or 0.0, reverse=True))


def foreign(target: Object, steps: Path, last_written: int | None, ours: str = OURS) -> ForeignChange | None:
    """What somebody else made of the replicas at the path; None when they are as we, or another of us, wrote them.

    Where we never wrote (`last_written` is None) nothing was changed against us, but a 0 is maintenance even so.
    """
    now = read(target, steps)
    if type(now) is not int or now == last_written or (last_written is None and now > 0):
        return None
    writers = writers_of(target, steps)
    if any(writer.manager == ours for writer in writers):
        return None
    return ForeignChange(now, last_written, writers[0] if writers else None)


def _writer(entry: Object) -> Writer:
    at = entry.get("time")
    return Writer(
        manager=str(entry.get("manager", "")),
        operation=str(entry.get("operation", "")),
        subresource=str(entry.get("subresource", "")),
        at_s=None if at is None else epoch_s(str(at)),
    )


# --- what to do about it ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wants done."""

    on_change: Literal["respect", "reclaim", "pause"] = "respect"
    respect_s: float = 1800.0
    """How long a foreign count stands: long enough for whoever set it to finish or to say more."""


Mode = Literal["free", "held", "reclaiming", "paused", "maintenance", "contended"]
MODES: Mapping[str, Mode] = {"respect": "held", "reclaim": "reclaiming", "pause": "paused"}
"""What a first foreign change leads to, by policy."""
LASTING = frozenset({"paused", "contended"})
"""Modes that only `resumed` ends, whatever becomes of the count."""


@dataclass(frozen=True, slots=True)
class Contention:
    """What is known of one count's foreign changes."""

    mode: Mode = "free"
    change: ForeignChange | None = None
    """The latest seen; None once the count is ours again."""
    since_s: float = 0.0
    """When it was first seen."""
    answered: bool = True
    """We wrote since a change was first seen: one that is seen now was made against that."""
    fights_s: tuple[float, ...] = ()
    """When changes of what we wrote were seen, within the window."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the planner may do now."""

    action: Literal["go", "hold", "reclaim", "stop"]
    """go: as planned; hold: leave the count as it stands; reclaim: write ours back; stop: write nothing, ask people."""
    reason: str = ""


def contend(
    state: Contention, change: ForeignChange | None, policy: Policy, now_s: float
) -> tuple[Contention, Verdict]:
    """Judge what is seen at one tick. Each write of the count is to be told by `wrote`."""
    if change is None:
        state = state if state.mode in LASTING else replace(state, mode="free", change=None)
    elif state.answered or not change.is_like(state.change):
        state = _changed(state, change, policy, now_s)
    return state, _verdict(state, policy, now_s)


def wrote(state: Contention) -> Contention:
    """We wrote the count."""
    return replace(state, answered=True)


def resumed(state: Contention) -> Contention:
    """Somebody told us to go on: what stands is accepted, and old fights are forgotten. A maintenance goes on."""
    at_zero = state.change is not None and state.change.replicas == 0
    return Contention("maintenance" if at_zero else "free", state.change, state.since_s, state.change is None)


def _changed(state: Contention, change: ForeignChange, policy: Policy, now_s: float) -> Contention:
    """Somebody set the count, for the first time or again."""
    fights_s = tuple(at_s for at_s in state.fights_s if at_s > now_s - CONTENDED_WITHIN_S)
    seen = replace(state, change=change, since_s=now_s, answered=False, fights_s=fights_s)
    if state.mode in LASTING:
        return seen
    if change.replicas == 0:
        return replace(seen, mode="maintenance")
    if state.mode == "maintenance":
        # The count that ends a maintenance is where we begin again, not a word against us.
        return replace(seen, mode="free")
    if state.answered:
        seen = replace(seen, fights_s=(*fights_s, now_s))
    return replace(seen, mode="contended" if len(seen.fights_s) > 1 else MODES[policy.on_change])


def _verdict(state: Contention, policy: Policy, now_s: float) -> Verdict:
    match state.mode:
        case "contended":
            within = f"within {CONTENDED_WITHIN_S:.0f} s"
            return Verdict("stop", f"{state.change}, and not for the first time {within}; find the rival, then resume")
        case "paused":
            return Verdict("hold", f"{state.change}; paused until resumed")
        case "maintenance":
            return Verdict("hold", f"{state.change}; in maintenance until the count is above 0")
        case "reclaiming":
            return Verdict("reclaim", f"{state.change}; written back")
        case "held" if (left_s := state.since_s + policy.respect_s - now_s) > 0:
            return Verdict("hold", f"{state.change}; respected for another {left_s:.0f} s, or until resumed")
    return Verdict("go")
