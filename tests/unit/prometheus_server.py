"""A Prometheus that answers as it is told, and fails in every way a test asks for."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeAlias
from urllib.parse import parse_qs

JSON = "application/json"


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    path: str
    form: Mapping[str, list[str]]
    headers: Mapping[str, str]


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's replies."""

    protocol_version = "HTTP/1.1"
    # Else headers and body, written apart, wait for an acknowledgement in between.
    disable_nagle_algorithm = True
    server: FakePrometheus

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True)
        asked = Asked(self.path, form, {name.lower(): value for name, value in self.headers.items()})
        self.server.reply_to(asked)(self)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def send(self, status: int, body: bytes, kind: str = JSON, **headers: str) -> None:
        """A whole response; `Retry_After` stands for Retry-After."""
        self.send_response_only(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


Reply: TypeAlias = Callable[[Handler], None]


class FakePrometheus(ThreadingHTTPServer):
    """Listens on a free port. `release` lets go of whoever hangs."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Asked] = []
        self.release = Event()
        self._replies: dict[str | None, list[Reply]] = {}
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self._scheme = "https"

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_port}"

    def script(self, *replies: Reply, query: str | None = None) -> None:
        """What to reply, one after another and then the last for ever; to one query, or to all others."""
        self._replies[query] = list(replies)

    def reply_to(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        query = asked.form.get("query", [None])[0]
        replies = self._replies[query if query in self._replies else None]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is part of the play."""


@contextmanager
def fake_prometheus(certificate: Path | None = None) -> Iterator[FakePrometheus]:
    """A running server."""
    server = FakePrometheus(certificate)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def says(document: object, **headers: str) -> Reply:
    """The document with status 200."""
    return lambda handler: handler.send(200, json.dumps(document).encode(), **headers)


def fails(status: int, body: bytes = b"", kind: str = "text/plain", **headers: str) -> Reply:
    """Any other status."""
    return lambda handler: handler.send(status, body, kind, **headers)


def body(content: bytes, kind: str = JSON, **headers: str) -> Reply:
    """Status 200 with anything in it."""
    return lambda handler: handler.send(200, content, kind, **headers)


def huge(mebibytes: int) -> Reply:
    """Small on the wire."""
    return body(gzip.compress(b" " * mebibytes * 2**20, 1), Content_Encoding="gzip")


def hangs(handler: Handler) -> None:
    """Not even a status."""
    handler.server.release.wait()
    handler.close_connection = True


def hangs_after_headers(handler: Handler) -> None:
    """A status, a promise, and nothing more."""
    handler.send_response_only(200)
    handler.send_header("Content-Type", JSON)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    hangs(handler)


def trickles(handler: Handler) -> None:
    """A byte now and then, each in time for the socket's own limit, without end."""
    handler.send_response_only(200)
    handler.send_header("Content-Type", JSON)
    handler.end_headers()
    while not handler.server.release.wait(0.02):
        handler.wfile.write(b" ")
    handler.close_connection = True


def truncated(handler: Handler) -> None:
    """Less than was promised."""
    handler.send_response_only(200)
    handler.send_header("Content-Type", JSON)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"status":"succ')
    handler.close_connection = True


def hangs_up(handler: Handler) -> None:
    """Closes without a word."""
    handler.close_connection = True


def vector(*samples: tuple[Mapping[str, str], str], at_s: float = 1000.0, **more: Any) -> dict[str, Any]:
    """The document of an instant query's answer."""
    result = [{"metric": dict(labels), "value": [at_s, value]} for labels, value in samples]
    return success({"resultType": "vector", "result": result}, **more)


def matrix(*series: tuple[Mapping[str, str], list[tuple[float, str]]]) -> dict[str, Any]:
    """The document of a range query's answer."""
    result = [{"metric": dict(labels), "values": [list(pair) for pair in values]} for labels, values in series]
    return success({"resultType": "matrix", "result": result})


def success(data: object, **more: Any) -> dict[str, Any]:
    """A good answer's envelope."""
    return {"status": "success", "data": data, **more}


def error(kind: str, text: str) -> bytes:
    """A refusal's body."""
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()
