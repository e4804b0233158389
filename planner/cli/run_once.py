"""`planner run --once --dry-run`: one decision of every service on the live system, explained."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from planner.config import LoadedConfig


def run_once(loaded: LoadedConfig) -> None:
    """Print it. Exits with 1 when a service cannot be decided on, as its load or its replicas are not told."""
    from planner.cli import EXIT_CHECK_FAILED
    from planner.cli.prometheus import Sources
    from planner.clock import WallClock
    from planner.config import build_settings
    from planner.explain import explain
    from planner.once import Once, once

    clock = WallClock()
    source = Sources(loaded.config.services, clock)

    async def asked() -> Once:
        try:
            return await once(build_settings(loaded), source, clock)
        finally:
            await source.close()

    seen = asyncio.run(asked())
    for name, decision in seen.result.decisions.items():
        click.echo(explain(decision, seen.result.budget))
        click.echo("\nstands on")
        click.echo(f"  {seen.past[name]} past windows, and the replicas that report, taken for the whole fleet")
        click.echo()
    for remark in seen.remarks:
        click.echo(f"note: {remark}", err=True)
    click.echo("nothing was changed")
    if not seen.seen:
        raise SystemExit(EXIT_CHECK_FAILED)
