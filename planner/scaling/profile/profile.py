"""One model on one kind of GPU at one parallelism: who measured it, and its prefill and decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.scaling.profile.decode import DecodeProfile
from planner.scaling.profile.prefill import PrefillProfile

Kind = Literal["measured", "estimated"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the numbers come from, so that a reader can judge them."""

    source: str
    license: str
    method: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A checked profile. Two are equal when their documents are (`digest`)."""

    name: str
    model: str
    gpu: str
    engine: str
    engine_version: str | None
    """None: unknown."""
    precision: str
    tensor_parallel: int
    kind: Kind
    """`estimated` figures are composed from operator times; expect tens of per cent, and correct them online."""
    provenance: Provenance
    prefill: PrefillProfile
    decode: DecodeProfile
    warnings: tuple[str, ...]
    """Everything doubtful or repaired; show it to whoever chose the profile."""
    digest: str
    """SHA-256 of the canonical document, in hex."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)
