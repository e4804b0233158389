"""`planner fit`: what it prints, writes and exits with."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from step_logs import decode_only, logged, write_jsonl

from planner.cli.fit import command
from planner.engine.latency.demo import demo_run
from planner.engine.latency.fitted import Log
from planner.engine.latency.model_file import read_model
from planner.engine.steplog import LoggedStep
from planner.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: str | Path) -> Result:
    """Exit code and output; a user's mistake stays an exception, as it does for `planner`."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=True)


def logs(folder: Path, count: int = 600, run_name: str = "demo", seed: int = 0, model: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / f"{run_name}.jsonl", logged(count, run_name, seed, model))
    return folder


def alone(steps: list[LoggedStep]) -> list[LoggedStep]:
    return [step for step in steps if step.step.prefills == 0]


def test_reports_on_the_data_and_compares_all_models(tmp_path: Path) -> None:
    result = run("--data", logs(tmp_path / "logs"))

    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[:2] == ["data", "  demo.jsonl  run demo: 600 steps, 595 used; left out: 5 warm-up (first 5)"]
    assert "models, tested on the last 30% of each run" in lines
    assert [line.split()[0] for line in lines if line.startswith("  ") and line.split()[1:2] == ["179"]] == [
        "linear-physical",
        "roofline",
        "saturation",
        "saturation-published",
    ]
    assert "chosen: linear-physical" in lines
    assert not any(line.startswith("wrote") for line in lines)


def test_compares_on_other_logs_as_json(tmp_path: Path) -> None:
    train, test = logs(tmp_path / "a"), logs(tmp_path / "b", 400, seed=1)

    document = json.loads(run("--data", train, "--test", test, "--json").output)

    assert document["schema"] == "sla-planner/fit/1"
    assert document["split"] == "other logs"
    assert list(document["models"]) == ["linear-physical", "roofline", "saturation", "saturation-published"]
    for each in document["models"].values():
        assert set(each["test"]) == {"steps", "r2", "rmse_ms", "mae_ms", "mape", "phases"}
        assert each["test"]["steps"] == 395
        assert set(each["test"]["phases"]) == {"decode", "mixed"}
    assert document["models"]["linear-physical"]["test"]["r2"] > 0.995
    assert document["models"]["linear-physical"]["test"]["mape"] < 0.04
    assert document["data"]["lacks"] == []
    assert document["written"] is None


@pytest.mark.parametrize("model", ["linear-physical", "roofline", "saturation"])
def test_writes_the_chosen_model_with_where_it_comes_from(model: str, tmp_path: Path) -> None:
    output = tmp_path / "model.json"

    result = run("--data", logs(tmp_path / "logs"), "--model", model, "--output", output, "--hardware", "2 cores")

    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == f"wrote {output}"
    fitted = read_model(output)
    assert fitted.model.name == model
    assert sum(fitted.model.seen.steps.values()) == 595
    assert sum(each.steps for each in fitted.held_out.values()) == 179
    assert fitted.provenance.logs == (Log("demo.jsonl", 595),)
    assert fitted.provenance.hardware == "2 cores"
    assert (fitted.notes == ("roofline is unverified on a GPU",)) == (model == "roofline")


def test_a_model_tested_on_other_logs_is_fitted_on_its_own_alone(tmp_path: Path) -> None:
    output = tmp_path / "model.json"

    run("--data", logs(tmp_path / "a"), "--test", logs(tmp_path / "b", 400, seed=1), "--output", output)

    fitted = read_model(output)
    assert sum(fitted.model.seen.steps.values()) == 595
    assert sum(each.steps for each in fitted.held_out.values()) == 395


def test_analyses_without_fitting(tmp_path: Path) -> None:
    output = tmp_path / "model.json"

    result = run("--data", logs(tmp_path / "logs"), "--analyze-only", "--output", output)

    assert result.exit_code == 0
    assert result.output.startswith("data\n")
    assert "models" not in result.output
    assert not output.exists()


def test_shows_itself_on_steps_made_up(tmp_path: Path) -> None:
    result = run("--demo", "--output", tmp_path / "model.json")

    assert result.exit_code == 0
    assert read_model(tmp_path / "model.json").model.predict_ms(demo_run().steps.at(0)) == pytest.approx(
        float(demo_run().steps.took_ms[0]), rel=0.2
    )


def test_draws_residuals_and_contours(tmp_path: Path) -> None:
    result = run("--data", logs(tmp_path / "logs"), "--plots", tmp_path / "plots")

    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        *("linear-physical-contour.png", "linear-physical-residuals.png"),
        *("roofline-contour.png", "roofline-residuals.png"),
        *("saturation-contour.png", "saturation-residuals.png"),
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "plots").iterdir())


def test_says_more_about_the_data_when_asked(tmp_path: Path) -> None:
    folder = logs(tmp_path / "logs", 100)
    path = folder / "demo.jsonl"
    path.write_text(path.read_text().replace('"schema":1', '"schema":1,"weather":"fine"')[:-30])

    lines = run("--data", folder, "--verbose").output.splitlines()

    assert "  note      demo.jsonl:100: the last line is torn; left out" in lines
    assert "  ignored   columns weather" in lines


