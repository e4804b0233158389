"""`planner simulate`: play a trace against a simulated fleet, and see what the planner would keep, and spend."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import config_from_options, config_options
from planner.cli.outputs import journal_to, progress, written
from planner.cli.simulate_compare import compare_policies, numbers, print_comparison, whole_numbers
from planner.cli.simulate_world import build_world, load_traces, trace_files
from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.sim.baselines.contenders import Contender, World
    from planner.sim.compare import Played
    from planner.sim.traces import Trace

_PEAK = "peak"


@click.command("simulate")
@config_options
@click.option(
    "--trace",
    "given_traces",
    multiple=True,
    metavar="FILE|demo",
    help="CSV or JSON lines, .gz or not: requests, a load table, or a published format; its header tells which. "
    "With several services, one each: --trace NAME=FILE. Default: demo.",
)
@click.option("--scale", default=1.0, show_default=True, metavar="X", help="Multiply the traces' request rates.")
@click.option("--from", "from_s", default=0.0, metavar="S", help="Leave out the traces' first S seconds.")
@click.option("--to", "to_s", default=math.inf, metavar="S", help="Leave out what comes after S seconds.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same run.")
@click.option(
    "--static",
    "static",
    metavar="P,D|N|peak",
    help="No planner: a fixed fleet of P prefill and D decode replicas, N aggregated ones, or what the "
    "published throughput formula asks for at the trace's peak.",
)
@click.option(
    "--journal",
    "journal_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Record every decision, for planner explain.",
)
@click.option(
    "--compare",
    "specs",
    is_flag=False,
    flag_value="default",
    metavar="[POLICY,...]",
    help="Play several policies side by side: planner, forecaster:NAME, published, hpa:utilisation, hpa:queue, "
    "static:peak, static:7+3, static:10 (every split of 10 GPUs), clairvoyant, oracle. Alone: one of each kind.",
)
@click.option("--compare-startup", "startups", metavar="S,...", help="With --compare: each with these start-up times.")
@click.option("--compare-scale", "scales", metavar="X,...", help="With --compare: each with these loads.")
@click.option("--compare-seed", "seeds", metavar="N,...", help="With --compare: each with these seeds.")
@click.option("--dask", metavar="ADDRESS", help="With --compare: spread the runs by this Dask scheduler.")
@click.option(
    "--report",
    "report_path",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="Write a page with charts and decisions; it needs no network.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with a row for every decision.")
@click.option("--verbose", is_flag=True, help="List every scale action, not only the largest.")
def command(
    given_traces: tuple[str, ...], scale: float, from_s: float, to_s: float, seed: int, static: str | None,
    journal_path: Path | None, specs: str | None, startups: str | None, scales: str | None, seeds: str | None,
    dask: str | None, report_path: Path | None, as_json: bool, verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Play traces against a simulated fleet that the planner scales.

    Without a configuration, it is the demo's: Llama 3.1 8B on H200s, TTFT 500 ms, ITL 50 ms, at most 32 GPUs.
    What the fleet is really like - engines, router, failures, scrapes - is the configuration's `simulation` section.
    """
    from planner.sim.baselines.contenders import Variation, planner
    from planner.sim.compare import play
    from planner.sim.report import report

    _refuse_contradictions(static, journal_path, specs, startups or scales or seeds or dask)
    loaded = _configuration(options)
    files = trace_files(given_traces, list(loaded.config.services))
    load = partial(load_traces, files, start_s=from_s, end_s=to_s)
    traces = load(scale, seed)
    world = build_world(loaded, traces, Variation(scale=scale, seed=seed))
    surveys = {name: trace.survey() for name, trace in traces.items()}
    for note in sorted({note for survey in surveys.values() for note in survey.notes}):
        click.echo(f"note: {note}", err=True)
    head = "; ".join(
        f"{'' if len(files) == 1 else f'{name}: '}{files[name]} on {service.profile.name}"
        for name, service in world.services.items()
    )
    provenance: dict[str, object] = {
        "traces": files,
        "from_s": from_s,
        "to_s": None if math.isinf(to_s) else to_s,
        "scale": scale,
        "seed": seed,
        "config": loaded.to_document(),
    }

    with _report(report_path) as page:
        if specs is not None:
            worlds = _varied(loaded, load, world, startups, scales, seeds)
            played = compare_policies(specs, worlds, dask)
            print_comparison(played, world, head, as_json, provenance)
        else:
            contender = planner(world) if static is None else _fixed(static, world)
            end_s = max(survey.last_arrival_s for survey in surveys.values())
            with journal_to(journal_path, loaded) as record, progress(end_s, "simulating") as on_tick:
                played = [play(contender, on_tick=on_tick, record=record)]
            result = played[0].result
            if as_json:
                click.echo(json.dumps({**result.document(), **provenance, "static": contender.fixed}, allow_nan=False))
            else:
                targets = {name: service.targets for name, service in world.services.items()}
                click.echo(f"{head}, start-up {_startups_in_words(world)} s, {_in_words(contender)}")
                click.echo(report(result, targets, all_actions=verbose))
        if page is not None:
            page(played, world, head)


