"""Made-up traffic: rates have the integrals they promise, arrivals their variability, lengths their distribution.

Draws are checked within 5 standard deviations of the estimate; a seed is fixed, so a test that passes keeps passing.
"""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from statistics import correlation, fmean, stdev
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from planner.cli.generate import command
from planner.errors import UserError
from planner.sim import shapes
from planner.sim.generators import SAMPLE, Traffic, correlated, empirical_lengths, generated, lognormal_lengths
from planner.sim.loads import Request, Stretch, gamma_arrivals
from planner.sim.shapes import LoadError
from planner.sim.trace_writer import write_trace
from planner.sim.traces import load_trace

LENGTHS = lognormal_lengths(isl=100, osl=20, isl_cv=0, osl_cv=0)


def integral(shape: Iterable[Stretch]) -> float:
    return sum((end_s - start_s) * rate_per_s for start_s, end_s, rate_per_s in shape)


def arrivals_s(shape: Iterable[Stretch], cv: float = 1.0, seed: int = 0) -> list[float]:
    return [request.arrival_s for request in generated(shape, Traffic(LENGTHS, cv), seed)]


def counts(times_s: Iterable[float], window_s: float, windows: int) -> list[int]:
    counted = Counter(int(t_s // window_s) for t_s in times_s)
    return [counted[window] for window in range(windows)]


# Shapes


durations = st.floats(0.5, 1e6)
rates = st.floats(0.01, 1e3)


@given(share=st.floats(0.01, 2), rate=rates, more=rates, period_s=durations, seed=st.integers(0, 9))
def test_every_shape_fills_its_duration_without_gaps(
    share: float, rate: float, more: float, period_s: float, seed: int
) -> None:
    duration_s = share * period_s
    for shape in (
        shapes.constant(duration_s, rate),
        shapes.ramp(duration_s, rate, more),
        shapes.steps(duration_s, [rate, 0.0, more]),
        shapes.diurnal(duration_s, rate, rate + more, period_s),
        shapes.day_shape(duration_s, [rate, more, 0.0], period_s),
        shapes.weekly(shapes.day_shape(duration_s, [rate, more], period_s), 0.5, period_s),
        shapes.bursts(duration_s, rate, rate + more, period_s, period_s / 9, seed),
        shapes.swings(duration_s, 0.5, period_s, seed),
    ):
        stretches = list(shape)
        assert stretches[0].start_s == 0
        assert stretches[-1].end_s == pytest.approx(duration_s, rel=1e-9)
        assert all(before.end_s == after.start_s for before, after in pairwise(stretches))
        assert all(start_s < end_s and rate_per_s >= 0 for start_s, end_s, rate_per_s in stretches)


@given(duration_s=durations, rate=rates, peak=rates)
def test_a_ramp_carries_the_mean_of_its_ends(duration_s: float, rate: float, peak: float) -> None:
    stretches = list(shapes.ramp(duration_s, rate, peak))

    assert integral(stretches) == pytest.approx(duration_s * (rate + peak) / 2, rel=1e-9)
    assert stretches[0].rate_per_s == pytest.approx(rate, abs=abs(peak - rate) / 1000)
    assert stretches[-1].rate_per_s == pytest.approx(peak, abs=abs(peak - rate) / 1000)


@given(share=st.floats(0.01, 3), rate=rates, swing=rates, period_s=st.floats(10, 1e5))
def test_a_day_carries_the_integral_of_its_sine(share: float, rate: float, swing: float, period_s: float) -> None:
    duration_s = share * period_s
    turn = math.tau / period_s
    # The integral of rate + swing * (1 - cos(turn * t)) / 2 from 0 to the end.
    expected = (rate + swing / 2) * duration_s - swing / 2 * math.sin(turn * duration_s) / turn

    assert integral(shapes.diurnal(duration_s, rate, rate + swing, period_s)) == pytest.approx(expected, rel=1e-9)


def test_a_day_begins_at_its_trough_and_peaks_at_noon() -> None:
    stretches = list(shapes.diurnal(86_400, 0, 10))

    assert [stretches[hour * 60].rate_per_s for hour in (0, 6, 12, 18)] == pytest.approx([0, 5, 10, 5], abs=0.03)


def test_a_day_shape_repeats() -> None:
    assert list(shapes.day_shape(50, [1.0, 4.0], 40)) == [(0, 20, 1.0), (20, 40, 4.0), (40, 50, 1.0)]


def test_a_weekend_is_the_sixth_and_the_seventh_day() -> None:
    daily = [stretch.rate_per_s for stretch in shapes.weekly(shapes.day_shape(90, [4.0], 10), 0.25, 10)]

    assert daily == [4.0] * 5 + [1.0] * 2 + [4.0] * 2


def test_bursts_take_their_share_of_the_time() -> None:
    stretches = list(shapes.bursts(1e6, 2, 20, period_s=100, burst_s=20, seed=1))
    peaks_s = [end_s - start_s for start_s, end_s, rate_per_s in stretches if rate_per_s == 20]

    # Exponential durations: the mean of n of them has a relative standard deviation of 1/sqrt(n).
    assert fmean(peaks_s) == pytest.approx(20, rel=5 / math.sqrt(len(peaks_s)))
    assert len(peaks_s) == pytest.approx(10_000, abs=5 * math.sqrt(10_000))
    assert {rate_per_s for _, _, rate_per_s in stretches} == {2, 20}


def test_swings_keep_their_mean_and_spread_and_forget_over_their_memory() -> None:
    memory, steps = 60, 600_000
    levels = [stretch.rate_per_s for stretch in islice(shapes.swings(1e9, 0.5, 60, seed=2), steps)]
    # Five memories apart, neighbours are as good as independent.
    apart = levels[:: 5 * memory]
    logs = [math.log(level) for level in levels]

    assert fmean(apart) == pytest.approx(1, abs=5 * 0.5 / math.sqrt(len(apart)))
    # A lognormal of CV 0.5 has a kurtosis of 8, so this is its standard deviation's own relative error.
    assert stdev(apart) == pytest.approx(0.5, rel=5 * math.sqrt((8 - 1) / 4 / len(apart)))
    # Bartlett's formula for an autoregression gives a variance of 36 / n at a lag of one memory.
    assert correlation(logs[:-memory], logs[memory:]) == pytest.approx(math.exp(-1), abs=5 * math.sqrt(36 / steps))


# Arrivals


def test_poisson_arrivals_follow_a_ramp() -> None:
    times_s = arrivals_s(shapes.ramp(1000, 0, 40))

    for window, counted in enumerate(counts(times_s, 100, 10)):
        expected = 100 * (4 * window + 2)
        assert counted == pytest.approx(expected, abs=5 * math.sqrt(expected))


@pytest.mark.parametrize("cv", [0.25, 1.0, 2.0, 4.0])
def test_gaps_have_the_coefficient_of_variation_asked_for(cv: float) -> None:
    times_s = arrivals_s(shapes.constant(20_000, 5), cv)
    gaps_s = [after - before for before, after in pairwise(times_s)]
    n = len(gaps_s)

    assert n == pytest.approx(100_000, abs=5 * cv * math.sqrt(100_000))
    # The delta method for gamma gaps (skewness 2 cv, kurtosis 3 + 6 cv^2) gives this standard deviation.
    assert stdev(gaps_s) / fmean(gaps_s) == pytest.approx(cv, abs=5 * cv * math.sqrt((1 + cv**2) / (2 * n)))


def test_bursty_arrivals_have_their_rate_from_the_first_second_on() -> None:
    first = [len(arrivals_s(shapes.constant(1, 1), cv=3, seed=seed)) for seed in range(4000)]

    assert fmean(first) == pytest.approx(1, abs=5 * stdev(first) / math.sqrt(len(first)))


def test_gaps_carry_over_from_one_rate_to_the_next() -> None:
    times_s = [t_s for t_s, _ in gamma_arrivals(shapes.day_shape(1000, [1.0, 3.0], 0.2), Random(4), cv=0.01)]

    # Like clockwork, at the mean rate of 2/s, although each rate holds for a fraction of a gap.
    assert [after - before for before, after in pairwise(times_s)] == pytest.approx([0.5] * (len(times_s) - 1), abs=0.1)


def test_bursty_arrivals_follow_the_rate() -> None:
    times_s = arrivals_s(shapes.steps(3000, [10, 0, 30]), cv=2)

    for counted, expected in zip(counts(times_s, 1000, 3), (10_000, 0, 30_000), strict=True):
        assert counted == pytest.approx(expected, abs=5 * 2 * math.sqrt(expected))


@given(cv=st.sampled_from([0.01, 0.5, 1.0, 9.0]), seed=st.integers(0, 99))
def test_requests_come_sorted_within_the_duration_and_repeat(cv: float, seed: int) -> None:
    def drawn() -> list[Request]:
        traffic = Traffic(lognormal_lengths(50, 5, 2, 2), cv)
        return list(generated(shapes.bursts(60, 1, 9, 20, 5, seed), traffic, seed))

    requests = drawn()
    assert requests == drawn()
    assert all(before.arrival_s <= after.arrival_s for before, after in pairwise(requests))
    assert all(0 <= arrival_s < 60 and isl >= 1 and osl >= 1 for arrival_s, isl, osl in requests)


def test_another_seed_draws_another_load() -> None:
    assert arrivals_s(shapes.constant(60, 5), seed=1) != arrivals_s(shapes.constant(60, 5), seed=2)


# Correlated services


def per_minute(swing_cv: float) -> Mapping[str, Sequence[int]]:
    streams = correlated(
        lambda: shapes.swings(30_000, swing_cv, 600, seed=0), {"chat": 4.0, "code": 2.0}, Traffic(LENGTHS), seed=0
    )
    return {name: counts((request.arrival_s for request in stream), 60, 500) for name, stream in streams.items()}


def test_correlated_services_swing_together_each_at_its_rate() -> None:
    minutes = per_minute(0.5)

    # Poisson noise, 1/240 and 1/120 of variance beside the swing's 1/4, leaves 0.975.
    assert correlation(minutes["chat"], minutes["code"]) == pytest.approx(0.975, abs=0.015)
    # They share the swing to the last bit, so its share cancels and Poisson noise alone remains.
    assert fmean(minutes["chat"]) / fmean(minutes["code"]) == pytest.approx(
        2, rel=5 * math.sqrt(1 / sum(minutes["chat"]) + 1 / sum(minutes["code"]))
    )


def test_services_without_a_swing_to_share_are_independent() -> None:
    minutes = per_minute(1e-6)

    assert correlation(minutes["chat"], minutes["code"]) == pytest.approx(0, abs=5 / math.sqrt(500))
    assert fmean(minutes["chat"]) == pytest.approx(240, abs=5 * math.sqrt(240 / 500))


# Lengths


def test_lengths_keep_their_means_and_spread() -> None:
    draw, random = lognormal_lengths(isl=2000, osl=300, isl_cv=1.5, osl_cv=0.5), Random(5)
    inputs, outputs = zip(*(draw(random) for _ in range(50_000)), strict=True)

    assert fmean(inputs) == pytest.approx(2000, rel=5 * 1.5 / math.sqrt(50_000))
    assert fmean(outputs) == pytest.approx(300, rel=5 * 0.5 / math.sqrt(50_000))
    assert stdev(outputs) / fmean(outputs) == pytest.approx(0.5, rel=0.05)
    assert stdev(inputs) / fmean(inputs) == pytest.approx(1.5, rel=0.1)


def test_a_spread_of_zero_fixes_the_length() -> None:
    assert {LENGTHS(Random(seed)) for seed in range(100)} == {(100, 20)}


def test_empirical_lengths_keep_pairs_together_and_their_shares() -> None:
    draw = empirical_lengths([Request(0, 10, 1)] * 30 + [Request(0, 2000, 400)] * 10, seed=0)
    random = Random(6)
    shares = Counter(draw(random) for _ in range(10_000))

    assert set(shares) == {(10, 1), (2000, 400)}
    assert shares[10, 1] == pytest.approx(7500, abs=5 * math.sqrt(10_000 * 0.75 * 0.25))


def test_a_sample_of_a_long_trace_is_drawn_from_all_of_it() -> None:
    draw = empirical_lengths((Request(0, 1 + index, 1) for index in range(10 * SAMPLE)), seed=0)
    random = Random(7)
    drawn = [draw(random)[0] for _ in range(20_000)]

    # Uniform from 1 to n has a standard deviation of n / sqrt(12); the sample's own error is that over sqrt(SAMPLE).
    error = 10 * SAMPLE / math.sqrt(12) * math.sqrt(1 / SAMPLE + 1 / 20_000)
    assert fmean(drawn) == pytest.approx(5 * SAMPLE, abs=5 * error)
    assert len(set(drawn)) <= SAMPLE


# Mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: shapes.constant(0, 1), r"^duration: 0 must be a finite number above 0$"),
        (lambda: shapes.constant(math.inf, 1), r"^duration: inf must be a finite number above 0$"),
        (lambda: shapes.constant(60, -1), r"^rate: -1 must be a finite number above 0$"),
        (lambda: shapes.ramp(60, 0, 0), r"^rate: nothing ever arrives; give at least one rate above 0$"),
        (lambda: shapes.ramp(60, 1, math.nan), r"^peak: nan must be 0 or more requests/s$"),
        (lambda: shapes.steps(60, []), r"^rate: nothing ever arrives"),
        (lambda: shapes.steps(60, [1, -2]), r"^rates: -2 must be 0 or more requests/s$"),
        (lambda: shapes.diurnal(60, 5, 2), r"^peak: 2 requests/s lies below the rate of 5; exchange them$"),
        (lambda: shapes.diurnal(60, 1, 2, 0), r"^period: 0 must be a finite number above 0$"),
        (lambda: shapes.day_shape(60, [1], -5), r"^period: -5 must be a finite number above 0$"),
        (lambda: shapes.weekly(shapes.constant(9, 1), -1), r"^weekend: -1 must be 0 or more; write 0.3 for"),
        (lambda: shapes.bursts(60, 5, 2, 20, 5, 0), r"^peak: 2 requests/s lies below the rate of 5"),
        (lambda: shapes.bursts(60, 1, 2, 20, 20, 0), r"^burst: 20 s leaves no quiet in a period of 20 s; make it"),
        (lambda: shapes.bursts(60, 1, 2, 20, 0, 0), r"^burst: 0 must be a finite number above 0$"),
        (lambda: shapes.swings(60, 0, 9, 0), r"^swing: 0 must lie above 0 and up to 100; 0.5 is half"),
        (lambda: Traffic(LENGTHS, 0), r"^cv: 0 must lie from 0.01 \(like clockwork\) to 100; 1 is Poisson$"),
        (lambda: Traffic(LENGTHS, math.nan), r"^cv: nan must lie from 0.01"),
        (lambda: lognormal_lengths(0.5, 9, 0, 0), r"^isl: 0.5 must be 1 token or more$"),
        (lambda: lognormal_lengths(9, math.nan, 0, 0), r"^osl: nan must be 1 token or more$"),
        (lambda: lognormal_lengths(9, 9, -1, 0), r"^isl-cv: -1 must lie from 0 \(all the same\) to 100$"),
        (lambda: lognormal_lengths(9, 9, 0, 101), r"^osl-cv: 101 must lie from 0"),
        (lambda: empirical_lengths([], 0), r"^lengths: there are no requests to take them from; give a trace"),
        (lambda: correlated(list, {"a": 1}, Traffic(LENGTHS), 0), r"^service: a has nothing to move with; give two"),
        (lambda: correlated(list, {"a": 1, "b": 0}, Traffic(LENGTHS), 0), r"^service b: 0 must be a finite number"),
    ],
)
def test_refuses_what_makes_no_load_before_drawing_any(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(LoadError, match=message):
        make()


# The command


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


KINDS = [
    pytest.param(["constant", "--rate", "2", "--cv", "3"], id="constant"),
    pytest.param(["ramp", "--rate", "0", "--peak", "4"], id="ramp"),
    pytest.param(["steps", "--rates", "1,5,0,2"], id="steps"),
    pytest.param(["diurnal", "--rate", "1", "--peak", "3", "--period", "60"], id="diurnal"),
    pytest.param(["diurnal", "--rates", "1,2,4", "--period", "60"], id="day shape"),
    pytest.param(["weekly", "--rate", "1", "--peak", "3", "--period", "20", "--weekend", "0.5"], id="weekly"),
    pytest.param(["bursts", "--rate", "1", "--peak", "9", "--period", "50", "--burst", "5"], id="bursts"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_writes_the_same_bytes_for_the_same_seed_and_a_trace_that_plays(tmp_path: Path, kind: list[str]) -> None:
    plain, zipped, again = tmp_path / "a.csv", tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    for path in (plain, zipped, again):
        assert ran(*kind, "--duration", "200", "--seed", "5", "-o", str(path)).exit_code == 0
    other = ran(*kind, "--duration", "200", "--seed", "6", "-o", "-").stdout

    assert ran(*kind, "--duration", "200", "--seed", "5", "-o", "-").stdout == plain.read_text()
    assert gzip.decompress(zipped.read_bytes()) == plain.read_bytes()
    assert zipped.read_bytes() == again.read_bytes()
    # gzip's time of writing (RFC 1952), which would tell two runs apart a second later.
    assert zipped.read_bytes()[4:8] == bytes(4)
    assert other != plain.read_text()
    requests = list(load_trace(zipped))
    assert len(requests) == plain.read_text().count("\n") - 1
    assert requests[0].arrival_s == 0
    assert requests[-1].arrival_s < 200
    assert list(tmp_path.glob("*.part")) == []


def test_says_how_many_requests_it_wrote(tmp_path: Path) -> None:
    result = ran("constant", "--rate", "1", "-o", str(tmp_path / "load.csv"))

    assert result.stdout == f"{tmp_path / 'load.csv'}: {len(list(load_trace(tmp_path / 'load.csv')))} requests\n"


def test_writes_a_file_for_each_correlated_service(tmp_path: Path) -> None:
    result = ran(
        "correlated",
        "--service",
        "chat=4",
        "--service",
        "code=2",
        "--duration",
        "900",
        "-o",
        str(tmp_path / "x.csv.gz"),
    )

    assert result.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-chat.csv.gz", "x-code.csv.gz"]


def test_draws_lengths_from_a_trace(tmp_path: Path) -> None:
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("t,isl,osl\n0,11,1\n1,22,2\n")

    assert ran("constant", "--rate", "1", "--lengths", str(lengths), "-o", str(tmp_path / "load.csv")).exit_code == 0
    assert {(isl, osl) for _, isl, osl in load_trace(tmp_path / "load.csv")} == {(11, 1), (22, 2)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["constant", "--rate", "1", "--cv", "0"], r"^cv: 0.0 must lie from"),
        (["constant", "--rate", "1e-9"], r"^requests: none were drawn; raise the rate or the duration$"),
        (
            ["constant", "--rate", "1", "--lengths", "demo", "--isl-cv", "1"],
            r"^--lengths: demo .*; leave out --isl-cv$",
        ),
        (["steps", "--rates", "1,x"], r"^--rates: '1,x' must be numbers with commas between them, such as 2,8,4$"),
        (["diurnal", "--rate", "1"], r"^--rate, --peak, --rates: give the first two, or the last alone$"),
        (["diurnal", "--rate", "1", "--peak", "2", "--rates", "1,2"], r"^--rate, --peak, --rates: give the first"),
        (["correlated", "--service", "a=1"], r"^service: a has nothing to move with; give two or more$"),
        (["correlated", "--service", "a=1", "--service", "a=2"], r"^--service: a is given twice; keep one$"),
        (["correlated", "--service", "../a=1"], r"^--service: '../a=1' must be NAME=RATE, such as --service chat=5$"),
        (["correlated", "--service", "a"], r"^--service: 'a' must be NAME=RATE"),
        (["correlated", "--service", "a=1", "--service", "b=1", "--swing", "0"], r"^swing: 0.0 must lie above 0"),
    ],
)
def test_a_mistake_leaves_no_file(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = ran(*arguments, "-o", str(tmp_path / "load.csv"))

    assert isinstance(result.exception, UserError)
    with pytest.raises(UserError, match=message):
        raise result.exception
    assert list(tmp_path.iterdir()) == []


def test_standard_output_holds_one_service() -> None:
    result = ran("correlated", "--service", "a=1", "--service", "b=1", "-o", "-")

    assert str(result.exception) == "--output: '-' cannot hold a file for each service; give a file's name"


def test_refuses_an_output_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^output: .* is not a regular file; give a file's name, or - for"):
        write_trace([Request(0, 1, 1)], tmp_path)
    with pytest.raises(UserError, match=r"^output: .*absent/x.csv cannot be written \(No such file.*; choose another"):
        write_trace([Request(0, 1, 1)], tmp_path / "absent" / "x.csv")


def test_an_interrupted_trace_leaves_the_file_before_it(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Request]:
        yield Request(0, 1, 1)
        raise KeyboardInterrupt

    path = tmp_path / "load.csv"
    write_trace([Request(0, 7, 7)], path)

    with pytest.raises(KeyboardInterrupt):
        write_trace(interrupted(), path)

    assert list(load_trace(path)) == [Request(0.0, 7, 7)]
    assert list(tmp_path.iterdir()) == [path]
