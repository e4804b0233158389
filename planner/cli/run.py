"""`planner run`: the planner itself."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.external_scaler import address_of, beside_the_loop, external_scaler_options, external_services
from planner.cli.listen import address, listen_option
from planner.cli.options import config_from_options, config_options
from planner.cli.run_world import Asked, outside_of

if TYPE_CHECKING:
    from socket import socket

    from planner.config import LoadedConfig
    from planner.controls import Controls
    from planner.external_scaler import Address
    from planner.journal import JournalFiles

_PATH = click.Path(path_type=Path)
_BY_FLAG = "--dry-run"


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
@external_scaler_options
@listen_option("127.0.0.1:8080")
def command(
    traces: tuple[str, ...], speed: float, seed: int, launchers: bool, dry_run: bool, once: bool,
    state: Path | None, token_file: Path | None, kubeconfig: Path | None, lease: str | None, hosts: tuple[str, ...],
    scaler_at: str | None, scaler_cert: Path | None, scaler_key: Path | None, scaler_ca: Path | None,
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
    if loaded.config.discover.namespaces and (traces or launchers):
        raise UserError(
            "discover.namespaces: services are found among objects of a cluster; without one add "
            "--set discover.namespaces=[]"
        )
    if once:
        if not dry_run or traces or launchers:
            raise UserError("--once: goes with --dry-run alone; it looks at the live system and changes nothing")
        if not loaded.config.services:
            raise UserError("--once: the configuration has no service, and discovered ones are a running planner's")
        run_once(loaded)
        return
    if not traces:
        _refuse_what_cannot_run(loaded, launchers, speed)
    if not 0 < speed <= 1000:
        raise UserError(f"--speed: {speed!r} must be above 0 and at most 1000")
    if launchers and token_file is None:
        raise UserError("--token-file: is missing; launchers show that they may take orders by the token in it")
    if scaler_at is not None and (traces or launchers):
        raise UserError("--external-scaler: goes with objects of a cluster alone; leave it out")
    scaler = address_of(scaler_at, scaler_cert, scaler_key, scaler_ca, external_services(loaded.config.services))
    configure(sys.stderr)
    listener = listening(*address(listen))
    asked = Asked(loaded, options, traces, speed, seed, launchers, dry_run, state, token_file, hosts, kubeconfig, lease)
    asyncio.run(_run(asked, listener, scaler))


def _refuse_what_cannot_run(loaded: LoadedConfig, launchers: bool, speed: float) -> None:
    from planner.cli.kubernetes_targets import has_targets
    from planner.config.tree import plain
    from planner.errors import UserError

    discovers = bool(loaded.config.discover.namespaces)
    urls = [service.prometheus.url for service in loaded.config.services.values()]
    inherited = plain(loaded.top).get("prometheus") if discovers else None
    if not any(urls) and not (isinstance(inherited, dict) and inherited.get("url")):
        raise UserError("prometheus.url: is not set; give it, or rehearse on a simulated fleet with --rehearse demo")
    if launchers == (discovers or has_targets(loaded.config.services)):
        raise UserError(
            "--launchers, kubernetes: give one of them, objects of a cluster such as "
            "kubernetes.prefill: Deployment/vllm-prefill, or launchers of yours that start the replicas"
        )
    if speed != 1:
        raise UserError(f"--speed: {speed!r} is for a rehearsal; real time passes at its own")


async def _run(asked: Asked, listener: socket, scaler: Address | None) -> None:
    import logging
    from functools import partial

    from planner.api import Security, create_app
    from planner.clock import WallClock
    from planner.config import build_settings
    from planner.controls_file import write_controls
    from planner.live import run
    from planner.loop import ControlLoop
    from planner.reload import Reload
    from planner.steering import Steering

    log = logging.getLogger("planner")
    clock = WallClock(asked.speed)
    journal = _journal(asked, clock.now_s())
    controls_file = asked.kept("controls.json")
    controls = _controls(asked, controls_file)
    settings = build_settings(asked.loaded)
    outside = outside_of(asked, clock)
    loop = ControlLoop(
        settings, outside.source, outside.connector, clock,
        journal=journal, controls=controls, historian=outside.sources, tell=outside.tell,
        idle_interval_s=asked.loaded.interval_s,
    )  # fmt: skip

    def keep(controls: Controls) -> None:
        if controls_file is not None:
            write_controls(controls_file, loop.orders(controls))

    steering = Steering(loop.desk, clock, loop.scribe, keep, outside.go_on)
    if asked.dry_run and controls.dry_run is None:
        await steering.pause(None, _BY_FLAG, "started so")
    security = Security(asked.token_file, asked.hosts)
    for warning in security.warnings():
        log.warning("%s", warning)
    host, port = listener.getsockname()[:2]
    log.info("serving http://%s:%s/", host, port)
    file = asked.options["config_file"] or os.environ.get("PLANNER_CONFIG")
    beside = []
    if outside.hands is not None:
        external = external_services(asked.loaded.config.services)
        beside += [*outside.hands.beside(loop, clock), *beside_the_loop(scaler, external, loop, outside.hands, clock)]
    if file is not None or asked.loaded.config.discover.namespaces:
        path = None if file is None else Path(file)
        load = partial(config_from_options, asked.options)
        beside.append(Reload(path, load, asked.loaded, loop, clock, outside).watch)
    queries = None if outside.sources is None else outside.sources.queries
    grip = None if outside.hands is None else outside.hands.grip
    await run(loop, create_app(steering, outside.launchers, security, queries, grip), listener, *beside)


def _controls(asked: Asked, file: Path | None) -> Controls:
    """What people ordered before, but for a dry run that the flag ordered, which goes with it."""
    from dataclasses import replace

    from planner.controls import Controls
    from planner.controls_file import read_controls

    controls = Controls() if file is None else read_controls(file)
    by_flag = controls.dry_run is not None and controls.dry_run.by == _BY_FLAG
    return replace(controls, dry_run=None) if by_flag and not asked.dry_run else controls


def _journal(asked: Asked, now_s: float) -> JournalFiles | None:
    from planner.config import build_settings
    from planner.journal import JournalFiles
    from planner.scaling.state import initial_state

    folder = asked.kept("journal")
    if folder is None:
        return None
    state = initial_state(build_settings(asked.loaded), now_s)
    return JournalFiles(folder, asked.loaded.to_document(), asked.loaded.profile_documents(), state)
