"""Where values come from: the file, the environment, flags, and who wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, combinations
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.config import ConfigError, LoadedConfig, config_from_document, load_config
from planner.config.catalogue import FLAGS, SETTINGS, env_name
from planner.profiler.library import load_profile, write_profile

PROFILE = "h200-llama-3.1-8b-fp8-tp1"
MINIMAL = f"""\
sla: {{isl: 3000, osl: 150, ttft: 200, itl: 20}}
profile: {PROFILE}
budget: {{gpus: 32}}
"""
MINIMAL_FLAGS = {"--isl": 3000, "--osl": 150, "--ttft": 200, "--itl": 20, "--profile": PROFILE, "--gpus": 32}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sound file; tests write more into it."""
    path = tmp_path / "planner.yaml"
    path.write_text(MINIMAL)
    return path


def load(file: Path, text: str, env: Mapping[str, str] | None = None) -> LoadedConfig:
    file.write_text(text)
    return load_config(file, env or {}, {})


def origin(loaded: LoadedConfig, path: str, service: str = "default") -> str:
    return loaded.origins["services", service, *path.split(".")]


def test_three_lines_are_a_configuration(file: Path) -> None:
    loaded = load_config(file, {}, {})

    assert loaded.config.budget.gpus == 32
    assert list(loaded.config.services) == ["default"]
    service = loaded.config.services["default"]
    assert (service.sla.ttft, service.sla.objective, service.forecast.model) == (200, 0.95, "kalman")
    assert (origin(loaded, "sla.ttft"), origin(loaded, "sla.objective")) == (f"file {file}", "default")


def test_flags_alone_are_enough() -> None:
    assert load_config(None, {}, MINIMAL_FLAGS).config.services["default"].sla.isl == 3000


def test_planner_config_names_the_file_unless_a_flag_does(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(MINIMAL.replace("ttft: 200", "ttft: 500"))

    from_env = load_config(None, {"PLANNER_CONFIG": str(other)}, {})
    from_flag = load_config(file, {"PLANNER_CONFIG": str(other)}, {})

    assert from_env.config.services["default"].sla.ttft == 500
    assert from_flag.config.services["default"].sla.ttft == 200


SOURCES = ("file", "env", "flag")
SUBSETS = list(chain.from_iterable(combinations(SOURCES, size) for size in range(4)))


@pytest.mark.parametrize("given_by", SUBSETS, ids=lambda sources: "+".join(sources) or "none")
def test_flags_go_before_the_environment_before_the_file_before_defaults(given_by: tuple[str, ...], file: Path) -> None:
    loaded = load_config(
        file if "file" not in given_by else _with(file, "interval_s: 10\n"),
        {"PLANNER_INTERVAL_S": "20"} if "env" in given_by else {},
        {"--interval": "40"} if "flag" in given_by else {},
    )

    expected = {
        "file": (10, f"file {file}"),
        "env": (20, "env PLANNER_INTERVAL_S"),
        "flag": (40, "flag --interval"),
        "none": (30, "default"),
    }[given_by[-1] if given_by else "none"]
    assert (loaded.config.services["default"].interval_s, origin(loaded, "interval_s")) == expected


def _with(file: Path, text: str) -> Path:
    file.write_text(MINIMAL + text)
    return file


def test_set_reaches_a_setting_without_a_flag_of_its_own(file: Path) -> None:
    loaded = load_config(file, {}, {"scaling.tolerance": "0.1"})

    assert loaded.config.services["default"].scaling.tolerance == 0.1
    assert origin(loaded, "scaling.tolerance") == "flag --set scaling.tolerance"


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("null", None), ("7", 7)],
    ids=["empty", "null", "number"],
)
def test_the_environment_holds_yaml_scalars(text: str, value: int | None, file: Path) -> None:
    loaded = load_config(file, {"PLANNER_DECODE__MAX_REPLICAS": text}, {})

    assert loaded.config.services["default"].decode.max_replicas == value


def test_an_exponent_without_a_point_is_a_number(file: Path) -> None:
    assert load(file, MINIMAL.replace("ttft: 200", "ttft: 2e2")).config.services["default"].sla.ttft == 200


