"""Single replicas, played by hand: when each token comes, and who waits for whom.

Timing throughout: a prompt takes 1 ms per token; a step takes 10 ms and, where said, 10 ms more per request.
"""

from __future__ import annotations

import pytest

from planner.errors import UserError
from planner.sim.batching import BatchingEngine
from planner.sim.engine import Discipline, Engine
from planner.sim.flight import Flight
from planner.sim.loop import Loop
from planner.sim.prefill import PrefillEngine
from planner.sim.timing import LinearTiming

STEPS = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010)
WHOLE_PROMPTS = Discipline()


class Notes:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.token_count = 0
        self.gaps_s = 0.0
        self.finished_flights: list[Flight] = []
        self.preempted_flights: list[Flight] = []

    def prompt_done(self, flight: Flight) -> None:
        assert flight.prefill_end_s is not None
        flight.write_first(flight.prefill_end_s)

    def first_token(self, flight: Flight) -> None:
        pass

    def tokens(self, count: int, seconds: float) -> None:
        self.token_count += count
        self.gaps_s += seconds

    def preempted(self, flight: Flight) -> None:
        self.preempted_flights.append(flight)

    def finished(self, flight: Flight) -> None:
        self.finished_flights.append(flight)


class Bench:
    """One engine on a clock of its own."""

    def __init__(
        self, kind: type[Engine], timing: LinearTiming = STEPS, discipline: Discipline = WHOLE_PROMPTS
    ) -> None:
        self.loop = Loop()
        self.notes = Notes()
        self.idle_at_s: list[float] = []
        self.engine = kind(self.loop, timing, self.notes, discipline, lambda: self.idle_at_s.append(self.loop.now_s))

    def play(
        self, *requests: tuple[float, int, int], computed: bool = False, first_tokens: bool = True
    ) -> list[Flight]:
        """Submit (time, isl, osl) and run to the end.

        `computed`: the prompt was computed elsewhere, and, with `first_tokens`, the first token just written there.
        """
        flights = [Flight(at_s, isl, osl, 0 if computed else isl) for at_s, isl, osl in requests]
        for flight in flights:
            if computed and first_tokens:
                flight.write_first(flight.arrival_s)
            self.loop.at(flight.arrival_s, lambda flight=flight: self.engine.submit(flight))  # type: ignore[misc]
        self.loop.run_until(1000.0)
        return flights


def decode(timing: LinearTiming, *requests: tuple[float, int, int]) -> list[Flight]:
    """What a decode replica makes of requests that have their first token."""
    return Bench(BatchingEngine, timing).play(*requests, computed=True)


def test_prompts_are_served_one_at_a_time_in_order_of_arrival() -> None:
    first, second = Bench(PrefillEngine).play((0.0, 100, 1), (0.05, 10, 1))

    assert (first.prefill_start_s, first.first_token_s) == pytest.approx((0.0, 0.100))
    assert (second.prefill_start_s, second.first_token_s) == pytest.approx((0.100, 0.110))


def test_a_request_without_its_first_token_gets_it_with_its_first_step() -> None:
    """Steps of 10 ms; the second comes in the middle of one, joins at 0.020, and has its first token at 0.030."""
    bench = Bench(BatchingEngine)
    first, second = bench.play((0.0, 5, 4), (0.015, 5, 2), computed=True, first_tokens=False)

    assert (first.first_token_s, first.finish_s) == pytest.approx((0.010, 0.040))
    assert (second.first_token_s, second.finish_s) == pytest.approx((0.030, 0.040))
    assert bench.notes.token_count == 4  # 3 and 1 after the first
    assert bench.notes.gaps_s == pytest.approx(0.040)


def test_a_newcomer_joins_the_batch_at_the_next_step_boundary() -> None:
    first, second = decode(STEPS, (0.0, 5, 5), (0.015, 5, 3))

    assert first.finish_s == pytest.approx(0.040)  # 4 steps of 10 ms
    assert second.finish_s == pytest.approx(0.040)  # in at 0.020, then 2 steps


def test_a_larger_batch_steps_more_slowly_for_everyone() -> None:
    timing = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.0, step_s_per_request=0.010)

    first, second = decode(timing, (0.0, 5, 5), (0.015, 5, 3))

    assert first.finish_s == pytest.approx(0.060)  # 2 steps alone, 2 of 20 ms together
    assert second.finish_s == pytest.approx(0.060)


