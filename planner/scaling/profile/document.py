"""Profiles as documents: what the files under `profiles/` hold, checked key by key.

A document is the JSON value described in profiles/README.md. Reading is strict: a key that is missing, unknown or of
another type, a unit other than the one required, or a column that cannot be true is an error that names it. Writing
gives the canonical document: the keys in order, whole numbers without a fraction.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from planner.scaling.profile.consistency import decode_doubts, prefill_doubts
from planner.scaling.profile.decode import DecodeProfile
from planner.scaling.profile.memory import capacity_doubts
from planner.scaling.profile.points import DecodePoints, PrefillPoints, ProfileError
from planner.scaling.profile.prefill import PrefillProfile
from planner.scaling.profile.profile import Kind, Profile, Provenance

SCHEMA = "sla-planner/profile"
SCHEMA_VERSION = 1
UNITS = {
    "isl_tokens": "tokens",
    "ttft_ms": "ms",
    "context_tokens": "tokens",
    "concurrency": "requests",
    "itl_ms": "ms",
    "tokens_per_s_per_gpu": "tokens/s/GPU",
    "max_kv_tokens": "tokens",
}
_KINDS = ("measured", "estimated")
_KEYS = (
    *("schema", "schema_version", "name", "model", "gpu", "engine", "engine_version", "precision"),
    *("tensor_parallel", "kind", "provenance", "units", "prefill", "decode"),
)
_PREFILL_KEYS = ("gpus_per_replica", "isl_tokens", "ttft_ms", "tokens_per_s_per_gpu")
_DECODE_COLUMNS = ("context_tokens", "concurrency", "itl_ms", "tokens_per_s_per_gpu")


def profile_from_document(document: object) -> Profile:
    """The profile a document describes.

    Raises ProfileError naming the first field or point that cannot be used, its value and the remedy.
    """
    top = _object(document, "document", _KEYS)
    _require_equal(top["schema"], SCHEMA, "schema")
    _require_equal(top["schema_version"], SCHEMA_VERSION, "schema_version")
    _require_equal(_object(top["units"], "units", tuple(UNITS)), UNITS, "units")
    engine_version = top["engine_version"]
    if top["kind"] not in _KINDS:
        raise ProfileError(f"kind: {top['kind']!r} must be one of {', '.join(_KINDS)}")
    prefill, prefill_warnings = _prefill(top["prefill"])
    decode, decode_warnings = _decode(top["decode"])
    model, gpu, precision = (_text(top[key], key) for key in ("model", "gpu", "precision"))
    return _with_digest(
        Profile(
            name=_text(top["name"], "name"),
            model=model,
            gpu=gpu,
            engine=_text(top["engine"], "engine"),
            engine_version=None if engine_version is None else _text(engine_version, "engine_version"),
            precision=precision,
            tensor_parallel=_count(top["tensor_parallel"], "tensor_parallel"),
            kind=cast(Kind, top["kind"]),
            provenance=_provenance(top["provenance"]),
            prefill=prefill,
            decode=decode,
            warnings=(
                *prefill_warnings,
                *decode_warnings,
                *capacity_doubts(model, gpu, precision, decode.gpus, decode.max_kv_tokens),
            ),
            digest="",
        )
    )


def document_from_profile(profile: Profile) -> dict[str, Any]:
    """The canonical document of a profile, its points as filed; `profile_from_document` gives an equal profile."""
    prefill, decode = profile.prefill, profile.decode
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": profile.name,
        "model": profile.model,
        "gpu": profile.gpu,
        "engine": profile.engine,
        "engine_version": profile.engine_version,
        "precision": profile.precision,
        "tensor_parallel": profile.tensor_parallel,
        "kind": profile.kind,
        "provenance": {
            "source": profile.provenance.source,
            "license": profile.provenance.license,
            "method": profile.provenance.method,
            "notes": list(profile.provenance.notes),
        },
        "units": dict(UNITS),
        "prefill": {
            "gpus_per_replica": prefill.gpus,
            "isl_tokens": _tidy(prefill.points.isl_tokens),
            "ttft_ms": _tidy(prefill.points.ttft_ms),
            "tokens_per_s_per_gpu": _tidy(prefill.points.tokens_per_s_per_gpu),
        },
        "decode": {
            "gpus_per_replica": decode.gpus,
            "max_kv_tokens": decode.max_kv_tokens,
            "context_tokens": _tidy(decode.points.context_tokens),
            "concurrency": _tidy(decode.points.concurrency),
            "itl_ms": _tidy(decode.points.itl_ms),
            "tokens_per_s_per_gpu": _tidy(decode.points.tokens_per_s_per_gpu),
        },
    }


def _prefill(value: object) -> tuple[PrefillProfile, tuple[str, ...]]:
    part = _object(value, "prefill", _PREFILL_KEYS)
    gpus = _count(part["gpus_per_replica"], "prefill.gpus_per_replica")
    points = PrefillPoints(**{key: _numbers(part[key], f"prefill.{key}") for key in _PREFILL_KEYS[1:]})
    doubts = prefill_doubts(points, gpus)
    fitted = PrefillProfile.fit(points, gpus)
    return fitted, (*doubts, *fitted.warnings)


def _decode(value: object) -> tuple[DecodeProfile, tuple[str, ...]]:
    part = _object(value, "decode", ("gpus_per_replica", "max_kv_tokens", *_DECODE_COLUMNS))
    gpus = _count(part["gpus_per_replica"], "decode.gpus_per_replica")
    max_kv_tokens = _count(part["max_kv_tokens"], "decode.max_kv_tokens")
    points = DecodePoints(**{key: _numbers(part[key], f"decode.{key}") for key in _DECODE_COLUMNS})
    doubts = decode_doubts(points, gpus, max_kv_tokens)
    fitted = DecodeProfile.fit(points, gpus, max_kv_tokens)
    return fitted, (*doubts, *fitted.warnings)


def _provenance(value: object) -> Provenance:
    part = _object(value, "provenance", ("source", "license", "method", "notes"))
    notes = part["notes"]
    if not (isinstance(notes, list) and all(isinstance(note, str) for note in notes)):
        raise ProfileError(f"provenance.notes: {notes!r} must be a list of texts; write [] for none")
    texts = {key: _text(part[key], f"provenance.{key}") for key in ("source", "license", "method")}
    return Provenance(**texts, notes=tuple(notes))


def _with_digest(profile: Profile) -> Profile:
    canonical = json.dumps(document_from_profile(profile), sort_keys=True, separators=(",", ":"))
    return replace(profile, digest=hashlib.sha256(canonical.encode()).hexdigest())


def _object(value: object, where: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ProfileError(f"{where}: {_shown(value)} must be an object with the keys {', '.join(keys)}")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ProfileError(f"{where}: {', '.join(missing)} missing; add it, or see whether the file is truncated")
    unknown = [str(key) for key in value if key not in keys]
    if unknown:
        raise ProfileError(f"{where}: unknown key {', '.join(unknown)}; the keys are {', '.join(keys)}")
    return value


def _require_equal(value: object, required: object, where: str) -> None:
    if isinstance(value, Mapping) and isinstance(required, Mapping):
        for key, unit in required.items():
            _require_equal(value[key], unit, f"{where}.{key}")
    elif type(value) is not type(required) or value != required:
        raise ProfileError(f"{where}: {_shown(value)} is not supported; it must be {required!r}")


def _text(value: object, where: str) -> str:
    if not (isinstance(value, str) and value.strip()):
        raise ProfileError(f"{where}: {_shown(value)} must be a text that is not empty")
    return value


def _count(value: object, where: str) -> int:
    if not (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        raise ProfileError(f"{where}: {_shown(value)} must be a whole number above zero")
    return value


def _numbers(value: object, where: str) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise ProfileError(f"{where}: {_shown(value)} must be a list of numbers")
    for i, number in enumerate(value):
        if not isinstance(number, int | float) or isinstance(number, bool) or abs(number) > sys.float_info.max:
            raise ProfileError(f"{where}[{i}]: {_shown(number)} must be a finite number")
    return tuple(float(number) for number in value)


def _tidy(values: tuple[float, ...]) -> list[float]:
    return [int(value) if value.is_integer() else value for value in values]


def _shown(value: object) -> str:
    """A value as an error shows it: short, and on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
