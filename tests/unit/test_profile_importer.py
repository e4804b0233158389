"""Dynamo's files in all their shapes, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from profile_documents import document

from planner.profiler.importer import Metadata, import_profile
from planner.scaling.profile import ProfileError, document_from_profile

FLAGS = Metadata(
    name="test",
    precision="fp8",
    model="example/tiny",
    gpu="TEST",
    tensor_parallel=2,
    engine="vllm",
    source="a formula",
    license="Apache-2.0",
)


def prefill_keys() -> dict[str, Any]:
    part = document()["prefill"]
    return {
        "prefill_isl": part["isl_tokens"],
        "prefill_ttft": part["ttft_ms"],
        "prefill_thpt_per_gpu": part["tokens_per_s_per_gpu"],
    }


def decode_keys() -> dict[str, Any]:
    part = document()["decode"]
    tokens = [n * context for n, context in zip(part["concurrency"], part["context_tokens"], strict=True)]
    return {
        "x_kv_usage": [round(held / part["max_kv_tokens"], 6) for held in tokens],
        "y_context_length": part["context_tokens"],
        "z_itl": part["itl_ms"],
        "z_thpt_per_gpu": part["tokens_per_s_per_gpu"],
        "max_kv_tokens": part["max_kv_tokens"],
    }


def write_npz(path: Path, keys: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {key: np.atleast_1d(value) for key, value in keys.items()}
    np.savez(path, **columns)
    return path


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_npz(tmp_path / "selected_prefill_interpolation/raw_data.npz", prefill_keys())
    write_npz(tmp_path / "selected_decode_interpolation/raw_data.npz", decode_keys())
    return tmp_path


def assert_is_the_machine(*paths: Path, metadata: Metadata = FLAGS) -> None:
    """The imported figures are the document's, to six digits, concurrency in whole requests."""
    imported = document_from_profile(import_profile(paths, metadata))
    expected = document()
    assert imported["decode"]["concurrency"] == expected["decode"]["concurrency"]
    for part in ("prefill", "decode"):
        assert imported[part] == {
            key: pytest.approx(value, rel=1e-5) if isinstance(value, list) else value
            for key, value in expected[part].items()
        }


def test_reads_a_folder_of_npz_files(folder: Path) -> None:
    assert_is_the_machine(folder)


def test_reads_two_npz_files_in_any_order(folder: Path) -> None:
    assert_is_the_machine(
        folder / "selected_decode_interpolation/raw_data.npz", folder / "selected_prefill_interpolation/raw_data.npz"
    )


def test_reads_a_folder_of_json_files(tmp_path: Path) -> None:
    write_json(tmp_path / "prefill_raw_data.json", prefill_keys())
    write_json(tmp_path / "decode_raw_data.json", decode_keys())

    assert_is_the_machine(tmp_path)


def test_reads_one_nested_file_and_what_it_says_about_itself(tmp_path: Path) -> None:
    about = {
        "model": "example/tiny",
        "gpu": "TEST",
        "tp": 2,
        "num_gpus": 2,
        "backend": "vLLM 0.24.0",
        "measured": False,
        "source": "a formula",
        "licence": "Apache-2.0",
        "correction": "halved",
    }
    file = write_json(tmp_path / "one.json", {**about, "prefill": prefill_keys(), "decode": decode_keys()})

    profile = import_profile([file], Metadata(name="test", precision="fp8"))

    assert_is_the_machine(file, metadata=Metadata(name="test", precision="fp8"))
    assert (profile.engine, profile.engine_version, profile.kind) == ("vllm", "0.24.0", "estimated")
    assert profile.provenance.notes == ("halved",)


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    about = {"model": "wrong", "gpu": "wrong", "tp": 8, "num_gpus": 2, "source": "wrong", "licence": "wrong"}
    file = write_json(tmp_path / "one.json", {**about, "prefill": prefill_keys(), "decode": decode_keys()})

    profile = import_profile([file], replace(FLAGS, kind="estimated", engine_version="9"))

    assert (profile.model, profile.gpu, profile.tensor_parallel) == ("example/tiny", "TEST", 2)
    assert (profile.kind, profile.engine_version, profile.provenance.source) == ("estimated", "9", "a formula")


def test_finds_out_that_times_are_in_seconds_and_says_so(tmp_path: Path) -> None:
    prefill, decode = prefill_keys(), decode_keys()
    prefill["prefill_ttft"] = [time / 1000 for time in prefill["prefill_ttft"]]
    decode["z_itl"] = [time / 1000 for time in decode["z_itl"]]
    files = write_json(tmp_path / "p.json", prefill), write_json(tmp_path / "d.json", decode)

    assert_is_the_machine(*files)
    assert import_profile(files, FLAGS).provenance.notes == (
        "prefill_ttft converted from seconds",
        "z_itl converted from seconds",
    )


def test_a_time_unit_that_is_given_is_taken_at_its_word(folder: Path) -> None:
    with pytest.raises(ProfileError, match=r"^prefill\.ttft_ms: looks like microseconds"):
        import_profile([folder], FLAGS, "s")


