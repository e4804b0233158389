"""How much prompt lengths vary, from buckets: near the truth for lengths as prompts have them, or absent."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.scaling.types import Absent
from planner.sources.prometheus.lengths import squared_variation

VLLM = [mantissa * 10**exponent for exponent in range(5) for mantissa in (1.0, 2.0, 5.0)] + [100_000.0]
DYNAMO = [0.0, *(round(50 * (128_000 / 50) ** (i / 11)) for i in range(12))]
NONE = dict.fromkeys(VLLM, 0.0) | {math.inf: 0.0}


def lognormal(mean: float, cv2: float) -> npt.NDArray[np.float64]:
    """Its quantiles, so that no test depends on a draw."""
    sigma2 = math.log1p(cv2)
    draws = np.random.default_rng(7).standard_normal(50_000)
    return np.exp(math.log(mean) - sigma2 / 2 + math.sqrt(sigma2) * draws)


def cumulative(lengths: npt.NDArray[np.float64], edges: list[float]) -> dict[float, float]:
    counts = {float(edge): float(np.count_nonzero(lengths <= edge)) for edge in edges}
    return {**counts, math.inf: float(len(lengths))}


def truth(lengths: npt.NDArray[np.float64]) -> float:
    return float(lengths.var() / lengths.mean() ** 2)


@pytest.mark.parametrize("edges", [VLLM, DYNAMO], ids=["vLLM", "Dynamo"])
@pytest.mark.parametrize("cv2", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("mean", [300, 1500, 6000])
def test_of_lognormal_lengths_it_is_right_within_a_tenth(mean: float, cv2: float, edges: list[float]) -> None:
    lengths = lognormal(mean, cv2)

    assert squared_variation(cumulative(lengths, edges)) == pytest.approx(truth(lengths), rel=0.1)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_of_chats_among_documents_it_is_right_within_a_quarter(share: float) -> None:
    chats, documents = lognormal(300, 0.4), lognormal(9000, 0.3)
    lengths = np.concatenate([chats, documents[: round(len(documents) * share / (1 - share)) or 1]])[: 2 * len(chats)]

    assert squared_variation(cumulative(lengths, VLLM)) == pytest.approx(truth(lengths), rel=0.25)


def test_prompts_that_are_all_alike_hardly_vary() -> None:
    assert squared_variation(cumulative(np.full(100, 3000.0), VLLM)) == pytest.approx(0.07, abs=0.01)


def test_engines_with_other_edges_do_not_make_a_count_fall() -> None:
    lengths = lognormal(1500, 1.0)
    narrow = {edge: count for edge, count in cumulative(lengths, VLLM).items() if edge <= 20_000 or edge == math.inf}
    wide = cumulative(lengths, VLLM)
    added = {edge: narrow.get(edge, 0.0) + wide[edge] for edge in wide}

    assert squared_variation(added) == pytest.approx(truth(lengths), rel=0.1)


@pytest.mark.parametrize(
    ("counts", "cause"),
    [
        pytest.param({}, "the histogram of prompt lengths has no edges", id="nothing"),
        pytest.param({math.inf: 9.0}, "the histogram of prompt lengths has no edges", id="no edge"),
        pytest.param({1000.0: 9.0}, "the histogram of prompt lengths has no edges", id="no total"),
        pytest.param({0.0: 0.0, math.inf: 9.0}, "the histogram of prompt lengths has no edges", id="an edge at 0"),
        pytest.param(NONE, "fewer than 5 prompts were measured", id="idle"),
        pytest.param({1000.0: 4.9, math.inf: 4.9}, "fewer than 5 prompts were measured", id="a few"),
        pytest.param(
            {1000.0: 89.0, math.inf: 100.0},
            "too many prompts are longer than the last edge of their histogram",
            id="long",
        ),
    ],
)  # fmt: skip
def test_what_does_not_tell_is_absent_with_the_cause(counts: dict[float, float], cause: str) -> None:
    assert squared_variation(counts) == Absent(cause)


@given(st.lists(st.floats(0, 1e6), min_size=len(VLLM) + 1, max_size=len(VLLM) + 1))
def test_whatever_is_counted_gives_a_finite_variation_or_a_cause(counts: list[float]) -> None:
    variation = squared_variation(dict(zip([*VLLM, math.inf], counts, strict=True)))

    assert isinstance(variation, Absent) or 0 <= variation < math.inf
