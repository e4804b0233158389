"""Which pods go first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.connectors.kubernetes.objects.victims import COST, FIRST, marked, marks

Pod = dict[str, Any]


def pod(
    name: str, *, ready: bool = True, cost: str | None = None, owner: str = "ReplicaSet", going: bool = False
) -> Pod:
    metadata: Pod = {"name": name, "ownerReferences": [{"kind": owner, "name": "x", "controller": True}]}
    if cost is not None:
        metadata["annotations"] = {COST: cost}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": "Running", "conditions": conditions}}


def test_the_idlest_are_marked() -> None:
    pods = [pod("a"), pod("b"), pod("c")]
    assert marks(pods, 1, {"a": 5.0, "b": 1.0, "c": 3.0}) == {"b": FIRST}
    assert marks(pods, 2, {"a": 5.0, "b": 1.0, "c": 3.0}) == {"b": FIRST, "c": FIRST}


def test_pods_that_are_not_ready_go_before_any_other_and_need_no_mark() -> None:
    pods = [pod("a"), pod("b"), pod("coming", ready=False)]
    assert marks(pods, 1, {"a": 5.0, "b": 1.0}) == {}
    assert marks(pods, 2, {"a": 5.0, "b": 1.0}) == {"b": FIRST}


def test_a_pod_whose_load_is_unknown_is_taken_for_the_busiest() -> None:
    assert marks([pod("a"), pod("b")], 1, {"b": 40.0}) == {"b": FIRST}


def test_where_no_load_is_known_nothing_is_marked() -> None:
    assert marks([pod("a"), pod("b")], 1, {}) == {}


def test_a_mark_that_outlived_its_plan_is_taken_back() -> None:
    pods = [pod("a", cost=FIRST), pod("b"), pod("c")]
    assert marks(pods, 1, {"a": 9.0, "b": 1.0, "c": 3.0}) == {"a": None, "b": FIRST}
    assert marks(pods, 1, {}) == {"a": None}


def test_a_mark_that_still_holds_is_left_alone() -> None:
    assert marks([pod("a", cost=FIRST), pod("b")], 1, {"a": 0.0, "b": 1.0}) == {}


@pytest.mark.parametrize("pods", [
    pytest.param([pod("a", cost="7"), pod("b")], id="somebody-else-ranks-them"),
    pytest.param([pod("a", owner="StatefulSet"), pod("b", owner="StatefulSet")], id="the-controller-does-not-look"),
    pytest.param([], id="no-pods"),
])  # fmt: skip
def test_nothing_is_marked_where(pods: list[Pod]) -> None:
    assert marks(pods, 1, {"a": 5.0, "b": 1.0}) == {}


def test_pods_that_are_going_already_are_not_counted() -> None:
    assert marks([pod("a"), pod("b"), pod("gone", going=True)], 1, {"a": 2.0, "b": 1.0, "gone": 0.0}) == {"b": FIRST}


def test_the_patch_changes_one_annotation() -> None:
    assert marked(FIRST) == {"metadata": {"annotations": {COST: "-1000"}}}
    assert marked(None) == {"metadata": {"annotations": {COST: None}}}


@given(
    loads=st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1e3), min_size=1),
    before=st.sets(st.sampled_from("abcdefgh")),
    fewer=st.integers(1, 8),
)
def test_after_marking_exactly_the_idlest_carry_the_mark(loads: dict[str, float], before: set[str], fewer: int) -> None:
    names = "abcdefgh"
    changes = marks([pod(name, cost=FIRST if name in before else None) for name in names], fewer, loads)
    after = {name for name in names if changes.get(name, name in before or None)}
    assert len(after) == fewer
    known = [loads[name] for name in after if name in loads]
    left = [loads[name] for name in names if name not in after and name in loads]
    assert not left or max(known) <= min(left)
