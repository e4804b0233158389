"""Others change what the planner scales: GitOps that reverts it, a person who overspends, pods that are not its own.

A planner process scales services on a real control plane; each change of a count is known with its writer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from cluster import Cluster
from cluster_api import RefusedError
from kubernetes_services import Planner, Services, aggregated, services

RIVAL_S = 1.0
"""Between two applications: less than the planner's interval, so that each of its writes is reverted by itself."""
REVERTED_TO = 2


def applies(here: Services, name: str) -> None:
    """As Argo CD and Flux do: server-side apply of a manifest that has replicas."""
    manifest = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": here.fleet.namespace},
        "spec": {"replicas": REVERTED_TO},
    }  # fmt: skip
    path = f"/apis/apps/v1/namespaces/{here.fleet.namespace}/deployments/{name}"
    asked = "?fieldManager=argocd-controller&force=true"
    here.fleet.cluster.request("PATCH", path + asked, manifest, "application/apply-patch+yaml")


def updates(here: Services, name: str) -> None:
    """As a script does: read the object, change it, write all of it."""
    path = f"/apis/apps/v1/namespaces/{here.fleet.namespace}/deployments/{name}"
    target = here.fleet.cluster.request("GET", path)
    target["spec"]["replicas"] = REVERTED_TO
    try:
        here.fleet.cluster.request("PUT", f"{path}?fieldManager=pipeline", target)
    except RefusedError as refused:
        # Somebody was quicker.
        if refused.status != 409:
            raise


RIVALS = {"applied": ("argocd-controller", applies), "updated": ("pipeline", updates)}


@contextmanager
def rival(here: Services, name: str, kind: str) -> Iterator[None]:
    """It sets the count again and again, until the end."""
    done = Event()

    def reverts() -> None:
        while not done.wait(RIVAL_S):
            RIVALS[kind][1](here, name)

    thread = Thread(target=reverts)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


FOUGHT = "and not for the first time within 600 s; find the rival, then resume"
ENDS: Mapping[str, tuple[int, str]] = {
    "respect": (2, FOUGHT),
    "reclaim": (2, FOUGHT),
    "pause": (1, "paused until resumed"),
}
"""How often the planner writes under each policy, and why it writes no more."""
EVERY = tuple(f"{policy}-{kind}" for policy in ENDS for kind in RIVALS)


@pytest.fixture
def contested(cluster: Cluster, tmp_path: Path, newest_prometheus: str) -> Iterator[Services]:
    """A service for each policy and kind of rival."""
    with services(cluster, tmp_path, newest_prometheus, EVERY, gpus=48) as made:
        yield made


def test_gitops_that_reverts_is_given_way_to_and_said(contested: Services) -> None:
    here = contested
    of_each = {name: aggregated(name, on_change=name.partition("-")[0]) for name in EVERY}
    with ExitStack() as rivals, here.planner(here.config(48, of_each)) as planner:
        for name in EVERY:
            here.engines[name].load_per_s = 30.0
        planner.until("it has scaled each", lambda: {each.name for each in here.ledger.by("sla-planner")} == {*EVERY})
        planner.until("each has room", lambda: all(here.ledger.ready(name) >= 4 for name in EVERY))
        first = {name: len(here.ledger.of(name)) for name in EVERY}
        for name in EVERY:
            rivals.enter_context(rival(here, name, name.partition("-")[2]))

        def ended(name: str) -> bool:
            why = ENDS[name.partition("-")[0]][1]
            return any(why in note for note in here.notes(name, "ConflictDetected"))

        planner.until("it gives way to all, and says so", lambda: all(map(ended, EVERY)))
        writes = len(here.ledger.by("sla-planner"))
        seen = planner.until("/status says it too", lambda: held_by_all(planner))
        planner.until("and goes on to", lambda: min(held_by_all(planner).values(), default=0) > max(seen.values()) + 4)
        assert len(here.ledger.by("sla-planner")) == writes

    assert {name: [each.writer for each in here.ledger.of(name)[first[name] :]] for name in EVERY} == {
        # Its first write came before the rival.
        f"{policy}-{kind}": [manager, *["sla-planner", manager] * (writes - 1)]
        for policy, (writes, _) in ENDS.items()
        for kind, (manager, _) in RIVALS.items()
    }


def held_by_all(planner: Planner) -> Mapping[str, float]:
    """When each service was last decided, once /status says of all that the plan is held and why; empty before."""
    decisions = {name: planner.status(name)["decision"] for name in EVERY}
    for name, decision in decisions.items():
        applied = decision["applied"] or {"status": "", "detail": ""}
        if applied["status"] != "paused" or ENDS[name.partition("-")[0]][1] not in applied["detail"]:
            return {}
    return {name: decision["at_s"] for name, decision in decisions.items()}


# --- the budget -------------------------------------------------------------------------------------------------------

FOUR = ("chat", "code", "docs", "mail")
BUDGET = 8


@pytest.fixture
def four(cluster: Cluster, tmp_path: Path, newest_prometheus: str) -> Iterator[Services]:
    with services(cluster, tmp_path, newest_prometheus, FOUR, gpus=12) as made:
        yield made


@pytest.mark.parametrize("others", [0, 6], ids=["alone", "with pods of others on the node"])
def test_services_that_rise_together_and_shift_hold_the_budget_at_every_moment(four: Services, others: int) -> None:
    here = four
    if others:
        here.intrude(others)
    with here.planner(here.config(BUDGET, {name: aggregated(name) for name in FOUR})) as planner:
        for each in here.engines.values():
            each.load_per_s = 40.0
        planner.until("the budget is spent", lambda: sum(map(here.replicas, FOUR)) == BUDGET)
        planner.until("what has room serves", lambda: sum(map(here.ledger.ready, FOUR)) == min(BUDGET, 12 - others))
        for name, each in here.engines.items():
            each.load_per_s = 60.0 if name == "chat" else 1.0
        planner.until("the GPUs went where the load is", lambda: here.replicas("chat") >= 4)

    assert {each.writer for each in here.ledger.changes} == {"sla-planner"}
    assert (here.ledger.most_asked, here.ledger.most_held) == (BUDGET, BUDGET)


def test_a_person_who_overspends_is_not_joined_and_the_budget_is_found_again(four: Services) -> None:
    here = four
    with here.planner(here.config(BUDGET, {name: aggregated(name) for name in FOUR})) as planner:
        for each in here.engines.values():
            each.load_per_s = 15.0
        planner.until("it settled", lambda: all(here.ledger.ready(name) == 2 for name in FOUR))
        here.scale("chat", 9)
        for name in ("code", "docs"):
            here.engines[name].load_per_s = 40.0
        planner.until("the budget is found again", lambda: sum(map(here.replicas, FOUR)) <= BUDGET)
        planner.until("and told", lambda: here.notes("chat", "BudgetLimited"))

    (overspent,) = here.ledger.by("kubectl")
    assert overspent.asked > BUDGET
    ours = here.ledger.by("sla-planner")
    assert [each for each in ours if each.asked > BUDGET and each.after > each.before] == []
