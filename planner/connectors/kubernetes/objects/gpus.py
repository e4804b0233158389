"""GPUs that one replica holds, counted from pod specs as the scheduler counts them.

For each resource, limits of a pod's containers are summed; init containers run one after another before them, so the
largest counts; native sidecars (init containers with restartPolicy Always) stay, and are added to all that follows
(KEP-753, "Resources calculation for scheduling and pod admission"). Claims of dynamic resource allocation are added
once a pod. Devices are counted, whatever their size: one slice of MIG is one.

Nothing is guessed: no GPU found, two kinds of them, or a claim that cannot be counted is an error that names the
target and what to configure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from planner.connectors.kubernetes.objects.kinds import TargetError, name_of
from planner.connectors.kubernetes.objects.paths import Object, path, read
from planner.connectors.kubernetes.objects.shapes import shape_of

GPU_RESOURCE = re.compile(
    r"nvidia\.com/(gpu|mig-.+)|amd\.com/gpu|gpu\.intel\.com/(?!.*_monitoring$|millicores$|memory\.max$|tiles$).+"
    r"|google\.com/tpu|aws\.amazon\.com/neuron.*|habana\.ai/gaudi"
)
"""Extended resources that are devices. Shares (nvidia.com/gpu.shared) are none, nor are Intel's monitors and parts."""
GPU_DEVICE_CLASS = re.compile(r"(gpu|mig|vfio)\.nvidia\.com|gpu\.(amd|intel)\.com|tpu\.google\.com|neuron\.aws\.com")
"""Device classes that the vendors' drivers of dynamic resource allocation install."""
OTHER_DEVICE_CLASS = re.compile(r"compute-domain.*\.nvidia\.com")
"""Device classes known to be no GPU."""

Gpus = Counter[str]
"""Devices by resource name or device class."""


def gpus_per_replica(target: Object, component: str, claim_templates: Mapping[str, Object], role: str) -> int:
    """GPUs of one replica of the component, from the target's object.

    `claim_templates` are the namespace's ResourceClaimTemplates by name; `role` names the pool in the remedy.
    Raises TargetError when they are unknown, none, or of two kinds.
    """
    return _total(target, role, shape_of(target, component), claim_templates)


def gpus_of_pods(target: Object, pods: Iterable[Object], claim_templates: Mapping[str, Object], role: str) -> int:
    """GPUs of one replica from its running pods, all of one replica; for targets whose object does not say.

    Raises TargetError when they are unknown, none, or of two kinds.
    """
    return _total(target, role, ((1, pod.get("spec") or {}) for pod in pods), claim_templates)


def _total(target: Object, role: str, pods: Iterable[tuple[int, Object]], claims: Mapping[str, Object]) -> int:
    name, remedy = name_of(target), f"set {role}.gpus_per_replica"
    gpus: Gpus = Counter()
    try:
        for count, spec in pods:
            for device, each in (_extended(spec) + _claimed(spec, claims)).items():
                gpus[device] += count * each
    except _UncountableError as why:
        raise TargetError(f"target: {name}: {why}; {remedy}") from why
    held = +gpus
    if not held:
        raise TargetError(f"target: {name}: no GPU is found in its pod template; {remedy}")
    if len(held) > 1:
        kinds = " and ".join(f"{count} {device}" for device, count in sorted(held.items()))
        raise TargetError(f"target: {name}: a replica holds GPUs of several kinds, {kinds}; {remedy}")
    return held.total()


class _UncountableError(ValueError):
    """Why GPUs cannot be counted."""


# --- extended resources -----------------------------------------------------------------------------------------


def _extended(spec: Object) -> Gpus:
    running: Gpus = Counter()
    for container in spec.get("containers") or []:
        running += _limits(container)
    sidecars: Gpus = Counter()
    starting: Gpus = Counter()
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            sidecars += _limits(container)
            starting |= sidecars
        else:
            starting |= sidecars + _limits(container)
    return (running + sidecars) | starting


def _limits(container: Object) -> Gpus:
    """GPUs of one container. Extended resources have equal requests and limits, and limits are what must be given."""
    limits = read(container, path(".resources.limits")) or {}
    return Counter({name: _whole(name, said) for name, said in limits.items() if GPU_RESOURCE.fullmatch(name)})


def _whole(name: str, said: Any) -> int:
    if type(said) is int or (isinstance(said, str) and said.isdecimal()):
        return int(said)
    raise _UncountableError(f"{name}: {said!r} is no whole number of devices")


# --- claims of dynamic resource allocation ----------------------------------------------------------------------


def _claimed(spec: Object, templates: Mapping[str, Object]) -> Gpus:
    gpus: Gpus = Counter()
    for claim in spec.get("resourceClaims") or []:
        name = claim.get("resourceClaimTemplateName")
        if name is None:
            raise _UncountableError(f"resource claim {claim.get('resourceClaimName')!r} may be shared by several pods")
        if name not in templates:
            raise _UncountableError(f"there is no ResourceClaimTemplate {name!r}")
        for request in read(templates[name], path(".spec.spec.devices.requests")) or []:
            gpus += _requested(name, request)
    return gpus


def _requested(template: str, request: Object) -> Gpus:
    """Devices of one request: within `exactly` or `firstAvailable` as in v1, or flat as in v1beta1."""
    where = f"ResourceClaimTemplate {template!r}, request {request.get('name')!r}"
    if alternatives := request.get("firstAvailable"):
        first, *others = (_exact(where, each) for each in alternatives)
        if any(each != first for each in others):
            raise _UncountableError(f"{where} has alternatives that differ")
        return first
    return _exact(where, request.get("exactly") or request)


def _exact(where: str, request: Object) -> Gpus:
    device_class = str(request.get("deviceClassName"))
    if OTHER_DEVICE_CLASS.fullmatch(device_class) or request.get("adminAccess"):
        return Counter()
    if not GPU_DEVICE_CLASS.fullmatch(device_class):
        raise _UncountableError(f"{where}: it is not known whether devices of class {device_class!r} are GPUs")
    if request.get("allocationMode", "ExactCount") != "ExactCount":
        raise _UncountableError(f"{where} asks for every device of a node")
    return Counter({device_class: _whole(f"{where}, count", request.get("count", 1))})
