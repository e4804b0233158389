"""Template and content, put together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from planner import __version__
from planner.sim.baselines.contenders import World
from planner.sim.compare import Played
from planner.sim.html.data import chart_data
from planner.sim.html.tables import decisions, summary
from planner.sim.html.verdict import title, verdict


def plotly_script() -> str:
    """The library that draws the charts. Raises ModuleNotFoundError without plotly."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def page(played: Sequence[Played], world: World, subject: str, script: str) -> str:
    """The page about `played`, the first of which is what it is about; `script` is plotly's.

    `subject` says what was played on what. Replicas needed are shown for the runs of `world`'s own load.
    """
    targets = {name: service.targets for name, service in world.services.items()}
    return Template(_part("page.html")).substitute(
        title=escape(title(played)),
        subject=escape(subject),
        verdict=escape(verdict(played, targets)),
        summary=summary(played, targets),
        decisions="\n".join(decisions(one, index) for index, one in enumerate(played)),
        # "</script>" in a name would end the element that holds the data.
        data=json.dumps(chart_data(played, world), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        css=_part("page.css"),
        plotly=script,
        js=_part("page.js"),
        version=escape(__version__),
    )


def _part(name: str) -> str:
    return (files("planner.sim.html") / name).read_text(encoding="utf-8")
