"""`planner simulate --compare`: several policies against the same trace."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from planner.errors import UserError

_DASK_TIMEOUT_S = 10

if TYPE_CHECKING:
    from planner.sim.baselines.contenders import World
    from planner.sim.compare import Played


def compare_policies(specs: str, worlds: Sequence[World], dask: str | None) -> list[Played]:
    """Play every policy of `specs` in every world, on all cores here or by the Dask scheduler at address `dask`.

    Raises UserError on a mistake in `specs` or when no scheduler answers, ModuleNotFoundError without joblib.
    """
    from planner.sim.baselines.contenders import contenders
    from planner.sim.compare import compare

    chosen = [contender for world in worlds for contender in contenders(specs, world)]
    with _on(dask) as jobs, _progress(len(chosen)) as bar:
        played = []
        for one in compare(chosen, jobs):
            played.append(one)
            bar()
        return played


def print_comparison(
    played: Sequence[Played], world: World, head: str, as_json: bool, provenance: Mapping[str, object]
) -> None:
    """The table under `head`, or one JSON object that carries `provenance`."""
    from planner.sim.compare import comparison_document
    from planner.sim.report import table

    if as_json:
        click.echo(json.dumps({**comparison_document(played), **provenance}, allow_nan=False))
        return
    agreements = "; ".join(
        f"{'' if len(world.services) == 1 else f'{name}: '}TTFT {service.targets.ttft_ms:g} ms, "
        f"ITL {service.targets.itl_ms:g} ms, objective {service.targets.objective:.0%}"
        for name, service in world.services.items()
    )
    click.echo(f"{head}, {agreements}")
    click.echo(table(played))


def numbers(option: str, text: str) -> list[float]:
    """What an option lists, each once. Raises UserError."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(0 <= value < float("inf") for value in values):
        raise UserError(f"{option}: {text!r} must be numbers of 0 or more, such as 0,60,120")
    return list(dict.fromkeys(values))


def whole_numbers(option: str, text: str) -> list[int]:
    """As `numbers`, without fractions."""
    values = numbers(option, text)
    if not all(value.is_integer() for value in values):
        raise UserError(f"{option}: {text!r} must be whole numbers, such as 0,1,2")
    return [int(value) for value in values]


@contextmanager
def _on(dask: str | None) -> Iterator[int | None]:
    """How many jobs `compare` may run at a time, and where."""
    if dask is None:
        yield None
        return
    import joblib
    from distributed import Client

    try:
        client = Client(dask, timeout=_DASK_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--dask: no scheduler answers at {dask!r} ({error}); start one with dask scheduler, and workers that "
            "have sla-planner"
        ) from None
    with client, joblib.parallel_config(backend="dask"):
        yield -1


@contextmanager
def _progress(count: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, where someone watches."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=count, label="comparing", file=sys.stderr) as bar:
        yield lambda: bar.update(1)
