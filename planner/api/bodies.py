"""What clients send: orders of people, messages of launchers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from planner.scaling.types import Role

# One line without control characters: these texts go into logs and the journal.
_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=_ONE_LINE)]
Why = Annotated[str, Field(min_length=1, max_length=500, pattern=_ONE_LINE)]
Count = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
Replicas = dict[Role, Count]


class Body(BaseModel):
    """Base of all requests: a field that is not known is refused, lest an order mean less than it says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Order(Body):
    """Base of people's orders."""

    why: Why
    """For the record, and for whoever wonders."""
    by: Name = "api"
    """Who orders it."""


class ServiceOrder(Order):
    """An order about one service."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"service": "chat", "why": "load test", "by": "ada"}]})

    service: Name


class HoldOrder(ServiceOrder):
    """Keep pools of a service at these replicas until a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"service": "chat", "replicas": {"decode": 6}, "until_s": 1767229200, "why": "launch", "by": "ada"}
            ]
        }
    )

    replicas: Annotated[Replicas, Field(min_length=1)]
    """Pools that are not named stay free."""
    until_s: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
    """Seconds since the epoch."""


class DryRunOrder(Order):
    """Whether plans of all services are made and not applied."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"on": True, "why": "first day", "by": "ada"}]})

    on: Annotated[bool, Field(strict=True)]


class Acknowledgement(Body):
    """A launcher's word on an order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"completed": True, "ready": {"prefill": 2, "decode": 4}},
                {"completed": False, "reason": "no free node"},
            ]
        }
    )

    completed: Annotated[bool, Field(strict=True)]
    reason: Why | None = None
    """Why not."""
    ready: Replicas | None = None
    """Replicas that are ready now."""


class ReadyReport(Body):
    """Replicas a launcher has ready."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ready": {"prefill": 2, "decode": 3}}]})

    ready: Annotated[Replicas, Field(min_length=1)]
