"""`planner simulate`: play a trace against a simulated fleet, and see what the planner would keep, and spend."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import config_from_options, config_options
from planner.cli.outputs import journal_to, progress, written
from planner.cli.simulate_compare import compare_policies, print_comparison
from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.scaling.settings import ServiceSettings
    from planner.scaling.types import Role
    from planner.sim.baselines.contenders import World
    from planner.sim.compare import Played
    from planner.sim.traces import Trace

_PEAK = "peak"


@click.command("simulate")
@config_options
@click.option(
    "--trace",
    "trace_name",
    default="demo",
    show_default=True,
    metavar="FILE|demo",
    help="CSV or JSON lines, .gz or not: requests, a load table, or a published format; its header tells which.",
)
@click.option("--scale", default=1.0, show_default=True, metavar="X", help="Multiply the trace's request rate.")
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
    trace_name: str, scale: float, seed: int, static: str | None, journal_path: Path | None, specs: str | None,
    startups: str | None, report_path: Path | None, as_json: bool, verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Play a trace against a simulated fleet that the planner scales.

    Without a configuration, it is the demo's: Llama 3.1 8B on H200s, TTFT 500 ms, ITL 50 ms, at most 32 GPUs.
    """
    from planner.config import build_settings
    from planner.sim.baselines.contenders import World, fixed, planner
    from planner.sim.compare import play
    from planner.sim.report import report
    from planner.sim.traces import load_trace

    _refuse_contradictions(static, journal_path, specs, startups)
    loaded = _configuration(options)
    settings = build_settings(loaded)
    if len(settings.services) > 1:
        raise UserError(f"services: {', '.join(settings.services)} are too many; a simulation plays one service")
    (service,) = settings.services.values()
    trace = load_trace(trace_name, scale=scale, seed=seed)
    last_arrival_s = _last_arrival_s(trace)
    world = World(settings, trace)
    head = f"{trace_name} on {service.profile.name}"
    provenance: dict[str, object] = {"trace": trace_name, "scale": scale, "config": loaded.to_document()}

    with _report(report_path) as page:
        if specs is not None:
            played = compare_policies(specs, startups, world, seed)
            print_comparison(played, world, head, as_json, {"seed": seed, **provenance})
        else:
            replicas = None if static is None else _fixed_replicas(static, service, trace)
            contender = planner(world) if replicas is None else fixed(world, replicas)
            with journal_to(journal_path, loaded) as record, progress(last_arrival_s, "simulating") as on_tick:
                played = [play(contender, seed, on_tick=on_tick, record=record)]
            result = played[0].result
            if as_json:
                document = {**result.document(), **provenance, "static": replicas}
                click.echo(json.dumps(document, allow_nan=False))
            else:
                scaled = "scaled by the planner" if replicas is None else f"fixed at {_in_words(replicas)}"
                click.echo(f"{head}, start-up {service.startup_s:g} s, {scaled}")
                click.echo(report(result, service.targets, all_actions=verbose))
        if page is not None:
            page(played, world, head)


def _refuse_contradictions(
    static: str | None, journal_path: Path | None, specs: str | None, startups: str | None
) -> None:
    if static is not None and journal_path is not None:
        raise UserError("--journal: a static fleet decides nothing that could be recorded; leave out --static")
    if specs is None and startups is not None:
        raise UserError("--compare-startup: there is nothing to compare; add --compare")
    if specs is not None and static is not None:
        raise UserError("--static: compare it with the others instead, such as --compare planner,static:7+3")
    if specs is not None and journal_path is not None:
        raise UserError("--journal: records one run, not several; leave out --compare")


def _configuration(options: Mapping[str, Any]) -> LoadedConfig:
    """What was asked for; the demo's where neither an option nor PLANNER_CONFIG names a file."""
    from importlib.resources import as_file, files

    if options["config_file"] is not None or os.environ.get("PLANNER_CONFIG"):
        return config_from_options(options)
    with as_file(files("planner.sim") / "demo.yaml") as demo:
        return config_from_options({**options, "config_file": demo})


def _last_arrival_s(trace: Trace) -> float:
    """Reads the trace once, so that a mistake in its last row costs no simulation."""
    last_s = 0.0
    for request in trace:
        last_s = request.arrival_s
    return last_s


def _fixed_replicas(text: str, service: ServiceSettings, trace: Trace) -> Mapping[Role, int]:
    from planner.sim.baselines import static_peak

    if text == _PEAK:
        return static_peak(trace, service.pools, service.profile, service.targets, service.interval_s)
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if len(counts) != len(service.pools) or min(counts) < 1:
        raise UserError(
            f"--static: {text!r} must be {_PEAK}, or a replica count of 1 or more for "
            f"{' and '.join(service.pools)}, such as {','.join('2' for _ in service.pools)}"
        )
    return dict(zip(service.pools, counts, strict=True))


def _in_words(replicas: Mapping[Role, int]) -> str:
    return ", ".join(f"{count} {role}" for role, count in replicas.items())


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
