"""What becomes of a decision: said in a line, handed to the connector where something is to change, and recorded.

Plans are handed over side by side, each with its own time limit; a service whose plan is still on its way is given no
other. Nothing of it is remembered but a sentence on the board, so an error ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from planner.clock import Clock
from planner.connectors.types import Applied, Connector, Plan, Status
from planner.controls import Controls
from planner.desk import Desk
from planner.journal import Outcome
from planner.scaling.decision import Decision
from planner.scribe import Scribe
from planner.watch import within

log = logging.getLogger("planner.loop")
decisions = logging.getLogger("planner.decisions")
"""A line for each decision, and so apart."""

Tell = Callable[[Decision, Applied | None, tuple[str, ...]], None]
"""Told of each decision, what became of it (None when nothing was to change), and what is wrong with its service."""


def say_nothing(decision: Decision, applied: Applied | None, trouble: tuple[str, ...]) -> None:
    """Nobody is told."""


class HandOver:
    """Hands decisions over, one at a time for each service."""

    def __init__(
        self,
        connector: Connector,
        clock: Clock,
        desk: Desk,
        scribe: Scribe,
        trouble: Callable[[str], tuple[str, ...]],
        tell: Tell,
        timeout_s: float,
    ) -> None:
        """`trouble` says what is wrong with a service."""
        self._connector = connector
        self._clock = clock
        self._desk = desk
        self._scribe = scribe
        self._trouble = trouble
        self._tell = tell
        self._timeout_s = timeout_s
        self._applying: dict[str, asyncio.Task[None]] = {}

    def decided(self, number: int, decision: Decision, controls: Controls) -> None:
        """Tick `number` decided so."""
        self._log(number, decision)
        if decision.changes:
            self._hand_over(number, decision, controls)
        else:
            self._tell(decision, None, self._trouble(decision.service))

    def under_way(self) -> list[asyncio.Task[None]]:
        """Plans that nobody has answered yet."""
        return list(self._applying.values())

    def _hand_over(self, number: int, decision: Decision, controls: Controls) -> None:
        service = decision.service
        plan = Plan(service, decision.plan, f"{round(decision.at_s * 1000):015d}")
        pause = controls.dry_run or controls.paused.get(service)
        if pause is not None:
            status: Status = "dry-run" if controls.dry_run is not None else "paused"
            self._settle(number, decision, Applied(status, f"would set {_in_words(plan)}; {pause.by}: {pause.why}"))
        elif service in self._applying:
            self._settle(number, decision, Applied("failed", "the plan before this one is still being handed over"))
        else:
            task = asyncio.create_task(self._apply(number, decision, plan), name=f"apply {service}")
            self._applying[service] = task
            task.add_done_callback(lambda _: self._applying.pop(service, None))

    async def _apply(self, number: int, decision: Decision, plan: Plan) -> None:
        limit_s = self._timeout_s
        try:
            applied = await within(self._clock, limit_s, self._connector.apply(plan))
        except TimeoutError:
            applied = Applied("failed", f"no answer within {limit_s:g} s")
        # Whatever an outside system can throw must stay this service's own trouble.
        except Exception as error:
            log.exception("handing over a plan failed", extra={"service": plan.service})
            applied = Applied("failed", f"{type(error).__name__}: {error}")
        self._settle(number, decision, applied)
        self._desk.publish(self._clock.now_s())

    def _settle(self, number: int, decision: Decision, applied: Applied) -> None:
        now_s, service = self._clock.now_s(), decision.service
        level = logging.WARNING if applied.status in ("failed", "refused") else logging.INFO
        log.log(level, "%s: %s", applied.status, applied.detail, extra={"service": service, "tick": number})
        self._scribe.event(Outcome(number, service, applied.status, applied.detail, now_s))
        self._desk.settle(number, service, applied)
        self._tell(decision, applied, self._trouble(service))

    def _log(self, number: int, decision: Decision) -> None:
        if not decisions.isEnabledFor(logging.INFO):
            return
        ways = ", ".join(
            f"{role} {_count(pool.current)} -> {_count(pool.replicas)}" for role, pool in decision.pools.items()
        )
        why = "; ".join(reason.text for reason in decision.reasons)
        decisions.info("%s | %s", ways, why, extra={"service": decision.service, "tick": number})


def _in_words(plan: Plan) -> str:
    return ", ".join(f"{role} to {count}" for role, count in plan.replicas.items())


def _count(replicas: int | None) -> str:
    return "?" if replicas is None else str(replicas)
