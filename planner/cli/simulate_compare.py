"""`planner simulate --compare`: several policies against the same trace."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from planner.errors import UserError

if TYPE_CHECKING:
    from planner.sim.baselines.contenders import World
    from planner.sim.compare import Played


def compare_policies(specs: str, startups: str | None, world: World, seed: int) -> list[Played]:
    """Play every policy of `specs` with every start-up time of `startups` (None: the configured one).

    Raises UserError on a mistake in either, ModuleNotFoundError without joblib.
    """
    from planner.sim.baselines.contenders import contenders
    from planner.sim.compare import compare

    worlds = [world]
    if startups is not None:
        worlds = [world.with_service(replace(world.service, startup_s=s)) for s in _startups(startups)]
    chosen = [contender for each in worlds for contender in contenders(specs, each)]
    with _progress(len(chosen)) as bar:
        played = []
        for one in compare(chosen, seed):
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
    targets = world.service.targets
    click.echo(f"{head}, TTFT {targets.ttft_ms:g} ms, ITL {targets.itl_ms:g} ms, objective {targets.objective:.0%}")
    click.echo(table(played))


def _startups(text: str) -> list[float]:
    try:
        startups = [float(part) for part in text.split(",")]
    except ValueError:
        startups = [-1.0]
    if not all(0 <= startup_s < float("inf") for startup_s in startups):
        raise UserError(f"--compare-startup: {text!r} must be seconds of 0 or more, such as 0,60,120")
    return list(dict.fromkeys(startups))


@contextmanager
def _progress(count: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, where someone watches."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=count, label="comparing", file=sys.stderr) as bar:
        yield lambda: bar.update(1)
