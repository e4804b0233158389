"""What `aiconfigurator-core` knows: times of single operators, measured per GPU, engine and precision.

The package (Apache-2.0, the extra `estimate`) ships these times together with the shapes of published models and
composes one from the other, so an answer needs no GPU, no weights and no network. This module alone speaks its
language (`h100_sxm`, quantisation modes) and gives ours back (`H100-SXM`, `fp8`). Units: ms, tokens, requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from planner.errors import UserError

ENGINES = ("vllm", "sglang", "trtllm")

MEMORY_FRACTION = 0.9
"""Of a GPU's memory, what an engine may use; 0.9 is what engines take, or come close to, by default."""
MEMORY_MARGIN = 0.02
"""KV memory lost to block granularity and to what a start-up measurement cannot foresee."""
MAX_BATCHED_TOKENS = 8192
"""Tokens in one step, which sizes the activations beside the KV cache."""
MAX_CONCURRENCY = 1024
"""The most sequences vLLM runs together on large GPUs unless told otherwise."""

_OWN_PRECISION = {None: "bf16", "fp8": "fp8", "fp8_block": "fp8", "nvfp4": "nvfp4", "mxfp4": "mxfp4"}
"""A checkpoint's quantisation as the package names it, to the precision users write. Others are not offered."""
_QUANTISED = {"gemm_quant_mode": "fp8", "moe_quant_mode": "fp8"}
"""A bf16 checkpoint quantised to fp8 as it is loaded: activations scaled at run time."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model at a precision, on the GPUs for which its operators were measured."""

    model: str
    """Short name, such as llama-3.1-8b."""
    precision: str
    checkpoint: str
    """The published checkpoint whose shape and own precision are used."""
    quantised_on_load: bool
    engine_versions: Mapping[str, str]
    """GPU, such as H100-SXM, to the engine version that was measured on it."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica, composed."""

    max_kv_tokens: int
    kv_precision: str
    ttft_ms: Callable[[int], float]
    """Of the prompt's length, one prompt in one step."""
    itl_ms: Callable[[int, int], float]
    """Of (concurrency, context), one decode step."""
    prefill_measured_share: float
    """Share of a 2,048-token prefill's time that comes from operators measured on this GPU, not derived."""
    decode_measured_share: float
    """The same of a decode step of 32 requests at 2,048 tokens."""


def offers(engine: str) -> dict[tuple[str, str], Offer]:
    """All that can be composed for an engine, by short model name and precision, sorted.

    Raises ModuleNotFoundError without the extra `estimate`, UserError for an unknown engine.
    """
    if engine not in ENGINES:
        raise UserError(f"engine: {engine!r} is not in the database; available: {', '.join(ENGINES)}")
    own: dict[tuple[str, str], Offer] = {}
    quantised: dict[tuple[str, str], Offer] = {}
    for checkpoint, versions in sorted(_measured_checkpoints(engine).items()):
        algorithm = _checkpoint_config(checkpoint).get("quant_algo")
        if algorithm not in _OWN_PRECISION:
            continue
        model, precision = model_slug(checkpoint), _OWN_PRECISION[algorithm]
        own.setdefault((model, precision), Offer(model, precision, checkpoint, False, versions))
        if precision == "bf16":
            capable = {gpu: engine_version for gpu, engine_version in versions.items() if _computes_fp8(gpu)}
            quantised[model, "fp8"] = Offer(model, "fp8", checkpoint, True, capable)
    return dict(sorted((quantised | own).items()))


