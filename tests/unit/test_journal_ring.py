"""The last decisions in memory: bounded, shared, paged."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_runs import Minute, begun, steps

from planner.board import Line
from planner.connectors.types import Applied
from planner.journal import Ring
from planner.scaling.decision import Decision

APPLIED = Applied("applied", "prefill 2 -> 3")


@cache
def decisions() -> tuple[Decision, Decision]:
    """One that orders nothing, and one that does."""
    made = list(steps([Minute(5, 2), Minute(120, 2)], begun()))
    quiet, busy = (step.result.decisions["default"] for step in made)
    assert (quiet.changes, busy.changes) == (False, True)
    return quiet, busy


def line(tick: int, service: str = "a", *, changes: bool = False) -> Line:
    return Line(tick, replace(decisions()[changes], service=service), None)


def filled(*lines: Line, bound: int = 2000) -> Ring:
    ring = Ring(bound)
    for one in lines:
        ring.append(one)
    return ring


def pages(ring: Ring, service: str | None, limit: int, changes_only: bool) -> list[list[Line]]:
    found = []
    cursor = None
    while True:
        page, cursor = ring.page(service, cursor, limit, changes_only)
        found.append(page)
        if cursor is None:
            return found


LINES = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40)


@given(
    kinds=LINES, service=st.sampled_from(["a", "b", "c", "unknown", None]), limit=st.integers(1, 9), only=st.booleans()
)
def test_pages_are_everything_in_order_newest_first(
    kinds: list[tuple[str, bool]], service: str | None, limit: int, only: bool
) -> None:
    lines = [line(tick, name, changes=changes) for tick, (name, changes) in enumerate(kinds)]
    expected = [
        one for one in reversed(lines) if service in (None, one.decision.service) and (one.decision.changes or not only)
    ]

    found = pages(filled(*lines), service, limit, only)

    assert [one for page in found for one in page] == expected
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert found[-1] or len(found) == 1


@given(kinds=LINES, bound=st.integers(1, 30))
def test_no_more_lines_are_kept_than_allowed_and_each_services_are_its_last(
    kinds: list[tuple[str, bool]], bound: int
) -> None:
    ring = Ring(bound)
    for tick, (name, changes) in enumerate(kinds):
        ring.append(line(tick, name, changes=changes))
        assert len(ring.page(None, None, 100, False)[0]) <= bound

    for service in "abc":
        kept = [one.tick for one in ring.page(service, None, 100, False)[0]]
        said = [tick for tick, (name, _) in enumerate(kinds) if name == service]
        assert kept == said[::-1][: len(kept)]


def test_a_busy_service_cannot_push_out_a_quiet_one() -> None:
    ring = filled(line(0, "quiet"), *(line(tick, "busy") for tick in range(1, 50)), bound=10)

    assert [one.tick for one in ring.page("quiet", None, 10, False)[0]] == [0]
    assert [one.tick for one in ring.page("busy", None, 10, False)[0]] == [49, 48, 47, 46, 45]


def test_a_service_that_joins_gets_its_share_at_once() -> None:
    ring = filled(*(line(tick, "old") for tick in range(10)), line(10, "new"), bound=10)

    assert [one.tick for one in ring.page(None, None, 100, False)[0]] == [10, 9, 8, 7, 6, 5]


def test_a_cursor_stays_good_while_lines_come_and_go() -> None:
    ring = filled(*(line(tick) for tick in range(6)), bound=6)
    _, cursor = ring.page("a", None, 2, False)
    ring.append(line(6))
    ring.append(line(7))

    page, end = ring.page("a", cursor, 3, False)

    assert ([one.tick for one in page], end) == ([3, 2], None)


def test_what_became_of_a_decision_is_added_to_it_alone() -> None:
    ring = filled(line(0, "a"), line(0, "b"), line(1, "a"))

    ring.settle(0, "a", APPLIED)
    ring.settle(7, "a", APPLIED)
    ring.settle(0, "unknown", APPLIED)

    assert ring.page(None, None, 10, False) == (
        [line(1, "a"), line(0, "b"), replace(line(0, "a"), applied=APPLIED)],
        None,
    )


def test_bounds_that_allow_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^lines: 0 must be 1 or more$"):
        Ring(0)
    with pytest.raises(ValueError, match=r"^limit: 0 must be 1 or more$"):
        Ring().page(None, None, 0, False)
