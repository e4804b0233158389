"""The largest step within a target: tokens are added in a fixed order until the next would be one too many.

Decodes first, all of them; then prompts in the engine's order; then the queue's head, least time to its TTFT first. The
order does not depend on the target, so that a larger target never schedules fewer tokens, and the step found is the
largest for which `prediction * margin <= target`.

Nobody starves. A running prompt is starving when it got no token for `starvation_steps`, or has waited a share of its
TTFT; the one longest without a token comes before all others with `progress_floor_tokens`, whether they fit or not. So
each of m running prompts gets tokens at least every `starvation_steps + m` steps, while decodes leave any budget. With
no running prompt the same holds for the first that waits. A step with nothing else to do carries at least one token.

The predicted time is within the target unless a reason says that the decodes alone exceed it, or that a floor does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from math import nextafter

from planner.engine.latency.types import LatencyModel, Phase, phase_of
from planner.engine.optimise.reasons import Code, Reason, because
from planner.engine.optimise.types import Limits, Prompt, Schedule, Work
from planner.engine.settings import SLASchedulerConfig
from planner.engine.step import Step, attention_pairs

_Offer = tuple[Prompt, int, int]
"""A request, where its chunk starts, and how long it may be."""


def fill(
    model: LatencyModel,
    work: Work,
    target_ms: float,
    limits: Limits,
    margins: Mapping[Phase, float],
    config: SLASchedulerConfig,
) -> Schedule:
    """The schedule for this target. `margins`, each at least 1, multiply what the model predicts."""
    base = decode_step(work, limits)
    slots = max(0, limits.requests - base.requests - len(work.prompts))
    # Who is out of time comes first; sorting keeps the queue's order among equals.
    waiting = sorted(work.waiting, key=_left_ms)[:slots]
    starving = _starving(work.prompts or waiting[:1], config)
    offers = _offers(work.prompts, waiting, starving, limits.chunk_tokens or limits.tokens, config)
    # At least the floor for one that starves; at least something in a step that would else be empty.
    floor = config.progress_floor_tokens if starving else 1 if not base.requests else 0
    tokens, step = _largest(model, base, offers, limits.tokens, _limit_ms(target_ms, margins["mixed"]), floor)
    predicted_ms = model.predict_ms(step)
    feasible = predicted_ms * margins[phase_of(step)] <= target_ms
    chunks = dict.fromkeys([prompt.id for prompt in work.prompts], 0)
    admitted: dict[str, int] = {}
    for name, chunk in tokens.items():
        (chunks if name in chunks else admitted)[name] = chunk
    return Schedule(
        chunks=chunks,
        admitted=admitted,
        step=step,
        predicted_ms=predicted_ms,
        target_ms=target_ms,
        feasible=feasible,
        reasons=tuple(_reasons(model, base, step, starving, target_ms, margins, feasible)),
    )


def decode_step(work: Work, limits: Limits) -> Step:
    """The step with the decodes alone."""
    decodes = work.decodes
    return Step(requests=decodes.requests, tokens=min(decodes.tokens, limits.tokens), kv_tokens=decodes.kv_tokens)


def _left_ms(prompt: Prompt) -> float:
    return prompt.ttft_ms - prompt.age_ms


def _starving(prompts: Sequence[Prompt], config: SLASchedulerConfig) -> Prompt | None:
    """The one that has gone longest without a token, of those that starve."""
    most, steps, share = None, config.starvation_steps, config.starvation_share
    for prompt in prompts:
        if prompt.held_steps < steps and prompt.age_ms < share * prompt.ttft_ms:
            continue
        if most is None or prompt.held_steps > most.held_steps:
            most = prompt
    return most


def _offers(
    prompts: Sequence[Prompt], waiting: Sequence[Prompt], starving: Prompt | None, cap: int, config: SLASchedulerConfig
) -> Iterator[_Offer]:
    """Chunks in the order in which they are granted. The starving one's is in two: the floor, and the rest in turn."""
    floor = config.progress_floor_tokens
    if starving is not None:
        yield starving, starving.start_tokens, min(floor, starving.left_tokens, cap)
    for each in (prompts, waiting):
        for prompt in each:
            tokens = prompt.left_tokens if prompt.left_tokens < cap else cap
            if prompt is not starving:
                yield prompt, prompt.start_tokens, tokens
            elif tokens > floor:
                yield prompt, prompt.start_tokens + floor, tokens - floor


