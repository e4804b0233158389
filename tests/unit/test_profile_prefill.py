"""TTFT and prefill throughput between, below and above the measured lengths."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_documents import changed, document, noisy_documents, ttft_ms

from planner.scaling.profile import PrefillProfile, profile_from_document

ISL = st.floats(1, 200_000)


def prefill() -> PrefillProfile:
    return profile_from_document(document()).prefill


def test_passes_through_every_measured_point() -> None:
    points = prefill().points

    assert [prefill().ttft_s(isl) * 1000 for isl in points.isl_tokens] == pytest.approx(points.ttft_ms)
    assert [prefill().tokens_per_s_per_gpu(isl) for isl in points.isl_tokens] == pytest.approx(
        points.tokens_per_s_per_gpu
    )


@pytest.mark.parametrize("isl", [300, 1500, 3000, 6000])
def test_follows_the_machines_law_between_the_points(isl: float) -> None:
    assert prefill().ttft_s(isl) * 1000 == pytest.approx(ttft_ms(isl), rel=0.02)


def test_a_prompt_shorter_than_measured_takes_the_time_of_the_shortest() -> None:
    assert prefill().ttft_s(10) == prefill().ttft_s(100)
    assert not prefill().covers(99)


def test_a_prompt_longer_than_measured_runs_at_the_throughput_of_the_longest() -> None:
    assert prefill().ttft_s(80_000) == pytest.approx(10 * prefill().ttft_s(8000))
    assert prefill().tokens_per_s_per_gpu(80_000) == pytest.approx(prefill().tokens_per_s_per_gpu(8000))
    assert not prefill().covers(8001)


def test_covers_what_was_measured_ends_included() -> None:
    assert [prefill().covers(isl) for isl in (100, 3000, 8000)] == [True, True, True]
    assert prefill().isl_range == (100, 8000)


def test_keeps_the_filed_throughput_when_several_attention_ranks_share_the_work() -> None:
    filed = [2 * throughput for throughput in document()["prefill"]["tokens_per_s_per_gpu"]]

    profile = profile_from_document(changed("prefill.tokens_per_s_per_gpu", filed))

    assert profile.prefill.tokens_per_s_per_gpu(2000) == pytest.approx(filed[2])
    assert profile.prefill.ttft_s(2000) == prefill().ttft_s(2000)


@pytest.mark.parametrize("isl", [0.0, -1.0, float("nan"), float("inf")])
def test_refuses_a_length_that_no_prompt_has(isl: float) -> None:
    with pytest.raises(ValueError, match=r"isl_tokens: .* must be a positive, finite number of tokens"):
        prefill().ttft_s(isl)


def test_the_profile_is_a_shared_value_and_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        prefill()._ttft_s[0] = 0.0


@given(noisy_documents(), st.lists(ISL, min_size=2, max_size=20))
def test_a_longer_prompt_never_takes_less_time(whole: dict[str, object], lengths: list[float]) -> None:
    profile = profile_from_document(whole).prefill
    times = [profile.ttft_s(isl) for isl in sorted(lengths)]

    assert all(after >= before for before, after in pairwise(times))


@given(noisy_documents(), st.lists(ISL, min_size=1, max_size=20))
def test_many_lengths_at_once_give_what_each_gives_alone(whole: dict[str, object], lengths: list[float]) -> None:
    profile = profile_from_document(whole).prefill

    assert list(profile.ttft_s_many(np.array(lengths))) == [profile.ttft_s(isl) for isl in lengths]
