"""Whether requests may end when a replica is taken away. Seconds.

A pod that is deleted is killed after its template's terminationGracePeriodSeconds (kubernetes.io/docs, "Pod
Lifecycle"), the time of its preStop hook included. Until then a decode engine must have written its longest answers,
and a prefill engine the first token:

    decode, aggregated: ttft + lengths * osl * itl        prefill: ttft

Limit: no request's own length is known, only means; lengths of `LONG` times the mean stand for the longest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.shapes import shape_of
from planner.scaling.types import Role
from planner.slo.targets import MS_PER_S

LONG = 4
GRACE = "terminationGracePeriodSeconds"


@dataclass(frozen=True, slots=True)
class Drain:
    """How long the requests of one pool take."""

    role: Role
    ttft_s: float
    osl_tokens: float
    itl_s: float

    @property
    def mean_s(self) -> float:
        """Of a request of mean length."""
        return self._takes_s(1)

    @property
    def long_s(self) -> float:
        """Of one that is `LONG` times as long."""
        return self._takes_s(LONG)

    def __str__(self) -> str:
        first = f"{self.ttft_s * MS_PER_S:.3g} ms to the first token"
        each = f" and {LONG} x {self.osl_tokens:.0f} tokens of {self.itl_s * MS_PER_S:.3g} ms"
        return f"{first}{'' if self.role is Role.PREFILL else each} take {self.long_s:.1f} s"

    @property
    def remedy(self) -> str:
        """What to give them."""
        return f"pod template: set {GRACE} to {math.ceil(self.long_s)} or more"

    def _takes_s(self, lengths: int) -> float:
        # The pool that writes no answers waits for none.
        written = 0 if self.role is Role.PREFILL else lengths
        return self.ttft_s + written * self.osl_tokens * self.itl_s


def grace_s(target: Object, component: str, pods: Iterable[Object] = ()) -> int | None:
    """The shortest that the template or, where it does not say, a pod has; None where neither tells."""
    templates = [spec.get(GRACE) for _, spec in shape_of(target, component)]
    of_pods = [read(pod, path(f".spec.{GRACE}")) for pod in pods]
    told = [[each for each in source if type(each) is int] for source in (templates, of_pods)]
    return min(told[0] or told[1], default=None)
