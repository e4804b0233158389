"""What can be ordered, with the token: orders of people, and the messages of launchers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from planner.api import bodies, schemas
from planner.api.answers import described, refused
from planner.api.read_routes import Service, require
from planner.api.seams import Launchers, Planner
from planner.api.security import Security, bearer
from planner.api.views import controls_view

OrderId = Annotated[str, Path(max_length=64, description="As in the order.", examples=["000042"])]
After = Annotated[str | None, Query(max_length=64, description="The id of the order known already.")]
WaitS = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for another order.")]

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: described("The body is no text."),
    401: described("The token is missing or wrong."),
    403: described("It comes from another site."),
    409: described("It cannot be; nothing is changed."),
    413: described("The body is too long."),
    429: described("Too many within a minute."),
    503: described("No token is configured."),
}


def control_routes(planner: Planner, security: Security) -> APIRouter:
    """Orders of people. Each answers with all orders then in force."""
    router = APIRouter(
        prefix="/control",
        tags=["order"],
        dependencies=[Depends(bearer), Depends(security.authorise)],
        responses=_REFUSALS,
    )

    async def follow(order: Awaitable[None]) -> schemas.Controls:
        await order
        security.changed()
        return controls_view(planner.board())

    @router.post("/pause", dependencies=[Depends(security.may_change)])
    async def pause(order: bodies.ServiceOrder) -> schemas.Controls:
        """Make plans of a service and apply none."""
        return await follow(planner.pause(order.service, order.by, order.why))

    @router.post("/resume", dependencies=[Depends(security.may_change)])
    async def resume(order: bodies.ServiceOrder) -> schemas.Controls:
        """Apply a service's plans again."""
        return await follow(planner.resume(order.service, order.by, order.why))

    @router.post("/hold", dependencies=[Depends(security.may_change)])
    async def hold(order: bodies.HoldOrder) -> schemas.Controls:
        """Keep pools of a service at these replicas until a time, within the budget."""
        return await follow(planner.hold(order.service, order.replicas, order.until_s, order.by, order.why))

    @router.post("/release", dependencies=[Depends(security.may_change)])
    async def release(order: bodies.ServiceOrder) -> schemas.Controls:
        """End a hold."""
        return await follow(planner.release(order.service, order.by, order.why))

    @router.post("/dry-run", dependencies=[Depends(security.may_change)])
    async def dry_run(order: bodies.DryRunOrder) -> schemas.Controls:
        """Make plans of all services and apply none, or apply them again."""
        change = planner.pause if order.on else planner.resume
        return await follow(change(None, order.by, order.why))

    return router


def launcher_routes(planner: Planner, launchers: Launchers | None, security: Security) -> APIRouter:
    """Messages of launchers; 404 where replicas are not theirs to start."""
    router = APIRouter(
        prefix="/launcher",
        tags=["launch"],
        dependencies=[Depends(bearer), Depends(security.authorise)],
        responses={**_REFUSALS, 404: described("Unknown service, or no launchers here.")},
    )

    def of(service: str) -> Launchers:
        if launchers is None:
            raise refused(404, "launcher: this planner's connector starts replicas itself; configure the virtual one")
        require(planner.board(), service)
        return launchers

    @router.get(
        "/{service}/order",
        response_model=schemas.Order,
        responses={204: {"description": "There is no other order than the one known."}},
    )
    async def order(service: Service, after: After = None, wait_s: WaitS = 0.0) -> Any:
        """The order in force, once it is another than `after`."""
        given = await of(service).orders(service, after, wait_s)
        return Response(status_code=204) if given is None else schemas.Order(id=given.id, replicas=dict(given.replicas))

    @router.post("/{service}/orders/{order_id}")
    async def acknowledge(service: Service, order_id: OrderId, said: bodies.Acknowledgement) -> schemas.Answer:
        """Say what became of an order; saying it again changes nothing."""
        answer = of(service).acknowledge(service, order_id, said.completed, said.reason, said.ready)
        return schemas.Answer(answer=answer)

    @router.put("/{service}/ready", status_code=204)
    async def ready(service: Service, said: bodies.ReadyReport) -> None:
        """Report how many replicas are ready."""
        of(service).report(service, said.ready)

    return router
