"""Whether the figure is heeded: a target that stands still while another count is asked for.

The trap behind it is the HPA's tolerance: with a target of 1 for each replica, 21 in place of 20 is 1.05 times what
stands, and by default a tenth is let pass.

Units: replicas; seconds on the planner's clock.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Protocol

from planner.board import Board, Line
from planner.scaling.types import Role

PATIENCE_S = 300.0
"""An HPA looks every 15 s, and may be told to wait some minutes."""
TOLERANCE = 0.1
"""Of an HPA that is told nothing else (kubernetes.io/docs, "Horizontal Pod Autoscaling")."""


class Loop(Protocol):
    """What of the control loop is needed."""

    def trouble(self, kind: str, text: str) -> None:
        """Note what is wrong."""
        ...

    def well(self, kind: str) -> None:
        """It is over."""
        ...


class Desk(Protocol):
    """Where its decisions are."""

    def subscribe(self) -> AsyncGenerator[Board, None]:
        """Each new board."""
        ...

    def page(
        self, service: str | None, before: int | None, limit: int, changes_only: bool
    ) -> tuple[list[Line], int | None]:
        """Decisions, newest first."""
        ...


def unheeded(lines: Sequence[Line], now_s: float) -> tuple[str, ...]:
    """A sentence for each pool whose target did not move for `PATIENCE_S` while others were asked to change it.

    `lines` are one service's decisions, newest first.
    """
    if not lines:
        return ()
    pools = lines[0].decision.pools
    told = (_ignored(lines, role, now_s) for role in pools)
    return tuple(sentence for sentence in told if sentence is not None)


def _ignored(lines: Sequence[Line], role: Role, now_s: float) -> str | None:
    newest = lines[0].decision
    stands, asked = newest.pools[role].current, newest.pools[role].replicas
    if stands is None or asked is None:
        return None
    since_s = now_s
    for line in lines:
        pool = line.decision.pools.get(role)
        if pool is None or not pool.changes or pool.current != stands:
            break
        if line.applied is None:
            # It is being handed on at this moment.
            continue
        if line.applied.status != "handed-on":
            break
        since_s = line.decision.at_s
    if now_s - since_s < PATIENCE_S:
        return None
    return (
        f"{newest.service}: the {role} target has stood at {stands} for {PATIENCE_S:.0f} s and more, {asked} are asked "
        f"for; {_cause(stands, asked)}"
    )


def _cause(stands: int, asked: int) -> str:
    if stands and abs(asked / stands - 1) <= TOLERANCE:
        rule = "scaleUp" if asked > stands else "scaleDown"
        return f"that is within the HPA's tolerance of {TOLERANCE:.0%}, so set its behavior.{rule}.tolerance to 0"
    return "see whether an HPA or a ScaledObject asks for this pool, and its bounds, behavior and conditions"


async def tell_unheeded(loop: Loop, desk: Desk, services: Collection[str]) -> None:
    """Keep the board's trouble up to date, until the loop ends."""
    told = ""
    async with aclosing(desk.subscribe()) as boards:
        async for board in boards:
            enough = math.ceil(PATIENCE_S / board.interval_s) + 2
            found = [
                sentence
                for service in services
                for sentence in unheeded(desk.page(service, None, enough, changes_only=False)[0], board.now_s)
            ]
            if (text := "; ".join(found)) == told:
                continue
            told = text
            if text:
                loop.trouble("unheeded", text)
            else:
                loop.well("unheeded")
