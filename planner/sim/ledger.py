"""Every request's outcome, in memory that does not grow with their number.

A finished request is judged as `planner.slo.lifecycle` does, but all at once: it is good when its first token came
within the TTFT target and its tokens followed, on average, within the ITL target, TPOT = (finish - first token) /
(osl - 1). A one-token answer has no TPOT. A request in flight at the end is missed when it will be late whatever comes,
since the length of its answer is known here; otherwise it stays open.

Units: seconds. Invariants: arrived = finished + refused + lost + in flight. Little's law, L = lambda W (Little, "A
Proof for the Queuing Formula L = lambda W", Operations Research 9(3), 1961), holds to rounding: the requests in the
system are counted as they come and go, their times there request by request, and each run compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from planner.sim.flight import Flight
from planner.slo.attainment import Attainment
from planner.slo.sketch import QuantileSketch
from planner.slo.targets import Targets

QUANTILE_ERROR = 0.005
"""Relative; shares of good requests are exact."""

_LITTLE_ERROR = 1e-6


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of one latency over all finished requests, seconds, each within `QUANTILE_ERROR`."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Little:
    """Means over the whole run: requests in the system, arrivals, and how long a request has been there at its end."""

    in_system: float
    rate_per_s: float
    time_in_system_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """All requests of a run, judged."""

    arrived: int
    finished: int
    refused: int
    """Longer than a replica's KV cache."""
    lost: int
    """Died with their replica."""
    in_flight: int
    preemptions: int
    """How often a running request was thrown out of a full KV cache; one may be thrown out several times."""
    attainment: Attainment
    good_share: float | None
    """Of the requests judged: finished, refused, lost, or late in flight. None when there are none."""
    ttft_s: Quantiles | None
    """None when nothing has finished."""
    itl_s: Quantiles | None
    """Of TPOT, the mean gap of each request; None when nothing longer than a token has finished."""
    little: Little


@dataclass(frozen=True, slots=True)
class Lately:
    """The requests that finished, were refused or got lost since the last look; None where there were none."""

    arrived: int
    good_share: float | None
    ttft_p95_s: float | None
    itl_p95_s: float | None


class Ledger:
    """Collects the requests' moments and judges them as they finish."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._in_flight: dict[Flight, None] = {}  # a set that keeps its order, so that sums over it repeat
        self._arrived = self._good = self._finished = self._refused = self._lost = self._preemptions = 0
        self._ttft_s = QuantileSketch(QUANTILE_ERROR)
        self._tpot_s = QuantileSketch(QUANTILE_ERROR)
        self._changed_s = 0.0
        self._request_s = 0.0  # requests in the system, integrated over time
        self._times_s = 0.0  # the times there of those who left, summed
        self._seen = (0, 0, 0)
        self._ttft_lately_s: list[float] = []
        self._tpot_lately_s: list[float] = []

    @property
    def in_flight(self) -> int:
        """Requests in the system."""
        return len(self._in_flight)

    def arrive(self, flight: Flight) -> None:
        """Take a request in."""
        self._pass_time(flight.arrival_s)
        self._arrived += 1
        self._in_flight[flight] = None

    def refuse(self, flight: Flight, now_s: float) -> None:
        """A request that no replica could ever hold."""
        self._refused += 1
        self._leave(flight, now_s)

    def lose(self, flight: Flight, now_s: float) -> None:
        """A request that dies with its replica."""
        self._lost += 1
        self._leave(flight, now_s)

    def preempt(self) -> None:
        """A running request is thrown out and will be computed again."""
        self._preemptions += 1

    def finish(self, flight: Flight) -> None:
        """A request that has its last token."""
        assert flight.first_token_s is not None
        assert flight.finish_s is not None
        self._finished += 1
        self._leave(flight, flight.finish_s)
        ttft_s, gaps = flight.first_token_s - flight.arrival_s, flight.osl - 1
        good = ttft_s <= self._targets.ttft_s
        self._ttft_lately_s.append(ttft_s)
        if gaps:
            tpot_s = (flight.finish_s - flight.first_token_s) / gaps
            good = good and tpot_s <= self._targets.itl_s
            self._tpot_lately_s.append(tpot_s)
        self._good += good

    def lately(self) -> Lately:
        """What happened since the last call."""
        judged = self._finished + self._refused + self._lost
        now = (self._arrived, judged, self._good)
        arrived, judged, good = (after - before for after, before in zip(now, self._seen, strict=True))
        self._seen = now
        lately = Lately(
            arrived, good / judged if judged else None, _p95(self._ttft_lately_s), _p95(self._tpot_lately_s)
        )
        self._sort_away()
        return lately

    def judge(self, now_s: float) -> Outcome:
        """The outcome at `now_s`. Raises AssertionError when Little's law does not hold: the simulation is wrong."""
        self._sort_away()
        late = sum(_is_late(flight, self._targets, now_s) for flight in self._in_flight)
        bad = self._finished - self._good + self._refused + self._lost
        attainment = Attainment(met=self._good, missed=bad + late, open=len(self._in_flight) - late)
        return Outcome(
            arrived=self._arrived,
            finished=self._finished,
            refused=self._refused,
            lost=self._lost,
            in_flight=len(self._in_flight),
            preemptions=self._preemptions,
            attainment=attainment,
            good_share=attainment.share,
            ttft_s=_quantiles(self._ttft_s),
            itl_s=_quantiles(self._tpot_s),
            little=self._little(now_s),
        )

    def _sort_away(self) -> None:
        """Into the sketches, together: that is several times as fast as one by one."""
        self._ttft_s.add_all(self._ttft_lately_s)
        self._tpot_s.add_all(self._tpot_lately_s)
        self._ttft_lately_s.clear()
        self._tpot_lately_s.clear()

    def _little(self, now_s: float) -> Little:
        self._pass_time(now_s)
        times_s = self._times_s + sum(now_s - flight.arrival_s for flight in self._in_flight)
        arrived = max(self._arrived, 1)
        little = Little(self._request_s / now_s, self._arrived / now_s, times_s / arrived)
        expected = little.rate_per_s * little.time_in_system_s
        if not math.isclose(little.in_system, expected, rel_tol=_LITTLE_ERROR, abs_tol=_LITTLE_ERROR):
            raise AssertionError(f"Little's law is broken: {little.in_system!r} in the system, not {expected!r}")
        return little

    def _leave(self, flight: Flight, now_s: float) -> None:
        self._pass_time(now_s)
        del self._in_flight[flight]
        self._times_s += now_s - flight.arrival_s

    def _pass_time(self, now_s: float) -> None:
        self._request_s += len(self._in_flight) * (now_s - self._changed_s)
        self._changed_s = now_s


def _is_late(flight: Flight, targets: Targets, now_s: float) -> bool:
    first_token_s = now_s if flight.first_token_s is None else flight.first_token_s
    if first_token_s - flight.arrival_s > targets.ttft_s:
        return True
    return flight.osl > 1 and (now_s - first_token_s) / (flight.osl - 1) > targets.itl_s


def _quantiles(sketch: QuantileSketch) -> Quantiles | None:
    p50, p95, p99 = (sketch.quantile(share) for share in (0.5, 0.95, 0.99))
    return None if p50 is None or p95 is None or p99 is None else Quantiles(p50, p95, p99)


def _p95(values: list[float]) -> float | None:
    return float(np.quantile(values, 0.95)) if values else None
