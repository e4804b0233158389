"""What importing costs: time and memory of the core, and what it must not load.

    python benchmarks/bench_import.py [--runs N]

Each row is a fresh interpreter; the minimum of the runs is shown, less an interpreter that imports nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

MODULES = (
    "",
    "numpy",
    "planner.slo.targets",
    "planner.scaling.tick",
    "planner.cli",
    "planner.config",
    "statsmodels.api",
)
HEAVY = ("statsmodels", "prophet", "pandas", "scipy.stats", "pydantic", "kubernetes", "fastapi")
PROBE = """
import json, resource, sys, time
begun = time.perf_counter()
if {module!r}: __import__({module!r})
spent = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([spent * 1e3, peak, [name for name in {heavy!r} if name in sys.modules]]))
"""


def probe(module: str) -> tuple[float, float, list[str]]:
    """Milliseconds, peak MiB and heavy packages of one import in a fresh interpreter."""
    code = PROBE.format(module=module, heavy=HEAVY)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    spent_ms, peak_mib, heavy = json.loads(out)
    return spent_ms, peak_mib, heavy


def main() -> None:
    """Print a table of imports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="interpreters per row (default 5)")
    runs = parser.parse_args().runs
    _, bare_mib, _ = probe("")
    print("| import | ms | MiB beyond the interpreter | heavy packages loaded |\n|---|---|---|---|")
    for module in MODULES[1:]:
        rows = [probe(module) for _ in range(runs)]
        heavy = ", ".join(rows[0][2]) or "none"
        print(f"| {module} | {min(r[0] for r in rows):.0f} | {min(r[1] for r in rows) - bare_mib:.0f} | {heavy} |")


if __name__ == "__main__":
    main()
