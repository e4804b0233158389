"""The seam between the loop and whatever starts and stops replicas.

Level-triggered: `apply` hands over what should be, waits for no replica, and may be repeated with the same plan at no
harm. What became of it shows in `read`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from planner.scaling.types import ReplicaSamples, Role

Status = Literal["applied", "unchanged", "handed-on", "dry-run", "paused", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a plan."""

    status: Status
    """applied: handed over; unchanged: it was so already; handed-on: somebody else sets it, and asks for it; dry-run,
    paused: would have been; refused: the other side will not; failed: nobody knows, the next tick tries again."""
    detail: str
    """One sentence: what was changed, or why not."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one service should have."""

    service: str
    replicas: Mapping[Role, int]
    """Pools that are left alone do not appear."""
    decision: str
    """Names the decision, in logs and to the other side; grows from one to the next in text order."""


class Connector(Protocol):
    """Whatever starts and stops replicas."""

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        """The replicas of each pool; a count that cannot be had is absent with its cause.

        Raises nothing for what the outside world does; may be cancelled at any moment.
        """
        ...

    async def apply(self, plan: Plan) -> Applied:
        """Hand the plan over. Raises nothing for what the outside world does: it answers failed or refused.

        Cancelled, it has either handed over the whole plan or nothing.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
