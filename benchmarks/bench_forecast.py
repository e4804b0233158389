"""How well, and how fast, each forecaster foresees recorded traffic: `python benchmarks/bench_forecast.py`.

Rolling origin: at each cell the forecaster sees the cells until then (at most those it reads) and foresees the one
`--horizon-s` later. Prints one markdown row per series and model:

- MAE: mean absolute error of the point, in the series' unit; MAPE in percent, "-" where the series has zeros;
- cover: share of values at or below the 0.9 quantile (90 is right); pinball: mean pinball loss of that quantile;
- aside: share of forecasts that a simpler model made: too few points yet, or clearly worse than the last value;
- ms: median time of one call, and the longest (a refit).

By default three blocks of 64 origins are spread over each series; `--every` takes every origin (minutes for arima).
Without the data folder, three generated series stand in. Set OPENBLAS_NUM_THREADS=1, or arima's fits measure
idle threads. In series marked * the minutes are synthetic and the shape is
real: their noise flatters whatever smooths.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.scaling.forecast import BUILT_IN, Forecaster, Series, build

Floats = NDArray[np.float64]

MINUTE_S = 60
QUANTILE = 0.9
FIRST_ORIGIN = 10
BLOCK = 64
BLOCKS = 3

TRACES = {
    "azure2023 code, req/s": ("azure2023_code", "requests"),
    "mooncake conversation, req/s": ("mooncake_conversation", "requests"),
    "azure2024 code*, req/s": ("azure2024_code_reconstructed", "requests"),
    "servegen m-large*, req/s": ("servegen_language_m-large", "requests"),
    "sageserve 70b, tokens/s": ("sageserve_input_tokens_per_min_days0-3", "llama2-70b_prod"),
    "sageserve 8b, tokens/s": ("sageserve_input_tokens_per_min_days0-3", "llama3.1-8b_prod"),
}


def recorded(folder: Path) -> dict[str, Floats]:
    """Per-second rates of the minute traces in `folder`."""
    series = {}
    for name, (file, column) in TRACES.items():
        with gzip.open(folder / f"{file}.csv.gz", "rt") as rows:
            series[name] = np.array([float(row[column]) for row in csv.DictReader(rows)]) / MINUTE_S
    return series


def generated() -> dict[str, Floats]:
    """A day's wave, a ramp, and calm with bursts, each with Poisson counts per minute."""
    draw = np.random.default_rng(1)
    minutes = np.arange(2880)
    rates = {
        "generated wave, req/s": 20 - 15 * np.cos(2 * np.pi * minutes / 1440),
        "generated ramp, req/s": 5 + 40 * minutes / 2880,
        "generated bursts, req/s": np.where(minutes % 97 < 12, 30.0, 8.0),
    }
    return {name: draw.poisson(rate * MINUTE_S) / MINUTE_S for name, rate in rates.items()}


def resampled(values: Floats, interval_s: int) -> Floats:
    """Means over `interval_s`."""
    per_cell = interval_s // MINUTE_S
    return np.asarray(values[: len(values) // per_cell * per_cell].reshape(-1, per_cell).mean(axis=1))


def origins(cells: int, steps: int, every: bool) -> list[int]:
    """Cells to forecast from."""
    last = cells - steps
    if every or last <= BLOCK * BLOCKS:
        return list(range(FIRST_ORIGIN, last))
    starts = np.linspace(last / (BLOCKS + 1), last - BLOCK, BLOCKS).astype(int).tolist()
    return [start + offset for start in starts for offset in range(BLOCK)]


def row(forecaster: Forecaster, values: Floats, interval_s: int, horizon_s: int, every: bool) -> str:
    """The figures of one forecaster on one series."""
    steps = -(-horizon_s // interval_s)
    kept = BUILT_IN[forecaster.name]().reach
    came, points, quantiles, aside, spent_ms = [], [], [], 0, []
    for origin in origins(len(values), steps, every):
        first = max(0, origin + 1 - kept)
        at_s = tuple(float(interval_s * cell) for cell in range(first, origin + 1))
        history = Series(at_s, tuple(values[first : origin + 1].tolist()))
        started = time.perf_counter()
        made = forecaster.forecast(history, at_s[-1], horizon_s)
        spent_ms.append(1e3 * (time.perf_counter() - started))
        came.append(float(values[origin + steps]))
        points.append(made.point)
        quantiles.append(made.quantile(QUANTILE))
        aside += made.model != forecaster.name
    actual, point, quantile = np.array(came), np.array(points), np.array(quantiles)
    miss, over = np.abs(actual - point), actual - quantile
    mape = f"{100 * np.mean(miss / actual):.1f}" if actual.min() > 0 else "-"
    pinball = np.mean(np.maximum(QUANTILE * over, (QUANTILE - 1) * over))
    return (
        f"{miss.mean():.3g} | {mape} | {100 * np.mean(over <= 0):.1f} | {pinball:.3g} | {100 * aside / len(came):.0f}"
        f" | {np.median(spent_ms):.2f} | {max(spent_ms):.0f}"
    )


def main() -> None:
    """Print the table."""
    parse = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parse.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parse.add_argument("--models", nargs="+", default=[name for name in BUILT_IN if name != "prophet"])
    parse.add_argument("--interval-s", type=int, default=60, help="cell length, a multiple of 60")
    parse.add_argument("--horizon-s", type=int, default=180)
    parse.add_argument("--every", action="store_true", help="every origin instead of three blocks")
    chosen = parse.parse_args()
    folder = chosen.data / "traces/minute"
    series = recorded(folder) if folder.is_dir() else generated()
    print("| series | model | MAE | MAPE % | cover % | pinball | aside % | ms | longest ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for title, minutes in series.items():
        values = resampled(minutes, chosen.interval_s)
        for model in chosen.models:
            forecaster = build(model, chosen.interval_s)
            figures = row(forecaster, values, chosen.interval_s, chosen.horizon_s, chosen.every)
            print(f"| {title} | {model} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
