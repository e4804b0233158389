"""`planner run` as a process: it serves, reloads, keeps its journal, and ends when told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_site import Replica, site

from planner.journal import Archive

T = TypeVar("T")

CONFIG = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 3000, osl: 150, ttft: 500, itl: 50}
"""
PATIENCE_S = 60.0


class Running:
    """A planner process and how to talk to it."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self.url = self.until(self._address)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def until(self, look: Callable[[], T | None]) -> T:
        """What `look` finds, once it does."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            found = look()
            if found is not None:
                return found
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"it never came; the log is\n{self.log.read_text()}")

    def logged(self, text: str) -> str:
        return self.until(lambda: next((str(r["message"]) for r in self.records() if text in r["message"]), None))

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, token: str, **body: object) -> int:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def ticks(self, count: int) -> None:
        self.until(lambda: self.get("/overview")["ticks"] >= count or None)

    def _address(self) -> str | None:
        for record in self.records():
            if record["message"].startswith("serving "):
                return str(record["message"].split()[1]).rstrip("/")
        return None


REHEARSAL = ("--rehearse", "demo", "--speed", "120")


@contextmanager
def running(folder: Path, *options: str, fleet: tuple[str, ...] = REHEARSAL) -> Iterator[Running]:
    config = folder / "planner.yaml"
    if not config.exists():
        config.write_text(CONFIG)
    token = folder / "token"
    token.write_text("open sesame")
    token.chmod(0o600)
    log = folder / "log"
    command = [
        sys.executable, "-m", "planner", "run", "-c", str(config), *fleet,
        "--listen", "127.0.0.1:0", "--token-file", str(token), *options,
    ]  # fmt: skip
    with log.open("w") as stream:
        process = subprocess.Popen(command, stderr=stream, stdout=stream, text=True)
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def said(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What a command that ends by itself says."""
    command = [sys.executable, "-m", "planner", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def end(planner: Running, how: signal.Signals = signal.SIGTERM) -> int:
    begun_s = time.monotonic()
    planner.process.send_signal(how)
    code = planner.process.wait(timeout=10)
    assert time.monotonic() - begun_s < 10
    return code


def test_it_serves_scales_keeps_a_journal_and_ends_within_ten_seconds(tmp_path: Path) -> None:
    with running(tmp_path, "--state", str(tmp_path / "state")) as planner:
        planner.ticks(12)
        assert planner.get("/healthz")["status"] == "ok"
        assert planner.get("/status")["services"]
        # A client that listens for ever must not keep it.
        events = urllib.request.urlopen(planner.url + "/events", timeout=10)
        assert end(planner) == 0
        events.close()

    assert all(record["level"] != "error" for record in planner.records()), planner.log.read_text()
    assert "Traceback" not in planner.log.read_text()
    journal = tmp_path / "state" / "journal"
    assert list(journal.iterdir())
    verified = subprocess.run(
        [sys.executable, "-m", "planner", "explain", str(journal), "--verify"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_killed_planner_leaves_a_journal_that_reads(tmp_path: Path) -> None:
    with running(tmp_path, "--state", str(tmp_path / "state")) as planner:
        planner.ticks(5)
        planner.process.kill()
        planner.process.wait()

    assert len(list(Archive.read(tmp_path / "state" / "journal"))) >= 4


def test_a_changed_configuration_is_taken_up_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as planner:
        config = tmp_path / "planner.yaml"
        planner.ticks(1)
        config.write_text(CONFIG.replace("gpus: 8", "gpus: 9"))
        planner.logged(f"{config}: taken")
        planner.until(lambda: planner.get("/overview")["budget"]["gpus"] == 9 or None)
        config.write_text(CONFIG.replace("gpus: 8", "gpus: many"))
        assert "budget.gpus" in planner.logged("not taken")
        overview = planner.until(lambda: planner.get("/overview") if planner.get("/overview")["trouble"] else None)
        assert overview["budget"]["gpus"] == 9
        config.write_text(CONFIG)
        planner.until(lambda: planner.get("/overview")["budget"]["gpus"] == 8 or None)
        assert planner.get("/overview")["trouble"] == []
        assert end(planner, signal.SIGINT) == 0


def test_orders_need_the_token_and_outlive_a_restart(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    with running(tmp_path, *state) as planner:
        planner.ticks(1)
        assert planner.post("/control/pause", "wrong", service="default", why="a test") == 401
        assert planner.post("/control/pause", "open sesame", service="default", why="a test") == 200
        assert end(planner) == 0
    assert "open sesame" not in planner.log.read_text()

    with running(tmp_path, *state) as planner:
        planner.ticks(3)
        assert list(planner.get("/overview")["controls"]["paused"]) == ["default"]
        assert planner.get("/overview")["services"][0]["gpus"] == 2
        assert end(planner) == 0


LIVE = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 1000, osl: 150, ttft: 500, itl: 50}
interval_s: 2
startup_s: 2
scaling: {delayed_start_s: 0}
metrics: {match: namespace=chat, prefill: role=prefill, decode: role=decode}
"""


@pytest.mark.needs("prometheus")
def test_it_runs_on_a_real_prometheus_sees_it_go_and_come_back_and_never_lowers_meanwhile(tmp_path: Path) -> None:
    engines = [
        Replica({"namespace": "chat", "pod": "p-0", "role": "prefill"}, rate_per_s=40.0, ttft_s=0.2, waiting=0.0),
        Replica({"namespace": "chat", "pod": "d-0", "role": "decode"}, rate_per_s=40.0, osl=150.0, waiting=0.0),
    ]
    with site(tmp_path, *engines) as prometheus:
        prometheus.start()
        (tmp_path / "planner.yaml").write_text(
            f"{LIVE}prometheus: {{url: {prometheus.url}, window_s: 5, timeout_s: 1}}\n"
        )
        with running(tmp_path, fleet=("--launchers",)) as planner:

            def seen(status: str) -> Any:
                [service] = planner.get("/status")["services"].values()
                rate = service["decision"]["observation"]["rate_per_s"] if service["decision"] else {"status": None}
                return rate if rate["status"] == status else None

            assert planner.until(lambda: seen("valid"))["value"] == pytest.approx(40.0, rel=0.1)

            def ordered() -> Any:
                [pools] = [service["pools"] for service in planner.get("/overview")["services"]]
                return pools if pools["prefill"]["wanted"] > 1 else None

            pools = planner.until(ordered)
            prometheus.stop()
            gone = planner.until(lambda: seen("missing"))
            assert str(prometheus.port) in gone["cause"]
            held = planner.until(ordered)
            assert all(held[role]["wanted"] >= pools[role]["wanted"] for role in pools)
            prometheus.start()
            planner.until(lambda: seen("valid"))
            assert end(planner) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "error: prometheus.url: is not set; give it, or rehearse", id="no source"),
        pytest.param(
            ["--set", "prometheus.url=http://x:1"],
            "error: --launchers, kubernetes: give one of them",
            id="no connector",
        ),
        pytest.param(["--rehearse", "demo", "--speed", "0"], "error: --speed: 0.0 must be above 0", id="speed"),
        pytest.param(
            ["--rehearse", "demo", "--listen", "8080"], "error: --listen: '8080' must be HOST:PORT", id="listen"
        ),
        pytest.param(
            ["--rehearse", "demo", "--listen", "192.0.2.1:1"],
            "error: --listen: 192.0.2.1:1 cannot be listened",
            id="host",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, options: list[str], message: str) -> None:
    config = tmp_path / "planner.yaml"
    config.write_text(CONFIG)

    done = subprocess.run(
        [sys.executable, "-m", "planner", "run", "-c", str(config), *options],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(message)
