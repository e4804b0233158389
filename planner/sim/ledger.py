"""Every request's outcome.

A finished request is judged as `planner.slo.lifecycle` does, but all at once: it is good when its first token came
within the TTFT target and its tokens followed, on average, within the ITL target, TPOT = (finish - first token) /
(osl - 1). A one-token answer has no TPOT. A request in flight at the end is missed when it will be late whatever comes,
since the length of its answer is known here; otherwise it stays open.

Units: seconds. Invariant: arrived = finished + failed + in flight.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.sim.flight import Flight
from planner.slo.attainment import Attainment
from planner.slo.targets import Targets


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of one latency over all finished requests, seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """All requests of a run, judged."""

    arrived: int
    finished: int
    failed: int
    """Refused: longer than a replica's KV cache."""
    in_flight: int
    attainment: Attainment
    good_share: float | None
    """Of the requests judged: finished, failed, or late in flight. None when there are none."""
    ttft_s: Quantiles | None
    """None when nothing has finished."""
    itl_s: Quantiles | None
    """Of TPOT, the mean gap of each request; None when nothing longer than a token has finished."""


class Ledger:
    """Collects the requests' moments and judges them at the end."""

    def __init__(self) -> None:
        self.arrived = 0
        self.failed = 0
        self._in_flight: set[Flight] = set()
        self._ttft_s = array("d")
        self._tpot_s = array("d")  # NaN for a one-token answer

    def arrive(self, flight: Flight) -> None:
        """Take a request in."""
        self.arrived += 1
        self._in_flight.add(flight)

    def fail(self, flight: Flight) -> None:
        """A request the fleet refuses."""
        self.failed += 1
        self._in_flight.remove(flight)

    def finish(self, flight: Flight) -> None:
        """A request that has its last token."""
        assert flight.first_token_s is not None
        assert flight.finish_s is not None
        self._in_flight.remove(flight)
        self._ttft_s.append(flight.first_token_s - flight.arrival_s)
        gaps = flight.osl - 1
        self._tpot_s.append((flight.finish_s - flight.first_token_s) / gaps if gaps else np.nan)

    def judge(self, targets: Targets, now_s: float) -> Outcome:
        """The outcome at `now_s`."""
        ttft_s, tpot_s = np.array(self._ttft_s), np.array(self._tpot_s)
        good = int(np.count_nonzero((ttft_s <= targets.ttft_s) & ~(tpot_s > targets.itl_s)))
        late = sum(_is_late(flight, targets, now_s) for flight in self._in_flight)
        attainment = Attainment(
            met=good, missed=len(ttft_s) - good + self.failed + late, open=len(self._in_flight) - late
        )
        return Outcome(
            arrived=self.arrived,
            finished=len(ttft_s),
            failed=self.failed,
            in_flight=len(self._in_flight),
            attainment=attainment,
            good_share=attainment.share,
            ttft_s=_quantiles(ttft_s),
            itl_s=_quantiles(tpot_s[~np.isnan(tpot_s)]),
        )


def _is_late(flight: Flight, targets: Targets, now_s: float) -> bool:
    first_token_s = now_s if flight.first_token_s is None else flight.first_token_s
    if first_token_s - flight.arrival_s > targets.ttft_s:
        return True
    return flight.osl > 1 and (now_s - first_token_s) / (flight.osl - 1) > targets.itl_s


def _quantiles(values: NDArray[np.float64]) -> Quantiles | None:
    if not values.size:
        return None
    p50, p95, p99 = (float(value) for value in np.quantile(values, (0.5, 0.95, 0.99)))
    return Quantiles(p50, p95, p99)
