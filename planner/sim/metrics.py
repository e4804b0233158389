"""What a fleet's own metrics would say about the time since they were last read.

The same biases as a real engine's: prompt lengths and TTFT are counted when the first token comes, answer lengths when
the last one does, so in a ramp long answers are missing at first. A quantity nobody exhibited is absent, with the
cause; only the arrival rate is known to be 0 when nothing arrives.

Units: seconds, tokens, requests per second.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.scaling.types import Absent, PoolSamples, Role, Sample, Sampled, ServiceSamples
from planner.sim.flight import Flight
from planner.sim.pool import PoolCounts


class Window:
    """Counters since the last reading."""

    def __init__(self, now_s: float) -> None:
        self._started_s = now_s
        self._arrivals = 0
        self._first_tokens = 0
        self._ttft_s = 0.0
        self._queue_s = 0.0
        self._isl = 0
        self._isl_squared = 0
        self._tokens = 0
        self._gaps_s = 0.0
        self._finishes = 0
        self._osl = 0

    def arrived(self) -> None:
        """A request came in."""
        self._arrivals += 1

    def first_token(self, flight: Flight) -> None:
        """A prompt is done."""
        assert flight.first_token_s is not None
        assert flight.prefill_start_s is not None
        self._first_tokens += 1
        self._ttft_s += flight.first_token_s - flight.arrival_s
        self._queue_s += flight.prefill_start_s - flight.arrival_s
        self._isl += flight.isl
        self._isl_squared += flight.isl**2

    def tokens(self, count: int, seconds: float) -> None:
        """Tokens after the first, and the gaps before them, summed."""
        self._tokens += count
        self._gaps_s += seconds

    def finished(self, flight: Flight) -> None:
        """A request got its last token."""
        self._finishes += 1
        self._osl += flight.osl

    def read(self, now_s: float, pools: Mapping[Role, PoolCounts]) -> ServiceSamples:
        """The samples at `now_s`, which must come after the window's start."""
        window_s = now_s - self._started_s
        mean_isl = self._isl / self._first_tokens if self._first_tokens else 0.0

        def over(total: float, count: int, what: str) -> Sampled:
            return Sample(total / count, now_s) if count else Absent(f"no {what} in the window")

        return ServiceSamples(
            window_s=window_s,
            rate_per_s=Sample(self._arrivals / window_s, now_s),
            isl_tokens=over(self._isl, self._first_tokens, "first token"),
            osl_tokens=over(self._osl, self._finishes, "finished request"),
            isl_cv2=(
                Sample(max(0.0, self._isl_squared / self._first_tokens / mean_isl**2 - 1), now_s)
                if self._first_tokens
                else Absent("no first token in the window")
            ),
            ttft_s=over(self._ttft_s, self._first_tokens, "first token"),
            queue_s=over(self._queue_s, self._first_tokens, "first token"),
            itl_s=over(self._gaps_s, self._tokens, "token after a first one"),
            pools={role: _pool_samples(counts, now_s) for role, counts in pools.items()},
        )


def _pool_samples(counts: PoolCounts, now_s: float) -> PoolSamples:
    def sample(value: float) -> Sample:
        return Sample(value, now_s)

    return PoolSamples(
        wanted=sample(counts.wanted),
        ready=sample(counts.ready),
        starting=sample(counts.starting),
        pending=sample(counts.pending),
        draining=sample(counts.draining),
        rolling_out=sample(0),
        reporting=sample(counts.ready),
        waiting=sample(counts.waiting),
        running=sample(counts.running),
    )
