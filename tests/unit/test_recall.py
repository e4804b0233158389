"""What was missed, folded in afterwards, against having watched it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from builders import GUARDS, INTERVAL_S, planner_settings, pool_samples, service_samples, service_settings

from planner.scaling.forecast import build
from planner.scaling.recall import Moment, recall
from planner.scaling.settings import PlannerSettings
from planner.scaling.state import ServiceState, initial_state
from planner.scaling.tick import tick
from planner.scaling.types import Absent, Role, Sample

P, D = Role.PREFILL, Role.DECODE
LONG_GUARDS = replace(GUARDS, stabilisation_down_s=600, max_pending_s=300)
SETTINGS = planner_settings(
    service_settings(guards=LONG_GUARDS, forecaster=build("kalman", interval_s=INTERVAL_S)), budget_gpus=100
)
UNCOUNTED = Absent("the connector tells")


def lived(ticks: int, settings: PlannerSettings = SETTINGS) -> tuple[ServiceState, list[Moment]]:
    """A service that follows a swinging load with starts that take two ticks; its state, and all it saw."""
    state = initial_state(settings, 0.0)
    wanted, ready = {P: 2, D: 2}, {P: 2, D: 2}
    starting: list[dict[Role, int]] = []
    moments = []
    for index in range(ticks):
        at_s = (index + 1) * INTERVAL_S
        rate_per_s = 60 + 50 * math.sin(index / 9)
        pools = {
            role: pool_samples(
                at_s, wanted=wanted[role], ready=ready[role], starting=wanted[role] - ready[role],
                reporting=ready[role], waiting=0,
            )
            for role in wanted
        }  # fmt: skip
        samples = service_samples(at_s, rate_per_s=rate_per_s, queue_s=0.02, pools=pools)
        moments.append(Moment(at_s, samples))
        state, result = tick(state, {"chat": samples}, settings, at_s)
        wanted = {**wanted, **result.decisions["chat"].plan}
        starting.append(dict(wanted))
        ready = {role: min(wanted[role], starting[max(0, index - 2)][role]) for role in wanted}
    return state.services["chat"], moments


def uncounted(moment: Moment) -> Moment:
    """The same, as a source tells it: without the orchestrator's counts."""
    names = ("wanted", "ready", "starting", "pending", "draining", "rolling_out")
    pools = {role: replace(pool, **dict.fromkeys(names, UNCOUNTED)) for role, pool in moment.samples.pools.items()}
    return replace(moment, samples=replace(moment.samples, pools=pools))


def fresh(at_s: float) -> ServiceState:
    return initial_state(SETTINGS, at_s).services["chat"]


@pytest.mark.parametrize("cut", [0, 1, 40, 99], ids=lambda cut: f"after {cut} ticks")
def test_who_stopped_remembers_what_who_watched_remembers(cut: int) -> None:
    whole, moments = lived(100)
    before, _ = lived(cut)

    recalled = recall(replace(before, started_s=moments[cut].at_s) if cut == 0 else before, moments[cut:],
                      SETTINGS.services["chat"])  # fmt: skip

    reach_s = moments[-1].at_s - LONG_GUARDS.stabilisation_down_s
    pools = {
        role: replace(pool, wishes=tuple(wish for wish in pool.wishes if wish.at_s > reach_s))
        for role, pool in recalled.pools.items()
    }
    started_s = moments[0].at_s if cut == 0 else 0.0
    assert replace(recalled, pools=pools) == replace(whole, started_s=started_s)
    assert sum(len(starts.took_s) for starts in whole.starts.values()) > 5


def test_without_counts_the_load_is_remembered_and_no_start_is_measured() -> None:
    whole, moments = lived(100)

    recalled = recall(fresh(moments[-1].at_s), [uncounted(moment) for moment in moments], SETTINGS.services["chat"])

    assert recalled.history == whole.history
    assert recalled.starts == {}
    assert recalled.factors != fresh(0.0).factors
    assert all(pool.wishes for pool in recalled.pools.values())
    assert recalled.started_s == moments[0].at_s


def test_what_nobody_measured_stays_a_gap() -> None:
    _, moments = lived(10)
    blank = replace(moments[4].samples, rate_per_s=Absent("no sample"))
    gone = [*moments[:4], Moment(moments[4].at_s, blank), *moments[5:]]

    recalled = recall(fresh(1e6), gone, SETTINGS.services["chat"])

    assert [point.at_s for point in recalled.history] == [moment.at_s for moment in moments if moment is not moments[4]]


def test_a_past_of_which_nothing_is_known_changes_nothing() -> None:
    silent = replace(lived(1)[1][0].samples, rate_per_s=Absent("no sample"))
    moments = [Moment(30.0 * index, silent) for index in range(1, 9)]

    assert recall(fresh(300.0), moments, SETTINGS.services["chat"]) == fresh(300.0)


def test_pods_that_did_not_tell_how_many_they_were_say_nothing_of_the_load() -> None:
    _, moments = lived(3)
    deaf = {role: replace(pool, reporting=UNCOUNTED) for role, pool in uncounted(moments[1]).samples.pools.items()}
    unsure = Moment(moments[1].at_s, replace(uncounted(moments[1]).samples, pools=deaf))

    recalled = recall(fresh(1e6), [moments[0], unsure, moments[2]], SETTINGS.services["chat"])

    assert [point.at_s for point in recalled.history] == [moments[0].at_s, moments[2].at_s]
    assert isinstance(moments[1].samples.rate_per_s, Sample)
