"""What several findings say alike."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from planner.doctor.cluster.evidence import PoolEvidence
from planner.doctor.finding import Finding, Level


def meant(name: str, known: Iterable[str]) -> str:
    """The remedy for a name that is not there."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else "create it, or correct the target"


def count_of(count: int, word: str) -> str:
    """A count and what is counted, with an s unless it is one: `2 replicas`."""
    return f"{count} {word}{'s'[: count != 1]}"


def said(one: PoolEvidence, check: str, level: Level, text: str, remedy: str | None = None) -> Finding:
    """A finding on one pool of a service."""
    return Finding(one.service.name, check, level, f"{one.role}: {text}", remedy)
