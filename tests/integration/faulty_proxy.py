"""A proxy before a real Prometheus whose answers can be spoilt while it runs.

It asks Prometheus and hands the answer to the fault in force, a function from the question's PromQL and the honest
answer to the one that is sent. Each answer is on a connection of its own, so that a proxy that goes down is gone.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it is sent."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    missing: int = 0
    """Bytes that are announced and never sent."""
    after_s: float = 0.0
    clock_s: float = 0.0
    """The server's clock less ours."""


Fault = Callable[[str, Reply], Reply]


class Proxy:
    """Stands before the Prometheus at `upstream`, at an address of its own that stays."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._closing = Event()
        self._port = 0
        self.fault: Fault = honest
        self.up()
        self.url = f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Listen."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def down(self) -> None:
        """Refuse connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def close(self) -> None:
        """End, with whoever still waits for a slow answer."""
        self._closing.set()
        self.down()

    def reply(self, form: bytes) -> Reply:
        """What is to be sent."""
        with urllib.request.urlopen(f"{self._upstream}/api/v1/query", form, timeout=10) as answer:
            reply = self.fault(parse_qs(form.decode())["query"][0], Reply(answer.read()))
        self._closing.wait(reply.after_s)
        return reply


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy that listens."""
    made = Proxy(upstream)
    try:
        yield made
    finally:
        made.close()


def _handler(owner: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply = owner.reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response_only(reply.status)
            self.send_header("Date", formatdate(time.time() + reply.clock_s, usegmt=True))
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body) + reply.missing))
            self.end_headers()
            # Whoever asked may have gone.
            with suppress(ConnectionError):
                self.wfile.write(reply.body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


# --- faults -----------------------------------------------------------------------------------------------------------


def honest(promql: str, reply: Reply) -> Reply:
    """What Prometheus said."""
    return reply


def only(part: str, fault: Fault) -> Fault:
    """The fault in the answers to questions that contain `part`."""
    return lambda promql, reply: fault(promql, reply) if part in promql else reply


def status(code: int) -> Fault:
    """An error from whatever stands in between."""
    return lambda promql, reply: Reply(b"upstream connect error", code, "text/plain")


def slow(seconds: float) -> Fault:
    """An honest answer, late."""
    return lambda promql, reply: replace(reply, after_s=seconds)


def truncated(promql: str, reply: Reply) -> Reply:
    """Half of it."""
    half = len(reply.body) // 2
    return replace(reply, body=reply.body[:half], missing=len(reply.body) - half)


def login_page(promql: str, reply: Reply) -> Reply:
    """What a proxy shows to whom it does not know."""
    return Reply(b"<!doctype html><title>Sign in</title>", kind="text/html; charset=utf-8")


def empty(promql: str, reply: Reply) -> Reply:
    """Nothing matched."""
    return _edited(reply, lambda result: result.clear())


def valued(text: str) -> Fault:
    """Every value is `text`."""

    def edit(result: list[Any]) -> None:
        for series in result:
            series["value"][1] = text

    return lambda promql, reply: _edited(reply, edit)


def clock_off(seconds: float) -> Fault:
    """Date and timestamps of a server whose clock is `seconds` ahead."""

    def edit(result: list[Any]) -> None:
        for series in result:
            series["value"][0] += seconds

    return lambda promql, reply: replace(_edited(reply, edit), clock_s=seconds)


def _edited(reply: Reply, edit: Callable[[list[Any]], None]) -> Reply:
    document = json.loads(reply.body)
    edit(document["data"]["result"])
    return replace(reply, body=json.dumps(document).encode())
