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
from planner.cli.run_world import Asked, outside_of

if TYPE_CHECKING:
    from socket import socket

    from planner.config import LoadedConfig
    from planner.journal import JournalFiles

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
@click.option(
    "--launchers",
    is_flag=True,
    help="Replicas are started by launchers of yours that poll for orders; with --rehearse, a rehearsal for them.",
)
@click.option("--dry-run", is_flag=True, help="Make plans and apply none, until somebody resumes.")
@click.option("--once", is_flag=True, help="With --dry-run: decide once on the live system, explain, and end.")
@click.option(
    "--state",
    "state",
    type=_PATH,
    metavar="DIR",
    help="Where to keep the journal and people's orders over a restart. Default: nothing is kept.",
)
@click.option("--token-file", type=_PATH, metavar="FILE", help="The token that orders to the planner need.")
@click.option("--kubeconfig", type=_PATH, metavar="FILE", help="How to reach the cluster. Default: as kubectl does.")
@click.option("--lease", metavar="NAMESPACE/NAME", help="Of several planners, the one that holds this Lease writes.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="A name the API answers to; .NAME: all below it.")
@listen_option("127.0.0.1:8080")
def command(
    traces: tuple[str, ...], speed: float, seed: int, launchers: bool, dry_run: bool, once: bool,
    state: Path | None, token_file: Path | None, kubeconfig: Path | None, lease: str | None, hosts: tuple[str, ...],
    listen: str, **options: Any,
) -> None:  # fmt: skip
    """Decide every interval how many replicas each service needs, and see to it.

    Serves a page, an API and metrics. A configuration file that changes is taken up; SIGTERM ends it within 10 s.
    """
    from planner.cli.run_once import run_once
    from planner.errors import UserError
    from planner.live import listening
    from planner.logs import configure

    loaded = config_from_options(options)
    if once:
        if not dry_run or traces or launchers:
            raise UserError("--once: goes with --dry-run alone; it looks at the live system and changes nothing")
        run_once(loaded)
        return
    if not traces:
        _refuse_what_cannot_run(loaded, launchers, speed)
    if not 0 < speed <= 1000:
        raise UserError(f"--speed: {speed!r} must be above 0 and at most 1000")
    if launchers and token_file is None:
        raise UserError("--token-file: is missing; launchers show that they may take orders by the token in it")
    configure(sys.stderr)
    listener = listening(*address(listen))
    asked = Asked(loaded, options, traces, speed, seed, launchers, dry_run, state, token_file, hosts, kubeconfig, lease)
    asyncio.run(_run(asked, listener))


def _refuse_what_cannot_run(loaded: LoadedConfig, launchers: bool, speed: float) -> None:
    from planner.cli.kubernetes_targets import has_targets
    from planner.errors import UserError

    if all(service.prometheus.url is None for service in loaded.config.services.values()):
        raise UserError("prometheus.url: is not set; give it, or rehearse on a simulated fleet with --rehearse demo")
    if launchers == has_targets(loaded.config.services):
        raise UserError(
            "--launchers, kubernetes: give one of them, objects of a cluster such as "
            "kubernetes.prefill: Deployment/vllm-prefill, or launchers of yours that start the replicas"
        )
    if speed != 1:
        raise UserError(f"--speed: {speed!r} is for a rehearsal; real time passes at its own")


async def _run(asked: Asked, listener: socket) -> None:
    import logging
    from functools import partial

    from planner.api import Security, create_app
    from planner.clock import WallClock
    from planner.config import build_settings
    from planner.controls import Controls
    from planner.controls_file import read_controls, write_controls
    from planner.live import run
    from planner.loop import ControlLoop
    from planner.reload import Reload
    from planner.steering import Steering

    log = logging.getLogger("planner")
    clock = WallClock(asked.speed)
    journal = _journal(asked, clock.now_s())
    controls_file = asked.kept("controls.json")
    controls = Controls() if controls_file is None else read_controls(controls_file)
    settings = build_settings(asked.loaded)
    outside = outside_of(asked, clock)
    loop = ControlLoop(
        settings, outside.source, outside.connector, clock,
        journal=journal, controls=controls, historian=outside.sources, tell=outside.tell,
    )  # fmt: skip
    keep = partial(write_controls, controls_file) if controls_file is not None else (lambda _: None)
    steering = Steering(loop.desk, clock, loop.scribe, keep, outside.go_on)
    if asked.dry_run and controls.dry_run is None:
        await steering.pause(None, "--dry-run", "started so")
    security = Security(asked.token_file, asked.hosts)
    for warning in security.warnings():
        log.warning("%s", warning)
    host, port = listener.getsockname()[:2]
    log.info("serving http://%s:%s/", host, port)
    file = asked.options["config_file"] or os.environ.get("PLANNER_CONFIG")
    beside = [] if outside.hands is None else [*outside.hands.beside(loop, clock)]
    if file is not None:
        reload = Reload(Path(file), lambda: config_from_options(asked.options), loop, clock, outside.prepare)
        beside.append(reload.watch)
    queries = None if outside.sources is None else outside.sources.queries
    await run(loop, create_app(steering, outside.launchers, security, queries), listener, *beside)


def _journal(asked: Asked, now_s: float) -> JournalFiles | None:
    from planner.config import build_settings
    from planner.journal import JournalFiles
    from planner.scaling.state import initial_state

    folder = asked.kept("journal")
    if folder is None:
        return None
    state = initial_state(build_settings(asked.loaded), now_s)
    return JournalFiles(folder, asked.loaded.to_document(), asked.loaded.profile_documents(), state)
