"""What latency the model expects of a fleet that is there: sizing read backwards, with factors of 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.scaling.settings import ServiceSettings
from planner.scaling.size.aggregated import sharing_steps
from planner.scaling.size.prefill import prefill_wait
from planner.scaling.size.prompts import PromptService, prompt_service
from planner.scaling.types import Demand, Role


@dataclass(frozen=True, slots=True)
class Prediction:
    """A mean latency the model expects, and how busy it takes the pool to be."""

    service_s: float
    """At the engine."""
    wait_s: float
    """Before it."""
    utilisation: float

    @property
    def latency_s(self) -> float:
        """Both."""
        return self.wait_s + self.service_s


def predict_ttft(demand: Demand, ready: int, role: Role, service: ServiceSettings) -> Prediction:
    """Mean TTFT, wait and service, with `ready` replicas; infinite when they are overloaded."""
    prompts = engine_prompts(demand, ready, role, service)
    if prompts is None:
        return Prediction(math.inf, math.inf, math.inf)
    waiting = prefill_wait(demand, prompts, ready, service.sizing)
    return Prediction(prompts.mean_s, waiting.mean_s, demand.rate_per_s * prompts.mean_s / ready)


def engine_prompts(demand: Demand, ready: int, role: Role, service: ServiceSettings) -> PromptService | None:
    """What the demand's prompts take at the engine; None when an aggregated one has no time left to decode."""
    prompts = prompt_service(demand, service.profile.prefill, 1.0)
    if role is not Role.AGGREGATED:
        return prompts
    step_s = predict_itl(demand, ready, role, service).latency_s
    if math.isinf(step_s):
        return None
    return sharing_steps(prompts, step_s)


def predict_itl(demand: Demand, ready: int, role: Role, service: ServiceSettings) -> Prediction:
    """Mean ITL with `ready` replicas; infinite when prefill leaves an aggregated one no time to decode."""
    decode, context = service.profile.decode, demand.context_tokens
    duty = 0.0
    if role is Role.AGGREGATED:
        duty = demand.rate_per_s * prompt_service(demand, service.profile.prefill, 1.0).mean_s / ready
    if duty >= 1:
        return Prediction(math.inf, 0.0, duty)
    stretch = 1 / (1 - duty)
    concurrency = decode.settled_concurrency(demand.rate_per_s * demand.osl_tokens / ready * stretch, context)
    most = max(1.0, decode.max_concurrency(context))
    return Prediction(decode.itl_s(concurrency, context) * stretch, 0.0, max(duty, concurrency / most))
