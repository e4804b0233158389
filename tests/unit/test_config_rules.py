"""What a configuration must not say, and how it is told so."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.config import ConfigError, LoadedConfig, load_config

SLA = "sla: {isl: 3000, osl: 150, ttft: 200, itl: 20}"
PROFILE = "profile: h200-llama-3.1-8b-fp8-tp1"
BUDGET = "budget: {gpus: 32}"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Loads a text as planner.yaml of the working directory, so that messages are short."""
    monkeypatch.chdir(tmp_path)

    def from_text(text: str) -> LoadedConfig:
        Path("planner.yaml").write_text(text)
        return load_config(Path("planner.yaml"), {}, {})

    return from_text


def mistakes(load: object, *sections: str) -> list[str]:
    assert callable(load)
    with pytest.raises(ConfigError) as caught:
        load("\n".join(sections))
    return list(caught.value.mistakes)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("sla: {isl: 3000, osl: 150, ttft: 0, itl: 20}", "sla.ttft: 0 must be a number above 0"),
        ("sla: {isl: -1, osl: 150, ttft: 200, itl: 20}", "sla.isl: -1 must be a number above 0"),
        ("sla: {isl: 3000, osl: 150, ttft: .nan, itl: 20}", "sla.ttft: NaN must be a finite number above 0"),
        ("sla: {isl: 3000, osl: .inf, ttft: 200, itl: 20}", "sla.osl: Infinity must be a finite number above 0"),
        ("sla: {isl: 3000, osl: 150, ttft: '200', itl: 20}", 'sla.ttft: "200" must be a number above 0'),
        ("sla: {isl: 3000, osl: 150, ttft: yes, itl: 20}", "sla.ttft: true must be a number above 0"),
        ("sla: {isl: 3000, osl: 150, ttft: , itl: 20}", "sla.ttft: null must be a number above 0"),
        (
            "sla: {isl: 3000, osl: 150, ttft: 200, itl: 20, objective: 95}",
            "sla.objective: 95 must be a number above 0 and below 1",
        ),
        ("sla: 3", "sla: 3 must be a section with settings of its own"),
    ],
)
def test_an_impossible_agreement_is_refused(section: str, line: str, load: object) -> None:
    assert mistakes(load, section, PROFILE, BUDGET) == [f"{line} (file planner.yaml)"]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("scalling: {tolerance: 1}", "scalling: unknown setting; did you mean scaling?"),
        ("scaling: {tolerence: 1}", "scaling.tolerence: unknown setting; did you mean tolerance?"),
        ("ttft: 200", "ttft: unknown setting; did you mean sla.ttft?"),
        ("buget: {gpus: 3}", "buget: unknown setting; did you mean budget?"),
        (
            "gpus_per_replica: 2",
            "gpus_per_replica: unknown setting; did you mean prefill.gpus_per_replica or decode.gpus_per_replica "
            "or aggregated.gpus_per_replica?",
        ),
        ("observe: {x: 1}", "observe.x: unknown setting; known here: max_age_s"),
        ("mode: agregated", 'mode: "agregated" must be disaggregated or aggregated'),
        (
            "sizing: {routing: fair}",
            'sizing.routing: "fair" must be least_loaded, shared_queue, power_of_two, round_robin or random',
        ),
        (
            "prefill: {max_replicas: 1.5}",
            "prefill.max_replicas: 1.5 must be a whole number of at least 1, or null",
        ),
        ("forecast: {quantile: 1}", "forecast.quantile: 1 must be a number of at least 0.05 and at most 0.99"),
        ("forecast: {reactive_floor: 1}", "forecast.reactive_floor: 1 must be true or false"),
        (
            "forecast: {model: kalmann}",
            "forecast.model: 'kalmann' is unknown; use one of constant, moving-average, kalman-level, kalman, arima, "
            "prophet, or 'package.module:attribute'",
        ),
        (
            "forecast: {history_s: 100}",
            "forecast.history_s: 100 is less than 5 intervals of 30 s; give at least 150, or shorten interval_s",
        ),
        (
            "decode: {min_replicas: 4, max_replicas: 3}",
            "decode.max_replicas: 3 is below min_replicas 4; raise it or lower the minimum",
        ),
        (
            "correction: {lowest: 2, highest: 1.5}",
            "correction.lowest: 2 exceeds highest 1.5; lower it or raise highest",
        ),
        ("scaling: {stabilisation_down_s: -1}", "scaling.stabilisation_down_s: -1 must be a number of at least 0"),
        (
            "scaling: {stabilisation_down_s: 30}\nprometheus: {url: 'http://p:9090'}",
            "scaling.stabilisation_down_s: 30 is less than prometheus.window_s, 60 s; after an outage half a window "
            "would lower the fleet; give at least 60",
        ),
        (
            "aggregated: {min_replicas: 2}",
            "aggregated: mode disaggregated has no such pool; configure prefill and decode, or change mode",
        ),
        (
            "prefill: {min_replicas: 20}\ndecode: {min_replicas: 7, gpus_per_replica: 2}",
            "budget.gpus: 32 is less than the 34 GPUs of the minima (prefill 20 x 1 + decode 7 x 2); "
            "raise it or lower min_replicas",
        ),
        ("services: [chat]", 'services: ["chat"] must be a mapping of service names to settings'),
    ],
    ids=lambda text: text.partition(":")[0] if ":" in text else None,
)
def test_a_mistake_is_one_line_with_path_value_remedy_and_source(section: str, line: str, load: object) -> None:
    assert mistakes(load, SLA, PROFILE, BUDGET, section) == [f"{line} (file planner.yaml)"]


