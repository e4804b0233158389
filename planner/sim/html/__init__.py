"""Simulated runs as one HTML page for the person who pays and the person on call.

The page holds everything, plotly.js included, and its content security policy forbids it to load anything. It follows
the reader's light or dark scheme. Top down: what to take away, one table, the frontier of service over cost, and for
each run and service the load with what the metrics showed and what was forecast, the share in time, replicas against
need, latency against the targets, and every decision with its reasons. Truth and what the planner could see stand side
by side; what is missing is a gap.

`page.html` is the template, `page.css` and `page.js` its looks and charts. `verdict` and `tables` write its words,
`data` and `frontier` say what the charts show, `names` what a run is called.
"""

from __future__ import annotations

from planner.sim.html.page import page, plotly_script

__all__ = ["page", "plotly_script"]
