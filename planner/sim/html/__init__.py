"""Simulated runs as one HTML page for the person who pays and the person on call.

The page holds everything, plotly.js included, and its content security policy forbids it to load anything. It follows
the reader's light or dark scheme. Top down: a sentence, one table, the frontier of service over cost, and for each run
the load and what was forecast, replicas against need, latency against the targets, and every decision with its reasons.

`page.html` is the template, `page.css` and `page.js` its looks and charts; `data` and `tables` fill it.
"""

from __future__ import annotations

from planner.sim.html.page import page, plotly_script

__all__ = ["page", "plotly_script"]
