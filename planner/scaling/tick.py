"""One tick: from samples to orders, on one screen.

    observe -> forecast -> correct -> size -> cap -> decide

`tick` is a pure function: the same state, samples, settings and time give the same decisions, live, in replay and in
simulation.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.scaling.cap import cap
from planner.scaling.decision import TickResult
from planner.scaling.observe import observe
from planner.scaling.proposal import Proposal, claim, conclude, propose
from planner.scaling.settings import PlannerSettings
from planner.scaling.state import PlannerState, initial_state
from planner.scaling.types import ServiceSamples

__all__ = ["PlannerState", "initial_state", "tick"]


def tick(
    state: PlannerState, samples: Mapping[str, ServiceSamples], settings: PlannerSettings, now_s: float
) -> tuple[PlannerState, TickResult]:
    """Decide for every service in `settings`; each must be in `state` and `samples`.

    Raises UserError when the minima alone exceed the budget.
    """
    proposals: dict[str, Proposal] = {}
    for name, service in settings.services.items():
        observation = observe(samples[name], service.observe, now_s)
        proposals[name] = propose(state.services[name], observation, service)
    claims = {name: claim(proposal, settings.services[name]) for name, proposal in proposals.items()}
    grants, budget = cap(claims, settings.budget_gpus)
    services, decisions = {}, {}
    for name, service in settings.services.items():
        services[name], decisions[name] = conclude(proposals[name], grants, budget, service)
    return PlannerState(services), TickResult(now_s, decisions, budget)
