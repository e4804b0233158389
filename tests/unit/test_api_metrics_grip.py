"""What /metrics tells of the hold on Kubernetes."""

from __future__ import annotations

import pytest

from planner.api.metrics_grip import of_grip
from planner.connectors.grip import Grip
from planner.scaling.types import Role


def samples(grip: Grip | None) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in of_grip(grip)
        for sample in family.samples
    }


@pytest.mark.parametrize("leads", [True, False])
def test_each_number_of_the_hold_is_told(leads: bool) -> None:
    grip = Grip(leads, {"chat": {Role.DECODE: "kubectl set 4"}}, {("PATCH", "200"): 3, ("WATCH", "Timeout"): 1}, 2, 5)

    assert samples(grip) == {
        "sla_planner_leader[]": leads,
        "sla_planner_contended['chat', 'decode']": 1,
        "sla_planner_kubernetes_watches_broken[]": 2,
        "sla_planner_kubernetes_requests_total['200', 'PATCH']": 3,
        "sla_planner_kubernetes_requests_total['Timeout', 'WATCH']": 1,
        "sla_planner_kubernetes_events_lost_total[]": 5,
    }


def test_without_a_cluster_nothing_is_told_of_one() -> None:
    assert samples(None) == {}
