"""The journal of a process that runs for months: rotated, bounded, out of disk, killed, started again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from journal_runs import START_S, Minute, Step, begun, journal_files, loaded, minutes, settings, steps, varied

from planner.config import build_settings
from planner.journal import CHECKPOINT_TICKS, Archive, JournalError, JournalFiles, JournalLostError, Outcome, Trouble
from planner.scaling.tick import initial_state


def total_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def all_the_same(folder: Path) -> list[int]:
    """The ticks on record, each of which decides as recorded, from any file by itself."""
    found = []
    for journal in Archive.read(folder).files:
        replayed = list(journal.rerun(settings()))
        assert [one.difference for one in replayed] == [None] * len(replayed)
        found += [one.n for one in replayed]
    return found


def trouble(number: int) -> Trouble:
    return Trouble(START_S + number, f"trouble {number}")


# --- files and their bound --------------------------------------------------------------------------------------


def test_the_first_record_begins_a_file_named_by_its_time(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    files = journal_files(folder)
    assert names(folder) == []

    files.event(trouble(61))

    assert names(folder) == ["journal-20261121T130101Z-000001.jsonl"]


def test_every_record_can_be_read_as_soon_as_it_is_written(tmp_path: Path) -> None:
    files = journal_files(tmp_path)
    for step in steps(varied(3), begun()):
        step.write(files)

        assert [place.tick.n for place in Archive.read(tmp_path)] == list(range(step.n + 1))


def test_a_full_file_is_followed_by_another_and_the_oldest_goes(tmp_path: Path) -> None:
    files = journal_files(tmp_path, max_bytes=30_000, keep=3)
    for step in steps(varied(30), begun()):
        step.write(files)

    held = all_the_same(tmp_path)
    assert len(names(tmp_path)) == 3
    assert 6 <= len(held) < 30
    assert held == list(range(30))[-len(held) :]
    for path in tmp_path.iterdir():
        first = json.loads(path.read_text().splitlines()[0])
        assert (first["kind"], first["schema_version"]) == ("start", 2)
        assert first["state"]["services"]["default"]["started_s"] == START_S


def test_a_state_is_put_on_record_now_and_then(tmp_path: Path) -> None:
    files = journal_files(tmp_path)
    for step in steps(varied(2 * CHECKPOINT_TICKS + 1), begun()):
        step.write(files)

    (journal,) = Archive.read(tmp_path).files

    assert [sum(tick.offset < offset for tick in journal.ticks) for offset in journal.states] == [0, 100, 200]


def test_a_state_that_the_record_does_not_lead_to_is_put_on_record(tmp_path: Path) -> None:
    files = journal_files(tmp_path)
    first, second = steps(varied(2), begun())
    (elsewhere,) = steps([Minute(120, 5)], begun(), first=2)
    for step in (first, second, elsewhere):
        step.write(files)

    assert all_the_same(tmp_path) == [0, 1, 2]


def test_a_file_that_begins_with_an_event_holds_the_state_after_the_last_tick(tmp_path: Path) -> None:
    files = journal_files(tmp_path, max_bytes=20_000)
    first, second, third = steps(varied(3), begun())
    first.write(files)
    second.write(files)
    files.event(Trouble(START_S, "x" * 5000))
    third.write(files)

    *_, last = Archive.read(tmp_path).files
    assert (len(last.events), [tick.n for tick in last], last.states) == (1, [2], (0,))
    start = json.loads(last.path.read_text().splitlines()[0])
    assert len(start["state"]["services"]["default"]["history"]) == 2


def test_another_configuration_begins_another_file(tmp_path: Path) -> None:
    files = journal_files(tmp_path)
    made = list(steps(varied(2), begun()))
    made[0].write(files)
    other = loaded(ttft=500)
    state = initial_state(build_settings(other), START_S + 30)

    files.begin(other.to_document(), other.profile_documents(), state)
    files.event(trouble(40))

    first, second = Archive.read(tmp_path).files
    assert first.digest != second.digest
    assert second.config == other.to_document()
    assert second.events == (trouble(40),)


def test_a_process_that_starts_again_leaves_what_another_left(tmp_path: Path) -> None:
    made = list(steps(varied(3), begun()))
    files = journal_files(tmp_path)
    for step in made:
        step.write(files)
    (old,) = tmp_path.iterdir()
    old.write_bytes(torn := old.read_bytes()[:-100])

    again = journal_files(tmp_path)
    made[0].write(again)

    assert old.read_bytes() == torn
    archive = Archive.read(tmp_path)
    assert archive.notes == (f"{old.name}: line 4 is torn and was left out",)
    assert [[tick.n for tick in journal] for journal in archive.files] == [[0, 1], [0]]


def test_files_stay_in_order_when_the_clock_goes_back(tmp_path: Path) -> None:
    for number in (900, 0, 500):
        journal_files(tmp_path).event(trouble(number))

    assert [journal.events for journal in Archive.read(tmp_path).files] == [
        (trouble(900),), (trouble(0),), (trouble(500),)
    ]  # fmt: skip


def test_a_smaller_bound_holds_for_what_a_process_with_a_larger_one_left(tmp_path: Path) -> None:
    larger = journal_files(tmp_path, max_bytes=100_000)
    for step in steps(varied(20), begun()):
        step.write(larger)
    assert total_bytes(tmp_path) > 90_000

    journal_files(tmp_path, max_bytes=20_000, keep=4).event(trouble(0))

    assert total_bytes(tmp_path) < 80_000


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "journal-of-ann.jsonl").write_text("dear diary")
    files = journal_files(tmp_path, max_bytes=30_000, keep=1)
    for step in steps(varied(9), begun()):
        step.write(files)

    assert (tmp_path / "journal-of-ann.jsonl").read_text() == "dear diary"
    assert len(names(tmp_path)) == 2


def do_tick(files: JournalFiles, made: list[Step]) -> None:
    made.pop(0).write(files)


def do_event(files: JournalFiles, made: list[Step]) -> None:
    files.event(Outcome(made[0].n - 1, "default", "applied", "a detail " * 200, START_S))


def do_begin(files: JournalFiles, made: list[Step]) -> None:
    files.begin(loaded().to_document(), loaded().profile_documents(), made[0].before)


ACTIONS = st.sampled_from([do_tick, do_tick, do_tick, do_event, do_begin, None])


@given(
    played=st.lists(minutes(), min_size=31, max_size=31),
    actions=st.lists(ACTIONS, max_size=30),
    max_bytes=st.integers(16_000, 60_000),
    keep=st.integers(1, 4),
)
@hypothesis_settings(max_examples=60)
def test_the_total_never_exceeds_its_bound_and_every_file_explains_itself(
    played: list[Minute], actions: list[Callable[[JournalFiles, list[Step]], None] | None], max_bytes: int, keep: int
) -> None:
    made = list(steps(played[: len(actions) + 1], begun()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = journal_files(folder, max_bytes=max_bytes, keep=keep)
        for action in actions:
            if action is None:  # the process starts again
                files.close()
                files = journal_files(folder, made[0].before, max_bytes=max_bytes, keep=keep)
            else:
                action(files, made)
            assert total_bytes(folder) <= keep * max_bytes
            assert len(names(folder)) <= keep
        if names(folder):
            assert Archive.read(folder).notes == ()
            all_the_same(folder)


# --- when it cannot be written ----------------------------------------------------------------------------------


class Disk:
    """What stands between the journal and the disk: room for so many bytes, then none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 10**9
        self._write = os.write
        monkeypatch.setattr("planner.journal.files.os.write", self.write)

    def write(self, descriptor: int, line: bytes) -> int:
        taken = min(self.room, len(line))
        if not taken:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self.room -= taken
        return self._write(descriptor, line[:taken])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_full_disk_loses_what_came_meanwhile_and_says_how_much(tmp_path: Path, disk: Disk) -> None:
    files = journal_files(tmp_path)
    made = list(steps(varied(6), begun()))
    for step in made[:2]:
        step.write(files)
    whole = total_bytes(tmp_path)

    disk.room = 1000
    for lost, step in enumerate(made[2:4], start=1):
        with pytest.raises(
            JournalLostError,
            match=rf"^journal: a record could not be written to .+ \(No space left on device\); {lost} lost so far, "
            "mend the disk and the next record begins a new file$",
        ) as caught:
            step.write(files)
        assert isinstance(caught.value, OSError)
        assert caught.value.lost == files.lost == lost
    assert total_bytes(tmp_path) == whole

    disk.room = 10**9
    for step in made[4:]:
        step.write(files)

    files.begin(loaded().to_document(), loaded().profile_documents(), made[-1].after)
    files.event(trouble(200))

    assert len(names(tmp_path)) == 3
    assert all_the_same(tmp_path) == [0, 1, 4, 5]
    assert Archive.read(tmp_path).notes == (f"{names(tmp_path)[1]}: 2 records before it could not be written",)


