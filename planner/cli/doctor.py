"""`planner doctor`: what a planner with this configuration would see, before anything scales."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import config_from_options, config_options

if TYPE_CHECKING:
    from planner.config.metrics import Prometheus
    from planner.config.model import Service
    from planner.doctor import Wanted
    from planner.doctor.report import Section
    from planner.scaling.types import Role


@click.command("doctor")
@config_options
@click.option("--service", "only", metavar="NAME", help="Check this service alone.")
@click.option("--ready", metavar="POOL=N,...", help="Ready replicas now, such as prefill=3,decode=2; for one service.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(only: str | None, ready: str | None, as_json: bool, **options: Any) -> None:
    """Check the configuration against its Prometheus: what is found, and what to mend.

    It only asks. Exit code 0 when all is good or only worth a note, 1 when the planner would hold, never lower, or
    count wrongly.
    """
    import asyncio

    from planner.cli import EXIT_CHECK_FAILED
    from planner.doctor import report

    services = _chosen(config_from_options(options).config.services, only)
    sections = asyncio.run(_sections(services, _ready(ready, services)))
    if as_json:
        click.echo(json.dumps(report.as_json(sections), indent=2))
    else:
        for line in report.as_lines(sections):
            click.echo(line)
    if not report.is_good(sections):
        raise SystemExit(EXIT_CHECK_FAILED)


def _chosen(services: Mapping[str, Service], only: str | None) -> Mapping[str, Service]:
    from planner.errors import UserError

    if only is None:
        return services
    if only not in services:
        raise UserError(f"--service: {only!r} is not configured; there are {', '.join(services)}")
    return {only: services[only]}


def _ready(text: str | None, services: Mapping[str, Service]) -> Mapping[Role, int] | None:
    from planner.errors import UserError
    from planner.scaling.types import Role

    if text is None:
        return None
    if len(services) > 1:
        raise UserError(f"--ready: {text!r} is of one service, and there are {', '.join(services)}; add --service")
    pools = next(iter(services.values())).pools
    pairs = [pair.partition("=") for pair in text.split(",")]
    counts = {pool.strip(): count.strip() for pool, _, count in pairs}
    if sorted(counts) != sorted(pools) or len(pairs) != len(pools) or not all(map(str.isdecimal, counts.values())):
        raise UserError(f"--ready: {text!r} must give every pool once; write {','.join(f'{pool}=1' for pool in pools)}")
    return {Role(pool): int(count) for pool, count in counts.items()}


async def _sections(services: Mapping[str, Service], ready: Mapping[Role, int] | None) -> list[Section]:
    """One for each Prometheus, asked one after the other."""
    from planner.cli.prometheus import asked, sharing
    from planner.doctor import Wanted

    def wanted(service: Service) -> Wanted:
        return Wanted(asked(service), service.observe.max_age_s, service.correction.enabled, ready)

    each_wanted = [
        (section, {name: wanted(service) for name, service in sharers.items()})
        for section, sharers in sharing(services).values()
    ]
    return [await _section(section, of_them) for section, of_them in each_wanted]


async def _section(section: Prometheus, wanted: Mapping[str, Wanted]) -> Section:
    from pathlib import Path

    from planner.cli.prometheus import settings as reached
    from planner.clock import WallClock
    from planner.doctor import Setup, examine, judge
    from planner.doctor.report import Section as Told
    from planner.sources.prometheus.client import PrometheusClient
    from planner.sources.prometheus.map_files import load_maps

    assert section.url is not None
    settings = reached(section)
    maps = load_maps([Path(file) for file in section.maps])
    setup = Setup(maps, section.window_s, section.timeout_s, tuple(section.pod_labels))
    evidence = await examine(PrometheusClient(settings), setup, wanted, WallClock())
    return Told(section.url, tuple(wanted), judge(evidence))
