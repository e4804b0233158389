"""Steady state: what the planner asks of the API server while nothing changes but the dice of the arrivals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from planner.sim.loads import Request, lognormal_length
from rig.kubernetes.audit import calls, counted
from rig.kubernetes.circle import ISL, OSL, circle, settings_of

RATE_PER_S = 15.0
WARM_UP_S = 180.0
"""Not counted: the fleet finds its size, and the first watches begin."""


def run(folder: Path, minutes: float) -> dict[str, Any]:
    """So many minutes of it, after the warm-up."""
    with circle(folder, settings_of(folder), _requests()) as here:
        here.until(WARM_UP_S)
        begin_s, ticks, rss_mib = time.time(), here.planner.ticks(), here.planner.rss_mib()
        here.until(WARM_UP_S + 60.0 * minutes)
        end_s = time.time()
        made = list(calls(here.audit))
        within = [each for each in made if begin_s <= each.received_s < end_s]
        hours = (end_s - begin_s) / 3600
        return {
            "minutes": (end_s - begin_s) / 60, "ticks": here.planner.ticks() - ticks,
            "changes": len([each for each in here.planner.changes() if begin_s <= each["at_s"] < end_s]),
            "before": counted(each for each in made if each.received_s < begin_s),
            "calls": counted(within), "per_hour": {what: n / hours for what, n in counted(within).items()},
            "rss_mib": [rss_mib, here.planner.rss_mib()], "good_share": here.engines.outcome().good_share,
            "events": here.events(),
        }  # fmt: skip


def table(document: dict[str, Any]) -> str:
    """For people."""
    before, after = document["rss_mib"]
    lines = [
        f"{document['minutes']:.1f} minutes, {document['ticks']} ticks, {document['changes']} changes of the fleet; "
        f"RSS {before:.0f} MiB, then {after:.0f}.",
        "",
        "| call | times | an hour |",
        "|---|---|---|",
    ]
    lines += [f"| {what} | {n} | {document['per_hour'][what]:.0f} |" for what, n in document["calls"].items()]
    said = ", ".join(f"{n} x {what}" for what, n in document["before"].items())
    return "\n".join([
        *lines, "", f"Before, from the start of its process on: {said}.",
        "", f"Events, those of the start included: {'; '.join(document['events'])}.",
    ])  # fmt: skip


def _requests() -> Iterator[Request]:
    random, at_s = Random(0), 0.0
    while True:
        at_s += random.expovariate(RATE_PER_S)
        yield Request(at_s, lognormal_length(random, ISL, 0.2), lognormal_length(random, OSL, 0.2))