def compose(offer: Offer, gpu: str, tp: int, engine: str) -> Replica:
    """The offered model on `tp` GPUs, `gpu` being a key of its engine versions.

    Raises UserError when the model cannot be divided so or leaves no memory for its KV cache.
    """
    sdk = import_module("aiconfigurator_core.sdk")
    kv_precision = _kv_precision(offer.checkpoint)
    where = (offer.checkpoint, system_name(gpu), engine)
    shape: dict[str, Any] = {
        "backend_version": "current",
        "tp_size": tp,
        "moe_tp_size": tp,
        "moe_ep_size": 1,
        "kvcache_quant_mode": kv_precision,
        **(_QUANTISED if offer.quantised_on_load else {}),
    }
    try:
        handle = sdk.EngineHandle.compile(*where, **shape)
        prefill_operators, _ = handle.run_static_per_op(batch_size=1, isl=2048, osl=1, mode="static_ctx")
        decode_operators = handle.decode_step_per_op(32, 2048, 0)
        memory = sdk.estimate_kv_cache(
            *where,
            max_num_tokens=MAX_BATCHED_TOKENS,
            max_batch_size=MAX_CONCURRENCY,
            memory_fraction_kind="of_free" if engine == "trtllm" else "of_total",
            memory_fraction_value=MEMORY_FRACTION,
            tolerance_fraction=MEMORY_MARGIN,
            **shape,
        )
    except (ValueError, RuntimeError, AssertionError) as error:  # the package's ways of refusing a combination
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"tp: {offer.model} {offer.precision} on {tp} x {gpu} cannot be estimated ({reason}); try another tp or GPU"
        ) from error
    return Replica(
        max_kv_tokens=memory["tolerance_adjusted"]["total_kv_size_tokens"],
        kv_precision=kv_precision,
        ttft_ms=lambda isl: handle.predict_prefill_latency(1, isl),
        itl_ms=lambda concurrency, context: handle.decode_step_latency(concurrency, context, 0),
        prefill_measured_share=_measured_share(prefill_operators),
        decode_measured_share=_measured_share(decode_operators),
    )


def model_slug(checkpoint: str) -> str:
    """Llama-3.1-8B of any publisher, instructed or not, at any precision, is llama-3.1-8b: one shape, one speed."""
    name = checkpoint.lower().rsplit("/", 1)[-1].removeprefix("meta-")
    return re.sub(r"-(instruct|bf16|fp8|nvfp4)(?=-|$)", "", name)


def gpu_slug(gpu: str) -> str:
    """H100-SXM, h100_sxm and H100 are all h100."""
    return gpu.lower().replace("_", "-").removesuffix("-sxm")


def system_name(gpu: str) -> str:
    """The package's name of a GPU: H100-SXM is h100_sxm."""
    return gpu.lower().replace("-", "_")


def _measured_checkpoints(engine: str) -> dict[str, dict[str, str]]:
    """Checkpoint to GPU to engine version, where every operator was measured and the model's shape is shipped.

    A checkpoint whose shape is not shipped would be looked up on the network; it is left out.
    """
    common = import_module("aiconfigurator_core.sdk.common")
    perf_database = import_module("aiconfigurator_core.sdk.perf_database")
    rows = [
        row
        for row in common.get_support_matrix()
        if (row["Backend"], row["Mode"], row["Status"], row["Source"]) == (engine, "disagg", "PASS", "silicon")
        and row["HuggingFaceID"] in common.DefaultHFModels
    ]
    systems = sorted({row["System"] for row in rows})
    current = {system: perf_database.get_version_slots(system, engine)["current"] for system in systems}
    measured: dict[str, dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: systems.index(row["System"])):
        if row["Version"] == current[row["System"]]:
            gpu = row["System"].upper().replace("_", "-")
            measured.setdefault(row["HuggingFaceID"], {})[gpu] = row["Version"]
    return measured


def _checkpoint_config(checkpoint: str) -> Mapping[str, Any]:
    utils = import_module("aiconfigurator_core.sdk.utils")
    config: Mapping[str, Any] = utils.get_model_config_from_model_path(checkpoint)["raw_config"]
    return config


def _computes_fp8(gpu: str) -> bool:
    perf_database = import_module("aiconfigurator_core.sdk.perf_database")
    return "fp8_tc_flops" in perf_database.load_system_spec(system_name(gpu))["gpu"]


def _kv_precision(checkpoint: str) -> str:
    """8 bit only where the checkpoint brings scales for it: engines otherwise keep the cache in the model's type.

    Left to itself the package assumes 8 bit for more checkpoints, which doubles the capacity of, say, Qwen3-32B-FP8.
    """
    return "fp8" if _checkpoint_config(checkpoint).get("kv_cache_quant_algo") == "fp8" else "bfloat16"


def _measured_share(operators: Iterable[tuple[str, float, float, str]]) -> float:
    """Share of the time of (name, ms, energy, source) rows whose source is a measurement of that very operator."""
    rows = list(operators)
    return sum(ms for _, ms, _, source in rows if source == "silicon") / sum(ms for _, ms, _, _ in rows)
