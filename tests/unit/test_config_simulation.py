"""The simulated fleet's section: reached from every source, refused in one line, carried by journals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.config import ConfigError, LoadedConfig, build_settings, config_from_document, load_config
from planner.config.catalogue import SIMULATION_SETTINGS
from planner.config.simulation import AggregatedEngine, PrefillEngine, Simulation
from planner.scaling.settings import Routing

MINIMAL = """\
sla: {isl: 3000, osl: 150, ttft: 200, itl: 20}
profile: h200-llama-3.1-8b-fp8-tp1
budget: {gpus: 32}
"""
FAITHFUL = {
    "routing": None,
    "decode_routing": "least_loaded",
    "prefill": {"step_tokens": None, "places": 1024, "holds_first_tokens": False},
    "aggregated": {"step_tokens": 8192},
    "first_token_from": "prefill",
    "prefix_hit_rate": 0,
    "kv_transfer_tokens_per_s": None,
    "speeds": [1.0],
    "startup_s": None,
    "startup_cv": 0,
    "slow_start_share": 0,
    "slow_start_factor": 4,
    "failed_start_share": 0,
    "crash_every_s": None,
    "grace_s": None,
    "scrape_s": 0,
    "outages": [],
    "gpus": None,
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound file in the working directory, so that messages are short."""
    monkeypatch.chdir(tmp_path)
    path = Path("planner.yaml")
    path.write_text(MINIMAL)
    return path


def load(file: Path, simulation: str) -> LoadedConfig:
    file.write_text(f"{MINIMAL}simulation: {simulation}\n")
    return load_config(file, {}, {})


def test_a_fleet_of_which_nothing_is_said_keeps_every_promise(file: Path) -> None:
    simulation = load_config(file, {}, {}).config.simulation

    assert simulation.model_dump() == FAITHFUL
    assert simulation == load(file, "").config.simulation == load(file, "{prefill: , aggregated: }").config.simulation


VALUES = [
    ("routing", "power_of_two"),
    ("prefill.step_tokens", 4096),
    ("prefill.holds_first_tokens", True),
    ("aggregated.step_tokens", None),
    ("speeds", [1, 0.8]),
    ("outages", [[600, 900.5], [0, 1]]),
    ("crash_every_s", 3600),
]


@pytest.mark.parametrize("source", ["file", "env", "flag"])
@pytest.mark.parametrize(("path", "value"), VALUES, ids=[path for path, _ in VALUES])
def test_every_source_reaches_a_setting_of_the_fleet(path: str, value: object, source: str, file: Path) -> None:
    text = json.dumps(value)
    variable = f"PLANNER_SIMULATION__{path.replace('.', '__').upper()}"
    if source == "file":
        keys = path.split(".")
        file.write_text(MINIMAL + "simulation: " + "".join(f"{{{key}: " for key in keys) + text + "}" * len(keys))

    loaded = load_config(
        file, {variable: text} if source == "env" else {}, {f"simulation.{path}": text} if source == "flag" else {}
    )

    found: Any = loaded.config.simulation
    for key in path.split("."):
        found = getattr(found, key)
    assert found == value
    assert {where: origin for where, origin in loaded.origins.items() if where[0] == "simulation"} == {
        ("simulation", *path.split(".")): {
            "file": "file planner.yaml", "env": f"env {variable}", "flag": f"flag --set simulation.{path}",
        }[source]
    }  # fmt: skip


SPEEDS = "must be a list of at least one number, each above 0 and at most 10"
OUTAGES = "must be a list of pairs [start_s, end_s], finite and 0 <= start_s < end_s"


@pytest.mark.parametrize(
    ("simulation", "line"),
    [
        (
            "{routing: fair}",
            'routing: "fair" must be least_loaded, shared_queue, power_of_two, round_robin or random, or null',
        ),
        (
            "{decode_routing: }",
            "decode_routing: null must be least_loaded, shared_queue, power_of_two, round_robin or random",
        ),
        ("{prefill: {step_tokens: 0}}", "prefill.step_tokens: 0 must be a whole number of at least 1, or null"),
        ("{prefill: {places: }}", "prefill.places: null must be a whole number of at least 1"),
        ("{prefill: {holds_first_tokens: 1}}", "prefill.holds_first_tokens: 1 must be true or false"),
        ("{prefill: 5}", "prefill: 5 must be a section with settings of its own"),
        ("{aggregated: {step_tokens: -1}}", "aggregated.step_tokens: -1 must be a whole number of at least 1, or null"),
        ("{first_token_from: router}", 'first_token_from: "router" must be prefill or decode'),
        ("{prefix_hit_rate: 1}", "prefix_hit_rate: 1 must be a number of at least 0 and below 1"),
        ("{kv_transfer_tokens_per_s: 0}", "kv_transfer_tokens_per_s: 0 must be a number above 0, or null"),
        ("{speeds: []}", f"speeds: [] {SPEEDS}"),
        ("{speeds: [1, 0]}", f"speeds: [1, 0] {SPEEDS}"),
        ("{speeds: [11]}", f"speeds: [11] {SPEEDS}"),
        ("{speeds: [fast]}", f'speeds: ["fast"] {SPEEDS}'),
        ("{speeds: 1}", f"speeds: 1 {SPEEDS}"),
        ("{startup_s: -1}", "startup_s: -1 must be a number of at least 0, or null"),
        ("{startup_cv: 6}", "startup_cv: 6 must be a number of at least 0 and at most 5"),
        ("{slow_start_share: 2}", "slow_start_share: 2 must be a number of at least 0 and at most 1"),
        ("{slow_start_factor: 0.5}", "slow_start_factor: 0.5 must be a number of at least 1"),
        ("{failed_start_share: 1}", "failed_start_share: 1 must be a number of at least 0 and below 1"),
        ("{crash_every_s: 0}", "crash_every_s: 0 must be a number above 0, or null"),
        ("{crash_every_s: .inf}", "crash_every_s: Infinity must be a finite number above 0, or null"),
        ("{grace_s: -1}", "grace_s: -1 must be a number of at least 0, or null"),
        ("{scrape_s: }", "scrape_s: null must be a number of at least 0"),
        ("{outages: [600, 900]}", f"outages: [600, 900] {OUTAGES}"),
        ("{outages: [[600]]}", f"outages: [[600]] {OUTAGES}"),
        ("{outages: [[1, 2, 3]]}", f"outages: [[1, 2, 3]] {OUTAGES}"),
        ("{outages: [[-1, 2]]}", f"outages: [[-1, 2]] {OUTAGES}"),
        ("{outages: [[0, .inf]]}", f"outages: [[0, Infinity]] {OUTAGES}"),
        ("{outages: [[0, 1], [900, 600]]}", f"outages: [[0, 1], [900, 600]] {OUTAGES}"),
        ("{outages: [[600, 600]]}", f"outages: [[600, 600]] {OUTAGES}"),
        ("{gpus: 0}", "gpus: 0 must be a whole number of at least 1, or null"),
        ("{speed: [1]}", "speed: unknown setting; did you mean speeds?"),
        ("{prefill: {place: 1}}", "prefill.place: unknown setting; did you mean places?"),
    ],
)  # fmt: skip
def test_an_impossible_fleet_is_refused_in_one_line(simulation: str, line: str, file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, simulation)

    assert caught.value.mistakes == (f"simulation.{line} (file planner.yaml)",)


