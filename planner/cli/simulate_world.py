"""From a configuration and trace files to the world that policies are played in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from planner.errors import UserError

if TYPE_CHECKING:
    from planner.config import LoadedConfig
    from planner.scaling.settings import ServiceSettings
    from planner.sim.baselines.contenders import Variation, World
    from planner.sim.settings import Conditions
    from planner.sim.traces import Trace

DEMO = "demo"


def trace_files(given: Sequence[str], services: Sequence[str]) -> Mapping[str, str]:
    """Which file each service's requests come from; `given` as --trace was.

    Raises UserError unless every service has one.
    """
    if not services:
        raise UserError("services: there is none yet, only a place to discover some; give one to play requests to")
    if len(services) == 1:
        if len(given) > 1:
            raise UserError(f"--trace: {', '.join(given)} are {len(given)} traces for one service; give one")
        return {services[0]: given[0] if given else DEMO}
    files: dict[str, str] = {}
    for text in given:
        name, separator, file = text.partition("=")
        if not separator or name not in services:
            raise UserError(
                f"--trace: {text!r} must name a service and its file, such as {services[0]}=load.csv; "
                f"the services are {', '.join(services)}"
            )
        if name in files:
            raise UserError(f"--trace: {name} has two traces, {files[name]} and {file}; give one")
        files[name] = file
    missing = [name for name in services if name not in files]
    if missing:
        raise UserError(f"--trace: {', '.join(missing)} has none; add --trace {missing[0]}=FILE, or {missing[0]}=demo")
    return files


def load_traces(
    files: Mapping[str, str], scale: float, seed: int, *, start_s: float = 0.0, end_s: float = math.inf
) -> Mapping[str, Trace]:
    """Each service's trace; services that share a file get requests of their own where they are drawn."""
    from planner.sim.traces import load_trace

    alone = len(files) == 1
    return {
        name: load_trace(file, scale=scale, seed=seed if alone else f"{seed}:{name}", start_s=start_s, end_s=end_s)
        for name, file in files.items()
    }


def build_world(loaded: LoadedConfig, traces: Mapping[str, Trace], variation: Variation) -> World:
    """What the planner is told, the load, and how the fleet really is. Raises UserError when they cannot be."""
    from planner.config import build_settings
    from planner.sim.baselines.contenders import World

    settings, gpus = build_settings(loaded), loaded.config.simulation.gpus
    return World(
        settings=settings,
        requests=traces,
        conditions={name: _conditions(loaded, service) for name, service in settings.services.items()},
        gpus=settings.budget_gpus if gpus is None else gpus,
        variation=variation,
    )


def _conditions(loaded: LoadedConfig, service: ServiceSettings) -> Conditions:
    from planner.sim.engine import Discipline
    from planner.sim.lives import Lives
    from planner.sim.metrics import Scraping
    from planner.sim.settings import Conditions

    truth = loaded.config.simulation
    return Conditions(
        lives=Lives(
            startup_s=service.startup_s if truth.startup_s is None else truth.startup_s,
            startup_cv=truth.startup_cv,
            slow_start_share=truth.slow_start_share,
            slow_start_factor=truth.slow_start_factor,
            failed_start_share=truth.failed_start_share,
            crash_every_s=math.inf if truth.crash_every_s is None else truth.crash_every_s,
            grace_s=math.inf if truth.grace_s is None else truth.grace_s,
        ),
        routing=truth.routing or service.sizing.routing,
        decode_routing=truth.decode_routing,
        prefill=Discipline(truth.prefill.step_tokens, truth.prefill.places, truth.prefill.holds_first_tokens),
        batching=Discipline(truth.aggregated.step_tokens),
        first_token_from=truth.first_token_from,
        prefix_hit_rate=truth.prefix_hit_rate,
        kv_transfer_tokens_per_s=truth.kv_transfer_tokens_per_s,
        speeds=tuple(truth.speeds),
        scraping=Scraping(truth.scrape_s, tuple((start_s, end_s) for start_s, end_s in truth.outages)),
    )
