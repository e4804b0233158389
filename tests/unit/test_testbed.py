"""scripts/testbed on made-up components, with a compiler that only pretends; and what each real component pins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COMPONENTS = sorted((REPOSITORY / "testbed").iterdir())

TOOLS = ("awk", "bash", "chmod", "dirname", "ls", "mkdir", "mktemp", "mv", "rm", "sed", "tr")
COMPILES = ': > "${@: -2:1}program"'
DF = "echo heading; echo disk 1 1 {free_mib} 1% /"


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder that is all the PATH: what the script needs, a roomy disk, and no Go. Beside it a copy of the script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    put(folder, "df", DF.format(free_mib=9000))
    (tmp_path / "scripts").mkdir()
    shutil.copy(REPOSITORY / "scripts/testbed", tmp_path / "scripts")
    for name in ("apple", "pear"):
        module = tmp_path / "testbed" / name
        module.mkdir(parents=True)
        (module / "go.mod").write_text("module testbed\n\ngo 1.26.0\n")
        (module / "version").write_text("1.2.3\n")
        (module / "ldflags").write_text("-X main.version=1.2.3\n")
    return folder


def scripted(path: Path, *names: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(path), "XDG_CACHE_HOME": str(path.parent / "cache"), "HOME": "/nowhere"}
    command = [shutil.which("bash") or "", str(path.parent / "scripts/testbed"), *names]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def kept(path: Path) -> list[str]:
    """What lies in the cache."""
    cache = path.parent / "cache/sla-planner/testbed"
    return sorted(str(each.relative_to(cache)) for each in cache.rglob("*")) if cache.is_dir() else []


def test_builds_a_component_once_and_prints_its_folder(path: Path) -> None:
    put(path, "go", COMPILES)
    first = scripted(path, "apple")
    put(path, "go", "exit 1")

    second = scripted(path, "apple")

    assert first.returncode == second.returncode == 0
    assert first.stdout == second.stdout == f"{path.parent}/cache/sla-planner/testbed/apple-1.2.3\n"
    assert second.stderr == ""
    assert kept(path) == ["apple-1.2.3", "apple-1.2.3/program"]


def test_builds_all_when_none_is_named(path: Path) -> None:
    put(path, "go", COMPILES)

    printed = scripted(path).stdout.splitlines()

    assert [Path(line).name for line in printed] == ["apple-1.2.3", "pear-1.2.3"]


def test_a_component_finishes_its_folder_from_its_module(path: Path) -> None:
    put(path, "go", COMPILES)
    put(path.parent / "testbed/pear", "after", 'mv "$1/program" "$1/pear"; mkdir "$1/${PWD##*/}-was-here"')

    scripted(path, "pear")

    assert kept(path) == ["pear-1.2.3", "pear-1.2.3/pear", "pear-1.2.3/pear-was-here"]


def test_a_folder_that_cannot_be_finished_is_not_kept(path: Path) -> None:
    put(path, "go", COMPILES)
    put(path.parent / "testbed/pear", "after", "exit 1")

    done = scripted(path, "pear")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("error: pear was built and not finished; what testbed/pear/after said stands above\n")
    assert kept(path) == []


@pytest.mark.parametrize(
    ("go", "free_mib", "names", "said"),
    [
        (
            None,
            9000,
            ["apple"],
            r"error: apple is built with Go, and there is no go .*; install Go [\d.]+ or",
        ),
        ("exit 1", 9000, ["apple"], r"error: apple was not built; what Go said stands above"),
        (COMPILES, 5999, ["apple"], r"error: \S+ has 5999 MiB free, .* takes up to 6000; make room, or set XDG_"),
        (COMPILES, 9000, ["nginx"], r"error: nginx is no component; these are: apple pear"),
    ],
    ids=["no Go", "a build that fails", "a full disk", "an unknown name"],
)
def test_says_what_is_wrong_and_leaves_nothing_behind(
    path: Path, go: str | None, free_mib: int, names: list[str], said: str
) -> None:
    if go is not None:
        put(path, "go", go)
    put(path, "df", DF.format(free_mib=free_mib))

    done = scripted(path, *names)

    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(said, done.stderr)
    assert kept(path) == []


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_a_component_pins_what_it_builds(component: Path) -> None:
    module = (component / "go.mod").read_text()
    version = (component / "version").read_text().strip()
    sums = (component / "go.sum").read_text().splitlines()

    assert re.findall(r"^tool (?:\S+|\($)", module, re.MULTILINE)
    # What is built besides may stand behind the version.
    assert version.partition("-")[0] in (component / "ldflags").read_text()
    assert sums
    assert [line for line in sums if not re.fullmatch(r"\S+ v\S+ h1:\S{44}", line)] == []
    assert [each.name for each in component.iterdir() if os.access(each, os.X_OK)] in ([], ["after"])
