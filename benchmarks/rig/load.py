"""A client that sends chat requests at random moments and keeps the time of every token.

Arrivals are Poisson; prompts and answers have log-normal lengths; all is drawn from one seed beforehand. HTTP is
spoken by hand: a client library costs more per chunk than a tiny model per token. Times are seconds of `time.time`.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent. Lengths are in tokens; a prompt's template comes on top."""

    rate_per_s: float
    duration_s: float
    isl: float
    osl: float
    seed: int


class Planned(NamedTuple):
    """A request before it is sent."""

    after_s: float
    prompt: str
    osl: int


class Step(NamedTuple):
    """Tokens that came at once; mostly one."""

    at_s: float
    tokens: int


@dataclass(slots=True)
class Served:
    """What the client saw of one request."""

    sent_s: float
    taken_s: float | None = None
    """When the answer's head came: the server has read the request, and made tokens of it."""
    isl: int = 0
    osl: int = 0
    """Tokens so far."""
    steps: list[Step] = field(default_factory=list)
    finished_s: float | None = None

    @property
    def first_s(self) -> float | None:
        """When the first token came."""
        return self.steps[0].at_s if self.steps else None


def planned(load: Load) -> Iterator[Planned]:
    """The requests of a load, in order."""
    draw = random.Random(load.seed)
    after_s = draw.expovariate(load.rate_per_s)
    while after_s < load.duration_s:
        isl, osl = _length(draw, load.isl, 1500), _length(draw, load.osl, 400)
        yield Planned(after_s, "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=isl)), osl)
        after_s += draw.expovariate(load.rate_per_s)


def _length(draw: random.Random, mean: float, most: int) -> int:
    """Log-normal with a coefficient of variation of 0.8, cut."""
    spread = 0.703  # sqrt(ln(1 + 0.8^2))
    return min(most, max(4, round(mean * draw.lognormvariate(-(spread**2) / 2, spread))))


async def send(url: str, model: str, request: Planned, served: list[Served]) -> None:
    """Send one now, and keep what comes in `served`. Raises OSError, and ValueError for an answer that is none."""
    host, _, port = url.removeprefix("http://").partition(":")
    body = json.dumps({
        "model": model, "messages": [{"role": "user", "content": request.prompt}], "max_tokens": request.osl,
        "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }).encode()  # fmt: skip
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    seen = Served(time.time())
    served.append(seen)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.encode() + body)
        while line := await reader.readline():
            at_s = time.time()
            if seen.taken_s is None:
                seen.taken_s = at_s
            # Between the events stand the lengths of HTTP's chunks.
            if line.startswith(b"data: {"):
                usage = json.loads(line.removeprefix(b"data: "))["usage"]
                fresh = usage["completion_tokens"] - seen.osl
                seen.isl, seen.osl = usage["prompt_tokens"], usage["completion_tokens"]
                if fresh:
                    seen.steps.append(Step(at_s, fresh))
            elif line.startswith(b"data: [DONE]"):
                seen.finished_s = seen.steps[-1].at_s
    finally:
        writer.close()
    if seen.osl != request.osl:
        raise ValueError(f"asked for {request.osl} tokens, got {seen.osl}")


async def knock(url: str, knocks_s: list[float]) -> None:
    """Keep the seconds that the server takes to say it is well, each second: HTTP and both ends, and no engine."""
    host, _, port = url.removeprefix("http://").partition(":")
    while True:
        begun_s = time.time()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        await reader.readline()
        knocks_s.append(time.time() - begun_s)
        writer.close()
        await asyncio.sleep(1.0)


async def play(url: str, model: str, load: Load, begun_s: float, served: list[Served]) -> None:
    """Send all of a load, each request at its time after `begun_s`, and wait for the last answer."""
    async with asyncio.TaskGroup() as sending:
        for request in planned(load):
            await asyncio.sleep(begun_s + request.after_s - time.time())
            sending.create_task(send(url, model, request, served))
