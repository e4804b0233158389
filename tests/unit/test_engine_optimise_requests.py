"""From single requests to what the optimiser is told, and what a request may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.engine.optimise.requests import EngineRequest, gather
from planner.engine.optimise.slo import agreed_ms
from planner.engine.optimise.types import Decodes, Prompt, Work
from planner.engine.settings import SLASchedulerConfig

CONFIG = SLASchedulerConfig()


@pytest.mark.parametrize(
    ("request_", "in_prefill", "needed"),
    [
        pytest.param(EngineRequest("a", 100, 100), True, 100, id="new"),
        pytest.param(EngineRequest("a", 100, 100, 64), True, 36, id="prefix hit or chunked"),
        pytest.param(EngineRequest("a", 100, 101, 100), False, 1, id="decodes"),
        pytest.param(EngineRequest("a", 100, 130, 129), False, 1, id="decodes on"),
        pytest.param(EngineRequest("a", 100, 175, 100), True, 75, id="recomputes its outputs"),
        pytest.param(EngineRequest("a", 100, 130, 129, num_spec_tokens=3), False, 4, id="speculates"),
        pytest.param(EngineRequest("a", 100, 100, 100, num_output_placeholders=1), False, 1, id="one step in flight"),
    ],
)
def test_what_a_request_needs_and_in_which_phase_it_is(request_: EngineRequest, in_prefill: bool, needed: int) -> None:
    assert (request_.in_prefill, request_.needed_tokens) == (in_prefill, needed)


def test_decodes_are_summed_and_prompts_kept_single() -> None:
    running = [
        EngineRequest("d1", 100, 130, 129, slo_tpot_ms=30),
        EngineRequest("p1", 200, 200, 50, age_ms=70, held_steps=2, slo_ttft_ms=300),
        EngineRequest("d2", 100, 150, 149, num_spec_tokens=2),
        EngineRequest("in flight", 100, 150, 150),
    ]
    waiting = [EngineRequest("w1", 80, 80, 16, age_ms=10)]

    assert gather(running, waiting, 7, CONFIG) == Work(
        Decodes(requests=2, tokens=4, kv_tokens=130 + 152, tightest_tpot_ms=30.0),
        (Prompt("p1", 50, 150, 70, 300.0, 2),),
        (Prompt("w1", 16, 64, 10, 500.0),),
        7,
    )


def test_without_decodes_no_agreement_binds() -> None:
    assert gather([], [], 0, CONFIG) == Work(Decodes(0, 0, 0, None))


def test_no_more_of_the_queue_is_read_than_is_looked_at() -> None:
    read: list[int] = []

    def queue() -> Iterator[EngineRequest]:
        for i in range(1000):
            read.append(i)
            yield EngineRequest(f"w{i}", 10, 10)

    work = gather([], queue(), 1000, SLASchedulerConfig(look_ahead=3))

    assert [each.id for each in work.waiting] == ["w0", "w1", "w2"]
    assert read == [0, 1, 2]


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [
        pytest.param(40, 40, id="sensible"),
        pytest.param(40.5, 40.5, id="a fraction"),
        pytest.param(1, 25, id="too tight"),
        pytest.param(10**400, 1000, id="too loose, beyond any float"),
        *(
            pytest.param(nonsense, 50, id=repr(nonsense))
            for nonsense in (None, 0, -3, True, "40", float("nan"), float("inf"), [40], {"ms": 40})
        ),
    ],
)
def test_a_request_may_ask_for_from_half_to_twenty_times_the_target(asked: object, agreed: float) -> None:
    assert agreed_ms(asked, 50.0, 0.5, 20.0) == agreed


anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))


@given(anything)
def test_whatever_is_asked_the_agreement_is_within_its_bounds(asked: object) -> None:
    assert 25.0 <= agreed_ms(asked, 50.0, 0.5, 20.0) <= 1000.0
