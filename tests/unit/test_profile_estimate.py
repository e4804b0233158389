"""Estimated profiles: what composes them, and the set that comes with the planner."""

from __future__ import annotations

import runpy
import sys
from importlib.machinery import BuiltinImporter
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from planner.cli import _EXTRAS
from planner.cli.profile_estimate import estimate as estimate_command
from planner.errors import UserError
from planner.profiler import estimate
from planner.profiler.library import load_profile, read_profile
from planner.profiler.operator_times import ENGINES, Offer, Replica, compose, gpu_slug, model_slug, offers
from planner.scaling.profile import profile_from_document

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "profiles"
FILES = sorted(LIBRARY.glob("*/*.json"))

LLAMA = Offer("llama-3.1-8b", "fp8", "meta-llama/Meta-Llama-3.1-8B", True, {"H100-SXM": "0.24.0", "L40S": "0.24.0"})
QWEN = Offer("qwen3-32b", "bf16", "Qwen/Qwen3-32B", False, {"H100-SXM": "0.24.0"})


def _replica() -> Replica:
    """TTFT 10 ms per 1,000 tokens; ITL 5 ms, one more per 10 requests."""
    return Replica(
        max_kv_tokens=1_000_000,
        kv_precision="bfloat16",
        ttft_ms=lambda isl: isl / 100,
        itl_ms=lambda concurrency, context: 5 + concurrency / 10,
        prefill_measured_share=0.79,
        decode_measured_share=0.95,
    )


@pytest.fixture
def _small_database(monkeypatch: pytest.MonkeyPatch) -> None:
    available = {(offer.model, offer.precision): offer for offer in (LLAMA, QWEN)}
    monkeypatch.setattr(estimate, "offers", lambda engine: available)
    monkeypatch.setattr(estimate, "compose", lambda offer, gpu, tp, engine: _replica())


@pytest.mark.usefixtures("_small_database")
def test_an_estimate_is_a_profile_that_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "version", lambda package: "9.9")
    document = estimate.estimate_document("nvidia/Llama-3.1-8B-Instruct-FP8", "h100", 2, "fp8")
    profile = profile_from_document(document)
    assert {key: document[key] for key in list(document)[2:10]} == {
        "name": "h100-llama-3.1-8b-fp8-tp2",
        "model": "meta-llama/Meta-Llama-3.1-8B",
        "gpu": "H100-SXM",
        "engine": "vllm",
        "engine_version": "0.24.0",
        "precision": "fp8",
        "tensor_parallel": 2,
        "kind": "estimated",
    }
    assert profile.provenance.source == "aiconfigurator-core 9.9, database h100_sxm/vllm"
    assert profile.provenance.license == "Apache-2.0"
    assert "79% of the prefill time at 2,048 tokens and 95% of the decode time" in profile.provenance.notes[1]
    assert profile.provenance.notes[-1] == "a bf16 checkpoint quantised to fp8 while loading"
    assert profile.warnings == ()


@pytest.mark.usefixtures("_small_database")
def test_points_and_throughput_are_those_of_the_whole_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "version", lambda package: "9.9")
    profile = profile_from_document(estimate.estimate_document("llama-3.1-8b", "L40S", 2, "fp8"))
    assert (profile.prefill.gpus, profile.decode.gpus, profile.decode.max_kv_tokens) == (2, 2, 1_000_000)
    assert profile.prefill.ttft_s(2048) == pytest.approx(0.02048, rel=1e-3)
    assert profile.prefill.tokens_per_s_per_gpu(2048) == pytest.approx(50_000, rel=1e-3)
    assert profile.decode.itl_s(1, 256) == pytest.approx(0.0051)
    loads = list(zip(profile.decode.points.context_tokens, profile.decode.points.concurrency, strict=True))
    assert [max(n for c, n in loads if c == context) for context in (256, 32768)] == [1024, 30]


