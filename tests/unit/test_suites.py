"""How tests/conftest.py treats a suite whose need is not met, played in a small project of its own."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parents[1] / "conftest.py"

TESTS = """
    import pytest

    def test_plain():
        pass

    @pytest.mark.needs("absent")
    def test_first():
        raise AssertionError("must not run")

    @pytest.mark.needs("absent")
    def test_second():
        raise AssertionError("must not run")

    @pytest.mark.needs("heavy")
    def test_heavy():
        raise AssertionError("must not run")

    @pytest.mark.needs("present")
    def test_present():
        pass
"""

SUITES = """
SUITES |= {
    "absent": Suite(lambda: "nothing of it is here", "fetch it"),
    "heavy": Suite(lambda: "it is too big", "fetch a lorry", expected_on_ci=False),
    "present": Suite(lambda: None, ""),
}
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with the real conftest, three more suites, no shared folder, and no CI."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("SLA_PLANNER_SHARED", raising=False)
    pytester.makeini("[pytest]\naddopts = -ra --strict-markers\nmarkers = needs(suite)")
    pytester.mkdir("tests")
    (pytester.path / "tests/conftest.py").write_text(CONFTEST.read_text() + SUITES)
    return pytester


def write_tests(project: pytest.Pytester, source: str) -> None:
    (project.path / "tests/test_it.py").write_text(dedent(source))


@pytest.mark.parametrize("processes", [[], ["-n", "1"]], ids=["in this process", "in a worker"])
def test_what_cannot_run_is_skipped_and_named_with_cause_and_remedy(
    project: pytest.Pytester, processes: list[str]
) -> None:
    write_tests(project, TESTS)

    result = project.runpytest_inprocess("tests", *processes)

    result.assert_outcomes(passed=2, skipped=3)
    result.stdout.fnmatch_lines(
        [
            "*suites that did not run*",
            "absent: 2 tests, because nothing of it is here",
            "    to run: fetch it",
            "heavy: 1 test, because it is too big",
            "    to run: fetch a lorry",
            "*2 passed, 3 skipped*",
        ],
        consecutive=True,
    )


def test_on_ci_a_suite_that_is_expected_there_fails_and_another_is_skipped(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    write_tests(project, TESTS)

    result = project.runpytest_inprocess("tests")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2, errors=2, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "suite absent must run where CI=true: nothing of it is here; remedy: fetch it",
            "absent: 2 tests, because nothing of it is here",
            "heavy: 1 test, because it is too big",
        ]
    )


def test_a_run_that_misses_nothing_says_nothing_of_suites(project: pytest.Pytester) -> None:
    write_tests(project, TESTS)

    result = project.runpytest_inprocess("tests", "-k", "plain or present")

    result.assert_outcomes(passed=2, deselected=3)
    result.stdout.no_fnmatch_line("*suites that did not run*")


def test_a_file_that_cannot_be_imported_is_reported_as_such(project: pytest.Pytester) -> None:
    write_tests(project, "import nowhere_to_be_found")

    result = project.runpytest_inprocess("tests")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*No module named 'nowhere_to_be_found'", "*1 error*"])
    result.stderr.no_fnmatch_line("*Traceback*")


def test_a_misspelt_suite_is_an_error_that_lists_the_suites(project: pytest.Pytester) -> None:
    write_tests(project, "import pytest\n\n@pytest.mark.needs('profet')\ndef test_it():\n    pass")

    result = project.runpytest_inprocess("tests")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["no suite is called 'profet'; tests/conftest.py declares *data, *prophet, *"])


USES_DATA = "def test_it(shared_data):\n    assert (shared_data / 'README.md').read_text() == 'traces'"


def test_a_test_that_uses_shared_data_is_skipped_without_the_folder(project: pytest.Pytester) -> None:
    write_tests(project, USES_DATA)

    result = project.runpytest_inprocess("tests")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["data: 1 test, because there is no folder */shared/data"])


def test_shared_data_lies_beside_the_checkout(project: pytest.Pytester) -> None:
    data = project.path.parent / "shared/data"
    data.mkdir(parents=True)
    (data / "README.md").write_text("traces")
    write_tests(project, USES_DATA)

    project.runpytest_inprocess("tests").assert_outcomes(passed=1)


def test_shared_data_may_lie_elsewhere(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "README.md").write_text("traces")
    monkeypatch.setenv("SLA_PLANNER_SHARED", str(tmp_path))
    write_tests(project, USES_DATA)

    project.runpytest_inprocess("tests").assert_outcomes(passed=1)
