"""The services that a cluster's labels declare, as `planner doctor` sees them: found once, judged as by a planner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planner.config.discover import DEFAULT_KINDS

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.connectors.kubernetes.objects.services import Sightings
    from planner.connectors.kubernetes.watches.services import ServiceWatches
    from planner.doctor.finding import Finding

LISTED_WITHIN_S = 10.0
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Discovered:
    """The configuration with what was found, and how that went."""

    loaded: LoadedConfig
    findings: tuple[Finding, ...]


async def discovered(loaded: LoadedConfig, kubeconfig: Path | None) -> Discovered:
    """Look for labelled objects where `loaded` says so."""
    from planner.config.admission import admit
    from planner.doctor.finding import Finding, Level, parted

    sightings, failures = await _seen(loaded, kubeconfig)
    admitted = admit(loaded, sightings, {}, lambda name, with_it: None)
    findings = [Finding(None, "discovery", Level.PROBLEM, *parted(failure)) for failure in failures]
    for name, refused in sorted(admitted.refused.items()):
        findings += [
            Finding(None, "discovery", Level.PROBLEM, f"{name} is not taken as labelled: {text}", remedy)
            for text, remedy in map(parted, refused.mistakes)
        ]
    names, where = sorted(admitted.forms), ", ".join(loaded.config.discover.namespaces)
    text = f"{len(names)} service{'s'[: len(names) != 1]} found by label in {where}" + (
        f": {', '.join(names)}" if names else ""
    )
    if names or not findings:
        findings.append(Finding(None, "discovery", Level.GOOD, text))
    return Discovered(admitted.loaded, tuple(findings))


async def _seen(loaded: LoadedConfig, kubeconfig: Path | None) -> tuple[Sightings, list[str]]:
    import asyncio
    from contextlib import suppress
    from random import Random

    from planner.clock import WallClock
    from planner.connectors.kubernetes.api.access import Access
    from planner.connectors.kubernetes.api.client import Api
    from planner.connectors.kubernetes.watches.services import ServiceWatches

    api, discover = Api(Access(kubeconfig)), loaded.config.discover
    watches = ServiceWatches(api, WallClock(), Random(), may_lack=DEFAULT_KINDS)
    watches.want(discover.namespaces, discover.kinds)
    running = asyncio.create_task(watches.run())
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(_all_listed(watches), LISTED_WITHIN_S)
        return watches.seen(), [f"{what}: {why}" for what, why in watches.failures().items()]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await api.close()


async def _all_listed(watches: ServiceWatches) -> None:
    """Return when everything is listed, or known to fail."""
    import asyncio

    while len(watches.seen().blind) > len(watches.failures()):
        await asyncio.sleep(LOOK_S)
