"""Steps made up for tests of step-time models, and step logs of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from planner.engine.latency.demo import demo_run
from planner.engine.latency.linear import LinearPhysical
from planner.engine.latency.types import Range, Seen
from planner.engine.step import Steps
from planner.engine.steplog import LoggedStep

SEEN = Seen(
    steps={"decode": 400, "mixed": 300},
    features={
        "decode": {
            "requests": Range(1, 64),
            "tokens": Range(1, 64),
            "prefills": Range(0, 0),
            "prefill_tokens": Range(0, 0),
            "kv_tokens": Range(100, 100_000),
            "pairs": Range(0, 0),
        },
        "mixed": {
            "requests": Range(1, 65),
            "tokens": Range(16, 2048),
            "prefills": Range(1, 4),
            "prefill_tokens": Range(16, 2048),
            "kv_tokens": Range(0, 100_000),
            "pairs": Range(136, 4_000_000),
        },
    },
)
LINEAR = LinearPhysical(6.0, 0.03, 0.02, 1e-4, 5e-6, SEEN)


def logged(count: int = 200, run: str = "demo", seed: int = 0, model: str | None = None) -> list[LoggedStep]:
    """Steps of the demonstration, as an engine would log them."""
    made = demo_run(count, seed)
    return [
        LoggedStep(run, model, i + 1, float(made.end_s[i]), float(made.steps.took_ms[i]), made.steps.at(i), False)
        for i in range(count)
    ]


def write_jsonl(path: Path, steps: list[LoggedStep]) -> Path:
    path.write_text("".join(f"{step.line()}\n" for step in steps))
    return path


def records(steps: list[LoggedStep]) -> list[dict[str, Any]]:
    """The lines as JSON values, to be spoilt."""
    return [json.loads(step.line()) for step in steps]


def write_records(path: Path, spoilt: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in spoilt))
    return path


COLUMNS = "step,t,B,S,n_pre,s_pre,kvd,attn_p,T_ms,run"


def csv_text(steps: list[LoggedStep]) -> str:
    """Under the short names."""
    rows = [
        f"{each.number},{each.end_s},{each.step.requests},{each.step.tokens},{each.step.prefills},"
        f"{each.step.prefill_tokens},{each.step.kv_tokens},{each.step.pairs},{each.took_ms},{each.run}"
        for each in steps
    ]
    return "\n".join([COLUMNS, *rows]) + "\n"


def write_csv(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def columns(steps: Steps) -> np.typing.NDArray[np.float64]:
    """All columns side by side, to be compared whole."""
    return np.stack(
        [
            steps.requests,
            steps.tokens,
            steps.prefills,
            steps.prefill_tokens,
            steps.kv_tokens,
            steps.pairs,
            steps.took_ms,
        ]
    )


def decode_only(steps: Steps) -> Steps:
    return steps.where(~steps.mixed)
