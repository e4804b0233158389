"""Recorded series: what a file says, and what it says of each of the planner's intervals."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from planner.errors import UserError
from planner.scaling.types import Absent, Role, Sample, Sampled
from planner.sources.recorded import Recording, read_recording
from planner.sources.windows import Window, windows

INF = float("inf")


def recording(tmp_path: Path, text: str) -> Recording:
    path = tmp_path / "recording.csv"
    path.write_text(text)
    return read_recording(path)


def only_window(tmp_path: Path, text: str, interval_s: float) -> Window:
    (window,) = windows(recording(tmp_path, text), interval_s, 0, INF)
    return window


def rates(recorded: Recording, interval_s: float) -> list[Sampled]:
    return [window.rate() for window in windows(recorded, interval_s, 0, INF)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("t,rate,isl,osl\n100,2,3000,150\n160,4,1000,50\n", id="rates"),
        pytest.param("t,requests,mean_isl,mean_osl\n100,120,3000,150\n160,240,1000,50\n", id="our minutes"),
        pytest.param("t,request_rate,isl,osl\n100,2,3000,150\n160,4,1000,50\n", id="a load table"),
    ],
)
def test_the_three_ways_to_write_arrivals_say_the_same(tmp_path: Path, text: str) -> None:
    recorded = recording(tmp_path, text)

    assert recorded.interval_s == 60
    assert [(span.start_s, span.end_s, span.values) for span in recorded.spans] == [
        (0, 60, {"rate_per_s": 2, "isl_tokens": 3000, "osl_tokens": 150}),
        (60, 120, {"rate_per_s": 4, "isl_tokens": 1000, "osl_tokens": 50}),
    ]


def test_latencies_in_milliseconds_and_in_seconds_are_the_same(tmp_path: Path) -> None:
    in_s = recording(tmp_path, "t,rate,ttft,queue,itl\n0,1,0.25,0.125,0.5\n30,1,0.25,0.125,0.5\n")
    in_ms = recording(tmp_path, "t,rate,ttft_ms,queue_ms,itl_ms\n0,1,250,125,500\n30,1,250,125,500\n")

    assert in_s.spans == in_ms.spans


def test_a_compressed_file_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "recording.csv.gz"
    path.write_bytes(gzip.compress(b"t,rate\n0,1\n30,3\n"))

    assert [span.values["rate_per_s"] for span in read_recording(path).spans] == [1, 3]


@pytest.mark.parametrize("cell", ["", " ", "NaN"])
def test_a_blank_is_a_missing_sample_and_not_zero(tmp_path: Path, cell: str) -> None:
    recorded = recording(tmp_path, f"t,rate\n0,6\n30,{cell}\n60,0\n")

    assert rates(recorded, 30) == [Sample(6, 30), Absent("blank in the recording"), Sample(0, 90)]


def test_a_row_that_was_left_out_is_a_gap_and_not_a_longer_row(tmp_path: Path) -> None:
    recorded = recording(tmp_path, "t,requests\n0,60\n30,60\n90,60\n120,60\n")

    assert rates(recorded, 30) == [
        Sample(2, 30), Sample(2, 60), Absent("no row in the recording"), Sample(2, 120), Sample(2, 150),
    ]  # fmt: skip


def test_a_level_of_a_load_table_holds_until_the_next_row(tmp_path: Path) -> None:
    recorded = recording(tmp_path, "t,request_rate\n0,2\n30,2\n120,4\n150,4\n")

    assert rates(recorded, 30) == [Sample(rate, 30.0 * (n + 1)) for n, rate in enumerate([2, 2, 2, 2, 4, 4])]


def test_shorter_rows_are_averaged_rates_by_time_and_lengths_and_latencies_by_requests(tmp_path: Path) -> None:
    text = "t,rate,isl,osl,ttft\n0,1,1000,100,0.25\n10,5,4000,400,1\n20,0,,,\n"

    window = only_window(tmp_path, text, 30)

    assert window.rate() == Sample(2, 30)
    assert window.mean("isl_tokens") == Sample(3500, 30)
    assert window.mean("osl_tokens") == Sample(350, 30)
    assert window.mean("ttft_s") == Sample(0.875, 30)


def test_the_variation_of_lengths_counts_what_lies_between_rows(tmp_path: Path) -> None:
    # Ten prompts of 1000 and ten of 3000: mean 2000, variance 1000^2.
    window = only_window(tmp_path, "t,requests,isl,isl_cv2\n0,10,1000,0\n15,10,3000,0\n", 30)

    assert window.isl_cv2() == Sample(0.25, 30)


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        pytest.param("0,1,1000\n15,1,\n", "blank in the recording", id="half of the requests"),
        pytest.param("0,0,\n15,0,\n", "no request in the window", id="idle"),
        pytest.param("0,1,1000\n15,,1000\n", "its requests: blank in the recording", id="unknown weight"),
    ],
)
def test_a_length_is_absent_with_its_cause(tmp_path: Path, rows: str, cause: str) -> None:
    window = only_window(tmp_path, f"t,rate,isl\n{rows}", 30)

    assert window.mean("isl_tokens") == Absent(cause)
    assert window.mean("osl_tokens") == Absent("the recording has no column of osl_tokens")


def test_a_gauge_is_what_stood_there_at_the_end_of_the_interval(tmp_path: Path) -> None:
    header = "t,rate,decode_wanted,decode_ready,decode_waiting\n"
    window = only_window(tmp_path, f"{header}0,1,2,2,9\n15,1,4,2,\n", 30)

    assert window.gauge(Role.DECODE, "wanted") == Sample(4, 30)
    assert window.gauge(Role.DECODE, "waiting") == Absent("blank in the recording")
    assert window.gauge(Role.DECODE, "running") == Absent("the recording has no column decode_running")


def test_a_slice_keeps_the_recordings_clock_and_grid(tmp_path: Path) -> None:
    recorded = recording(tmp_path, "t,rate\n0,0\n30,1\n60,2\n90,3\n120,4\n")

    assert [window.rate() for window in windows(recorded, 30, 45, 130)] == [Sample(2, 90), Sample(3, 120)]


def test_a_slice_without_a_whole_interval_is_an_error(tmp_path: Path) -> None:
    recorded = recording(tmp_path, "t,rate\n0,1\n30,1\n")

    with pytest.raises(UserError, match=r"recording\.csv: 40 to 60 s holds no whole interval of 30 s; widen the slice"):
        list(windows(recorded, 30, 40, INF))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "recording.csv: is empty; give a header", id="empty"),
        pytest.param("t,rate\n", "recording.csv: holds a header and no rows", id="no rows"),
        pytest.param("t,rate\n0,1\n", "recording.csv: one row tells no interval; add a row", id="one row"),
        pytest.param("t,isl\n0,1\n", "line 1: header 't,isl' lacks columns; give t and one of rate", id="no rate"),
        pytest.param("rate\n1\n", "line 1: header 'rate' lacks columns; give t and", id="no time"),
        pytest.param("t,rate,requests\n0,1,1\n", "columns rate and requests say the same; keep one", id="two rates"),
        pytest.param("t,rate,rate\n0,1,1\n", "column 'rate' stands there twice; keep one", id="a column twice"),
        pytest.param("t,rate,ttft,ttft_ms\n0,1,1,1\n", "columns ttft and ttft_ms say the same", id="two units"),
        pytest.param("t,rate,decode_ready\n0,1,1\n", "has decode_ready but not decode_wanted; give both", id="half"),
        pytest.param("t,rate\n0,1\n30,x\n", "line 3: rate 'x' is not a number; write a decimal number", id="text"),
        pytest.param("t,rate\n0,1\n30,-1\n", "line 3: rate '-1' is negative; give 0 or more", id="negative"),
        pytest.param("t,rate\n0,1\n30,inf\n", "line 3: rate 'inf' is not finite", id="infinite"),
        pytest.param("t,rate\n30,1\n0,1\n", "line 3: t '0' comes before 30", id="backwards"),
        pytest.param("t,rate\n30,1\n30,1\n", "line 3: t '30' repeats the time of the row before", id="twice"),
    ],
)
def test_what_cannot_be_replayed_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        recording(tmp_path, text)

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.csv: cannot be read \(No such file.*; give a CSV or CSV\.GZ file"):
        read_recording(tmp_path / "absent.csv")