def test_a_fleet_that_is_no_section_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"^simulation: 3 must be a section with settings of its own"):
        load(file, "3")


def test_several_wrong_items_of_a_list_are_one_mistake(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file, {"PLANNER_SIMULATION__SPEEDS": "[0, -1]"}, {})

    assert caught.value.mistakes == (f"simulation.speeds: [0, -1] {SPEEDS} (env PLANNER_SIMULATION__SPEEDS)",)


def test_services_share_one_simulated_fleet(file: Path) -> None:
    file.write_text(MINIMAL + "services: {chat: {simulation: {gpus: 1}}}")

    with pytest.raises(ConfigError, match=r"^services\.chat\.simulation: unknown setting; known here: sla, profile,"):
        load_config(file, {}, {})


def test_the_planner_is_not_told(file: Path) -> None:
    def told(loaded: LoadedConfig) -> object:
        settings = build_settings(loaded)
        return replace(settings, services={
            name: replace(service, forecaster=FORGOTTEN) for name, service in settings.services.items()
        })  # fmt: skip

    assert told(load(file, "{routing: random, startup_s: 900, gpus: 2}")) == told(load(file, ""))


FORGOTTEN: Any = None
"""Stands for a forecaster, which is no value and equals only itself."""


def test_a_document_tells_only_where_the_fleet_departs_from_its_defaults(file: Path) -> None:
    assert "simulation" not in load(file, "{slow_start_factor: 4.0, prefill: {places: 1024}}").to_document()
    assert load(file, "{speeds: [1, 0.5], prefill: {places: 4}}").to_document()["simulation"] == {
        "prefill": {"places": 4},
        "speeds": [1.0, 0.5],
    }


def positive(highest: float) -> st.SearchStrategy[float]:
    return st.floats(0, highest, exclude_min=True)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


routings = st.sampled_from(get_args(Routing))
outages = st.lists(st.floats(0, 1e6), min_size=2, max_size=2, unique=True).map(sorted)
simulations = st.builds(
    Simulation,
    routing=maybe(routings),
    decode_routing=routings,
    prefill=st.builds(
        PrefillEngine,
        step_tokens=maybe(st.integers(1, 100_000)),
        places=st.integers(1, 4096),
        holds_first_tokens=st.booleans(),
    ),
    aggregated=st.builds(AggregatedEngine, step_tokens=maybe(st.integers(1, 100_000))),
    first_token_from=st.sampled_from(["prefill", "decode"]),
    prefix_hit_rate=st.floats(0, 1, exclude_max=True),
    kv_transfer_tokens_per_s=maybe(positive(1e9)),
    speeds=st.lists(positive(10), min_size=1, max_size=4),
    startup_s=maybe(st.floats(0, 3600)),
    startup_cv=st.floats(0, 5),
    slow_start_share=st.floats(0, 1),
    slow_start_factor=st.floats(1, 20),
    failed_start_share=st.floats(0, 1, exclude_max=True),
    crash_every_s=maybe(positive(1e6)),
    grace_s=maybe(st.floats(0, 3600)),
    scrape_s=st.floats(0, 60),
    outages=st.lists(outages, max_size=3),
    gpus=maybe(st.integers(1, 1000)),
)


@given(simulations)
def test_any_fleet_comes_back_from_a_journals_document(simulation: Simulation) -> None:
    told = load_config(None, {}, {
        "--isl": 3000, "--osl": 150, "--ttft": 200, "--itl": 20, "--gpus": 32, "--profile": "h200-llama-3.1-8b-fp8-tp1",
    })  # fmt: skip
    loaded = replace(told, config=told.config.model_copy(update={"simulation": simulation}))
    document, profiles = json.loads(json.dumps([loaded.to_document(), loaded.profile_documents()], allow_nan=False))

    assert config_from_document(document, profiles).config == loaded.config


def test_every_setting_of_the_fleet_gives_a_reason_for_its_default() -> None:
    reasons = ("because", "so that", "null: ")

    assert [
        one.path for one in SIMULATION_SETTINGS if not any(why in str(one.field.description) for why in reasons)
    ] == []
