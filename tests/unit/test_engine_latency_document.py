"""Model files: what is written is read again, and whatever is wrong with one is one clear error."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from step_logs import LINEAR, SEEN

from planner.engine.latency.checks import ModelError
from planner.engine.latency.document import document_from_fitted, fitted_from_document
from planner.engine.latency.fitted import Fitted, Log, Provenance
from planner.engine.latency.linear import LinearPhysical
from planner.engine.latency.model_file import read_model, write_model
from planner.engine.latency.quality import Quality
from planner.engine.latency.residuals import Residuals
from planner.engine.latency.roofline import Roofline
from planner.engine.latency.saturation import Saturation
from planner.engine.latency.types import FEATURES, LatencyModel, Range, Seen

REPOSITORY = Path(__file__).parents[2]
FITTED = Fitted(
    model=LINEAR,
    residuals={"decode": Residuals(400, 1.08, 0.05), "mixed": Residuals(300, 1.05, 0.04)},
    held_out={"decode": Quality(120, 0.98, 0.4, 0.3, 0.03), "mixed": Quality(90, None, 1.5, 1.0, 0.02)},
    provenance=Provenance("2026-11-21T12:00:00+00:00", "0.1.0", "one H100", (Log("steps.jsonl", 700),)),
    notes=(),
)
AMOUNTS = st.floats(0, 1e12, allow_nan=False)
POSITIVE = st.floats(1e-9, 1e12)
SPANS = st.tuples(AMOUNTS, AMOUNTS).map(lambda pair: Range(min(pair), max(pair)))
FEATURE_SPANS = st.fixed_dictionaries(dict.fromkeys(FEATURES, SPANS))


@st.composite
def seen(draw: st.DrawFn) -> Seen:
    counts = {phase: draw(st.integers(0, 10**6)) for phase in ("decode", "mixed")}
    return Seen(
        steps={"decode": counts["decode"], "mixed": counts["mixed"]},
        features={
            "decode": draw(FEATURE_SPANS) if counts["decode"] else {},
            "mixed": draw(FEATURE_SPANS) if counts["mixed"] else {},
        },
    )


SIZES = st.lists(st.integers(1, 4096), unique=True).map(lambda sizes: tuple(sorted(sizes)))
MODELS = st.one_of(
    st.builds(LinearPhysical, POSITIVE, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, seen()),
    st.builds(Roofline, POSITIVE, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, SIZES, seen()),
    st.builds(Saturation, *[POSITIVE] * 10, seen()),
)
RESIDUALS = st.builds(Residuals, st.integers(0, 10**6), st.floats(1, 10), AMOUNTS)
QUALITIES = st.builds(Quality, st.integers(1, 10**6), st.none() | st.floats(-1e6, 1), AMOUNTS, AMOUNTS, AMOUNTS)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: bool(text.strip()))
ANY_FITTED = st.builds(
    Fitted,
    MODELS,
    st.fixed_dictionaries({"decode": RESIDUALS, "mixed": RESIDUALS}),
    st.fixed_dictionaries({}, optional={"decode": QUALITIES, "mixed": QUALITIES}),
    st.builds(
        Provenance, TEXTS, TEXTS, st.none() | TEXTS, st.lists(st.builds(Log, TEXTS, st.integers(0, 10**6))).map(tuple)
    ),
    st.lists(TEXTS, max_size=3).map(tuple),
)


@given(fitted=ANY_FITTED)
def test_a_document_gives_an_equal_model(fitted: Fitted) -> None:
    assert fitted_from_document(json.loads(json.dumps(document_from_fitted(fitted)))) == fitted


def test_the_document_says_what_it_is_and_in_which_units() -> None:
    assert document_from_fitted(FITTED) | {"seen": None, "residuals": None, "held_out": None} == {
        "schema": "sla-planner/step-latency",
        "schema_version": 1,
        "model": "linear-physical",
        "units": {
            "step_ms": "ms",
            "ms_per_token": "ms/token",
            "ms_per_request": "ms/request",
            "ms_per_kv_token": "ms/token",
            "ms_per_pair": "ms/pair",
        },
        "parameters": {
            "step_ms": 6.0,
            "ms_per_token": 0.03,
            "ms_per_request": 0.02,
            "ms_per_kv_token": 1e-4,
            "ms_per_pair": 5e-6,
        },
        "seen": None,
        "residuals": None,
        "held_out": None,
        "provenance": {
            "fitted_at": "2026-11-21T12:00:00+00:00",
            "planner_version": "0.1.0",
            "hardware": "one H100",
            "logs": [{"name": "steps.jsonl", "steps": 700}],
        },
        "notes": [],
    }


@pytest.mark.parametrize(
    "model",
    [
        LINEAR,
        Roofline(1.0, 0.05, 8.0, 0.01, 1e-4, 5e-6, (1, 2, 4), SEEN),
        Saturation(20.0, 0.3, 0.5, 2.0, 3.0, 4.0, 0.05, 0.6, 10.0, 22.0, SEEN),
    ],
    ids=lambda model: str(model.name),
)
def test_a_file_gives_an_equal_model(model: LatencyModel, tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.json"

    write_model(replace(FITTED, model=model), path)

    assert read_model(path) == replace(FITTED, model=model)


def changed(keys: str, value: object) -> dict[str, Any]:
    """The document with one value replaced, or removed when it is `...`."""
    document: dict[str, Any] = json.loads(json.dumps(document_from_fitted(FITTED)))
    *way, last = keys.split(".")
    part = document
    for key in way:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param([], "document: [] must be an object with the keys schema, ", id="no object"),
        pytest.param(
            changed("schema", "other"),
            "schema: 'other' is not supported; it must be 'sla-planner/step-latency'; fit the model again",
            id="another schema",
        ),
        pytest.param(
            changed("schema_version", 2),
            "schema_version: 2 is not supported; it must be 1; fit the model again",
            id="a later version",
        ),
        pytest.param(changed("schema_version", True), "schema_version: True is not supported", id="a version as truth"),
        pytest.param(
            changed("model", "forest"),
            "model: 'forest' is not known; it must be one of linear-physical, roofline, saturation",
            id="unknown model",
        ),
        pytest.param(
            changed("units.step_ms", "s"),
            "units.step_ms: 's' is not supported; it must be 'ms'; fit the model again",
            id="wrong unit",
        ),
        pytest.param(
            changed("parameters.ms_per_token", float("nan")),
            "parameters.ms_per_token: nan must be a finite number; fit the model again",
            id="NaN",
        ),
        pytest.param(
            changed("parameters.ms_per_token", 10**400),
            "parameters.ms_per_token: 1000000",
            id="beyond floats",
        ),
        pytest.param(
            changed("parameters.ms_per_token", -0.1),
            "parameters.ms_per_token: -0.1 must not be below zero; fit the model again",
            id="negative",
        ),
        pytest.param(
            changed("parameters.ms_per_token", "0.1"),
            "parameters.ms_per_token: '0.1' must be a finite number; fit the model again",
            id="a text",
        ),
        pytest.param(
            changed("parameters", dict.fromkeys(LINEAR.parameters(), 0)),
            "parameters: all are zero; fit the model again",
            id="all zero",
        ),
        pytest.param(
            changed("parameters.ms_per_pair", ...),
            "parameters: ms_per_pair missing; fit the model again, the file may be truncated",
            id="parameter missing",
        ),
        pytest.param(
            changed("parameters.bias", 1),
            "parameters: unknown key bias; the keys are step_ms, ms_per_token, ms_per_request, "
            "ms_per_kv_token, ms_per_pair",
            id="parameter unknown",
        ),
        pytest.param(
            changed("seen.decode.steps", 1.5),
            "seen.decode.steps: 1.5 must be a whole number from 0; fit the model again",
            id="a part of a step",
        ),
        pytest.param(
            changed("seen.decode.features.requests", [9, 1]),
            "seen.decode.features.requests: [9, 1] must not fall; give the least first",
            id="a range that falls",
        ),
        pytest.param(
            changed("seen.decode.features.requests", [9]),
            "seen.decode.features.requests: [9] must be a list of the least and the most",
            id="half a range",
        ),
        pytest.param(
            changed("residuals.mixed.margin", 0.9),
            "residuals.mixed.margin: 0.9 must be at least 1; fit the model again",
            id="a margin below 1",
        ),
        pytest.param(changed("residuals.mixed", ...), "residuals: mixed missing", id="a phase missing"),
        pytest.param(
            changed("provenance.logs", None),
            "provenance.logs: None must be a list; write [] for none",
            id="no list of logs",
        ),
        pytest.param(
            changed("provenance.fitted_at", " "),
            "provenance.fitted_at: ' ' must be a text that is not empty",
            id="an empty text",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_that_names_it(document: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(document))

    with pytest.raises(ModelError) as caught:
        read_model(path)

    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param("graph_sizes", [4, 2], "parameters.graph_sizes: [4, 2] must ascend, each size once", id="falling"),
        pytest.param("graph_sizes", 4, "parameters.graph_sizes: 4 must be a list; write [] for none", id="no list"),
    ],
)
def test_wrong_graph_sizes_are_named(name: str, value: object, message: str) -> None:
    roof = Roofline(1.0, 0.05, 8.0, 0.01, 1e-4, 5e-6, (1, 2, 4), SEEN)
    document = document_from_fitted(replace(FITTED, model=roof))
    document["parameters"][name] = value

    with pytest.raises(ModelError) as caught:
        fitted_from_document(document)

    assert str(caught.value).startswith(message)


def test_a_zero_that_divides_is_named() -> None:
    document = document_from_fitted(
        replace(FITTED, model=Saturation(20.0, 0.3, 0.5, 2.0, 3.0, 4.0, 0.05, 0.6, 10.0, 22.0, SEEN))
    )
    document["parameters"]["k_S"] = 0

    with pytest.raises(ModelError, match=r"^parameters\.k_s: 0\.0 must be above zero; fit the model again$"):
        fitted_from_document(document)


def half(path: Path) -> None:
    write_model(FITTED, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        pytest.param(
            "model.pkl",
            lambda path: path.write_bytes(pickle.dumps({})),
            r"^model: .*model\.pkl is named as a pickle, and models are JSON; fit one: "
            r"planner fit --data DIR --output model\.json$",
            id="named as a pickle",
        ),
        pytest.param(
            "model.json",
            lambda path: path.write_bytes(pickle.dumps({})),
            r"model\.json: is a pickle, which could run any code, and is not opened; fit one: planner fit --data DIR",
            id="a pickle by its bytes",
        ),
        pytest.param("model.json", half, r"model\.json: is not JSON \(.*\), perhaps truncated; fit", id="truncated"),
        pytest.param(
            "model.json",
            lambda path: path.write_bytes(b"\xff\xfe\x00"),
            r"model\.json: is not JSON \(.*\), perhaps truncated",
            id="other bytes",
        ),
        pytest.param(
            "model.json",
            lambda path: None,
            r"model\.json: cannot be read \(No such file or directory\); give an absolute path",
            id="no file",
        ),
    ],
)
def test_what_is_no_model_file_is_told(name: str, make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make(tmp_path / name)

    with pytest.raises(ModelError, match=message):
        read_model(tmp_path / name)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    write_model(FITTED, path)
    before = path.read_bytes()

    with pytest.raises(ModelError, match=r"cannot be written \(.*\); choose another file$"):
        write_model(FITTED, path / "below.json")

    assert path.read_bytes() == before


def test_models_are_never_written_under_the_name_of_a_pickle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is named as a pickle"):
        write_model(FITTED, tmp_path / "model.pkl")

    assert list(tmp_path.iterdir()) == []


IMPORT_ALL = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
from importlib import import_module
from pkgutil import walk_packages
package = import_module("planner.engine")
for module in walk_packages(package.__path__, "planner.engine."):
    import_module(module.name)
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(name for name in names if name not in sys.stdlib_module_names))
"""


def test_the_engine_package_loads_numpy_and_nothing_else_that_is_installed() -> None:
    command = [sys.executable, "-c", IMPORT_ALL, str(REPOSITORY)]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["numpy", "planner"]
