"""Every moment of a namespace's pods, as a watch tells it: how many there are, what they hold, which are Ready.

It sees each change, in order, where looking now and then would miss what comes and goes in between.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import urllib3

GPU = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class Moment:
    """The pods between one change and the next."""

    at_s: float
    """When it was told, seconds since the epoch."""
    pods: int
    """That exist, those on their way out included."""
    gpus: int
    """That these hold or ask for."""
    ready: tuple[str, ...]
    """Those that serve."""
    staying: int
    """Those that were not told to go."""
    leaving: int
    """Pods that were told to go, since the beginning."""


Told = Callable[[Moment], None]


class PodWatch:
    """All that was seen, in order."""

    def __init__(self) -> None:
        self._told: Told | None = None
        self._pods: dict[str, Any] = {}
        self._gone: set[str] = set()
        self.moments: list[Moment] = []
        self.error: BaseException | None = None
        """Why it ended too soon; then nothing can be said of what followed."""

    @property
    def most_gpus(self) -> int:
        """Ever held at once."""
        return max(moment.gpus for moment in self.moments)

    def between(self, begin_s: float, end_s: float) -> Sequence[Moment]:
        """What held within: the moment before counts, since it lasted."""
        before = [moment for moment in self.moments if moment.at_s <= begin_s]
        return [*before[-1:], *(moment for moment in self.moments if begin_s < moment.at_s <= end_s)]

    def tell(self, told: Told) -> None:
        """Call this at once and with every moment to come, from then on in the watch's own thread."""
        told(self.moments[-1])
        self._told = told

    def take(self, kind: str, pod: Any) -> None:
        """One event of the watch."""
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = pod
        if kind == "DELETED" or "deletionTimestamp" in pod["metadata"]:
            self._gone.add(uid)
        self._note()

    def begin(self, pods: Sequence[Any]) -> None:
        """Those that are there already."""
        self._pods = {pod["metadata"]["uid"]: pod for pod in pods}
        self._note()

    def _note(self) -> None:
        pods = [pod for pod in self._pods.values() if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        ready = tuple(sorted(pod["metadata"]["name"] for pod in pods if _is_ready(pod)))
        staying = len(pods) - sum("deletionTimestamp" in pod["metadata"] for pod in pods)
        moment = Moment(time.time(), len(pods), sum(map(_gpus, pods)), ready, staying, len(self._gone))
        self.moments.append(moment)
        if self._told is not None:
            self._told(moment)


@contextmanager
def watching(kubeconfig: Path, namespace: str) -> Iterator[PodWatch]:
    """As the administrator of the kubeconfig. Raises what ended the watch too soon."""
    config = json.loads(kubeconfig.read_text())
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    pool = urllib3.PoolManager(
        ca_certs=server["certificate-authority"], cert_file=user["client-certificate"], key_file=user["client-key"],
        retries=False, timeout=urllib3.Timeout(connect=10, read=None),
    )  # fmt: skip
    url = f"{server['server']}/api/v1/namespaces/{namespace}/pods"
    listed = json.loads(pool.request("GET", url).data)
    seen = PodWatch()
    seen.begin(listed["items"])
    fields = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"], "timeoutSeconds": "7200"}
    events = pool.request("GET", url, fields=fields, preload_content=False)
    ending = False

    def read() -> None:
        try:
            for line in events:
                event = json.loads(line)
                seen.take(event["type"], event["object"])
            raise ConnectionError("the watch ended")
        # Whatever it was, whoever asks what was seen must know that it is not all.
        except Exception as error:  # noqa: BLE001
            if not ending:
                seen.error = error

    reader = Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        ending = True
        events.shutdown()
        reader.join()
        events.release_conn()
        pool.clear()
    if seen.error is not None:
        raise seen.error


def _gpus(pod: Any) -> int:
    limits = (each.get("resources", {}).get("limits", {}) for each in pod["spec"]["containers"])
    return sum(int(each.get(GPU, 0)) for each in limits)


def _is_ready(pod: Any) -> bool:
    conditions = pod["status"].get("conditions", [])
    going = "deletionTimestamp" in pod["metadata"]
    return not going and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
