"""What every test may ask for, and the suites: groups of tests that need something a machine may lack.

A test joins a suite with `@pytest.mark.needs("prophet")`, or by using the fixture `shared_data` or `cluster`. Where the
need is not met the test is skipped, and the run ends by naming the suite, the cause and the remedy. With CI=true a
suite that is expected there fails instead: a continuous build that quietly tests less is worse than a red one.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    # It lies beside the tests that use it, and is found when those are collected.
    from cluster import Cluster

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Suite:
    """A need that some tests share."""

    lacks: Callable[[], str | None]
    """What this machine lacks for the suite to run; None when nothing."""
    remedy: str
    """The command that makes it run."""
    expected_on_ci: bool = True
    """Whether its absence fails a continuous build."""


def _shared() -> Path:
    """The folder of recorded traces and profiles: it lies beside the checkout, and is never copied into it."""
    return Path(os.environ.get("SLA_PLANNER_SHARED") or REPOSITORY.parent / "shared")


def _lacks_data() -> str | None:
    folder = _shared() / "data"
    return None if folder.is_dir() else f"there is no folder {folder}"


def _lacks_module(name: str) -> Callable[[], str | None]:
    return lambda: None if find_spec(name) else f"{name} is not installed"


def _lacks_browser() -> str | None:
    for name in ("playwright", "axe_playwright_python"):
        if find_spec(name) is None:
            return f"{name} is not installed"
    return None if shutil.which("chromium") else "there is no chromium on the path"


def _lacks_program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"there is no {name} on the path"


def _lacks_image_tools() -> str | None:
    if os.geteuid() != 0:
        return "debootstrap needs root"
    return next((why for name in ("buildah", "debootstrap") if (why := _lacks_program(name)())), None)


def _testbed(name: str) -> Path:
    """Where `make testbed` puts a component."""
    version = (REPOSITORY / "testbed" / name / "version").read_text().strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sla-planner" / "testbed" / f"{name}-{version}"


def _lacks_components(*names: str) -> Callable[[], str | None]:
    return lambda: next((f"there is no folder {each}" for each in map(_testbed, names) if not each.is_dir()), None)


SUITES = {
    "browser": Suite(_lacks_browser, "apt-get install chromium && make test", expected_on_ci=False),
    "data": Suite(_lacks_data, "SLA_PLANNER_SHARED=<folder that holds data/> make test"),
    "dask": Suite(_lacks_module("distributed"), ".venv/bin/pip install -e '.[sim,dask]' && make test"),
    "helm": Suite(_lacks_components("helm"), "make testbed && make test"),
    "helm3": Suite(_lacks_components("helm3"), "make testbed && make test"),
    "image": Suite(_lacks_image_tools, "apt-get install buildah debootstrap && make test", expected_on_ci=False),
    "keda": Suite(_lacks_components("keda"), "make testbed && make test"),
    "kubernetes": Suite(_lacks_components("kubernetes", "kwok"), "make testbed && make test"),
    "prometheus": Suite(_lacks_program("prometheus"), "apt-get install prometheus && make test", expected_on_ci=False),
    "prometheus3": Suite(_lacks_components("prometheus"), "make testbed && make test"),
    "prophet": Suite(_lacks_module("prophet"), ".venv/bin/pip install -e '.[prophet]' && make test"),
    # It has no wheels for Python 3.14 and later, nor for Windows; elsewhere `make test` installs it.
    "estimate": Suite(_lacks_module("aiconfigurator_core"), "make clean && make test PYTHON=python3.13"),
}

SUITE_OF_FIXTURE = {
    "shared_data": "data",
    "cluster": "kubernetes",
    "keda_component": "keda",
    "newest_prometheus": "prometheus3",
}
"""A test that uses the fixture is of the suite."""

NOT_RUN = "suite not run"
"""Key of the property by which a test's report, which travels between processes, names the suite it missed."""

# Time limits per example measure the machine, not the code.
settings.register_profile("sla-planner", deadline=None)
settings.load_profile("sla-planner")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder data/ of recorded traces and measured profiles; using it puts the test into the suite `data`."""
    return _shared() / "data"


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.needs(name)) for name in ("prometheus", "prometheus3")],
)
def prometheus_program(request: pytest.FixtureRequest) -> str:
    """A Prometheus to start; each test that uses it runs with the 2.x on the path, and with the 3.x of the test bed."""
    return "prometheus" if request.param == "prometheus" else str(_testbed("prometheus") / "prometheus")


@pytest.fixture(scope="session")
def newest_prometheus() -> str:
    """The Prometheus of the test bed, for tests that need one and are not about it."""
    return str(_testbed("prometheus") / "prometheus")


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.needs(name)) for name in ("helm", "helm3")],
)
def helm_program(request: pytest.FixtureRequest) -> str:
    """A helm of the test bed; each test that uses it runs with the 4.x and with the 3.x."""
    return str(_testbed(request.param) / "helm")


@pytest.fixture(scope="session")
def keda_component() -> Path:
    """KEDA's programs and definitions, of the test bed."""
    return _testbed("keda")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Kubernetes control plane; using it puts the test into the suite `kubernetes`.

    Tests share it: each has a namespace and nodes of its own, and leaves the API server running.
    """
    from cluster import Cluster

    made = Cluster(tmp_path_factory.mktemp("cluster"), kubernetes=_testbed("kubernetes"), kwok=_testbed("kwok"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _suites_of(item: pytest.Item) -> list[str]:
    named = [str(name) for mark in item.iter_markers("needs") for name in mark.args]
    used = getattr(item, "fixturenames", ())
    return [*named, *(suite for fixture, suite in SUITE_OF_FIXTURE.items() if fixture in used)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here; where it must run, fail."""
    for name in _suites_of(item):
        if name not in SUITES:
            pytest.fail(f"no suite is called {name!r}; tests/conftest.py declares {', '.join(SUITES)}", pytrace=False)
        suite = SUITES[name]
        lack = suite.lacks()
        if lack is None:
            continue
        item.user_properties.append((NOT_RUN, name))
        if os.environ.get("CI") == "true" and suite.expected_on_ci:
            pytest.fail(f"suite {name} must run where CI=true: {lack}; remedy: {suite.remedy}", pytrace=False)
        pytest.skip(f"suite {name}: {lack}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Close the run, after all of pytest's own sections, with the suites that did not run, why, and the remedy."""
    yield
    reports = [report for outcome in ("skipped", "failed", "error") for report in terminalreporter.getreports(outcome)]
    # A file that cannot be imported has a report too, but no test and so no suite.
    tests = [report for report in reports if isinstance(report, pytest.TestReport)]
    missed = Counter(str(value) for report in tests for key, value in report.user_properties if key == NOT_RUN)
    if not missed:
        return
    terminalreporter.section("suites that did not run")
    for name, count in sorted(missed.items()):
        terminalreporter.line(f"{name}: {count} test{'s'[: count > 1]}, because {SUITES[name].lacks()}")
        terminalreporter.line(f"    to run: {SUITES[name].remedy}")
