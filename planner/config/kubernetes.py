"""Which objects of a Kubernetes cluster a service's pools are, in the style of `planner.config.model`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from planner.config.section import NotNegative, Section


def _is_target(text: str) -> str:
    from planner.connectors.kubernetes.objects.targets import target_of
    from planner.errors import UserError

    try:
        target_of(text, "default")
    except UserError:
        raise PydanticCustomError("target", "not a target") from None
    return text


Target = Annotated[str, AfterValidator(_is_target)]
_TARGET = "a target such as Deployment/vllm, Kind.group/name or Kind/name#component, or null"


class Kubernetes(Section):
    """What is scaled, where replicas run on Kubernetes."""

    namespace: str = Field(
        default="default",
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        title="the name of a namespace",
        description="Namespace of the targets. `default`, as kubectl has it.",
    )
    prefill: Target | None = Field(
        default=None,
        title=_TARGET,
        description="The prefill pool's object, such as Deployment/vllm-prefill; disaggregated mode only. A kind whose "
        "group is not known by its name takes it as well (Kind.group/name), an object that holds several counts the "
        "component (DynamoGraphDeployment/graph#VllmPrefillWorker). null: none.",
    )
    decode: Target | None = Field(
        default=None, title=_TARGET, description="The decode pool's object; disaggregated mode only. null: none."
    )
    aggregated: Target | None = Field(
        default=None, title=_TARGET, description="The only pool's object in aggregated mode. null: none."
    )
    actuator: Literal["planner", "external"] = Field(
        default="planner",
        description="Who sets the replicas. planner: the planner itself; external: an HPA or KEDA, which ask for the "
        "figure, while nothing is written (docs/keda.md). planner, because an HPA looks every 15 s only, and drops "
        "steps of less than a tenth unless it is told otherwise.",
    )
    on_change: Literal["respect", "reclaim", "pause"] = Field(
        default="respect",
        description="What to do when somebody else sets the replicas. respect: their count stands for `respect_s`; "
        "reclaim: ours is written back; pause: nothing is written until somebody resumes. respect, because whoever "
        "scales by hand has a reason. Two such changes within ten minutes stop the planner on that target.",
    )
    respect_s: NotNegative = Field(
        default=1800,
        description="For how long a count that somebody else set stands, in seconds. 1800: time enough to finish, or "
        "to pause the planner.",
    )
    idlest_first: bool = Field(
        default=False,
        description="Before a pool is lowered, mark its idlest pods with the annotation "
        "controller.kubernetes.io/pod-deletion-cost, so that they go first; only a Deployment's ReplicaSet looks "
        "at it. false, because it takes the permission to patch pods.",
    )
