"""One planner for many services of two Deployments each, all in one namespace.

Steps: it starts; one service's load trebles; every service's load trebles, so that all Deployments are changed at one
tick; then more is wanted than the budget holds. Requests are counted, not simulated: made-up engines, one for each
Ready pod, at constant rates. From a decision to the stored object: from the time that the decision bears, which is when
its tick began, to the API server's own note that it has answered the patch.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from cluster import READY_DELAY, Cluster
from pod_watch import Moment, watching
from prometheus_dialects import Work, vllm

from rig.kubernetes.account import settled
from rig.kubernetes.audit import Call, calls, counted
from rig.kubernetes.exporter import exporting
from rig.kubernetes.planner import Planner, planning
from rig.kubernetes.testbed import AUDIT, component, control_plane
from rig.prometheus import Target, prometheus

NAMESPACE = "llm"
ROLES = ("prefill", "decode")
NODE_GPUS = 8
START_S, SCRAPE_S, INTERVAL_S, WINDOW_S = 10.0, 2.5, 15.0, 10.0
BASE_PER_S, HIGH_PER_S, TOO_HIGH_PER_S = 10.0, 30.0, 120.0
ISL, OSL = 1000, 500
"""With which prefill and decode replicas carry about as many requests."""
GPUS_PER_SERVICE = 8
"""Of the budget; the nodes have more."""
PATIENCE_S = 240.0
CONFIG = f"""\
profile: h200-llama-3.1-8b-fp8-tp1
sla: {{isl: {ISL}, osl: {OSL}, ttft: 300, itl: 20}}
interval_s: {INTERVAL_S:g}
startup_s: {START_S:g}
forecast: {{model: constant, quantile: 0.5}}
correction: {{enabled: false}}
"""


class Engines:
    """Of all services: each Ready pod has its share of its service's load."""

    def __init__(self, services: Sequence[str]) -> None:
        self._lock = Lock()
        self._rates_per_s = dict.fromkeys(services, BASE_PER_S)
        self._pods: dict[tuple[str, str], tuple[str, ...]] = {}
        self._done: dict[str, float] = {}
        self._counted_until_s = time.time()

    def follow(self, moment: Moment) -> None:
        """These pods are Ready."""
        pods: dict[tuple[str, str], list[str]] = defaultdict(list)
        for pod in moment.ready:
            service, role, _ = pod.split("-", 2)
            pods[service, role].append(pod)
        with self._lock:
            self._count()
            self._pods = {pool: tuple(names) for pool, names in pods.items()}

    def turn(self, services: Sequence[str], rate_per_s: float) -> None:
        """Go on at another rate."""
        with self._lock:
            self._count()
            self._rates_per_s |= dict.fromkeys(services, rate_per_s)

    def text(self) -> str:
        """In the exposition format."""
        with self._lock:
            self._count()
            pools, done = dict(self._pods), dict(self._done)
        speak = vllm()
        return "".join(
            speak(Work(done[pod], ISL, 0.2, OSL, 0.1, 0.01, 0.02, 0.0, 1.0)).replace(
                "{", f'{{namespace="{NAMESPACE}",pod="{pod}",service="{service}",role="{role}",'
            )
            for (service, role), pods in pools.items()
            for pod in pods
        )

    def _count(self) -> None:
        now_s = time.time()
        for (service, _), pods in self._pods.items():
            each = self._rates_per_s[service] * (now_s - self._counted_until_s) / len(pods)
            for pod in pods:
                self._done[pod] = self._done.get(pod, 0.0) + each
        self._counted_until_s = now_s


def run(folder: Path, count: int) -> dict[str, Any]:
    """All steps, and all figures."""
    program = str(component("prometheus") / "prometheus")
    services = [f"s{number:03d}" for number in range(count)]
    deployments = [f"{service}-{role}" for service in services for role in ROLES]
    budget = GPUS_PER_SERVICE * count
    engines, figures = Engines(services), dict[str, Any]()
    with control_plane(folder, NAMESPACE) as cluster:
        here = settled(cluster, NAMESPACE, folder, deployments)
        _deploy(cluster, deployments, budget)
        with watching(cluster.kubeconfig, NAMESPACE) as watch:
            _until("the first pods serve", lambda: len(watch.moments[-1].ready) == len(deployments))
            watch.tell(engines.follow)
            with (
                exporting(engines.text) as address,
                prometheus(program, folder, [Target(address, "/", {})], scrape_s=SCRAPE_S) as url,
            ):
                # A window full of scrapes.
                time.sleep(WINDOW_S + 2 * SCRAPE_S)
                config, audit = folder / "planner.yaml", folder / AUDIT
                config.write_text(_config(services, budget, url))
                with planning(config, here.kubeconfig, folder) as planner:
                    figures["start"] = _started(planner, len(deployments), audit)
                    for step, whose, rate_per_s in (
                        ("one service", services[:1], HIGH_PER_S),
                        ("all services", services, HIGH_PER_S),
                        ("beyond the budget", services, TOO_HIGH_PER_S),
                    ):
                        figures[step] = _changed(planner, audit, lambda: engines.turn(whose, rate_per_s))  # noqa: B023
                        figures[step]["gpus"] = watch.moments[-1].gpus
                    figures["rss_mib"] = [planner.rss_mib(), planner.rss_mib("VmHWM")]
            figures |= {"targets": len(deployments), "budget_gpus": budget, "most_gpus": watch.most_gpus}
    return figures