def test_a_request_waits_until_what_it_has_fits_and_nobody_overtakes_it() -> None:
    """Tokens before the joint step: 50 + 10 written by the first when it ends at 0.090; 45 + 50 would not fit 90."""
    timing = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010, max_kv_tokens=90)

    first, second, third = decode(timing, (0.0, 50, 10), (0.001, 45, 11), (0.002, 5, 3))

    assert first.finish_s == pytest.approx(0.090)
    assert second.finish_s == pytest.approx(0.190)
    assert third.finish_s == pytest.approx(0.110)  # would have fitted at once, but is third in line


def test_the_newest_is_preempted_when_the_kv_cache_is_full_and_computed_anew() -> None:
    """The second joins at 0.010, which makes 37 tokens; four steps later there is room for one more, not for two."""
    timing = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010, max_kv_tokens=46)
    bench = Bench(BatchingEngine, timing)
    first, second = bench.play((0.0, 20, 11), (0.0, 14, 11), computed=True)

    assert bench.notes.preempted_flights == [second]
    assert first.finish_s == pytest.approx(0.100)
    # From 0.100: 14 + 5 tokens are computed in 19 ms and yield the sixth; five more steps.
    assert second.finish_s == pytest.approx(0.169)
    assert bench.notes.token_count == 20
    assert bench.notes.gaps_s == pytest.approx(0.100 + 0.169)
    assert bench.engine.held_tokens == 0


def test_no_more_run_together_than_were_measured() -> None:
    timing = LinearTiming(prefill_s_per_token=0.001, step_base_s=0.010, concurrency_limit=1)

    first, second = decode(timing, (0.0, 5, 2), (0.0, 5, 2))

    assert (first.finish_s, second.finish_s) == pytest.approx((0.010, 0.020))


def test_the_gaps_it_reports_are_the_gaps_the_requests_saw() -> None:
    bench = Bench(BatchingEngine, LinearTiming(0.001, 0.010, 0.001, max_kv_tokens=200))

    flights = bench.play(*((i * 0.007, 20 + i, 5 + i) for i in range(20)), computed=True)

    assert bench.notes.preempted_flights, "nothing made it interesting"

    seen_s = sum((flight.finish_s or 0.0) - flight.arrival_s for flight in flights)
    assert bench.notes.gaps_s == pytest.approx(seen_s)
    assert bench.notes.token_count == sum(flight.osl - 1 for flight in flights)


def test_a_prompt_stretches_the_step_it_is_computed_in() -> None:
    bench = Bench(BatchingEngine)

    first, second = bench.play((0.0, 20, 5), (0.035, 30, 2))

    assert first.first_token_s == pytest.approx(0.020)
    assert second.prefill_start_s == pytest.approx(0.040)  # two steps after 0.020
    assert second.first_token_s == pytest.approx(0.080)  # 30 ms of prompt, and a step for the first
    assert first.finish_s == pytest.approx(0.090)
    assert second.finish_s == pytest.approx(0.090)
    assert bench.notes.gaps_s == pytest.approx(0.070 + 0.010)
    assert bench.idle_at_s == pytest.approx([0.090])


def test_whole_prompts_are_computed_one_a_step() -> None:
    flights = Bench(BatchingEngine).play((0.0, 10, 9), (0.0, 10, 9), (0.0, 10, 9))

    assert [flight.first_token_s for flight in flights] == pytest.approx([0.010, 0.030, 0.050])


def test_one_token_requests_need_no_step() -> None:
    first, second = Bench(BatchingEngine).play((0.0, 10, 1), (0.0, 10, 1))

    assert (first.finish_s, second.finish_s) == pytest.approx((0.010, 0.020))


def test_steps_stretch_by_the_share_of_time_spent_on_prompts() -> None:
    bench = Bench(BatchingEngine)
    # One long answer, and a prompt of 10 ms every 40 ms: a duty of a quarter.
    flights = bench.play((0.0, 1, 1001), *((0.1 + i * 0.040, 10, 1) for i in range(200)))

    assert flights[0].finish_s == pytest.approx(0.001 + 10.0 + 200 * 0.010)


def test_a_long_prompt_is_computed_in_chunks_beside_the_batch() -> None:
    """Budget 21: one decoding request leaves 20 tokens a step, so 50 tokens take 20, 20 and 10, each with a step."""
    bench = Bench(BatchingEngine, discipline=Discipline(step_tokens=21))

    first, second = bench.play((0.0, 20, 9), (0.020, 50, 2))

    assert first.first_token_s == pytest.approx(0.020)
    assert second.prefill_start_s == pytest.approx(0.020)
    assert second.first_token_s == pytest.approx(0.020 + 0.050 + 3 * 0.010)
    assert first.finish_s == pytest.approx(0.020 + 0.050 + 8 * 0.010)


