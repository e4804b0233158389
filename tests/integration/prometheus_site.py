"""A real Prometheus that scrapes made-up vLLM replicas, for tests."""

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

PATIENCE_S = 60.0


@dataclass
class Replica:
    """What one engine has done since it began: everything at a constant rate."""

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

    def text(self) -> str:
        """In the exposition format, with the names of vLLM 0.15 and later."""
        requests = self.rate_per_s * (time.time() - self.begun_s)
        labels = 'model_name="llama",engine="0"'
        lines = []

        def put(name: str, value: float, more: str = "") -> None:
            lines.append(f"vllm:{name}{{{labels}{more}}} {value!r}")

        put("num_requests_running", self.running)
        put("num_requests_waiting", self.waiting)
        put("prompt_tokens_total", requests * self.isl)
        put("time_to_first_token_seconds_sum", requests * self.ttft_s)
        put("time_to_first_token_seconds_count", requests)
        put("time_to_first_token_seconds_bucket", requests * 0.9, ',le="0.5"')
        put("time_to_first_token_seconds_bucket", requests, ',le="+Inf"')
        put("request_queue_time_seconds_sum", requests * 0.05)
        put("request_queue_time_seconds_count", requests)
        put("request_generation_tokens_sum", requests * self.osl)
        put("request_generation_tokens_count", requests)
        put("inter_token_latency_seconds_sum", requests * self.osl * self.itl_s)
        put("inter_token_latency_seconds_count", requests * self.osl)
        return "\n".join(lines) + "\n"


class Site:
    """Replicas, each at its own path of one exporter, and the Prometheus that scrapes them every second."""

    def __init__(self, folder: Path, replicas: list[Replica]) -> None:
        self._folder = folder
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
                "prometheus", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.port}",
                f"--storage.tsdb.path={self._folder / 'data'}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        self._until_scraped()

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

    def _until_scraped(self) -> None:
        """A window full of scrapes: Prometheus takes a counter that appears in its middle to have begun there."""
        query = f"{self.url}/api/v1/query?query=min(count_over_time(vllm:num_requests_running[6s]))"
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                with urllib.request.urlopen(query, timeout=5) as answer:
                    result = json.load(answer)["data"]["result"]
                if result and float(result[0]["value"][1]) >= 6:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError((self._folder / "prometheus.log").read_text())


@contextmanager
def site(folder: Path, *replicas: Replica) -> Iterator[Site]:
    """A site, not started yet."""
    made = Site(folder, list(replicas))
    try:
        yield made
    finally:
        made.close()


def _handler(replicas: list[Replica]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = replicas[int(self.path[1:])].text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
