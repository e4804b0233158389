"""The example launcher scales processes for a real planner, and either side dies in the middle of it."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

LAUNCHER = Path(__file__).parents[2] / "examples" / "launcher.py"
BUDGET_GPUS = 6
CONFIG = f"""\
budget: {{gpus: {BUDGET_GPUS}}}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {{isl: 3000, osl: 150, ttft: 500, itl: 50}}
interval_s: 5
startup_s: 5
forecast: {{model: constant, quantile: 0.5}}
scaling: {{stabilisation_down_s: 5, delayed_start_s: 0, max_down_factor: 1}}
"""
RATES_PER_S = (5, 30, 45, 60, 20, 5, 30)
"""Twenty seconds each, over and over; ten times as fast as the wall."""
TOKEN = "s3cret"
PATIENCE_S = 60.0


class Site:
    """A planner and its launchers, and the replicas they keep."""

    def __init__(self, folder: Path, processes: ExitStack) -> None:
        self.folder = folder
        self._processes = processes
        self.replicas = folder / "replicas"
        self.replicas.mkdir()
        (folder / "token").write_text(TOKEN)
        (folder / "token").chmod(0o600)
        (folder / "planner.yaml").write_text(CONFIG)
        rows = (f"{20 * step},{RATES_PER_S[step % len(RATES_PER_S)]},3000,150\n" for step in range(200))
        (folder / "load.csv").write_text("t,request_rate,isl,osl\n" + "".join(rows))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def planner(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "planner", "run", "-c", str(self.folder / "planner.yaml"), "--launchers",
            "--rehearse", str(self.folder / "load.csv"), "--speed", "10", "--state", str(self.folder / "state"),
            "--token-file", str(self.folder / "token"), "--listen", f"127.0.0.1:{self.port}",
        ]  # fmt: skip
        return self._start("planner", command)

    def launcher(self, name: str) -> subprocess.Popen[bytes]:
        url = f"http://127.0.0.1:{self.port}/launcher/default"
        command = [
            sys.executable, str(LAUNCHER), url, "--token-file", str(self.folder / "token"),
            "--folder", str(self.replicas), "--grace-s", "1",
        ]  # fmt: skip
        return self._start(name, command)

    def running(self) -> int:
        """Replicas alive: those that hold their lock."""
        return sum(_locked(file) for file in self.replicas.glob("*.pid"))

    def watch(self, seconds: float) -> set[int]:
        """How many replicas ran at one time or another; never more than there are GPUs."""
        seen, until_s = set(), time.monotonic() + seconds
        while time.monotonic() < until_s:
            running = self.running()
            assert running <= BUDGET_GPUS
            seen.add(running)
            time.sleep(0.02)
        return seen

    def overview(self) -> Any:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/overview", timeout=5) as answer:
                    return json.load(answer)
            except OSError:
                assert time.monotonic() < deadline_s, (self.folder / "planner.log").read_text()
                time.sleep(0.05)

    def settles(self) -> None:
        """What runs is what is ordered, sooner or later."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            pools = self.overview()["services"][0]["pools"]
            if all(pool["ready"] == pool["wanted"] and pool["ready"] for pool in pools.values()):
                return
            self.watch(0.1)
        raise AssertionError(f"{pools}: {(self.folder / 'launcher-1.log').read_text()}")

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        log = self._processes.enter_context((self.folder / f"{name}.log").open("ab"))
        process = subprocess.Popen(command, stdout=log, stderr=log)
        self._processes.callback(_gone, process)
        return process


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as processes:
        processes.callback(_no_replicas, tmp_path / "replicas")
        yield Site(tmp_path, processes)


def test_targets_stay_right_and_the_budget_holds_whoever_dies(site: Site) -> None:
    planner, first = site.planner(), site.launcher("launcher-1")
    site.settles()
    assert len(site.watch(8.0)) > 1, "the load made it scale"
    second = site.launcher("launcher-2")
    site.watch(4.0)
    first.kill()
    site.watch(2.0)
    planner.kill()
    planner.wait()
    site.watch(1.0)
    site.planner()
    site.watch(4.0)
    second.kill()
    site.launcher("launcher-3")
    site.watch(3.0)

    site.settles()


def test_a_launcher_that_lies_is_refused_and_the_budget_holds(site: Site) -> None:
    site.planner()
    site.launcher("launcher-1")
    site.settles()
    liar = random.Random(1)
    for _ in range(20):
        order = f"{liar.randrange(10**14):015d}"
        counts = {"prefill": liar.randrange(50, 99), "decode": liar.randrange(50, 99)}
        code = _say(site.port, "POST", f"orders/{order}", {"completed": True, "reason": "trust me", "ready": counts})
        assert 400 <= code < 500
        assert 400 <= _say(site.port, "PUT", "ready", {"ready": counts}) < 500
        site.watch(0.1)

    site.settles()


def _say(port: int, method: str, path: str, body: object) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/launcher/default/{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _locked(file: Path) -> bool:
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _gone(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _no_replicas(folder: Path) -> None:
    for file in folder.glob("*.pid"):
        if _locked(file):
            with suppress(ProcessLookupError, ValueError):
                os.killpg(int(file.read_text()), signal.SIGKILL)
