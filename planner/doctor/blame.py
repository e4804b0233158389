"""Which of the labels that were written keeps series from being found, and what was probably meant."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from planner.doctor.finding import Finding, Level
from planner.sources.prometheus.answers import Labels, carries

_FEW = 5
"""Values of a label that are named."""


def blamed(service: str, setting: str, there: Collection[Labels], wanted: Labels) -> Finding:
    """Why no series is as `setting` wants it.

    To blame is the label without which some would be; else every label whose value is nowhere.
    """
    others = {label: {name: value for name, value in wanted.items() if name != label} for label in wanted}
    near = {label: [series for series in there if carries(series, others[label])] for label in wanted}
    if not any(near.values()):
        near = {
            label: list(there)
            for label, value in wanted.items()
            if not any(carries(series, {label: value}) for series in there)
        }
    if not near:
        text = f"{in_words(wanted)}: each label is there, but no series carries all of them"
        return Finding(service, "selector", Level.PROBLEM, text, f"{setting}: leave out one that is another service's")
    texts, remedies = [], []
    for label, series in near.items():
        if series:
            values = sorted({each[label] for each in series if each.get(label)})
            texts.append(f'{label}="{wanted[label]}": no series; {_named(label, values, wanted[label])}')
            remedies.append(_remedy(label, values, wanted[label]))
    return Finding(service, "selector", Level.PROBLEM, "; ".join(texts), f"{setting}: {', '.join(remedies)}")


def _named(label: str, values: list[str], wanted: str) -> str:
    if not values:
        return f"none carries {label}"
    close = get_close_matches(wanted, values, n=_FEW)
    shown = [*close, *(value for value in values if value not in close)]
    more = f" and {len(shown) - _FEW} more" if len(shown) > _FEW else ""
    return f"there {'is' if len(values) == 1 else 'are'} {', '.join(shown[:_FEW])}{more}"


def _remedy(label: str, values: list[str], wanted: str) -> str:
    if not values:
        return f"leave {label} out, or have it attached when scraping"
    close = values if len(values) == 1 else get_close_matches(wanted, values, n=1)
    return f"did you mean {label}={close[0]}?" if close else f"write {label}= with one that is there"


def in_words(labels: Labels) -> str:
    """Labels as Prometheus writes them, without the series' name."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__") + "}"