def test_takes_the_row_of_the_parallelism_from_an_older_npz(tmp_path: Path) -> None:
    prefill = {key: np.array([np.multiply(values, 0.5), values]) for key, values in prefill_keys().items()}
    decode = {key: np.array([np.multiply(values, 0.5), values]) for key, values in decode_keys().items()}
    decode["max_kv_tokens"] = np.array([[1], [document()["decode"]["max_kv_tokens"]]])
    rows = {"tp": np.array([[1], [2]]), "gpu_type": np.array([["a"], ["b"]])}
    files = write_npz(tmp_path / "p.npz", prefill | rows), write_npz(tmp_path / "d.npz", decode | rows)

    assert_is_the_machine(*files)


def test_refuses_an_older_npz_without_the_parallelisms_row(tmp_path: Path) -> None:
    prefill = {key: np.array([values, values]) for key, values in prefill_keys().items()}
    files = write_npz(tmp_path / "p.npz", prefill), write_npz(tmp_path / "d.npz", decode_keys())

    with pytest.raises(ProfileError, match=r"^prefill_isl: holds 2 configurations, 0 of them with tp 2; choose one"):
        import_profile(files, FLAGS)


def test_never_unpickles(tmp_path: Path) -> None:
    keys = prefill_keys()
    np.savez(tmp_path / "p.npz", **{**keys, "prefill_isl": np.array(keys["prefill_isl"], dtype=object)})
    decode = write_npz(tmp_path / "d.npz", decode_keys())

    with pytest.raises(ProfileError, match=r"p\.npz: is not a readable npz or JSON file \(Object arrays cannot be"):
        import_profile([tmp_path / "p.npz", decode], FLAGS)


def test_refuses_an_array_under_the_name_of_an_archive(tmp_path: Path) -> None:
    with (tmp_path / "p.npz").open("wb") as file:
        np.save(file, np.ones(3))

    with pytest.raises(ProfileError, match=r"p\.npz: is not a readable npz or JSON file \(it holds a single array\)"):
        import_profile([tmp_path / "p.npz"], FLAGS)


def test_refuses_a_truncated_npz(folder: Path) -> None:
    file = folder / "selected_decode_interpolation/raw_data.npz"
    file.write_bytes(file.read_bytes()[:300])

    with pytest.raises(ProfileError, match=r"raw_data\.npz: is not a readable npz or JSON file \(.*is it truncated\?$"):
        import_profile([folder], FLAGS)


BROKEN = {
    "a missing key": ("z_itl", None, r"^z_itl: missing; is this a complete raw_data file\?$"),
    "text": ("z_itl", ["fast"] * 15, r"^z_itl: is not a column of numbers"),
    "not a number": ("z_itl", [float("nan")] * 15, r"^z_itl\[0\]: nan must be a positive, finite number"),
    "too short": ("z_itl", [5.0], r"^decode: columns differ in length \(15, 15, 1, 15\); is the file truncated\?$"),
    "empty": ("z_itl", [], r"^z_itl: has the shape \(0,\); one column of numbers is needed$"),
    "three dimensions": ("z_itl", [[[5.0]]], r"^z_itl: has the shape \(1, 1, 1\); one column of numbers is needed$"),
}


@pytest.mark.parametrize(("key", "value", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_refuses_a_column_and_names_it(tmp_path: Path, key: str, value: object, message: str) -> None:
    decode = decode_keys()
    if value is None:
        del decode[key]
    else:
        decode[key] = value
    files = write_json(tmp_path / "p.json", prefill_keys()), write_json(tmp_path / "d.json", decode)

    with pytest.raises(ProfileError, match=message):
        import_profile(files, FLAGS)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--tp", {"tensor_parallel": None}), ("--model", {"model": None}), ("--license", {"license": None})],
)
def test_names_the_option_that_the_files_do_not_answer(folder: Path, option: str, value: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match=f"^{option}: the files do not say; give {option}$"):
        import_profile([folder], replace(FLAGS, **value))


def test_refuses_files_that_are_no_pair(folder: Path, tmp_path: Path) -> None:
    prefill = folder / "selected_prefill_interpolation/raw_data.npz"
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = {
        (prefill, prefill): r"give a folder, a file with prefill and decode, or one file of each$",
        (prefill,): r"give a folder, a file with prefill and decode, or one file of each$",
        (empty,): r"holds neither selected_prefill_interpolation/raw_data\.npz nor prefill_raw_data\.json",
        (tmp_path / "none.npz",): r"none\.npz: cannot be read \(No such file or directory\); check the path$",
        (write_json(tmp_path / "list.json", []),): r"list\.json: holds no keys; give one of Dynamo's raw_data files$",
        (write_json(tmp_path / "tp.json", {"tp": "two", "prefill": {}, "decode": {}}),): r"^tp: 'two' must be a whole",
    }

    for paths, message in cases.items():
        with pytest.raises(ProfileError, match=message):
            import_profile(paths, FLAGS)