@pytest.mark.usefixtures("_small_database")
@pytest.mark.parametrize(
    ("model", "gpu", "tp", "precision", "message"),
    [
        ("gpt-2", "h100", 1, "fp8", r"^model: 'gpt-2' is not in .* of vllm; available: llama-3.1-8b, qwen3-32b$"),
        ("qwen3-32b", "h100", 1, "int4", r"^precision: 'int4' is not in .* for qwen3-32b; available: bf16$"),
        ("llama-3.1-8b", "tpu", 1, "fp8", r"^gpu: 'tpu' is not in .* llama-3.1-8b fp8; available: H100-SXM, L40S$"),
        ("llama-3.1-8b", "h100", 0, "fp8", r"^tp: 0 must be a whole number above zero$"),
    ],
    ids=["model", "precision", "gpu", "tp"],
)
def test_what_cannot_be_estimated_is_answered_with_what_can(
    model: str, gpu: str, tp: int, precision: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        estimate.estimate_document(model, gpu, tp, precision)


def test_an_unknown_engine_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"^engine: 'tgi' is not in the database; available: vllm, sglang, trtllm$"):
        offers("tgi")


def test_without_the_package_the_error_names_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "aiconfigurator_core"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [BuiltinImporter])
    with pytest.raises(ModuleNotFoundError) as caught:
        estimate.estimate_document("llama-3.1-8b", "h100", 1, "fp8")
    assert _EXTRAS[str(caught.value.name)] == "estimate"


@pytest.mark.parametrize(
    ("checkpoint", "slug"),
    [
        ("meta-llama/Meta-Llama-3.1-8B", "llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", "llama-3.1-70b"),
        ("Qwen/Qwen3-32B-FP8", "qwen3-32b"),
        ("Qwen/Qwen3-VL-32B-Thinking", "qwen3-vl-32b-thinking"),
        ("Qwen/Qwen3-32B-FP8-Static-PerTensor", "qwen3-32b-static-pertensor"),
        ("gpt-oss-120b", "gpt-oss-120b"),
    ],
)
def test_checkpoints_of_one_shape_share_a_short_name(checkpoint: str, slug: str) -> None:
    assert model_slug(checkpoint) == slug


@pytest.mark.parametrize(
    ("gpu", "slug"), [("H100-SXM", "h100"), ("h100_sxm", "h100"), ("H100-PCIE", "h100-pcie"), ("L40S", "l40s")]
)
def test_a_gpu_is_known_by_any_of_its_names(gpu: str, slug: str) -> None:
    assert gpu_slug(gpu) == slug


@given(max_kv_tokens=st.integers(min_value=256, max_value=10_000_000))
def test_every_point_fits_into_the_kv_memory_and_each_context_reaches_its_limit(max_kv_tokens: int) -> None:
    for context in estimate.CONTEXT_TOKENS:
        levels = estimate._concurrencies(max_kv_tokens // context)
        most = min(max_kv_tokens // context, 1024)
        assert levels == sorted(set(levels))
        assert (levels[0], levels[-1]) == (1, most) if most else levels == []
        assert len(levels) <= estimate.CONCURRENCY_LEVELS


# --- the set that comes with the planner ------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_a_shipped_profile_loads_and_is_named_after_its_path(path: Path) -> None:
    profile = read_profile(path)
    gpu, _, tp = path.stem.rpartition("-tp")
    assert profile.name == f"{gpu}-{path.parent.name}-tp{tp}"
    assert (gpu_slug(profile.gpu), profile.tensor_parallel) == (gpu, int(tp))
    assert path.parent.name == f"{model_slug(profile.model)}-{profile.precision}"
    assert profile.kind in ("estimated", "measured")
    assert profile.provenance.license == "Apache-2.0"


def test_names_of_shipped_profiles_are_unique() -> None:
    names = [read_profile(path).name for path in FILES]
    assert len(set(names)) == len(names) >= 20


def test_the_script_lists_exactly_the_estimated_profiles() -> None:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "estimate_profiles.py"))
    listed = {
        f"{model}-{precision}/{replica}.json"
        for (model, precision), replicas in script["ESTIMATED"].items()
        for replica in replicas
    }
    shipped = {path.relative_to(LIBRARY).as_posix() for path in FILES if read_profile(path).kind == "estimated"}
    assert listed == shipped