@pytest.mark.parametrize("room", [0, 100, 5000, 9000], ids=lambda room: f"{room} bytes left")
def test_a_disk_that_stays_full_costs_at_most_the_oldest_file(room: int, tmp_path: Path, disk: Disk) -> None:
    files = journal_files(tmp_path, max_bytes=40_000, keep=3)
    made = list(steps(varied(40), begun()))
    for step in made[:16]:
        step.write(files)
    before = names(tmp_path)
    assert len(before) == 3

    for step in made[16:]:
        disk.room = room
        with pytest.raises(JournalLostError):
            files.event(Trouble(START_S, "x" * 10_000))
        with pytest.raises(JournalLostError):
            step.write(files)

    assert names(tmp_path) == before[1:]
    disk.room = 10**9
    (one,) = steps([Minute()], made[-1].after, first=40)
    one.write(files)
    assert all_the_same(tmp_path)[-1] == 40
    assert Archive.read(tmp_path).notes == (f"{names(tmp_path)[-1]}: 48 records before it could not be written",)


def test_a_folder_that_vanished_is_reported_and_the_journal_goes_on_when_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    files = journal_files(folder)
    made = list(steps(varied(3), begun()))
    made[0].write(files)

    shutil.rmtree(folder)
    with pytest.raises(JournalLostError, match=r"\(No such file or directory\); 1 lost so far"):
        made[1].write(files)
    assert not folder.exists()
    folder.mkdir()
    made[2].write(files)

    assert all_the_same(folder) == [2]