def table(figures: dict[str, Any]) -> str:
    """For people."""
    start = figures["start"]
    lines = [
        f"{figures['targets']} Deployments; budget {figures['budget_gpus']} GPUs, at most {figures['most_gpus']} ever "
        f"held. From its start the planner answered after {start['answers_s']:.1f} s, watched after "
        f"{start['watches_s']:.1f} s, and had decided with all replicas in sight after {start['decided_s']:.1f} s; "
        f"RSS {figures['rss_mib'][0]:.0f} MiB, {figures['rss_mib'][1]:.0f} at most. "
        f"`/readyz` meanwhile: {_waits(start)} ms (median, p99, max).",
        "",
        f"Calls at the start, until then: {', '.join(f'{n} x {what}' for what, n in start['calls'].items())}.",
        "",
        "| step | ticks that changed something | changed at the busiest | tick, ms | decision to stored, ms: first "
        "/ median / last | GPUs held after it | /readyz, ms: median / p99 / max | calls |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for step in ("one service", "all services", "beyond the budget"):
        each = figures[step]
        stored = each["stored_ms"]
        made = ", ".join(f"{n} x {what}" for what, n in each["calls"].items())
        lines.append(
            f"| {step} | {each['ticks']} | {each['patches']} | {each['tick_ms']:.0f} "
            f"| {stored['min']:.0f} / {stored['median']:.0f} / {stored['max']:.0f} | {each['gpus']} "
            f"| {_waits(each)} | {made} |"
        )
    return "\n".join(lines)


def _waits(figures: dict[str, Any]) -> str:
    waits = figures["waits_ms"]
    return f"{waits['median']:.0f} / {waits['p99']:.0f} / {waits['max']:.0f}"


def _deploy(cluster: Cluster, deployments: Sequence[str], budget: int) -> None:
    """One pod each, and nodes with a few more GPUs than the budget has."""
    with ThreadPoolExecutor(4) as hands:
        list(hands.map(lambda number: cluster.gpu_node(f"node-{number}", NODE_GPUS), range(budget // NODE_GPUS + 4)))
        list(hands.map(lambda name: cluster.apply(_deployment(name)), deployments))


def _deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "engine", "image": "engine", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    metadata = {"labels": labels, "annotations": {READY_DELAY: f"{START_S:g}s"}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": metadata, "spec": {"containers": [container]}},
        },
    }  # fmt: skip


def _config(services: Sequence[str], budget: int, url: str) -> str:
    lines = [
        CONFIG,
        f"budget: {{gpus: {budget}}}",
        f"prometheus: {{url: '{url}', window_s: {WINDOW_S:g}}}",
        "metrics: {prefill: role=prefill, decode: role=decode}",
        "services:",
    ]
    for name in services:
        targets = f"prefill: Deployment/{name}-prefill, decode: Deployment/{name}-decode"
        lines.append(
            f"  {name}: {{metrics: {{match: service={name}}}, kubernetes: {{namespace: {NAMESPACE}, {targets}}}}}"
        )
    return "\n".join(lines)


def _started(planner: Planner, targets: int, audit: Path) -> dict[str, Any]:
    """Until it has decided with all replicas in sight."""
    _until("all is seen", lambda: len(planner.metrics("sla_planner_replicas", 'state="ready"')) == targets)
    decided_s = time.time()
    made = list(calls(audit))
    watched_s = [each.answered_s for each in made if each.verb == "watch"]
    return {
        "answers_s": planner.answers_s - planner.begun_s, "watches_s": max(watched_s[:2]) - planner.begun_s,
        "decided_s": decided_s - planner.begun_s, "calls": counted(made), "rss_mib": planner.rss_mib(),
        "waits_ms": _spread([1e3 * wait_s for wait_s in planner.waits_s]),
    }  # fmt: skip


def _changed(planner: Planner, audit: Path, turn: Callable[[], None]) -> dict[str, Any]:
    """What a turn of the load brings about, until two ticks have changed nothing."""
    begin_s, waits = time.time(), len(planner.waits_s)
    turn()
    _until("something is changed", lambda: bool(_patches(audit, begin_s)))
    _until(
        "nothing is changed any more",
        lambda: time.time() - max(each.answered_s for each in _patches(audit, begin_s)) > 2.5 * INTERVAL_S,
    )
    patches = _patches(audit, begin_s)
    ticks_s = sorted({each["at_s"] for each in planner.changes() if each["at_s"] >= begin_s})
    by_tick: dict[float, list[Call]] = defaultdict(list)
    for each in patches:
        by_tick[max(at_s for at_s in ticks_s if at_s <= each.received_s)].append(each)
    busiest_s = max(by_tick, key=lambda at_s: len(by_tick[at_s]))
    made = [each for each in calls(audit) if each.received_s >= begin_s]
    return {
        "ticks": len(by_tick), "patches": len(by_tick[busiest_s]),
        "tick_ms": 1e3 * sum(planner.metrics("sla_planner_tick_duration_seconds")),
        "stored_ms": _spread([1e3 * (each.answered_s - busiest_s) for each in by_tick[busiest_s]]),
        "waits_ms": _spread([1e3 * wait_s for wait_s in planner.waits_s[waits:]]), "calls": counted(made),
    }  # fmt: skip


def _patches(audit: Path, begin_s: float) -> list[Call]:
    """Counts that the API server stored."""
    return [
        each
        for each in calls(audit)
        if (each.verb, each.resource) == ("patch", "deployments/scale") and each.received_s >= begin_s
        and each.status < 400
    ]  # fmt: skip


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "min": ordered[0], "median": statistics.median(ordered), "p99": ordered[int(0.99 * len(ordered))],
        "max": ordered[-1],
    }  # fmt: skip


def _until(what: str, check: Callable[[], bool]) -> None:
    """Raises SystemExit when it does not come about."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.5)
