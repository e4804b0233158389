"""NVIDIA Dynamo's fleet simulator, installed into a cache and fed with our requests and our timing.

Its wheel, ai-dynamo 1.4.2, holds the simulator in Rust. `dynamo_fleet.py` drives it in an interpreter of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from planner.scaling.profile import Profile
from planner.sim.loads import Request

PEER = ("ai-dynamo==1.4.2", "ai-dynamo-runtime==1.4.2")
NEEDS = ("numpy<2.4", "pydantic<=2.13", "uvloop", "msgspec", "typing-extensions")
DRIVER = Path(__file__).parent / "dynamo_fleet.py"
STEP_TOKENS = 8192
"""Token budget of its prefill workers' steps."""


def peer_python(folder: Path | None) -> Path:
    """The interpreter of a virtual environment with the peer; made in a cache when none is given."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sla-planner" / "peers" / "dynamo-1.4.2"
    python = (folder or cache) / "bin" / "python"
    if not python.exists():
        if folder is not None:
            raise SystemExit(f"--peer: {folder} holds no bin/python; leave it out to install the peer")
        print(f"Installing {PEER[0]} into {cache}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", cache], check=True)
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", *PEER], check=True)
        subprocess.run([*pip, *NEEDS], check=True)
    return python


def write_trace(requests: Iterable[Request], path: Path) -> None:
    """Mooncake JSONL; block hashes all differ, so that nothing is found in a cache."""
    block = 0
    with path.open("w") as file:
        for request in requests:
            blocks = -(-request.isl // 512)
            line = {"timestamp": request.arrival_s * 1e3, "input_length": request.isl, "output_length": request.osl,
                    "hash_ids": list(range(block, block + blocks))}  # fmt: skip
            file.write(json.dumps(line) + "\n")
            block += blocks


def write_timing(profile: Profile, path: Path) -> None:
    """The peer's table: prefill time over tokens, decode step time over KV tokens and mean context."""
    decode = profile.decode
    kv_tokens, contexts = np.linspace(0, 0.95 * decode.max_kv_tokens, 200), np.linspace(64, 14_000, 100)
    itl_ms = np.array([[1e3 * decode.itl_s(kv / c, c) for c in contexts] for kv in kv_tokens])
    isl = np.linspace(16, 16_372, 400)
    ttft_ms = np.array([1e3 * profile.prefill.ttft_s(tokens) for tokens in isl])
    np.savez(
        path, prefill_isl=isl, prefill_ttft_ms=ttft_ms, decode_active_kv_tokens=kv_tokens,
        decode_context_length=contexts, decode_itl=itl_ms,
    )  # fmt: skip


def run_peer(python: Path, setup: dict[str, object], folder: Path) -> dict[str, Any]:
    """Its report. Raises SystemExit with what it said when it fails."""
    file = folder / "setup.json"
    file.write_text(json.dumps(setup))
    done = subprocess.run([python, DRIVER, file], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the peer failed:\n{done.stderr.strip()}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
