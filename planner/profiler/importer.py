"""Profiles from Dynamo's profiling results.

Three shapes of the same keys are read: a pair of npz files, a pair of JSON files (`prefill_raw_data.json`,
`decode_raw_data.json`), and one JSON file with the keys under `prefill` and `decode`. Times are in ms there, although
third-party files hold seconds; the throughput columns tell which. Loads are filed as KV usage
(usage = concurrency * context / max_kv_tokens) and become concurrency here. Older npz hold one row per configuration.

Pickled arrays are never loaded. Figures keep six digits, beyond what any measurement repeats.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from planner.scaling.profile import Profile, ProfileError, profile_from_document
from planner.scaling.profile.document import SCHEMA, SCHEMA_VERSION, UNITS
from planner.scaling.profile.points import MS_PER_S

TimeUnit = Literal["s", "ms"]
Array = NDArray[np.float64]
T = TypeVar("T")

_PREFILL_KEYS = ("prefill_isl", "prefill_ttft", "prefill_thpt_per_gpu")
_DECODE_KEYS = ("x_kv_usage", "y_context_length", "z_itl", "z_thpt_per_gpu", "max_kv_tokens")
_PAIRS = (
    ("selected_prefill_interpolation/raw_data.npz", "selected_decode_interpolation/raw_data.npz"),
    ("prefill_raw_data.json", "decode_raw_data.json"),
)
_WHOLE = 0.01
"""Filed KV usage is rounded; a concurrency this close to a whole number of requests is that number."""
_MS_NOT_S = MS_PER_S**0.5
"""Filed times over the seconds that throughput implies: 1 for seconds, 1000 for ms; this lies between."""
_MEASURED = "Dynamo's profiler: prompts one at a time, then decode at rising KV usage for each context"
_ESTIMATED = "composed from operator times; see source"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the files do not say. None: take it from the file."""

    name: str
    precision: str
    model: str | None = None
    gpu: str | None = None
    tensor_parallel: int | None = None
    prefill_gpus: int | None = None
    """GPUs per prefill replica; None: as the file says, else the tensor parallelism."""
    decode_gpus: int | None = None
    engine: str | None = None
    engine_version: str | None = None
    kind: str | None = None
    """None: as the file says, else measured."""
    source: str | None = None
    license: str | None = None


def import_profile(paths: Sequence[Path], metadata: Metadata, time_unit: TimeUnit | None = None) -> Profile:
    """The profile in one of Dynamo's folders or files, or in a prefill and a decode file. Unit None: find out.

    Raises ProfileError when a file cannot be read, or something is missing or cannot be true.
    """
    prefill, decode, about = _parts(paths)
    tensor_parallel = _known(metadata.tensor_parallel, _count(about, "tp"), "--tp")
    gpus = _count(about, "num_gpus") or tensor_parallel
    engine, _, engine_version = str(about.get("backend", "")).lower().partition(" ")
    kind = metadata.kind or ("estimated" if about.get("measured") is False else "measured")
    prefill_part, prefill_notes = _prefill(prefill, metadata.prefill_gpus or gpus, tensor_parallel, time_unit)
    decode_part, decode_notes = _decode(decode, metadata.decode_gpus or gpus, tensor_parallel, time_unit)
    return profile_from_document(
        {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "name": metadata.name,
            "model": _known(metadata.model, about.get("model"), "--model"),
            "gpu": _known(metadata.gpu, about.get("gpu"), "--gpu"),
            "engine": _known(metadata.engine, engine or None, "--engine"),
            "engine_version": metadata.engine_version or engine_version or None,
            "precision": metadata.precision,
            "tensor_parallel": tensor_parallel,
            "kind": kind,
            "provenance": {
                "source": _known(metadata.source, about.get("source"), "--source"),
                "license": _known(metadata.license, about.get("licence"), "--license"),
                "method": _MEASURED if kind == "measured" else _ESTIMATED,
                "notes": [
                    *(str(about[key]) for key in ("provenance", "correction") if key in about),
                    *prefill_notes,
                    *decode_notes,
                ],
            },
            "units": UNITS,
            "prefill": prefill_part,
            "decode": decode_part,
        }
    )


def _parts(paths: Sequence[Path]) -> tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    """Prefill keys, decode keys, and what a nested file says about itself."""
    if len(paths) == 1 and paths[0].is_dir():
        for pair in _PAIRS:
            files = [paths[0] / name for name in pair]
            if all(file.is_file() for file in files):
                return _parts(files)
        raise ProfileError(f"{paths[0]}: holds neither {_PAIRS[0][0]} nor {_PAIRS[1][0]} with its decode file")
    contents = [_contents(path) for path in paths]
    if len(contents) == 1:
        nested_prefill, nested_decode = contents[0].get("prefill"), contents[0].get("decode")
        if isinstance(nested_prefill, Mapping) and isinstance(nested_decode, Mapping):
            return nested_prefill, nested_decode, contents[0]
    prefill = [content for content in contents if _PREFILL_KEYS[0] in content]
    decode = [content for content in contents if _DECODE_KEYS[0] in content]
    if len(contents) != 2 or len(prefill) != 1 or len(decode) != 1:
        given = ", ".join(str(path) for path in paths)
        raise ProfileError(f"{given}: give a folder, a file with prefill and decode, or one file of each")
    return prefill[0], decode[0], {}


