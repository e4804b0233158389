"""`planner profile`: what each subcommand prints, writes and exits with."""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner, Result
from profile_documents import changed, document

from planner.cli.profile import command
from planner.errors import UserError
from planner.profiler.library import list_profiles, read_profile

H200 = "h200-llama-3.1-8b-fp8-tp1"


def run(*arguments: str | Path) -> Result:
    """Exit code and output; a user's mistake stays an exception, as it does for `planner`."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=True)


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_lists_names_models_and_hardware() -> None:
    result = run("list")
    header, *rows = result.output.splitlines()

    assert result.exit_code == 0
    assert header.split() == ["NAME", "MODEL", "GPU", "TP", "KIND"]
    assert len(rows) == len(list_profiles())
    assert [row.split() for row in rows if row.startswith(H200)] == [
        [H200, "nvidia/Llama-3.1-8B-Instruct-FP8", "H200-SXM", "1", "measured"]
    ]


def test_lists_as_json() -> None:
    listed = {entry["name"]: entry for entry in json.loads(run("list", "--json").output)}

    assert listed[H200] == {
        "name": H200,
        "model": "nvidia/Llama-3.1-8B-Instruct-FP8",
        "gpu": "H200-SXM",
        "tensor_parallel": 1,
        "precision": "fp8",
        "kind": "measured",
        "warnings": listed[H200]["warnings"],
    }
    assert len(listed[H200]["warnings"]) == 2


def test_shows_origin_doubts_and_figures(tmp_path: Path) -> None:
    result = run("show", write(tmp_path / "p.json", changed("decode.max_kv_tokens", 94_000)))

    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[:6] == [
        "test-tiny-fp8-tp2 (measured)",
        "  model     example/tiny, fp8",
        "  hardware  TEST, tensor parallel 2, vllm",
        "  source    a formula (Apache-2.0)",
        "  method    computed",
        "  note      no noise",
    ]
    assert re.fullmatch(r"  digest    [0-9a-f]{64}", lines[6])
    assert lines[7].startswith("  warning   decode: context 500 concurrency 190, ")
    assert "prefill: GPUs per replica 2, isl 100 to 8000" in lines
    assert "2000  54.0     18519" in lines
    assert "500      1.01      1         5.15    97" in lines


def test_shows_what_one_replica_does_under_an_agreement(tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", document())

    result = run("show", path, "--isl", "2000", "--osl", "400", "--ttft", "50", "--itl", "15")

    assert result.output.split("\n\n")[-1].splitlines() == [
        "one replica at isl 2000, osl 400, TTFT 50 ms, ITL 15 ms",
        "  prefill  TTFT of a lone prompt 54.0 ms (misses the target), 18519 tokens/s/GPU",
        "  decode   at context 2200: 20.4 requests of 43.6 meet the target, 680 tokens/s/GPU",
    ]


def test_says_when_an_agreement_lies_outside_the_profile(tmp_path: Path) -> None:
    path = write(tmp_path / "p.json", document())

    result = run("show", path, "--isl", "20000", "--osl", "2", "--ttft", "900", "--itl", "5")

    assert result.output.splitlines()[-3:] == [
        "  not even one request fits and meets the ITL target; alone it takes 9.1 ms a token",
        "  isl 20000 was not measured: the throughput at isl 8000 stands for it",
        "  context 20001 was not measured: the nearest measured context stands for it",
    ]


def test_an_agreement_is_given_whole_or_not_at_all() -> None:
    result = run("show", H200, "--isl", "2000", "--itl", "15")

    assert isinstance(result.exception, UserError)
    assert str(result.exception) == "--isl, --osl, --ttft, --itl: give all four or none"


def test_validates_each_file_and_fails_if_one_is_invalid(tmp_path: Path) -> None:
    good = write(tmp_path / "good.json", changed("decode.max_kv_tokens", 94_000))
    bad = write(tmp_path / "bad.json", changed("schema_version", 2))

    result = run("validate", bad, good)

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"invalid  {bad}: schema_version: 2 is not supported; it must be 1",
        f"valid    {good}: test-tiny-fp8-tp2",
        f"warning  {good}: decode: context 500 concurrency 190, context 2000 concurrency 48, "
        "context 8000 concurrency 12 need more than the 94000 KV tokens; doubt max_kv_tokens or the contexts",
    ]


def test_validates_quietly_what_is_sound(tmp_path: Path) -> None:
    good = write(tmp_path / "good.json", document())

    result = run("validate", good)

    assert (result.exit_code, result.output) == (0, f"valid    {good}: test-tiny-fp8-tp2\n")


def test_imports_a_file(tmp_path: Path) -> None:
    prefill, decode = document()["prefill"], document()["decode"]
    source = write(
        tmp_path / "raw.json",
        {
            "prefill": {
                "prefill_isl": prefill["isl_tokens"],
                "prefill_ttft": [time / 1000 for time in prefill["ttft_ms"]],
                "prefill_thpt_per_gpu": prefill["tokens_per_s_per_gpu"],
            },
            "decode": {
                "x_kv_usage": [
                    n * context / 100_000
                    for n, context in zip(decode["concurrency"], decode["context_tokens"], strict=True)
                ],
                "y_context_length": decode["context_tokens"],
                "z_itl": decode["itl_ms"],
                "z_thpt_per_gpu": decode["tokens_per_s_per_gpu"],
                "max_kv_tokens": 100_000,
            },
        },
    )
    output = tmp_path / "out" / "profile.json"
    options = "--name n --precision fp8 --model m --gpu G --tp 4 --prefill-gpus 2 --decode-gpus 2 --engine vllm"

    result = run("import", source, "-o", output, *options.split(), "--source", "a formula", "--license", "MIT")

    assert (result.exit_code, result.stdout) == (0, f"{output}\n")
    assert result.stderr == "warning: prefill_ttft converted from seconds\n"
    profile = read_profile(output)
    assert (profile.tensor_parallel, profile.prefill.gpus, profile.provenance.license) == (4, 2, "MIT")
    assert profile.decode.lines[0].concurrency == (1, 40, 90, 140, 190)


def test_plots_a_page_that_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    result = run("plot", H200, "-o", page)

    assert (result.exit_code, result.output) == (0, f"{page}\n")
    text = page.read_text()
    assert H200 in text
    assert "Plotly.newPlot" in text
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", text)


def test_a_plot_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    result = run("plot", H200, "-o", tmp_path)

    assert isinstance(result.exception, UserError)
    assert str(result.exception) == f"{tmp_path}: cannot be written (Is a directory); choose another file"


def test_estimates_too() -> None:
    assert "estimate" in command.commands
