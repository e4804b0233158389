"""The launcher under examples/, as a process of its own, against real orders over HTTP; its replicas only sleep."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from planner.clock import WallClock
from planner.connectors.orders import LauncherError
from planner.connectors.types import Plan
from planner.connectors.virtual import VirtualConnector
from planner.scaling.types import Role, Sample

LAUNCHER = Path(__file__).parents[2] / "examples/launcher.py"
PREFILL, DECODE = Role.PREFILL, Role.DECODE
TOKEN = "s3cret"


class Planner:
    """Orders in an event loop of their own, and the routes that lead to them."""

    def __init__(self) -> None:
        self.orders = VirtualConnector(
            {"chat": {PREFILL: 0, DECODE: 0}}, WallClock(), state=None, accept_within_s=60, report_max_age_s=90
        )
        self._loop = asyncio.new_event_loop()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _routes(self))
        self._threads = [Thread(target=self._loop.run_forever), Thread(target=self._server.serve_forever, args=(0.05,))]
        for thread in self._threads:
            thread.start()
        self.turned_away = 0
        """Calls without the token."""
        self.url = f"http://127.0.0.1:{self._server.server_port}/launcher/chat"

    def call(self, what: Callable[[], Any]) -> Any:
        """Call within the loop, and wait for what comes of it."""

        async def called() -> Any:
            made = what()
            return await made if asyncio.iscoroutine(made) else made

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(timeout=60)

    def plan(self, decision: str, prefill: int, decode: int) -> str:
        return str(
            self.call(lambda: self.orders.apply(Plan("chat", {PREFILL: prefill, DECODE: decode}, decision))).status
        )

    def counts(self, field: str) -> tuple[float, float]:
        pools = self.call(lambda: self.orders.read("chat"))
        prefill, decode = (getattr(pools[role], field) for role in (PREFILL, DECODE))
        assert isinstance(prefill, Sample)
        assert isinstance(decode, Sample)
        return prefill.value, decode.value

    def stop(self) -> None:
        self.call(self.orders.close)
        self._server.shutdown()
        self._server.server_close()
        self.call(_end_polls)
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join()
        self._loop.close()


async def _end_polls() -> None:
    """A launcher that was killed in a long poll leaves it behind."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _routes(planner: Planner) -> type[BaseHTTPRequestHandler]:
    class Routes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            after, wait_s = query.get("after", [None])[0], float(query["wait_s"][0])
            order = planner.call(lambda: planner.orders.orders("chat", after, wait_s))
            self._answer(None if order is None else {"id": order.id, "replicas": dict(order.replicas)})

        def do_POST(self) -> None:
            said, order_id = self._said(), unquote(self.path.rpartition("/")[2])
            ready = None if said.get("ready") is None else {Role(role): n for role, n in said["ready"].items()}
            self._taken(
                lambda: {
                    "answer": planner.orders.acknowledge("chat", order_id, said["completed"], said.get("reason"), ready)
                }
            )

        def do_PUT(self) -> None:
            ready = {Role(role): count for role, count in self._said()["ready"].items()}
            self._taken(lambda: planner.orders.report("chat", ready))

        def _said(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def _taken(self, what: Callable[[], Any]) -> None:
            try:
                self._answer(planner.call(what))
            except LauncherError as error:
                self._answer({"error": str(error)}, status=409)

        def _answer(self, body: Any, status: int = 200) -> None:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                planner.turned_away += 1
                status, body = 401, {"error": "token"}
            text = b"" if body is None else json.dumps(body).encode()
            # Who asked may have been killed meanwhile.
            with suppress(ConnectionError):
                self.send_response(204 if body is None else status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Routes


class Site:
    """A machine with launchers and replicas."""

    def __init__(self, folder: Path, url: str) -> None:
        self._token, self._url, self._folder = folder / "token", url, folder / "replicas"
        self._starts = folder / "starts"
        self._token.write_text(TOKEN)
        self._folder.mkdir()
        self._launchers: list[subprocess.Popen[bytes]] = []

    def launch(self, *, deadly: bool = False) -> subprocess.Popen[bytes]:
        """A launcher; the first decode replica that a deadly one starts kills it."""
        note, become = f"echo $$ >> {self._starts}", "exec sleep infinity"
        kill = f"{{ mkdir {self._starts}.once && kill -9 $PPID; }}" if deadly else "true"
        command = [sys.executable, str(LAUNCHER), self._url, "--token-file", str(self._token)]
        replicas = ["--prefill", f"sh -c '{note}; {become}'", "--decode", f"sh -c '{note}; {kill}; {become}'"]
        options = ["--folder", str(self._folder), "--most", "6"]
        launcher = subprocess.Popen([*command, *replicas, *options], stderr=subprocess.DEVNULL)
        self._launchers.append(launcher)
        return launcher

    def started(self) -> list[int]:
        """Process ids of all replicas there ever were."""
        return [int(line) for line in self._starts.read_text().split()] if self._starts.exists() else []

    def running(self) -> int:
        return sum(map(_runs, self.started()))

    def clear(self) -> None:
        for launcher in self._launchers:
            launcher.kill()
            launcher.wait()
        for pid in filter(_runs, self.started()):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie, as a replica is whose launcher has not looked since."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain until {what}"
        time.sleep(0.01)


@pytest.fixture
def planner() -> Iterator[Planner]:
    made = Planner()
    yield made
    made.stop()


@pytest.fixture
def site(tmp_path: Path, planner: Planner) -> Iterator[Site]:
    made = Site(tmp_path, planner.url)
    yield made
    made.clear()


def test_killed_in_the_middle_and_started_again_it_starts_no_replica_twice(planner: Planner, site: Site) -> None:
    planner.plan("001", prefill=4, decode=6)
    assert site.launch(deadly=True).wait(timeout=30) == -signal.SIGKILL

    site.launch()
    until(lambda: planner.counts("ready") == (4, 6), "the order is completed")

    until(lambda: site.running() == 10, "all replicas run")
    assert len(site.started()) == 10
    assert planner.plan("002", prefill=4, decode=6) == "unchanged"


def test_two_launchers_share_the_work_and_one_of_them_is_enough(planner: Planner, site: Site) -> None:
    first, _ = site.launch(), site.launch()
    planner.plan("001", prefill=2, decode=5)
    until(lambda: planner.counts("ready") == (2, 5), "the first order is completed")
    until(lambda: site.running() == 7, "all replicas run")

    first.terminate()
    first.wait()
    assert site.running() == 7
    planner.plan("002", prefill=1, decode=2)
    until(lambda: planner.counts("ready") == (1, 2), "the second order is completed")
    until(lambda: site.running() == 3, "all others are gone")

    planner.plan("003", prefill=1, decode=3)
    until(lambda: planner.counts("ready") == (1, 3), "the third order is completed")
    until(lambda: site.running() == 4, "the replica runs")
    assert len(site.started()) == 8


def test_more_than_there_is_room_for_is_refused_and_what_runs_is_kept(planner: Planner, site: Site) -> None:
    site.launch()

    planner.plan("001", prefill=1, decode=9)
    until(lambda: planner.counts("wanted") == (1, 6), "the order is refused")

    assert planner.counts("ready") == (1, 6)
    assert planner.counts("pending") == (0, 3)
    until(lambda: site.running() == 7, "what there is room for runs")
    assert len(site.started()) == 7


def test_a_lie_changes_nothing(planner: Planner, site: Site) -> None:
    def lie(method: str, path: str, body: object) -> tuple[int, object]:
        data, headers = json.dumps(body).encode(), {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"{planner.url}/{path}", data, headers, method=method)
        with pytest.raises(HTTPError) as raised:
            urllib.request.urlopen(request, timeout=10)
        with raised.value as answer:
            return answer.code, json.loads(answer.read())

    site.launch()
    planner.plan("001", prefill=1, decode=2)
    until(lambda: planner.counts("ready") == (1, 2), "the order is completed")

    too_many = (
        "ready.decode: 40 is more than the 2 that can exist; report this service's replicas alone, and count none twice"
    )
    ready = {"prefill": 1, "decode": 40}
    assert lie("PUT", "ready", {"ready": ready}) == (409, {"error": too_many})
    assert lie("POST", "orders/001", {"completed": True, "ready": ready}) == (409, {"error": too_many})

    assert planner.counts("wanted") == planner.counts("ready") == (1, 2)
    until(lambda: site.running() == 3, "all replicas run")
    assert len(site.started()) == 3


def test_it_outlasts_an_outage_of_the_planner(planner: Planner, site: Site, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("expired")
    site.launch()
    planner.plan("001", prefill=1, decode=2)
    until(lambda: planner.turned_away > 0, "it is turned away")

    token.write_text(TOKEN)

    until(lambda: planner.counts("ready") == (1, 2), "the order is completed")
    until(lambda: site.running() == 3, "all replicas run")
    assert len(site.started()) == 3
