"""What a service's orders look like to the planner: how the order stands now, and the replica counts that follow.

Times are seconds since the epoch. Ordered replicas that are not ready yet are starting, unless their order is overdue
or was refused: then nobody found room for them, and they are pending, so that no more is ordered on top. A refusal
speaks for as long as its back-off; after that the replicas may be asked for again, and none is pending.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from planner.connectors.orders import ServiceOrders
from planner.scaling.types import Absent, ReplicaSamples, Role, Sample, Sampled

Standing = Literal["open", "completed", "refused", "overdue"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long launchers may take."""

    accept_within_s: float
    """An order that nobody answered for longer is overdue."""
    report_max_age_s: float
    """What a launcher said is ready is believed for so long."""


def standing(orders: ServiceOrders, patience: Patience, now_s: float) -> Standing:
    """What became of the order in force; completed when there never was one."""
    if orders.answer == "open" and orders.order is not None:
        return "overdue" if now_s > orders.order.given_at_s + patience.accept_within_s else "open"
    return orders.answer


def silent_for_s(orders: ServiceOrders, patience: Patience, now_s: float) -> float | None:
    """Since when a launcher that used to report does not; None while it may be believed."""
    if orders.report is None or now_s <= orders.report.at_s + patience.report_max_age_s:
        return None
    return now_s - orders.report.at_s


def replica_samples(orders: ServiceOrders, patience: Patience, now_s: float) -> Mapping[Role, ReplicaSamples]:
    """The replicas of each pool; absent, but for those wanted, while the launcher is silent."""
    silent_s = silent_for_s(orders, patience, now_s)
    ready_at_s = now_s if orders.report is None else orders.report.at_s
    return {role: _pool(orders, role, (patience, now_s), ready_at_s, silent_s) for role in orders.settled}


def _pool(
    orders: ServiceOrders, role: Role, at: tuple[Patience, float], ready_at_s: float, silent_s: float | None
) -> ReplicaSamples:
    patience, now_s = at
    wanted, ready = orders.target[role], orders.ready[role]
    starting, pending = max(wanted - ready, 0), 0
    match standing(orders, patience, now_s):
        case "overdue":
            starting, pending = 0, starting
        case "refused" if orders.refusal is not None and now_s < orders.refusal.until_s:
            starting, pending = 0, max(orders.refusal.replicas[role] - ready, 0)

    def said(count: int) -> Sampled:
        return Sample(count, ready_at_s) if silent_s is None else Absent(f"launcher silent for {silent_s:.0f} s")

    return ReplicaSamples(
        wanted=Sample(wanted, now_s),
        ready=said(ready),
        starting=said(starting),
        pending=said(pending),
        draining=said(max(ready - wanted, 0)),
        # What the replicas are made of is the launcher's: the planner sees no roll-out.
        rolling_out=Sample(0, now_s),
    )
