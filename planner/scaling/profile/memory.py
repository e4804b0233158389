"""Whether the KV capacity of a profile is what the GPUs' memory leaves for it.

KV usage, and so the number of requests a replica is thought to hold, scales with `max_kv_tokens`; a capacity far below
what fits means that the engine was run with less memory than it has, or that the number is wrong. Only for models whose
shape is listed here; others are not judged.
"""

from __future__ import annotations

from typing import NamedTuple

GB = 1e9
KIB = 1024


class _Shape(NamedTuple):
    parameters: float
    kv_bytes_per_token: float
    """In 16 bit: 2 (key, value) * layers * KV heads * head size * 2 bytes. An 8-bit cache holds twice the tokens."""


# From the models' published config.json.
_SHAPES = {
    "llama-3.1-8b": _Shape(8.0e9, 128 * KIB),
    "llama-3.1-70b": _Shape(70.6e9, 320 * KIB),
    "llama-3.3-70b": _Shape(70.6e9, 320 * KIB),
    "qwen3-32b": _Shape(32.8e9, 256 * KIB),
}
# From the vendor's data sheets; the smaller variant where there are several.
_GPU_BYTES = {
    "A100": 40 * GB,
    "B200": 180 * GB,
    "H100": 80 * GB,
    "H200": 141 * GB,
    "L40S": 48 * GB,
}
_WEIGHT_BYTES = {"fp4": 0.5, "int4": 0.5, "fp8": 1.0, "int8": 1.0, "bf16": 2.0, "fp16": 2.0}
_LEAST_SHARE = 0.5
"""Engines keep about a tenth of the memory free, and activations take some; less than half is no reserve."""


def capacity_doubts(model: str, gpu: str, precision: str, gpus: int, max_kv_tokens: int) -> tuple[str, ...]:
    """A warning when KV tokens fill less than half of the memory beside the weights; none for an unlisted model."""
    shape = next((shape for name, shape in _SHAPES.items() if name in model.lower()), None)
    gpu_bytes = next((size for name, size in _GPU_BYTES.items() if gpu.upper().startswith(name)), None)
    weight_bytes = _WEIGHT_BYTES.get(precision.lower())
    if shape is None or gpu_bytes is None or weight_bytes is None:
        return ()
    free = gpus * gpu_bytes - shape.parameters * weight_bytes
    used = max_kv_tokens * shape.kv_bytes_per_token
    if used >= _LEAST_SHARE * free:
        return ()
    return (
        f"decode.max_kv_tokens: {max_kv_tokens} tokens take {used / GB:.0f} GB "
        f"at {shape.kv_bytes_per_token / KIB:.0f} KiB each, yet {gpus} GPUs leave {free / GB:.0f} GB "
        "beside the weights; doubt the KV usage of every point",
    )
