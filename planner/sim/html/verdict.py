"""What a manager takes away, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from planner.sim.compare import Played
from planner.sim.html.frontier import keeps
from planner.sim.html.names import label
from planner.sim.ledger import Outcome
from planner.sim.report import clock, differing, in_percent
from planner.slo.targets import Targets

_PROPHETIC = "clairvoyant"
"""Contenders that nobody can run."""


def title(played: Sequence[Played]) -> str:
    """What the page is about."""
    return f"Simulation: {played[0].name}" if len(played) == 1 else f"Simulation: {len(played)} runs compared"


def verdict(played: Sequence[Played], targets: Mapping[str, Targets]) -> str:
    """How the first run did, how often its policy did so, and who did it for less."""
    return " ".join(_sentences(played, targets))


def _sentences(played: Sequence[Played], targets: Mapping[str, Targets]) -> Iterator[str]:
    first, varied = played[0], differing(played)
    name, judged, services = label(first, varied), first.attainment, first.result.services
    cost = f"with {first.result.gpu_hours:.2f} GPU-hours in {clock(first.result.duration_s)}"
    if judged.share is None:
        yield "Nothing finished, so there is nothing to judge."
        return
    counted = f"{name}: {judged.share:.2%} of {judged.judged:,} requests met both targets"
    if len(services) == 1:
        ((service, agreed),) = targets.items()
        yield (
            f"{counted} (first token within {agreed.ttft_ms:g} ms, then a token every {agreed.itl_ms:g} ms); the "
            f"objective of {in_percent(agreed.objective)} was {_kept(services[service].outcome, agreed)}, {cost}."
        )
    else:
        yield f"{counted} of their service, {cost}."
        yield from (_of_service(service, services[service].outcome, agreed) for service, agreed in targets.items())
    again = [one for one in played if one.name == first.name]
    if len(again) > 1:
        yield f"Of {len(again)} runs of {first.name}, {sum(keeps(one, targets) for one in again)} kept the agreement."
    yield from _cheapest(played, targets, varied)


def _of_service(name: str, outcome: Outcome, targets: Targets) -> str:
    if outcome.good_share is None:
        return f"Nothing of {name} finished."
    kept = _kept(outcome, targets)
    return f"{name} {kept} its objective of {in_percent(targets.objective)} with {outcome.good_share:.2%}."


def _cheapest(played: Sequence[Played], targets: Mapping[str, Targets], varied: Sequence[str]) -> Iterator[str]:
    """Among those that played what the first did and could be run."""
    first = played[0]
    rivals = [one for one in played if one.variation == first.variation and not one.name.startswith(_PROPHETIC)]
    if len(rivals) < 2:
        return
    keepers = [one for one in rivals if keeps(one, targets)]
    if not keepers:
        yield "No policy that could be run kept the agreement."
        return
    cheapest = min(keepers, key=lambda one: one.result.gpu_hours)
    who = "it" if cheapest is first else label(cheapest, varied)
    cost = "" if cheapest is first else f", with {cheapest.result.gpu_hours:.2f} GPU-hours"
    yield f"Of the policies that kept the agreement and could be run, {who} was the cheapest{cost}."


def _kept(outcome: Outcome, targets: Targets) -> str:
    share = outcome.good_share
    return "kept" if share is not None and share >= targets.objective else "missed"
