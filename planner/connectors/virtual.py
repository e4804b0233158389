"""Orders for a launcher the planner does not know: Slurm, bare metal, anything that polls.

The planner hands out what each service should have; a launcher fetches it (`orders`), brings it about in its own way,
and answers (`acknowledge`, `report`). Orders and answers survive a restart of the planner in a file; nothing is
changed before it is written. Any number of launchers may poll; they speak of one fleet.

Everything belongs to one event loop, and no change awaits anything: it is made whole or not at all. The file is
written in that loop, whole, at every order, answer and report: 3 kB a service, so for tens of services, not thousands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from planner.clock import Clock
from planner.connectors.orders import Counts, LauncherError, Order, ServiceOrders
from planner.connectors.standing import Patience, replica_samples, silent_for_s, standing
from planner.connectors.state_file import StateFileError, read_orders, write_orders
from planner.connectors.types import Applied, Plan
from planner.scaling.types import Absent, ReplicaSamples, Role

Acknowledged = Literal["completed", "refused", "superseded", "already completed"]
"""How an answer was taken: as it was meant; too late, another order is in force; or against what stands."""


class VirtualConnector:
    """A connector whose replicas are somebody else's to start and stop."""

    def __init__(
        self,
        pools: Mapping[str, Mapping[Role, int]],
        clock: Clock,
        *,
        state: Path | None,
        accept_within_s: float,
        report_max_age_s: float,
    ) -> None:
        """`pools` is what each service has where `state` says nothing of it, or speaks of other pools.

        Raises StateFileError when `state` cannot be read or written.
        """
        saved = {} if state is None else read_orders(state)
        self._services = {name: _resumed(saved.get(name), counts) for name, counts in pools.items()}
        self._clock = clock
        self._state = state
        self._patience = Patience(accept_within_s, report_max_age_s)
        self._ordered = {name: asyncio.Event() for name in pools}
        """Set, and replaced, when a service gets an order."""
        if state is not None:
            write_orders(state, self._services)

    # --- what the planner calls ---------------------------------------------------------------------------------

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        """The replicas as ordered and as last reported."""
        orders = self._services.get(service)
        if orders is None:
            unknown = Absent(_unknown(service, self._services))
            return dict.fromkeys(Role, ReplicaSamples(unknown, unknown, unknown, unknown, unknown, unknown))
        return replica_samples(orders, self._patience, self._clock.now_s())

    async def apply(self, plan: Plan) -> Applied:
        """Order what differs from what is ordered already."""
        orders = self._services.get(plan.service)
        if orders is None:
            return Applied("refused", _unknown(plan.service, self._services))
        for role in plan.replicas:
            if role not in orders.settled:
                return Applied("refused", f"replicas: {plan.service} has no {role} pool")
        now_s = self._clock.now_s()
        order = Order(plan.decision, {**orders.target, **plan.replicas}, now_s)
        if order.replicas == orders.target and orders.answer != "refused":
            return Applied("unchanged", self._in_force(orders, now_s))
        return _obstacle(orders, order) or self._hand_out(plan.service, order)

    async def close(self) -> None:
        """Send those who wait for orders away."""
        for event in self._ordered.values():
            event.set()

    # --- what launchers call ------------------------------------------------------------------------------------

    async def orders(self, service: str, after: str | None, wait_s: float) -> Order | None:
        """The order in force, once it is another than `after`; None when it is not within `wait_s`.

        Without `after` the order in force is given whatever became of it: whoever asks so has forgotten it.
        Raises LauncherError for an unknown service.
        """
        if (order := self._newer(service, after)) is not None:
            return order
        given = asyncio.ensure_future(self._ordered[service].wait())
        over = asyncio.ensure_future(self._clock.sleep_until(self._clock.now_s() + wait_s))
        try:
            await asyncio.wait((given, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            given.cancel()
            over.cancel()
        return self._newer(service, after)

    def acknowledge(
        self, service: str, order_id: str, completed: bool, reason: str | None, ready: Counts | None
    ) -> Acknowledged:
        """Take a launcher's answer to an order; the same answer again is taken the same way, and changes nothing.

        `ready` is a report, and `reason` says why the order was refused.
        Raises LauncherError for an unknown service, an order that was never given, or counts that cannot be, and
        StateFileError when the answer cannot be kept. Nothing is changed then.
        """
        orders = self._of(service)
        order = orders.order
        if order is None or order.id != order_id:
            if orders.gave(order_id):
                return "superseded"
            raise LauncherError(f"order: {order_id!r} was not given, or is long past; fetch the order in force")
        if not completed and orders.answer == "completed":
            return "already completed"
        now_s = self._clock.now_s()
        answered = orders if ready is None else orders.reported(ready, now_s)
        if completed and orders.answer != "completed":
            answered = answered.completed(order)
        if not completed and orders.answer != "refused":
            silent = silent_for_s(answered, self._patience, now_s) is not None
            known_ready = answered.settled if silent else answered.ready
            answered = answered.refused(order, reason, known_ready, now_s)
        if answered is not orders:
            self._keep(service, answered)
        return "completed" if completed else "refused"

    def report(self, service: str, ready: Counts) -> None:
        """Take what a launcher says is ready, of every pool.

        Whoever reports once is expected to go on: without a word for longer than `report_max_age_s`, nothing is known
        of the replicas. Raises LauncherError for an unknown service or counts that cannot be, and StateFileError when
        the report cannot be kept. Nothing is changed then.
        """
        self._keep(service, self._of(service).reported(ready, self._clock.now_s()))

    # --- within -------------------------------------------------------------------------------------------------

    def _of(self, service: str) -> ServiceOrders:
        if service not in self._services:
            raise LauncherError(_unknown(service, self._services))
        return self._services[service]

    def _newer(self, service: str, after: str | None) -> Order | None:
        order = self._of(service).order
        return None if order is None or order.id == after else order

    def _keep(self, service: str, orders: ServiceOrders) -> None:
        services = {**self._services, service: orders}
        if self._state is not None:
            write_orders(self._state, services)
        self._services = services

    def _hand_out(self, service: str, order: Order) -> Applied:
        before = self._services[service]
        try:
            self._keep(service, before.ordered(order))
        except StateFileError as error:
            return Applied("failed", str(error))
        self._ordered[service].set()
        self._ordered[service] = asyncio.Event()
        return Applied("applied", f"ordered {_words(order.replicas)}, before {_words(before.target)}")

    def _in_force(self, orders: ServiceOrders, now_s: float) -> str:
        if orders.order is None:
            return f"{_words(orders.target)} from the beginning"
        stands = standing(orders, self._patience, now_s)
        late = f": no launcher answered within {self._patience.accept_within_s:.0f} s" if stands == "overdue" else ""
        return f"order {orders.order.id} of {_words(orders.target)} is {stands}{late}"


def _resumed(saved: ServiceOrders | None, pools: Counts) -> ServiceOrders:
    """An order speaks of every pool: where the pools are others now, it can no longer be in force."""
    return saved if saved is not None and saved.settled.keys() == pools.keys() else ServiceOrders.beginning(pools)


def _obstacle(orders: ServiceOrders, order: Order) -> Applied | None:
    """Why the order cannot be handed out now."""
    refusal = orders.refusal
    if refusal is not None and refusal.replicas == order.replicas and order.given_at_s < refusal.until_s:
        left_s = refusal.until_s - order.given_at_s
        detail = f"the launcher refused {_words(order.replicas)}: {refusal.reason}; asked again in {left_s:.0f} s"
        return Applied("refused", detail)
    if orders.gave(order.id):
        # A launcher that has seen this id would never fetch it again.
        return Applied("failed", f"decision {order.id} was ordered before, with other replicas")
    return None


def _words(counts: Counts) -> str:
    return ", ".join(f"{role} {count}" for role, count in counts.items())


def _unknown(service: str, services: Mapping[str, object]) -> str:
    return f"service: {service!r} is unknown; the services are {', '.join(services)}"
