"""What people read: `planner check-config`, the examples, the reference page."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner.cli.check_config import command
from planner.cli.options import SETTING_FLAGS
from planner.config import ConfigError, build_settings, load_config
from planner.config.advice import capacity_per_s, fleet_for, warnings
from planner.config.catalogue import FLAGS, SETTINGS
from planner.config.model import Service
from planner.config.simulation import Simulation
from planner.scaling.settings import ServiceSettings
from planner.scaling.types import Role

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))
REASONABLE = {"sla.isl": 3000, "sla.osl": 150, "sla.ttft": 500, "sla.itl": 50, "budget.gpus": 32}
MEASURED = "h200-llama-3.1-8b-fp8-tp1"


def service(**settings: object) -> ServiceSettings:
    """One service; a setting's dots are written as two underscores."""
    paths = {path.replace("__", "."): value for path, value in settings.items()}
    return build_settings(load_config(None, {}, {**REASONABLE, "profile": MEASURED, **paths})).services["default"]


def check(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


MINIMAL = str(REPOSITORY / "examples" / "minimal.yaml")


@pytest.fixture(autouse=True)
def _no_planner_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLANNER_CONFIG", raising=False)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_works_and_can_be_met(example: Path) -> None:
    settings = build_settings(load_config(example, {}, {}))

    for one in settings.services.values():
        assert [line for line in warnings(one) if "no number of replicas" in line] == []


def test_check_config_prints_a_file_that_means_the_same(tmp_path: Path) -> None:
    printed = tmp_path / "printed.yaml"
    printed.write_text(check("-c", MINIMAL).stdout)

    again = load_config(printed, {}, {})

    assert again.config == load_config(Path(MINIMAL), {}, {}).config
    assert set(again.origins.values()) == {f"file {printed}"}


def test_check_config_says_where_each_value_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANNER_SLA__ITL", "30")
    lines = check("-c", MINIMAL, "--ttft", "400", "--set", "scaling.tolerance=0.1").stdout.splitlines()

    assert [line.split() for line in lines if line.strip().startswith(("isl:", "ttft:", "itl:", "tol", "osl:"))] == [
        ["isl:", "3000", "#", "file", MINIMAL],
        ["osl:", "150", "#", "file", MINIMAL],
        ["ttft:", "400", "#", "flag", "--ttft"],
        ["itl:", "30", "#", "env", "PLANNER_SLA__ITL"],
        ["tolerance:", "0.1", "#", "flag", "--set", "scaling.tolerance"],
    ]


def test_check_config_shows_capacity_and_fleet() -> None:
    stdout = check("-c", MINIMAL, "--rate", "40").stdout

    settings = build_settings(load_config(Path(MINIMAL), {}, {})).services["default"]
    fleet = fleet_for(settings, 40)
    assert f"#   prefill    {capacity_per_s(settings, Role.PREFILL):8.2f} req/s" in stdout
    prefill, decode = fleet.replicas[Role.PREFILL], fleet.replicas[Role.DECODE]
    assert f"# 40 req/s: {prefill} prefill + {decode} decode = {prefill + decode} GPUs of 32\n" in stdout


def test_check_config_says_that_the_fleet_is_over_the_budget() -> None:
    assert "GPUs of 3, which is over the budget" in check("-c", MINIMAL, "--gpus", "3", "--rate", "40").stdout


def test_check_config_names_services_when_there_are_several() -> None:
    result = check("-c", str(REPOSITORY / "examples" / "services.yaml"))

    assert [line for line in result.stdout.splitlines() if line.startswith(("services:", "  chat:", "# chat:"))] == [
        "services:",
        "  chat:",
        "# chat: one replica, ttft 200 ms and itl 20 ms for 0.95 of the requests, isl 3000, osl 150:",
    ]
    assert "warning: assistant: profile h200-llama-3.1-70b-fp8-tp4 is estimated, not measured" in result.stderr


def test_check_config_gives_json() -> None:
    found = json.loads(check("-c", MINIMAL, "--json", "--rate", "40").stdout)

    assert found["config"] == load_config(Path(MINIMAL), {}, {}).to_document()
    assert found["origins"]["services.default.sla.objective"] == "default"
    assert found["services"]["default"]["fleet"]["gpus"] == sum(
        found["services"]["default"]["fleet"]["replicas"].values()
    )
    assert set(found["services"]["default"]) == {"warnings", "one_replica_req_per_s", "fleet"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "scaling.tolerance"], r"^--set: 'scaling.tolerance' must be PATH=VALUE, such as"),
        (["--set", "a..b=1"], r"^--set: 'a..b=1' must be PATH=VALUE"),
        (["--set", "priority=1", "--set", "priority=2"], r"^--set: priority is given twice; keep one$"),
        (["--ttft", "fast"], r'^sla.ttft: "fast" must be a number above 0 \(flag --ttft\)$'),
        (["--ttft", "300", "--set", "sla.ttft=200"], r"^sla.ttft: given by both --ttft and --set sla.ttft; keep one$"),
        (["-c", "absent.yaml"], r"^absent.yaml: cannot read the configuration file"),
    ],
    ids=["no-value", "empty-key", "set-twice", "type", "flag-and-set", "no-file"],
)
def test_check_config_refuses_what_it_cannot_use(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check("-c", MINIMAL, *arguments)


def test_every_flag_of_the_command_line_is_a_setting() -> None:
    assert list(SETTING_FLAGS) == list(FLAGS)


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({"sla__ttft": 10}, r"^prefill: no number of replicas meets the sla: .*ttft 10 ms.*the mean is \d+ ms$"),
        ({"sla__itl": 2}, r"^decode: no number of replicas meets the sla: itl 2 ms; one request alone takes 4\.\d ms"),
        ({"sla__isl": 60000}, r"^prefill: \d+% of the prompts lie outside the profile's measured input lengths"),
        ({"decode__gpus_per_replica": 2}, r"^decode: a replica has 2 GPUs, but the profile was measured on 1; "),
    ],
    ids=["ttft", "itl", "isl-outside", "gpus"],
)
def test_what_the_profile_cannot_promise_is_a_warning(settings: dict[str, object], warning: str) -> None:
    usual = list(warnings(service()))
    new = [line for line in warnings(service(**settings)) if line not in usual]

    assert [line for line in new if re.search(warning, line)] != []
    assert all("no number of replicas" not in line for line in usual)


