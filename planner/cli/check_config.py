"""`planner check-config`: the effective configuration, where each value comes from, and what it can carry.

On stdout stands a configuration file that means the same, with origins and figures as comments; on stderr, warnings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import config_from_options, config_options

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.scaling.settings import PlannerSettings, ServiceSettings

_COMMENT_COLUMN = 36


@click.command("check-config")
@config_options
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="REQ/S",
              help="Also show the fleet for this many requests per second, for each service.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(rate: float | None, as_json: bool, **options: Any) -> None:
    """Check the configuration and show what it amounts to.

    Exit code 2 when it cannot be used; warnings leave it at 0.
    """
    from planner.config import build_settings
    from planner.config.advice import warnings

    loaded = config_from_options(options)
    settings = build_settings(loaded)
    doubts = {name: list(warnings(service)) for name, service in settings.services.items()}
    if as_json:
        click.echo(json.dumps(_as_json(loaded, settings, doubts, rate), indent=2))
        return
    for line in _effective(loaded):
        click.echo(line)
    for name, service in settings.services.items():
        click.echo()
        for line in _carried(service, settings.budget_gpus, rate):
            click.echo(f"# {line}")
        for doubt in doubts[name]:
            click.echo(f"warning: {_label(name)}{doubt}", err=True)


def _effective(loaded: LoadedConfig) -> Iterator[str]:
    """YAML lines; the only, undeclared service stands at the top level, as it does in a user's file."""
    from planner.config import DEFAULT_SERVICE

    document = loaded.to_document()
    services = loaded.config.services
    if list(services) != [DEFAULT_SERVICE]:
        yield from _yaml(document, (), loaded.origins)
        return
    service = document.pop("services")[DEFAULT_SERVICE]
    yield from _yaml(document, (), loaded.origins)
    yield from _yaml(service, (), {path[2:]: origin for path, origin in loaded.origins.items()})


def _yaml(document: Mapping[str, Any], at: tuple[str, ...], origins: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    indent = "  " * len(at)
    for key, value in document.items():
        path = (*at, key)
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from _yaml(value, path, origins)
        else:
            yield f"{indent}{key}: {_scalar(value)}".ljust(_COMMENT_COLUMN) + f"  # {origins[path]}"


def _scalar(value: object) -> str:
    import yaml

    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(yaml.safe_dump(value, width=sys.maxsize, default_flow_style=True)).splitlines()[0]


def _carried(service: ServiceSettings, budget_gpus: int, rate: float | None) -> Iterator[str]:
    from planner.config.advice import capacity_per_s, fleet_for

    targets = service.targets
    yield (
        f"{_label(service.name)}one replica, ttft {targets.ttft_ms:g} ms and itl {targets.itl_ms:g} ms "
        f"for {targets.objective:.4g} of the requests, isl {targets.isl_tokens:g}, osl {targets.osl_tokens:g}:"
    )
    for role in service.pools:
        yield f"  {role:<10} {capacity_per_s(service, role):8.2f} req/s"
    if rate is not None:
        fleet = fleet_for(service, rate)
        pools = " + ".join(f"{count} {role}" for role, count in fleet.replicas.items())
        over = ", which is over the budget" if fleet.gpus > budget_gpus else ""
        yield f"{rate:g} req/s: {pools} = {fleet.gpus} GPUs of {budget_gpus}{over}"


def _label(service: str) -> str:
    from planner.config import DEFAULT_SERVICE

    return "" if service == DEFAULT_SERVICE else f"{service}: "


def _as_json(
    loaded: LoadedConfig, settings: PlannerSettings, doubts: Mapping[str, list[str]], rate: float | None
) -> dict[str, Any]:
    from planner.config.advice import capacity_per_s, fleet_for

    return {
        "config": loaded.to_document(),
        "origins": {".".join(path): origin for path, origin in loaded.origins.items()},
        "services": {
            name: {
                "warnings": doubts[name],
                "one_replica_req_per_s": {role: capacity_per_s(service, role) for role in service.pools},
                "fleet": None if rate is None else asdict(fleet_for(service, rate)),
            }
            for name, service in settings.services.items()
        },
    }
