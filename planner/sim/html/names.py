"""What a run is called: as users write its policy, and in what it differs from the others on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from planner.sim.compare import Played

_UNSET = "start-up as configured"
_WORDS = {"startup_s": "start-up {:g} s", "scale": "load x {:g}", "seed": "seed {}"}


def label(one: Played, varied: Sequence[str]) -> str:
    """The policy, and its value of each field of `Variation` that varies."""
    return ", ".join(filter(None, (one.name, variation(one, varied))))


def variation(one: Played, varied: Sequence[str]) -> str:
    """Its value of each field of `Variation` that varies; empty when none does."""
    values = asdict(one.variation)
    return ", ".join(_UNSET if values[field] is None else _WORDS[field].format(values[field]) for field in varied)
