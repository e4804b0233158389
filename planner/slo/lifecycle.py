"""One request, from arrival to last token: what it has cost in time, and whether it keeps its targets.

A `RequestRecord` is what is known of a request at some moment; it is a value, and each event gives a new one. Times
are seconds on one clock of the caller's (monotonic, of one host). Latencies:

- queue: arrival to start of prefill; prefill: start of prefill to first token;
- TTFT: arrival to first token;
- TPOT: mean time per output token after the first, (last - first) / (n - 1); undefined for a single token;
- ITL: the single gaps between tokens, of which TPOT is the mean.

The ITL target is held against a request's TPOT, its own mean gap, as goodput is commonly counted (Zhong et al.,
DistServe, OSDI 2024); single gaps belong in a sketch.

A request in flight counts by the age it already has. Judging finished requests alone flatters an overloaded fleet,
whose worst requests are those that have not finished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from planner.errors import UserError
from planner.slo.targets import Targets

Outcome = Literal["finished", "failed", "cancelled"]
"""How a request ended: with its last token, by the fleet's fault, or because its client left."""

Verdict = Literal["met", "missed", "open"]
"""Target kept, target broken, or not yet known."""


class LifecycleError(UserError):
    """Events of one request that cannot have happened so: an effect before its cause, tokens without a time."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What is known of one request. Raises LifecycleError when its events contradict each other."""

    arrival_s: float
    prefill_start_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None
    """The latest token so far; with the first token it is the first itself."""
    output_tokens: int = 0
    outcome: Outcome | None = None
    """None while in flight."""
    ended_s: float | None = None

    def __post_init__(self) -> None:
        latest_name, latest_s = "arrival_s", self.arrival_s
        for name in ("arrival_s", "prefill_start_s", "first_token_s", "last_token_s", "ended_s"):
            at_s = getattr(self, name)
            if at_s is None:
                continue
            if not math.isfinite(at_s):
                raise LifecycleError(f"{name}: {at_s!r} must be a finite time; leave it None while unknown")
            if at_s < latest_s:
                raise LifecycleError(
                    f"{name}: {at_s!r} lies before {latest_name} = {latest_s!r}; take all times from one clock"
                )
            latest_name, latest_s = name, at_s
        self._check_tokens()
        if (self.outcome is None) != (self.ended_s is None):
            raise LifecycleError(f"ended_s: {self.ended_s!r} with outcome {self.outcome!r}; give both or neither")
        if self.outcome == "finished" and self.output_tokens == 0:
            raise LifecycleError("outcome: 'finished' without a token; give the token times, or 'failed'")

    def _check_tokens(self) -> None:
        n, first_s, last_s = self.output_tokens, self.first_token_s, self.last_token_s
        if n < 0:
            raise LifecycleError(f"output_tokens: {n!r} must not be negative")
        if (first_s is None) != (n == 0) or (last_s is None) != (n == 0):
            raise LifecycleError(
                f"output_tokens: {n!r} with first_token_s {first_s!r} and last_token_s {last_s!r}; "
                "give both times with the first token, neither before"
            )
        if n == 1 and first_s != last_s:
            raise LifecycleError(f"last_token_s: {last_s!r} of a single token must equal first_token_s = {first_s!r}")

    def started(self, at_s: float) -> RequestRecord:
        """Prefill has begun. A preempted request starts again; its first start is kept, for it ended the queueing."""
        return self if self.prefill_start_s is not None else replace(self, prefill_start_s=at_s)

    def produced(self, tokens: int, at_s: float) -> RequestRecord:
        """`tokens` more output tokens have arrived together."""
        if tokens < 1:
            raise LifecycleError(f"tokens: {tokens!r} must be at least 1; report no event without a token")
        first_s = at_s if self.first_token_s is None else self.first_token_s
        return replace(self, first_token_s=first_s, last_token_s=at_s, output_tokens=self.output_tokens + tokens)

    def ended(self, outcome: Outcome, at_s: float) -> RequestRecord:
        """The request has ended. Raises LifecycleError when it had already."""
        if self.outcome is not None:
            raise LifecycleError(f"outcome: {outcome!r} after {self.outcome!r}; a request ends once")
        return replace(self, outcome=outcome, ended_s=at_s)


