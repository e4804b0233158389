"""What latency the model expects of a fleet that is there: sizing read backwards, with factors of 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.scaling.settings import ServiceSettings
from planner.scaling.size.aggregated import CHUNK_TOKENS
from planner.scaling.size.prefill import prefill_wait
from planner.scaling.size.prompts import PromptService, prompt_service
from planner.scaling.types import Demand, Role


@dataclass(frozen=True, slots=True)
class Prediction:
    """A mean latency the model expects, and how busy it takes the pool to be."""

    latency_s: float
    utilisation: float


def predict_ttft(demand: Demand, ready: int, role: Role, service: ServiceSettings) -> Prediction:
    """Mean TTFT, wait and service, with `ready` replicas; infinite when they are overloaded."""
    prompts = prompt_service(demand, service.profile.prefill, 1.0)
    if role is Role.AGGREGATED:
        step_s = predict_itl(demand, ready, role, service).latency_s
        if math.isinf(step_s):
            return Prediction(math.inf, demand.rate_per_s * prompts.mean_s / ready)
        chunks = np.ceil(prompts.isl_tokens / CHUNK_TOKENS)
        prompts = PromptService.of(prompts.isl_tokens, prompts.service_s + chunks * step_s)
    waiting = prefill_wait(demand.rate_per_s, prompts, ready, service.sizing)
    return Prediction(waiting.mean_s + prompts.mean_s, demand.rate_per_s * prompts.mean_s / ready)


def predict_itl(demand: Demand, ready: int, role: Role, service: ServiceSettings) -> Prediction:
    """Mean ITL with `ready` replicas; infinite when prefill leaves an aggregated one no time to decode."""
    decode, context = service.profile.decode, demand.context_tokens
    duty = 0.0
    if role is Role.AGGREGATED:
        duty = demand.rate_per_s * prompt_service(demand, service.profile.prefill, 1.0).mean_s / ready
    if duty >= 1:
        return Prediction(math.inf, duty)
    stretch = 1 / (1 - duty)
    concurrency = decode.settled_concurrency(demand.rate_per_s * demand.osl_tokens / ready * stretch, context)
    most = max(1.0, decode.max_concurrency(context))
    return Prediction(decode.itl_s(concurrency, context) * stretch, max(duty, concurrency / most))
