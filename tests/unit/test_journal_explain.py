"""`planner explain`: which decision, what stands around it, and whether all of them reproduce."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from journal_runs import START_S, Minute, begun, journal_files, rewrite, steps, varied, write_stream

from planner.cli.explain import command
from planner.errors import UserError
from planner.explain import when
from planner.journal import Archive, Control, JournalError, Outcome, Trouble
from planner.scaling.types import Role


def explain(path: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; a user's mistake is raised."""
    result = CliRunner().invoke(command, [str(path), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """One file of 50 ticks, as a simulation writes it."""
    path = tmp_path / "run.jsonl"
    write_stream(path, 50)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What two processes left, in several files: ticks 0 to 19, and then 0 to 2."""
    path = tmp_path / "journal"
    files = journal_files(path, max_bytes=30_000)
    for step in steps(varied(20), begun()):
        step.write(files)
    again = journal_files(path)
    for step in steps(varied(20), begun()):
        if step.n < 3:
            step.write(again)
    return path


def head(out: str) -> str:
    return out.splitlines()[0]


def test_explains_the_last_change_and_computes_it_anew(stream: Path) -> None:
    code, out, err = explain(stream)

    assert (code, err) == (0, "")
    last = explain(stream, "--list")[1].splitlines()[-1].split()
    assert head(out) == f"decision {last[0]} of {stream}"
    assert "sizing, method queueing" in out
    assert out.splitlines()[-1] == "computed anew: the same"


@pytest.mark.parametrize(
    ("arguments", "n"),
    [
        pytest.param(["--tick", "7"], 7, id="a number"),
        pytest.param(["-n", "0"], 0, id="the first"),
        pytest.param(["--last"], 49, id="the last"),
        pytest.param(["--at", str(START_S + 60)], 2, id="the moment it was made"),
        pytest.param(["--at", str(START_S + 89)], 2, id="in force until the next"),
        pytest.param(["--at", "2026-11-21T13:02"], 4, id="a time without a zone is UTC"),
        pytest.param(["--at", "2026-11-21T13:02:29Z"], 4, id="a time in UTC"),
        pytest.param(["--at", "2026-11-21T14:02:30+01:00"], 5, id="a time elsewhere"),
        pytest.param(["--at", "2027-01-01"], 49, id="a day after all"),
    ],
)
def test_a_decision_is_chosen_by_its_number_or_by_a_time(stream: Path, arguments: list[str], n: int) -> None:
    code, out, _ = explain(stream, *arguments)

    assert (code, head(out)) == (0, f"decision {n} of {stream}")


def test_in_a_folder_a_time_finds_the_decision_in_its_file(folder: Path) -> None:
    _, out, _ = explain(folder, "--at", str(START_S + 30 * 19))

    *_, before_the_restart, _ = sorted(folder.iterdir(), key=lambda path: path.name.split("-")[2])
    assert head(out) == f"decision 19 of {before_the_restart}"
    assert out.splitlines()[-1] == "computed anew: the same"


def test_in_a_folder_a_number_is_enough_where_it_is_one_decisions_alone(folder: Path) -> None:
    assert head(explain(folder, "--tick", "12")[1]).startswith("decision 12 of ")
    with pytest.raises(
        JournalError, match=r"^decision 2: is in journal-.+-000001\.jsonl, journal-.+-\d+\.jsonl; give one"
    ):
        explain(folder, "--tick", "2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--tick", "50"], r"^decision 50: the journal holds 0 to 49$", id="no such number"),
        pytest.param(["--at", "2026-11-21T12:59"], r"holds none before 1795266000 s; give a later", id="too early"),
        pytest.param(["--at", "noon"], r"^--at: 'noon' is no time; give seconds, -6h, or a time such as", id="no time"),
        pytest.param(["--at", "1", "--last"], r"^--at, --last: each asks for something else;", id="two wishes"),
        pytest.param(["--service", "chat"], r"^--service: 'chat' is not in the journal; it holds default$", id="name"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_met_is_one_clear_error(stream: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        explain(stream, *arguments)


def test_a_journal_without_a_decision_is_one_clear_error(tmp_path: Path) -> None:
    journal_files(tmp_path).event(Trouble(START_S, "no samples"))

    with pytest.raises(UserError, match=r"holds no decision yet; wait for the first"):
        explain(tmp_path)
    with pytest.raises(UserError, match=r"the journal holds no decision; give a later time"):
        explain(tmp_path, "--at", "5")


def test_what_people_ordered_what_went_wrong_and_what_became_of_it_stand_beside_the_decision(tmp_path: Path) -> None:
    first, second = steps([Minute(), Minute(120, 2, {Role.DECODE: 3})], begun())
    files = journal_files(tmp_path)
    files.event(Control(START_S - 5, "bob", "quiet night", "resume chat"))
    first.write(files)
    files.event(Outcome(0, "default", "unchanged", "nothing to do", START_S + 1))
    files.event(Control(START_S + 20, "ann", "launch", "hold default", {"decode": 3}))
    files.event(Trouble(START_S + 25, "configuration not taken: budget.gpus"))
    second.write(files)
    files.event(Outcome(1, "default", "applied", "decode 2 -> 3", START_S + 31))

    _, out, _ = explain(tmp_path, "--tick", "1")

    assert out.partition("\nbecause\n")[2].partition("\n\n")[2].splitlines() == [
        "held",
        "  decode: 3",
        "",
        "outcome",
        f"  applied at {when(START_S + 31)}: decode 2 -> 3",
        "",
        "since the decision before",
        f"  {when(START_S + 20)}  hold default, by ann: launch",
        f"  {when(START_S + 25)}  configuration not taken: budget.gpus",
        "",
        "computed anew: the same",
    ]
    assert "held" not in explain(tmp_path, "--tick", "0")[1].splitlines()


def test_lists_the_changes_of_every_file(stream: Path, folder: Path) -> None:
    listed = explain(stream, "--list")[1].splitlines()
    assert listed
    assert all(" -> " in line and "UTC" in line for line in listed)

    by_file = explain(folder, "--list")[1].splitlines()
    archive = Archive.read(folder)
    changes = [place for place in archive if place.tick.orders]
    assert [line for line in by_file if line.startswith(" ")] == [
        f"{place.tick.n:6d}  {when(place.tick.now_s)}  {place.tick.orders}" for place in changes
    ]
    assert [line for line in by_file if not line.startswith(" ")] == [
        journal.path.name for journal in archive.files if any(tick.orders for tick in journal)
    ]


def test_what_was_left_out_is_a_warning(stream: Path) -> None:
    stream.write_bytes(stream.read_bytes()[:-10])

    code, _, err = explain(stream)

    assert (code, err) == (0, "warning: run.jsonl: line 51 is torn and was left out\n")


def test_a_decision_that_does_not_reproduce_fails_and_names_the_field(stream: Path) -> None:
    rewrite(stream, 8, {"result.decisions.default.pools.decode.replicas": 31})

    code, _, err = explain(stream, "--tick", "7")

    assert code == 1
    assert err.splitlines()[0] == "computed anew: DIFFERS from the record; the code or the file has changed since"
    assert err.splitlines()[1].startswith("  result.decisions.default.pools.decode.replicas: recorded 31, computed ")


def test_verifies_every_decision_of_every_file(stream: Path, folder: Path) -> None:
    assert explain(stream, "--verify") == (0, "50 decisions in 1 file, computed anew: all the same\n", "")
    count = len(list(folder.iterdir()))
    assert explain(folder, "--verify") == (0, f"23 decisions in {count} files, computed anew: all the same\n", "")


def test_verifying_counts_what_differs_and_names_the_first(stream: Path) -> None:
    rewrite(stream, 8, {"result.budget.gpus": 33})
    rewrite(stream, 21, {"samples.default.rate_per_s.value": 200.0})

    code, out, err = explain(stream, "--verify")

    assert (code, out) == (1, "")
    first, second = err.splitlines()
    assert first.endswith(" of 50 decisions in 1 file DIFFER from the record; the first:")
    assert int(first.split()[0]) >= 2
    assert second == f"  decision 7 of {stream}: result.budget.gpus: recorded 33, computed 32"


def test_a_file_that_rotation_removed_while_verifying_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Archive.read(folder)
    monkeypatch.setattr(Archive, "read", lambda path: read)
    read.files[0].path.unlink()

    code, out, err = explain(folder, "--verify")

    left = 23 - len(read.files[0].ticks)
    assert (code, out) == (0, f"{left} decisions in {len(read.files) - 1} files, computed anew: all the same\n")
    assert (
        err == f"warning: {read.files[0].path.name}: was removed meanwhile, by rotation most likely, and is left out\n"
    )