def test_a_default_that_takes_part_in_a_mistake_is_named(load: object) -> None:
    assert mistakes(load, SLA, PROFILE, BUDGET, "correction: {highest: 0.4}") == [
        "correction.lowest: 0.5 exceeds highest 0.4; lower it or raise highest (default)"
    ]


def test_an_unknown_profile_is_named_with_near_ones(load: object) -> None:
    (line,) = mistakes(load, SLA, "profile: h200-llama-3.1-8b-fp8-tp", BUDGET)

    assert line.startswith("profile: 'h200-llama-3.1-8b-fp8-tp' is not known; did you mean h200-llama-3.1-8b-fp8-tp1")
    assert line.endswith("(file planner.yaml)")


def test_an_empty_file_is_told_all_that_has_no_default(load: object) -> None:
    ways = "not set; write it in the configuration file or give"
    assert mistakes(load, "") == [
        f"budget.gpus: {ways} PLANNER_BUDGET__GPUS or --gpus",
        f"sla.isl: {ways} PLANNER_SLA__ISL or --isl",
        f"sla.osl: {ways} PLANNER_SLA__OSL or --osl",
        f"sla.ttft: {ways} PLANNER_SLA__TTFT or --ttft",
        f"sla.itl: {ways} PLANNER_SLA__ITL or --itl",
        f"profile: {ways} PLANNER_PROFILE or --profile",
    ]


def test_all_mistakes_of_all_sources_are_listed_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(f"{SLA}\nprofile: nope\nbudget: {{gpus: x}}\nscalling: 1\n")

    with pytest.raises(ConfigError) as caught:
        load_config(file, {"PLANNER_X": "1", "PLANNER_SLA__ITL": "-3"}, {"--objective": "2"})

    headline, *lines = str(caught.value).splitlines()
    assert headline == "6 mistakes in the configuration:"
    assert [line.split(":")[0] for line in lines] == [
        "  PLANNER_X", "  budget.gpus", "  sla.itl", "  sla.objective", "  scalling", "  profile",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("services", "lines"),
    [
        ("{Chat: }", ['services.Chat: "Chat" is no service name; use lower-case letters, digits and inner dashes']),
        ("{chat: 5}", ["services.chat: 5 must be a section with settings (file planner.yaml)"]),
        (
            "{chat: {sla: {ttft: -1}}, code: {priority: high}}",
            [
                "services.chat.sla.ttft: -1 must be a number above 0 (file planner.yaml)",
                'services.code.priority: "high" must be a whole number (file planner.yaml)',
            ],
        ),
        (
            "{a: {decode: {min_replicas: 16}}, b: {prefill: {min_replicas: 16}}}",
            [
                "budget.gpus: 32 is less than the 34 GPUs of the minima (services.a.prefill 1 x 1 + "
                "services.a.decode 16 x 1 + services.b.prefill 16 x 1 + services.b.decode 1 x 1); "
                "raise it or lower min_replicas (file planner.yaml)"
            ],
        ),
    ],
    ids=["name", "no-section", "own-settings", "minima-together"],
)
def test_a_services_mistakes_stand_under_its_path(services: str, lines: list[str], load: object) -> None:
    assert mistakes(load, SLA, PROFILE, BUDGET, f"services: {services}") == lines


def test_a_service_has_no_budget_of_its_own(load: object) -> None:
    (line,) = mistakes(load, SLA, PROFILE, BUDGET, "services: {chat: {budget: {gpus: 1}}}")

    assert line.startswith("services.chat.budget: unknown setting; known here: sla, profile,")


def test_what_services_inherit_is_one_mistake_where_it_was_written(load: object) -> None:
    assert mistakes(load, SLA, "profile: nope", BUDGET, "interval_s: 0\nservices: {chat: , code: }") == [
        "interval_s: 0 must be a number of at least 1 (file planner.yaml)",
        "profile: 'nope' is not known; `planner profile list` shows all; a file's path must end in .json "
        "(file planner.yaml)",
    ]


def test_a_pool_that_some_service_uses_may_stand_at_the_top_level(load: object) -> None:
    assert callable(load)
    services = "services: {chat: , code: {mode: aggregated}}"

    loaded = load(f"{SLA}\n{PROFILE}\n{BUDGET}\naggregated: {{min_replicas: 2}}\n{services}")

    assert isinstance(loaded, LoadedConfig)
    assert loaded.config.services["code"].aggregated.min_replicas == 2
