"""Permissions as the doctor lists them, and as a Role grants them; the chart's Role is compared elsewhere."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from planner.connectors.kubernetes.objects.table import kind_of
from planner.connectors.kubernetes.objects.targets import target_of
from planner.doctor.cluster.needs import Need, in_words, needs_of, rules_of

LEASE = ("ops", "sla-planner")
NAMES = st.sampled_from(["", "a", "b", "c"])
NEEDS = st.builds(
    Need, st.just("plan"), st.just("llm"), st.sampled_from(["", "apps"]), st.sampled_from(["pods", "deployments"]),
    st.sampled_from(["get", "list", "patch"]), st.sampled_from(["", "scale"]), NAMES,
)  # fmt: skip


@given(st.lists(NEEDS, unique=True))
def test_the_rules_grant_what_is_needed_and_no_more(needs: list[Need]) -> None:
    granted = {
        (group, resource, name, verb)
        for rule in yaml.safe_load(rules_of(needs))
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }

    assert granted == {(need.group, need.rule_resource, need.name, need.verb) for need in needs}


def test_verbs_of_a_resource_are_said_together() -> None:
    needs = [
        Need("pods", "llm", "", "pods", "list"),
        Need("plan", "llm", "apps", "deployments", "patch", "scale", "a"),
        Need("pods", "llm", "", "pods", "watch"),
    ]

    assert in_words(needs) == "list and watch pods, patch deployments.apps/scale"


def test_a_target_takes_its_scale_and_a_component_its_object() -> None:
    whole, part = target_of("Deployment/a", "llm"), target_of("RayCluster/b#decode", "llm")
    kinds = {
        whole: kind_of("apps/v1", "Deployment", "deployments"), part: kind_of("ray.io/v1", "RayCluster", "rayclusters"),
    }  # fmt: skip

    assert [need for need in needs_of(kinds, LEASE) if need.name] == [
        Need("selector", "llm", "apps", "deployments", "get", "scale", "a"),
        Need("plan", "llm", "apps", "deployments", "patch", "scale", "a"),
        Need("plan", "llm", "ray.io", "rayclusters", "patch", "", "b"),
        Need("lease", "ops", "coordination.k8s.io", "leases", "get", "", "sla-planner"),
        Need("lease", "ops", "coordination.k8s.io", "leases", "update", "", "sla-planner"),
    ]


def test_a_kind_that_is_never_written_is_only_looked_at() -> None:
    target = target_of("InferenceService/a", "llm")
    kinds = {target: kind_of("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")}

    assert [need.verb for need in needs_of(kinds, LEASE) if need.group == "serving.kserve.io"] == ["list", "watch"]


def test_needs_of_several_targets_in_a_namespace_are_told_once() -> None:
    kind = kind_of("apps/v1", "Deployment", "deployments")
    needs = needs_of({target_of(f"Deployment/{name}", "llm"): kind for name in "abc"}, LEASE)

    assert len(set(needs)) == len(needs)
    assert sum(need.why == "pods" for need in needs) == 2
