"""The planner's hands on a real Kubernetes control plane.

    python benchmarks/bench_kubernetes.py [loop|steady|targets ...] [--minutes N] [--json FILE]

etcd, API server with RBAC and audit log, controller manager and scheduler are the real programs, nodes and pods are
pretended by kwok, Prometheus is real, and the planner is a process of its own with its ServiceAccount's permissions.

*loop*: a load that triples and falls back, served by the simulator on as many pods as are Ready; 17 minutes.
*steady*: every API call in N minutes of steady load, counted by the API server, after five minutes that are not.
*targets*: one planner for 100 services of two Deployments each; six minutes. It is what runs when none is named.
Left out without the test bed (`make testbed`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rig.kubernetes import loop, steady, targets

SCENARIOS = ("loop", "steady", "targets")


def main() -> None:
    """Print the tables, and keep all figures where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)} (default targets)")
    parser.add_argument(
        "--phases", default="240,300,300", help="of the loop: calm, high, calm; s (default %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=5, help="of steady load (default %(default)s)")
    parser.add_argument("--services", type=int, default=100, help="of the targets (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    chosen = arguments.scenarios or ["targets"]
    if unknown := set(chosen) - set(SCENARIOS):
        parser.error(f"scenario: {', '.join(sorted(unknown))} is none; use {', '.join(SCENARIOS)}")
    figures: dict[str, Any] = {}
    for scenario in chosen:
        with tempfile.TemporaryDirectory(prefix="bench-kubernetes-") as name:
            folder = Path(name)
            if scenario == "loop":
                phases_s = [float(text) for text in arguments.phases.split(",")]
                figures[scenario] = loop.run(folder, phases_s)
                print(loop.table(figures[scenario]), flush=True)
            elif scenario == "steady":
                figures[scenario] = steady.run(folder, arguments.minutes)
                print(steady.table(figures[scenario]), flush=True)
            else:
                figures[scenario] = targets.run(folder, arguments.services)
                print(targets.table(figures[scenario]), flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
