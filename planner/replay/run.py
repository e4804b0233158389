"""The replay itself: a fold of the real tick over a recording's windows.

Time is the recording's, in seconds from its first row. The planner starts at the slice's start and knows nothing of
before, as after a restart. A recorded fleet does not follow the orders, so each is the next step from where that fleet
stood; an assumed one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from planner.replay.accuracy import Accuracy, Forecasts
from planner.replay.assumptions import Assumptions
from planner.replay.fleet import AssumedPool
from planner.scaling.decision import PoolDecision, TickResult
from planner.scaling.reasons import Code, Reason
from planner.scaling.settings import PlannerSettings, ServiceSettings
from planner.scaling.tick import PlannerState, initial_state, tick
from planner.scaling.types import Role, Sample, ServiceSamples
from planner.sources.recorded import Recording
from planner.sources.windows import windows

Record = Callable[[PlannerState, Mapping[str, ServiceSamples], TickResult], None]
"""Called after every tick with the state before it, what it saw, and what it decided."""

_MISSING = {Code.NO_DEMAND, Code.NO_REPLICA_COUNTS}


@dataclass(frozen=True, slots=True)
class TickRow:
    """One tick."""

    at_s: float
    rate_per_s: float | None
    pools: Mapping[Role, PoolDecision]
    reasons: tuple[Reason, ...]

    def has(self, *codes: Code) -> bool:
        """Whether one of these reasons was given."""
        return any(reason.code in codes for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Change:
    """A new order for one pool."""

    at_s: float
    rate_per_s: float | None
    role: Role
    before: int
    after: int
    reasons: tuple[Reason, ...]
    """The service's and this pool's."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What the planner would have made of a recording."""

    interval_s: float
    rows: tuple[TickRow, ...]
    changes: tuple[Change, ...]
    """Orders that differ from what stood and from the tick before's order."""
    gpu_hours: float
    """Of the orders in force, from the slice's start to its end."""
    peak_gpus: int
    recorded_gpu_hours: float | None
    """Of the replicas that were ordered in the recording, while they are known; None where no fleet is recorded."""
    accuracy: Accuracy | None
    """None when no forecast could be compared with what came."""

    @property
    def held(self) -> int:
        """Ticks at which a pool was left alone because load or counts were missing."""
        return sum(row.has(*_MISSING) for row in self.rows)

    @property
    def doubted(self) -> int:
        """Ticks at which a pool was not lowered because something was missing or not believed."""
        return sum(row.has(Code.DOUBT) for row in self.rows)


def replay(
    recording: Recording,
    settings: PlannerSettings,
    assumptions: Assumptions,
    *,
    from_s: float = 0.0,
    to_s: float = float("inf"),
    record: Record | None = None,
    on_tick: Callable[[float], None] | None = None,
) -> Replay:
    """Run the tick over the windows between `from_s` and `to_s`; `settings` hold one service.

    Raises RecordingError when the slice holds no whole window, and UserError as `tick` does.
    """
    ((name, service),) = settings.services.items()
    assumed = {role: AssumedPool(service.pools[role].min_replicas) for role in assumptions.assumed}
    recorded = [role for role in service.pools if role not in assumed]
    state: PlannerState | None = None
    rows: list[TickRow] = []
    forecasts = Forecasts(service.demand.quantile, assumptions.interval_s)
    for window in windows(recording, assumptions.interval_s, from_s, to_s):
        now_s = window.end_s
        before = state if state is not None else initial_state(settings, window.start_s)
        assumed = {role: pool.at(now_s) for role, pool in assumed.items()}
        metrics = {role: pool.samples(now_s) for role, pool in assumed.items()}
        samples = {name: assumptions.samples(window, metrics, recorded)}
        state, result = tick(before, samples, settings, now_s)
        if record is not None:
            record(before, samples, result)
        decision = result.decisions[name]
        assumed = {
            role: pool.ordered(decision.plan[role], now_s, service.startup_s) if role in decision.plan else pool
            for role, pool in assumed.items()
        }
        rate = samples[name].rate_per_s
        rate_per_s = rate.value if isinstance(rate, Sample) else None
        rows.append(TickRow(now_s, rate_per_s, decision.pools, decision.reasons))
        forecasts.add(decision.forecast, rate_per_s)
        if on_tick is not None:
            on_tick(now_s)
    gpu_hours, peak_gpus = _cost(rows, service, assumptions.interval_s)
    return Replay(
        interval_s=assumptions.interval_s,
        rows=tuple(rows),
        changes=tuple(_changes(rows)),
        gpu_hours=gpu_hours,
        peak_gpus=peak_gpus,
        recorded_gpu_hours=_recorded_gpu_hours(rows, recorded, service, assumptions.interval_s),
        accuracy=forecasts.accuracy(),
    )


def _changes(rows: Iterable[TickRow]) -> Iterable[Change]:
    standing: dict[Role, int] = {}
    for row in rows:
        for role, pool in row.pools.items():
            if pool.current is None or pool.replicas is None:
                continue
            if not pool.changes:
                standing.pop(role, None)
            elif standing.get(role) != pool.replicas:
                standing[role] = pool.replicas
                reasons = tuple(reason for reason in row.reasons if reason.values.get("role", role) == role)
                yield Change(row.at_s, row.rate_per_s, role, pool.current, pool.replicas, reasons)


def _cost(rows: Iterable[TickRow], service: ServiceSettings, interval_s: float) -> tuple[float, int]:
    """GPU-hours and peak. Before a pool's first tick that tells its replicas, it is taken to have its minimum."""
    in_force = {role: pool.min_replicas for role, pool in service.pools.items()}
    gpu_s, peak = 0.0, 0
    for index, row in enumerate(rows):
        if index == 0:
            in_force |= {role: pool.current for role, pool in row.pools.items() if pool.current is not None}
        gpu_s += _gpus(in_force, service) * interval_s
        in_force |= {role: pool.replicas for role, pool in row.pools.items() if pool.replicas is not None}
        peak = max(peak, _gpus(in_force, service))
    return gpu_s / 3600, peak


def _recorded_gpu_hours(
    rows: Iterable[TickRow], recorded: list[Role], service: ServiceSettings, interval_s: float
) -> float | None:
    if not recorded:
        return None
    gpu_s = 0.0
    for row in rows:
        known = {role: current for role in recorded if (current := row.pools[role].current) is not None}
        gpu_s += _gpus(known, service) * interval_s
    return gpu_s / 3600


def _gpus(replicas: Mapping[Role, int], service: ServiceSettings) -> int:
    return sum(count * service.pools[role].gpus_per_replica for role, count in replicas.items())
