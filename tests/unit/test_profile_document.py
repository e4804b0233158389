"""What a document must hold, what is doubted aloud, and what comes out again."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from profile_documents import changed, document, noisy_documents

from planner.errors import UserError
from planner.scaling.profile import ProfileError, document_from_profile, profile_from_document


def without(path: str) -> dict[str, Any]:
    whole = deepcopy(document())
    *parents, last = path.split(".")
    part: Any = whole
    for key in parents:
        part = part[key]
    del part[last]
    return whole


def scaled(path: str, factor: float) -> dict[str, Any]:
    part, column = path.split(".")
    return changed(path, [factor * value for value in document()[part][column]])


# --- a good document --------------------------------------------------------------------------------------------


def test_sound_measurements_raise_no_doubt() -> None:
    profile = profile_from_document(document())

    assert profile.warnings == ()
    assert (profile.name, profile.gpu, profile.tensor_parallel, profile.kind) == (
        "test-tiny-fp8-tp2",
        "TEST",
        2,
        "measured",
    )
    assert (profile.prefill.gpus, profile.decode.gpus, profile.decode.max_kv_tokens) == (2, 2, 100_000)


def test_what_is_read_is_written_again() -> None:
    assert document_from_profile(profile_from_document(document())) == document()


@given(noisy_documents())
def test_writing_and_reading_gives_an_equal_profile(whole: dict[str, Any]) -> None:
    profile = profile_from_document(whole)

    assert profile_from_document(document_from_profile(profile)) == profile


def test_profiles_are_equal_when_their_documents_are() -> None:
    profile, same = profile_from_document(document()), profile_from_document(document())
    other = profile_from_document(changed("decode.itl_ms.1", document()["decode"]["itl_ms"][1] * 1.001))

    assert profile == same
    assert hash(profile) == hash(same)
    assert profile != other


def test_the_order_of_decode_points_does_not_matter() -> None:
    whole = document()
    for column in ("context_tokens", "concurrency", "itl_ms", "tokens_per_s_per_gpu"):
        whole["decode"][column].reverse()

    shuffled, ordered = profile_from_document(whole).decode, profile_from_document(document()).decode

    assert shuffled.lines == ordered.lines


# --- what cannot be used ----------------------------------------------------------------------------------------

DOCUMENTS = {
    "not an object": ([], r"^document: \[\] must be an object with the keys schema, "),
    "another schema": (changed("schema", "other"), r"^schema: 'other' is not supported; it must be 'sla-planner/pro"),
    "a newer version": (changed("schema_version", 2), r"^schema_version: 2 is not supported; it must be 1$"),
    "true is not 1": (changed("schema_version", True), r"^schema_version: True is not supported"),
    "a missing key": (without("decode.itl_ms"), r"^decode: itl_ms missing; add it, or see whether the file is trunc"),
    "a missing part": (without("prefill"), r"^document: prefill missing"),
    "an unknown key": (changed("prefill.ttft_s", []), r"^prefill: unknown key ttft_s; the keys are gpus_per_replica,"),
    "an empty name": (changed("name", " "), r"^name: ' ' must be a text that is not empty$"),
    "another kind": (changed("kind", "guessed"), r"^kind: 'guessed' must be one of measured, estimated$"),
    "another unit": (changed("units.ttft_ms", "s"), r"^units.ttft_ms: 's' is not supported; it must be 'ms'$"),
    "a missing unit": (without("units.itl_ms"), r"^units: itl_ms missing"),
    "notes as text": (changed("provenance.notes", "a"), r"^provenance.notes: 'a' must be a list of texts; write \[\]"),
    "no GPU": (changed("decode.gpus_per_replica", 0), r"^decode.gpus_per_replica: 0 must be a whole number above zero"),
    "half a token": (changed("decode.max_kv_tokens", 0.5), r"^decode.max_kv_tokens: 0.5 must be a whole number above"),
    "true GPUs": (changed("tensor_parallel", True), r"^tensor_parallel: True must be a whole number above zero$"),
    "a column of text": (changed("decode.itl_ms.2", "7"), r"^decode.itl_ms\[2\]: '7' must be a finite number$"),
    "no column": (changed("decode.itl_ms", 7), r"^decode.itl_ms: 7 must be a list of numbers$"),
    "a huge number": (
        changed("decode.itl_ms.2", 10**400),
        r"^decode.itl_ms\[2\]: 10+\.\.\. must be a finite number$",
    ),
    "a null": (changed("decode.itl_ms.2", None), r"^decode.itl_ms\[2\]: None must be a finite number$"),
    "not a number": (changed("decode.itl_ms.2", float("nan")), r"^decode.itl_ms\[2\]: nan must be a positive, finite"),
    "infinity": (changed("prefill.ttft_ms.0", float("inf")), r"^prefill.ttft_ms\[0\]: inf must be a finite number"),
    "zero": (changed("decode.concurrency.0", 0), r"^decode.concurrency\[0\]: 0.0 must be a positive, finite number"),
    "a negative": (changed("prefill.isl_tokens.0", -1), r"^prefill.isl_tokens\[0\]: -1.0 must be a positive, finite"),
    "empty columns": (
        changed("prefill", {**document()["prefill"], "isl_tokens": [], "ttft_ms": [], "tokens_per_s_per_gpu": []}),
        r"^prefill: 0 points; at least 2 are needed$",
    ),
    "truncated": (
        changed("decode.itl_ms", document()["decode"]["itl_ms"][:-1]),
        r"^decode: columns differ in length \(context_tokens 15, concurrency 15, itl_ms 14, tokens_per_s_per_gpu 15\)",
    ),
    "unsorted isl": (changed("prefill.isl_tokens.1", 50), r"^prefill.isl_tokens: 50 follows 100; sort the points by"),
    "isl twice": (changed("prefill.isl_tokens.1", 100), r"^prefill.isl_tokens: 100 follows 100; .* each isl once$"),
    "a load twice": (changed("decode.concurrency.1", 1), r"^decode: context 500 with concurrency 1 occurs twice; keep"),
    "TTFT in s": (scaled("prefill.ttft_ms", 1e-3), r"^prefill.ttft_ms: looks like seconds \(.* 1000\); give times in"),
    "ITL in s": (scaled("decode.itl_ms", 1e-3), r"^decode.itl_ms: looks like seconds \(.*\); give times in ms$"),
    "ITL in us": (scaled("decode.itl_ms", 1e3), r"^decode.itl_ms: looks like microseconds"),
    "mixed units": (
        changed("decode.itl_ms.3", document()["decode"]["itl_ms"][3] / 1000),
        r"^decode.itl_ms: looks like seconds at context 500 concurrency 140 \(",
    ),
    "an ITL out of line": (
        changed("decode.itl_ms.3", document()["decode"]["itl_ms"][3] * 3),
        r"^decode: ITL falls from 78 ms at context 500 concurrency 140 to 33.5 ms at context 500 concurrency 190, too",
    ),
    "a TTFT out of line": (
        changed("prefill.ttft_ms.1", 200),
        r"^prefill: TTFT falls from 200 ms at isl 1000 to 54 ms",
    ),
}


@pytest.mark.parametrize(("whole", "message"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_refuses_and_names_field_value_and_remedy(whole: object, message: str) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        profile_from_document(whole)

    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


def test_refuses_decode_points_without_any_curve() -> None:
    whole = document()
    for column in ("context_tokens", "concurrency", "itl_ms", "tokens_per_s_per_gpu"):
        whole["decode"][column] = whole["decode"][column][::5]

    with pytest.raises(ProfileError, match=r"^decode: no context was measured at two or more concurrencies"):
        profile_from_document(whole)


# --- what is doubted --------------------------------------------------------------------------------------------

DOUBTS = {
    "throughput over twice the GPUs": (
        scaled("prefill.tokens_per_s_per_gpu", 0.5),
        "prefill: throughput is divided by 4 GPUs, TTFT by 2: a constant factor of 2; used as filed",
    ),
    "one throughput that does not follow": (
        changed("prefill.tokens_per_s_per_gpu.2", document()["prefill"]["tokens_per_s_per_gpu"][2] * 2),
        "prefill: isl / TTFT / GPUs is not throughput times 1 at isl 2000 (0.5)",
    ),
    "fewer requests ran than asked": (
        changed("decode.tokens_per_s_per_gpu.1", document()["decode"]["tokens_per_s_per_gpu"][1] * 0.7),
        "decode: throughput * ITL * GPUs is 0.70 to 0.70 of the concurrency at 1 of 15 points "
        "(context 500 concurrency 40): fewer requests ran than were asked for, or something else ran beside decode",
    ),
    "more tokens than requests": (
        changed("decode.tokens_per_s_per_gpu.1", document()["decode"]["tokens_per_s_per_gpu"][1] * 1.5),
        "decode: throughput * ITL * GPUs is up to 1.50 of the concurrency at 1 of 15 points "
        "(context 500 concurrency 40): more tokens than so many requests can make",
    ),
    "more tokens than the memory holds": (
        changed("decode.max_kv_tokens", 90_000),
        "decode: context 500 concurrency 190, context 2000 concurrency 48, context 8000 concurrency 12 "
        "need more than the 90000 KV tokens; doubt max_kv_tokens or the contexts",
    ),
}


@pytest.mark.parametrize(("whole", "warning"), DOUBTS.values(), ids=DOUBTS.keys())
def test_uses_but_doubts(whole: object, warning: str) -> None:
    assert profile_from_document(whole).warnings == (warning,)


def test_levels_small_falls_and_names_them_furthest_first() -> None:
    whole = document()
    itl, throughput = whole["decode"]["itl_ms"], whole["decode"]["tokens_per_s_per_gpu"]
    itl[3], itl[4] = itl[4] * 1.1, itl[4]
    throughput[3] = 140 / itl[3] * 1000 / 2

    profile = profile_from_document(whole)

    assert profile.warnings == (
        "decode: ITL falls as concurrency grows; levelled at "
        "context 500 concurrency 190 (+5.00%), context 500 concurrency 140 (-4.55%)",
    )
    assert profile.decode.itl_s(140, 500) == pytest.approx(profile.decode.itl_s(190, 500))
    assert profile.decode.largest_concurrency(profile.decode.itl_s(140, 500) + 1e-12, 500) == pytest.approx(190)


def test_leaves_out_a_queue_before_a_full_engine() -> None:
    """An engine that holds 140 requests, asked for 190: as quick as before, and no more tokens."""
    whole = document()
    decode = whole["decode"]
    decode["itl_ms"][4], decode["tokens_per_s_per_gpu"][4] = decode["itl_ms"][3], decode["tokens_per_s_per_gpu"][3]

    profile = profile_from_document(whole)

    assert profile.decode.max_concurrency(500) == pytest.approx(140)
    assert profile.warnings == (
        "decode: throughput * ITL * GPUs is 0.74 to 0.74 of the concurrency at 1 of 15 points "
        "(context 500 concurrency 190): fewer requests ran than were asked for, or something else ran beside decode",
        "decode: left out, the engine was full and queued the rest: context 500 concurrency 190 (ran 140)",
    )


@pytest.mark.parametrize(
    ("max_kv_tokens", "doubted"),
    [(224_133, True), (600_000, False), (1_200_000, False)],
    ids=["low", "16-bit", "8-bit"],
)
def test_doubts_a_kv_capacity_far_below_what_the_memory_leaves(max_kv_tokens: int, doubted: bool) -> None:
    whole = document() | {"model": "nvidia/Llama-3.3-70B-Instruct-FP8", "gpu": "H100-SXM"}
    whole["prefill"]["gpus_per_replica"] = whole["decode"]["gpus_per_replica"] = 4
    for part in ("prefill", "decode"):
        whole[part]["tokens_per_s_per_gpu"] = [value / 2 for value in whole[part]["tokens_per_s_per_gpu"]]
    whole["decode"]["max_kv_tokens"] = max_kv_tokens

    expected = (
        "decode.max_kv_tokens: 224133 tokens take 73 GB at 320 KiB each, yet 4 GPUs leave 249 GB beside the weights; "
        "doubt the KV usage of every point",
    )
    assert profile_from_document(whole).warnings == (expected if doubted else ())
