"""What the API needs of a running planner and of whatever hands its orders to launchers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from planner.board import Board, Line, Totals
from planner.connectors.orders import Order
from planner.scaling.types import Role


class Planner(Protocol):
    """A running planner.

    The methods that give orders raise `planner.controls.ControlError` for one that cannot be followed, and change
    nothing then.
    """

    def now_s(self) -> float:
        """Seconds since the epoch, on the planner's clock."""
        ...

    def board(self) -> Board:
        """What there is to see now."""
        ...

    def totals(self) -> Totals:
        """What has been counted since the start."""
        ...

    def page(
        self, service: str | None, before: int | None, limit: int, changes_only: bool
    ) -> tuple[list[Line], int | None]:
        """Decisions in memory, newest first, and `before` of the next page; None when there is none."""
        ...

    def subscribe(self) -> AsyncGenerator[Board, None]:
        """Each new board, or the newest of those missed; ends when the planner does."""
        ...

    async def pause(self, service: str | None, by: str, why: str) -> None:
        """Make plans of the service and apply none; of all services when None."""
        ...

    async def resume(self, service: str | None, by: str, why: str) -> None:
        """Apply plans again."""
        ...

    async def hold(self, service: str, replicas: Mapping[Role, int], until_s: float, by: str, why: str) -> None:
        """Keep pools at these replicas until a time."""
        ...

    async def release(self, service: str, by: str, why: str) -> None:
        """End a hold."""
        ...


class Launchers(Protocol):
    """Hands orders to launchers: programs of the user's that start and stop replicas where no orchestrator does.

    The methods raise UserError for a message that contradicts what is known, and change nothing then.
    """

    async def orders(self, service: str, after: str | None, wait_s: float) -> Order | None:
        """The order in force, once it is another than `after`; None when it is not within `wait_s`."""
        ...

    def acknowledge(
        self, service: str, order_id: str, completed: bool, reason: str | None, ready: Mapping[Role, int] | None
    ) -> str:
        """What becomes of a launcher's word on an order: completed, refused, superseded or already completed."""
        ...

    def report(self, service: str, ready: Mapping[Role, int]) -> None:
        """Take in how many replicas are ready."""
        ...
