"""People's orders survive a restart, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.controls import ControlError, Controls, Hold, Pause
from planner.controls_file import read_controls, write_controls
from planner.scaling.types import Role

TEXTS, TIMES = st.text(max_size=20), st.floats(0, 1e10)
PAUSES = st.builds(Pause, TEXTS, TEXTS, TIMES)
HOLDS = st.builds(Hold, st.dictionaries(st.sampled_from(Role), st.integers(1, 99)), TIMES, TEXTS, TEXTS, TIMES)
CONTROLS = st.builds(
    Controls, st.none() | PAUSES, st.dictionaries(TEXTS, PAUSES, max_size=3), st.dictionaries(TEXTS, HOLDS, max_size=3)
)


@given(CONTROLS)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, controls: Controls) -> None:
    path = tmp_path_factory.mktemp("state") / "controls.json"
    write_controls(path, controls)

    assert read_controls(path) == controls


def test_without_a_file_nothing_is_in_force(tmp_path: Path) -> None:
    assert read_controls(tmp_path / "controls.json") == Controls()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "sla-planner/controls", "schema_version": 2}', "\x00"])
def test_a_file_that_makes_no_sense_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "controls.json"
    path.write_text(text)

    with pytest.raises(ControlError, match=r"controls\.json: is not a file of orders .* remove it, and give the order"):
        read_controls(path)


def test_an_order_that_cannot_be_kept_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "controls.json"

    with pytest.raises(ControlError, match=r"controls\.json: cannot be written \(No such file.*the order is not taken"):
        write_controls(path, Controls())
