"""`planner replay`: recorded series through the real tick, without a fleet."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from planner.cli.options import config_from_options, config_options
from planner.cli.outputs import journal_to, progress
from planner.errors import UserError


@click.command("replay")
@click.argument("file", type=click.Path(path_type=Path))
@config_options
@click.option("--from", "from_s", default=0.0, metavar="S", help="Start so many seconds after the first row, anew.")
@click.option("--to", "to_s", default=math.inf, metavar="S", help="End so many seconds after the first row.")
@click.option("--assume-no-queue", is_flag=True, help="Take waiting and running as 0 where no column tells them.")
@click.option("--journal", "journal_path", metavar="FILE", type=click.Path(path_type=Path),
              help="Record every decision, for planner explain.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with a row for every decision.")
@click.option("--verbose", is_flag=True, help="List every decision, not only new orders.")
def command(
    file: Path, from_s: float, to_s: float, assume_no_queue: bool, journal_path: Path | None, as_json: bool,
    verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Show what the planner would have decided on the metrics recorded in FILE, and why.

    FILE is a CSV or CSV.GZ with a row per interval: t (s), one of rate, requests, request_rate, and any of isl, osl,
    isl_cv2, ttft, queue, itl (s, or ms with _ms at the end), and per pool prefill_wanted, prefill_ready, and so on.
    A blank cell is a missing sample, never zero. Where no replicas are recorded, a fleet is assumed that follows the
    orders after the configured start-up time and never queues.
    """
    from planner.config import build_settings, config_from_document
    from planner.replay.assumptions import assume
    from planner.replay.report import document, report
    from planner.replay.run import replay
    from planner.sources.recorded import read_recording

    if not 0 <= from_s < to_s:
        raise UserError(
            f"--from, --to: {from_s:g} to {to_s:g} s is empty; the end must come after a start of 0 or more"
        )
    configured = config_from_options(options)
    services = configured.config.services
    if len(services) > 1:
        raise UserError(f"services: {', '.join(services)} are too many; a recording is of one service")
    ((name, service),) = services.items()
    recording = read_recording(file)
    assumptions = assume(recording, service.pools, service.interval_s, no_queue=assume_no_queue)
    # The journal must hold the configuration that decided, or its decisions would not reproduce.
    loaded = config_from_document(assumptions.amended(configured.to_document(), name), configured.profile_documents())
    settings = build_settings(loaded)
    with journal_to(journal_path, loaded) as record, progress(min(to_s, recording.end_s), "replaying") as on_tick:
        replayed = replay(recording, settings, assumptions, from_s=from_s, to_s=to_s, record=record, on_tick=on_tick)
    if as_json:
        played = {"file": str(file), "config": loaded.to_document()}
        click.echo(json.dumps({**document(replayed, assumptions.notes), **played}, allow_nan=False))
        return
    chosen = settings.services[name]
    click.echo(f"{file} on {chosen.profile.name}, start-up {chosen.startup_s:g} s, budget {settings.budget_gpus} GPUs")
    click.echo(report(replayed, assumptions.notes, every_tick=verbose))