def test_an_estimated_profile_is_a_warning() -> None:
    lines = list(warnings(service(profile="h200-llama-3.1-70b-fp8-tp4")))

    assert lines[0].startswith("profile h200-llama-3.1-70b-fp8-tp4 is estimated, not measured: expect it to be wrong")


@pytest.mark.parametrize(
    "settings",
    [{}, {"mode": "aggregated"}, {"sizing__method": "throughput"}, {"sizing__routing": "random"}],
    ids=["default", "aggregated", "throughput", "random"],
)
def test_the_capacity_of_a_replica_is_where_a_second_becomes_needed(settings: dict[str, object]) -> None:
    one = service(**settings)

    for role in one.pools:
        capacity = capacity_per_s(one, role)
        assert fleet_for(one, capacity).replicas[role] == 1
        assert fleet_for(one, capacity * 1.01).replicas[role] == 2


def test_the_fleet_respects_the_bounds_of_its_pools() -> None:
    one = service(prefill__min_replicas=3, decode__max_replicas=2)

    assert fleet_for(one, 0.1).replicas == {Role.PREFILL: 3, Role.DECODE: 1}
    assert fleet_for(one, 500).replicas[Role.DECODE] == 2


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "scripts" / "generate_config_reference.py"))


def test_the_reference_page_is_what_the_model_says(reference: dict[str, Any]) -> None:
    page: Callable[[], str] = reference["page"]

    assert (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8") == page()


def test_the_reference_page_has_every_setting_with_its_names(reference: dict[str, Any]) -> None:
    page = reference["page"]()

    for setting in SETTINGS:
        heading = f"#### `{'.'.join(setting.path)}`\n"
        assert page.count(heading) == 1
        block = page.split(heading)[1].split("####")[0]
        assert f"`{setting.env}`" in block
        assert setting.field.description in block


def test_a_stale_reference_page_fails_the_check(
    reference: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = tmp_path / "docs" / "configuration.md"
    stale.parent.mkdir()
    stale.write_text("old")
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    main = reference["main"]
    monkeypatch.setitem(main.callback.__globals__, "PAGE", stale)

    assert CliRunner().invoke(main, ["--check"]).exit_code == 1
    assert CliRunner().invoke(main, []).exit_code == 0
    assert CliRunner().invoke(main, ["--check"]).exit_code == 0


def test_every_setting_without_a_default_or_with_null_says_why() -> None:
    for setting in SETTINGS:
        if setting.field.is_required():
            assert "No default" in str(setting.field.description), setting.path
        elif setting.field.default is None:
            assert "null: " in str(setting.field.description), setting.path


def test_every_section_says_what_it_is_about() -> None:
    fields = {**Service.model_fields, **Simulation.model_fields}

    assert [name for name, field in fields.items() if not field.description] == []
