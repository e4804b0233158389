"""`planner demo`: the live loop on a simulated fleet, forty minutes in one, with its page to watch."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.listen import address, listen_option

if TYPE_CHECKING:
    from socket import socket

    from planner.sim.baselines.contenders import World
    from planner.sim.run import Result
    from planner.sim.scenarios import Scenario

_SPEED = 40.0
_BASELINES = "static:peak,hpa:queue,clairvoyant"


@click.command("demo")
@click.option(
    "--scenario",
    "name",
    default="ramp",
    show_default=True,
    metavar="NAME",
    help="ramp, spike, night, metrics-lost, gpus-exhausted or slow-starts.",
)
@click.option("--speed", default=_SPEED, show_default=True, metavar="X", help="Seconds of the fleet's in one of yours.")
@click.option("--serve", is_flag=True, help="Keep the page when the story is over, until interrupted.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same requests.")
@listen_option("127.0.0.1:8080")
def command(name: str, speed: float, serve: bool, seed: int, listen: str) -> None:  # fmt: skip
    """Watch the planner scale two services through forty minutes in one, and see what it kept and cost.

    Everything runs in this process: a simulated fleet, the same loop, API and page that run against a real one.
    """
    import logging
    import sys

    from planner.errors import UserError
    from planner.live import listening
    from planner.logs import configure
    from planner.sim.scenarios import scenario

    if not 0 < speed <= 1000:
        raise UserError(f"--speed: {speed!r} must be above 0 and at most 1000")
    story = scenario(name)
    listener = listening(*address(listen))
    host, port = listener.getsockname()[:2]
    configure(sys.stdout, plain=True)
    # What is done is a story; every decision to leave things alone is not.
    logging.getLogger("planner.decisions").setLevel(logging.WARNING)
    click.echo(f"{name}: {story.sentence}")
    click.echo(f"watch it at http://{host}:{port}/ and one service at http://{host}:{port}/#/service/chat")
    with tempfile.TemporaryDirectory(prefix="sla-planner-") as folder:
        token = Path(folder) / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_urlsafe(16), encoding="utf-8")
        click.echo(f"the page's orders take the token {token.read_text(encoding='utf-8')}")
        demo = asyncio.run(_play(story, speed, serve, seed, listener, token))
    if demo is not None:
        click.echo(_summary(demo))


@dataclass(frozen=True, slots=True)
class _Played:
    world: World
    result: Result


async def _play(story: Scenario, speed: float, serve: bool, seed: int, listener: socket, token: Path) -> _Played | None:
    """The story, played; None when it was interrupted before its end."""
    from planner.api import Security, create_app
    from planner.clock import WallClock
    from planner.live import run
    from planner.loop import ControlLoop
    from planner.sim.embedded import EmbeddedFleet
    from planner.sim.scenarios import MINUTES
    from planner.steering import Steering

    world = _world(story, seed)
    clock = WallClock(speed)
    fleet = EmbeddedFleet(world.workloads(), clock, world.gpus, seed)
    loop = ControlLoop(world.settings, fleet, fleet, clock)
    app = create_app(Steering(loop.desk, clock, loop.scribe), None, Security(token))
    finished: list[Result] = []

    async def end() -> None:
        await clock.sleep_until(loop.desk.board.started_s + MINUTES * 60)
        finished.append(fleet.result(world.interval_s))
        if serve:
            click.echo("the story is over; the page stays until you press Ctrl-C")
            await asyncio.Event().wait()
        loop.stop()

    await run(loop, app, listener, end)
    return _Played(world, finished[0]) if finished else None


def _world(story: Scenario, seed: int) -> World:
    from importlib.resources import as_file, files

    from planner.config import build_settings, load_config
    from planner.sim.baselines.contenders import Variation, World
    from planner.sim.settings import conditions_as_configured

    with as_file(files("planner.sim") / "live_demo.yaml") as path:
        settings = build_settings(load_config(path, {}, {}))
    lengths = {
        name: (round(service.targets.isl_tokens), round(service.targets.osl_tokens))
        for name, service in settings.services.items()
    }
    return World(
        settings=settings,
        requests=story.requests(lengths, seed),
        conditions={
            name: story.troubled(conditions_as_configured(service)) for name, service in settings.services.items()
        },
        gpus=settings.budget_gpus if story.gpus is None else story.gpus,
        variation=Variation(seed=seed),
    )


def _summary(demo: _Played) -> str:
    """What was kept and what it cost, beside others on the same requests."""
    from planner.sim.baselines.contenders import contenders
    from planner.sim.compare import Played, compare
    from planner.sim.report import table

    actions = sum(len(service.actions) for service in demo.result.services.values())
    lines = [f"\n{actions} scale actions. The same requests, with other ways to scale them:"]
    live = Played("planner, live", demo.world.variation, demo.result, {})
    lines.append(table([live, *compare(contenders(_BASELINES, demo.world))]))
    lines.append("static:peak was sized knowing the load beforehand; the clairvoyant knows it all the way.")
    return "\n".join(lines)
