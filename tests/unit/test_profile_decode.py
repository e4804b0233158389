"""ITL, concurrency and throughput of decoding: exact where the law is known, safe where nothing was measured."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from builders import h200
from hypothesis import assume, given
from hypothesis import strategies as st
from profile_documents import CONTEXTS, MAX_KV_TOKENS, changed, document, itl_ms, noisy_documents

from planner.scaling.profile import DecodeProfile, profile_from_document

CONTEXT = st.floats(1, 100_000)
CONCURRENCY = st.floats(0, 5000)
TARGET_S = st.floats(1e-4, 1.0)


def decode() -> DecodeProfile:
    return profile_from_document(document()).decode


def with_loads(*loads: tuple[float, float, float]) -> dict[str, Any]:
    """The document with only these (context, concurrency, ITL in ms), throughput to match."""
    whole = document()
    whole["decode"] |= {
        "context_tokens": [context for context, _, _ in loads],
        "concurrency": [concurrency for _, concurrency, _ in loads],
        "itl_ms": [itl for _, _, itl in loads],
        "tokens_per_s_per_gpu": [concurrency / itl * 1000 / 2 for _, concurrency, itl in loads],
    }
    return whole


# --- between the points -----------------------------------------------------------------------------------------


def test_passes_through_every_measured_point() -> None:
    points = decode().points
    loads = list(zip(points.concurrency, points.context_tokens, strict=True))

    assert [decode().itl_s(*load) * 1000 for load in loads] == pytest.approx(points.itl_ms)
    assert [decode().tokens_per_s_per_gpu(*load) for load in loads] == pytest.approx(points.tokens_per_s_per_gpu)


@pytest.mark.parametrize("context", [500, 700, 1234, 2000, 5000, 7999])
@pytest.mark.parametrize("kv_usage", [0.1, 0.33, 0.6, 0.9])
def test_is_exact_between_contexts_for_a_step_of_fixed_request_and_token_costs(context: float, kv_usage: float) -> None:
    concurrency = kv_usage * MAX_KV_TOKENS / context

    assert decode().itl_s(concurrency, context) * 1000 == pytest.approx(itl_ms(concurrency, context))
    assert decode().covers(concurrency, context)


def test_the_largest_concurrency_is_where_the_law_reaches_the_target() -> None:
    target_ms = 15.0
    expected = (target_ms - 5) / (0.05 + 2e-4 * 3000)

    assert decode().largest_concurrency(target_ms / 1000, 3000) == pytest.approx(expected)


def test_keeps_a_jump_that_was_measured() -> None:
    profile = profile_from_document(with_loads((500, 1, 5), (500, 50, 27), (500, 60, 42), (500, 100, 44))).decode

    assert profile.itl_s(50, 500) == pytest.approx(0.027)
    assert profile.itl_s(60, 500) == pytest.approx(0.042)
    assert profile.largest_concurrency(0.030, 500) == pytest.approx(52.9, abs=1)


def test_best_throughput_may_lie_below_the_largest_concurrency() -> None:
    loads = [(500, 1, 5), (500, 25, 13), (500, 50, 20), (500, 60, 40), (500, 100, 50)]
    profile = profile_from_document(with_loads(*loads)).decode

    assert profile.best_tokens_per_s_per_gpu(0.045, 500) == pytest.approx(50 / 0.020 / 2, rel=0.03)
    assert profile.largest_concurrency(0.045, 500) > 60


def test_best_throughput_is_the_lowest_loads_when_none_meets_the_target() -> None:
    assert decode().best_tokens_per_s_per_gpu(0.001, 2000) == pytest.approx(1 / itl_ms(1, 2000) * 1000 / 2)
    assert decode().largest_concurrency(0.001, 2000) == 0.0


# --- the edges --------------------------------------------------------------------------------------------------


def test_no_more_requests_than_were_measured() -> None:
    heaviest = 0.95 * MAX_KV_TOKENS / 2000

    assert decode().max_concurrency(2000) == pytest.approx(round(heaviest))
    assert decode().largest_concurrency(10.0, 2000) == pytest.approx(round(heaviest))
    assert decode().itl_s(1000, 2000) == decode().itl_s(round(heaviest), 2000)
    assert not decode().covers(1000, 2000)


def test_no_more_requests_than_the_kv_memory_holds() -> None:
    profile = profile_from_document(changed("decode.max_kv_tokens", 50_000)).decode

    assert profile.max_concurrency(2000) == 25
    assert profile.largest_concurrency(10.0, 2000) == 25


def test_a_context_that_fills_more_than_the_kv_memory_fits_nowhere() -> None:
    assert decode().max_concurrency(2 * MAX_KV_TOKENS) == pytest.approx(0.5, rel=0.1)
    assert decode().largest_concurrency(10.0, 2 * MAX_KV_TOKENS) == 0.0


def test_a_line_that_ends_early_goes_on_by_its_slope_inside_a_blend() -> None:
    """Holding it level would make 60 requests of 1,000 tokens look a third quicker than they are."""
    short = [(500.0, n, itl_ms(n, 500)) for n in (1, 20, 40)]
    long = [(2000.0, n, itl_ms(n, 2000)) for n in (1, 20, 48)]

    profile = profile_from_document(with_loads(*short, *long)).decode

    edge = profile.max_concurrency(1000)
    assert 40 * 500 < edge * 1000 < 48 * 2000
    assert profile.itl_s(edge, 1000) * 1000 == pytest.approx(itl_ms(edge, 1000))


def test_a_shorter_context_counts_as_the_shortest_with_as_many_requests() -> None:
    assert decode().itl_s(50, 100) == decode().itl_s(50, 500)
    assert decode().max_concurrency(100) == decode().max_concurrency(500)
    assert not decode().covers(50, 499)


def test_a_longer_context_counts_as_the_longest_with_as_many_tokens() -> None:
    assert decode().itl_s(4, 16_000) == pytest.approx(decode().itl_s(8, 8000))
    assert decode().max_concurrency(16_000) == pytest.approx(decode().max_concurrency(8000) / 2)
    assert not decode().covers(4, 16_000)


def test_a_lone_point_takes_the_shape_of_the_nearest_context() -> None:
    shaped = [(2000.0, n, itl_ms(n, 2000)) for n in (1, 10, 45)]

    profile = profile_from_document(with_loads((500, 1, 5.1), *shaped, (8000, 5, 2 * itl_ms(20, 2000))))

    assert profile.decode.itl_s(5, 8000) * 1000 == pytest.approx(2 * itl_ms(20, 2000))
    assert profile.decode.max_concurrency(8000) == pytest.approx(5)
    assert profile.warnings == (
        "decode: one load only at context 500; its curve takes the shape of context 2000",
        "decode: one load only at context 8000; its curve takes the shape of context 2000",
    )


def test_one_context_alone_is_enough() -> None:
    profile = profile_from_document(with_loads((2000, 1, 6), (2000, 40, 20))).decode

    assert profile.context_range == (2000.0, 2000.0)
    assert profile.itl_s(40, 2000) == profile.itl_s(20, 4000) == profile.itl_s(40, 1000) == pytest.approx(0.020)


@pytest.mark.parametrize("context", [0.0, -1.0, float("nan"), float("inf")])
def test_refuses_a_context_that_no_request_has(context: float) -> None:
    with pytest.raises(ValueError, match=r"context_tokens: .* must be a positive, finite number of tokens"):
        decode().itl_s(1, context)


# --- laws -------------------------------------------------------------------------------------------------------


@given(noisy_documents(), CONTEXT, st.lists(CONCURRENCY, min_size=2, max_size=20))
def test_itl_never_falls_as_concurrency_rises(whole: dict[str, Any], context: float, loads: list[float]) -> None:
    profile = profile_from_document(whole).decode
    times = [profile.itl_s(load, context) for load in sorted(loads)]

    assert min(times) > 0
    assert all(after >= before * (1 - 1e-12) for before, after in pairwise(times))


@given(noisy_documents(), CONTEXT, TARGET_S, TARGET_S)
def test_a_looser_target_never_lowers_a_capacity(
    whole: dict[str, Any], context: float, first_s: float, second_s: float
) -> None:
    profile = profile_from_document(whole).decode
    tight, loose = sorted((first_s, second_s))

    assert profile.largest_concurrency(loose, context) >= profile.largest_concurrency(tight, context) * (1 - 1e-12)
    assert profile.best_tokens_per_s_per_gpu(loose, context) >= profile.best_tokens_per_s_per_gpu(tight, context) * (
        1 - 1e-12
    )


@given(noisy_documents(), CONTEXT, TARGET_S)
def test_the_largest_concurrency_meets_its_target_and_any_more_does_not(
    whole: dict[str, Any], context: float, target_s: float
) -> None:
    profile = profile_from_document(whole).decode
    largest = profile.largest_concurrency(target_s, context)
    assume(largest > 0)

    assert profile.itl_s(largest, context) <= target_s + 1e-9
    assert largest <= profile.max_concurrency(context)
    if largest < profile.max_concurrency(context) * (1 - 1e-6):
        assert profile.itl_s(largest * (1 + 1e-6), context) >= target_s * (1 - 1e-9)


@given(noisy_documents(), CONTEXT, TARGET_S)
def test_zero_means_that_not_even_one_request_meets_the_target(
    whole: dict[str, Any], context: float, target_s: float
) -> None:
    profile = profile_from_document(whole).decode

    if profile.largest_concurrency(target_s, context) == 0:
        assert profile.max_concurrency(context) < 1 or profile.itl_s(1, context) > target_s


@given(noisy_documents())
def test_passes_through_every_point_that_was_kept(whole: dict[str, Any]) -> None:
    profile = profile_from_document(whole).decode

    for line in profile.lines:
        for concurrency, itl in zip(line.concurrency, line.itl_ms, strict=True):
            if concurrency * line.context_tokens <= profile.max_kv_tokens:
                assert profile.itl_s(concurrency, line.context_tokens) * 1000 == pytest.approx(itl)


def test_covers_each_measured_load() -> None:
    loads = [(n, context) for context in CONTEXTS for n in (1, 0.95 * MAX_KV_TOKENS // context)]

    assert [decode().covers(*load) for load in loads] == [True] * len(loads)


@given(tokens_per_s=st.floats(0, 30_000), context=st.floats(100, 20_000))
def test_the_settled_concurrency_is_the_fixed_point_of_littles_law(tokens_per_s: float, context: float) -> None:
    decode = h200().decode

    settled = decode.settled_concurrency(tokens_per_s, context)
    emitted = settled / decode.itl_s(settled, context)

    assert 1 <= settled <= max(1.0, decode.max_concurrency(context))
    if 1 < settled < decode.max_concurrency(context):
        assert emitted == pytest.approx(tokens_per_s, rel=1e-6)
    elif settled == 1:
        assert tokens_per_s <= emitted * (1 + 1e-9)


@pytest.mark.parametrize("context", [200, 3075, 20_000])
def test_more_tokens_a_second_never_settle_at_fewer_requests(context: float) -> None:
    decode = h200().decode

    settled = [decode.settled_concurrency(100.0 * i, context) for i in range(300)]

    assert settled == sorted(settled)


def test_itl_for_every_whole_concurrency_is_that_of_each() -> None:
    decode = h200().decode

    together = decode.itl_s_up_to(3075)

    assert len(together) == int(decode.max_concurrency(3075))
    assert list(together) == pytest.approx([decode.itl_s(n, 3075) for n in range(1, len(together) + 1)])
