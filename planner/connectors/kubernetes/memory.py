"""What is remembered of a target from tick to tick."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from planner.connectors.kubernetes.objects.targets import TargetRef
from planner.connectors.kubernetes.objects.writers import Contention, Verdict

GO = Verdict("go")


@dataclass(slots=True)
class Known:
    """One target."""

    uid: str | None = None
    """Of the object that it is about: one that is made anew by the same name has a count of its own."""
    written: int | None = None
    """What we set last; None before we did."""
    contention: Contention = field(default_factory=Contention)
    verdict: Verdict = GO
    selector: tuple[str, str] | None = None
    """Of its pods, where only its Scale tells it, for the object with this uid."""


class Memory:
    """All targets; one that nothing is known of yet is as good as new."""

    def __init__(self) -> None:
        self._known: dict[TargetRef, Known] = {}

    def of(self, ref: TargetRef) -> Known:
        """What is known of it, to be changed in place."""
        return self._known.setdefault(ref, Known())

    def keep(self, refs: Iterable[TargetRef]) -> None:
        """Forget all others."""
        self._known = {ref: self.of(ref) for ref in refs}
