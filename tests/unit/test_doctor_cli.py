"""`planner doctor`: what it prints and exits with, and which arguments it refuses."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli.doctor import command
from planner.doctor import Finding, Level
from planner.doctor.report import Section, as_lines, is_good
from planner.errors import UserError

BASE = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 3000, osl: 150, ttft: 500, itl: 50}
mode: aggregated
"""
TWO = "services:\n  chat: {metrics: {match: namespace=chat}}\n  code: {metrics: {match: namespace=code}}\n"


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def run(tmp_path: Path, more: str, *arguments: str) -> Result:
    path = tmp_path / "planner.yaml"
    path.write_text(BASE + more)
    return CliRunner().invoke(command, ["-c", str(path), *arguments])


def test_a_prometheus_that_is_away_is_one_problem_and_exit_code_1(tmp_path: Path, nobody: str) -> None:
    result = run(tmp_path, f"prometheus: {{url: '{nobody}'}}\n{TWO}")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"prometheus {nobody}",
        f"  PROBLEM  answers               {nobody}/api/v1/query: Connection refused",
        "                                 -> start Prometheus there or correct url",
        "",
        "service chat",
        "  not checked",
        "",
        "service code",
        "  not checked",
        "",
        "1 problem, 0 notes",
    ]


def test_one_service_of_several_can_be_checked_and_printed_as_json(tmp_path: Path, nobody: str) -> None:
    result = run(tmp_path, f"prometheus: {{url: '{nobody}'}}\n{TWO}", "--service", "code", "--json")

    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "schema": "sla-planner/doctor/1",
        "good": False,
        "prometheus": [
            {
                "url": nobody,
                "services": ["code"],
                "checked": False,
                "findings": [
                    {
                        "service": None,
                        "check": "answers",
                        "level": "problem",
                        "text": f"{nobody}/api/v1/query: Connection refused",
                        "remedy": "start Prometheus there or correct url",
                    }
                ],
            }
        ],
        "kubernetes": [],
    }


def test_services_with_different_settings_of_prometheus_are_checked_apart(tmp_path: Path, nobody: str) -> None:
    more = f"prometheus: {{url: '{nobody}'}}\nservices:\n  a: {{}}\n  b: {{prometheus: {{window_s: 30}}}}\n"

    headings = [line for line in run(tmp_path, more).output.splitlines() if line.startswith(("prometheus", "service"))]

    assert headings == [f"prometheus {nobody}", "service a", f"prometheus {nobody}", "service b"]


@pytest.mark.parametrize(
    ("more", "arguments", "message"),
    [
        pytest.param("", (), "prometheus.url: default has none; give the address of its Prometheus", id="no address"),
        pytest.param(
            TWO, ("--service", "caht"), "--service: 'caht' is not configured; there are chat, code", id="no service"
        ),
        pytest.param(
            "prometheus: {url: 'http://p'}\n" + TWO, ("--ready", "aggregated=1"),
            "--ready: 'aggregated=1' is of one service, and there are chat, code; add --service", id="two services",
        ),
        pytest.param(
            "prometheus: {url: 'http://p'}\n", ("--ready", "decode=1"),
            "--ready: 'decode=1' must give every pool once; write aggregated=1", id="another pool",
        ),
        pytest.param(
            "prometheus: {url: 'http://p'}\n", ("--ready", "aggregated=many"),
            "--ready: 'aggregated=many' must give every pool once", id="no number",
        ),
        pytest.param(
            "prometheus: {url: 'http://p'}\n", ("--ready", "aggregated=1,aggregated=2"),
            "--ready: 'aggregated=1,aggregated=2' must give every pool once", id="twice",
        ),
        pytest.param(
            "", ("--only", "kubernetes"),
            "--only: 'kubernetes' needs targets; give them, such as kubernetes.decode: Deployment/vllm",
            id="no targets",
        ),
        pytest.param(
            "kubernetes: {aggregated: Deployment/vllm}\n", ("--only", "kubernetes", "--lease", "mine"),
            "--lease: 'mine' must be NAMESPACE/NAME", id="no Lease",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(tmp_path: Path, more: str, arguments: tuple[str, ...], message: str) -> None:
    result = run(tmp_path, more, *arguments)

    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith(message)


TARGETS = "kubernetes: {aggregated: Deployment/vllm}\n"


def test_where_there_is_no_cluster_prometheus_is_asked_all_the_same(tmp_path: Path, nobody: str) -> None:
    nowhere = str(tmp_path / "kubeconfig")
    result = run(tmp_path, f"prometheus: {{url: '{nobody}'}}\n{TARGETS}", "--kubeconfig", nowhere)

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"prometheus {nobody}",
        f"  PROBLEM  answers               {nobody}/api/v1/query: Connection refused",
        "                                 -> start Prometheus there or correct url",
        "",
        "service default",
        "  not checked",
        "",
        "kubernetes (no cluster)",
        f"  PROBLEM  api server            kubeconfig: there is no file {nowhere}",
        "                                 -> name one, or run in a pod of the cluster",
        "",
        "service default",
        "  not checked",
        "",
        "2 problems, 0 notes",
    ]


@pytest.mark.parametrize(
    ("only", "headings"),
    [("prometheus", ["prometheus"]), ("kubernetes", ["kubernetes"])],
    ids=["prometheus alone", "cluster alone"],
)
def test_one_of_both_can_be_left_out(tmp_path: Path, nobody: str, only: str, headings: list[str]) -> None:
    nowhere = str(tmp_path / "kubeconfig")
    more = f"prometheus: {{url: '{nobody}'}}\n{TARGETS}"
    result = run(tmp_path, more, "--only", only, "--json", "--kubeconfig", nowhere)

    document = json.loads(result.output)
    assert [of for of in ("prometheus", "kubernetes") if document[of]] == headings


def test_findings_stand_in_columns_with_the_remedy_below() -> None:
    section = Section(
        "prometheus", "http://p:9090", ("chat",),
        (
            Finding(None, "answers", Level.GOOD, "a round took 0.07 s"),
            Finding("chat", "scrapes", Level.REMARK, "every 20 s", "scrape more often"),
        ),
    )  # fmt: skip

    assert is_good([section])
    assert list(as_lines([section])) == [
        "prometheus http://p:9090",
        "  ok       answers               a round took 0.07 s",
        "",
        "service chat",
        "  note     scrapes               every 20 s",
        "                                 -> scrape more often",
        "",
        "0 problems, 1 note",
    ]
