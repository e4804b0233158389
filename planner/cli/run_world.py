"""What a running planner has outside: metrics and replicas, real ones or those of a rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.cli.prometheus import Sources
    from planner.cli.run_kubernetes import Hands
    from planner.clock import WallClock
    from planner.config import LoadedConfig
    from planner.config.admission import Refused
    from planner.config.model import Service
    from planner.connectors.kubernetes.objects.services import Sightings
    from planner.connectors.types import Connector
    from planner.connectors.virtual import VirtualConnector
    from planner.hand_over import Tell
    from planner.sim.baselines.contenders import World
    from planner.sources.types import Source

ACCEPT_WITHIN_S = 300.0
"""A launcher that has not brought an order about by then has found no room; a node is added in less."""
REPORT_MAX_AGE_S = 120.0
"""A launcher that said nothing for longer is not believed any more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for."""

    loaded: LoadedConfig
    options: Mapping[str, Any]
    traces: tuple[str, ...]
    speed: float
    seed: int
    launchers: bool
    dry_run: bool
    state: Path | None
    token_file: Path | None
    hosts: tuple[str, ...]
    kubeconfig: Path | None = None
    lease: str | None = None

    def kept(self, name: str) -> Path | None:
        """A file of the state folder; None when nothing is kept."""
        return None if self.state is None else self.state / name


@dataclass(frozen=True, slots=True)
class Outside:
    """Where samples come from and plans go."""

    source: Source
    connector: Connector
    begun: Mapping[str, Service]
    """The services it began with."""
    sources: Sources | None = None
    """The source, where it is real."""
    launchers: VirtualConnector | None = None
    """The connector, where launchers poll it."""
    hands: Hands | None = None
    """What is behind the connector, where that is Kubernetes."""

    @property
    def tell(self) -> Tell:
        """Who is told of decisions."""
        from planner.hand_over import say_nothing

        return say_nothing if self.hands is None else self.hands.say

    def go_on(self, service: str) -> bool:
        """Tell the connector that people want a service to go on; whether it was held back."""
        return self.hands is not None and self.hands.connector.go_on(service)

    def prepare(self, loaded: LoadedConfig) -> Callable[[], None]:
        """What takes up another configuration when called. Raises UserError when that cannot be while running."""
        services = loaded.config.services
        commits = [] if self.sources is None else [self.sources.prepare(services)]
        if self.hands is None:
            self._refuse_new(services)
        else:
            self._refuse_other_actuators(services)
            commits.append(self.hands.prepare(loaded))

        def commit() -> None:
            for each in commits:
                each()

        return commit

    def check(self, name: str, loaded: LoadedConfig) -> None:
        """Raises UserError when the service of that name cannot be had; the others are known to be good."""
        from planner.cli.kubernetes_targets import refuse_shared
        from planner.cli.prometheus import Sources
        from planner.clock import WallClock

        services = loaded.config.services
        Sources({name: services[name]}, WallClock())
        refuse_shared(services)
        self._refuse_other_actuators(services)

    def seen(self) -> Sightings:
        """Objects that are labelled as services."""
        from planner.connectors.kubernetes.objects.services import Sightings

        return Sightings() if self.hands is None else self.hands.services.seen()

    def refuse(self, refused: Mapping[str, Refused]) -> None:
        """Tell the objects of these services why they are not taken as labelled."""
        if self.hands is not None:
            self.hands.refuse(refused)

    def _refuse_new(self, services: Mapping[str, Service]) -> None:
        from planner.errors import UserError

        if new := sorted(set(services) - set(self.begun)):
            raise UserError(
                f"services: {', '.join(new)} came while the planner runs; its connector knows those it began with, "
                "so restart it"
            )

    def _refuse_other_actuators(self, services: Mapping[str, Service]) -> None:
        """Who asks for figures is served from the start on."""
        from planner.errors import UserError

        for name, service in services.items():
            before = self.begun.get(name)
            if service.kubernetes.actuator != ("planner" if before is None else before.kubernetes.actuator):
                raise UserError(
                    f"services.{name}.kubernetes.actuator: {service.kubernetes.actuator} came while the planner runs; "
                    "restart it"
                )


def outside_of(asked: Asked, clock: WallClock) -> Outside:
    """What was asked for. Raises UserError when it makes no sense."""
    services = asked.loaded.config.services
    launchers = _launchers(asked, clock) if asked.launchers else None
    if not asked.traces:
        from planner.cli.prometheus import Sources

        sources = Sources(services, clock)
        if launchers is not None:
            return Outside(sources, launchers, services, sources, launchers)
        from planner.cli.run_kubernetes import hands

        ours = hands(asked.loaded, clock, asked.kubeconfig, asked.lease, sources.loads)
        return Outside(sources, ours.connector, services, sources, hands=ours)
    from planner.sim.embedded import EmbeddedFleet, LaunchedFleet

    world = _world(asked)
    if launchers is None:
        fleet = EmbeddedFleet(world.workloads(), clock, world.gpus, asked.seed)
        return Outside(fleet, fleet, services)
    none = {name: dict.fromkeys(service.pools, 0) for name, service in world.services.items()}
    ready_at_once = world.starting_in(0.0).workloads(none)
    launched = LaunchedFleet(EmbeddedFleet(ready_at_once, clock, world.gpus, asked.seed), launchers)
    return Outside(launched, launched, services, launchers=launchers)


def _world(asked: Asked) -> World:
    from planner.cli.simulate_world import build_world, load_traces, trace_files
    from planner.sim.baselines.contenders import Variation

    files = trace_files(asked.traces, list(asked.loaded.config.services))
    traces = load_traces(files, 1.0, asked.seed)
    return build_world(asked.loaded, traces, Variation(seed=asked.seed))


def _launchers(asked: Asked, clock: WallClock) -> VirtualConnector:
    from planner.config import build_settings
    from planner.connectors.virtual import VirtualConnector

    return VirtualConnector(
        {name: dict.fromkeys(service.pools, 0) for name, service in build_settings(asked.loaded).services.items()},
        clock,
        state=asked.kept("orders.json"),
        accept_within_s=ACCEPT_WITHIN_S,
        report_max_age_s=REPORT_MAX_AGE_S,
    )
