"""Which maps fit the series found under a selector, and which series is to tell each quantity.

A map fits under a spelling of its prefix when one of its `reporting` series is there. Routers may be looked for under a
selector of their own, since their labels differ from those of engines. Router maps are preferred for what users see
(arrivals, time to first token), engine maps for the rest; only an engine tells how many replicas report.
More series never lose a quantity. Names alone are judged here: whether a series has fresh samples is for queries.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from planner.sources.prometheus.maps import Alternative, Kind, MetricMap, Quantity, Ratio

_SEEN_BY_USERS = frozenset({Quantity.ARRIVALS, Quantity.TTFT_S, Quantity.TTFT_BUCKETS})


@dataclass(frozen=True, slots=True)
class Chosen:
    """The alternative that tells a quantity, and the spelling under which its series were found."""

    map: MetricMap
    prefix: str
    alternative: Alternative
    older: tuple[Ratio, ...] = ()
    """Further ratios that are there: in a rolling upgrade across a renaming some pods have no others."""

    def spelt(self, series: str) -> str:
        """A series of the map as it is called here."""
        return self.map.spelt(series, self.prefix)


Choice = Mapping[Quantity, Chosen]


@dataclass(frozen=True, slots=True)
class Detection:
    """What the series found are good for. Every quantity is in `choice` or in `missing`."""

    engines: tuple[str, ...]
    """Names of the maps that fit; the one with most quantities first."""
    routers: tuple[str, ...]
    choice: Choice
    missing: Mapping[Quantity, str]
    """Why a quantity has no series, in a line."""
    conflicts: tuple[str, ...]
    """A line for each kind of which more than one is there: sums then tell a part of the fleet."""


@dataclass(frozen=True, slots=True)
class _Fit:
    map: MetricMap
    prefix: str
    choice: Choice

    @property
    def title(self) -> str:
        return f"{self.map.name} ({self.prefix or 'no prefix'})"


def detect(
    names: Collection[str], maps: Mapping[str, MetricMap], router_names: Collection[str] | None = None
) -> Detection:
    """What the series called `names` tell, by the maps given.

    `router_names` are the series under the router's own selector; None where it is the service's.
    """
    there: Mapping[Kind, frozenset[str]] = {
        "engine": frozenset(names),
        "router": frozenset(names if router_names is None else router_names),
    }
    fits = [
        _Fit(each, prefix, _choice(each, prefix, there[each.kind]))
        for each in maps.values()
        for prefix in each.spellings
    ]
    # Sorting is stable, so of equals the map named first is preferred.
    fits = sorted((fit for fit in fits if Quantity.REPORTING in fit.choice), key=lambda fit: -len(fit.choice))
    engines = [fit for fit in fits if fit.map.kind == "engine"]
    routers = [fit for fit in fits if fit.map.kind == "router"]
    choice: dict[Quantity, Chosen] = {}
    missing: dict[Quantity, str] = {}
    for quantity in Quantity:
        preferred = [*routers, *engines] if quantity in _SEEN_BY_USERS else [*engines, *routers]
        if quantity is Quantity.REPORTING:
            preferred = engines
        chosen = next((fit.choice[quantity] for fit in preferred if quantity in fit.choice), None)
        if chosen:
            choice[quantity] = chosen
        else:
            missing[quantity] = _why(quantity, preferred, routers)
    return Detection(
        tuple(dict.fromkeys(fit.map.name for fit in engines)),
        tuple(dict.fromkeys(fit.map.name for fit in routers)),
        choice,
        missing,
        (*_conflict("engine", engines), *_conflict("router", routers)),
    )


def _choice(each: MetricMap, prefix: str, there: frozenset[str]) -> Choice:
    choice = {}
    for quantity, alternatives in each.quantities.items():
        found = [one for one in alternatives if there.issuperset(each.spelt(series, prefix) for series in one.needs)]
        if found:
            best, *others = found
            # Ratios of one unit may stand for one another, pod by pod.
            older = (one for one in others if isinstance(one, Ratio) and one.unit == best.unit)
            choice[quantity] = Chosen(each, prefix, best, tuple(older) if isinstance(best, Ratio) else ())
    return choice


def _why(quantity: Quantity, tried: Sequence[_Fit], routers: Sequence[_Fit]) -> str:
    if tried:
        return "; ".join(f"{fit.map.name}: {_lack(quantity, fit)}" for fit in tried)
    if routers:
        return f"{routers[0].map.name}: tells of itself, not of replicas; scrape the engines too"
    return "no metric map fits the series found; check the selector, or give a map"


def _lack(quantity: Quantity, fit: _Fit) -> str:
    alternatives = fit.map.quantities.get(quantity, ())
    if not alternatives:
        return fit.map.why_absent(quantity)
    return " and ".join(fit.map.spelt(series, fit.prefix) for series in alternatives[0].needs) + " not found"


def _conflict(kind: Kind, fits: Sequence[_Fit]) -> tuple[str, ...]:
    if len(fits) < 2:
        return ()
    titles = " and ".join(fit.title for fit in fits)
    return (
        f"{titles} report under one selector; numbers are those of {fits[0].title}, of another only what it lacks; "
        f"select one {kind}",
    )