def _contents(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix == ".npz":
            return _arrays(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ProfileError(f"{path}: is not a readable npz or JSON file ({error}); is it truncated?") from error
    if not isinstance(content, Mapping):
        raise ProfileError(f"{path}: holds no keys; give one of Dynamo's raw_data files")
    return content


def _arrays(path: Path) -> dict[str, Any]:
    # Opened here, since numpy leaves a file open that turns out to be no archive.
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, NpzFile):
            raise TypeError("it holds a single array")
        # Only the keys used: descriptive columns of older files are pickled, and stay unread.
        return {key: archive[key] for key in (*_PREFILL_KEYS, *_DECODE_KEYS, "tp") if key in archive.files}


def _prefill(
    content: Mapping[str, Any], gpus: int, tensor_parallel: int, unit: TimeUnit | None
) -> tuple[dict[str, Any], list[str]]:
    isl, ttft, throughput = (_column(content, key, tensor_parallel) for key in _PREFILL_KEYS)
    _require_alike("prefill", isl, ttft, throughput)
    ttft_ms, notes = _in_ms("prefill_ttft", ttft, ttft * throughput * gpus / isl, unit)
    part = {
        "gpus_per_replica": gpus,
        "isl_tokens": _six_digits(isl),
        "ttft_ms": _six_digits(ttft_ms),
        "tokens_per_s_per_gpu": _six_digits(throughput),
    }
    return part, notes


def _decode(
    content: Mapping[str, Any], gpus: int, tensor_parallel: int, unit: TimeUnit | None
) -> tuple[dict[str, Any], list[str]]:
    usage, context, itl, throughput, capacity = (_column(content, key, tensor_parallel) for key in _DECODE_KEYS)
    _require_alike("decode", usage, context, itl, throughput)
    max_kv_tokens = int(capacity[0])
    concurrency = usage * max_kv_tokens / context
    whole = np.round(concurrency)
    concurrency = np.where(np.abs(concurrency - whole) <= _WHOLE * concurrency, whole, concurrency)
    itl_ms, notes = _in_ms("z_itl", itl, itl * throughput * gpus / concurrency, unit)
    part = {
        "gpus_per_replica": gpus,
        "max_kv_tokens": max_kv_tokens,
        "context_tokens": _six_digits(context),
        "concurrency": _six_digits(concurrency),
        "itl_ms": _six_digits(itl_ms),
        "tokens_per_s_per_gpu": _six_digits(throughput),
    }
    return part, notes


def _in_ms(key: str, times: Array, over_implied_s: Array, unit: TimeUnit | None) -> tuple[Array, list[str]]:
    """The times in ms, and a note if they were converted."""
    if unit is None:
        unit = "ms" if np.median(over_implied_s) > _MS_NOT_S else "s"
    if unit == "ms":
        return times, []
    return times * MS_PER_S, [f"{key} converted from seconds"]


def _column(content: Mapping[str, Any], key: str, tensor_parallel: int) -> Array:
    """One key as a column of positive, finite numbers; of an older file, the configuration's row."""
    if key not in content:
        raise ProfileError(f"{key}: missing; is this a complete raw_data file?")
    try:
        values = np.atleast_1d(np.asarray(content[key], dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ProfileError(f"{key}: is not a column of numbers ({error}); export it again") from error
    if values.ndim == 2:
        values = values[_row(content, key, values.shape[0], tensor_parallel)]
    if values.ndim != 1 or not values.size:
        raise ProfileError(f"{key}: has the shape {values.shape}; one column of numbers is needed")
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        raise ProfileError(f"{key}[{bad[0]}]: {values[bad[0]]} must be a positive, finite number; measure it again")
    return np.asarray(values)


def _row(content: Mapping[str, Any], key: str, rows: int, tensor_parallel: int) -> int:
    if rows == 1:
        return 0
    matching = np.flatnonzero(np.ravel(content.get("tp", ())) == tensor_parallel)
    if matching.size != 1:
        raise ProfileError(
            f"{key}: holds {rows} configurations, {matching.size} of them with tp {tensor_parallel}; "
            "choose one with --tp, or save one row alone"
        )
    return int(matching[0])


def _require_alike(part: str, *columns: Array) -> None:
    lengths = [column.size for column in columns]
    if len(set(lengths)) > 1:
        described = ", ".join(str(length) for length in lengths)
        raise ProfileError(f"{part}: columns differ in length ({described}); is the file truncated?")


def _count(about: Mapping[str, Any], key: str) -> int | None:
    value = about.get(key)
    if value is not None and not (isinstance(value, int) and value > 0):
        raise ProfileError(f"{key}: {value!r} must be a whole number above zero; correct the file")
    return value


def _known(given: T | None, filed: T | None, option: str) -> T:
    value = filed if given is None else given
    if value is None:
        raise ProfileError(f"{option}: the files do not say; give {option}")
    return value


def _six_digits(values: Array) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
