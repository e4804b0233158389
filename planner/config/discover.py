"""Where services are found by their objects' labels, in the style of `planner.config.model`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from planner.config.section import Section

DEFAULT_KINDS = ["Deployment", "StatefulSet", "LeaderWorkerSet"]


def _is_kind(text: str) -> str:
    from planner.connectors.kubernetes.objects.targets import target_of
    from planner.errors import UserError

    try:
        target_of(f"{text}/any", "any")
    except UserError:
        raise PydanticCustomError("kind", "not a kind") from None
    return text


Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Kind = Annotated[str, AfterValidator(_is_kind)]


class Discover(Section):
    """Where services are found by labels on what is scaled, see docs/discovery.md."""

    namespaces: list[Namespace] = Field(
        default=[],
        title="a list of names of namespaces",
        description="Namespaces in which objects labelled sla-planner.io/service are services. Empty: nothing is "
        "discovered, because whoever may label an object there says what the planner scales.",
    )
    kinds: list[Kind] = Field(
        default=DEFAULT_KINDS,
        title="a list of kinds such as Deployment or Kind.group",
        description="Kinds of object that are looked at, spelt as in targets; with one count each. Those that nearly "
        "all engines run in.",
    )