def test_a_file_that_somebody_took_away_costs_nothing_more(tmp_path: Path) -> None:
    files = journal_files(tmp_path)
    made = list(steps(varied(2), begun()))
    made[0].write(files)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / "taken")

    made[1].write(files)

    assert files.lost == 0
    assert all_the_same(tmp_path) == [1]


def test_a_file_that_somebody_put_another_in_place_of_is_left_to_them(tmp_path: Path) -> None:
    files = journal_files(tmp_path)
    files.event(trouble(0))
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / "taken")
    path.write_bytes(b"")

    files.event(trouble(1))

    assert path.read_bytes() == b""
    assert [journal.events for journal in Archive.read(tmp_path).files] == [(trouble(1),)]


def test_a_record_that_fits_no_file_is_lost_alone(tmp_path: Path) -> None:
    files = journal_files(tmp_path, max_bytes=40_000, keep=2)
    made = list(steps(varied(2), begun()))
    made[0].write(files)

    with pytest.raises(JournalLostError, match=r"a start of \d+ bytes and a record of \d+ exceed max_bytes 40000"):
        files.event(Trouble(START_S, "x" * 50_000))
    made[1].write(files)

    assert len(names(tmp_path)) == 1
    assert all_the_same(tmp_path) == [0, 1]


@pytest.mark.parametrize(
    ("max_bytes", "keep", "message"),
    [
        pytest.param(10**6, 0, "^keep: 0 must be 1 or more$", id="keep"),
        pytest.param(0, 2, "^max_bytes: 0 must be 1 or more$", id="max_bytes"),
    ],
)
def test_a_bound_that_allows_nothing_is_refused(tmp_path: Path, max_bytes: int, keep: int, message: str) -> None:
    with pytest.raises(JournalError, match=message):
        journal_files(tmp_path / "journal", max_bytes=max_bytes, keep=keep)

    assert not (tmp_path / "journal").exists()


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(
        JournalError, match=r"^journal: .+/file cannot be a folder \(File exists\); choose another path$"
    ):
        journal_files(tmp_path / "file")


# --- reading a folder -------------------------------------------------------------------------------------------


def test_a_file_that_was_never_started_is_left_out_with_a_note(tmp_path: Path) -> None:
    journal_files(tmp_path).event(trouble(0))
    whole = (tmp_path / names(tmp_path)[0]).read_bytes()
    empty, cut = tmp_path / "journal-20261121T130000Z-000002.jsonl", tmp_path / "journal-20261121T130000Z-000003.jsonl"
    empty.write_bytes(b"")
    cut.write_bytes(whole[:1000])

    archive = Archive.read(tmp_path)

    assert len(archive.files) == 1
    assert archive.notes == tuple(
        f"{path.name}: was cut off in its first line and is left out" for path in (empty, cut)
    )


def test_a_file_that_rotation_removed_while_reading_is_left_out_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal_files(tmp_path).event(trouble(0))
    (there,) = tmp_path.iterdir()
    gone = tmp_path / "journal-20261121T120000Z-000000.jsonl"
    monkeypatch.setattr("planner.journal.archive.journal_files", lambda folder: [gone, there])

    archive = Archive.read(tmp_path)

    assert [journal.path for journal in archive.files] == [there]
    assert archive.notes == (f"{gone.name}: was removed meanwhile, by rotation most likely, and is left out",)


def test_damage_in_one_file_of_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    files = journal_files(tmp_path)
    for number in range(3):
        files.event(trouble(number))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b'"text":"trouble 1"', b'"text":trouble 1'))

    with pytest.raises(JournalError, match=rf"{path.name}:3: is damaged"):
        Archive.read(tmp_path)


def test_a_folder_without_a_journal_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"holds no journal; give the folder that planner writes its journal to"):
        Archive.read(tmp_path)


def test_an_outcome_is_found_in_the_file_after_its_tick_and_not_in_another_processs(tmp_path: Path) -> None:
    (step,) = steps([Minute()], begun())
    outcome = Outcome(0, "default", "applied", "prefill 2 -> 3", START_S + 1)
    late = Outcome(0, "default", "failed", "no answer", START_S + 2)
    files = journal_files(tmp_path)
    step.write(files)
    files.begin(loaded().to_document(), loaded().profile_documents(), step.after)
    files.event(outcome)
    again = journal_files(tmp_path)
    step.write(again)
    again.event(late)

    archive = Archive.read(tmp_path)

    assert [archive.outcomes(place) for place in archive] == [{"default": outcome}, {"default": late}]
