"""The settings of the in-engine scheduler: published names and defaults, sources, and one clear line for a mistake."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.engine.settings import SLASchedulerConfig
from planner.engine.settings_rules import SettingsError
from planner.errors import UserError

DOCUMENT = Path(__file__).parents[2] / "docs/batch-optimiser.md"

PUBLISHED = {
    "VLLM_SLA_SCHEDULER_ENABLED": ("enabled", True),
    "VLLM_SLA_FALLBACK_ON_ERROR": ("fallback_on_error", True),
    "VLLM_SLA_MIN_BATCH_TIME_MS": ("min_batch_time_ms", 15.0),
    "VLLM_SLA_QUEUE_THRESHOLD": ("queue_threshold", 5),
    "VLLM_SLA_USE_PRETRAINED": ("use_pretrained_model", True),
    "VLLM_SLA_PRETRAINED_PATH": ("pretrained_model_path", ""),
    "VLLM_SLA_SAVE_MODEL": ("save_model", True),
    # Published as .pkl: a pickle runs code when it is read.
    "VLLM_SLA_MODEL_SAVE_PATH": ("model_save_path", "sla_scheduler_model.json"),
    "VLLM_SLA_MODEL_UPDATE_THRESHOLD": ("model_update_threshold", 0.15),
    "VLLM_SLA_MIN_SAMPLES": ("min_samples", 50),
    "VLLM_SLA_BUFFER_SIZE": ("buffer_size", 1000),
    "VLLM_SLA_MODEL_CONFIDENCE": ("model_confidence", 0.8),
    "VLLM_SLA_MAX_BATCH_SEARCH": ("max_batch_search", 32),
    "VLLM_SLA_OPT_TIMEOUT_MS": ("opt_timeout_ms", 1.0),
    "VLLM_SLA_FALLBACK_INTERCEPT": ("fallback_intercept", 8.7),
    "VLLM_SLA_FALLBACK_SLOPE": ("fallback_slope", 0.0215),
    "VLLM_SLA_VERBOSE": ("verbose", False),
    "VLLM_SLA_PERF_LOG": ("perf_log", True),
    "VLLM_SLO_TPOT_MS": ("slo_tpot_ms", 50.0),
    "VLLM_SLO_TTFT_MS": ("slo_ttft_ms", 500.0),
}


def test_the_published_variables_are_there_with_their_defaults() -> None:
    declared = {each.metadata["env"]: (each.name, each.default) for each in fields(SLASchedulerConfig)}

    assert {env: declared.get(env) for env in PUBLISHED} == PUBLISHED
    assert len(declared) == len(fields(SLASchedulerConfig))


def test_without_any_source_all_are_defaults() -> None:
    assert SLASchedulerConfig.load({"VLLM_USE_V1": "1", "PATH": "/bin"}, {}) == SLASchedulerConfig()


def test_later_sources_win() -> None:
    env = {"VLLM_SLO_TPOT_MS": "40", "VLLM_SLA_QUEUE_THRESHOLD": "7", "VLLM_SLA_VERBOSE": "on"}

    config = SLASchedulerConfig.load(env, {"slo_tpot_ms": 35, "queue_threshold": 8}, slo_tpot_ms=30.0)

    assert config == SLASchedulerConfig(slo_tpot_ms=30.0, queue_threshold=8, verbose=True)


def test_one_source_alone() -> None:
    assert SLASchedulerConfig.from_env({"VLLM_SLO_TTFT_MS": "250.5"}) == SLASchedulerConfig(slo_ttft_ms=250.5)
    assert SLASchedulerConfig.from_dict({"look_ahead": 1}) == SLASchedulerConfig(look_ahead=1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("1", True), ("Yes", True), (" on ", True), ("FALSE", False), ("0", False), ("off", False)],
)
def test_a_switch_in_the_environment(text: str, value: bool) -> None:
    assert SLASchedulerConfig.from_env({"VLLM_SLA_PERF_LOG": text}).perf_log is value


@pytest.mark.parametrize(
    ("env", "section", "message"),
    [
        pytest.param(
            {"VLLM_SLA_QUEUE_TRESHOLD": "3"}, {},
            "VLLM_SLA_QUEUE_TRESHOLD: no such setting; did you mean VLLM_SLA_QUEUE_THRESHOLD? (env)", id="misspelt",
        ),
        pytest.param(
            {"VLLM_SLO_TPOT": "3"}, {}, "VLLM_SLO_TPOT: no such setting; did you mean VLLM_SLO_TPOT_MS? (env)",
            id="without its unit",
        ),
        pytest.param(
            {"VLLM_SLA_TPOT_MS": "3"}, {}, "VLLM_SLA_TPOT_MS: no such setting; did you mean VLLM_SLO_TPOT_MS? (env)",
            id="with the other prefix",
        ),
        pytest.param({"VLLM_SLA_ZZ": "3"}, {}, "VLLM_SLA_ZZ: no such setting; unset it (env)", id="like none"),
        pytest.param(
            {}, {"queue_treshold": 3},
            "queue_treshold: no such setting; did you mean queue_threshold? (additional config)", id="unknown key",
        ),
        pytest.param(
            {"VLLM_SLA_VERBOSE": "maybe"}, {}, "verbose: maybe must be true or false (env VLLM_SLA_VERBOSE)",
            id="no switch",
        ),
        pytest.param(
            {}, {"verbose": 1}, "verbose: 1 must be true or false (additional config)", id="a number for a switch"
        ),
        pytest.param(
            {"VLLM_SLA_BUFFER_SIZE": "1e3"}, {},
            'buffer_size: "1e3" must be a whole number from 1 to 10000 (env VLLM_SLA_BUFFER_SIZE)', id="not whole",
        ),
        pytest.param(
            {}, {"buffer_size": True},
            "buffer_size: true must be a whole number from 1 to 10000 (additional config)",
            id="a switch for a number",
        ),
        pytest.param(
            {"VLLM_SLO_TPOT_MS": "nan"}, {},
            "slo_tpot_ms: nan must be a number from 0.01 to 3600000 (env VLLM_SLO_TPOT_MS)", id="nan",
        ),
        pytest.param(
            {"VLLM_SLO_TTFT_MS": ""}, {},
            'slo_ttft_ms: "" must be a number from 0.01 to 3600000 (env VLLM_SLO_TTFT_MS)', id="empty",
        ),
        pytest.param(
            {}, {"slo_ttft_ms": -1}, "slo_ttft_ms: -1 must be a number from 0.01 to 3600000 (additional config)",
            id="negative",
        ),
        pytest.param(
            {"VLLM_SLA_MODE": "off"}, {}, "mode: off must be one of frozen, hybrid, online (env VLLM_SLA_MODE)",
            id="no such mode",
        ),
        pytest.param(
            {}, {"pretrained_model_path": None},
            "pretrained_model_path: null must be the path of a model file (additional config)", id="no path",
        ),
        pytest.param({}, [1], "sla: [1] must be a section of settings (additional config)", id="no section"),
    ],
)  # fmt: skip
def test_an_impossible_value_is_one_line(env: dict[str, str], section: object, message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        SLASchedulerConfig.load(env, section)


@pytest.mark.parametrize("field", ["pretrained_model_path", "model_save_path"])
@pytest.mark.parametrize("file", ["/models/old.pkl", "old.PICKLE"])
def test_a_pickle_is_refused_with_the_command_that_replaces_it(field: str, file: str) -> None:
    message = (
        f'{field}: "{file}" is a pickle, which is never used; make a model file with planner fit --data DIR '
        "--output model.json (additional config)"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        SLASchedulerConfig.from_dict({field: file})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        pytest.param(
            {"slo_tpot_ms": 10},
            "min_batch_time_ms: 15 exceeds slo_tpot_ms 10; lower it or raise slo_tpot_ms (default)",
            id="T_min above TPOT",
        ),
        pytest.param(
            {"min_samples": 200, "buffer_size": 100},
            "min_samples: 200 exceeds buffer_size 100, so no refit would ever come; lower it or raise buffer_size "
            "(additional config)",
            id="more samples than are kept",
        ),
        pytest.param(
            {"mode": "frozen"},
            "mode: frozen needs a model file; set pretrained_model_path, or mode online (additional config)",
            id="frozen without a file",
        ),
        pytest.param(
            {"mode": "hybrid", "pretrained_model_path": "m.json", "use_pretrained_model": False},
            "mode: hybrid needs a model file, but use_pretrained_model is false; set it, or mode online "
            "(additional config)",
            id="hybrid that may not use its file",
        ),
    ],
)  # fmt: skip
def test_values_that_contradict_one_another_are_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        SLASchedulerConfig.from_dict(section)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        SLASchedulerConfig.load({"VLLM_SLA_MIN_SAMPLES": "x", "VLLM_SLA_FOO_BAR_BAZ": "1"}, {"look_ahead": 0})

    assert str(caught.value).splitlines() == [
        "3 mistakes in the settings of the scheduler:",
        "  VLLM_SLA_FOO_BAR_BAZ: no such setting; unset it (env)",
        "  look_ahead: 0 must be a whole number from 1 to 1024 (additional config)",
        "  min_samples: x must be a whole number from 1 to 10000 (env VLLM_SLA_MIN_SAMPLES)",
    ]


def test_code_is_held_to_the_same_rules() -> None:
    with pytest.raises(UserError, match=r"^queue_threshold: 0 must be a whole number from 1 to 1000000 \(keyword\)$"):
        SLASchedulerConfig(queue_threshold=0)
    with pytest.raises(UserError, match=r"^queue: no such setting; unset it \(keyword\)$"):
        SLASchedulerConfig.load({}, {}, queue=3)


keys = st.sampled_from([each.name for each in fields(SLASchedulerConfig)]) | st.text()
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))
variables = st.sampled_from([each.metadata["env"] for each in fields(SLASchedulerConfig)])


@given(st.dictionaries(variables, st.text(), max_size=3), st.dictionaries(keys, values, max_size=3))
def test_whatever_is_given_makes_settings_or_one_line_for_each_mistake(
    env: dict[str, str], section: dict[str, object]
) -> None:
    mistakes: tuple[str, ...] = ()
    try:
        SLASchedulerConfig.load(env, section)
    except SettingsError as error:
        mistakes, text = error.mistakes, str(error)

    if mistakes:
        assert len(text.splitlines()) == len(mistakes) + (len(mistakes) > 1)
        assert all(len(line) < 300 and line.endswith(")") for line in mistakes)


# --- modes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "mode", "file", "refit_above"),
    [
        pytest.param({}, "online", None, 0.15, id="nothing given"),
        pytest.param({"pretrained_model_path": "m.json"}, "frozen", "m.json", None, id="a file"),
        pytest.param(
            {"pretrained_model_path": "m.json", "use_pretrained_model": False}, "online", None, 0.15,
            id="a file not to be used",
        ),
        pytest.param(
            {"pretrained_model_path": "m.json", "mode": "hybrid"}, "hybrid", "m.json", 0.10, id="hybrid"
        ),
        pytest.param({"pretrained_model_path": "m.json", "mode": "online"}, "online", None, 0.15, id="online wins"),
        pytest.param({"mode": "online", "model_update_threshold": 0.3}, "online", None, 0.3, id="a threshold"),
    ],
)  # fmt: skip
def test_mode_and_file_together(
    section: dict[str, object], mode: str, file: str | None, refit_above: float | None
) -> None:
    config = SLASchedulerConfig.from_dict(section)

    assert (config.learning, config.model_file, config.refit_above_mape) == (mode, file, refit_above)


# --- the document -----------------------------------------------------------------------------------------------


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value or "empty")


def test_the_document_lists_every_setting_as_it_is() -> None:
    rows = re.findall(r"^\| `VLLM_SL[AO]_.*$", DOCUMENT.read_text(), re.MULTILINE)

    assert rows == [
        f"| `{each.metadata['env']}` | `{each.name}` | {written(each.default)} | {each.metadata['meaning']} |"
        for each in fields(SLASchedulerConfig)
    ]
