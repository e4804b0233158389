"""Whether each pool's target can be scaled, and is nobody else's to scale."""

from __future__ import annotations

from collections.abc import Iterator

from planner.connectors.kubernetes.objects.kinds import bounds_of, part_of, refusal, replicas_of
from planner.connectors.kubernetes.objects.owners import owner_refusal, rival
from planner.doctor.cluster.evidence import ClusterEvidence, Found, PoolEvidence
from planner.doctor.cluster.wording import count_of, said
from planner.doctor.finding import Finding, Level, parted
from planner.scaling.types import Absent


def target(evidence: ClusterEvidence, one: PoolEvidence) -> Iterator[Finding]:
    """It is there, holds a count, and neither its kind nor an owner forbids that it is set."""
    found, ref = one.found, one.pool.target
    if isinstance(found, Absent):
        text, remedy = parted(found.cause.removeprefix("target: "))
        yield said(one, "target", Level.PROBLEM, text, f"kubernetes.{one.role}: {remedy}")
        return
    if found is None:
        return
    part = part_of(found.kind, ref.component)
    why = refusal(found.kind, found.target, ref.component) or owner_refusal(evidence.above(one))
    if why is not None and one.service.name not in evidence.fleet.external:
        text, remedy = parted(why)
        yield said(one, "target", Level.PROBLEM, f"{ref} would not be scaled: {text}", remedy)
        return
    replicas = replicas_of(found.kind, found.target, ref.component)
    if isinstance(replicas, Absent):
        wrong = "correct the component, or write the count there once"
        yield said(one, "target", Level.PROBLEM, replicas.cause, f"kubernetes.{one.role}: {wrong}")
    elif part is not None and part.through == "scale" and not found.resource.scalable:
        text = f"{ref} cannot be scaled: {found.resource.api_version} serves no scale subresource for it"
        yield said(one, "target", Level.PROBLEM, text, f"kubernetes.{one.role}: give an object that has one")
    elif replicas == 0 and one.service.name not in evidence.fleet.external:
        yield said(
            one, "target", Level.PROBLEM,
            f"{ref} has 0 replicas, which means maintenance: nothing is written until somebody sets it above 0",
            f"when that is over, set it to {one.service.pools[one.role].min_replicas} or more",
        )  # fmt: skip
    else:
        yield said(one, "target", Level.GOOD, f"{ref}, {count_of(replicas, 'replica')}")


def bounds(evidence: ClusterEvidence, one: PoolEvidence) -> Iterator[Finding]:
    """What it has and allows, against `min_replicas` and `max_replicas`."""
    if not isinstance(one.found, Found) or one.service.name in evidence.fleet.external:
        return
    settings = one.service.pools[one.role]
    least, most = bounds_of(one.found.kind, one.found.target, one.pool.target.component)
    if least > settings.min_replicas:
        yield said(
            one, "bounds", Level.PROBLEM,
            f"{one.pool.target} allows no fewer than {least} replicas, and min_replicas is {settings.min_replicas}: a "
            "plan below would be refused",
            f"{one.role}.min_replicas: give {least}",
        )  # fmt: skip
    if most is not None and (settings.max_replicas is None or most < settings.max_replicas):
        yield said(
            one, "bounds", Level.PROBLEM,
            f"{one.pool.target} allows no more than {most} replicas, and max_replicas is "
            f"{settings.max_replicas or 'not set'}: a plan above would be refused",
            f"{one.role}.max_replicas: give {most}",
        )  # fmt: skip
    now = replicas_of(one.found.kind, one.found.target, one.pool.target.component)
    if isinstance(now, Absent) or now == 0:
        return
    if now < settings.min_replicas:
        text = f"{count_of(now, 'replica')}, below min_replicas {settings.min_replicas}: it would be raised at once"
        yield said(one, "bounds", Level.REMARK, text, f"if that is not meant, {one.role}.min_replicas: give {now}")
    if settings.max_replicas is not None and now > settings.max_replicas:
        text = f"{count_of(now, 'replica')}, above max_replicas {settings.max_replicas}: it would be lowered"
        yield said(one, "bounds", Level.REMARK, text, f"if that is not meant, {one.role}.max_replicas: give {now}")


def autoscaler(evidence: ClusterEvidence, one: PoolEvidence) -> Iterator[Finding]:
    """No other autoscaler points at it or at an owner, unless one is to."""
    others = evidence.autoscalers.get(one.pool.target.object.namespace)
    if not isinstance(one.found, Found) or others is None:
        return
    why = rival(one.found.target, evidence.above(one), others)
    if one.service.name in evidence.fleet.external:
        if why is None:
            yield said(
                one, "autoscaler", Level.PROBLEM,
                f"kubernetes.actuator is external, and no autoscaler sets the replicas of {one.pool.target}",
                "give it an HPA or a ScaledObject that asks for the planner's figure",
            )  # fmt: skip
    elif why is not None:
        text, remedy = parted(why)
        yield said(one, "autoscaler", Level.PROBLEM, f"{one.pool.target} would not be scaled: {text}", remedy)
