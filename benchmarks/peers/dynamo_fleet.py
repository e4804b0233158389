"""Plays requests through Dynamo's own fleet simulator; runs in the peer's virtual environment, not in ours.

    python dynamo_fleet.py SETUP.json

SETUP: {"trace": FILE.jsonl, "timing": FILE.npz, "prefill": N, "decode": N, "prefill_seqs": N, "max_kv_tokens": N,
"ttft_ms": x, "itl_ms": x}. Prints the simulator's report as JSON, with its wall time and peak memory.
"""

import json
import logging
import os
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("DYN_LOG", "error")

from dynamo._core import run_mocker_trace_replay
from dynamo.mocker import MockEngineArgs

BLOCK_TOKENS = 16
"""KV cache block, unless the setup says otherwise. It counts whole blocks, so larger ones read as longer contexts."""


class Fixed:
    """A scaling policy that never scales."""

    def initial_tick_ms(self) -> float:
        """The first look."""
        return 1000.0

    def on_tick(self, snapshot: dict[str, float]) -> dict[str, float | None]:
        """Nothing to do."""
        return {"target_prefill": None, "target_decode": None, "next_tick_ms": snapshot["now_ms"] + 10_000.0}


def main() -> None:
    """Run one setup."""
    setup = json.loads(Path(sys.argv[1]).read_text())
    logging.disable(logging.CRITICAL)
    block_tokens = setup.get("block_tokens", BLOCK_TOKENS)
    engine = {
        "block_size": block_tokens,
        "num_gpu_blocks": setup["max_kv_tokens"] // block_tokens,
        "max_num_batched_tokens": 8192,
        "enable_prefix_caching": False,
        "planner_profile_data": setup["timing"],
    }
    prefill = MockEngineArgs(worker_type="prefill", max_num_seqs=setup["prefill_seqs"], **engine)
    decode = MockEngineArgs(worker_type="decode", max_num_seqs=512, **engine)
    begun = time.perf_counter()
    report = run_mocker_trace_replay(
        [setup["trace"]],
        prefill_engine_args=prefill,
        decode_engine_args=decode,
        num_prefill_workers=setup["prefill"],
        num_decode_workers=setup["decode"],
        trace_block_size=512,
        sla_ttft_ms=setup["ttft_ms"],
        sla_itl_ms=setup["itl_ms"],
        scaling_policy=Fixed(),
    )
    numbers = {key: value for key, value in report.items() if isinstance(value, int | float)}
    numbers["wall_s"] = time.perf_counter() - begun
    numbers["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
