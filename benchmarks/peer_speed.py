"""How fast the simulators are and how much memory they take, over the length of the trace: ours and Dynamo's.

    python benchmarks/peer_speed.py [--peer DIR] [--requests N,...]

Both read the same file of requests (Mooncake JSONL: 40 requests a second, 3,000 tokens in, 150 out) and play it through
the same fixed fleet of four prefill and two decode replicas with the same timing table, each run in a process of its
own. Installs the peer as `peer_fleet.py` does. Times are of reading and playing, without imports.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from peers.rust_fleet import peer_python, run_peer, write_timing, write_trace

from planner.profiler.library import load_profile
from planner.scaling.types import Role
from planner.sim.lives import Lives
from planner.sim.loads import Level, drawn
from planner.sim.policies import StaticPolicy
from planner.sim.run import simulate
from planner.sim.settings import Conditions, FleetSettings, PoolSetup
from planner.sim.stage import Workload
from planner.sim.timing import TabulatedTiming
from planner.sim.traces import load_trace
from planner.slo.targets import Targets

PROFILE = "h200-llama-3.1-8b-fp8-tp1"
TARGETS = Targets(isl_tokens=3000, osl_tokens=150, ttft_ms=500, itl_ms=50)
RATE_PER_S, PREFILL, DECODE = 40.0, 4, 2


def play(trace: Path) -> None:
    """Ours, alone in this process; prints a report as the peer's driver does."""
    begun = time.perf_counter()
    fleet = FleetSettings(
        pools={Role.PREFILL: PoolSetup(1, PREFILL), Role.DECODE: PoolSetup(1, DECODE)},
        timing=TabulatedTiming(load_profile(PROFILE)),
        conditions=Conditions(Lives(0.0), "round_robin", "round_robin"),
    )
    result = simulate({"chat": Workload(load_trace(trace), fleet, TARGETS)}, StaticPolicy(), interval_s=60)
    spent_s = time.perf_counter() - begun
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"finished": result.only.outcome.finished, "wall_s": spent_s, "peak_mib": peak_mib}))


def ours(trace: Path) -> dict[str, Any]:
    """Our report, from a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--play", trace], capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def main() -> None:
    """Print a table of both, by trace length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="virtual environment that has ai-dynamo 1.4.2")
    parser.add_argument("--requests", default="10000,100000,1000000", help="trace lengths (default %(default)s)")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play is not None:
        play(arguments.play)
        return
    python, profile = peer_python(arguments.peer), load_profile(PROFILE)
    print("| requests | ours: s | requests/s | peak MiB | Dynamo: s | requests/s | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timing, trace = folder / "timing.npz", folder / "trace.jsonl"
        write_timing(profile, timing)
        for count in (int(text) for text in arguments.requests.split(",")):
            level = Level(0, count / RATE_PER_S, RATE_PER_S, 3000, 150)
            write_trace((request._replace(osl=max(2, request.osl)) for request in drawn([level], 1, seed=7)), trace)
            mine = ours(trace)
            theirs = run_peer(python, {
                "trace": str(trace), "timing": str(timing), "prefill": PREFILL, "decode": DECODE, "prefill_seqs": 512,
                "max_kv_tokens": profile.decode.max_kv_tokens, "ttft_ms": TARGETS.ttft_ms, "itl_ms": TARGETS.itl_ms,
            }, folder)  # fmt: skip
            cells = [f"{mine['finished']:,}"]
            for one in (mine, theirs):
                rate_per_s = mine["finished"] / one["wall_s"]
                cells += [f"{one['wall_s']:.1f}", f"{rate_per_s:,.0f}", f"{one['peak_mib']:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