def _refuse_contradictions(
    static: str | None, journal_path: Path | None, specs: str | None, varied: str | None
) -> None:
    if static is not None and journal_path is not None:
        raise UserError("--journal: a static fleet decides nothing that could be recorded; leave out --static")
    if specs is None and varied is not None:
        raise UserError(
            "--compare-startup, --compare-scale, --compare-seed, --dask: there is nothing to compare; add --compare"
        )
    if specs is not None and static is not None:
        raise UserError("--static: compare it with the others instead, such as --compare planner,static:7+3")
    if specs is not None and journal_path is not None:
        raise UserError("--journal: records one run, not several; leave out --compare")


def _varied(
    loaded: LoadedConfig, load: Callable[[float, int], Mapping[str, Trace]], world: World, startups: str | None,
    scales: str | None, seeds: str | None,
) -> list[World]:  # fmt: skip
    """The world, once for each combination of what was asked to vary."""
    variation = world.variation
    worlds = [
        build_world(loaded, load(scale, seed), replace(variation, scale=scale, seed=seed))
        for seed in ([variation.seed] if seeds is None else whole_numbers("--compare-seed", seeds))
        for scale in ([variation.scale] if scales is None else numbers("--compare-scale", scales))
    ]
    if startups is None:
        return worlds
    return [each.with_startup(s) for s in numbers("--compare-startup", startups) for each in worlds]


def _configuration(options: Mapping[str, Any]) -> LoadedConfig:
    """What was asked for; the demo's where neither an option nor PLANNER_CONFIG names a file."""
    from importlib.resources import as_file, files

    if options["config_file"] is not None or os.environ.get("PLANNER_CONFIG"):
        return config_from_options(options)
    with as_file(files("planner.sim") / "demo.yaml") as demo:
        return config_from_options({**options, "config_file": demo})


def _fixed(text: str, world: World) -> Contender:
    from planner.sim.baselines.contenders import fixed, fixed_for_peak

    if text == _PEAK:
        return fixed_for_peak(world)
    if len(world.services) > 1:
        raise UserError(f"--static: {text!r} is one fleet, and {len(world.services)} services are played; use {_PEAK}")
    (service,) = world.services.values()
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if len(counts) != len(service.pools) or min(counts) < 1:
        raise UserError(
            f"--static: {text!r} must be {_PEAK}, or a replica count of 1 or more for "
            f"{' and '.join(service.pools)}, such as {','.join('2' for _ in service.pools)}"
        )
    return fixed(world, dict(zip(service.pools, counts, strict=True)))


def _startups_in_words(world: World) -> str:
    startups_s = {each.lives.startup_s for each in world.conditions.values()}
    return " or ".join(f"{startup_s:g}" for startup_s in sorted(startups_s))


def _in_words(contender: Contender) -> str:
    if contender.fixed is None:
        return "scaled by the planner"
    fleets = [
        f"{'' if len(contender.fixed) == 1 else f'{name}: '}"
        + ", ".join(f"{count} {role}" for role, count in replicas.items())
        for name, replicas in contender.fixed.items()
    ]
    return f"fixed at {'; '.join(fleets)}"


@contextmanager
def _report(path: Path | None) -> Iterator[Callable[[list[Played], World, str], None] | None]:
    """What writes the page; a file that cannot be written is known before anything is played."""
    if path is None:
        yield None
        return
    from planner.sim.html import page, plotly_script

    script = plotly_script()
    with written(path, "--report") as stream:

        def write(played: list[Played], world: World, head: str) -> None:
            stream.write(page(played, world, head, script))

        yield write
