"""The container image: built here from the Dockerfile, without Docker, and looked into.

The base is a Debian of debootstrap with its Python, in place of the registry's image that the Dockerfile names; every
layer lies in a temporary folder, 5 GB at the most. The wheels come from the package index.

Limits: the registry's own base is not tried, and there is no kubelet; a pod's security context is tested elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from planner import __version__

pytestmark = pytest.mark.needs("image")

REPOSITORY = Path(__file__).parents[2]
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
CERTIFICATES = "/etc/ssl/certs:/etc/ssl/certs:ro"
"""A build behind a proxy of its own authority trusts it as this machine does."""
MIB = 2**20
MOST_MIB = 700
"""What the planner adds to its base, with room for dependencies to grow by a third."""


@dataclass(frozen=True, slots=True)
class Store:
    """Images and containers, in a folder of their own."""

    folder: Path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run buildah, and wait for its end."""
        storage = [f"--root={self.folder / 'root'}", f"--runroot={self.folder / 'run'}", "--storage-driver=vfs"]
        chroot = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        command = ["buildah", *storage, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=chroot, cwd=self.folder)

    def say(self, *arguments: str) -> str:
        """What buildah answers. Raises AssertionError with what it complained of."""
        done = self(*arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Container:
    """One of the image, in which commands run as its user."""

    store: Store
    name: str

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run it, and wait for its end."""
        return self.store("run", f"--volume={REPOSITORY / 'examples'}:/examples:ro", self.name, "--", *command)

    def shell(self, script: str) -> list[str]:
        """Lines that a script prints, whatever becomes of it."""
        return self.run("sh", "-c", script).stdout.splitlines()


@contextmanager
def container(folder: Path) -> Iterator[Container]:
    """Of the image, built anew."""
    store, debian = Store(folder), folder / "debian"
    try:
        bootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(debian)]
        made = subprocess.run(bootstrap, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout[-4000:]
        scratch = store.say("from", "scratch")
        store.say("add", scratch, str(debian), "/")
        store.say("commit", "--rm", scratch, "localhost/base")
        built = ("--network=host", f"--volume={CERTIFICATES}", "--build-arg=BASE=localhost/base")
        store.say("build", *built, "--tag=localhost/planner", str(REPOSITORY))
        yield Container(store, store.say("from", "localhost/planner"))
    finally:
        shutil.rmtree(folder)


# One test: building takes three minutes, and tests of one module may run in several processes.
def test_it_runs_the_planner_as_nobody_and_holds_nothing_to_build_install_or_test_with(tmp_path: Path) -> None:
    writable = r"find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune -o -writable ! -type l -print 2>&1"
    programs = "for each in pip pip3 gcc cc c++ make go git curl wget; do command -v $each; done"
    modules = "from importlib.util import find_spec; print([n for n in ('pip', 'ensurepip', 'pytest') if find_spec(n)])"
    left = r"find /opt /src /wheels \( -type d -name tests -o -name '*.whl' \) 2>/dev/null"

    with container(tmp_path) as inside:
        version = inside.run("planner", "--version")
        checked = inside.run("planner", "check-config", "--config=/examples/minimal.yaml")
        assert version.stdout == f"planner, version {__version__}\n"
        assert checked.returncode == 0, checked.stderr

        assert inside.shell("id -u; id -g; id -G") == ["65532"] * 3
        # What every Linux has for temporary files; in a pod the root is read-only besides.
        assert {each for each in inside.shell(writable) if "denied" not in each} <= {"/tmp", "/var/tmp", "/run/lock"}

        assert inside.shell(programs) == []
        assert [inside.run(each, "-c", modules).stdout for each in ("python", "/usr/bin/python3")] == ["[]\n"] * 2
        assert inside.shell(left) == []

        (line,) = inside.shell("du --summarize --block-size=1 /opt/planner")
    size_mib = int(line.split()[0]) / MIB
    print(f"the planner and all it imports: {size_mib:.0f} MiB")
    assert 0 < size_mib < MOST_MIB
