"""The wrapper that applies nothing, where the connector within cannot say what is ordered."""

from __future__ import annotations

from asyncio import run
from collections.abc import Mapping

from planner.connectors.dry_run import DryRun
from planner.connectors.types import Applied, Plan
from planner.scaling.types import Absent, ReplicaSamples, Role, Sample, Sampled


class Fleet:
    """Two pools, one of which cannot be read; fails the test when anything is applied."""

    closed = False

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        return {Role.PREFILL: pool(Sample(2, 0)), Role.DECODE: pool(Absent("no answer"))}

    async def apply(self, plan: Plan) -> Applied:
        raise AssertionError(plan)

    async def close(self) -> None:
        self.closed = True


def pool(wanted: Sampled) -> ReplicaSamples:
    rest = Absent("not asked")
    return ReplicaSamples(wanted, rest, rest, rest, rest, rest)


def test_a_plan_is_put_into_words() -> None:
    plan = Plan("chat", {Role.PREFILL: 4, Role.DECODE: 3, Role.AGGREGATED: 1}, "001")

    assert run(DryRun(Fleet()).apply(plan)) == Applied(
        "dry-run",
        "would set prefill from 2 to 4, decode to 3 (now unknown: no answer), "
        "aggregated to 1 (now unknown: there is no such pool)",
    )


def test_a_plan_that_changes_nothing_is_said_to() -> None:
    plan = Plan("chat", {Role.PREFILL: 2}, "001")

    assert run(DryRun(Fleet()).apply(plan)) == Applied("unchanged", "all pools are ordered so already")


def test_closing_closes_the_connector_within() -> None:
    fleet = Fleet()

    run(DryRun(fleet).close())

    assert fleet.closed
