"""Profile documents for tests: a machine whose laws are known, measured without noise."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

MAX_KV_TOKENS = 100_000
CONTEXTS = (500.0, 2000.0, 8000.0)
SHARES = (0.0, 0.2, 0.45, 0.7, 0.95)
"""KV usage of the loads; the first is one request alone."""


def ttft_ms(isl_tokens: float) -> float:
    """A floor, a linear and a quadratic part."""
    return 10 + 0.02 * isl_tokens + 1e-6 * isl_tokens**2


def itl_ms(concurrency: float, context_tokens: float) -> float:
    """A floor, a cost per request and a cost per KV token."""
    return 5 + 0.05 * concurrency + 2e-4 * concurrency * context_tokens


def document() -> dict[str, Any]:
    """A valid document of two GPUs per replica that follows both laws exactly; the caller may change it."""
    isl = [100, 1000, 2000, 4000, 8000]
    loads = [(context, max(1, round(share * MAX_KV_TOKENS / context))) for context in CONTEXTS for share in SHARES]
    return {
        "schema": "sla-planner/profile",
        "schema_version": 1,
        "name": "test-tiny-fp8-tp2",
        "model": "example/tiny",
        "gpu": "TEST",
        "engine": "vllm",
        "engine_version": None,
        "precision": "fp8",
        "tensor_parallel": 2,
        "kind": "measured",
        "provenance": {"source": "a formula", "license": "Apache-2.0", "method": "computed", "notes": ["no noise"]},
        "units": {
            "isl_tokens": "tokens",
            "ttft_ms": "ms",
            "context_tokens": "tokens",
            "concurrency": "requests",
            "itl_ms": "ms",
            "tokens_per_s_per_gpu": "tokens/s/GPU",
            "max_kv_tokens": "tokens",
        },
        "prefill": {
            "gpus_per_replica": 2,
            "isl_tokens": isl,
            "ttft_ms": [ttft_ms(length) for length in isl],
            "tokens_per_s_per_gpu": [length / ttft_ms(length) * 1000 / 2 for length in isl],
        },
        "decode": {
            "gpus_per_replica": 2,
            "max_kv_tokens": MAX_KV_TOKENS,
            "context_tokens": [context for context, _ in loads],
            "concurrency": [concurrency for _, concurrency in loads],
            "itl_ms": [itl_ms(concurrency, context) for context, concurrency in loads],
            "tokens_per_s_per_gpu": [
                concurrency / itl_ms(concurrency, context) * 1000 / 2 for context, concurrency in loads
            ],
        },
    }


def changed(path: str, value: object) -> dict[str, Any]:
    """The document with one value replaced; "decode.itl_ms.3" is the fourth ITL."""
    whole = deepcopy(document())
    part: Any = whole
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        part = part[key]
    part[last] = value
    return whole


@st.composite
def noisy_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents as measurements are: ragged lines, noise of up to 8 % in every time, throughput that follows."""
    whole = document()
    noise = st.floats(0.92, 1.08)
    prefill, decode = whole["prefill"], whole["decode"]
    prefill["ttft_ms"] = [time * draw(noise) for time in prefill["ttft_ms"]]
    prefill["tokens_per_s_per_gpu"] = [
        isl / time * 1000 / 2 for isl, time in zip(prefill["isl_tokens"], prefill["ttft_ms"], strict=True)
    ]
    contexts = draw(st.lists(st.integers(50, 20_000), min_size=1, max_size=4, unique=True))
    loads = [
        (context, concurrency)
        for context in contexts
        for concurrency in draw(st.lists(st.integers(1, 400), min_size=2, max_size=6, unique=True))
    ]
    times = [itl_ms(concurrency, context) * draw(noise) for context, concurrency in loads]
    decode["max_kv_tokens"] = draw(st.integers(20_000, 10_000_000))
    decode["context_tokens"] = [context for context, _ in loads]
    decode["concurrency"] = [concurrency for _, concurrency in loads]
    decode["itl_ms"] = times
    decode["tokens_per_s_per_gpu"] = [
        concurrency / time * 1000 / 2 for (_, concurrency), time in zip(loads, times, strict=True)
    ]
    return whole
