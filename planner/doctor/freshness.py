"""Whether samples come often enough for the window, and early enough to be believed.

A rate needs two samples in the window, and four so that a lost scrape changes little.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.doctor.evidence import Evidence, ServiceEvidence
from planner.doctor.finding import Finding, Level
from planner.scaling.types import Sample

_FEWEST, _ENOUGH = 2, 4
_PUNCTUAL = 1.02
"""Scrapes come a little early or late; a window is not too short for that."""


def starved(evidence: Evidence, one: ServiceEvidence) -> bool:
    """The window holds too few samples for any rate: what is missing, is missing for that."""
    interval_s = one.scrape_interval_s
    return interval_s is not None and evidence.setup.window_s * _PUNCTUAL < _FEWEST * interval_s


def scrapes(evidence: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """The scrape interval against `prometheus.window_s` and `observe.max_age_s`."""
    if not one.reporting:
        return
    interval_s, window_s, max_age_s = one.scrape_interval_s, evidence.setup.window_s, one.wanted.max_age_s
    if interval_s is None:
        text = "no replica has been scraped twice in the last 10 min, so the scrape interval is not known yet"
        yield Finding(one.name, "scrapes", Level.REMARK, text, "ask again after the second scrape")
        return
    held = f"every {interval_s:.3g} s, {window_s / interval_s:.3g} in prometheus.window_s {window_s:g} s"
    configured_s = float(f"{interval_s:.2g}")
    remedy = f"prometheus.window_s: give {math.ceil(_ENOUGH * configured_s)}, or scrape more often"
    if starved(evidence, one):
        yield Finding(one.name, "scrapes", Level.PROBLEM, f"{held}; a rate needs {_FEWEST}", remedy)
    elif window_s * _PUNCTUAL < _ENOUGH * interval_s:
        yield Finding(one.name, "scrapes", Level.REMARK, f"{held}; below {_ENOUGH}, one that is lost shows", remedy)
    else:
        yield Finding(one.name, "scrapes", Level.GOOD, held)
    if interval_s * _FEWEST > max_age_s:
        never = interval_s > max_age_s
        yield Finding(
            one.name, "scrapes", Level.PROBLEM if never else Level.REMARK,
            f"observe.max_age_s {max_age_s:g} s is {'less than' if never else 'hardly more than'} the scrape interval "
            f"of {interval_s:.3g} s: samples grow stale {'between two scrapes' if never else 'with one lost scrape'}",
            f"observe.max_age_s: give {math.ceil(3 * configured_s)}, or scrape more often",
        )  # fmt: skip


def ages(_: Evidence, one: ServiceEvidence) -> Iterator[Finding]:
    """The oldest sample against `observe.max_age_s`."""
    samples = one.samples
    read = [
        samples.rate_per_s, samples.isl_tokens, samples.osl_tokens, samples.ttft_s, samples.queue_s, samples.itl_s,
        *(each for pool in samples.pools.values() for each in (pool.reporting, pool.waiting, pool.running)),
    ]  # fmt: skip
    oldest_s = max((one.asked_at_s - each.at_s for each in read if isinstance(each, Sample)), default=None)
    if oldest_s is None:
        return
    max_age_s = one.wanted.max_age_s
    text = f"the oldest sample is {oldest_s:.1f} s old, believed up to observe.max_age_s {max_age_s:g} s"
    if oldest_s <= max_age_s:
        yield Finding(one.name, "ages", Level.GOOD, text)
    else:
        yield Finding(
            one.name, "ages", Level.PROBLEM, f"{text}; a stale sample may raise the fleet, never lower it",
            "see on Prometheus's page /targets which pod is not scraped; one that is gone vanishes in five minutes",
        )  # fmt: skip
