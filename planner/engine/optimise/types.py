"""What the default optimiser is told and what it answers.

Decodes come in sum: each gets what it needs, so that only how many they are and how much context they read matters.
Prompts come singly, because the decision is about them. Times are ms, sizes tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.engine.optimise.reasons import Reason
from planner.engine.step import Step


@dataclass(frozen=True, slots=True)
class Decodes:
    """All running requests that are past their prompt."""

    requests: int = 0
    tokens: int = 0
    """That they need in this step: one each, more when they speculate."""
    kv_tokens: int = 0
    """Their contexts after this step, summed."""
    tightest_tpot_ms: float | None = None
    """The least time per output token agreed with any of them, clamped; None without decodes."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request with prompt, or recomputed output, still to process."""

    id: str
    start_tokens: int
    """Computed already: earlier chunks, prefix hits."""
    left_tokens: int
    """Still to compute, at least 1."""
    age_ms: float
    """Since it arrived; since it was preempted, of one that is recomputed."""
    ttft_ms: float
    """Agreed with it, clamped."""
    held_steps: int = 0
    """Steps since it last got a token; 0 for one that waits, whose age says enough."""


@dataclass(frozen=True, slots=True)
class Work:
    """All that could be advanced."""

    decodes: Decodes
    prompts: tuple[Prompt, ...] = ()
    """Running ones, in the engine's order."""
    waiting: tuple[Prompt, ...] = ()
    """The head of the queue, in its order; those that may be admitted now, and no more than these."""
    queue_length: int = 0
    """Of the whole queue."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine itself allows in a step."""

    tokens: int
    """vLLM: max_num_scheduled_tokens."""
    requests: int
    """Running at once. vLLM: max_num_running_reqs, less slots held by streams that wait for input."""
    chunk_tokens: int = 0
    """Of one prompt. vLLM: long_prefill_token_threshold; 0 for no limit."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One step, as the engine's levers take it: a token budget, a cap for each prompt, and the admissions in order."""

    chunks: Mapping[str, int]
    """Tokens of every running prompt; 0 holds it for this step."""
    admitted: Mapping[str, int]
    """First chunks of those to admit, in the order in which to admit them."""
    step: Step
    """Decodes included: its `tokens` are the step's token budget."""
    predicted_ms: float
    """By the model, without the margin."""
    target_ms: float
    feasible: bool
    """Whether prediction times margin is within the target."""
    stock: bool = False
    """The model cannot be believed here: the engine should schedule by itself, which is what the chunks show."""
    capacity_short: bool = False
    """The agreement cannot be kept at this load, whatever the schedule: the fleet needs more replicas."""
    reasons: tuple[Reason, ...] = field(default=())

    @property
    def tokens(self) -> int:
        """The step's token budget."""
        return self.step.tokens
