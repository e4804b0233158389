"""The planner scales a real Deployment on a real control plane, by its ServiceAccount's permissions alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from kubernetes_site import Stage, stage


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path, newest_prometheus: str) -> Iterator[Stage]:
    with stage(cluster, tmp_path, newest_prometheus) as made:
        yield made


def replicas(here: Stage) -> int:
    count: int = here.deployment["spec"]["replicas"]
    return count


def rescales(here: Stage) -> list[str]:
    """What Events on the Deployment say."""
    events = here.cluster.find("events.k8s.io/v1", "Event", here.namespace)
    return [each["note"] for each in events if each["reason"] == "SuccessfulRescale"]


def test_it_follows_the_load_up_and_down_and_never_exceeds_the_budget(here: Stage) -> None:
    with here.planner():
        here.engines.load_per_s = 60.0
        here.until("the fleet grew to the budget's edge", lambda: replicas(here) >= 6)
        grown = replicas(here)
        here.until("all of it serves", lambda: here.ready() == grown)
        here.engines.load_per_s = 4.0
        here.until("the fleet shrank again", lambda: replicas(here) <= 2)

        here.until("both are told as Events", lambda: len(rescales(here)) >= 2)

    assert here.most_gpus <= here.budget
    assert any("aggregated: 1 -> " in note for note in rescales(here))
    assert here.seen[0] == 1
    assert "Traceback" not in here.log()


def test_what_a_person_sets_is_respected_for_a_while(here: Stage) -> None:
    with here.planner():
        here.engines.load_per_s = 30.0
        here.until("the planner has written", lambda: replicas(here) >= 3)
        chosen = replicas(here)
        here.until("it settled", lambda: here.ready() == replicas(here))
        here.scale(7)
        here.until("it is respected", lambda: "kubectl set 7" in here.log())
        assert replicas(here) == 7
        here.until("it is taken back in the end", lambda: replicas(here) < 7)

    assert chosen >= 3


def test_of_two_planners_one_writes_and_the_other_takes_over(here: Stage) -> None:
    with here.planner("one") as one:
        here.until("it leads", lambda: _holder(here))
        first = _holder(here)
        with here.planner("planner"):
            here.engines.load_per_s = 30.0
            here.until("it scales", lambda: replicas(here) >= 3)
            assert _holder(here) == first
            one.kill()
            here.until("the other took over", lambda: _holder(here) not in ("", first))
            here.engines.load_per_s = 60.0
            here.until("and scales", lambda: replicas(here) >= 6)


def test_a_leader_that_was_stopped_beyond_its_lease_writes_nothing_when_it_goes_on(here: Stage) -> None:
    with here.planner("one") as one:
        here.until("it leads", lambda: _holder(here))
        first = _holder(here)
        os.kill(one.pid, signal.SIGSTOP)
        with here.planner("planner"):
            here.until("the other took over", lambda: _holder(here) not in ("", first))
            second = _holder(here)
            os.kill(one.pid, signal.SIGCONT)
            here.engines.load_per_s = 60.0
            here.until("it scales", lambda: replicas(here) >= 6)
            assert _holder(here) == second
    assert "applied: Deployment" not in here.log("one")
    assert here.most_gpus <= here.budget


def _holder(here: Stage) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{here.namespace}/leases/sla-planner"
    spec = here.cluster.request("GET", path).get("spec", {})
    holder: str = spec.get("holderIdentity") or ""
    return holder
