"""The Helm chart: what it refuses, what it renders, and what it has to keep in step with the planner."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from chart_helm import BASICS, CHART, MINIMAL, Helm
from click.testing import CliRunner
from cluster_api import Object

from planner import __version__
from planner.cli.check_config import command as check_config
from planner.config.kubernetes import Kubernetes
from planner.config.metrics import Metrics, Prometheus
from planner.config.model import Budget, Sla
from planner.config.section import Section
from planner.connectors.kubernetes.objects.kinds import WHOLE
from planner.connectors.kubernetes.objects.table import KINDS


@pytest.fixture
def helm(helm_program: str, tmp_path: Path) -> Helm:
    return Helm(helm_program, tmp_path / "helm")


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(MINIMAL[4:], "at '/sla': missing properties 'isl', 'osl', 'ttft', 'itl'", id="no-sla"),
        pytest.param((*MINIMAL, "sla.tftt=200"), "at '/sla': additional properties 'tftt' not allowed", id="typo"),
        pytest.param((*MINIMAL, "dryrun=true"), "at '': additional properties 'dryrun' not allowed", id="typo-on-top"),
        pytest.param(MINIMAL[:4] + MINIMAL[5:], "at '/budget': missing property 'gpus'", id="no-budget"),
        pytest.param(BASICS, "at '/targets': missing properties 'prefill', 'decode'", id="no-targets"),
        pytest.param(
            (*BASICS, "mode=aggregated"), "at '/targets': missing property 'aggregated'", id="no-target-aggregated"
        ),
        pytest.param((*MINIMAL, "targets.decode=vllm"), "at '/targets/decode': 'vllm' does not match", id="no-kind"),
        pytest.param((*MINIMAL, "image.tag=latest"), "image.tag: latest is a different planner every day", id="latest"),
        pytest.param(
            (*MINIMAL, "config.sla.objective=0.99"),
            "config.sla: is a value of its own; write sla without config",
            id="said-twice",
        ),
        pytest.param(
            (*MINIMAL, "targets.decode=Fleet.example.com/vllm"),
            "Fleet.example.com/vllm: is of a kind that the chart does not know; give what it needs in rbac.rules",
            id="unknown-kind",
        ),
        pytest.param(
            (*MINIMAL, "replicas=2", "state.existingClaim=journal"),
            "replicas: 2 planners cannot share state.existingClaim; give 1, or no claim",
            id="two-on-a-claim",
        ),
        pytest.param(
            (*MINIMAL, "networkPolicy.form[0].podSelector.matchLabels.app=page"),
            "at '/networkPolicy': additional properties 'form' not allowed",
            id="typo-in-the-network-policy",
        ),
    ],
)
def test_a_mistake_is_refused_by_name_before_anything_is_installed(
    helm: Helm, settings: tuple[str, ...], message: str
) -> None:
    result = helm("template", "p", str(CHART), settings=settings)

    assert result.returncode == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_helm_has_nothing_to_say_against_it(helm: Helm) -> None:
    result = helm("lint", "--strict", "--quiet", str(CHART), settings=MINIMAL)

    assert (result.returncode, result.stderr) == (0, "")


# --- what it renders --------------------------------------------------------------------------------------------------

RENDERED = {
    "minimal": (
        MINIMAL,
        {
            "budget": {"gpus": 16},
            "kubernetes": {
                "namespace": "serving", "prefill": "Deployment/vllm-prefill", "decode": "Deployment/vllm-decode",
            },
            "mode": "disaggregated",
            "profile": "h200-llama-3.1-8b-fp8-tp1",
            "prometheus": {"url": "http://prometheus.monitoring:9090"},
            "sla": {"isl": 3000, "osl": 150, "ttft": 200, "itl": 20},
        },
    ),
    "aggregated-with-labels-and-more": (
        (
            *BASICS, "mode=aggregated", "targets.aggregated=StatefulSet/vllm", "targets.namespace=llm",
            "targets.on_change=reclaim", r"metrics.match=namespace=llm\, model_name=llama",
            "config.forecast.history_s=2000000", "config.scaling.max_up_replicas=2", "sla.objective=0.99",
        ),
        {
            "budget": {"gpus": 16},
            "forecast": {"history_s": 2000000},
            "kubernetes": {"namespace": "llm", "aggregated": "StatefulSet/vllm", "on_change": "reclaim"},
            "metrics": {"match": "namespace=llm, model_name=llama"},
            "mode": "aggregated",
            "profile": "h200-llama-3.1-8b-fp8-tp1",
            "prometheus": {"url": "http://prometheus.monitoring:9090"},
            "scaling": {"max_up_replicas": 2},
            "sla": {"isl": 3000, "osl": 150, "ttft": 200, "itl": 20, "objective": 0.99},
        },
    ),
    "several-services": (
        (
            *BASICS, "mode=aggregated", "services.chat.kubernetes.aggregated=Deployment/chat",
            "services.code.kubernetes.aggregated=Deployment/code", "services.code.kubernetes.namespace=tools",
            "services.code.sla.osl=30",
        ),
        {
            "budget": {"gpus": 16},
            "kubernetes": {"namespace": "serving"},
            "mode": "aggregated",
            "profile": "h200-llama-3.1-8b-fp8-tp1",
            "prometheus": {"url": "http://prometheus.monitoring:9090"},
            "services": {
                "chat": {"kubernetes": {"aggregated": "Deployment/chat"}},
                "code": {"kubernetes": {"aggregated": "Deployment/code", "namespace": "tools"}, "sla": {"osl": 30}},
            },
            "sla": {"isl": 3000, "osl": 150, "ttft": 200, "itl": 20},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "expected"), RENDERED.values(), ids=RENDERED)
def test_values_become_a_configuration_that_the_planner_accepts(
    helm: Helm, tmp_path: Path, settings: tuple[str, ...], expected: Object
) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(helm.objects(*settings)["ConfigMap", "p-sla-planner"]["data"]["planner.yaml"])

    assert yaml.safe_load(file.read_text()) == expected
    result = CliRunner().invoke(check_config, ["-c", str(file)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_what_only_the_planner_can_check_is_one_line_in_its_log(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "planner.yaml"
    rendered = helm.objects(*MINIMAL, "config.scalng.tolerance=0.1")["ConfigMap", "p-sla-planner"]
    file.write_text(rendered["data"]["planner.yaml"])

    command = [sys.executable, "-m", "planner", "run", f"--config={file}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "scalng" in result.stderr


def test_a_service_monitor_is_made_where_the_cluster_knows_it(helm: Helm) -> None:
    settings = (*MINIMAL, "serviceMonitor.enabled=true", "serviceMonitor.labels.release=prometheus")

    known = helm.objects(*settings, more=("--api-versions=monitoring.coreos.com/v1",))
    unknown = helm.objects(*settings)

    monitor = known["ServiceMonitor", "p-sla-planner"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= known["Service", "p-sla-planner"]["metadata"][
        "labels"
    ].items()  # fmt: skip
    assert ("ServiceMonitor", "p-sla-planner") not in unknown


def test_a_token_claim_and_digest_reach_the_pod(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    settings = ("token.existingSecret=orders", "state.existingClaim=journal", f"image.digest={digest}", "dryRun=true")

    spec = helm.objects(*MINIMAL, *settings)["Deployment", "p-sla-planner"]["spec"]

    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert container["image"] == f"sla-planner@{digest}"
    assert {"--dry-run", "--token-file=/etc/sla-planner-token/token"} <= set(container["args"])
    assert pod["volumes"] == [
        {"name": "config", "configMap": {"name": "p-sla-planner"}},
        {"name": "state", "persistentVolumeClaim": {"claimName": "journal"}},
        {"name": "token", "secret": {"secretName": "orders", "defaultMode": 0o440}},
    ]


@pytest.mark.parametrize(("settings", "advises"), [((), True), (("dryRun=false",), False)], ids=["default", "acts"])
def test_it_changes_nothing_until_it_is_told_to_act(helm: Helm, settings: tuple[str, ...], advises: bool) -> None:
    (container,) = helm.objects(*MINIMAL, *settings)["Deployment", "p-sla-planner"]["spec"]["template"]["spec"][
        "containers"
    ]  # fmt: skip

    assert ("--dry-run" in container["args"]) is advises


def test_of_several_planners_one_is_kept_while_nodes_are_drained(helm: Helm) -> None:
    alone, several = (helm.objects(*MINIMAL, f"replicas={count}") for count in (1, 2))

    assert ("PodDisruptionBudget", "p-sla-planner") not in alone
    labels = several["Deployment", "p-sla-planner"]["spec"]["selector"]["matchLabels"]
    spec = several["PodDisruptionBudget", "p-sla-planner"]["spec"]
    assert spec == {"minAvailable": 1, "selector": {"matchLabels": labels}}


PLANNERS = {"app.kubernetes.io/name": "sla-planner", "app.kubernetes.io/instance": "p"}
TESTER = {"podSelector": {"matchLabels": {**PLANNERS, "app.kubernetes.io/name": "sla-planner-test"}}}
NAMES = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
POLICIES: Mapping[str, tuple[tuple[str, ...], Object]] = {
    "everybody-may-look": ((), {"policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": "http"}]}]}),
    "and-keda-may-ask": (
        ("externalScaler.enabled=true",),
        {"policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": "http"}, {"port": "scaler"}]}]},
    ),
    "some-may-look": (
        ("networkPolicy.from[0].podSelector.matchLabels.app=proxy",),
        {
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": [{"port": "http"}], "from": [{"podSelector": {"matchLabels": {"app": "proxy"}}}, TESTER]},
            ],
        },
    ),
    "and-it-reaches-what-is-named": (
        ("networkPolicy.egress[0].to[0].ipBlock.cidr=10.0.0.0/8",),
        {
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": "http"}]}],
            "egress": [NAMES, {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
        },
    ),
}


@pytest.mark.parametrize(("settings", "expected"), POLICIES.values(), ids=POLICIES)
def test_a_network_policy_limits_what_is_said_and_no_more(
    helm: Helm, settings: tuple[str, ...], expected: Object
) -> None:
    objects = helm.objects(*MINIMAL, "networkPolicy.enabled=true", *settings)

    found = objects["NetworkPolicy", "p-sla-planner"]["spec"]
    assert found == {"podSelector": {"matchLabels": PLANNERS}, **expected}
    assert ("NetworkPolicy", "p-sla-planner") not in helm.objects(*MINIMAL, *settings)


def test_it_is_placed_as_the_values_say(helm: Helm) -> None:
    settings = (
        "nodeSelector.pool=cpu",
        "tolerations[0].key=cpu",
        "priorityClassName=high",
        "affinity.nodeAffinity.a=b",
    )

    objects = helm.objects(*MINIMAL, *settings)

    placed = {
        "nodeSelector": {"pool": "cpu"}, "tolerations": [{"key": "cpu"}], "priorityClassName": "high",
        "affinity": {"nodeAffinity": {"a": "b"}},
    }  # fmt: skip
    pod = objects["Deployment", "p-sla-planner"]["spec"]["template"]["spec"]
    assert placed.items() <= pod.items()
    assert placed.items() <= objects["Pod", "p-sla-planner-test"]["spec"].items()
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    assert pod["topologySpreadConstraints"] == [{**spread, "labelSelector": {"matchLabels": PLANNERS}}]


def test_the_pod_of_helm_test_is_not_taken_for_a_planner(helm: Helm) -> None:
    objects = helm.objects(*MINIMAL)

    tester = objects["Pod", "p-sla-planner-test"]["metadata"]
    assert tester["annotations"]["helm.sh/hook"] == "test"
    assert not objects["Service", "p-sla-planner"]["spec"]["selector"].items() <= tester["labels"].items()


@pytest.mark.parametrize(
    ("change", "restarts"),
    [
        pytest.param("sla.ttft=300", False, id="what-it-takes-up-itself"),
        pytest.param("targets.decode=Deployment/other", False, id="another-target"),
        pytest.param("services.chat.sla.osl=30", False, id="a-service"),
        pytest.param("targets.actuator=external", True, id="another-actuator"),
    ],
)
def test_the_planner_starts_anew_for_what_it_cannot_take_up(helm: Helm, change: str, restarts: bool) -> None:
    before, after = (
        helm.objects(*settings)["Deployment", "p-sla-planner"]["spec"]["template"]
        for settings in (MINIMAL, (*MINIMAL, change))
    )

    assert (before != after) is restarts


# --- what it has to keep in step with ---------------------------------------------------------------------------------


def test_it_names_the_planner_it_comes_with() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


@pytest.mark.parametrize(
    ("section", "model"),
    [("sla", Sla), ("budget", Budget), ("prometheus", Prometheus), ("metrics", Metrics), ("targets", Kubernetes)],
)
def test_its_sections_have_the_settings_of_the_planner(section: str, model: type[Section]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert set(schema["properties"][section]["properties"]) == set(model.model_fields)
    assert schema["properties"][section]["additionalProperties"] is False


def test_it_knows_the_kinds_that_the_planner_knows() -> None:
    known = yaml.safe_load((CHART / "kinds.yaml").read_text())

    assert {name: (row["group"], row["resource"], row.get("through")) for name, row in known.items()} == {
        row.kind: (row.group, row.plural, row.parts[WHOLE].through if WHOLE in row.parts else None) for row in KINDS
    }
    assert {part.through for row in KINDS for component, part in row.parts.items() if component != WHOLE} == {"object"}