# --- what the data cannot support ---------------------------------------------------------------------------------


def test_one_batch_size_exits_1_and_writes_nothing(tmp_path: Path) -> None:
    same = [replace(step, step=replace(step.step, requests=8, tokens=8)) for step in alone(logged(900))]
    write_jsonl(tmp_path / "a.jsonl", same)

    result = run("--data", tmp_path, "--output", tmp_path / "model.json")

    assert result.exit_code == 1
    assert "  PROBLEM   one batch size (8 requests, 8 tokens): the cost of a step, of a request and of a token" in (
        result.output
    )
    assert not (tmp_path / "model.json").exists()


def test_decode_only_fits_what_it_can_and_says_what_not(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", alone(logged(900)))

    result = run("--data", tmp_path, "--output", tmp_path / "model.json")

    assert result.exit_code == 0
    assert "  remark    decode only (0 steps with prefill): the data cannot support chunk decisions" in result.output
    assert (
        "  saturation: not fitted: saturation: decode alone (S = B) cannot tell its parameters apart" in result.output
    )
    assert read_model(tmp_path / "model.json").model.seen.steps["mixed"] == 0


def test_json_of_decode_only_holds_no_infinity(tmp_path: Path) -> None:
    steps = decode_only(demo_run(900).steps)
    assert len(steps) > 50
    write_jsonl(tmp_path / "a.jsonl", alone(logged(900)))

    document = json.loads(run("--data", tmp_path, "--json").output, parse_constant=pytest.fail)

    assert document["data"]["lacks"][0]["level"] == "remark"


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], r"^--data: give a folder of step logs, or --demo, and not both$", id="no data"),
        pytest.param(["--demo", "--data", "x"], r"^--data: give a folder of step logs, or --demo, and", id="both"),
        pytest.param(["--data", "nowhere"], r"^nowhere: does not exist; give a step log or a folder", id="no folder"),
        pytest.param(
            ["--demo", "--output", "model.pkl"],
            r"^--output: model\.pkl is named as a pickle, and models are JSON; fit one: planner fit --data DIR",
            id="a pickle",
        ),
        pytest.param(
            ["--demo", "--graph-sizes", "1,two"], r"^--graph-sizes: '1,two' must be numbers", id="graph sizes"
        ),
        pytest.param(
            ["--demo", "--served-model", "m6"],
            r"^--served-model: 'm6' is not in the demo; there are none, for the logs do not say$",
            id="a model of no log",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_steps_of_two_served_models_are_not_fitted_as_one(tmp_path: Path) -> None:
    logs(tmp_path, 100, "one", model="m6")
    logs(tmp_path, 80, "two", seed=1, model="t4")

    with pytest.raises(UserError, match=r"^--data: .* holds steps of m6, t4, and one fit cannot hold for all; choose"):
        CliRunner().invoke(command, ["--data", str(tmp_path)], catch_exceptions=False)
    chosen = json.loads(run("--data", tmp_path, "--served-model", "t4", "--json").output)
    assert [each["name"] for each in chosen["data"]["runs"]] == ["two"]


def test_logs_of_another_served_model_are_no_test(tmp_path: Path) -> None:
    train, test = logs(tmp_path / "a", 100, model="m6"), logs(tmp_path / "b", 100, model="t4")

    with pytest.raises(UserError, match=r"^--test: its steps are of t4, those of --data of m6; compare on logs of the"):
        CliRunner().invoke(command, ["--data", str(train), "--test", str(test)], catch_exceptions=False)


def test_saturation_on_decode_alone_cannot_be_chosen(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", alone(logged(900)))

    with pytest.raises(UserError, match=r"^saturation: decode alone \(S = B\) cannot tell its parameters apart"):
        CliRunner().invoke(command, ["--data", str(tmp_path), "--model", "saturation"], catch_exceptions=False)


WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
sys.argv = ["planner", "fit", "--demo", "--plots", sys.argv[1]]
from planner.cli import main
main()
"""


def test_without_matplotlib_one_line_says_what_to_install(tmp_path: Path) -> None:
    command_line = [sys.executable, "-c", WITHOUT_MATPLOTLIB, str(tmp_path / "plots")]

    done = subprocess.run(command_line, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (
        3,
        "error: matplotlib is not installed; run: pip install 'sla-planner[fit]'\n",
    )
    assert not (tmp_path / "plots").exists()


def test_the_published_script_is_the_same_command(tmp_path: Path) -> None:
    script = [sys.executable, str(REPOSITORY / "scripts/create_pretrained_model.py")]
    logs(tmp_path / "logs", 100)

    done = subprocess.run(
        [*script, "--data", str(tmp_path / "logs"), "--analyze-only", "--verbose"],
        capture_output=True,
        text=True,
        check=True,
    )
    refused = subprocess.run(
        [*script, "--demo", "--output", "model.pkl"], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert done.stdout == run("--data", tmp_path / "logs", "--analyze-only", "--verbose").output
    assert (refused.returncode, refused.stderr.startswith("error: --output: model.pkl is named as a pickle")) == (
        2,
        True,
    )
