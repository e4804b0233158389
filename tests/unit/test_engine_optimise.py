"""The default optimiser: the largest step within the target, in order, and nobody starves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.engine.latency.linear import LinearPhysical
from planner.engine.latency.types import FEATURES, Phase, Range, Seen
from planner.engine.optimise.decide import decide
from planner.engine.optimise.fill import decode_step, fill
from planner.engine.optimise.reasons import Code
from planner.engine.optimise.types import Decodes, Limits, Prompt, Schedule, Work
from planner.engine.settings import SLASchedulerConfig
from planner.engine.step import Step

ANY = {feature: Range(0, 1e12) for feature in FEATURES}
EVERYTHING = Seen({"decode": 100, "mixed": 100}, {"decode": ANY, "mixed": ANY})
MODEL = LinearPhysical(5.0, 0.1, 0.5, 0.001, 0.0, EVERYTHING)
"""5 ms, 0.1 a token, 0.5 a request, 0.001 a token of context."""
NO_MARGIN: Mapping[Phase, float] = {"decode": 1.0, "mixed": 1.0}
LIMITS = Limits(tokens=2048, requests=64)
CONFIG = SLASchedulerConfig()


def prompt(name: str, left: int, *, start: int = 0, age_ms: float = 0, ttft_ms: float = 500, held: int = 0) -> Prompt:
    return Prompt(name, start, left, age_ms, ttft_ms, held)


def decodes(requests: int, tpot_ms: float = 50) -> Decodes:
    return Decodes(requests, requests, 100 * requests, tpot_ms if requests else None)


def codes(schedule: Schedule) -> list[Code]:
    return [reason.code for reason in schedule.reasons]


# --- worked examples --------------------------------------------------------------------------------------------


def test_tokens_are_added_in_order_until_the_target() -> None:
    """10 decodes: 5 + 10 * (0.1 + 0.5 + 0.1) = 12 ms. Then 28 ms are left: 10.5 for a, and 17 / 0.1 = 170 of b."""
    work = Work(decodes(10), (prompt("a", 100), prompt("b", 300), prompt("c", 10)), (prompt("w", 10),), 1)

    schedule = fill(MODEL, work, 40.0, LIMITS, NO_MARGIN, CONFIG)

    assert schedule.predicted_ms == pytest.approx(40.0)
    assert schedule == Schedule(
        chunks={"a": 100, "b": 170, "c": 0},
        admitted={},
        step=Step(requests=12, tokens=280, prefills=2, prefill_tokens=270, kv_tokens=1000, pairs=5050 + 14535),
        predicted_ms=MODEL.predict_ms(schedule.step),
        target_ms=40.0,
        feasible=True,
    )
    assert schedule.tokens == 280


def test_the_margin_is_kept_free() -> None:
    """40 / 1.25 = 32 ms, less 12 for the decodes and 0.5 for the request: 195 tokens."""
    work = Work(decodes(10), (prompt("a", 300),))

    schedule = fill(MODEL, work, 40.0, LIMITS, {"decode": 1.0, "mixed": 1.25}, CONFIG)

    assert (schedule.chunks, schedule.feasible) == ({"a": 195}, True)


def test_rounding_does_not_carry_a_step_beyond_the_target() -> None:
    """11 / 1.2 * 1.2 is above 11 in floating point: a step that takes 11 / 1.2 ms does not fit."""
    model = LinearPhysical(11 / 1.2, 0, 0, 0, 0, EVERYTHING)
    work = Work(decodes(1), (prompt("a", 10),))

    schedule = fill(model, work, 11.0, LIMITS, {"decode": 1.0, "mixed": 1.2}, CONFIG)

    assert (schedule.chunks, schedule.feasible) == ({"a": 0}, True)


@pytest.mark.parametrize(
    ("limits", "chunks", "admitted"),
    [
        pytest.param(Limits(2048, 64), {"a": 100}, {"w": 50, "x": 60}, id="none in reach"),
        pytest.param(Limits(2048, 12), {"a": 100}, {"w": 50}, id="slots"),
        pytest.param(Limits(2048, 11), {"a": 100}, {}, id="no slot"),
        pytest.param(Limits(2048, 5), {"a": 100}, {}, id="more run than slots"),
        pytest.param(Limits(130, 64), {"a": 100}, {"w": 20}, id="tokens"),
        pytest.param(Limits(5, 64), {"a": 0}, {}, id="more decodes than tokens"),
        pytest.param(Limits(2048, 64, 55), {"a": 55}, {"w": 50, "x": 55}, id="chunk"),
        pytest.param(Limits(2048, 64, 4), {"a": 4}, {"w": 4, "x": 4}, id="chunk below the floor"),
    ],
)
def test_the_engines_own_limits_hold(limits: Limits, chunks: dict[str, int], admitted: dict[str, int]) -> None:
    work = Work(decodes(10), (prompt("a", 100, held=9),), (prompt("w", 50), prompt("x", 60)), 2)

    schedule = fill(MODEL, work, 1000.0, limits, NO_MARGIN, CONFIG)

    assert (schedule.chunks, schedule.admitted) == (chunks, admitted)


def test_who_has_least_time_to_its_ttft_is_admitted_first() -> None:
    waiting = (prompt("late", 10, age_ms=100), prompt("tight", 10, age_ms=50, ttft_ms=200), prompt("new", 10))

    schedule = fill(MODEL, Work(decodes(1), (), waiting, 3), 8.8, LIMITS, NO_MARGIN, CONFIG)

    # 5.7 ms with the decode, 1.5 ms each: two fit.
    assert list(schedule.admitted) == ["tight", "late"]


def test_decodes_alone_over_the_target_hold_all_prompts() -> None:
    work = Work(decodes(100), (prompt("a", 100),), (prompt("w", 10),), 1)

    schedule = fill(MODEL, work, 50.0, LIMITS, NO_MARGIN, CONFIG)

    assert (schedule.chunks, schedule.admitted, schedule.feasible) == ({"a": 0}, {}, False)
    assert [str(reason) for reason in schedule.reasons] == [
        "100 decodes alone take 75.0 ms, above the target of 50.0 ms"
    ]


@pytest.mark.parametrize(
    "starving", [prompt("s", 40, held=8), prompt("s", 40, age_ms=250)], ids=["steps without a token", "age"]
)
def test_a_starving_prompt_gets_the_floor_though_it_does_not_fit(starving: Prompt) -> None:
    work = Work(decodes(100), (prompt("a", 100), starving))

    schedule = fill(MODEL, work, 50.0, LIMITS, NO_MARGIN, CONFIG)

    assert schedule.chunks == {"a": 0, "s": 16}
    assert codes(schedule) == [Code.DECODE_OVER_TARGET, Code.STARVED_FIRST, Code.FLOOR_OVER_TARGET]
    assert [str(reason) for reason in schedule.reasons[1:]] == [
        f"s came first: {starving.held_steps} steps without a token, {starving.age_ms / 500:.0%} of its TTFT waited",
        "16 tokens of prefill are the floor, though the step then takes 77.1 ms, above the target of 50.0 ms",
    ]


def test_a_starving_prompt_comes_first_and_gets_the_rest_in_its_turn() -> None:
    """28 ms are left beside the decodes: 2.1 for the floor of s, 10.5 for a, and 154 tokens for the rest of s."""
    work = Work(decodes(10), (prompt("a", 100), prompt("s", 300, start=50, held=8), prompt("b", 10)))

    schedule = fill(MODEL, work, 40.01, LIMITS, NO_MARGIN, CONFIG)

    assert schedule.chunks == {"a": 100, "s": 170, "b": 0}
    assert schedule.step == Step(12, 280, 2, 270, 1000, 5050 + 170 * 50 + 14535)
    assert codes(schedule) == [Code.STARVED_FIRST]


def test_the_longest_starving_prompt_comes_first() -> None:
    work = Work(decodes(100), (prompt("a", 100, held=8), prompt("b", 100, held=12), prompt("c", 100, held=12)))

    assert fill(MODEL, work, 50.0, LIMITS, NO_MARGIN, CONFIG).chunks == {"a": 0, "b": 16, "c": 0}


def test_the_first_that_waits_starves_only_when_no_prompt_runs() -> None:
    old = prompt("w", 40, age_ms=300)

    alone = fill(MODEL, Work(decodes(60), (), (old,), 1), 40.0, LIMITS, NO_MARGIN, CONFIG)
    behind = fill(MODEL, Work(decodes(60), (prompt("a", 40),), (old,), 1), 40.0, LIMITS, NO_MARGIN, CONFIG)

    assert (alone.admitted, behind.admitted) == ({"w": 16}, {})


def test_a_step_that_would_be_empty_carries_one_token() -> None:
    schedule = fill(MODEL, Work(Decodes(), (), (prompt("w", 40),), 1), 4.0, LIMITS, NO_MARGIN, CONFIG)

    assert (schedule.admitted, schedule.feasible) == ({"w": 1}, False)
    assert [str(reason) for reason in schedule.reasons] == [
        "1 token of prefill, though the step then takes 5.6 ms, above the target of 4.0 ms: nothing else runs"
    ]


def test_nothing_to_do_is_an_empty_step() -> None:
    schedule = fill(MODEL, Work(Decodes()), 50.0, LIMITS, NO_MARGIN, CONFIG)

    assert (schedule.step, schedule.reasons) == (Step(), ())


# --- the whole decision -----------------------------------------------------------------------------------------


def test_the_target_rises_with_the_queue_and_is_recorded() -> None:
    """T_min 15 and 2 of 5 waiting of the way to 50: 29 ms; 12 for the decodes, 0.5 for w: 165 tokens."""
    work = Work(decodes(10), (), (prompt("w", 1000),), 2)

    schedule = decide(MODEL, work, LIMITS, NO_MARGIN, CONFIG)

    assert (schedule.target_ms, schedule.admitted, schedule.stock) == (29.0, {"w": 165}, False)


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        pytest.param(Seen({"decode": 100}, {"decode": ANY}), "mixed: 0 steps seen, 20 needed", id="no prefill seen"),
        pytest.param(
            Seen({"decode": 9, "mixed": 90}, {"decode": ANY, "mixed": {"requests": Range(1, 4)}}),
            "mixed: requests 11, seen 1 to 4",
            id="such a batch never seen",
        ),
    ],
)
def test_beyond_what_the_model_saw_the_engine_schedules_by_itself(seen: Seen, cause: str) -> None:
    work = Work(decodes(10), (prompt("a", 1000),), (prompt("w", 3000),), 1)

    schedule = decide(replace(MODEL, seen=seen), work, LIMITS, NO_MARGIN, CONFIG)

    assert (schedule.stock, schedule.chunks, schedule.admitted) == (True, {"a": 1000}, {"w": 1038})
    assert (schedule.target_ms, schedule.feasible) == (22.0, False)
    assert [str(reason) for reason in schedule.reasons] == [f"left to the engine: {cause}"]


def test_the_tightest_agreement_among_the_decodes_bounds_the_step() -> None:
    work = Work(decodes(10, tpot_ms=20), (prompt("a", 1000),), queue_length=100)

    schedule = decide(MODEL, work, LIMITS, NO_MARGIN, CONFIG)

    assert schedule.target_ms == 20.0
    assert schedule.predicted_ms <= 20.0


# --- properties -------------------------------------------------------------------------------------------------

costs = st.floats(0, 0.5)
models = st.builds(
    LinearPhysical,
    step_ms=st.floats(0, 20),
    token_ms=costs,
    request_ms=costs,
    kv_token_ms=st.floats(0, 0.01),
    pair_ms=st.floats(0, 0.01),
    seen=st.just(EVERYTHING),
)
margins = st.fixed_dictionaries({"decode": st.floats(1, 2), "mixed": st.floats(1, 2)})
limits = st.builds(Limits, st.integers(1, 400), st.integers(1, 16), st.sampled_from([0, 1, 20, 64]))
all_decodes = st.integers(0, 12).flatmap(
    lambda count: st.builds(
        Decodes,
        st.just(count),
        st.integers(count, 3 * count),
        st.integers(0, 500 * count),
        st.floats(5, 100) if count else st.none(),
    )
)


def prompts(prefix: str) -> st.SearchStrategy[tuple[Prompt, ...]]:
    one = st.tuples(
        st.integers(0, 300), st.integers(1, 200), st.floats(0, 2000), st.floats(50, 1000), st.integers(0, 12)
    )
    many = st.lists(one, max_size=8)
    return many.map(lambda drawn: tuple(Prompt(f"{prefix}{i}", *values) for i, values in enumerate(drawn)))


works = st.builds(Work, all_decodes, prompts("p"), prompts("w"), st.integers(8, 100))
targets = st.floats(1, 100)


@given(models, works, targets, limits, margins)
def test_no_limit_is_exceeded_and_every_decode_comes_first(
    model: LinearPhysical, work: Work, target_ms: float, limits: Limits, margins: Mapping[Phase, float]
) -> None:
    schedule = fill(model, work, target_ms, limits, margins, CONFIG)

    granted = {**schedule.chunks, **schedule.admitted}
    left = {each.id: each.left_tokens for each in (*work.prompts, *work.waiting)}
    base = decode_step(work, limits)
    assert base.tokens == min(work.decodes.tokens, limits.tokens)
    assert schedule.tokens == base.tokens + sum(granted.values()) <= limits.tokens
    assert schedule.step.kv_tokens == work.decodes.kv_tokens
    assert schedule.step.requests == base.requests + sum(tokens > 0 for tokens in granted.values())
    assert all(0 <= tokens <= min(left[name], limits.chunk_tokens or left[name]) for name, tokens in granted.items())
    assert list(schedule.chunks) == [each.id for each in work.prompts]
    assert all(tokens > 0 for tokens in schedule.admitted.values())
    if schedule.admitted:
        assert base.requests + len(work.prompts) + len(schedule.admitted) <= limits.requests


@given(models, works, targets, limits, margins)
def test_the_prediction_is_within_the_target_unless_a_reason_says_so(
    model: LinearPhysical, work: Work, target_ms: float, limits: Limits, margins: Mapping[Phase, float]
) -> None:
    schedule = fill(model, work, target_ms, limits, margins, CONFIG)

    within = schedule.predicted_ms * margins["mixed" if schedule.step.prefills else "decode"] <= target_ms
    over = {Code.DECODE_OVER_TARGET, Code.FLOOR_OVER_TARGET, Code.ONLY_PROGRESS} & set(codes(schedule))
    nothing_to_do = schedule.step == Step()
    assert schedule.predicted_ms == model.predict_ms(schedule.step)
    assert schedule.feasible == within
    assert within or over or nothing_to_do


@given(models, works, targets, limits, margins)
def test_one_more_token_would_be_too_much(
    model: LinearPhysical, work: Work, target_ms: float, limits: Limits, margins: Mapping[Phase, float]
) -> None:
    schedule = fill(model, work, target_ms, limits, margins, CONFIG)

    if schedule.tokens == limits.tokens:
        return
    slots = max(0, limits.requests - work.decodes.requests - len(work.prompts))
    in_order = (*work.prompts, *sorted(work.waiting, key=lambda each: each.ttft_ms - each.age_ms)[:slots])
    for each in in_order:
        granted = schedule.chunks.get(each.id, 0) + schedule.admitted.get(each.id, 0)
        if granted == min(each.left_tokens, limits.chunk_tokens or each.left_tokens):
            continue
        more = schedule.step.plus_chunk(each.start_tokens + granted, 1)
        if granted:
            more = replace(more, requests=schedule.step.requests)
        # Rounding may cost the last token, never more.
        assert model.predict_ms(more) * margins["mixed"] > target_ms * (1 - 1e-9)
        return


@given(models, works, targets, targets, limits, margins)
def test_a_larger_target_never_schedules_fewer_tokens(
    model: LinearPhysical, work: Work, one_ms: float, other_ms: float, limits: Limits, margins: Mapping[Phase, float]
) -> None:
    less, more = (fill(model, work, target_ms, limits, margins, CONFIG) for target_ms in sorted((one_ms, other_ms)))

    assert less.tokens <= more.tokens
    assert all(tokens <= more.chunks[name] for name, tokens in less.chunks.items())
    assert all(tokens <= more.admitted[name] for name, tokens in less.admitted.items())


@given(models, works, limits, margins)
def test_the_same_input_gives_the_same_decision(
    model: LinearPhysical, work: Work, limits: Limits, margins: Mapping[Phase, float]
) -> None:
    assert decide(model, work, limits, margins, CONFIG) == decide(model, work, limits, margins, CONFIG)


@settings(max_examples=50)
@given(
    st.integers(0, 6),
    st.lists(st.tuples(st.integers(1, 300), st.floats(50, 5000)), min_size=1, max_size=10),
    st.floats(1, 40),
    st.integers(1, 4),
)
def test_nobody_starves(decoding: int, arrivals: list[tuple[int, float]], target_ms: float, slots: int) -> None:
    """Steps until every prompt is done, whatever the target: each running one gets tokens within steps + m."""
    limits = Limits(tokens=64, requests=decoding + slots)
    running: tuple[Prompt, ...] = ()
    waiting = tuple(prompt(f"w{i}", left, ttft_ms=ttft_ms) for i, (left, ttft_ms) in enumerate(arrivals))
    most_steps = 20 * (CONFIG.starvation_steps + len(arrivals)) * len(arrivals) + 1000

    for _ in range(most_steps):
        if not running and not waiting:
            break
        work = Work(decodes(decoding), running, waiting, len(waiting))
        schedule = fill(MODEL, work, target_ms, limits, NO_MARGIN, CONFIG)
        granted = {**schedule.chunks, **schedule.admitted}
        assert sum(granted.values()) > 0 or decoding
        every = tuple(advanced(each, granted.get(each.id, 0), schedule.predicted_ms) for each in (*running, *waiting))
        inside = schedule.chunks.keys() | schedule.admitted.keys()
        running = tuple(each for each in every if each.id in inside and each.left_tokens)
        waiting = tuple(replace(each, held_steps=0) for each in every if each.id not in inside)
        assert all(each.held_steps < CONFIG.starvation_steps + slots for each in running)

    assert (running, waiting) == ((), ())


def advanced(each: Prompt, tokens: int, took_ms: float) -> Prompt:
    """A prompt after a step that gave it so many tokens."""
    held = 0 if tokens else each.held_steps + 1
    start, left = each.start_tokens + tokens, each.left_tokens - tokens
    return replace(each, start_tokens=start, left_tokens=left, age_ms=each.age_ms + took_ms, held_steps=held)