@dataclass(frozen=True, slots=True)
class Latencies:
    """A request's times in seconds; None where the events that bound one are not known, or where it is undefined."""

    queue_s: float | None
    prefill_s: float | None
    ttft_s: float | None
    tpot_s: float | None


def latencies(request: RequestRecord) -> Latencies:
    """The times of a request, as far as its events are known; of a request in flight, TPOT is the mean so far."""
    first_s, last_s, n = request.first_token_s, request.last_token_s, request.output_tokens
    return Latencies(
        queue_s=_between(request.arrival_s, request.prefill_start_s),
        prefill_s=_between(request.prefill_start_s, first_s),
        ttft_s=_between(request.arrival_s, first_s),
        tpot_s=(last_s - first_s) / (n - 1) if first_s is not None and last_s is not None and n > 1 else None,
    )


def inter_token_latencies_s(token_at_s: Sequence[float]) -> list[float]:
    """The gaps between consecutive tokens; empty for fewer than two.

    Tokens that arrive together, as in speculative decoding, have gaps of zero: the mean over all stays the TPOT.
    """
    gaps_s = [later - earlier for earlier, later in pairwise(token_at_s)]
    for index, gap_s in enumerate(gaps_s):
        if not 0 <= gap_s < math.inf:
            raise LifecycleError(
                f"token_at_s[{index + 1}]: {token_at_s[index + 1]!r} after {token_at_s[index]!r}; "
                "times must be finite and never decrease"
            )
    return gaps_s


def ttft_verdict(request: RequestRecord, targets: Targets, now_s: float) -> Verdict:
    """Whether the first token came in time. Final once it is not `open`: no later event can change it.

    A request that failed without a token has missed. One cancelled in time without a token stays open for ever.
    """
    if request.first_token_s is not None:
        return "met" if request.first_token_s - request.arrival_s <= targets.ttft_s else "missed"
    if request.outcome == "failed" or _age_until_s(request, now_s) - request.arrival_s > targets.ttft_s:
        return "missed"
    return "open"


def itl_verdict(request: RequestRecord, targets: Targets, now_s: float) -> Verdict:
    """Whether the tokens after the first keep the pace that the ITL target sets, on the request's own mean.

    In flight, the token being waited for counts as if it came now: a stalled request is missed once
    (now - first) / n exceeds the target. Later tokens may make up for it; only an ended request's verdict is final.
    A single token leaves no gap, so nothing to miss. A cancelled request is judged by the pace it had when it left.
    """
    if request.outcome == "failed":
        return "missed"
    if request.first_token_s is None:
        return "open"
    if request.outcome == "finished":
        tpot_s = latencies(request).tpot_s
        return "met" if tpot_s is None or tpot_s <= targets.itl_s else "missed"
    if (_age_until_s(request, now_s) - request.first_token_s) / request.output_tokens > targets.itl_s:
        return "missed"
    return "met" if request.outcome == "cancelled" else "open"


def verdict(request: RequestRecord, targets: Targets, now_s: float) -> Verdict:
    """Whether the request keeps both targets: `missed` as soon as one is, `met` only when both are."""
    both = (ttft_verdict(request, targets, now_s), itl_verdict(request, targets, now_s))
    if "missed" in both:
        return "missed"
    return "open" if "open" in both else "met"


def _age_until_s(request: RequestRecord, now_s: float) -> float:
    return now_s if request.ended_s is None else request.ended_s


def _between(start_s: float | None, end_s: float | None) -> float | None:
    return end_s - start_s if start_s is not None and end_s is not None else None
