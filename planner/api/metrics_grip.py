"""The connector's hold on Kubernetes as Prometheus metrics."""

from __future__ import annotations

from prometheus_client.core import CounterMetricFamily, Metric

from planner.api.metrics_services import PREFIX, gauge
from planner.connectors.grip import Grip


def of_grip(grip: Grip | None) -> list[Metric]:
    """Without samples where no orchestrator is held."""
    leader = gauge("leader", "1 while this process holds the Lease and may write, 0 while it stands by.")
    contended = gauge("contended", "1 while somebody else's count stands in a pool.", "service", "pool")
    blind = gauge("kubernetes_watches_broken", "Kinds of objects that cannot be watched.")
    calls = CounterMetricFamily(
        PREFIX + "kubernetes_requests", "Calls to the API server, by what came back.", labels=["verb", "code"]
    )
    lost = CounterMetricFamily(PREFIX + "kubernetes_events_lost", "Events that could not be told.")
    if grip is not None:
        leader.add_metric([], grip.leads)
        for service, pools in grip.contended.items():
            for role in pools:
                contended.add_metric([service, role.value], 1)
        blind.add_metric([], grip.blind)
        for (verb, code), count in grip.calls.items():
            calls.add_metric([verb, code], count)
        lost.add_metric([], grip.events_lost)
    return [leader, contended, blind, calls, lost]
