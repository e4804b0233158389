"""Published profiles, with their known defects: each leads to the reaction it deserves."""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import pytest

from planner.profiler.importer import Metadata, import_profile
from planner.profiler.library import load_profile
from planner.scaling.profile import Profile, document_from_profile, profile_from_document

ESTIMATES = [
    *(f"llama3.1-8b_{gpu}_tp1_vllm" for gpu in ("bf16_a100_sxm", "bf16_h100_sxm", "fp8_b200_sxm", "fp8_h100_sxm")),
    *(f"llama3.1-8b_{gpu}_tp1_vllm" for gpu in ("fp8_h200_sxm", "fp8_l40s")),
    *(f"qwen3-32b_fp8_{gpu}_sxm_tp{tp}_vllm" for gpu in ("h100", "h200") for tp in (1, 2, 4)),
]
H200_FLAGS = Metadata(
    name="h200",
    precision="fp8",
    model="nvidia/Llama-3.1-8B-Instruct-FP8",
    gpu="H200-SXM",
    tensor_parallel=1,
    engine="vllm",
    source="ai-dynamo 1.6.1",
    license="Apache-2.0",
)


@pytest.fixture(scope="module")
def h100_file(shared_data: Path) -> Path:
    return shared_data / "profiles/dynamo_pre_swept/h100_sxm_Llama-3.3-70B-Instruct-FP8_tp4.json"


@pytest.fixture(scope="module")
def h100(h100_file: Path) -> Profile:
    return import_profile([h100_file], Metadata(name="h100-llama-3.3-70b-fp8-tp4", precision="fp8"))


# --- H200, 8B: comes with the planner ---------------------------------------------------------------------------


def h200() -> Profile:
    return load_profile("h200-llama-3.1-8b-fp8-tp1")


def test_the_h200_profile_is_the_published_pair_of_npz_files(shared_data: Path) -> None:
    imported = import_profile([shared_data / "profiles/dynamo_H200_TP1P_TP1D"], H200_FLAGS)

    assert imported.prefill.points == h200().prefill.points
    assert imported.decode.points == h200().decode.points
    assert imported.decode.max_kv_tokens == h200().decode.max_kv_tokens == 945_029


def test_the_h200_npz_pair_and_its_json_restatement_agree(shared_data: Path) -> None:
    folder = shared_data / "profiles/dynamo_H200_TP1P_TP1D"
    from_json = import_profile([folder / "profile.json"], Metadata(name="h200", precision="fp8"))

    assert from_json.decode.points == import_profile([folder], H200_FLAGS).decode.points


def test_three_h200_loads_that_did_not_run_as_asked_are_flagged_and_two_left_out() -> None:
    assert h200().warnings == (
        "decode: throughput * ITL * GPUs is 0.51 to 0.86 of the concurrency at 3 of 41 points "
        "(context 350 concurrency 1049, context 350 concurrency 1311, context 350 concurrency 1573): "
        "fewer requests ran than were asked for, or something else ran beside decode",
        "decode: left out, the engine was full and queued the rest: "
        "context 350 concurrency 1311 (ran 788), context 350 concurrency 1573 (ran 808)",
    )


def test_h200_itl_rises_where_the_file_has_it_fall() -> None:
    times = [h200().decode.itl_s(load, 350) for load in (263, 525, 787, 1049, 1311, 1573)]

    assert all(after >= before for before, after in pairwise(times))
    assert not h200().decode.covers(1311, 350)


def test_h200_lines_end_where_they_were_measured() -> None:
    decode = h200().decode
    ends = {line.context_tokens: line.kv_tokens[-1] / decode.max_kv_tokens for line in decode.lines}

    assert ends[350] == pytest.approx(0.39, abs=0.01)
    assert ends[10_938] == pytest.approx(0.82, abs=0.01)
    assert not decode.covers(72, 10_938)
    assert decode.itl_s(72, 10_938) == decode.itl_s(71, 10_938)


def test_h200_short_prompts_keep_their_floor() -> None:
    prefill = h200().prefill

    assert prefill.ttft_s(100) == pytest.approx(0.0195252)
    assert [round(prefill.tokens_per_s_per_gpu(isl)) for isl in (100, 7219, 16_372)] == [5122, 50_379, 43_603]


# --- H100, 70B --------------------------------------------------------------------------------------------------


def test_h100_throughput_over_too_many_gpus_is_named_with_its_factor(h100: Profile, h100_file: Path) -> None:
    filed = json.loads(h100_file.read_text())
    whole = deepcopy(document_from_profile(h100))
    whole["prefill"]["tokens_per_s_per_gpu"] = filed["prefill"]["prefill_thpt_per_gpu_as_filed"]
    whole["decode"]["tokens_per_s_per_gpu"] = filed["decode"]["z_thpt_per_gpu_as_filed"]

    assert profile_from_document(whole).warnings[0] == (
        "prefill: throughput is divided by 8 GPUs, TTFT by 4: a constant factor of 2; used as filed"
    )


def test_h100_doubts(h100: Profile) -> None:
    assert h100.warnings == (
        "decode: throughput * ITL * GPUs is 0.29 to 0.86 of the concurrency at 30 of 39 points "
        "(context 16671 concurrency 1, context 16671 concurrency 2, context 16671 concurrency 3, and 27 more): "
        "fewer requests ran than were asked for, or something else ran beside decode",
        "decode: no context between 350 and 16671; interpolated over a wide gap",
        "decode: one load only at context 114597; its curve takes the shape of context 98276",
        "decode.max_kv_tokens: 224133 tokens take 73 GB at 320 KiB each, yet 4 GPUs leave 249 GB beside the weights; "
        "doubt the KV usage of every point",
    )


def test_h100_keeps_its_jump(h100: Profile) -> None:
    decode = h100.decode

    assert [round(decode.itl_s(load, 350) * 1000, 1) for load in (231, 277)] == [27.1, 42.2]
    assert decode.tokens_per_s_per_gpu(277, 350) == pytest.approx(1555.14)
    assert decode.tokens_per_s_per_gpu(231, 350) == pytest.approx(1988.93)


def test_h100_long_contexts_end_at_one_request(h100: Profile) -> None:
    assert h100.decode.max_concurrency(114_597) == pytest.approx(1.0)
    assert h100.decode.itl_s(1, 114_597) == pytest.approx(0.0167082)
    assert not h100.decode.covers(1, 120_000)


# --- estimates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ESTIMATES)
def test_estimates_load_and_keep_their_whole_batches(shared_data: Path, name: str) -> None:
    file = shared_data / f"profiles/aiconfigurator/{name}.json"
    filed = json.loads(file.read_text())

    profile = import_profile([file], Metadata(name=name, precision="bf16" if "bf16" in name else "fp8"))

    assert profile.kind == "estimated"
    assert profile.engine_version in {"0.14.0", "0.24.0"}
    assert list(profile.decode.points.concurrency) == filed["decode"]["batch_size"]
    assert [warning for warning in profile.warnings if "levelled" not in warning] == []
