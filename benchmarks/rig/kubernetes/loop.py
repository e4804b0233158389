"""Closed loop: the load triples and falls back, and a pod takes a minute to start.

What the requests met is the simulator's own ledger; what the fleet held is each moment of a watch. Beside it stands
what simulations make of the same requests: of the same planner, of fixed fleets, which need to know the load
beforehand, and of an HPA on utilisation. On this control plane an HPA cannot run: it would need a metrics adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, count
from pathlib import Path
from typing import Any

from pod_watch import Moment

from planner.scaling.settings import PlannerSettings
from planner.scaling.types import Role
from planner.sim.baselines.contenders import Contender, World, contenders, fixed, fixed_for_peak, planner
from planner.sim.compare import play
from planner.sim.lives import Lives
from planner.sim.loads import Level, Request, drawn
from planner.sim.metrics import Scraping
from planner.sim.settings import Conditions
from planner.slo.attainment import Attainment
from rig.kubernetes.audit import Call, calls
from rig.kubernetes.circle import FIRST, GPUS, ISL, OSL, SCRAPE_S, START_S, Circle, circle, settings_of

RATES_PER_S = (15.0, 45.0, 15.0)
HOUR_S = 3600.0
PHASES = ("calm", "high", "calm again")
LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """How things stand at one moment, `at_s` after the first request."""

    at_s: float
    met: int
    """Requests that met both targets, until now."""
    missed: int
    asked: int
    """Pods that exist and were not told to go."""
    ready: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Row:
    """What one policy made of the load."""

    policy: str
    good_share: float | None
    by_phase: tuple[float | None, ...]
    """Of `PHASES`; empty where it is not known."""
    gpu_hours: float
    peak_gpus: int
    changes: int


def run(folder: Path, phases_s: Sequence[float]) -> dict[str, Any]:
    """Play it, and give all figures. The `phases_s` are the lengths of `PHASES`."""
    settings, ends_s, requests = settings_of(folder), list(accumulate(phases_s)), _requests(phases_s)
    with circle(folder, settings, requests) as here:
        looks = list(_looks(here, ends_s[-1]))
        began_s, ticks, changes = here.engines.begun_s, here.planner.ticks(), here.planner.changes()
        outcome, moments = here.engines.outcome(), list(here.watch.moments)
        written = [each for each in calls(here.audit) if each.resource == "deployments/scale" and each.verb == "patch"]
    measured = Row(
        "planner on the cluster",
        outcome.good_share,
        tuple(_share(looks, end_s - length_s, end_s) for length_s, end_s in zip(phases_s, ends_s, strict=True)),
        _gpu_hours(moments, began_s, began_s + ends_s[-1]),
        max(moment.gpus for moment in moments),
        len([each for each in written if each.status < 400]),
    )
    return {
        "phases_s": list(phases_s), "rates_per_s": RATES_PER_S, "budget_gpus": settings.budget_gpus, "ticks": ticks,
        "requests": len(requests), "outcome": asdict(outcome),
        "measured": asdict(measured), "rise": _rise(looks, moments, written, began_s, ends_s[0], ends_s[1]),
        "compared": [asdict(row) for row in _compared(settings, requests)],
        "after_an_hour": [asdict(row) for row in _compared(settings, _requests((HOUR_S, *phases_s[1:])))],
        "changes": changes, "looks": [asdict(look) for look in looks],
    }  # fmt: skip


def table(document: dict[str, Any]) -> str:
    """For people."""
    rise = document["rise"]
    lines = [
        f"{document['requests']} requests, {document['ticks']} ticks; budget {document['budget_gpus']} GPUs. "
        f"After the rise: first order {_s(rise['first_order_s'])}, first of it Ready {_s(rise['first_ready_s'])}, "
        f"all that was ordered in the high Ready {_s(rise['all_ready_s'])} ({rise['most_ready']} pods), "
        f"objective kept from {_s(rise['recovered_s'])} on; replicas removed while the load was high: "
        f"{rise['removed']}.",
        "",
        f"| policy | good % | {' | '.join(PHASES)} | GPU-hours | peak GPUs | changes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    later = [{**row, "policy": f"{row['policy']}, after an hour of calm"} for row in document["after_an_hour"]]
    for row in (document["measured"], *document["compared"], *later):
        phases = [_percent(share) for share in row["by_phase"]] or ["", "", ""]
        lines.append(
            f"| {row['policy']} | {_percent(row['good_share'])} | {' | '.join(phases)} | {row['gpu_hours']:.2f} "
            f"| {row['peak_gpus']} | {row['changes']} |"
        )
    return "\n".join(lines)


def _requests(phases_s: Sequence[float]) -> list[Request]:
    levels = [
        Level(end_s - length_s, end_s, rate_per_s, ISL, OSL)
        for length_s, end_s, rate_per_s in zip(phases_s, accumulate(phases_s), RATES_PER_S, strict=True)
    ]
    return list(drawn(levels, 1.0, 0))


def _looks(here: Circle, end_s: float) -> Iterator[Look]:
    for number in count():
        at_s = min(number * LOOK_S, end_s)
        here.until(at_s)
        attainment, moment = here.engines.outcome().attainment, here.watch.moments[-1]
        yield Look(
            here.engines.now_s, attainment.met, attainment.missed, moment.staying, len(moment.ready), moment.gpus
        )
        if at_s == end_s:
            return


def _share(looks: Sequence[Look], begin_s: float, end_s: float) -> float | None:
    """Of the requests judged between two moments."""
    first = min(looks, key=lambda look: abs(look.at_s - begin_s))
    last = min(looks, key=lambda look: abs(look.at_s - end_s))
    return Attainment(met=last.met - first.met, missed=last.missed - first.missed).share


def _gpu_hours(moments: Sequence[Moment], begin_s: float, end_s: float) -> float:
    ends_s = [*(moment.at_s for moment in moments[1:]), end_s]
    held = zip(moments, ends_s, strict=True)
    return sum(m.gpus * max(0.0, min(until_s, end_s) - max(m.at_s, begin_s)) for m, until_s in held) / 3600


def _rise(
    looks: Sequence[Look], moments: Sequence[Moment], written: Sequence[Call], began_s: float, rise_s: float,
    fall_s: float,
) -> dict[str, Any]:  # fmt: skip
    """What happened while the load was high; seconds after its rise."""
    risen_s, fallen_s = began_s + rise_s, began_s + fall_s
    orders_s = [each.received_s - risen_s for each in written if risen_s < each.received_s < fallen_s]
    high = [moment for moment in moments if risen_s <= moment.at_s <= fallen_s]
    before = max((m for m in moments if m.at_s < risen_s), key=lambda moment: moment.at_s)
    most = max([len(before.ready), *(len(moment.ready) for moment in high)])
    more_s = [moment.at_s - risen_s for moment in high if len(moment.ready) > len(before.ready)]
    all_s = [moment.at_s - risen_s for moment in high if len(moment.ready) == most]
    late = [look for look in looks if rise_s <= look.at_s <= fall_s]
    bad_s = [
        later.at_s
        for earlier, later in zip(late, late[3:], strict=False)
        if (share := _share(looks, earlier.at_s, later.at_s)) is not None and share < 0.95
    ]
    return {
        "first_order_s": min(orders_s, default=None), "orders": len(orders_s), "ready_before": len(before.ready),
        "first_ready_s": min(more_s, default=None), "all_ready_s": min(all_s, default=None), "most_ready": most,
        "recovered_s": max(bad_s, default=rise_s) - rise_s,
        "removed": (high[-1].leaving - before.leaving) if high else 0,
    }  # fmt: skip


def _compared(settings: PlannerSettings, requests: Sequence[Request]) -> Iterator[Row]:
    """What simulations predict, for the same requests and from the same fleet."""
    (name,), (service,) = settings.services, settings.services.values()
    conditions = Conditions(Lives(START_S), service.sizing.routing, scraping=Scraping(SCRAPE_S))
    world = World(settings, {name: requests}, {name: conditions}, GPUS)
    first = {name: {Role.AGGREGATED: FIRST}}
    yield _played("planner, simulated", replace(planner(world), fixed=first))
    for contender in contenders("hpa:utilisation", world):
        yield _played("HPA on utilisation 0.7, simulated", replace(contender, fixed=first))
    (peak,) = (fixed_for_peak(world).fixed or {}).values()
    yield _played(f"{peak[Role.AGGREGATED]} fixed, by the published formulas", fixed_for_peak(world))
    for replicas in range(FIRST, GPUS):
        row = _played(f"{replicas} fixed, the fewest that keep 95 %", fixed(world, {Role.AGGREGATED: replicas}))
        if row.good_share is not None and row.good_share >= service.targets.objective:
            yield row
            return


def _played(name: str, contender: Contender) -> Row:
    result = play(contender).result
    return Row(
        name, result.only.outcome.good_share, (), result.gpu_hours, result.peak_gpus, len(result.only.actions)
    )  # fmt: skip


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"
