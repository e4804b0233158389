"""What importing the core costs and drags in, seen in a fresh interpreter.

The contracts in .importlinter see our own imports; this sees what those pull in behind them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

IMPORT_ALL = """
import sys
sys.path.insert(0, sys.argv[1])
from importlib import import_module
from pkgutil import walk_packages
package = import_module(sys.argv[2])
for module in walk_packages(package.__path__, package.__name__ + "."):
    import_module(module.name)
print(*sys.modules)
"""

HEAVY = {
    "aiohttp",
    "click",
    "fastapi",
    "kubernetes",
    "matplotlib",
    "pandas",
    "plotly",
    "prophet",
    "pydantic",
    "requests",
    "scipy.stats",
    "statsmodels",
}


def modules_after_importing(package: str, *python_options: str) -> set[str]:
    """All modules loaded by a new interpreter that imported `package` and every module in it."""
    command = [sys.executable, *python_options, "-c", IMPORT_ALL, str(REPOSITORY), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_scaling_core_loads_nothing_heavy() -> None:
    loaded = modules_after_importing("planner.scaling")

    assert "planner.scaling.tick" in loaded
    assert loaded & HEAVY == set()


def test_the_shared_vocabulary_imports_where_no_package_is_installed() -> None:
    without_installed_packages = "-IS"

    loaded = modules_after_importing("planner.slo", without_installed_packages)

    assert "planner.slo.targets" in loaded


def test_the_shared_vocabulary_takes_no_package_even_where_they_are_installed() -> None:
    assert modules_after_importing("planner.slo") & (HEAVY | {"numpy", "scipy"}) == set()
