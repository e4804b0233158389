"""Commands on a configuration whose services are still to be discovered."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import check_config, run
from planner.config import load_config

CONFIG = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 3000, osl: 150}
prometheus: {url: "http://prometheus:9090"}
discover: {namespaces: [llm]}
"""
FLAGS = ("--gpus", "8", "--set", "discover.namespaces=[llm]")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "planner.yaml"
    path.write_text(CONFIG)
    return path


def started(*arguments: str) -> Result:
    return CliRunner().invoke(run.command, arguments)


def test_check_config_shows_what_services_will_inherit(file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(check_config.command, ["-c", str(file)])

    assert (result.exit_code, result.stderr) == (0, "")
    again = tmp_path / "again.yaml"
    again.write_text(result.stdout)
    assert load_config(again, {}, {}).to_document() == load_config(file, {}, {}).to_document()
    assert [line.split("#")[0].rstrip() for line in result.stdout.splitlines()][:4] == [
        "budget:", "  gpus: 8", "discover:", "  namespaces: [llm]",
    ]  # fmt: skip


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "once": (("--once", "--dry-run"), "--once: the configuration has no service, and discovered ones are a running"),
    "a rehearsal": (("--rehearse", "demo"), "discover.namespaces: services are found among objects of a cluster"),
    "launchers": (("--launchers",), "discover.namespaces: services are found among objects of a cluster"),
    "no Prometheus": (("--set", "prometheus.url=null"), "prometheus.url: is not set; give it"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_needs_services_or_no_cluster_is_refused(file: Path, arguments: tuple[str, ...], message: str) -> None:
    result = started("-c", str(file), *arguments)

    assert str(result.exception).startswith(message)


def test_flags_alone_may_ask_for_discovery() -> None:
    result = started(*FLAGS)

    assert str(result.exception).startswith("prometheus.url: is not set")
