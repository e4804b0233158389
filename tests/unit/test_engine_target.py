"""The adaptive target: short steps when idle, up to the agreement as requests wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.engine.optimise.types import Decodes, Prompt, Work
from planner.engine.settings import SLASchedulerConfig
from planner.engine.target import Aim, aim

CONFIG = SLASchedulerConfig()
"""From 15 ms to a TPOT of 50 at 5 waiting; TTFT 500 ms."""


def work(queue: int = 0, *, tpot_ms: float | None = 50, oldest_ms: float | None = None) -> Work:
    prompts = () if oldest_ms is None else (Prompt("new", 0, 9, 0, 500), Prompt("old", 0, 9, oldest_ms, 500))
    return Work(Decodes(1, 1, 10, tpot_ms), prompts[:1], prompts[1:], queue)


@pytest.mark.parametrize(
    ("given_work", "decodes_ms", "target_ms", "short"),
    [
        pytest.param(work(0), 5, 15, False, id="nothing waits"),
        pytest.param(work(1), 5, 22, False, id="one waits: 15 + 7"),
        pytest.param(work(5), 5, 50, False, id="the threshold waits"),
        pytest.param(work(1000), 5, 50, False, id="many wait"),
        pytest.param(work(0), 30, 30, False, id="the decodes alone take longer than T_min"),
        pytest.param(work(0), 60, 50, True, id="and longer than agreed"),
        pytest.param(work(5, tpot_ms=30), 5, 30, False, id="a tighter agreement"),
        pytest.param(work(2, tpot_ms=100), 5, 49, False, id="a looser agreement: 15 + 2 * 17"),
        pytest.param(work(5, tpot_ms=10), 5, 10, False, id="an agreement below T_min"),
        pytest.param(work(5, tpot_ms=None), 0, 50, False, id="no decodes"),
        pytest.param(work(1, oldest_ms=50), 5, 22, False, id="young enough"),
        pytest.param(work(1, oldest_ms=250), 40, 40, False, id="raised less than the decodes take"),
        pytest.param(work(1, oldest_ms=500), 50, 50, True, id="past its TTFT, and the target at its end"),
    ],
)
def test_the_target(given_work: Work, decodes_ms: float, target_ms: float, short: bool) -> None:
    assert aim(given_work, decodes_ms, CONFIG) == Aim(target_ms, short)


@pytest.mark.parametrize(
    ("oldest_ms", "target_ms", "short", "share"),
    [
        pytest.param(250, 32.5, False, "50%", id="half its TTFT"),
        pytest.param(500, 50, True, "100%", id="all"),
        pytest.param(900, 50, True, "180%", id="more"),
    ],
)
def test_age_raises_the_target(oldest_ms: float, target_ms: float, short: bool, share: str) -> None:
    chosen = aim(work(1, oldest_ms=oldest_ms), 5, CONFIG)

    assert (chosen.target_ms, chosen.capacity_short) == (target_ms, short)
    assert [str(reason) for reason in chosen.reasons] == [
        f"target raised from 22.0 to {target_ms:.1f} ms: the oldest prompt has waited {share} of its TTFT"
    ]


times_ms = st.floats(0.1, 5000)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(1, 200), times_ms, st.floats(0, 200), st.floats(0, 200))
def test_more_load_never_lowers_the_target_and_it_stays_within_the_agreement(
    queue: int, more: int, tpot_ms: float, oldest_ms: float, decodes_ms: float, longer_ms: float
) -> None:
    before = aim(work(queue, tpot_ms=tpot_ms, oldest_ms=oldest_ms), decodes_ms, CONFIG)
    after = aim(work(queue + more, tpot_ms=tpot_ms, oldest_ms=2 * oldest_ms), decodes_ms + longer_ms, CONFIG)

    assert min(15, tpot_ms) <= before.target_ms <= after.target_ms <= tpot_ms
    assert before.capacity_short <= after.capacity_short
