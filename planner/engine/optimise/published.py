"""The inverse optimiser as published: for each batch size the tokens whose predicted time is the target, simulated.

1. For each B from the running requests to the limit: solve T(B, S) = target for S by bisection, simulate 2 and 3 with S
   as the token budget, keep the result whose predicted time is nearest the target; stop within the tolerance.
2. Running: one token for each decode; then chunks for prefills, highest priority value first, then longest rest first.
3. Waiting, highest priority value first, until the batch is full or less than min(64, prompt) tokens are left.

It stands here to compare with, its flaws included; `decide` mends them:

- A request is taken for a decode from `num_computed_tokens >= num_prompt_tokens`, and for one token: wrong after a
  preemption, under speculation, and for waiting requests that do not start at 0.
- The search is empty when more run than `max_batch_search`; then nothing is scheduled.
- The nearest time may lie above the target. Nothing is kept for decodes when the target is below their own step.
- Longest first starves the others, and its priorities run against vLLM's, where the lower value comes first.
- Bisection takes T for rising in S; the published form falls there at first when w_0 > 0.
- S and B are all it knows: neither contexts nor agreements of single requests.

Where the publication is silent: the tolerance, that the limit of B also ends at all requests there are, and that a
result is feasible when it is within the tolerance of the target, or below. Times are ms.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from planner.engine.latency.saturation import Saturation
from planner.engine.optimise.requests import EngineRequest

_log = logging.getLogger(__name__)

_LEAST_ADMITTED_TOKENS = 64


@dataclass(frozen=True, slots=True)
class PublishedConfig:
    """Its limits."""

    max_num_scheduled_tokens: int
    max_num_running_reqs: int
    long_prefill_token_threshold: int = 0
    """0 for none."""
    max_batch_search: int = 32
    timeout_ms: float = 1.0
    tolerance_ms: float = 0.5


@dataclass(frozen=True, slots=True)
class PublishedSchedule:
    """Its answer."""

    running_chunk_sizes: Mapping[str, int]
    scheduled_waiting_ids: tuple[str, ...]
    waiting_chunk_sizes: Mapping[str, int]
    predicted_latency: float
    feasible: bool
    batch_size: int = 0
    searched: int = 0
    """Batch sizes tried."""
    timed_out: bool = False

    @property
    def tokens(self) -> int:
        """Of the whole step."""
        return sum(self.running_chunk_sizes.values()) + sum(self.waiting_chunk_sizes.values())

    @property
    def predicted_ms(self) -> float:
        """The predicted latency, under the name that other schedules have."""
        return self.predicted_latency

    def log_line(self, target_ms: float) -> str:
        """One line for a log."""
        return (
            f"target {target_ms:.1f} ms: batch {self.batch_size}, tokens {self.tokens}, "
            f"predicted {self.predicted_latency:.1f} ms, running {len(self.running_chunk_sizes)}, "
            f"admitted {len(self.scheduled_waiting_ids)}, searched {self.searched}, "
            f"{'feasible' if self.feasible else 'infeasible'}{', timed out' if self.timed_out else ''}"
        )


NOTHING = PublishedSchedule({}, (), {}, 0.0, feasible=False)
"""What an empty search finds."""


class RealSchedulerOptimizer:
    """The three phases, under their published name."""

    def __init__(
        self,
        model_params: Saturation,
        config: PublishedConfig,
        *,
        clock_s: Callable[[], float] = time.perf_counter,
        log: Callable[[str], None] = _log.debug,
    ) -> None:
        self._model = model_params
        self._config = config
        self._clock_s = clock_s
        self._log = log

    def optimize_schedule(
        self, running: Sequence[EngineRequest], waiting: Sequence[EngineRequest], target: float
    ) -> PublishedSchedule:
        """The schedule whose predicted latency is nearest the target, in ms, among those searched in time."""
        schedule = self._search(running, waiting, target)
        self._log(schedule.log_line(target))
        return schedule

    def _search(
        self, running: Sequence[EngineRequest], waiting: Sequence[EngineRequest], target_ms: float
    ) -> PublishedSchedule:
        config = self._config
        deadline_s = self._clock_s() + config.timeout_ms / 1e3
        decodes = [each for each in running if each.num_computed_tokens >= each.num_prompt_tokens]
        prefills = [each for each in running if each.num_computed_tokens < each.num_prompt_tokens]
        prefills.sort(key=lambda each: (-each.priority, -_remaining(each)))
        queue = sorted(waiting, key=lambda each: -each.priority)
        largest = min(config.max_batch_search, config.max_num_running_reqs, len(running) + len(waiting))
        best, searched, timed_out = None, 0, False
        for batch in range(max(1, len(running)), largest + 1):
            if self._clock_s() > deadline_s:
                timed_out = True
                break
            searched += 1
            tokens = self._tokens_for(batch, target_ms)
            chunks = _running_chunks(decodes, prefills, tokens, config)
            left = tokens - sum(chunks.values())
            admitted = _waiting_chunks(queue, batch - len(running), left, config)
            scheduled = sum(chunks.values()) + sum(admitted.values())
            requests = len(chunks) + len(admitted)
            predicted_ms = latency_ms(self._model, requests, scheduled) if requests else 0.0
            error_ms = abs(predicted_ms - target_ms)
            if best is None or error_ms < best[0]:
                best = (error_ms, batch, chunks, admitted, predicted_ms)
            if error_ms <= config.tolerance_ms:
                break
        if best is None:
            return replace(NOTHING, searched=searched, timed_out=timed_out)
        _, batch, chunks, admitted, predicted_ms = best
        feasible = predicted_ms <= target_ms + config.tolerance_ms
        return PublishedSchedule(chunks, tuple(admitted), admitted, predicted_ms, feasible, batch, searched, timed_out)

    def _tokens_for(self, batch: int, target_ms: float) -> int:
        """The most tokens whose predicted time is at most the target, by bisection; at least 1."""
        least, most = 1, self._config.max_num_scheduled_tokens
        while least < most:
            middle = (least + most + 1) // 2
            if latency_ms(self._model, batch, middle) <= target_ms:
                least = middle
            else:
                most = middle - 1
        return least


def latency_ms(model: Saturation, requests: int, tokens: int) -> float:
    """T(B,S) of the published form, for one batch above zero, without the cost of arrays."""
    b, s = requests / model.batch_median, tokens / model.tokens_median
    throughput = model.p_max * math.expm1(-model.k_b * b) * math.expm1(-model.k_s * s)
    return model.tau_0 + (model.w_0 + model.w_1 * s) / throughput + model.tau_b * b + model.tau_s * s


def _remaining(request: EngineRequest) -> int:
    return request.num_prompt_tokens - request.num_computed_tokens


def _running_chunks(
    decodes: Iterable[EngineRequest], prefills: Iterable[EngineRequest], tokens: int, config: PublishedConfig
) -> dict[str, int]:
    """Every decode one token, whatever the target allows, as far as the engine does; prefills what is left."""
    chunks: dict[str, int] = {}
    for request in decodes:
        if len(chunks) == config.max_num_scheduled_tokens:
            return chunks
        chunks[request.id] = 1
    left = tokens - len(chunks)
    for request in prefills:
        chunk = _chunk(_remaining(request), left, config)
        if chunk < 1:
            break
        chunks[request.id] = chunk
        left -= chunk
    return chunks


def _waiting_chunks(queue: Iterable[EngineRequest], slots: int, left: int, config: PublishedConfig) -> dict[str, int]:
    chunks: dict[str, int] = {}
    for request in queue:
        if len(chunks) >= slots or left < min(_LEAST_ADMITTED_TOKENS, request.num_prompt_tokens):
            break
        chunks[request.id] = chunk = _chunk(request.num_prompt_tokens, left, config)
        left -= chunk
    return chunks


def _chunk(wanted: int, left: int, config: PublishedConfig) -> int:
    return min(wanted, config.long_prefill_token_threshold or wanted, left)
