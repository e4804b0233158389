"""From the configuration to the core's settings, and through a journal's documents back to the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from planner.config import ConfigError, LoadedConfig, build_settings, load_config, settings_from_document
from planner.profiler.library import load_profile
from planner.scaling.forecast import build
from planner.scaling.settings import (
    CorrectionSettings,
    DemandSettings,
    GuardSettings,
    ObserveSettings,
    PlannerSettings,
    PoolSettings,
    ServiceSettings,
    SizingSettings,
)
from planner.scaling.types import Role
from planner.slo.targets import Targets

PROFILE = "h200-llama-3.1-8b-fp8-tp1"
MINIMAL = f"""\
sla: {{isl: 3000, osl: 150, ttft: 200, itl: 20}}
profile: {PROFILE}
budget: {{gpus: 32}}
"""
SERVICES = """\
services:
  chat:
    sla: {ttft: 400}
  big-code:
    mode: aggregated
    aggregated: {min_replicas: 2, max_replicas: 6, gpus_per_replica: 2}
    profile: h200-llama-3.1-70b-fp8-tp4
    forecast: {model: constant}
    priority: 1
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "planner.yaml"


def load(file: Path, text: str) -> LoadedConfig:
    file.write_text(text)
    return load_config(file, {}, {})


def assert_same(found: PlannerSettings, expected: PlannerSettings) -> None:
    """Equal, where forecasters, which are no values, count as equal by name."""
    assert found.budget_gpus == expected.budget_gpus
    assert list(found.services) == list(expected.services)
    for name, service in expected.services.items():
        assert found.services[name].forecaster.name == service.forecaster.name
        assert replace(found.services[name], forecaster=service.forecaster) == service


def test_three_lines_become_the_settings_of_the_core(file: Path) -> None:
    expected = ServiceSettings(
        name="default",
        targets=Targets(isl_tokens=3000, osl_tokens=150, ttft_ms=200, itl_ms=20, objective=0.95),
        profile=load_profile(PROFILE),
        pools={
            Role.PREFILL: PoolSettings(Role.PREFILL, gpus_per_replica=1, min_replicas=1, max_replicas=None),
            Role.DECODE: PoolSettings(Role.DECODE, gpus_per_replica=1, min_replicas=1, max_replicas=None),
        },
        interval_s=30,
        startup_s=120,
        forecaster=build("kalman", interval_s=30),
        observe=ObserveSettings(max_age_s=90),
        demand=DemandSettings(quantile=0.9, history_s=14400, lengths_half_life_s=300, reactive_floor=True),
        correction=CorrectionSettings(
            enabled=True, smoothing=0.2, lowest=0.5, highest=3.0, min_requests=20, max_utilisation=0.8
        ),
        sizing=SizingSettings(method="queueing", routing="least_loaded", arrival_cv2=1.0, isl_cv2=1.0),
        guards=GuardSettings(
            tolerance=0.05,
            stabilisation_up_s=0,
            stabilisation_down_s=120,
            max_up_factor=1.0,
            max_up_replicas=4,
            max_down_factor=0.5,
            max_pending_s=300,
            delayed_start_s=30,
        ),
        priority=0,
    )

    assert_same(build_settings(load(file, MINIMAL)), PlannerSettings(services={"default": expected}, budget_gpus=32))


def test_a_service_inherits_what_it_does_not_say(file: Path) -> None:
    loaded = load(file, MINIMAL + "interval_s: 15\n" + SERVICES)
    chat, code = build_settings(loaded).services.values()

    assert (chat.targets.ttft_ms, chat.targets.itl_ms, chat.interval_s, chat.priority) == (400, 20, 15, 0)
    assert list(chat.pools) == [Role.PREFILL, Role.DECODE]
    assert (code.profile.tensor_parallel, code.forecaster.name, code.priority) == (4, "constant", 1)
    assert code.pools == {
        Role.AGGREGATED: PoolSettings(Role.AGGREGATED, gpus_per_replica=2, min_replicas=2, max_replicas=6)
    }
    origins = [loaded.origins["services", "chat", *path.split(".")] for path in ("sla.ttft", "sla.itl", "priority")]
    assert origins == [f"file {file}", f"file {file}, inherited", "default"]


def test_gpus_of_a_replica_are_the_profiles_unless_configured(file: Path) -> None:
    text = MINIMAL.replace(PROFILE, "h200-llama-3.1-70b-fp8-tp4") + "decode: {gpus_per_replica: 8}\n"

    pools = build_settings(load(file, text)).services["default"].pools

    assert {role: pool.gpus_per_replica for role, pool in pools.items()} == {Role.PREFILL: 4, Role.DECODE: 8}


def test_a_services_own_value_goes_before_an_inherited_flag(file: Path) -> None:
    file.write_text(MINIMAL + SERVICES)

    top = load_config(file, {}, {"--ttft": "300"}).config.services
    own = load_config(file, {"PLANNER_SERVICES__BIG_CODE__SLA__TTFT": "600"}, {"services.chat.sla.ttft": "700"})

    assert (top["chat"].sla.ttft, top["big-code"].sla.ttft) == (400, 300)
    assert (own.config.services["chat"].sla.ttft, own.config.services["big-code"].sla.ttft) == (700, 600)


@pytest.mark.parametrize("services", ["", SERVICES], ids=["one-service", "two-services"])
def test_settings_come_back_from_a_journals_documents(services: str, file: Path) -> None:
    loaded = load(file, MINIMAL + services)
    document, profiles = json.loads(json.dumps([loaded.to_document(), loaded.profile_documents()], allow_nan=False))
    file.unlink()

    assert_same(settings_from_document(document, profiles), build_settings(loaded))


def test_a_document_without_its_profile_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"services.default.profile: .* is not among the documents \(none\)"):
        settings_from_document(load(file, MINIMAL).to_document(), {})


def test_the_origin_of_every_setting_in_effect_is_known(file: Path) -> None:
    loaded = load(file, MINIMAL + SERVICES)

    def leaves(document: object, at: tuple[str, ...]) -> list[tuple[str, ...]]:
        if not isinstance(document, dict):
            return [at]
        return [leaf for key, below in document.items() for leaf in leaves(below, (*at, key))]

    assert sorted(loaded.origins) == sorted(leaves(loaded.to_document(), ()))


def test_an_imported_forecaster_is_built_for_the_services_interval(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "my_forecasts.py").write_text(
        "class Mine:\n    def __init__(self, interval_s):\n        self.name = f'mine/{interval_s:g}'\n"
    )
    monkeypatch.syspath_prepend(file.parent)
    text = MINIMAL + "interval_s: 15\nforecast: {model: 'my_forecasts:Mine'}\n"

    assert build_settings(load(file, text)).services["default"].forecaster.name == "mine/15"
