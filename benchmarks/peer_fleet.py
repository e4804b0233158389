"""Our simulated fleet beside Dynamo's, on the same requests and the same timing table, with fixed fleets.

    python benchmarks/peer_fleet.py [--peer DIR] [--minutes M]

Installs ai-dynamo 1.4.2, whose wheel holds the Rust fleet simulator, into a cache folder (about 1 GB, a minute) unless
--peer names a virtual environment that has it. Both fleets route round robin and take their times from our profile.
Dynamo's prefill worker forms steps of 8,192 tokens of at most `max_num_seqs` prompts, and holds them until nobody waits
or a place is needed; the decode worker writes the first token. Ours is given the same discipline.
What is compared: the share meeting TTFT 500 ms and ITL 50 ms, and the quantiles of both.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers.rust_fleet import STEP_TOKENS, peer_python, run_peer, write_timing, write_trace

from planner.profiler.library import load_profile
from planner.scaling.profile import Profile
from planner.scaling.types import Role
from planner.sim.engine import Discipline
from planner.sim.lives import Lives
from planner.sim.loads import Level, Request, drawn
from planner.sim.policies import StaticPolicy
from planner.sim.run import Result, simulate
from planner.sim.settings import Conditions, FleetSettings, PoolSetup
from planner.sim.stage import Workload
from planner.sim.timing import TabulatedTiming
from planner.slo.targets import Targets

TARGETS = Targets(isl_tokens=3000, osl_tokens=150, ttft_ms=500, itl_ms=50)


@dataclass(frozen=True, slots=True)
class Setup:
    """A load, and the fixed fleet it is played against."""

    name: str
    rate_per_s: float
    isl: int
    osl: int
    prefill: int
    decode: int


SETUPS = (
    Setup("prefill 50 %", 8, 3000, 150, 1, 1),
    Setup("prefill 70 %", 11.4, 3000, 150, 1, 1),
    Setup("prefill 70 %, four", 45, 3000, 150, 4, 2),
    Setup("prefill 85 %, four", 55, 3000, 150, 4, 2),
    Setup("prefill 75 %, eight", 98, 3000, 150, 8, 3),
    Setup("long prompts 65 %", 8, 9000, 100, 2, 1),
    Setup("decode-bound, light", 20, 500, 500, 2, 1),
    Setup("decode-bound, heavy", 40, 500, 500, 3, 2),
)
PREFILL_SEQS = (512, 4)


def ours(setup: Setup, requests: list[Request], profile: Profile, prefill_seqs: int) -> tuple[Result, float]:
    """Our fleet's result, and the seconds it took."""
    fleet = FleetSettings(
        pools={Role.PREFILL: PoolSetup(1, setup.prefill), Role.DECODE: PoolSetup(1, setup.decode)},
        timing=TabulatedTiming(profile),
        conditions=Conditions(
            Lives(startup_s=0),
            routing="round_robin",
            decode_routing="round_robin",
            prefill=Discipline(step_tokens=STEP_TOKENS, places=prefill_seqs, holds=True),
            first_token_from="decode",
        ),
    )
    begun = time.perf_counter()
    result = simulate({"peer": Workload(requests, fleet, TARGETS)}, StaticPolicy(), interval_s=60)
    return result, time.perf_counter() - begun


def main() -> None:
    """Print a table of both fleets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="virtual environment that has ai-dynamo 1.4.2")
    parser.add_argument("--minutes", type=float, default=10, help="length of each load (default 10)")
    arguments = parser.parse_args()
    python, profile = peer_python(arguments.peer), load_profile("h200-llama-3.1-8b-fp8-tp1")
    print("| load, fleet | seqs | | good % | TTFT p50 / p95 ms | ITL p50 / p95 ms | requests/s of wall time |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        timing, trace = Path(folder) / "timing.npz", Path(folder) / "trace.jsonl"
        write_timing(profile, timing)
        for setup in SETUPS:
            level = Level(0, 60 * arguments.minutes, setup.rate_per_s, setup.isl, setup.osl)
            requests = [r._replace(osl=max(2, r.osl)) for r in drawn([level], 1, seed=7)]
            write_trace(requests, trace)
            for prefill_seqs in PREFILL_SEQS:
                peer = run_peer(python, {
                    "trace": str(trace), "timing": str(timing), "prefill": setup.prefill, "decode": setup.decode,
                    "prefill_seqs": prefill_seqs, "max_kv_tokens": profile.decode.max_kv_tokens,
                    "ttft_ms": TARGETS.ttft_ms, "itl_ms": TARGETS.itl_ms,
                }, Path(folder))  # fmt: skip
                result, spent_s = ours(setup, requests, profile, prefill_seqs)
                name = f"{setup.name}, {setup.prefill}+{setup.decode}"
                good = 100 * peer["goodput_completed_requests"] / peer["num_requests"]
                print(
                    f"| {name} | {prefill_seqs} | Dynamo | {good:.1f} "
                    f"| {peer['median_ttft_ms']:.0f} / {peer['p95_ttft_ms']:.0f} "
                    f"| {peer['median_itl_ms']:.1f} / {peer['p95_itl_ms']:.1f} "
                    f"| {len(requests) / peer['wall_s']:.0f} |"
                )
                outcome = result.only.outcome
                assert outcome.ttft_s is not None
                assert outcome.itl_s is not None
                assert outcome.good_share is not None
                print(
                    f"| | | ours | {100 * outcome.good_share:.1f} "
                    f"| {1e3 * outcome.ttft_s.p50:.0f} / {1e3 * outcome.ttft_s.p95:.0f} "
                    f"| {1e3 * outcome.itl_s.p50:.1f} / {1e3 * outcome.itl_s.p95:.1f} "
                    f"| {len(requests) / spent_s:.0f} |",
                    flush=True,
                )
    print(f"\nOur process held {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most.")


if __name__ == "__main__":
    main()
