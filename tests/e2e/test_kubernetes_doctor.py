"""`planner doctor` on a real control plane: what an operator reads of a fleet that is well, and of each that is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chart_helm import BASICS, Helm
from click.testing import CliRunner
from cluster import Cluster
from kubernetes_fleet import SCALES, SEES, Fleet, fleet

from planner.cli.doctor import command
from planner.connectors.kubernetes.objects.kinds import ANY, WHOLE
from planner.connectors.kubernetes.objects.table import KINDS
from planner.connectors.kubernetes.objects.targets import target_of
from planner.doctor.cluster.needs import needs_of

CONFIG = """\
budget: {{gpus: 8}}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {{isl: 3000, osl: 150, ttft: 500, itl: 40}}
mode: aggregated
kubernetes: {{namespace: {namespace}, aggregated: {target}}}
"""
TELLS = {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}
LEADS = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
ALL = (*SCALES, TELLS, LEADS)
HALF_BUSY = {"type": "Utilization", "averageUtilization": 50}

Finding = dict[str, Any]


@dataclass(frozen=True)
class Doctor:
    """Looks at one fleet."""

    of: Fleet

    def __call__(self, *arguments: str, target: str = "Deployment/engine") -> tuple[int, list[Finding]]:
        """Exit code and findings."""
        config = self.of.folder / "planner.yaml"
        config.write_text(CONFIG.format(namespace=self.of.namespace, target=target))
        options = ["-c", str(config), "--only", "kubernetes", "--json", "--kubeconfig", str(self.of.kubeconfig)]
        result = CliRunner().invoke(command, [*options, *arguments])
        (section,) = json.loads(result.output)["kubernetes"]
        return result.exit_code, section["findings"]

    def problem(self, *arguments: str, target: str = "Deployment/engine") -> Finding:
        """The only one."""
        code, findings = self(*arguments, target=target)
        (problem,) = (each for each in findings if each["level"] == "problem")
        assert code == 1
        return problem

    def until(self, what: str, check: Callable[[dict[str, str]], bool]) -> None:
        """Ask until the findings, texts by check, are as they should be: rules and pods take effect a moment later."""

        def seen() -> bool:
            return check({each["check"]: each["text"] for each in self()[1]})

        self.of.cluster.until(what, seen)


@pytest.fixture
def doctor(cluster: Cluster, tmp_path: Path) -> Iterator[Doctor]:
    """Of a fleet of two engines that serve, whose account may all that is needed."""
    made = fleet(cluster, tmp_path)
    made.permit(ALL)
    made.deploy(2)
    its = Doctor(made)
    its.until("all is well", lambda told: "may not" not in told["permissions"] and "2 of 2" in told.get("pods", ""))
    yield its
    made.delete()


def finding(check: str, level: str, text: str, remedy: str | None = None, service: str | None = "default") -> Finding:
    return {"service": service, "check": check, "level": level, "text": text, "remedy": remedy}


def test_a_fleet_that_is_well_has_no_problem(doctor: Doctor) -> None:
    code, findings = doctor()

    name = doctor.of.namespace
    written = doctor.of.deployment["metadata"]["managedFields"][0]["time"].replace("T", " ").replace("Z", "")
    assert code == 0
    told = [each for each in findings if each["check"] not in {"start-up", "api server"}]
    assert told == [
        finding("clock", "good", "within 5 s of this machine's", service=None),
        finding("account", "good", f"system:serviceaccount:{name}:sla-planner", service=None),
        finding("permissions", "good", f"all 11 that the planner needs for its targets in {name}", service=None),
        finding("lease", "good", f"there is no Lease {name}/sla-planner yet; the planner makes it", service=None),
        finding("budget", "good", "the pools hold 2 GPUs of budget.gpus 8", service=None),
        finding("target", "good", f"aggregated: Deployment {name}/engine, 2 replicas"),
        finding("last writer", "good", f"aggregated: replicas are as tests set them, {written} UTC"),
        finding("gpus", "good", "aggregated: 1 GPU a replica, as the budget counts"),
        finding("pods", "good", "aggregated: 2 of 2 Ready"),
        finding(
            "grace period", "good",
            "aggregated: terminationGracePeriodSeconds 30 s; by the agreement 500 ms to the first token and 4 x 150 "
            "tokens of 40 ms take 24.5 s",
        ),
    ]  # fmt: skip


def test_what_is_not_permitted_is_named_with_the_rules_that_permit_it(doctor: Doctor) -> None:
    doctor.of.permit(SEES)
    doctor.until("they are gone", lambda told: told["permissions"].startswith("in namespace"))
    code, findings = doctor()

    who, where = f"system:serviceaccount:{doctor.of.namespace}:sla-planner", doctor.of.namespace
    assert code == 1
    assert [each for each in findings if each["check"] == "permissions"] == [
        finding(
            "permissions", "problem",
            f"in namespace {where} {who} may not patch deployments.apps/scale, get and update "
            "leases.coordination.k8s.io",
            f"give it a Role in {where} with rules: [{{apiGroups: [apps], resources: [deployments/scale], "
            "resourceNames: [engine], verbs: [patch]}, {apiGroups: [coordination.k8s.io], resources: [leases], "
            "resourceNames: [sla-planner], verbs: [get, update]}]",
            service=None,
        ),
        finding(
            "permissions", "remark",
            f"in namespace {where} {who} may not create and patch events.events.k8s.io; without it: nobody sees in the "
            "cluster what the planner did",
            f"give it a Role in {where} with rules: [{{apiGroups: [events.k8s.io], resources: [events], verbs: "
            "[create, patch]}]",
            service=None,
        ),
    ]  # fmt: skip


def test_an_autoscaler_of_the_target_is_named(doctor: Doctor) -> None:
    name = doctor.of.namespace
    doctor.of.cluster.apply({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "rival", "namespace": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine"},
            "minReplicas": 2, "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": HALF_BUSY}}],
        },
    })  # fmt: skip

    assert doctor.problem() == finding(
        "autoscaler", "problem",
        f"aggregated: Deployment {name}/engine would not be scaled: HorizontalPodAutoscaler rival scales it",
        "delete it, or leave the target to it",
    )  # fmt: skip


def test_gpus_that_the_budget_counts_wrongly_are_told(doctor: Doctor) -> None:
    assert doctor.problem("--set", "aggregated.gpus_per_replica=2") == finding(
        "gpus", "problem",
        "aggregated: a replica holds 1 GPU by its pod template, and the budget counts 2; the planner would not scale "
        "it",
        "aggregated.gpus_per_replica: give 1",
    )  # fmt: skip


def test_pods_without_a_node_are_told_with_the_schedulers_reason(doctor: Doctor) -> None:
    doctor.of.scale(9)
    doctor.until("one waits", lambda told: "8 of 9 Ready, 1 pending" in told["pods"])
    _, findings = doctor("--set", "budget.gpus=9")

    (pods,) = (each for each in findings if each["check"] == "pods")
    assert pods["text"].startswith("aggregated: 8 of 9 Ready, 1 pending; pending: 0/")
    assert "Insufficient nvidia.com/gpu" in pods["text"]
    assert pods["text"].endswith("; after scaling.max_pending_s 300 s the pool is raised no further")


def test_more_than_the_budget_is_a_problem(doctor: Doctor) -> None:
    assert doctor.problem("--set", "budget.gpus=1") == finding(
        "budget", "problem",
        "the pools hold 2 GPUs, 1 more than budget.gpus 1; the planner would lower the fleet at once",
        "budget.gpus: give 2 or more, or scale down before", service=None,
    )  # fmt: skip


def test_no_replicas_mean_maintenance(doctor: Doctor) -> None:
    doctor.of.scale(0)

    assert doctor.problem() == finding(
        "target", "problem",
        f"aggregated: Deployment {doctor.of.namespace}/engine has 0 replicas, which means maintenance: nothing is "
        "written until somebody sets it above 0",
        "when that is over, set it to 1 or more",
    )  # fmt: skip


def test_a_target_that_is_not_there_is_answered_with_one_that_is(doctor: Doctor) -> None:
    assert doctor.problem(target="Deployment/engin") == finding(
        "target", "problem", f"aggregated: there is no Deployment {doctor.of.namespace}/engin",
        "kubernetes.aggregated: did you mean engine?",
    )  # fmt: skip


def test_a_kind_that_is_not_served_is_told(doctor: Doctor) -> None:
    problem = doctor.problem(target="LeaderWorkerSet/engine")

    assert problem["text"].startswith("aggregated: the API server serves no group 'leaderworkerset.x-k8s.io'")


def test_a_manager_that_writes_its_own_replicas_back_is_told(doctor: Doctor) -> None:
    doctor.of.scale(3, manager="argocd-controller")
    problem = doctor.problem()

    assert problem["text"].startswith("aggregated: replicas are as argocd-controller set them; it writes its own back")
    assert problem["remedy"].startswith("leave replicas out of its manifest, or give the Application ignoreDifferences")


def test_the_holder_of_the_lease_is_named(doctor: Doctor) -> None:
    name = doctor.of.namespace
    doctor.of.cluster.apply({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "writer", "namespace": name},
        "spec": {
            "holderIdentity": "planner-7d", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z",
        },
    })  # fmt: skip
    _, findings = doctor("--lease", f"{name}/writer")

    (lease,) = (each for each in findings if each["check"] == "lease")
    assert lease["text"].startswith(f"planner-7d held the Lease {name}/writer, renewed ")
    assert lease["text"].endswith(" s ago; the next planner takes it")


def test_an_autoscaler_is_missed_where_it_is_the_actuator(doctor: Doctor) -> None:
    assert doctor.problem("--set", "kubernetes.actuator=external") == finding(
        "autoscaler", "problem",
        f"aggregated: kubernetes.actuator is external, and no autoscaler sets the replicas of Deployment "
        f"{doctor.of.namespace}/engine",
        "give it an HPA or a ScaledObject that asks for the planner's figure",
    )  # fmt: skip


def test_without_a_way_to_the_api_server_that_is_the_only_finding(doctor: Doctor) -> None:
    doctor.of.admit(server="https://127.0.0.1:9")

    code, (only,) = doctor()

    assert code == 1
    assert only["text"].startswith("GET /version: Connect")
    assert (only["check"], only["remedy"]) == ("api server", "see whether the API server runs and is let through to")


def test_the_chart_permits_what_the_doctor_asks_for_and_no_more(helm_program: str, tmp_path: Path) -> None:
    targets = {
        f"{row.kind}.{row.group}/x{component and '#' + component.replace(ANY, 'part')}": row
        for row in KINDS
        for component in row.parts or (WHOLE,)
    }
    settings = (f"services.s{n}.kubernetes.aggregated={text}" for n, text in enumerate(targets))
    marks = "services.s0.kubernetes.idlest_first=true"
    objects = Helm(helm_program, tmp_path / "helm").template(*BASICS, "mode=aggregated", *settings, marks)

    permitted = {
        (role["metadata"].get("namespace", "serving"), group, resource, name, verb)
        for role in objects
        if role["kind"] == "Role"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
    kinds = {target_of(text, "serving"): row for text, row in targets.items()}
    needs = needs_of(kinds, ("serving", "p-sla-planner"), [next(iter(kinds))])
    assert {(each.namespace, each.group, each.rule_resource, each.name, each.verb) for each in needs} == permitted


def test_services_are_found_by_their_labels_and_what_is_wrong_with_one_is_told(doctor: Doctor) -> None:
    fleet = doctor.of
    config = fleet.folder / "discover.yaml"
    config.write_text(
        "budget: {gpus: 8}\nprofile: h200-llama-3.1-8b-fp8-tp1\nsla: {isl: 3000, osl: 150, ttft: 500, itl: 40}\n"
        "prometheus: {url: 'http://nowhere:9090'}\nmetrics: {match: 'namespace={namespace}'}\n"
        f"discover: {{namespaces: [{fleet.namespace}], kinds: [Deployment]}}\n"
    )

    def seen() -> tuple[int, dict[str, list[str]]]:
        options = ["-c", str(config), "--only", "kubernetes", "--json", "--kubeconfig", str(fleet.kubeconfig)]
        result = CliRunner().invoke(command, options)
        sections = json.loads(result.output)["kubernetes"]
        found = {each["check"]: [*each.values()] for section in sections for each in section["findings"]}
        return result.exit_code, {check: [found[check][i] for i in (2, 3)] for check in ("discovery", "target")
                                  if check in found}  # fmt: skip

    none = seen()
    labels = {"sla-planner.io/service": "chat", "sla-planner.io/role": "aggregated"}
    fleet.merge("", {"metadata": {"labels": labels}})
    one = seen()
    fleet.merge("", {"metadata": {"annotations": {"sla-planner.io/ttft": "soon"}}})
    wrong = seen()

    where = fleet.namespace
    assert none == (0, {"discovery": ["good", f"0 services found by label in {where}"]})
    assert one == (
        0,
        {
            "discovery": ["good", f"1 service found by label in {where}: chat"],
            "target": ["good", f"aggregated: Deployment {where}/engine, 2 replicas"],
        },
    )
    assert wrong[0] == 1
    assert wrong[1]["discovery"][0] == "problem"
    why = 'chat is not taken as labelled: services.chat.sla.ttft: "soon" must be a number'
    assert wrong[1]["discovery"][1].startswith(why)