def test_a_section_left_empty_means_its_defaults(file: Path) -> None:
    loaded = load(file, MINIMAL + "forecast:\n  # quantile: 0.95\nservices:\n")

    assert loaded.config == load(file, MINIMAL).config


def test_yaml_anchors_and_merge_keys_work(file: Path) -> None:
    text = MINIMAL + "prefill: &pool {min_replicas: 2}\ndecode: {<<: *pool, max_replicas: 3}\n"

    decode = load(file, text).config.services["default"].decode

    assert (decode.min_replicas, decode.max_replicas) == (2, 3)


def test_a_profile_path_in_a_file_starts_at_the_files_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profile(load_profile(PROFILE), file.parent / "mine" / "profile.json")
    elsewhere = file.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    loaded = load(file, MINIMAL.replace(PROFILE, "mine/profile.json"))

    assert loaded.profiles == {str(file.parent / "mine" / "profile.json"): load_profile(PROFILE)}


@pytest.mark.parametrize(
    "name",
    [
        "PLANNER_SERVICE_HOST",
        "PLANNER_SERVICE_PORT",
        "PLANNER_SERVICE_PORT_HTTP",
        "PLANNER_PORT",
        "PLANNER_PORT_8080_TCP",
        "PLANNER_PORT_8080_TCP_PROTO",
        "PLANNER_PORT_8080_TCP_PORT",
        "PLANNER_PORT_8080_TCP_ADDR",
        "PLANNER_METRICS_SERVICE_HOST",
        "PLANNER_METRICS_PORT_9090_TCP_ADDR",
    ],
)
def test_variables_that_kubernetes_sets_for_a_service_named_planner_are_passed_over(name: str, file: Path) -> None:
    assert load_config(file, {name: "tcp://10.0.0.1:8080"}, {}).config == load_config(file, {}, {}).config


