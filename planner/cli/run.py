"""`planner run`: the planner itself."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.listen import address, listen_option
from planner.cli.options import config_from_options, config_options

if TYPE_CHECKING:
    from socket import socket

    from planner.config import LoadedConfig

_PATH = click.Path(path_type=Path)


@click.command("run")
@config_options
@click.option(
    "--rehearse",
    "traces",
    multiple=True,
    metavar="FILE|demo",
    help="Play this trace against a simulated fleet; with several services --rehearse NAME=FILE for each.",
)
@click.option("--speed", default=1.0, show_default=True, metavar="X", help="With --rehearse: seconds of it in one.")
@click.option("--seed", default=0, show_default=True, help="With --rehearse: the same seed draws the same requests.")
@click.option("--dry-run", is_flag=True, help="Make plans and apply none, until somebody resumes.")
@click.option(
    "--state",
    "state",
    type=_PATH,
    metavar="DIR",
    help="Where to keep the journal and people's orders over a restart. Default: nothing is kept.",
)
@click.option("--token-file", type=_PATH, metavar="FILE", help="The token that orders to the planner need.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="A name the API answers to; .NAME: all below it.")
@listen_option("127.0.0.1:8080")
def command(
    traces: tuple[str, ...], speed: float, seed: int, dry_run: bool, state: Path | None, token_file: Path | None,
    hosts: tuple[str, ...], listen: str, **options: Any,
) -> None:  # fmt: skip
    """Decide every interval how many replicas each service needs, and see to it.

    Serves a page, an API and metrics. A configuration file that changes is taken up; SIGTERM ends it within 10 s.
    """
    from planner.errors import UserError
    from planner.live import listening
    from planner.logs import configure

    loaded = config_from_options(options)
    if not traces:
        raise UserError("source: none is configured; rehearse on a simulated fleet with --rehearse demo")
    if not 0 < speed <= 1000:
        raise UserError(f"--speed: {speed!r} must be above 0 and at most 1000")
    configure(sys.stderr)
    listener = listening(*address(listen))
    asyncio.run(_run(loaded, options, traces, speed, seed, dry_run, state, token_file, hosts, listener))


async def _run(
    loaded: LoadedConfig, options: dict[str, Any], traces: tuple[str, ...], speed: float, seed: int, dry_run: bool,
    state: Path | None, token_file: Path | None, hosts: tuple[str, ...], listener: socket,
) -> None:  # fmt: skip
    import logging
    from functools import partial

    from planner.api import Security, create_app
    from planner.cli.simulate_world import build_world, load_traces, trace_files
    from planner.clock import WallClock
    from planner.controls import Controls
    from planner.controls_file import read_controls, write_controls
    from planner.journal import JournalFiles
    from planner.live import run
    from planner.loop import ControlLoop
    from planner.reload import Reload
    from planner.scaling.state import initial_state
    from planner.sim.baselines.contenders import Variation
    from planner.sim.embedded import EmbeddedFleet
    from planner.steering import Steering

    clock = WallClock(speed)
    files = trace_files(traces, list(loaded.config.services))
    world = build_world(loaded, load_traces(files, 1.0, seed), Variation(seed=seed))
    fleet = EmbeddedFleet(world.workloads(), clock, world.gpus, seed)
    journal, controls, kept_in = None, Controls(), None
    if state is not None:
        journal = JournalFiles(
            state / "journal", loaded.to_document(), loaded.profile_documents(),
            initial_state(world.settings, clock.now_s()),
        )  # fmt: skip
        kept_in = state / "controls.json"
        controls = read_controls(kept_in)
    loop = ControlLoop(world.settings, fleet, fleet, clock, journal=journal, controls=controls)
    steering = Steering(
        loop.desk, clock, loop.scribe, (lambda _: None) if kept_in is None else partial(write_controls, kept_in)
    )
    if dry_run and controls.dry_run is None:
        await steering.pause(None, "--dry-run", "started so")
    security = Security(token_file, hosts)
    for warning in security.warnings():
        logging.getLogger("planner").warning("%s", warning)
    app = create_app(steering, None, security)
    host, port = listener.getsockname()[:2]
    logging.getLogger("planner").info("serving http://%s:%s/", host, port)
    file = options["config_file"] or os.environ.get("PLANNER_CONFIG")
    beside = []
    if file is not None:
        beside.append(Reload(Path(file), lambda: config_from_options(options), loop, clock).watch)
    await run(loop, app, listener, *beside)
