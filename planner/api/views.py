"""The planner's values as the API's: `schemas` says what each means."""

from __future__ import annotations

from planner import __version__
from planner.api import schemas
from planner.api.facts import Facts
from planner.api.health import health
from planner.api.views_decision import decision_view
from planner.board import Board, Line, Point, PoolPoint
from planner.controls import Hold, Pause
from planner.scaling.cap import Budget
from planner.scaling.reading import Missing, Reading
from planner.scaling.types import PoolObservation
from planner.slo.targets import Targets

# --- one service ------------------------------------------------------------------------------------------------


def service_view(facts: Facts) -> schemas.ServiceStatus:
    """A service, wholly."""
    return schemas.ServiceStatus(
        name=facts.name,
        health=health(facts),
        targets=_targets(facts.settings.targets),
        bounds={
            role: schemas.PoolBounds(
                min_replicas=pool.min_replicas,
                max_replicas=pool.max_replicas,
                gpus_per_replica=pool.gpus_per_replica,
            )
            for role, pool in facts.settings.pools.items()
        },
        good_share=None if facts.point is None else facts.point.good_share,
        decision=None if facts.line is None else decision_view(facts.line),
        pause=None if facts.pause is None else _pause(facts.pause),
        hold=None if facts.hold is None else _hold(facts.hold),
        trouble=list(facts.trouble),
    )


def row_view(facts: Facts, changed: Line | None) -> schemas.OverviewRow:
    """A service in short; `changed` is its last decision that ordered something."""
    how, targets = health(facts), facts.settings.targets
    seen = None if facts.line is None else facts.line.decision.observation
    return schemas.OverviewRow(
        name=facts.name,
        health=how.state,
        sentence=how.sentence,
        rate_per_s=_figure(None if seen is None else seen.rate_per_s),
        ttft_ms=_figure(None if seen is None else seen.ttft_s, 1e3),
        ttft_target_ms=targets.ttft_ms,
        itl_ms=_figure(None if seen is None else seen.itl_s, 1e3),
        itl_target_ms=targets.itl_ms,
        good_share=None if facts.point is None else facts.point.good_share,
        objective=targets.objective,
        gpus=_gpus(facts),
        pools={role: _counts(None if seen is None else seen.pools.get(role)) for role in facts.settings.pools},
        changed=None if changed is None else _last_change(changed),
        paused=facts.pause is not None,
        held=facts.hold is not None,
    )


def _figure(reading: Reading[float] | None, scale: float = 1.0) -> schemas.Figure:
    if reading is None or isinstance(reading, Missing):
        return schemas.Figure(status="missing", value=None)
    return schemas.Figure(status=reading.status, value=reading.value * scale)


def _counts(pool: PoolObservation | None) -> schemas.Counts:
    if pool is None or isinstance(pool.replicas, Missing):
        return schemas.Counts(wanted=None, ready=None, starting=None, pending=None)
    counts = pool.replicas.value
    return schemas.Counts(wanted=counts.wanted, ready=counts.ready, starting=counts.starting, pending=counts.pending)


def _gpus(facts: Facts) -> int | None:
    if facts.line is None:
        return None
    held = 0
    for role, pool in facts.line.decision.observation.pools.items():
        if role not in facts.settings.pools or isinstance(pool.replicas, Missing):
            return None
        counts = pool.replicas.value
        # Replicas that no GPU was found for hold none.
        held += (counts.ready + counts.starting + counts.draining) * facts.settings.pools[role].gpus_per_replica
    return held


def _last_change(line: Line) -> schemas.LastChange:
    """What was changed, then why: the first reason is the load it was sized for."""
    decision = line.decision
    moves = [f"{role} {pool.current} -> {pool.replicas}" for role, pool in decision.pools.items() if pool.changes]
    text = "; ".join([", ".join(moves), *(reason.text for reason in decision.reasons[:1])])
    return schemas.LastChange(tick=line.tick, at_s=decision.at_s, text=text)


def _targets(targets: Targets) -> schemas.Targets:
    return schemas.Targets(
        ttft_ms=targets.ttft_ms,
        itl_ms=targets.itl_ms,
        objective=targets.objective,
        isl_tokens=targets.isl_tokens,
        osl_tokens=targets.osl_tokens,
    )


def series_view(service: str, targets: Targets, points: tuple[Point, ...]) -> schemas.Series:
    """The points as columns."""
    roles = {role: None for point in points for role in point.pools}
    unknown = PoolPoint(None, None, None, None)
    pools = {role: [point.pools.get(role, unknown) for point in points] for role in roles}
    return schemas.Series(
        service=service,
        targets=_targets(targets),
        at_s=[point.at_s for point in points],
        rate_per_s=[point.rate_per_s for point in points],
        ttft_s=[point.ttft_s for point in points],
        itl_s=[point.itl_s for point in points],
        good_share=[point.good_share for point in points],
        forecast=schemas.ForecastColumns(
            at_s=[point.forecast_at_s for point in points],
            point=[point.forecast_point for point in points],
            low=[point.forecast_low for point in points],
            high=[point.forecast_high for point in points],
        ),
        pools={
            role: schemas.CountColumns(
                wanted=[pool.wanted for pool in column],
                ready=[pool.ready for pool in column],
                starting=[pool.starting for pool in column],
                pending=[pool.pending for pool in column],
            )
            for role, column in pools.items()
        },
    )


# --- everything -------------------------------------------------------------------------------------------------


def _pause(pause: Pause) -> schemas.Pause:
    return schemas.Pause(by=pause.by, why=pause.why, since_s=pause.since_s)


def _hold(hold: Hold) -> schemas.Hold:
    return schemas.Hold(
        replicas=dict(hold.replicas), until_s=hold.until_s, by=hold.by, why=hold.why, since_s=hold.since_s
    )


def controls_view(board: Board) -> schemas.Controls:
    """All orders in force."""
    controls = board.controls
    return schemas.Controls(
        dry_run=None if controls.dry_run is None else _pause(controls.dry_run),
        paused={service: _pause(pause) for service, pause in controls.paused.items()},
        holds={service: _hold(hold) for service, hold in controls.holds.items()},
    )


def head_view(board: Board, warnings: tuple[str, ...]) -> schemas.Head:
    """What concerns all services; `warnings` are the API's own."""
    return schemas.Head(
        version=__version__,
        now_s=board.now_s,
        started_s=board.started_s,
        ticks=board.ticks,
        next_tick_s=board.next_tick_s,
        interval_s=board.interval_s,
        budget=None if board.budget is None else _budget(board.budget),
        controls=controls_view(board),
        trouble=[*board.trouble, *warnings],
    )


def _budget(budget: Budget) -> schemas.Budget:
    return schemas.Budget(
        gpus=budget.gpus,
        held=budget.held,
        wanted=budget.wanted,
        granted=budget.granted,
        exceeded=budget.exceeded,
    )