def test_kubernetes_variables_hide_no_setting() -> None:
    from planner.config.sources import _SERVICE_LINK

    assert [setting.env for setting in SETTINGS if _SERVICE_LINK.fullmatch(setting.env)] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", r"planner\.yaml, line 2, column 1: a is given twice; keep one$"),
        ("sla: {isl: 1, isl: 2}", r"line 1, column 15: isl is given twice"),
        ("sla:\n\tisl: 1", r"line 2, column 1: .*'\\t'.*; indent with spaces$"),
        ("sla: [1", r"line 1, column 8: while parsing a flow sequence, expected ',' or '\]'"),
        ("- 1", r"the top level is \[1\]; it must be a mapping"),
        ("text", r'the top level is "text"; it must be a mapping'),
        ("1: 2", r"line 1, column 1: key 1 is not text; put it in quotes$"),
        ("a: 1\n---\nb: 2", r"line 2, column 1: expected a single document"),
        ("a: !!python/object:os.x 1", r"line 1, column 4: could not determine a constructor"),
        ("a: &a {b: *a}", r"line 1, column 4: found unconstructable recursive node"),
        ("a: &a [*a]", r"line 1, column 4: found unconstructable recursive node"),
        ("[" * 5000, r"not YAML: nested too deeply$"),
        ("\0", r"not YAML: unacceptable character"),
    ],
    ids=[
        "duplicate", "nested-duplicate", "tab", "unclosed", "list", "scalar", "number-as-key", "two-documents",
        "python-object", "contains-itself", "list-contains-itself", "deep", "control-character",
    ],
)  # fmt: skip
def test_a_file_that_is_no_configuration_is_one_line_with_its_place(text: str, message: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(file, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: path.unlink(), "cannot read the configuration file: No such file or directory; check the path"),
        (lambda path: path.write_bytes(b"a: \xff"), "not UTF-8 at byte 3; save the file as UTF-8"),
    ],
    ids=["absent", "latin-1"],
)
def test_a_file_that_cannot_be_read_is_one_line(prepare: object, message: str, file: Path) -> None:
    assert callable(prepare)
    prepare(file)
    with pytest.raises(ConfigError, match=message):
        load_config(file, {}, {})


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"PLANNER_SLA_TTFT": "1"}, r"^PLANNER_SLA_TTFT: no setting has this .*; did you mean PLANNER_SLA__TTFT\?$"),
        ({"PLANNER_CONFIGS": "1"}, r"did you mean PLANNER_CONFIG\?$"),
        ({"PLANNER_QWXZ": "1"}, r"^PLANNER_QWXZ: no setting has this environment variable; unset it$"),
        ({"PLANNER_SLA": "{ttft: 1}"}, r"^PLANNER_SLA: no setting has"),
        ({"PLANNER_MODE": "{a: b}"}, r'^PLANNER_MODE: "{a: b}" is not a single value; give each setting'),
        ({"PLANNER_MODE": "[a]"}, r'^mode: \["a"\] must be disaggregated or aggregated \(env PLANNER_MODE\)$'),
        ({"PLANNER_MODE": "&a [*a]"}, r'^PLANNER_MODE: "&a \[\*a\]" is no YAML scalar or list; put text in quotes'),
        ({"PLANNER_MODE": "a: b: c"}, r"is no YAML scalar or list; put text in quotes, a list in brackets$"),
        ({"PLANNER_SERVICES__CHAT__MODE": "aggregated"}, r"^PLANNER_SERVICES__CHAT__MODE: no setting has"),
        ({"PLANNER_SLA__TTFT": "fast"}, r'^sla.ttft: "fast" must be a number above 0 \(env PLANNER_SLA__TTFT\)$'),
    ],
    ids=[
        "typing-error", "near-config", "nothing-near", "section", "mapping", "list", "contains-itself", "no-scalar",
        "undeclared-service", "type",
    ],
)  # fmt: skip
def test_a_variable_that_is_wrong_is_named(env: dict[str, str], message: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(file, env, {})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"--ttft": "[1]"}, r"^sla.ttft: \[1\] must be a number above 0 \(flag --ttft\)$"),
        ({"--ttft": "1", "sla.ttft": "2"}, r"^sla.ttft: given by both --ttft and --set sla.ttft; keep one$"),
        ({"sla.tttft": "1"}, r"^sla.tttft: unknown setting; did you mean ttft\? \(flag --set sla.tttft\)$"),
        ({"sla": "1"}, r"^sla: 1 must be a section with settings of its own \(flag --set sla\)$"),
        ({"services.chat.mode": "aggregated"}, r"services are declared in the configuration file alone \(it declares"),
    ],
    ids=["list", "twice", "unknown", "section", "undeclared-service"],
)
def test_a_flag_that_is_wrong_is_named(flags: dict[str, object], message: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(file, {}, flags)


def test_every_setting_has_its_own_variable_and_every_flag_a_setting() -> None:
    paths = {setting.path for setting in SETTINGS}

    assert len({env_name(path) for path in paths}) == len(paths)
    assert set(FLAGS.values()) <= paths


def outcome(load_it: Callable[[], LoadedConfig]) -> LoadedConfig | str:
    try:
        return load_it()
    except ConfigError as error:
        return str(error)


@given(st.text(max_size=80))
@example("2024-99-99")
@example("!!int ''")
@example("!!bool x")
@example("!!timestamp x")
@example("[1]")
@example("\x85")
def test_any_text_in_a_variable_gives_a_configuration_or_one_line(text: str) -> None:
    found = outcome(lambda: load_config(None, {"PLANNER_OBSERVE__MAX_AGE_S": text}, MINIMAL_FLAGS))

    if isinstance(found, str):
        assert len(found.splitlines()) == 1
        assert found.startswith(("PLANNER_OBSERVE__MAX_AGE_S: ", "observe.max_age_s: "))
    else:
        assert found.config.services["default"].observe.max_age_s > 0


KEYS = st.sampled_from(sorted({key for setting in SETTINGS for key in setting.path} | {"services", "chat", "x\ny"}))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_document_gives_a_configuration_or_a_line_for_each_mistake(document: dict[str, object]) -> None:
    found = outcome(lambda: config_from_document(document, {}))

    assert isinstance(found, str)  # there is no profile to be had
    assert "\n" not in found or found.splitlines()[0].endswith("mistakes in the configuration:")
    assert all(": " in line for line in found.splitlines()[1:])
