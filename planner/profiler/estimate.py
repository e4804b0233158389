"""Profiles for hardware nobody has at hand: operator times measured elsewhere, composed along a model.

What an estimate is not: it knows the GPU's kernels, not the engine's scheduler, its host work or its warm-up. It is
therefore optimistic, most of all where kernels are short: TTFT of short prompts, ITL of few requests. A prompt is
taken in one step, however long; where layers attend to a window only, KV capacity is that of long contexts. Sizing on
an estimate relies on the online correction.
Units: ms, tokens, requests, tokens per second and GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from statistics import fmean
from typing import Any

from planner.errors import UserError
from planner.profiler.operator_times import (
    MAX_BATCHED_TOKENS,
    MAX_CONCURRENCY,
    MEMORY_FRACTION,
    MEMORY_MARGIN,
    Offer,
    Replica,
    compose,
    gpu_slug,
    model_slug,
    offers,
    system_name,
)
from planner.scaling.profile.document import SCHEMA, SCHEMA_VERSION, UNITS
from planner.scaling.profile.points import MS_PER_S

ISL_TOKENS = (
    *(128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144),
    *(8192, 10240, 12288, 16384, 20480, 24576, 32768),
)
AROUND = (0.9, 0.95, 1.0, 1.05, 1.1)
"""TTFT at a length is the mean over these multiples of it.

Matrix products are cut into tiles, so that TTFT climbs in steps: on an H100 the estimate for Llama-3.1-8B in fp8 is
34 ms at 2,048 tokens and 43 ms at 2,049. Powers of two alone sit at the foot of the steps, and would flatter by 10 to
25 % between 256 and 2,000 tokens.
"""
CONTEXT_TOKENS = (256, 768, 2048, 5120, 12288, 32768)
CONCURRENCY_LEVELS = 9


def estimate_document(model: str, gpu: str, tp: int, precision: str, engine: str = "vllm") -> dict[str, Any]:
    """A profile document (planner.scaling.profile) of `model` on `tp` GPUs of one kind, kind `estimated`.

    `model` is a published checkpoint or its short name; publisher, `Instruct` and a precision in it are ignored.
    Points stand as estimated, unrepaired.
    Raises ModuleNotFoundError without the extra `estimate`; UserError, saying what is available, for a model, precision
    or GPU that the database does not hold, or for a number of GPUs that does not suit the model.
    """
    if tp < 1:
        raise UserError(f"tp: {tp} must be a whole number above zero")
    offer, gpu = _chosen(offers(engine), model, gpu, precision, engine)
    return _document(offer, gpu, tp, engine, compose(offer, gpu, tp, engine))


def _chosen(
    available: Mapping[tuple[str, str], Offer], model: str, gpu: str, precision: str, engine: str
) -> tuple[Offer, str]:
    """The offer, and the GPU as the offer names it."""
    slug = model_slug(model)
    precisions = [offered for name, offered in available if name == slug]
    if not precisions:
        names = ", ".join(dict.fromkeys(name for name, _ in available))
        raise UserError(f"model: {model!r} is not in the database of {engine}; available: {names}")
    if precision not in precisions:
        raise UserError(
            f"precision: {precision!r} is not in the database for {slug}; available: {', '.join(precisions)}"
        )
    offer = available[slug, precision]
    for name in offer.engine_versions:
        if gpu_slug(name) == gpu_slug(gpu):
            return offer, name
    raise UserError(
        f"gpu: {gpu!r} is not in the database for {slug} {precision}; available: {', '.join(offer.engine_versions)}"
    )


def _document(offer: Offer, gpu: str, tp: int, engine: str, replica: Replica) -> dict[str, Any]:
    isl = [length for length in ISL_TOKENS if length <= replica.max_kv_tokens]
    ttft_ms = [round(fmean(replica.ttft_ms(round(length * factor)) for factor in AROUND), 3) for length in isl]
    points = [
        (context, concurrency, round(replica.itl_ms(concurrency, context), 3))
        for context in CONTEXT_TOKENS
        for concurrency in _concurrencies(replica.max_kv_tokens // context)
    ]
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": f"{gpu_slug(gpu)}-{offer.model}-{offer.precision}-tp{tp}",
        "model": offer.checkpoint,
        "gpu": gpu,
        "engine": engine,
        "engine_version": offer.engine_versions[gpu],
        "precision": offer.precision,
        "tensor_parallel": tp,
        "kind": "estimated",
        "provenance": {
            "source": f"aiconfigurator-core {version('aiconfigurator-core')}, database {system_name(gpu)}/{engine}",
            "license": "Apache-2.0",
            "method": "operator times composed along the model: TTFT of one prompt in one step (mean of five lengths "
            "within 10 %), ITL of one decode step",
            "notes": _notes(offer, engine, replica),
        },
        "units": dict(UNITS),
        "prefill": {
            "gpus_per_replica": tp,
            "isl_tokens": isl,
            "ttft_ms": ttft_ms,
            "tokens_per_s_per_gpu": [_throughput(n, ms, tp) for n, ms in zip(isl, ttft_ms, strict=True)],
        },
        "decode": {
            "gpus_per_replica": tp,
            "max_kv_tokens": replica.max_kv_tokens,
            "context_tokens": [context for context, _, _ in points],
            "concurrency": [concurrency for _, concurrency, _ in points],
            "itl_ms": [itl_ms for _, _, itl_ms in points],
            "tokens_per_s_per_gpu": [_throughput(concurrency, itl_ms, tp) for _, concurrency, itl_ms in points],
        },
    }


def _notes(offer: Offer, engine: str, replica: Replica) -> list[str]:
    memory = "free memory" if engine == "trtllm" else "memory"
    notes = [
        f"kernels only, without scheduler and host: expect a real {engine} to be slower",
        f"operators measured on this GPU give {replica.prefill_measured_share:.0%} of the prefill time at 2,048 tokens "
        f"and {replica.decode_measured_share:.0%} of the decode time of 32 such requests; the rest is derived",
        f"KV capacity is computed, the cache in {replica.kv_precision}: {MEMORY_FRACTION:.0%} of the {memory}, "
        f"activations of {MAX_BATCHED_TOKENS:,} tokens, {MEMORY_MARGIN:.0%} margin",
    ]
    if offer.quantised_on_load:
        notes.append("a bf16 checkpoint quantised to fp8 while loading")
    return notes


def _concurrencies(fitting: int) -> list[int]:
    """From 1 to what fits into the KV memory, by even factors; empty when not even one request fits."""
    most = min(fitting, MAX_CONCURRENCY)
    if most < 1:
        return []
    last = CONCURRENCY_LEVELS - 1
    return sorted({round(most ** (level / last)) for level in range(CONCURRENCY_LEVELS)})


def _throughput(tokens: int, ms: float, gpus: int) -> float:
    return round(MS_PER_S * tokens / ms / gpus, 1)
