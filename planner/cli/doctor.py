"""`planner doctor`: what a planner with this configuration would see, before anything scales."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import config_from_options, config_options

if TYPE_CHECKING:
    from planner.cli.doctor_kubernetes import ClusterAsked
    from planner.config.metrics import Prometheus
    from planner.config.model import Service
    from planner.doctor import Evidence, Wanted
    from planner.doctor.finding import Finding
    from planner.doctor.report import Section
    from planner.scaling.types import Role


@click.command("doctor")
@config_options
@click.option("--service", "name", metavar="NAME", help="Check this service alone.")
@click.option("--only", type=click.Choice(["prometheus", "kubernetes"]), help="Leave the other out. Default: both.")
@click.option("--ready", metavar="POOL=N,...", help="Ready replicas now, such as prefill=3,decode=2; for one service.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="How to reach the cluster. Default: as kubectl does.",
)
@click.option("--lease", metavar="NAMESPACE/NAME", help="The Lease that planner run is given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    name: str | None, only: str | None, ready: str | None, kubeconfig: Path | None, lease: str | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Check the configuration against its Prometheus and its cluster: what is found, and what to mend.

    It only asks. Exit code 0 when all is good or only worth a note, 1 when the planner would hold, never lower, or
    count wrongly.
    """
    import asyncio

    from planner.cli import EXIT_CHECK_FAILED
    from planner.cli.doctor_discovered import discovered
    from planner.cli.doctor_kubernetes import cluster_asked
    from planner.cli.kubernetes_targets import has_targets
    from planner.doctor import report
    from planner.errors import UserError

    loaded = config_from_options(options)
    findings: tuple[Finding, ...] = ()
    if loaded.config.discover.namespaces and only != "prometheus":
        found = asyncio.run(discovered(loaded, kubeconfig))
        loaded, findings = found.loaded, found.findings
    services = _chosen(loaded.config.services, name)
    cluster = None
    if only != "prometheus" and has_targets(services):
        cluster = cluster_asked(loaded, services, kubeconfig, lease)
    if only == "kubernetes" and cluster is None and not findings:
        raise UserError("--only: 'kubernetes' needs targets; give them, such as kubernetes.decode: Deployment/vllm")
    sections = asyncio.run(_sections({} if only == "kubernetes" else services, _ready(ready, services), cluster))
    if findings:
        sections.append(report.Section("kubernetes", "(services by label)", (), findings))
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
        raise UserError(f"--service: {only!r} is not configured; there are {', '.join(services) or 'none'}")
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


async def _sections(
    services: Mapping[str, Service], ready: Mapping[Role, int] | None, cluster: ClusterAsked | None
) -> list[Section]:
    """One for each Prometheus, asked one after the other, and one for the cluster.

    The cluster is asked first, for it knows who is Ready, and judged last, by what the services were seen to do.
    """
    from planner.cli.prometheus import asked, sharing
    from planner.doctor import Wanted

    shared = sharing(services).values()
    examined = None if cluster is None else await cluster.examined()
    counted = {} if examined is None else examined.ready

    def wanted(name: str, service: Service) -> Wanted:
        known = counted.get(name) if ready is None else ready
        return Wanted(asked(service), service.observe.max_age_s, service.correction.enabled, known)

    each_wanted = [
        (section, {name: wanted(name, service) for name, service in sharers.items()}) for section, sharers in shared
    ]
    told = [await _section(section, of_them) for section, of_them in each_wanted]
    sections = [section for section, _ in told]
    if examined is not None:
        seen = {one.name: one.samples for _, evidence in told for one in evidence.services}
        sections.append(examined.section(seen))
    return sections


async def _section(section: Prometheus, wanted: Mapping[str, Wanted]) -> tuple[Section, Evidence]:
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
    return Told("prometheus", section.url, tuple(wanted), judge(evidence)), evidence
