"""`planner doctor` on a real Prometheus: what an operator reads of a good configuration, and of each that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_site import Replica, Site, site

from planner.cli.doctor import command

pytestmark = pytest.mark.needs("prometheus")

BASE = """\
budget: {gpus: 8}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {isl: 3000, osl: 150, ttft: 500, itl: 50}
"""


def fleet() -> tuple[Replica, ...]:
    def replica(namespace: str, pod: str, role: str) -> Replica:
        return Replica({"namespace": namespace, "pod": pod, "role": role})

    return (replica("chat", "p-0", "prefill"), replica("chat", "d-0", "decode"), replica("code", "c-0", "decode"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What the tests only look at."""
    with site(tmp_path_factory.mktemp("site"), *fleet()) as here:
        here.start()
        yield here


def doctor(tmp_path: Path, here: Site, *arguments: str, match: str = "namespace=chat") -> tuple[int, str]:
    """Exit code and output."""
    path = tmp_path / "planner.yaml"
    path.write_text(
        f"{BASE}prometheus: {{url: '{here.url}', window_s: 10}}\n"
        f"metrics: {{match: '{match}', prefill: role=prefill, decode: role=decode}}\n"
    )
    result = CliRunner().invoke(command, ["-c", str(path), *arguments])
    return result.exit_code, result.output


def problems(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("  PROBLEM")]


def test_a_good_configuration_is_good(tmp_path: Path, running: Site) -> None:
    code, output = doctor(tmp_path, running, "--ready", "prefill=1,decode=1")

    assert (code, problems(output)) == (0, [])
    assert "sla.ttft 500 ms is an edge of the histogram" in output
    assert re.search(r"  ok +scrapes +every (1|0\.9)\S* s, \S+ in prometheus.window_s 10 s\n", output)


def test_a_wrong_namespace_is_answered_with_the_right_one(tmp_path: Path, running: Site) -> None:
    code, output = doctor(tmp_path, running, match="namespace=caht")

    assert code == 1
    assert 'namespace="caht": no series; there are chat, code\n' in output
    assert "-> metrics.match: did you mean namespace=chat?\n" in output
    assert len(problems(output)) == 1


def test_an_agreement_beside_the_edges_is_bounded(tmp_path: Path, running: Site) -> None:
    code, output = doctor(tmp_path, running, "--ttft", "450")

    assert code == 0
    assert "sla.ttft 450 ms is no edge of the histogram" in output
    assert " within 500 ms" in output


def test_fewer_replicas_than_ready_are_a_problem(tmp_path: Path, running: Site) -> None:
    code, output = doctor(tmp_path, running, "--ready", "prefill=2,decode=1")

    assert code == 1
    assert "prefill: 1 reporting, 2 Ready; the planner may raise such a fleet, never lower it" in output
    assert len(problems(output)) == 1


def test_pods_that_are_scraped_twice_are_named_with_their_jobs(tmp_path: Path) -> None:
    with site(tmp_path, *fleet()) as here:
        here.start(twice=True)
        code, output = doctor(tmp_path, here)

    assert (code, problems(output)) == (0, [])
    assert '2 of 2 pods are scraped more than once, such as {namespace="chat", pod=' in output
    assert '{job="pods-' in output
    assert '{job="again-' in output


def test_a_prometheus_that_is_down_is_the_only_problem(tmp_path: Path) -> None:
    with site(tmp_path, *fleet()) as here:
        code, output = doctor(tmp_path, here)

    assert code == 1
    assert "Connection refused" in output
    assert "not checked" in output
    assert output.endswith("1 problem, 0 notes\n")
