"""Reading traces: what is accepted, what is refused and how it is said, and what scaling and slicing keep."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator, Sequence
from itertools import count, islice, pairwise
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.sim.loads import JITTER_S, Request, superposed
from planner.sim.readers import Recorded, recognised
from planner.sim.traces import TraceError, load_trace
from planner.trace_file import TraceFile

HEADER = "t_seconds,isl,osl\n"
MINUTES = "t,requests,mean_isl,mean_osl\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
MOONCAKE = '{"timestamp": 2000, "input_length": 10, "output_length": 2, "hash_ids": [1, 2]}\n'


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_plays_recorded_requests_from_their_first_moment(tmp_path: Path) -> None:
    trace = load_trace(written(tmp_path, HEADER + "100.5,10,2\n100.5,20,3\n103,30,1\n"))

    assert list(trace) == [Request(0.0, 10, 2), Request(0.0, 20, 3), Request(2.5, 30, 1)]
    assert list(trace) == list(trace)


def test_reads_gzip_other_columns_and_a_time_named_t(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(b"model,t,isl,osl\nx,0,10,2\n"))

    assert list(load_trace(path)) == [Request(0.0, 10, 2)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HEADER + "7,10,2\n8.5,20,3\n", id="requests"),
        pytest.param(AZURE + "2021-01-01 23:59:59.5000000,10,2\n2021-01-02 00:00:01,20,3\n", id="Azure 2023"),
        pytest.param(
            AZURE + "2024-05-10 00:00:00+00:00,10,2\n2024-05-10 01:00:01.500000+01:00,20,3\n", id="Azure 2024"
        ),
        pytest.param(BURSTGPT + "5,m,10,2,12,API log\n6.5,m,20,3,23,API log\n", id="BurstGPT"),
        pytest.param(
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
            "5,,1,m,10,2,12,API log\n6.5,,1,m,20,3,23,API log\n",
            id="BurstGPT with sessions",
        ),
        pytest.param(MOONCAKE + '\n{"timestamp": 3500, "input_length": 20, "output_length": 3}', id="Mooncake"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_tells_recorded_requests_by_their_header(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"trace.any{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix else text.encode())

    assert list(load_trace(path)) == [Request(0.0, 10, 2), Request(1.5, 20, 3)]


def test_keeps_the_microseconds_of_a_time_of_day(tmp_path: Path) -> None:
    path = written(tmp_path, AZURE + "2023-11-16 18:15:46.6805900,1,1\n2023-11-16 18:15:46.6805919,1,1\n")

    assert [request.arrival_s for request in load_trace(path)] == pytest.approx([0.0, 1e-6], abs=1e-7)


def test_leaves_failed_requests_out_and_says_how_many(tmp_path: Path) -> None:
    rows = "".join(f"{second},m,{10 + second},{second % 3},0,API log\n" for second in range(9))
    path = written(tmp_path, BURSTGPT + rows)

    trace, slice_of_it = load_trace(path), load_trace(path, start_s=1, end_s=5)

    assert [request.arrival_s for request in trace] == [1, 2, 4, 5, 7, 8]
    assert trace.survey().notes == (f"{path}: 3 failed requests (0 response tokens) left out",)
    assert list(slice_of_it) == [Request(0.0, 11, 1), Request(1.0, 12, 2), Request(3.0, 14, 1)]
    assert slice_of_it.survey().notes == (f"{path}: 1 failed requests (0 response tokens) left out",)


def test_a_whole_trace_has_nothing_to_note(tmp_path: Path) -> None:
    assert load_trace(written(tmp_path, HEADER + "0,1,1\n")).survey().notes == ()


def test_a_table_of_minutes_gives_each_minute_its_rate_and_lengths(tmp_path: Path) -> None:
    table = MINUTES + "600,3000,1000.4,99.6\n660,0,,\n720,6000,2000,300\n"
    requests = list(load_trace(written(tmp_path, table), seed=3))
    minutes = [[request for request in requests if start_s <= request.arrival_s < start_s + 60] for start_s in (0, 60)]
    last = [request for request in requests if request.arrival_s >= 120]

    assert len(minutes[0]) == pytest.approx(3000, abs=5 * math.sqrt(3000))
    assert minutes[1] == []
    assert len(last) == pytest.approx(6000, abs=5 * math.sqrt(6000))
    assert fmean(request.isl for request in minutes[0]) == pytest.approx(1000, rel=5 * 0.2 / math.sqrt(3000))
    assert fmean(request.osl for request in last) == pytest.approx(300, rel=5 * 0.2 / math.sqrt(6000))
    assert requests[-1].arrival_s < 180


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(MINUTES + "0,5,,9\n", r"line 2: mean_isl '' is undefined in a minute with req", id="blank length"),
        pytest.param(
            MINUTES + "0,5,9,\n", r"line 2: mean_osl '' is undefined .*; give the mean length", id="blank osl"
        ),
        pytest.param(MINUTES + "0,,9,9\n", r"line 2: requests '' is not a number; write", id="blank requests"),
        pytest.param(MINUTES + "0,1,9,9\n120,1,9,9\n", r"line 3: t '120' is not 60 s after .*; give every", id="gap"),
        pytest.param(AZURE + "noon,1,1\n", r"line 2: TIMESTAMP 'noon' is not a time; write it as 2023-", id="no time"),
        pytest.param(
            AZURE + "2023-01-02 00:00:00,1,1\n2023-01-01 00:00:00,1,1\n",
            r"line 3: TIMESTAMP '2023-01-01 00:00:00' comes before 2023-01-02 00:00:00 in the row above; sort",
            id="unsorted times of day",
        ),
        pytest.param(AZURE + "2023-01-02 00:00:00,1,0\n", r"line 2: GeneratedTokens '0' is shorter", id="no answer"),
        pytest.param(BURSTGPT + "1,m,0,5,5,x\n", r"line 2: Request tokens '0' is shorter than one", id="no question"),
        pytest.param(MOONCAKE + "oops\n", r"line 2: 'oops' is not a JSON object; give one in each line", id="not JSON"),
        pytest.param(MOONCAKE + "[1]\n", r"line 2: '\[1\]' is not a JSON object", id="a JSON list"),
        pytest.param(MOONCAKE + "{}", r"line 2: timestamp None is not a number; write", id="a missing key"),
        pytest.param(MOONCAKE.replace("10", "true"), r"line 1: input_length True is not a number", id="a boolean"),
        pytest.param(MOONCAKE.replace("10", "[3]"), r"line 1: input_length \[3\] is not a number", id="a nested list"),
        pytest.param(MOONCAKE.replace("10", "NaN"), r"line 1: input_length nan is not finite", id="JSON NaN"),
        pytest.param(MOONCAKE.replace("10", "1" * 400), r"line 1: input_length 1+ is not a number", id="huge"),
        pytest.param(MOONCAKE + MOONCAKE.replace("2000", "1"), r"line 2: timestamp 1 comes before 2000", id="unsorted"),
    ],
)
def test_refuses_public_traces_and_minutes_that_make_no_sense(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        list(load_trace(written(tmp_path, text)))


class Endless(io.RawIOBase):
    """A file of `first`, then row after row for ever, that counts what was read of it."""

    def __init__(self, first: str, row: str) -> None:
        self.rows: Iterator[str] = (row % index if index else first for index in count())
        self.left = b""
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while len(self.left) < len(buffer):
            self.left += next(self.rows).encode()
        buffer[:], self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        self.bytes_read += len(buffer)
        return len(buffer)


@pytest.mark.parametrize(
    ("first", "row"),
    [
        pytest.param(HEADER, "%d,10,2\n", id="requests"),
        pytest.param("t,request_rate,isl,osl\n", "%d,1,10,2\n", id="load table"),
        pytest.param(BURSTGPT, "%d,m,10,2,12,x\n", id="BurstGPT"),
        pytest.param(MOONCAKE, '{"timestamp": 1%06d, "input_length": 10, "output_length": 2}\n', id="Mooncake"),
    ],
)
def test_reads_no_further_than_it_is_asked(first: str, row: str) -> None:
    opened: list[Endless] = []

    def open_text() -> io.TextIOWrapper:
        opened.append(Endless(first, row))
        return io.TextIOWrapper(io.BufferedReader(opened[-1], buffer_size=8192))

    file = TraceFile("endless", open_text)
    form = recognised(file)
    rows: Iterator[object] = form.requests(file) if isinstance(form, Recorded) else form.levels(file)

    assert len(list(islice(rows, 1000))) == 1000
    # A thousand of these rows are at most 62 kB; a few buffers come on top.
    assert max(raw.bytes_read for raw in opened) <= 1000 * 64 + 4 * 8192


def test_a_slice_does_not_read_beyond_its_end(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + "0,1,1\n10,2,1\n11,bad,1\n")

    assert list(load_trace(path, end_s=10)) == [Request(0.0, 1, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", r"trace.csv: is empty; give a header", id="empty file"),
        pytest.param(HEADER, r"trace.csv: holds a header and no rows; give", id="no rows"),
        pytest.param("t_seconds,isl\n0,5\n", r"line 1: header 't_seconds,isl' lacks columns; give t_sec", id="column"),
        pytest.param(HEADER + "5,1,1\n4,1,1\n", r"line 3: t_seconds '4' comes before 5 .*; sort", id="unsorted"),
        pytest.param(HEADER + "-1,1,1\n", r"line 2: t_seconds '-1' is negative; give 0 or more", id="negative time"),
        pytest.param(HEADER + "0,-3,1\n", r"line 2: isl '-3' is negative; give", id="negative length"),
        pytest.param(HEADER + "0,1,many\n", r"line 2: osl 'many' is not a number; write a decimal", id="text"),
        pytest.param(HEADER + "0,1,\n", r"line 2: osl '' is not a number", id="empty cell"),
        pytest.param(HEADER + "0,1\n", r"line 2: osl None is not a number", id="short row"),
        pytest.param(HEADER + "nan,1,1\n", r"line 2: t_seconds 'nan' is not finite; remove the row", id="NaN time"),
        pytest.param(HEADER + "0,inf,1\n", r"line 2: isl 'inf' is not finite", id="infinite length"),
        pytest.param(HEADER + "0,0,1\n", r"line 2: isl '0' is shorter than one token; remove", id="zero input"),
        pytest.param(HEADER + "0,1,0\n", r"line 2: osl '0' is shorter than one token", id="zero output"),
        pytest.param("t,request_rate,isl,osl\n0,1,5,5\n", r"one row has no duration; add a row", id="one-row load"),
        pytest.param("t,request_rate,isl,osl\n0,1,5,5\n0,1,5,5\n", r"line 3: t '0' repeats", id="repeated load time"),
    ],
)
def test_refuses_what_cannot_be_played_and_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        list(load_trace(written(tmp_path, text)))


def test_refuses_a_truncated_gzip(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    rows = "".join(f"{i},{i % 977 + 1},{i % 89 + 1}\n" for i in range(5000))
    path.write_bytes(gzip.compress((HEADER + rows).encode())[:-2000])

    with pytest.raises(TraceError, match=r"cut.csv.gz: is truncated or damaged gzip; copy or compress it anew"):
        list(load_trace(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plain.csv.gz", b"t_seconds,isl,osl\n0,1,1\n", "plain.csv.gz: is not gzip; compress it anew or drop .gz"),
        ("latin.csv", b"t_seconds,isl,osl\n\xff\xfe,1,1\n", "latin.csv: is not text; give a CSV file in UTF-8"),
    ],
)
def test_refuses_a_file_that_is_not_what_its_name_says(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(TraceError, match=message):
        list(load_trace(tmp_path / name))


def test_refuses_a_missing_file_and_names_the_demo(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"absent.csv: cannot be read \(No such file.*or 'demo'"):
        load_trace(tmp_path / "absent.csv")


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_refuses_a_scale_that_is_no_multiple(scale: float) -> None:
    with pytest.raises(TraceError, match=r"scale: .* must be a positive, finite number; write 0.5"):
        load_trace("demo", scale=scale)


def test_refuses_an_empty_slice() -> None:
    with pytest.raises(TraceError, match=r"slice: 60.0 to 30.0 s is empty; the end must come after"):
        load_trace("demo", start_s=60.0, end_s=30.0)


def test_a_slice_starts_at_its_own_zero(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + "0,1,1\n10,2,1\n15,3,1\n20,4,1\n")

    assert list(load_trace(path, start_s=10, end_s=20)) == [Request(0.0, 2, 1), Request(5.0, 3, 1)]


def test_a_load_table_keeps_its_rates_and_mean_lengths(tmp_path: Path) -> None:
    table = "t,request_rate,isl,osl\n0,50,1000,100\n100,0,1000,100\n200,10,2000,300\n"
    requests = list(load_trace(written(tmp_path, table), seed=3))
    first = [request for request in requests if request.arrival_s < 100]
    last = [request for request in requests if request.arrival_s >= 200]

    # 5 standard deviations of a Poisson count, and of a mean of lengths with a coefficient of variation of 0.2.
    assert len(first) == pytest.approx(5000, abs=5 * math.sqrt(5000))
    assert len(last) == pytest.approx(1000, abs=5 * math.sqrt(1000))
    assert len(first) + len(last) == len(requests)
    assert fmean(request.isl for request in first) == pytest.approx(1000, rel=5 * 0.2 / math.sqrt(5000))
    assert fmean(request.osl for request in last) == pytest.approx(300, rel=5 * 0.2 / math.sqrt(1000))
    assert requests[-1].arrival_s < 300


def test_a_silent_row_of_a_load_table_needs_no_lengths(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("t,request_rate,isl,osl\n0,5,100,10\n60,0,0,0\n120,5,100,10\n180,0,0,0\n")

    arrivals_s = [request.arrival_s for request in load_trace(path)]

    assert any(arrival_s < 60 for arrival_s in arrivals_s)
    assert not any(60 <= arrival_s < 120 for arrival_s in arrivals_s)
    assert any(120 <= arrival_s < 180 for arrival_s in arrivals_s)


def test_the_same_seed_draws_the_same_load_and_another_does_not() -> None:
    def drawn(seed: int) -> list[Request]:
        return list(load_trace("demo", seed=seed, end_s=120))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def _sorted_requests(raw: Sequence[tuple[float, int, int]]) -> list[Request]:
    return sorted(Request(*fields) for fields in raw)


requests_lists = st.lists(
    st.tuples(st.floats(0, 100), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=40
).map(_sorted_requests)


@given(requests=requests_lists, scale=st.floats(0.05, 4), seed=st.integers(0, 99))
def test_scaled_requests_stay_sorted_near_their_originals_and_in_number(
    requests: list[Request], scale: float, seed: int
) -> None:
    scaled = list(superposed(requests, scale, seed))

    assert all(before.arrival_s <= after.arrival_s for before, after in pairwise(scaled))
    assert math.floor(scale) * len(requests) <= len(scaled) <= math.ceil(scale) * len(requests)
    for copy in scaled:
        assert any(
            (copy.isl, copy.osl) == (original.isl, original.osl)
            and 0 <= copy.arrival_s - original.arrival_s <= JITTER_S
            for original in requests
        )


def test_thinning_keeps_about_the_share_asked_for() -> None:
    requests = [Request(float(second), 1, 1) for second in range(10_000)]

    assert len(list(superposed(requests, 0.3, seed=1))) == pytest.approx(3000, abs=5 * math.sqrt(10_000 * 0.3 * 0.7))


@pytest.mark.parametrize("name", ["azure2023_code", "mooncake_conversation"])
def test_minutes_draw_as_many_requests_as_were_recorded(shared_data: Path, name: str) -> None:
    recorded = sum(1 for _ in load_trace(shared_data / f"traces/requests/{name}.csv.gz"))
    from_minutes = sum(1 for _ in load_trace(shared_data / f"traces/minute/{name}.csv.gz"))

    assert from_minutes == pytest.approx(recorded, abs=5 * math.sqrt(recorded))
