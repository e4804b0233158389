"""From an engine's single requests to what the optimiser is told.

Names are vLLM's. A request is in prefill while `num_computed < max(num_prompt, num_tokens - 1)`: after a preemption the
outputs so far are recomputed like a prompt, which `num_computed < num_prompt` alone would miss. What a request needs in
a step is what it has, speculated and awaited tokens included, less what is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from planner.engine.optimise.slo import agreed_ms
from planner.engine.optimise.types import Decodes, Prompt, Work
from planner.engine.settings import SLASchedulerConfig


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One request as the engine knows it."""

    id: str
    num_prompt_tokens: int
    num_tokens: int
    """Prompt and output so far."""
    num_computed_tokens: int = 0
    num_spec_tokens: int = 0
    """Proposed, not accepted. vLLM: num_tokens_with_spec - num_tokens."""
    num_output_placeholders: int = 0
    """Tokens of steps still in flight."""
    age_ms: float = 0.0
    held_steps: int = 0
    priority: int = 0
    """Read by the published optimiser alone; the default one follows the queue's order, which contains it."""
    slo_tpot_ms: object = None
    """As asked with the request, unchecked."""
    slo_ttft_ms: object = None
    """As asked with the request, unchecked."""

    @property
    def in_prefill(self) -> bool:
        """Whether prompt, or recomputed output, is still to process."""
        return self.num_computed_tokens < max(self.num_prompt_tokens, self.num_tokens - 1)

    @property
    def needed_tokens(self) -> int:
        """All that could be computed of it now."""
        return self.num_tokens + self.num_spec_tokens + self.num_output_placeholders - self.num_computed_tokens


def gather(
    running: Iterable[EngineRequest], waiting: Iterable[EngineRequest], queue_length: int, config: SLASchedulerConfig
) -> Work:
    """The decodes in sum, the running prompts, and the first `look_ahead` of the queue; no more of it is read."""
    requests = tokens = kv_tokens = 0
    tightest_tpot_ms: float | None = None
    prompts: list[Prompt] = []
    for request in running:
        needed = request.needed_tokens
        if needed < 1:
            # All its tokens are in flight.
            continue
        if request.in_prefill:
            prompts.append(_prompt(request, config))
            continue
        requests += 1
        tokens += needed
        kv_tokens += request.num_computed_tokens + needed
        tpot_ms = _tpot_ms(request, config)
        if tightest_tpot_ms is None or tpot_ms < tightest_tpot_ms:
            tightest_tpot_ms = tpot_ms
    return Work(
        Decodes(requests, tokens, kv_tokens, tightest_tpot_ms),
        tuple(prompts),
        tuple(_prompt(request, config) for request in islice(waiting, config.look_ahead)),
        queue_length,
    )


def _tpot_ms(request: EngineRequest, config: SLASchedulerConfig) -> float:
    if request.slo_tpot_ms is None:
        return config.slo_tpot_ms
    return agreed_ms(request.slo_tpot_ms, config.slo_tpot_ms, config.request_tightest, config.request_loosest)


def _prompt(request: EngineRequest, config: SLASchedulerConfig) -> Prompt:
    ttft_ms = agreed_ms(request.slo_ttft_ms, config.slo_ttft_ms, config.request_tightest, config.request_loosest)
    return Prompt(
        request.id,
        request.num_computed_tokens,
        request.needed_tokens,
        request.age_ms,
        ttft_ms,
        request.held_steps,
    )
