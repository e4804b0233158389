"""`planner replay`: recorded series through the real tick, without a fleet."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import config_from_options, config_options
from planner.cli.outputs import journal_to, progress
from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.replay.assumptions import Assumptions
    from planner.replay.run import Replay
    from planner.sources.recorded import Recording


@click.command("replay")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@config_options
@click.option("--prometheus", is_flag=True, help="Instead of FILE: what the configured Prometheus knows.")
@click.option("--service", metavar="NAME", help="With --prometheus: which service, where there are several.")
@click.option(
    "--from",
    "from_",
    metavar="TIME",
    help="Start so many seconds after the first row. With --prometheus: a time, or -6h, the default.",
)
@click.option(
    "--to",
    "to",
    metavar="TIME",
    help="End so many seconds after the first row. With --prometheus: a time, or now, the default.",
)
@click.option(
    "--what-if",
    "what_if",
    metavar="PATH=VALUE",
    multiple=True,
    help="Compare with other settings, such as sla.ttft=300. May be repeated; all are one case.",
)
@click.option("--assume-no-queue", is_flag=True, help="Take waiting and running as 0 where no column tells them.")
@click.option("--journal", "journal_path", metavar="FILE", type=click.Path(path_type=Path),
              help="Record every decision, for planner explain.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with a row for every decision.")
@click.option("--verbose", is_flag=True, help="List every decision, not only new orders.")
def command(
    file: Path | None, prometheus: bool, service: str | None, from_: str | None, to: str | None,
    what_if: tuple[str, ...], assume_no_queue: bool, journal_path: Path | None, as_json: bool, verbose: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Show what the planner would have decided on the metrics recorded in FILE, or in Prometheus, and why.

    FILE is a CSV or CSV.GZ with a row per interval: t (s), one of rate, requests, request_rate, and any of isl, osl,
    isl_cv2, ttft, queue, itl (s, or ms with _ms at the end), and per pool prefill_wanted, prefill_ready, and so on.
    A blank cell is a missing sample, never zero. Where no replicas are recorded, a fleet is assumed that follows the
    orders after the configured start-up time and never queues; --what-if always assumes one.
    """
    if (file is None) == (not prometheus):
        raise UserError("FILE, --prometheus: one of them says what to replay; give one")
    if what_if and journal_path is not None:
        raise UserError("--journal: holds one replay, and --what-if makes two; leave one out")
    configured = config_from_options(options)
    changed = config_from_options(options, instead=what_if) if what_if else None
    name = _chosen(configured, service, prometheus)
    if file is None:
        from planner.cli.replay_prometheus import recorded

        recording, slice_s = (
            recorded(configured.config.services[name], name, from_ or "-6h", to or "now"),
            (0.0, math.inf),
        )
    else:
        from planner.sources.recorded import read_recording

        recording, slice_s = read_recording(file), _slice(from_, to)
    one = _Case(name, recording, slice_s, assume_no_queue)
    if changed is not None:
        _print_comparison(one, configured, changed, what_if, as_json)
        return
    loaded, assumptions = one.assumed(configured)
    with journal_to(journal_path, loaded) as record, progress(min(slice_s[1], recording.end_s), "replaying") as on_tick:
        replayed = one.replayed(loaded, assumptions, record=record, on_tick=on_tick)
    _print(one, loaded, replayed, assumptions, as_json, verbose)


@dataclass(frozen=True, slots=True)
class _Case:
    """One service's recording, and how it is replayed."""

    service: str
    recording: Recording
    slice_s: tuple[float, float]
    no_queue: bool

    def assumed(self, configured: LoadedConfig) -> tuple[LoadedConfig, Assumptions]:
        """What is assumed, and the configuration under which that is decided."""
        from planner.config import config_from_document
        from planner.replay.assumptions import assume

        service = configured.config.services[self.service]
        assumptions = assume(self.recording, service.pools, service.interval_s, no_queue=self.no_queue)
        document = configured.to_document()
        document["services"] = {self.service: document["services"][self.service]}
        # The journal must hold the configuration that decided, or its decisions would not reproduce.
        return config_from_document(
            assumptions.amended(document, self.service), configured.profile_documents()
        ), assumptions

    def replayed(self, loaded: LoadedConfig, assumptions: Assumptions, **options: Any) -> Replay:
        from planner.config import build_settings
        from planner.replay.run import replay

        from_s, to_s = self.slice_s
        return replay(self.recording, build_settings(loaded), assumptions, from_s=from_s, to_s=to_s, **options)


def _chosen(configured: LoadedConfig, service: str | None, prometheus: bool) -> str:
    services = configured.config.services
    if service is not None and (not prometheus or service not in services):
        known = ", ".join(services)
        raise UserError(
            f"--service: {service!r} is not configured; there are {known}"
            if prometheus
            else "--service: is for --prometheus; a file is of one service"
        )
    if service is not None:
        return service
    if len(services) > 1:
        remedy = "choose one with --service" if prometheus else "a recording is of one service"
        raise UserError(f"services: {', '.join(services)} are too many; {remedy}")
    return next(iter(services))


def _slice(from_: str | None, to: str | None) -> tuple[float, float]:
    bounds_s = []
    for option, text, default_s in (("--from", from_, 0.0), ("--to", to, math.inf)):
        try:
            bounds_s.append(default_s if text is None else float(text))
        except ValueError:
            raise UserError(f"{option}: {text!r} is no number of seconds after the first row; give one") from None
    from_s, to_s = bounds_s
    if not 0 <= from_s < to_s:
        raise UserError(
            f"--from, --to: {from_s:g} to {to_s:g} s is empty; the end must come after a start of 0 or more"
        )
    return from_s, to_s


def _print(
    one: _Case, loaded: LoadedConfig, replayed: Replay, assumptions: Assumptions, as_json: bool, verbose: bool
) -> None:
    from planner.replay.report import document, report

    if as_json:
        played = {"file": one.recording.name, "config": loaded.to_document()}
        click.echo(json.dumps({**document(replayed, assumptions.notes), **played}, allow_nan=False))
        return
    click.echo(_heading(one, loaded))
    click.echo(report(replayed, assumptions.notes, every_tick=verbose))


def _print_comparison(
    one: _Case, configured: LoadedConfig, changed: LoadedConfig, what_if: tuple[str, ...], as_json: bool
) -> None:
    from dataclasses import replace

    from planner.replay.what_if import compared, comparison

    one = replace(one, recording=one.recording.without_fleet())
    replays: dict[str, Replay] = {}
    notes: Mapping[str, None] = {}
    for title, config in (("as configured", configured), (f"if {', '.join(what_if)}", changed)):
        loaded, assumptions = one.assumed(config)
        replays[title] = one.replayed(loaded, assumptions)
        notes = {**notes, **dict.fromkeys(assumptions.notes)}
    if as_json:
        click.echo(json.dumps({**comparison(replays, notes), "file": one.recording.name}, allow_nan=False))
        return
    click.echo(_heading(one, configured))
    click.echo(compared(replays, notes))


def _heading(one: _Case, loaded: LoadedConfig) -> str:
    service = loaded.config.services[one.service]
    return (
        f"{one.recording.name} on {service.profile}, start-up {service.startup_s:g} s, "
        f"budget {loaded.config.budget.gpus} GPUs"
    )
