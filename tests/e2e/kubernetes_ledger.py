"""Everything that happens to a namespace's Deployments and pods, in the API server's own order, for tests.

Two watches as an administrator, so that no moment is missed between two looks. Times are seconds of `time.monotonic`,
at which a change was seen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Thread

import urllib3
from cluster import Cluster
from cluster_api import Object

Take = Callable[[str, Object], None]
"""What becomes of an object that was ADDED, MODIFIED or DELETED."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a Deployment's replicas."""

    at_s: float
    name: str
    before: int
    after: int
    writer: str
    """Field manager."""
    asked: int
    """Replicas of all Deployments that the ledger counts, afterwards."""


@dataclass
class Ledger:
    """What was seen of some Deployments and of their pods, which carry the label `app`."""

    names: tuple[str, ...]
    changes: list[Change] = field(default_factory=list)
    most_asked: int = 0
    """Replicas at one moment."""
    most_held: int = 0
    """Pods at one moment that held their GPUs: from their making to their end."""
    _asked: dict[str, int] = field(default_factory=dict)
    _pods: dict[str, Object] = field(default_factory=dict)

    def of(self, name: str) -> list[Change]:
        """Those of one Deployment."""
        return [each for each in self.changes if each.name == name]

    def by(self, writer: str) -> list[Change]:
        """Those of one writer."""
        return [each for each in self.changes if each.writer == writer]

    def ready(self, name: str) -> int:
        """Pods of one Deployment that serve."""
        return sum(_is_ready(pod) for pod in [*self._pods.values()] if pod["metadata"]["labels"]["app"] == name)

    def take_deployment(self, event: str, target: Object) -> None:
        """A Deployment was made, changed or deleted."""
        name = target["metadata"]["name"]
        if name not in self.names or event == "DELETED":
            return
        before, after = self._asked.get(name), target["spec"]["replicas"]
        self._asked[name] = after
        asked = sum(self._asked.values())
        self.most_asked = max(self.most_asked, asked)
        if before not in (None, after):
            assert before is not None
            self.changes.append(Change(time.monotonic(), name, before, after, _writer(target), asked))

    def take_pod(self, event: str, pod: Object) -> None:
        """A pod was made, changed or deleted."""
        name = pod["metadata"]["name"]
        if pod["metadata"]["labels"]["app"] not in self.names:
            return
        if event == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed"):
            self._pods.pop(name, None)
        else:
            self._pods[name] = pod
        self.most_held = max(self.most_held, len(self._pods))


@contextmanager
def ledger(cluster: Cluster, namespace: str, names: tuple[str, ...]) -> Iterator[Ledger]:
    """Kept until the end; the Deployments are there."""
    made = Ledger(names)
    admin = json.loads(cluster.kubeconfig.read_text())["users"][0]["user"]
    pool = urllib3.PoolManager(
        ca_certs=str(cluster.ca_file),
        cert_file=admin["client-certificate"],
        key_file=admin["client-key"],
        retries=False,
    )
    ask = partial(pool.request, "GET", preload_content=False, timeout=urllib3.Timeout(connect=5.0, read=None))
    watched = ((f"apis/apps/v1/namespaces/{namespace}/deployments", made.take_deployment),
               (f"api/v1/namespaces/{namespace}/pods", made.take_pod))  # fmt: skip
    answers = [ask(f"{cluster.url}/{path}?watch=1&allowWatchBookmarks=false") for path, _ in watched]
    readers = [Thread(target=_read, args=(each, take)) for each, (_, take) in zip(answers, watched, strict=True)]
    for reader in readers:
        reader.start()
    try:
        yield made
    finally:
        for answer in answers:
            answer.shutdown()
        for reader in readers:
            reader.join()
        pool.clear()


def _read(answer: urllib3.BaseHTTPResponse, take: Take) -> None:
    """Until it is shut down."""
    with closing(answer), suppress(urllib3.exceptions.HTTPError):
        for line in answer:
            said = json.loads(line)
            take(said["type"], said["object"])


def _writer(target: Object) -> str:
    """Who set the replicas last: a change takes the field from all others."""
    entries = target["metadata"]["managedFields"]
    return "+".join(each["manager"] for each in entries if "f:replicas" in each.get("fieldsV1", {}).get("f:spec", {}))


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    going = "deletionTimestamp" in pod["metadata"]
    return not going and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
