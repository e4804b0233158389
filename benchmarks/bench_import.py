"""What importing costs: time and memory of the core, and what it must not load.

    python benchmarks/bench_import.py [--runs N] [--peer DIR]

Each row is a fresh interpreter; the minimum of the runs is shown, less an interpreter that imports nothing.
With --peer, a virtual environment that has ai-dynamo, its planner's beside ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

MODULES = (
    "",
    "numpy",
    "planner.slo.targets",
    "planner.scaling.tick",
    "planner.cli",
    "planner.config",
    "planner.cli.run planner.config planner.api planner.live planner.reload uvicorn",
    "statsmodels.api",
)
PEER = "dynamo.planner.__main__"
HEAVY = ("statsmodels", "prophet", "pandas", "scipy.stats", "pydantic", "kubernetes", "fastapi")
PROBE = """
import json, resource, sys, time
begun = time.perf_counter()
for name in {module!r}.split(): __import__(name)
spent = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([spent * 1e3, peak, [name for name in {heavy!r} if name in sys.modules]]))
"""


def probe(module: str, python: str = sys.executable) -> tuple[float, float, list[str]]:
    """Milliseconds, peak MiB and heavy packages of one import in a fresh interpreter."""
    code = PROBE.format(module=module, heavy=HEAVY)
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    spent_ms, peak_mib, heavy = json.loads(out.splitlines()[-1])
    return spent_ms, peak_mib, heavy


def main() -> None:
    """Print a table of imports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="interpreters per row (default 5)")
    parser.add_argument("--peer", type=Path, help="virtual environment that has ai-dynamo")
    arguments = parser.parse_args()
    asked = [(module, sys.executable) for module in MODULES[1:]]
    if arguments.peer is not None:
        asked.append((PEER, str(arguments.peer / "bin" / "python")))
    print("| import | ms | MiB beyond the interpreter | heavy packages loaded |\n|---|---|---|---|")
    for module, python in asked:
        _, bare_mib, _ = probe("", python)
        rows = [probe(module, python) for _ in range(arguments.runs)]
        heavy = ", ".join(rows[0][2]) or "none"
        print(f"| {module} | {min(r[0] for r in rows):.0f} | {min(r[1] for r in rows) - bare_mib:.0f} | {heavy} |")


if __name__ == "__main__":
    main()
