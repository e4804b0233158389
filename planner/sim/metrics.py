"""What a fleet's own metrics would say, as a planner reads them.

The engines and the gateway count; a scraper reads the counters every so often; the planner sees the difference between
the newest scrape and the one it saw at its last look. So its numbers are as old as the newest scrape, and when none was
made since the last look, all it gets is what it saw before, older; after `LOOKBACK_S` not even that. How many replicas
there are is asked of the orchestrator and always fresh.

The same biases as a real engine's: prompt lengths and TTFT are counted when the first token comes, answer lengths when
the last one does, so in a ramp long answers are missing at first. A quantity nobody exhibited is absent, with the
cause; only the arrival rate is known to be 0 when nothing arrives.

Units: seconds, tokens, requests per second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from planner.errors import UserError
from planner.scaling.types import Absent, PoolSamples, Role, Sample, Sampled, ServiceSamples
from planner.sim.flight import Flight
from planner.sim.loop import Loop
from planner.sim.pool import PoolCounts

LOOKBACK_S = 300.0
"""Prometheus forgets a series that was not scraped for so long."""


@dataclass(frozen=True, slots=True)
class Scraping:
    """When engine metrics are read. Raises UserError for an interval below 0 or an outage that is none."""

    interval_s: float = 0.0
    """0: whenever the planner looks."""
    outages: tuple[tuple[float, float], ...] = ()
    """(start_s, end_s): nothing is scraped meanwhile."""

    def __post_init__(self) -> None:
        if not 0 <= self.interval_s < float("inf"):
            raise UserError(f"scrape_s: {self.interval_s!r} must be 0 or more seconds")
        for start_s, end_s in self.outages:
            if not 0 <= start_s < end_s:
                raise UserError(f"outages: {start_s!r} to {end_s!r} s is none; it must end after a start of 0 or more")

    def fails(self, now_s: float) -> bool:
        """Whether nothing can be scraped now."""
        return any(start_s <= now_s < end_s for start_s, end_s in self.outages)


@dataclass(slots=True)
class Counters:
    """Totals since the beginning, as engines and gateway keep them."""

    arrivals: int = 0
    first_tokens: int = 0
    ttft_s: float = 0.0
    queue_s: float = 0.0
    isl: int = 0
    isl_squared: int = 0
    tokens: int = 0
    gaps_s: float = 0.0
    finishes: int = 0
    osl: int = 0

    def first_token(self, flight: Flight) -> None:
        """A prompt is answered."""
        assert flight.first_token_s is not None
        assert flight.prefill_start_s is not None
        self.first_tokens += 1
        self.ttft_s += flight.first_token_s - flight.arrival_s
        self.queue_s += flight.prefill_start_s - flight.arrival_s
        self.isl += flight.isl
        self.isl_squared += flight.isl**2

    def finished(self, flight: Flight) -> None:
        """A request got its last token."""
        self.finishes += 1
        self.osl += flight.osl


@dataclass(frozen=True, slots=True)
class _Scrape:
    """The counters and the pools' gauges at one moment."""

    at_s: float
    counters: Counters
    pools: Mapping[Role, PoolCounts]


class Metrics:
    """A service's counters, their scraper, and the planner's reading of both. `pools` tells how the pools stand now."""

    def __init__(self, scraping: Scraping, loop: Loop, pools: Callable[[], Mapping[Role, PoolCounts]]) -> None:
        self.counters = Counters()
        self._scraping = scraping
        self._loop = loop
        self._pools = pools
        self._newest = self._seen = self._scraped()
        self._answer: ServiceSamples | None = None
        if scraping.interval_s:
            loop.at(loop.now_s + scraping.interval_s, self._scrape_and_go_on)

    def read(self) -> ServiceSamples:
        """What the planner is shown now."""
        now_s, counts = self._loop.now_s, self._pools()
        if not self._scraping.interval_s:
            self._scrape()
        if self._newest.at_s > self._seen.at_s:
            self._answer = _between(self._seen, self._newest)
            self._seen = self._newest
        age_s = now_s - self._newest.at_s
        if self._answer is None or age_s > LOOKBACK_S:
            absent = Absent(f"not scraped for {age_s:.0f} s")
            pools = {role: _pool(counts[role], now_s, absent, absent, absent) for role in counts}
            return ServiceSamples(age_s, absent, absent, absent, absent, absent, absent, absent, pools)
        return replace(self._answer, pools={role: self._pool(role, counts[role]) for role in counts})

    def _pool(self, role: Role, counts: PoolCounts) -> PoolSamples:
        at_s, gauges = self._newest.at_s, self._newest.pools[role]
        return _pool(
            counts,
            self._loop.now_s,
            reporting=Sample(gauges.ready, at_s),
            waiting=Sample(gauges.waiting, at_s),
            running=Sample(gauges.running, at_s),
        )

    def _scrape_and_go_on(self) -> None:
        self._scrape()
        self._loop.at(self._loop.now_s + self._scraping.interval_s, self._scrape_and_go_on)

    def _scrape(self) -> None:
        if not self._scraping.fails(self._loop.now_s):
            self._newest = self._scraped()

    def _scraped(self) -> _Scrape:
        return _Scrape(self._loop.now_s, replace(self.counters), self._pools())


def _between(before: _Scrape, after: _Scrape) -> ServiceSamples:
    """What two scrapes say of the service; its pools are left to be filled in."""
    at_s, a, b = after.at_s, before.counters, after.counters
    window_s = at_s - before.at_s
    first_tokens, finishes, tokens = b.first_tokens - a.first_tokens, b.finishes - a.finishes, b.tokens - a.tokens

    def over(total: float, count: int, what: str) -> Sampled:
        return Sample(total / count, at_s) if count > 0 else Absent(f"no {what} in the window")

    mean_isl = over(b.isl - a.isl, first_tokens, "first token")
    isl_cv2 = mean_isl
    if isinstance(mean_isl, Sample):
        squared = (b.isl_squared - a.isl_squared) / first_tokens
        isl_cv2 = Sample(max(0.0, squared / mean_isl.value**2 - 1), at_s)
    return ServiceSamples(
        window_s=window_s,
        rate_per_s=Sample((b.arrivals - a.arrivals) / window_s, at_s),
        isl_tokens=mean_isl,
        osl_tokens=over(b.osl - a.osl, finishes, "finished request"),
        isl_cv2=isl_cv2,
        ttft_s=over(b.ttft_s - a.ttft_s, first_tokens, "first token"),
        queue_s=over(b.queue_s - a.queue_s, first_tokens, "first token"),
        itl_s=over(b.gaps_s - a.gaps_s, tokens, "token after a first one"),
        pools={},
    )


def _pool(counts: PoolCounts, now_s: float, reporting: Sampled, waiting: Sampled, running: Sampled) -> PoolSamples:
    """What the orchestrator and the engines tell. No replica fails for good, and a cut takes the pending first."""
    return PoolSamples(
        wanted=Sample(counts.wanted, now_s),
        ready=Sample(counts.ready, now_s),
        starting=Sample(counts.starting, now_s),
        pending=Sample(counts.pending, now_s),
        draining=Sample(counts.draining, now_s),
        rolling_out=Sample(0, now_s),
        reporting=reporting,
        waiting=waiting,
        running=running,
        failing=Sample(0, now_s),
        pending_go_first=Sample(1, now_s),
    )