# --- with aiconfigurator-core -----------------------------------------------------------------------------------


@pytest.mark.needs("estimate")
@pytest.mark.parametrize(
    ("model", "gpu", "tp", "precision"),
    [
        ("llama-3.1-8b", "h100", 1, "fp8"),
        ("llama-3.1-70b", "a100", 4, "bf16"),
        ("qwen3-32b", "h200", 2, "fp8"),
        ("gpt-oss-120b", "h200", 1, "mxfp4"),
    ],
)
def test_a_shipped_estimate_is_what_the_script_would_write_today(model: str, gpu: str, tp: int, precision: str) -> None:
    anew = profile_from_document(estimate.estimate_document(model, gpu, tp, precision))
    assert anew == load_profile(f"{gpu}-{model}-{precision}-tp{tp}")


@pytest.mark.needs("estimate")
@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_offers_common_models_with_the_version_that_was_measured(engine: str) -> None:
    available = offers(engine)
    assert {("llama-3.1-8b", "bf16"), ("llama-3.1-8b", "fp8"), ("qwen3-32b", "fp8")} <= set(available)
    profile = profile_from_document(estimate.estimate_document("llama-3.1-8b", "h200", 1, "bf16", engine))
    assert profile.engine_version == available["llama-3.1-8b", "bf16"].engine_versions["H200-SXM"]


@pytest.mark.needs("estimate")
def test_fp8_is_not_offered_on_a_gpu_without_it() -> None:
    available = offers("vllm")
    assert "A100-SXM" in available["llama-3.1-8b", "bf16"].engine_versions
    assert "A100-SXM" not in available["llama-3.1-8b", "fp8"].engine_versions


@pytest.mark.needs("estimate")
def test_a_published_8_bit_checkpoint_is_preferred_to_quantising_one() -> None:
    assert offers("vllm")["qwen3-32b", "fp8"].checkpoint == "Qwen/Qwen3-32B-FP8"


@pytest.mark.needs("estimate")
@pytest.mark.parametrize(
    ("tp", "reason"), [(1, "no KV budget"), (3, "should be divisible by tp_size 3")], ids=["too few", "not divisible"]
)
def test_a_number_of_gpus_that_does_not_suit_the_model_is_refused(tp: int, reason: str) -> None:
    offer = offers("vllm")["llama-3.1-70b", "fp8"]
    with pytest.raises(UserError, match=rf"^tp: llama-3.1-70b fp8 on {tp} x H100-SXM cannot be estimated .*{reason}"):
        compose(offer, "H100-SXM", tp, "vllm")


@pytest.mark.needs("estimate")
def test_the_command_writes_the_profile_under_the_name_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    options = [
        "--model",
        "llama-3.1-8b",
        "--gpu",
        "h100",
        "--precision",
        "fp8",
        "--name",
        "mine",
        "--output",
        str(path),
    ]
    result = CliRunner().invoke(estimate_command, options, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert result.stderr.startswith("warning: decode: ITL falls as concurrency grows")
    assert read_profile(path).name == "mine"


@pytest.mark.needs("estimate")
def test_the_command_refuses_an_estimate_that_contradicts_itself() -> None:
    options = ["--model", "llama-3.1-8b", "--gpu", "b200", "--precision", "fp8"]
    with pytest.raises(UserError, match=r"^the estimate is no profile \(decode: ITL .*\); measure this pair"):
        CliRunner().invoke(estimate_command, options, catch_exceptions=False)


@pytest.mark.needs("estimate")
def test_the_command_lists_what_is_available() -> None:
    result = CliRunner().invoke(estimate_command, ["--list"], catch_exceptions=False)
    assert "llama-3.1-8b                     fp8    B200-SXM" in result.stdout


def test_the_command_asks_for_what_is_missing() -> None:
    with pytest.raises(UserError, match=r"^--model, --gpu, --precision: give all three; .*--list"):
        CliRunner().invoke(estimate_command, ["--model", "llama-3.1-8b"], catch_exceptions=False)
