"""Targets as people write them, and label selectors as Kubernetes does."""

from __future__ import annotations

import pytest

from planner.connectors.kubernetes.objects.kinds import TargetError
from planner.connectors.kubernetes.objects.selectors import selects
from planner.connectors.kubernetes.objects.targets import ObjectRef, TargetRef, target_of


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Deployment/vllm-decode", TargetRef(ObjectRef("apps", "Deployment", "llm", "vllm-decode"))),
        ("LeaderWorkerSet/llama", TargetRef(ObjectRef("leaderworkerset.x-k8s.io", "LeaderWorkerSet", "llm", "llama"))),
        (
            "DynamoGraphDeployment/graph#VllmDecodeWorker",
            TargetRef(ObjectRef("nvidia.com", "DynamoGraphDeployment", "llm", "graph"), "VllmDecodeWorker"),
        ),
        ("Kettle.tests.example/one", TargetRef(ObjectRef("tests.example", "Kettle", "llm", "one"))),
    ],
)
def test_a_target_is_a_kind_a_name_and_perhaps_a_component(text: str, target: TargetRef) -> None:
    assert target_of(text, "llm") == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deployment/x", r"^target: 'deployment/x' is none; write Kind/name, Kind\.group/name or Kind/name#component$"),
        ("Deployment", "is none; write Kind/name"),
        ("Deployment/UPPER", "is none; write Kind/name"),
        ("Deployment/x#", "is none; write Kind/name"),
        ("Kettle/one", r"^target: 'Kettle/one': the group of Kettle is not known; write Kettle\.GROUP/"),
    ],
)  # fmt: skip
def test_what_is_no_target_is_one_error(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target_of(text, "llm")


APP = {"app": "vllm", "role": "decode", "tier": "gold"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("app=vllm", True),
        ("app==vllm,role=decode", True),
        ("app=vllm,role=prefill", False),
        ("role!=prefill", True),
        ("app!=vllm", False),
        ("role in (decode, prefill),tier", True),
        ("role in (prefill)", False),
        ("role notin (prefill)", True),
        ("absent notin (a)", True),
        ("!absent", True),
        ("!app", False),
        ("absent", False),
        ("", False),
        (" , ", False),
    ],
)
def test_a_selector_matches_as_the_api_server_would_but_an_empty_one_matches_nothing(
    selector: str, matches: bool
) -> None:
    assert selects(selector)(APP) is matches


def test_what_is_no_selector_is_an_error() -> None:
    with pytest.raises(ValueError, match="'role among decode' is no requirement"):
        selects("role among decode")
