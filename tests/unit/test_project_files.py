"""What the files around the code promise: a lock without places, no trace of a machine, records that are complete."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
LOCK = (REPOSITORY / "constraints.txt").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def tracked_files() -> list[Path]:
    """Every file that git knows, or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [REPOSITORY / name for name in listed.splitlines() if (REPOSITORY / name).is_file()]


# --- the lock ---------------------------------------------------------------------------------------------------


def test_the_lock_names_no_host_and_no_path() -> None:
    assert re.findall(r".*(?:/|\w\.(?:org|com|net|io)\b|--index|--find-links).*", LOCK) == []


def test_every_pin_has_a_hash() -> None:
    pins = re.findall(r"^[\w.-]+==.*(?:\n .*)*", LOCK, re.MULTILINE)

    assert len(pins) > len(PROJECT["dependencies"])
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []


def asked_for() -> list[str]:
    extras = PROJECT["optional-dependencies"].values()
    return [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]


@pytest.mark.parametrize("line", asked_for())
def test_every_dependency_is_pinned_to_a_version_it_allows(line: str) -> None:
    wanted = Requirement(line)
    pinned = re.findall(rf"^{re.escape(canonicalize_name(wanted.name))}==([^\s;]+)", LOCK, re.MULTILINE)

    assert pinned, "run make lock"
    assert [version for version in pinned if version not in wanted.specifier] == []


# --- what every file keeps to -----------------------------------------------------------------------------------

MACHINE_PATH = re.compile(r"(?<![\w.<{/*])/(?:work|root|home/\w+)/")
"""An absolute path of somebody's machine; `spec/work/` and `$HOME/work/` are none."""


def test_no_file_mentions_a_path_of_one_machine() -> None:
    this_file = Path(__file__)
    texts = {path: path.read_bytes().decode(errors="ignore") for path in tracked_files() if path != this_file}

    assert len(texts) > 10
    assert {str(path): found for path, text in texts.items() if (found := MACHINE_PATH.findall(text))} == {}


HIDDEN_SKIP = re.compile(r"\bpytest\.(?:skip|importorskip|mark\.skip(?:if)?)\b")


def test_what_a_test_needs_is_declared_as_a_suite() -> None:
    allowed = {REPOSITORY / "tests/conftest.py", Path(__file__)}
    tests = [path for path in (REPOSITORY / "tests").rglob("*.py") if path not in allowed]

    assert {path.name: found for path in tests if (found := HIDDEN_SKIP.findall(path.read_text()))} == {}


# --- documents --------------------------------------------------------------------------------------------------

RECORDS = sorted((REPOSITORY / "docs/adr").glob("*.md"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_its_number_its_status_and_its_four_sections(record: Path) -> None:
    text = record.read_text()
    *sections, last = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert text.startswith(f"# {int(record.name[:4])}. ")
    assert re.search(r"^Status: (accepted|superseded by \d+)", text, re.MULTILINE)
    assert sections == ["Context", "Decision", "Consequences"]
    assert re.fullmatch(r"How to tell (that )?(it|this) was wrong", last)


def test_no_two_records_share_a_number() -> None:
    numbers = [record.name[:4] for record in RECORDS]

    assert numbers == sorted(set(numbers))


def test_make_alone_explains_every_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"^\.PHONY: (\w+)$", makefile, re.MULTILINE)

    shown = subprocess.run(["make", "--no-print-directory"], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert re.findall(r"^  make (\w+) +\S", shown.stdout, re.MULTILINE) == targets
    assert {"demo", "test", "check", "bench", "lock", "clean"} <= set(targets)
