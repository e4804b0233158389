"""Models of step time on steps of a real engine: how well each predicts, what a fit costs, what an engine pays.

    python benchmarks/bench_step_models.py [--data FOLDER] [--runs N]

Reads vllm/cpu_steps.csv.gz of the data folder beside the checkout.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from planner.engine.latency.coverage import gap
from planner.engine.latency.demo import demo_run
from planner.engine.latency.drift import tracked_ms
from planner.engine.latency.evidence import evidence
from planner.engine.latency.linear import condition_of, fit_linear
from planner.engine.latency.logs import Run, read_runs
from planner.engine.latency.quality import quality, quality_by_phase
from planner.engine.latency.residuals import residuals, share_within
from planner.engine.latency.roofline import fit_roofline
from planner.engine.latency.saturation import Saturation
from planner.engine.latency.saturation_fit import fit_saturation
from planner.engine.latency.screen import screened
from planner.engine.latency.types import PHASES, LatencyModel
from planner.engine.step import Floats, Steps

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_SMALL_TOKENS = 512
_ROWS = 1000
_CALLS = 2000


def halves(run: Run) -> tuple[Steps, Steps]:
    """What is left of a run after screening, cut in the middle."""
    steps, _ = screened(run)
    middle = len(steps) // 2
    return steps.where(slice(middle)), steps.where(slice(middle, None))


def as_published(model: Saturation, steps: Steps) -> Floats:
    """The saturation form where it falls."""
    return model.published_ms(steps.requests, steps.tokens)


def predictions(train: Steps, test: Steps) -> dict[str, Floats]:
    """What each model, fitted on `train`, predicts for `test`; under a name for the table."""
    linear, saturation = fit_linear(train), fit_saturation(train)
    published_filter = fit_saturation(train.where((train.took_ms >= 1) & (train.took_ms <= 300)))
    return {
        "linear-physical": linear.predict_all_ms(test),
        "linear-physical, drift followed": tracked_ms(linear, test),
        "roofline": fit_roofline(train).predict_all_ms(test),
        "saturation, levelled for use": saturation.predict_all_ms(test),
        "saturation as published, all steps": as_published(saturation, test),
        "saturation as published, 1 to 300 ms": as_published(published_filter, test),
        "saturation as published, Huber": as_published(fit_saturation(train, "huber"), test),
    }


def accuracy(name: str, run: Run) -> list[str]:
    """Rows of the table of accuracy."""
    train, test = halves(run)
    small, large = train.where(train.tokens <= _SMALL_TOKENS), test.where(test.tokens > _SMALL_TOKENS)
    beyond = {label: quality(ms, large.took_ms) for label, ms in predictions(small, large).items()}
    rows = []
    for label, predicted_ms in predictions(train, test).items():
        found = [quality(predicted_ms, test.took_ms), *quality_by_phase(predicted_ms, test).values(), beyond[label]]
        cells = [f"{each.r2:.4f} / {each.mape * 100:.1f}" for each in found]
        rows.append(f"| {name} | {label} | {' | '.join(cells)} |")
    return rows


def belief(name: str, run: Run) -> str:
    """A row of the table of margins and conditions."""
    train, test = halves(run)
    model = fit_linear(train)
    own = residuals(model.predict_all_ms(train), train)
    within = share_within(model.predict_all_ms(test), test, {phase: each.margin for phase, each in own.items()})
    uncovered = sum(gap(model.seen, test.at(i)) is not None for i in range(len(test)))
    decode = train.where(~train.mixed)
    margins = " | ".join(f"{own[phase].margin:.3f} / {within[phase] * 100:.1f}" for phase in PHASES)
    return (
        f"| {name} | {evidence(train).condition:.1f} | {condition_of(decode):.1e} | {margins} | "
        f"{uncovered} of {len(test)} |"
    )


def median_ms(call: Callable[[], object], runs: int) -> float:
    """Of some calls, one after another."""
    spent = []
    for _ in range(runs):
        begun = time.perf_counter()
        call()
        spent.append((time.perf_counter() - begun) * 1e3)
    return float(np.median(spent))


def peak_kib(call: Callable[[], object]) -> float:
    """Memory that a call takes at most."""
    call()
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1024


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of recorded data")
    parser.add_argument("--runs", type=int, default=30, help="fits per median (default 30)")
    arguments = parser.parse_args()
    log = arguments.data / "vllm" / "cpu_steps.csv.gz"
    if log.is_file():
        runs = {str(run.model): run for run in read_runs(log).runs}
        print("| served | model | all: R2 / MAPE % | decode | mixed | S <= 512 to above |\n|---|---|---|---|---|---|")
        for name, run in runs.items():
            print(*accuracy(name, run), sep="\n")
        print(
            "\n| served | condition | decode only | decode: margin / held % | mixed: margin / held % | not covered |"
            "\n|---|---|---|---|---|---|"
        )
        for name, run in runs.items():
            print(belief(name, run))
        steps = halves(runs["m6"])[0].where(slice(_ROWS))
    else:
        print(f"no {log}: accuracy is left out\n")
        steps = demo_run(_ROWS).steps
    print(f"\n| fit on {_ROWS} steps | ms | peak memory, KiB |\n|---|---|---|")
    fits: dict[str, Callable[[Steps], LatencyModel]] = {
        "linear-physical": fit_linear,
        "roofline": fit_roofline,
        "saturation": fit_saturation,
    }
    for label, fit in fits.items():
        few = arguments.runs if label != "saturation" else min(5, arguments.runs)
        once = partial(fit, steps)
        print(f"| {label} | {median_ms(once, few):.2f} | {peak_kib(once):.0f} |")
    print("\n| one call | predict, µs | largest chunk, µs | covered, µs |\n|---|---|---|---|")
    step = steps.at(int(np.argmax(steps.kv_tokens)))
    for model in (fit(steps) for fit in fits.values()):
        limit_ms = model.predict_ms(step) * 3
        cells = (
            median_ms(partial(model.predict_ms, step), _CALLS),
            median_ms(partial(model.largest_chunk, step, 500, 2048, limit_ms), _CALLS),
            median_ms(partial(gap, model.seen, step), _CALLS),
        )
        print(f"| {model.name} | {' | '.join(f'{each * 1e3:.1f}' for each in cells)} |")


if __name__ == "__main__":
    main()
