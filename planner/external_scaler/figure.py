"""The figure for one pool: the replicas that the planner would order, if it gave the orders.

It is the decided count, after budget and guards, of the last decision. Where there is none it is refused, never made
up: asked in vain, an HPA leaves the replicas as they are, which is what a planner that holds, is paused or makes a dry
run wants done. The count that stands would be no answer: it was read seconds ago, and would undo a change on its way.

Units: replicas; seconds on the planner's clock.
"""

from __future__ import annotations

from collections.abc import Collection

from planner.board import Board
from planner.scaling.types import Role

OLDEST_INTERVALS = 3
"""A decision that was followed by none for so long describes the past."""


class WrongTriggerError(Exception):
    """It names no pool, or one whose replicas are not for others to set."""


class NoFigureError(Exception):
    """There is such a pool, and at present no figure for it."""


def pool_of(board: Board, handed_on: Collection[str], service: str, pool: str) -> Role:
    """The pool that is asked for; `handed_on` are the services whose replicas others set.

    Raises WrongTriggerError.
    """
    settings = board.settings.services.get(service)
    if settings is None:
        known = ", ".join(board.settings.services)
        raise WrongTriggerError(f"service: {service!r} is unknown; the services are {known}")
    if pool not in settings.pools:
        raise WrongTriggerError(f"pool: {service} has no pool {pool!r}; it has {' and '.join(settings.pools)}")
    if service not in handed_on:
        raise WrongTriggerError(
            f"service: the planner itself scales {service!r}; set its kubernetes.actuator to external"
        )
    return Role(pool)


def figure(board: Board, service: str, role: Role, now_s: float) -> int:
    """Replicas to have now. Raises NoFigureError."""
    pause = board.controls.dry_run or board.controls.paused.get(service)
    if pause is not None:
        what = "paused" if board.controls.dry_run is None else "in a dry run"
        raise NoFigureError(f"{service} is {what}, by {pause.by}: {pause.why}; resume it")
    line = board.services[service].last
    if line is None:
        raise NoFigureError(f"{service}: no decision yet; wait for the first")
    decision, oldest_s = line.decision, OLDEST_INTERVALS * board.interval_s
    if (age_s := now_s - decision.at_s) > oldest_s:
        raise NoFigureError(f"{service}: the last decision is {age_s:.0f} s old, more than {oldest_s:.0f} s; see why")
    decided = decision.pools.get(role)
    if decided is None or decided.replicas is None:
        why = "; ".join(reason.text for reason in decision.reasons) or "nothing is decided about it yet"
        raise NoFigureError(f"{service}: the {role} pool is left as it is: {why}")
    return decided.replicas