def test_short_prompts_share_the_budget_of_a_step() -> None:
    bench = Bench(BatchingEngine, discipline=Discipline(step_tokens=25))

    flights = bench.play((0.0, 10, 1), (0.0, 10, 1), (0.0, 10, 1), (0.0, 10, 1))

    # The first came alone; then 10 + 10 + 5, then the other 5.
    assert [flight.first_token_s for flight in flights] == pytest.approx([0.010, 0.035, 0.035, 0.040])


def test_a_budget_that_decoding_uses_up_lets_prompts_trickle() -> None:
    bench = Bench(BatchingEngine, discipline=Discipline(step_tokens=1))

    _, second = bench.play((0.0, 1, 100), (0.001, 3, 1))

    assert second.first_token_s == pytest.approx(0.001 + 3 * 0.011)


def test_a_killed_engine_gives_everything_back_and_falls_silent() -> None:
    bench = Bench(BatchingEngine, discipline=Discipline(step_tokens=21))
    bench.loop.at(0.035, lambda: killed.extend(bench.engine.kill()))
    killed: list[Flight] = []

    flights = bench.play((0.0, 20, 9), (0.020, 50, 2), (0.030, 5, 1))

    assert set(killed) == set(flights)
    assert bench.notes.finished_flights == []
    assert [flight.finish_s for flight in flights] == [None, None, None]


def test_prompts_share_steps_of_a_token_budget_and_are_cut_where_it_ends() -> None:
    """Steps of 60 tokens: the first prompt alone (50), then 30 + 20 + 10 of 40, then the other 30 and 5."""
    discipline = Discipline(step_tokens=60)
    flights = Bench(PrefillEngine, discipline=discipline).play(
        (0.0, 50, 1), (0.01, 30, 1), (0.02, 20, 1), (0.03, 40, 1), (0.06, 5, 1)
    )

    assert [flight.prefill_start_s for flight in flights] == pytest.approx([0.0, 0.050, 0.050, 0.050, 0.110])
    assert [flight.first_token_s for flight in flights] == pytest.approx([0.050, 0.110, 0.110, 0.145, 0.145])


def test_a_prompt_longer_than_the_budget_takes_several_steps() -> None:
    discipline = Discipline(step_tokens=60)
    bench = Bench(PrefillEngine, discipline=discipline)
    (flight,) = bench.play((0.0, 150, 1))

    assert (flight.prefill_start_s, flight.first_token_s) == pytest.approx((0.0, 0.150))
    assert (len(bench.engine.queue), bench.engine.running, bench.engine.held_tokens) == (0, 0, 0)
    assert bench.idle_at_s == pytest.approx([0.150])


def test_first_tokens_are_held_until_nobody_waits() -> None:
    discipline = Discipline(holds=True)
    flights = Bench(PrefillEngine, discipline=discipline).play(
        (0.0, 100, 1), (0.05, 50, 1), (0.12, 30, 1), (0.5, 10, 1)
    )

    assert [flight.first_token_s for flight in flights] == pytest.approx([0.180, 0.180, 0.180, 0.510])


def test_a_held_token_leaves_when_its_place_is_needed() -> None:
    """Two places: both hold one at 0.150, so the oldest leaves and the third prompt begins."""
    discipline = Discipline(places=2, holds=True)
    flights = Bench(PrefillEngine, discipline=discipline).play(
        (0.0, 100, 1), (0.05, 50, 1), (0.12, 30, 1), (0.12, 40, 1)
    )

    assert [flight.first_token_s for flight in flights] == pytest.approx([0.150, 0.180, 0.220, 0.220])


def test_a_step_takes_no_more_prompts_than_there_are_places() -> None:
    discipline = Discipline(step_tokens=1000, places=2)
    flights = Bench(PrefillEngine, discipline=discipline).play(
        (0.0, 100, 1), (0.01, 10, 1), (0.02, 10, 1), (0.03, 10, 1)
    )

    assert [flight.prefill_start_s for flight in flights] == pytest.approx([0.0, 0.100, 0.100, 0.120])


def test_a_discipline_that_holds_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="step_tokens: 0 must be 1 or more"):
        Discipline(step_tokens=0)
    with pytest.raises(UserError, match="places: 0 must be 1 or more"):
        Discipline(places=0)
