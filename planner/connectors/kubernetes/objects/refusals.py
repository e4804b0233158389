"""Objects that must not be scaled, because their own controller, or another, would set the count back.

Each function takes the object and a component, and gives the reason with what to scale instead, or None. They judge
the object alone; what its owners and rival autoscalers do is judged in `owners`.
"""

from __future__ import annotations

from planner.connectors.kubernetes.objects.paths import Object, path, read

EXTERNAL_CLASS = "serving.kserve.io/autoscalerClass"


def dynamo_graph(target: Object, component: str) -> str | None:
    """A component that opted in to a scaling adapter; its webhook refuses direct changes.

    v1alpha1 opts in by `scalingAdapter.enabled`, v1beta1 by the presence of `scalingAdapter`.
    """
    service = read(target, (*path(".spec.services"), component))
    opted_in = read(service, path(".scalingAdapter.enabled")) is True
    for each in read(target, path(".spec.components")) or []:
        if each.get("name") == component and isinstance(each.get("scalingAdapter"), dict):
            opted_in = each["scalingAdapter"].get("enabled") is not False
    if not opted_in:
        return None
    adapter = f"{read(target, path('.metadata.name'))}-{component.lower()}"
    return f"{component} has a scaling adapter; scale DynamoGraphDeploymentScalingAdapter {adapter} instead"


def inference_service(target: Object, component: str) -> str | None:
    """Always: its replicas are its Deployment's."""
    deployment = f"Deployment {read(target, path('.metadata.name'))}-predictor"
    if is_external(target):
        return f"it has bounds, and no count; scale {deployment} instead"
    return f"its controller scales it; set its annotation {EXTERNAL_CLASS} to external, and scale {deployment}"


def is_external(inference_service: Object) -> bool:
    """Whether KServe leaves an InferenceService's Deployment to an autoscaler from outside."""
    annotations = read(inference_service, path(".metadata.annotations")) or {}
    return bool(annotations.get(EXTERNAL_CLASS) == "external")


def llm_inference_service(target: Object, component: str) -> str | None:
    """One that scales itself."""
    for where in (".spec.scaling", ".spec.prefill.scaling"):
        if read(target, path(where)) is not None:
            return f"it scales itself by {where}; remove that, and scale it by its replicas"
    return None


def nim_service(target: Object, component: str) -> str | None:
    """One that made an autoscaler for itself."""
    if read(target, path(".spec.scale.enabled")) is True:
        return "its operator scales it by an HPA; set .spec.scale.enabled to false, and scale it then"
    return None


def ray_cluster(target: Object, component: str) -> str | None:
    """One whose worker groups belong to Ray's autoscaler."""
    for where in (".spec.enableInTreeAutoscaling", ".spec.rayClusterConfig.enableInTreeAutoscaling"):
        if read(target, path(where)) is True:
            return f"Ray's autoscaler owns its worker groups; set {where} to false, or leave the scaling to Ray"
    return None


def roles_of_one(target: Object, component: str) -> str | None:
    """A role of an object that runs its roles several times over: every copy would get the count."""
    copies = read(target, path(".spec.replicas"))
    if component and copies not in {None, 1}:
        return f"it runs {copies} copies of all its roles; scale it as a whole, or set .spec.replicas to 1"
    return None


def disaggregated_set(target: Object, component: str) -> str | None:
    """Always: its roles have scalers."""
    return "its roles are scaled apart; give the role scaling.mode External and scale its DisaggregatedSetRoleScaler"


def role_based_group(target: Object, component: str) -> str | None:
    """Always: its roles have adapters."""
    return "its roles are scaled apart; set the role's scalingAdapter.enable and scale its RoleBasedGroupScalingAdapter"
