"""The planner's own metrics under Prometheus's own linter."""

from __future__ import annotations

import subprocess

import pytest
from api_boards import Api, fake_planner

from planner.scaling.cap import Budget
from planner.sources.types import Queries


@pytest.mark.needs("prometheus")
def test_promtool_finds_nothing_to_say_about_our_metrics() -> None:
    planner = fake_planner("chat", "code", budget=Budget(64, 4, 9, 8), trouble=("one",))
    text = Api(planner, queries=lambda: Queries(9, {"timeout": 1}, 0.5)).get("/metrics").text

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert "sla_planner_source_query_failures_total" in text
