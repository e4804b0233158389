"""Who changed the replicas, and what each policy makes of it: scripts of what is seen at which second."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.connectors.kubernetes.objects.paths import path
from planner.connectors.kubernetes.objects.writers import (
    CONTENDED_WITHIN_S,
    Contention,
    ForeignChange,
    Policy,
    Verdict,
    Writer,
    contend,
    foreign,
    resumed,
    writers_of,
    wrote,
)

REPLICAS = path(".spec.replicas")
COUNT: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
KUBECTL = Writer("kubectl", "Update", "scale", 1_789_999_200.0)


def entry(
    manager: str, fields: Any = COUNT, *, time: str | None = "2026-09-21T14:00:00Z", **more: str
) -> dict[str, Any]:
    at = {} if time is None else {"time": time}
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **at, **more}


def counting(replicas: Any, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}, "spec": {"replicas": replicas}}


# --- who --------------------------------------------------------------------------------------------------------


def test_writers_are_those_who_hold_the_field_the_latest_first() -> None:
    target = counting(
        5,
        entry("helm", {"f:spec": {"f:template": {}}}),
        entry("argocd", operation="Apply", time="2026-09-20T00:00:00Z"),
        entry("kubectl", subresource="scale"),
        entry("old", time=None),
    )

    assert writers_of(target, REPLICAS) == (
        KUBECTL,
        Writer("argocd", "Apply", "", 1_789_862_400.0),
        Writer("old", "Update", "", None),
    )


@pytest.mark.parametrize(
    ("target", "last_written", "expected"),
    [
        pytest.param(counting(3, entry("kubectl")), 3, None, id="as we wrote it"),
        pytest.param(
            counting(5, entry("kubectl", subresource="scale")),
            3,
            ForeignChange(5, 3, KUBECTL),
            id="somebody wrote through scale",
        ),
        pytest.param(counting(5, entry("sla-planner")), 3, None, id="another of us wrote"),
        pytest.param(
            counting(5, entry("sla-planner"), entry("argocd", time="2026-09-21T15:00:00Z")),
            3,
            None,
            id="somebody agreed with another of us",
        ),
        pytest.param(counting(5), 3, ForeignChange(5, 3, None), id="the object does not tell who"),
        pytest.param(counting(5, entry("kubectl")), None, None, id="we never wrote"),
        pytest.param(
            counting(0, entry("kubectl", subresource="scale")),
            None,
            ForeignChange(0, None, KUBECTL),
            id="0 before we ever wrote",
        ),
        pytest.param(counting(0, entry("sla-planner")), None, None, id="0 by another of us"),
        pytest.param(counting(None), 3, None, id="no count: not a change, but a path that vanished"),
    ],
)
def test_a_change_is_foreign_when_it_is_not_what_we_wrote(
    target: dict[str, Any], last_written: int | None, expected: ForeignChange | None
) -> None:
    assert foreign(target, REPLICAS, last_written) == expected


@pytest.mark.parametrize(
    ("steps", "fields", "spec"),
    [
        (".spec.prefill.replicas", {"f:spec": {"f:prefill": {"f:replicas": {}}}}, {"prefill": {"replicas": 5}}),
        (
            ".spec.roles[name=decode].replicas",
            {"f:spec": {"f:roles": {'k:{"name":"decode"}': {"f:replicas": {}}}}},
            {"roles": [{"name": "decode", "replicas": 5}]},
        ),
        (
            ".spec.roles[name=decode].replicas",
            {"f:spec": {"f:roles": {}}},
            {"roles": [{"name": "decode", "replicas": 5}]},
        ),
    ],
    ids=["a field", "an item of a list", "a list owned whole"],
)
def test_a_foreign_change_is_seen_at_every_kind_of_path(steps: str, fields: Any, spec: dict[str, Any]) -> None:
    target = {"metadata": {"managedFields": [entry("kubectl", fields, subresource="scale")]}, "spec": spec}

    assert foreign(target, path(steps), 3) == ForeignChange(5, 3, KUBECTL)


def test_a_change_is_told_in_words() -> None:
    assert str(ForeignChange(5, 3, KUBECTL)) == "kubectl set 5 where the planner had set 3"
    assert str(ForeignChange(0, None, None)) == "somebody set 0"


# --- what to do about it ----------------------------------------------------------------------------------------

Seen = int | Literal["ours", "we wrote", "resumed"]
"""What happens: a foreign count is seen, ours is seen, we wrote, or somebody resumed us."""


def foreign_count(replicas: int, at_s: float = 0.0) -> ForeignChange:
    return ForeignChange(replicas, 3, Writer("kubectl", "Update", "scale", at_s))


def told(script: Sequence[tuple[float, Seen]], policy: Policy) -> list[str]:
    """The action at each second at which something is seen."""
    state = Contention()
    actions: list[str] = []
    for now_s, seen in script:
        if seen == "we wrote":
            state = wrote(state)
        elif seen == "resumed":
            state = resumed(state)
        else:
            state, verdict = contend(state, None if seen == "ours" else foreign_count(seen, now_s), policy, now_s)
            actions.append(verdict.action)
    return actions


RESPECT, RECLAIM, PAUSE = Policy("respect", respect_s=1800), Policy("reclaim"), Policy("pause")


@pytest.mark.parametrize(
    ("policy", "script", "actions"),
    [
        pytest.param(RESPECT, [(0, "ours"), (60, "ours")], ["go", "go"], id="nothing foreign"),
        pytest.param(
            RESPECT,
            [(0, 5), (60, 5), (1799, 5), (1800, 5), (1800, "we wrote"), (1860, "ours")],
            ["hold", "hold", "hold", "go", "go"],
            id="respect: held for its time",
        ),
        pytest.param(
            RESPECT, [(0, 5), (60, "resumed"), (60, 5), (120, 5)], ["hold", "go", "go"], id="respect: until resumed"
        ),
        pytest.param(
            RESPECT,
            [(0, 5), (60, 6), (1800, 6), (1860, 6)],
            ["hold", "hold", "hold", "go"],
            id="respect: held anew for another count",
        ),
        pytest.param(
            RESPECT,
            [(0, 5), (60, "ours"), (120, 7), (180, 7)],
            ["hold", "go", "hold", "hold"],
            id="respect: a person who changes their mind does not fight us",
        ),
        pytest.param(
            RESPECT,
            [(0, 5), (1800, 5), (1800, "we wrote"), (1860, 5), (1920, 5)],
            ["hold", "go", "hold", "hold"],
            id="respect: once more, long after",
        ),
        pytest.param(
            RESPECT,
            [(0, 5), (30, "resumed"), (30, 5), (30, "we wrote"), (60, 5), (61, "we wrote"), (90, 5), (5000, "ours")],
            ["hold", "go", "hold", "stop", "stop"],
            id="respect: two writes against ours",
        ),
        pytest.param(
            RECLAIM,
            [(0, 5), (1, "we wrote"), (30, "ours"), (3600, 5)],
            ["reclaim", "go", "reclaim"],
            id="reclaim: written back, each time after long",
        ),
        pytest.param(
            RECLAIM,
            [(0, 5), (30, 5), (60, 5)],
            ["reclaim", "reclaim", "reclaim"],
            id="reclaim: again until it could be written",
        ),
        pytest.param(
            RECLAIM,
            [(0, 5), (1, "we wrote"), (30, 5), (31, "ours"), (9000, "ours"), (9001, "resumed"), (9002, "ours")],
            ["reclaim", "stop", "stop", "stop", "go"],
            id="reclaim: a fight stops until resumed",
        ),
        pytest.param(
            RECLAIM,
            [(0, 5), (1, "we wrote"), (15, "ours"), (60, 7)],
            ["reclaim", "go", "stop"],
            id="reclaim: a fight over another count",
        ),
        pytest.param(
            PAUSE,
            [(0, 5), (60, "ours"), (9000, 7), (9001, "resumed"), (9002, 7), (9002, "we wrote"), (9060, "ours")],
            ["hold", "hold", "hold", "go", "go"],
            id="pause: until resumed",
        ),
        pytest.param(
            RECLAIM,
            [(0, 0), (9000, 0), (9001, "resumed"), (9002, 0), (9060, 2), (9120, 2)],
            ["hold", "hold", "hold", "go", "go"],
            id="0 is maintenance whatever the policy, until above 0",
        ),
        pytest.param(
            RESPECT, [(0, 5), (60, 0), (120, "ours")], ["hold", "hold", "go"], id="a maintenance ends at ours too"
        ),
        pytest.param(PAUSE, [(0, 5), (60, 0), (120, 4)], ["hold", "hold", "hold"], id="a pause outlasts a maintenance"),
    ],
)
def test_what_is_done_about_foreign_changes(
    policy: Policy, script: Sequence[tuple[float, Seen]], actions: list[str]
) -> None:
    assert told(script, policy) == actions


@pytest.mark.parametrize(
    ("policy", "seen", "verdict"),
    [
        (
            RESPECT,
            [5],
            Verdict(
                "hold", "kubectl set 5 where the planner had set 3; respected for another 1800 s, or until resumed"
            ),
        ),
        (RECLAIM, [5], Verdict("reclaim", "kubectl set 5 where the planner had set 3; written back")),
        (PAUSE, [5], Verdict("hold", "kubectl set 5 where the planner had set 3; paused until resumed")),
        (
            RESPECT,
            [0],
            Verdict("hold", "kubectl set 0 where the planner had set 3; in maintenance until the count is above 0"),
        ),
        (
            RECLAIM,
            [5, 6],
            Verdict(
                "stop",
                "kubectl set 6 where the planner had set 3, and not for the first time within 600 s; "
                "find the rival, then resume",
            ),
        ),
    ],
    ids=["respect", "reclaim", "pause", "maintenance", "contended"],
)
def test_each_verdict_says_who_did_what(policy: Policy, seen: list[int], verdict: Verdict) -> None:
    state, said = Contention(), Verdict("go")
    for replicas in seen:
        state, said = contend(wrote(state), foreign_count(replicas), policy, 10.0)

    assert said == verdict


def test_the_same_change_is_not_new_when_its_manager_touches_another_field() -> None:
    """The time of a managedFields entry moves with any field of that manager: the hold must not begin anew."""
    state, _ = contend(Contention(), foreign_count(5, at_s=0), RESPECT, 0)

    again, verdict = contend(state, foreign_count(5, at_s=900), RESPECT, 1800)

    assert (again, verdict.action) == (state, "go")


events: st.SearchStrategy[Seen] = st.one_of(
    st.integers(0, 4),
    st.sampled_from(["ours", "we wrote", "resumed"]),
)
policies = st.sampled_from([RESPECT, RECLAIM, PAUSE])


@given(policy=policies, gaps=st.lists(st.tuples(st.floats(0, 2000), events), max_size=20))
def test_nothing_is_ever_written_over_a_maintenance(policy: Policy, gaps: list[tuple[float, Seen]]) -> None:
    now_s, script = 0.0, []
    for gap_s, event in gaps:
        now_s += gap_s
        script.append((now_s, event))

    allowed = told(script, policy)

    seen = [event for _, event in script if event not in {"we wrote", "resumed"}]
    over_maintenance = [action for event, action in zip(seen, allowed, strict=True) if event == 0 and action != "hold"]
    assert set(over_maintenance) <= {"stop"}


@given(policy=policies, counts=st.lists(st.integers(1, 9), min_size=2, max_size=8), gap_s=st.floats(1, 2000))
def test_we_never_write_back_twice_within_the_window(policy: Policy, counts: list[int], gap_s: float) -> None:
    """The worst rival: it answers each write of ours, `gap_s` later."""
    state, now_s, written = Contention(), 0.0, []
    for replicas in counts:
        state, verdict = contend(state, foreign_count(replicas), policy, now_s)
        if verdict.action == "reclaim":
            written.append(now_s)
            state = wrote(state)
        now_s += gap_s

    assert all(later - earlier >= CONTENDED_WITHIN_S for earlier, later in pairwise(written))
