"""A real Prometheus that scrapes made-up engines and routers, for tests."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode

from prometheus_dialects import Dialect, Work, vllm

PATIENCE_S = 60.0


@dataclass
class Replica:
    """What one engine or router has done since it began: everything at a constant rate."""

    labels: Mapping[str, str]
    """As the scrape configuration would attach them: namespace, pod, role."""
    rate_per_s: float = 2.0
    isl: float = 1000.0
    osl: float = 50.0
    ttft_s: float = 0.2
    itl_s: float = 0.02
    waiting: float = 1.0
    running: float = 3.0
    begun_s: float = field(default_factory=time.time)
    queue_s: float = 0.05
    isl_cv2: float = 0.5
    speaks: Dialect = field(default_factory=vllm)
    silent: bool = False
    """It answers no scrape."""
    before: float = 0.0
    """Requests done when it began."""

    def text(self) -> str:
        """In the exposition format."""
        return self.speaks(
            Work(
                self._requests(), self.isl, self.isl_cv2, self.osl, self.ttft_s, self.itl_s, self.queue_s,
                self.waiting, self.running,
            )
        )  # fmt: skip

    def turn(self, *, rate_per_s: float, waiting: float, running: float) -> None:
        """Go on at another rate; what was counted stays."""
        self.before, self.begun_s = self._requests(), time.time()
        self.rate_per_s, self.waiting, self.running = rate_per_s, waiting, running

    def _requests(self) -> float:
        return self.before + self.rate_per_s * (time.time() - self.begun_s)


class Site:
    """Replicas, each at its own path of one exporter, and the Prometheus that scrapes them every second."""

    def __init__(self, folder: Path, replicas: list[Replica], program: str = "prometheus") -> None:
        """`program` is the Prometheus to run."""
        self._folder = folder
        self._program = program
        self.replicas = replicas
        self._exporter = ThreadingHTTPServer(("127.0.0.1", 0), _handler(replicas))
        self._thread = Thread(target=self._exporter.serve_forever, args=(0.05,))
        self._thread.start()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, twice: bool = False) -> None:
        """Start Prometheus with what it has stored, and wait until it has scraped; `twice`: by two jobs."""
        address = f"127.0.0.1:{self._exporter.server_port}"
        jobs = [
            {
                "job_name": f"{job}-{number}", "metrics_path": f"/{number}",
                "static_configs": [{"targets": [address], "labels": dict(replica.labels)}],
            }
            for job in (("pods", "again") if twice else ("pods",))
            for number, replica in enumerate(self.replicas)
        ]  # fmt: skip
        config = self._folder / "prometheus.json"
        # YAML takes JSON as it is.
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        log = (self._folder / "prometheus.log").open("ab")
        self._process = subprocess.Popen(
            [
                self._program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.port}",
                f"--storage.tsdb.path={self._folder / 'data'}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        self._until_scraped(len(jobs))

    def stop(self) -> None:
        """Stop Prometheus."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop everything."""
        self.stop()
        self._exporter.shutdown()
        self._thread.join()
        self._exporter.server_close()

    def until_scraped_after(self, at_s: float) -> None:
        """Wait until every target was scraped later than `at_s`, seconds since the epoch."""
        self._until("min(timestamp(up))", at_s)

    def _until_scraped(self, targets: int) -> None:
        """A window full of scrapes: Prometheus takes a counter that appears in its middle to have begun there."""
        # Not six: on a busy machine a scrape may be late.
        self._until("count(sum_over_time(up[6s]) >= 4 and up offset 6s == 1)", targets)

    def _until(self, promql: str, least: float) -> None:
        query = f"{self.url}/api/v1/query?{urlencode({'query': promql})}"
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                with urllib.request.urlopen(query, timeout=5) as answer:
                    result = json.load(answer)["data"]["result"]
                if result and float(result[0]["value"][1]) >= least:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError((self._folder / "prometheus.log").read_text())


@contextmanager
def site(folder: Path, *replicas: Replica, program: str = "prometheus") -> Iterator[Site]:
    """A site, not started yet."""
    made = Site(folder, list(replicas), program)
    try:
        yield made
    finally:
        made.close()


def _handler(replicas: list[Replica]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # Keeps connections: a thread for each scrape of a hundred targets is much on a busy machine.
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            replica = replicas[int(self.path[1:])]
            if replica.silent:
                self.send_error(503)
                return
            body = replica.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
