"""What decides the replicas in a simulation: the planner, or what it is compared with.

One seam for all: at each tick a policy is shown what a real planner would see, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from planner.scaling.decision import TickResult
from planner.scaling.reasons import Reason
from planner.scaling.settings import PlannerSettings
from planner.scaling.tick import PlannerState, initial_state, tick
from planner.scaling.types import Role, ServiceSamples


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a policy ordered, or held."""

    code: str
    """A short, stable name."""
    text: str
    """One sentence for people."""
    role: Role | None = None
    """The pool it is about; None for the service as a whole."""


@dataclass(frozen=True, slots=True)
class Order:
    """Replicas to have per pool, and why. A pool that is not named keeps what it has."""

    replicas: Mapping[Role, int] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()


class Policy(Protocol):
    """Called at every tick with each service's samples; answers per service."""

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        """The orders at `now_s`; a service that is not named keeps what it has."""
        ...


class StaticPolicy:
    """Never changes anything: the fleet stays as it started."""

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        """No orders."""
        return {}


@dataclass(frozen=True, slots=True)
class Apart:
    """A policy for each service, none of which knows of the others."""

    policies: Mapping[str, Policy]

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        """What each orders for its own service."""
        return {
            name: order
            for service, policy in self.policies.items()
            for name, order in policy.decide({service: samples[service]}, now_s).items()
        }


Record = Callable[[PlannerState, Mapping[str, ServiceSamples], TickResult], None]
"""Called after every tick with the state before it, what it saw, and what it decided."""


class PlannerPolicy:
    """The planner itself: the same tick that runs against a real fleet."""

    def __init__(self, settings: PlannerSettings, record: Record | None = None) -> None:
        self._settings = settings
        self._record = record
        self._state = initial_state(settings, 0.0)

    def decide(self, samples: Mapping[str, ServiceSamples], now_s: float) -> Mapping[str, Order]:
        """One tick."""
        before = self._state
        self._state, result = tick(before, samples, self._settings, now_s)
        if self._record is not None:
            self._record(before, samples, result)
        return {
            name: Order(decision.plan, tuple(map(_cause, decision.reasons)))
            for name, decision in result.decisions.items()
        }


def _cause(reason: Reason) -> Cause:
    role = reason.values.get("role")
    return Cause(str(reason.code), reason.text, None if role is None else Role(str(role)))
