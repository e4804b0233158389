"""`planner simulate`: play a trace against a simulated fleet, and see what the planner would keep, and spend."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import config_from_options, config_options
from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.scaling.settings import ServiceSettings
    from planner.scaling.types import Role
    from planner.sim.policies import Policy, Record
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
    help="CSV or CSV.GZ: t_seconds,isl,osl per request, or a load table t,request_rate,isl,osl.",
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with a row for every decision.")
@click.option("--verbose", is_flag=True, help="List every scale action, not only the largest.")
def command(
    trace_name: str, scale: float, seed: int, static: str | None, journal_path: Path | None, as_json: bool,
    verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Play a trace against a simulated fleet that the planner scales.

    Without a configuration, it is the demo's: Llama 3.1 8B on H200s, TTFT 500 ms, ITL 50 ms, at most 32 GPUs.
    """
    from planner.config import build_settings
    from planner.sim.policies import PlannerPolicy, StaticPolicy
    from planner.sim.report import report
    from planner.sim.run import simulate
    from planner.sim.settings import fleet_as_configured
    from planner.sim.traces import load_trace

    if static is not None and journal_path is not None:
        raise UserError("--journal: a static fleet decides nothing that could be recorded; leave out --static")
    loaded = _configuration(options)
    settings = build_settings(loaded)
    if len(settings.services) > 1:
        raise UserError(f"services: {', '.join(settings.services)} are too many; a simulation plays one service")
    ((name, service),) = settings.services.items()
    trace = load_trace(trace_name, scale=scale, seed=seed)
    last_arrival_s = _last_arrival_s(trace)

    replicas = None if static is None else _fixed_replicas(static, service, trace)
    # A fixed fleet is what it was asked to be; the budget binds the planner.
    fleet = fleet_as_configured(service, settings.budget_gpus if replicas is None else None, replicas)
    with _journal(journal_path, loaded) as record, _progress(last_arrival_s) as on_tick:
        policy: Policy = PlannerPolicy(settings, record) if replicas is None else StaticPolicy()
        result = simulate(
            trace, policy, fleet, service.targets,
            interval_s=service.interval_s, seed=seed, service=name, on_tick=on_tick,
        )  # fmt: skip
    if as_json:
        played = {"trace": trace_name, "scale": scale, "static": replicas, "config": loaded.to_document()}
        click.echo(json.dumps({**result.document(), **played}, allow_nan=False))
        return
    scaled = "scaled by the planner" if replicas is None else f"fixed at {_in_words(replicas)}"
    click.echo(f"{trace_name} on {service.profile.name}, start-up {service.startup_s:g} s, {scaled}")
    click.echo(report(result, service.targets, all_actions=verbose))


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
def _journal(path: Path | None, loaded: LoadedConfig) -> Iterator[Record | None]:
    if path is None:
        yield None
        return
    from planner.journal import JournalWriter

    try:
        stream = path.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--journal: {path} cannot be written ({error.strerror}); choose another path") from None
    with stream:
        yield JournalWriter(stream, loaded.to_document(), loaded.profile_documents()).record


@contextmanager
def _progress(last_arrival_s: float) -> Iterator[Callable[[float], None] | None]:
    """A bar on stderr, where someone watches."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=max(1, round(last_arrival_s)), label="simulating", file=sys.stderr) as bar:
        yield lambda now_s: bar.update(round(now_s) - bar.pos)
