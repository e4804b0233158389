"""What the client, the engine's own counters and the planner say of the same stretch of traffic.

Each event counts when it happened: an arrival when it was sent, prompt and time to first token at the first token, a
gap between tokens at the later one, the length of an answer at its end. Units: seconds, tokens, shares of 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from planner.scaling.types import Sample, Sampled, ServiceSamples
from rig.load import Served


@dataclass(frozen=True, slots=True)
class View:
    """What one witness says of a stretch of time; None where it knows of nothing."""

    rate_per_s: float | None
    isl: float | None
    osl: float | None
    ttft_s: float | None
    itl_s: float | None
    good_share: float | None


def client_view(served: Iterable[Served], begin_s: float, end_s: float, target_s: float) -> View:
    """What the client saw between two moments."""
    all_served = list(served)

    def within(at_s: float | None) -> bool:
        return at_s is not None and begin_s < at_s <= end_s

    begun = [(one, one.first_s - one.sent_s) for one in all_served if one.first_s is not None and within(one.first_s)]
    finished = [one.osl for one in all_served if within(one.finished_s)]
    gaps = [
        (later.at_s - earlier.at_s, later.tokens)
        for one in all_served
        for earlier, later in pairwise(one.steps)
        if within(later.at_s)
    ]
    return View(
        rate_per_s=sum(within(one.sent_s) for one in all_served) / (end_s - begin_s),
        isl=_over(sum(one.isl for one, _ in begun), len(begun)),
        osl=_over(sum(finished), len(finished)),
        ttft_s=_over(sum(ttft_s for _, ttft_s in begun), len(begun)),
        itl_s=_over(sum(gap_s for gap_s, _ in gaps), sum(tokens for _, tokens in gaps)),
        good_share=_over(sum(ttft_s <= target_s for _, ttft_s in begun), len(begun)),
    )


def engine_view(before: str, after: str, spent_s: float, target_s: float) -> View:
    """The growth of the engine's counters. Its arrivals are those that got their first token."""

    def grown(series: str, le: str = "") -> float:
        pattern = re.compile(rf"^vllm:{series}\{{[^}}]*{re.escape(le)}[^}}]*\}} (\S+)$", re.MULTILINE)
        return sum(map(float, pattern.findall(after))) - sum(map(float, pattern.findall(before)))

    ttft, first = "time_to_first_token_seconds", grown("time_to_first_token_seconds_count")
    finished, gaps = grown("request_generation_tokens_count"), grown("inter_token_latency_seconds_count")
    return View(
        rate_per_s=first / spent_s,
        isl=_over(grown("prompt_tokens_total"), first),
        osl=_over(grown("request_generation_tokens_sum"), finished),
        ttft_s=_over(grown(f"{ttft}_sum"), first),
        itl_s=_over(grown("inter_token_latency_seconds_sum"), gaps),
        good_share=_over(grown(f"{ttft}_bucket", f'le="{target_s}"'), first),
    )


def planner_view(samples: ServiceSamples) -> View:
    """The samples of a tick."""

    def value(sampled: Sampled) -> float | None:
        return sampled.value if isinstance(sampled, Sample) else None

    return View(
        value(samples.rate_per_s), value(samples.isl_tokens), value(samples.osl_tokens), value(samples.ttft_s),
        value(samples.itl_s), value(samples.good_share),
    )  # fmt: skip


def over_all(ticks: Iterable[View]) -> View:
    """A mean of means: by requests, that of inter-token latencies by tokens, that of rates by time."""
    seen = list(ticks)

    def weighted(of: Callable[[View], float | None], by: Callable[[View], float]) -> float | None:
        pairs = [(value, by(view)) for view in seen if (value := of(view)) is not None]
        return _over(sum(value * weight for value, weight in pairs), sum(weight for _, weight in pairs))

    def requests(view: View) -> float:
        return view.rate_per_s or 0.0

    return View(
        rate_per_s=weighted(lambda view: view.rate_per_s, lambda _: 1.0),
        isl=weighted(lambda view: view.isl, requests),
        osl=weighted(lambda view: view.osl, requests),
        ttft_s=weighted(lambda view: view.ttft_s, requests),
        itl_s=weighted(lambda view: view.itl_s, lambda view: requests(view) * (view.osl or 0.0)),
        good_share=weighted(lambda view: view.good_share, requests),
    )


def occupancy(served: Iterable[Served]) -> tuple[float, float]:
    """The share of time with a request in flight, and how many there were on average."""
    spans = sorted((one.sent_s, one.finished_s) for one in served if one.finished_s is not None)
    busy_s, until_s = 0.0, spans[0][0]
    for begin_s, end_s in spans:
        busy_s += max(0.0, end_s - max(begin_s, until_s))
        until_s = max(until_s, end_s)
    length_s = until_s - spans[0][0]
    return busy_s / length_s, sum(end_s - begin_s for begin_s, end_s in spans) / length_s


def _over(total: float, count: float) -> float | None:
    return total / count if count else None
