"""The GPU budget: never exceeded, never below the minima, shared by priority and need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import UserError
from planner.scaling.cap import Claim, Grant, PoolClaim, cap
from planner.scaling.types import Role

P, D, A = Role.PREFILL, Role.DECODE, Role.AGGREGATED


def pool(wanted: int, current: int = 1, *, held: int | None = None, least: int = 1, gpus: int = 1) -> PoolClaim:
    return PoolClaim(current, held if held is not None else current, wanted, least, gpus)


def one(prefill: PoolClaim, decode: PoolClaim, priority: int = 0) -> Claim:
    return Claim(priority, {P: prefill, D: decode})


def test_all_wishes_are_granted_when_they_fit() -> None:
    grants, budget = cap({"chat": one(pool(5), pool(3))}, 8)

    assert grants == {("chat", P): Grant(5, 5), ("chat", D): Grant(3, 3)}
    assert (budget.gpus, budget.held, budget.wanted, budget.granted) == (8, 2, 8, 8)


@pytest.mark.parametrize(
    ("prefill", "decode", "gpus", "granted"),
    [
        pytest.param(pool(10), pool(5), 9, (6, 3), id="in proportion"),
        pytest.param(pool(10, least=3), pool(10, least=1), 4, (3, 1), id="minima first"),
        pytest.param(pool(4), pool(4, gpus=4), 10, (2, 2), id="what fits"),
        pytest.param(pool(8), pool(2, gpus=8), 15, (4, 1), id="no prefill stranded behind a decode that does not fit"),
    ],
)
def test_one_service_is_cut_in_proportion(
    prefill: PoolClaim, decode: PoolClaim, gpus: int, granted: tuple[int, int]
) -> None:
    grants, _ = cap({"chat": one(prefill, decode)}, gpus)

    assert (grants["chat", P].granted, grants["chat", D].granted) == granted


def test_the_higher_priority_is_served_first_and_the_lower_keeps_its_minima() -> None:
    claims = {"batch": one(pool(6), pool(6)), "chat": one(pool(4), pool(4), priority=1)}
    grants, _ = cap(claims, 12)

    assert {key: grant.granted for key, grant in grants.items()} == {
        ("chat", P): 4, ("chat", D): 4, ("batch", P): 2, ("batch", D): 2,
    }  # fmt: skip


def test_equals_share_by_need() -> None:
    claims = {"a": Claim(0, {A: pool(8)}), "b": Claim(0, {A: pool(4)})}
    grants, _ = cap(claims, 6)

    assert (grants["a", A].granted, grants["b", A].granted) == (4, 2)


def test_a_raise_waits_for_gpus_that_drain() -> None:
    """8 GPUs: prefill goes from 2 to 5, but 3 draining decode replicas hold theirs."""
    grants, budget = cap({"chat": one(pool(5, current=2), pool(3, current=3, held=6))}, 8)

    assert grants["chat", P] == Grant(granted=5, now=2)
    assert budget.held == 8


def test_a_raise_may_not_use_what_another_pool_is_about_to_give_back() -> None:
    grants, _ = cap({"chat": one(pool(6, current=2), pool(2, current=6))}, 8)

    assert grants["chat", P] == Grant(granted=6, now=2)
    assert grants["chat", D] == Grant(granted=2, now=2)


def test_minima_above_the_budget_are_an_error() -> None:
    with pytest.raises(UserError, match=r"budget\.gpus: 3 is below the 4 GPUs that the minima need; raise the budget"):
        cap({"chat": one(pool(2, least=2), pool(2, least=2))}, 3)


counts = st.integers(0, 12)


@st.composite
def pool_claims(draw: st.DrawFn) -> PoolClaim:
    current = draw(counts)
    return PoolClaim(
        current, current + draw(st.integers(0, 3)), draw(counts), draw(st.integers(0, 3)), draw(st.integers(1, 8))
    )


claims_of_services = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(
        Claim,
        priority=st.integers(0, 2),
        pools=st.one_of(
            st.fixed_dictionaries({P: pool_claims(), D: pool_claims()}), st.fixed_dictionaries({A: pool_claims()})
        ),
    ),
    min_size=1,
)


@given(claims=claims_of_services, budget_gpus=st.integers(0, 200))
def test_never_above_the_budget_nor_below_the_minima_unless_infeasible(
    claims: dict[str, Claim], budget_gpus: int
) -> None:
    pools = {(name, role): pool for name, claim in claims.items() for role, pool in claim.pools.items()}
    least_gpus = sum(pool.min_replicas * pool.gpus_per_replica for pool in pools.values())
    if least_gpus > budget_gpus:
        with pytest.raises(UserError, match="below the"):
            cap(claims, budget_gpus)
        return

    grants, budget = cap(claims, budget_gpus)

    assert sum(grants[key].granted * pool.gpus_per_replica for key, pool in pools.items()) <= budget_gpus
    held = sum(pool.committed * pool.gpus_per_replica for pool in pools.values())
    raised = sum(max(0, grants[key].now - pool.current) * pool.gpus_per_replica for key, pool in pools.items())
    assert raised == 0 or held + raised <= budget_gpus
    for key, pool in pools.items():
        assert pool.min_replicas <= grants[key].granted <= max(pool.wanted, pool.min_replicas)
        assert min(pool.current, grants[key].granted) <= grants[key].now <= grants[key].granted
    assert budget.held == held
