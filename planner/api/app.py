"""The application: guard, routes, one shape of error."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from planner import __version__
from planner.api.answers import answer_errors, described
from planner.api.events import event_routes
from planner.api.guard import Guard
from planner.api.metrics import metrics_routes
from planner.api.order_routes import control_routes, launcher_routes
from planner.api.page_routes import add_page
from planner.api.read_routes import probe_routes, read_routes
from planner.api.seams import Launchers, Planner
from planner.api.security import Security
from planner.connectors.grip import Grip
from planner.sources.types import Queries

_DESCRIPTION = """What a running planner sees, decides and does, and orders to it.

Times are seconds since the epoch. Null is "not known". Every error is `{"error": "field: value, remedy"}`.
"""


def create_app(
    planner: Planner,
    launchers: Launchers | None,
    security: Security,
    queries: Callable[[], Queries] | None = None,
    grip: Callable[[], Grip] | None = None,
) -> FastAPI:
    """The API of a planner.

    `launchers` is None where an orchestrator starts the replicas, `queries` where no server is asked for metrics,
    `grip` where no orchestrator is held.
    """
    app = FastAPI(
        title="sla-planner",
        version=__version__,
        description=_DESCRIPTION,
        # FastAPI's own pages of documentation fetch scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        responses={
            421: described("The Host header names another service."),
            422: described("A field is missing or not as it should be."),
        },
    )
    answer_errors(app)
    app.add_middleware(Guard, hosts=security.hosts)
    app.include_router(read_routes(planner, security))
    app.include_router(event_routes(planner))
    app.include_router(probe_routes(planner))
    app.include_router(metrics_routes(planner, queries, grip))
    app.include_router(control_routes(planner, security))
    app.include_router(launcher_routes(planner, launchers, security))
    add_page(app)
    return app
