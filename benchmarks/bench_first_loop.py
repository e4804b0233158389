"""The planner in closed loop on real request traces, against a fixed fleet.

    python benchmarks/bench_first_loop.py [--data DIR]

For each trace: the share of requests meeting both targets, latencies and GPU-hours for every forecaster and for a
static fleet that the published throughput formulas size for the busiest interval. H200 Llama 3.1 8B profile, start-up
120 s, 30 s interval. Without the data folder only the load that ships with the project is played.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RUNS = (
    ("demo", "demo", 1, 500),
    ("azure2023_code", "traces/requests/azure2023_code.csv.gz", 1, 500),
    ("azure2023_code x10", "traces/requests/azure2023_code.csv.gz", 10, 500),
    ("mooncake_conversation", "traces/requests/mooncake_conversation.csv.gz", 1, 4000),
)
"""Name, file below the data folder, factor on its rate, TTFT target in ms (Mooncake prompts average 12,000 tokens)."""
PLANNERS = (
    ("constant", ["--forecaster", "constant"]),
    ("arima", ["--forecaster", "arima"]),
    ("kalman", ["--forecaster", "kalman"]),
    ("prophet", ["--forecaster", "prophet"]),
    ("static peak", ["--static", "peak"]),
)


def simulate(trace: str, scale: float, ttft_ms: float, options: list[str]) -> tuple[dict[str, Any], float]:
    """One run's outcome and its wall time in seconds."""
    command = [sys.executable, "-m", "planner", "simulate", "--trace", trace, "--scale", str(scale), "--ttft",
               str(ttft_ms), "--json", *options]  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr.strip()}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document, time.perf_counter() - begun


def main() -> None:
    """Print a table per trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds traces/requests")
    data: Path = parser.parse_args().data
    for name, file, scale, ttft_ms in RUNS:
        path = file if file == "demo" else str(data / file)
        if file != "demo" and not Path(path).exists():
            print(f"\n{name}: left out, {path} is not there (--data DIR)")
            continue
        print(f"\n**{name}**, TTFT {ttft_ms} ms, ITL 50 ms\n")
        print("| planner | good % | TTFT p50 / p95 / p99 s | ITL p50 / p95 / p99 ms | GPU-hours | actions | run s |")
        print("|---|---|---|---|---|---|---|")
        for planner, options in PLANNERS:
            document, spent_s = simulate(path, scale, ttft_ms, options)
            outcome = document["outcome"]
            ttft, itl = outcome["ttft_s"], outcome["itl_s"]
            print(
                f"| {planner} | {100 * outcome['good_share']:.1f} "
                f"| {ttft['p50']:.3f} / {ttft['p95']:.3f} / {ttft['p99']:.3f} "
                f"| {1e3 * itl['p50']:.1f} / {1e3 * itl['p95']:.1f} / {1e3 * itl['p99']:.1f} "
                f"| {document['gpu_hours']:.2f} | {len(document['actions'])} | {spent_s:.1f} |"
            )


if __name__ == "__main__":
    main()
