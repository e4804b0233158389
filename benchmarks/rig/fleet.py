"""An exporter of many made-up vLLM pods, each at a path of its own: `python benchmarks/rig/fleet.py PORT`.

/s0042/1 is the second pod of the service s0042. Counters grow at a constant rate and histograms are exponential with
vLLM's edges, so that answers have the size and the arithmetic the cost of real ones.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
import time
from collections.abc import Iterator

_LATENCY_EDGES = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_TTFT_EDGES = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
)  # fmt: skip
_ITL_EDGES = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
)  # fmt: skip
_TOKEN_EDGES = tuple(digit * 10**power for power in range(5) for digit in (1, 2, 5) if digit * 10**power <= 131072)

_GAUGES = {"num_requests_running": 3.0, "num_requests_waiting": 1.0, "kv_cache_usage_perc": 0.2}
_OSL = 150.0
_HISTOGRAMS = {
    "time_to_first_token_seconds": (_TTFT_EDGES, 0.2, 1.0),
    "inter_token_latency_seconds": (_ITL_EDGES, 0.02, _OSL),
    "request_queue_time_seconds": (_LATENCY_EDGES, 0.05, 1.0),
    "e2e_request_latency_seconds": (_LATENCY_EDGES, 3.2, 1.0),
    "request_prompt_tokens": (_TOKEN_EDGES, 3000.0, 1.0),
    "request_generation_tokens": (_TOKEN_EDGES, _OSL, 1.0),
}
"""Edges, mean, and events of a request."""


def _series() -> Iterator[tuple[str, float]]:
    """Counters: a series with its labels, and how much a request adds to it."""
    labels = 'engine="0",model_name="llama"'
    yield f"vllm:prompt_tokens_total{{{labels}}}", 3000.0
    yield f"vllm:generation_tokens_total{{{labels}}}", _OSL
    yield f'vllm:request_success_total{{{labels},finished_reason="stop"}}', 1.0
    for name, (edges, mean, events) in _HISTOGRAMS.items():
        for edge in edges:
            yield f'vllm:{name}_bucket{{{labels},le="{float(edge)}"}}', events * (1 - math.exp(-edge / mean))
        yield f'vllm:{name}_bucket{{{labels},le="+Inf"}}', events
        yield f"vllm:{name}_count{{{labels}}}", events
        yield f"vllm:{name}_sum{{{labels}}}", events * mean


_COUNTERS = tuple(_series())
_STEADY = "".join(f'vllm:{name}{{engine="0",model_name="llama"}} {value}\n' for name, value in _GAUGES.items())
_BEGUN_S = time.time()


def _exposition(pod: int) -> bytes:
    """What a pod says now."""
    requests = (1.0 + pod % 40 / 10) * (time.time() - _BEGUN_S)
    return (_STEADY + "".join(f"{series} {requests * each:.6g}\n" for series, each in _COUNTERS)).encode()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n"
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            body = _exposition(sum(map(int, re.findall(rb"\d+", request.split(maxsplit=2)[1]))))
            writer.write(head % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