def _limit_ms(target_ms: float, margin: float) -> float:
    """The largest prediction whose product with the margin is within the target, despite rounding."""
    limit_ms = target_ms / margin
    return nextafter(limit_ms, 0.0) if limit_ms * margin > target_ms else limit_ms


def _largest(
    model: LatencyModel, base: Step, offers: Iterator[_Offer], most_tokens: int, limit_ms: float, floor: int
) -> tuple[dict[str, int], Step]:
    """Tokens by request, and the step with them: as many offers as fit, and of the next as much as fits.

    Of the first at least `floor` tokens, as far as it offers them.

    Whether a number of offers fits is asked of the model at 1, 2, 4, ... and then in between, since a step with more is
    never predicted to be shorter. So only some twice as many offers are looked at as are granted.
    """
    requests, tokens, pairs = base.requests, base.tokens, 0
    taken: list[_Offer] = []
    sums = [(requests, tokens, pairs)]

    def with_first(count: int) -> Step:
        requests, tokens, pairs = sums[count]
        return Step(requests, tokens, requests - base.requests, tokens - base.tokens, base.kv_tokens, pairs)

    def predict_ms(count: int) -> float:
        return model.predict_ms(with_first(count))

    fit, probe = 0, 1
    for prompt, start, offered in offers:
        chunk = min(offered, most_tokens - tokens)
        if chunk < 1:
            break
        requests += start == prompt.start_tokens
        tokens += chunk
        pairs += attention_pairs(start, chunk)
        taken.append((prompt, start, chunk))
        sums.append((requests, tokens, pairs))
        if len(taken) == probe:
            if predict_ms(probe) > limit_ms:
                break
            fit, probe = probe, 2 * probe
    fit = bisect_right(range(1, len(sums)), limit_ms, lo=fit, key=predict_ms)
    granted: dict[str, int] = {}
    for prompt, _, chunk in taken[:fit]:
        granted[prompt.id] = granted.get(prompt.id, 0) + chunk
    step = with_first(fit)
    if fit < len(taken):
        prompt, start, offered = taken[fit]
        others = step if prompt.id not in granted else _without_request(step)
        chunk = model.largest_chunk(others, start, offered, limit_ms)
        if fit == 0:
            chunk = max(chunk, min(floor, offered))
        if chunk:
            granted[prompt.id] = granted.get(prompt.id, 0) + chunk
            step = others.plus_chunk(start, chunk)
    return granted, step


def _without_request(step: Step) -> Step:
    """With one request less but its tokens, so that a second chunk of the same request does not count it twice."""
    return Step(step.requests - 1, step.tokens, step.prefills - 1, step.prefill_tokens, step.kv_tokens, step.pairs)


def _reasons(
    model: LatencyModel,
    base: Step,
    step: Step,
    starving: Prompt | None,
    target_ms: float,
    margins: Mapping[Phase, float],
    feasible: bool,
) -> Iterator[Reason]:
    if base.requests and (alone_ms := model.predict_ms(base)) * margins["decode"] > target_ms:
        yield because(Code.DECODE_OVER_TARGET, requests=base.requests, predicted_ms=alone_ms, target_ms=target_ms)
    if starving is not None and step.prefills:
        share = starving.age_ms / starving.ttft_ms
        yield because(Code.STARVED_FIRST, request=starving.id, held_steps=starving.held_steps, share=share)
    if step.prefills and not feasible:
        code = Code.ONLY_PROGRESS if starving is None else Code.FLOOR_OVER_TARGET
        predicted_ms = model.predict_ms(step)
        yield because(code, tokens=step.prefill_tokens, predicted_ms=predicted_ms, target_ms=target_ms)
