"""Single replicas, played by hand: when each token comes, and who waits for whom.

Timing throughout: a prompt takes 1 ms per token; a step takes 10 ms and, where said, 10 ms more per request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from planner.errors import UserError
from planner.sim.aggregated import AggregatedEngine
from planner.sim.decode import DecodeEngine
from planner.sim.flight import Flight
from planner.sim.loop import Loop
from planner.sim.pool import Engine
from planner.sim.prefill import Discipline, PrefillEngine
from planner.sim.timing import LinearTiming

STEPS = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010)


class Notes:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.token_count = 0
        self.gaps_s = 0.0
        self.finished_flights: list[Flight] = []

    def prompt_done(self, flight: Flight) -> None:
        flight.first_token_s = flight.prefill_end_s

    def first_token(self, flight: Flight) -> None:
        pass

    def tokens(self, count: int, seconds: float) -> None:
        self.token_count += count
        self.gaps_s += seconds

    def finished(self, flight: Flight) -> None:
        self.finished_flights.append(flight)


class Bench:
    """One engine on a clock of its own."""

    def __init__(self, kind: Callable[..., Engine], timing: LinearTiming = STEPS) -> None:
        self.loop = Loop()
        self.notes = Notes()
        self.idle_at_s: list[float] = []
        self.engine = kind(self.loop, timing, self.notes, lambda: self.idle_at_s.append(self.loop.now_s))

    def play(self, *requests: tuple[float, int, int], first_tokens: bool = True) -> list[Flight]:
        """Submit (time, isl, osl), to a decode engine with the first token just made or without, and run to the end."""
        flights = [Flight(at_s, isl, osl) for at_s, isl, osl in requests]
        for flight in flights:
            if isinstance(self.engine, DecodeEngine) and first_tokens:
                flight.first_token_s = flight.arrival_s
            self.loop.at(flight.arrival_s, lambda flight=flight: self.engine.submit(flight))  # type: ignore[misc]
        self.loop.run_until(1000.0)
        return flights


def test_prompts_are_served_one_at_a_time_in_order_of_arrival() -> None:
    first, second = Bench(PrefillEngine).play((0.0, 100, 1), (0.05, 10, 1))

    assert (first.prefill_start_s, first.first_token_s) == pytest.approx((0.0, 0.100))
    assert (second.prefill_start_s, second.first_token_s) == pytest.approx((0.100, 0.110))


def test_a_request_without_its_first_token_gets_it_with_its_first_step() -> None:
    """Steps of 10 ms; the second comes in the middle of one, joins at 0.020, and has its first token at 0.030."""
    bench = Bench(DecodeEngine)
    first, second = bench.play((0.0, 5, 4), (0.015, 5, 2), first_tokens=False)

    assert (first.first_token_s, first.finish_s) == pytest.approx((0.010, 0.040))
    assert (second.first_token_s, second.finish_s) == pytest.approx((0.030, 0.040))
    assert bench.notes.token_count == 4  # 3 and 1 after the first
    assert bench.notes.gaps_s == pytest.approx(0.040)


def test_a_newcomer_joins_the_batch_at_the_next_step_boundary() -> None:
    first, second = Bench(DecodeEngine).play((0.0, 5, 5), (0.015, 5, 3))

    assert first.finish_s == pytest.approx(0.040)  # 4 steps of 10 ms
    assert second.finish_s == pytest.approx(0.040)  # in at 0.020, then 2 steps


def test_a_larger_batch_steps_more_slowly_for_everyone() -> None:
    timing = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.0, step_s_per_request=0.010)

    first, second = Bench(DecodeEngine, timing).play((0.0, 5, 5), (0.015, 5, 3))

    assert first.finish_s == pytest.approx(0.060)  # 2 steps alone, 2 of 20 ms together
    assert second.finish_s == pytest.approx(0.060)


def test_a_request_waits_until_its_whole_kv_cache_fits_and_nobody_overtakes_it() -> None:
    timing = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010, max_kv_tokens=100)

    first, second, third = Bench(DecodeEngine, timing).play((0.0, 50, 11), (0.001, 45, 11), (0.002, 5, 3))

    assert first.finish_s == pytest.approx(0.100)
    assert second.finish_s == pytest.approx(0.200)  # 61 + 56 tokens exceed 100
    assert third.finish_s == pytest.approx(0.120)  # would have fitted at once, but is third in line


def test_no_more_run_together_than_were_measured() -> None:
    timing = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010, concurrency_limit=1)

    first, second = Bench(DecodeEngine, timing).play((0.0, 5, 2), (0.0, 5, 2))

    assert (first.finish_s, second.finish_s) == pytest.approx((0.010, 0.020))


def test_the_gaps_it_reports_are_the_gaps_the_requests_saw() -> None:
    bench = Bench(DecodeEngine, LinearTiming(0.001, 0.010, 0.001, max_kv_tokens=200))

    flights = bench.play(*((i * 0.007, 20 + i, 5 + i) for i in range(20)))

    seen_s = sum((flight.finish_s or 0.0) - flight.arrival_s for flight in flights)
    assert bench.notes.gaps_s == pytest.approx(seen_s)
    assert bench.notes.token_count == sum(flight.osl - 1 for flight in flights)


def test_a_prompt_stalls_the_batch_and_waits_for_the_step_under_way() -> None:
    bench = Bench(AggregatedEngine)

    first, second = bench.play((0.0, 20, 4), (0.035, 30, 2))

    assert first.first_token_s == pytest.approx(0.020)
    assert second.prefill_start_s == pytest.approx(0.040)  # two steps after 0.020
    assert second.first_token_s == pytest.approx(0.070)
    assert first.finish_s == pytest.approx(0.080)  # third step, 30 ms late
    assert second.finish_s == pytest.approx(0.080)
    assert bench.notes.gaps_s == pytest.approx(0.060 + 0.010)
    assert bench.idle_at_s == pytest.approx([0.080])


def test_waiting_prompts_take_turns_with_steps() -> None:
    first, second, third = Bench(AggregatedEngine).play((0.0, 10, 9), (0.0, 10, 9), (0.0, 10, 9))

    assert [flight.first_token_s for flight in (first, second, third)] == pytest.approx([0.010, 0.030, 0.050])


def test_an_aggregated_replica_answers_one_token_requests_without_a_step() -> None:
    first, second = Bench(AggregatedEngine).play((0.0, 10, 1), (0.0, 10, 1))

    assert (first.finish_s, second.finish_s) == pytest.approx((0.010, 0.020))


def test_steps_stretch_by_the_share_of_time_spent_on_prompts() -> None:
    bench = Bench(AggregatedEngine)
    # One long answer, and a prompt of 10 ms every 40 ms: a duty of a quarter.
    flights = bench.play((0.0, 1, 1001), *((0.1 + i * 0.040, 10, 1) for i in range(200)))

    lasted_s = flights[-1].arrival_s - flights[1].arrival_s
    steps_lost = 199 * 0.010 / 0.010
    assert flights[0].finish_s == pytest.approx(0.001 + 10.0 + 200 * 0.010)
    assert lasted_s / 0.010 - steps_lost == pytest.approx(lasted_s / (0.010 / (1 - 0.25)))


def test_prompts_share_steps_of_a_token_budget_and_are_cut_where_it_ends() -> None:
    """Steps of 60 tokens: the first prompt alone (50), then 30 + 20 + 10 of 40, then the other 30 and 5."""
    kind = partial(PrefillEngine, discipline=Discipline(step_tokens=60))
    flights = Bench(kind).play((0.0, 50, 1), (0.01, 30, 1), (0.02, 20, 1), (0.03, 40, 1), (0.06, 5, 1))

    assert [flight.prefill_start_s for flight in flights] == pytest.approx([0.0, 0.050, 0.050, 0.050, 0.110])
    assert [flight.first_token_s for flight in flights] == pytest.approx([0.050, 0.110, 0.110, 0.145, 0.145])


def test_a_prompt_longer_than_the_budget_takes_several_steps() -> None:
    kind = partial(PrefillEngine, discipline=Discipline(step_tokens=60))
    bench = Bench(kind)
    (flight,) = bench.play((0.0, 150, 1))

    assert (flight.prefill_start_s, flight.first_token_s) == pytest.approx((0.0, 0.150))
    assert (bench.engine.waiting, bench.engine.running, bench.engine.held_tokens) == (0, 0, 0)
    assert bench.idle_at_s == pytest.approx([0.150])


def test_first_tokens_are_held_until_nobody_waits() -> None:
    kind = partial(PrefillEngine, discipline=Discipline(holds=True))
    flights = Bench(kind).play((0.0, 100, 1), (0.05, 50, 1), (0.12, 30, 1), (0.5, 10, 1))

    assert [flight.first_token_s for flight in flights] == pytest.approx([0.180, 0.180, 0.180, 0.510])


def test_a_held_token_leaves_when_its_place_is_needed() -> None:
    """Two places: both hold one at 0.150, so the oldest leaves and the third prompt begins."""
    kind = partial(PrefillEngine, discipline=Discipline(places=2, holds=True))
    flights = Bench(kind).play((0.0, 100, 1), (0.05, 50, 1), (0.12, 30, 1), (0.12, 40, 1))

    assert [flight.first_token_s for flight in flights] == pytest.approx([0.150, 0.180, 0.220, 0.220])


def test_a_step_takes_no_more_prompts_than_there_are_places() -> None:
    kind = partial(PrefillEngine, discipline=Discipline(step_tokens=1000, places=2))
    flights = Bench(kind).play((0.0, 100, 1), (0.01, 10, 1), (0.02, 10, 1), (0.03, 10, 1))

    assert [flight.prefill_start_s for flight in flights] == pytest.approx([0.0, 0.100, 0.100, 0.120])


def test_a_discipline_that_holds_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="step_tokens: 0 must be 1 or more"):
        Discipline(step_tokens=0)
    with pytest.raises(UserError, match="places: 0 must be 1 or more"):
        Discipline(places=0)
