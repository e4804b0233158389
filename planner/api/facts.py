"""All that is known of one service at one moment, and JSON made of it no more than once.

A board is drawn anew whenever anything changes, while most of what it holds of a service stays. With 1,000 services
the JSON is what costs, so it is kept for as long as a service's facts are the very same objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from planner.board import Board, Line, Point
from planner.controls import Hold, Pause
from planner.scaling.settings import ServiceSettings

_TURN = 20
"""Services encoded before others may run: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One service."""

    settings: ServiceSettings
    line: Line | None
    """Its last decision."""
    point: Point | None
    """Its last."""
    trouble: tuple[str, ...]
    pause: Pause | None
    hold: Hold | None
    dry_run: Pause | None

    @property
    def name(self) -> str:
        """The service's."""
        return self.settings.name

    def same(self, other: Facts) -> bool:
        """Made of the same objects; cheaper than equality, and never wrongly true, since they are immutable."""
        return (
            self.line is other.line
            and self.point is other.point
            and self.settings is other.settings
            and self.trouble is other.trouble
            and self.pause is other.pause
            and self.hold is other.hold
            and self.dry_run is other.dry_run
        )


def facts_of(board: Board, service: str) -> Facts:
    """What the board says of a service."""
    shown = board.services[service]
    return Facts(
        settings=board.settings.services[service],
        line=shown.last,
        point=shown.points[-1] if shown.points else None,
        trouble=shown.trouble,
        pause=board.controls.paused.get(service),
        hold=board.controls.holds.get(service),
        dry_run=board.controls.dry_run,
    )


class Encoded:
    """Each service's JSON, made anew when its facts have changed."""

    def __init__(self, encode: Callable[[Facts], bytes]) -> None:
        self._encode = encode
        self._known: dict[str, tuple[Facts, bytes]] = {}
        self._turn = asyncio.Lock()

    async def of(self, board: Board, services: Iterable[str]) -> list[bytes]:
        """The JSON of these services, in their order; others may run in between.

        Whoever asks meanwhile waits and finds the work done.
        """
        async with self._turn:
            for gone in self._known.keys() - board.services.keys():
                del self._known[gone]
            made: list[bytes] = []
            fresh = 0
            for service in services:
                facts = facts_of(board, service)
                known = self._known.get(service)
                if known is None or not known[0].same(facts):
                    known = self._known[service] = facts, self._encode(facts)
                    fresh += 1
                    if fresh % _TURN == 0:
                        await asyncio.sleep(0)
                made.append(known[1])
            return made
