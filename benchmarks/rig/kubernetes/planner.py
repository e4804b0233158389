"""The planner as its own process, let in by its account's token, and looked at from outside."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig.processes import fetched, free_port, serving

MIB = 2**20
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Planner:
    """One that runs."""

    pid: int
    url: str
    begun_s: float
    """When its process was started."""
    answers_s: float
    """When it first answered."""
    waits_s: list[float] = field(default_factory=list)
    """How long it took to say that it is ready, ten times a second: while its event loop is held, nobody answers."""

    def rss_mib(self, what: str = "VmRSS") -> float:
        """Its memory now; `VmHWM` for the most it ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{what}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def metrics(self, name: str, label: str = "") -> list[float]:
        """Values of its series of that name, or of those with such a label; none while nothing is known."""
        found = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", fetched(f"{self.url}/metrics"), re.MULTILINE)
        return [float(value) for labels, value in found if label in labels]

    def ticks(self) -> int:
        """Made until now."""
        return round(sum(self.metrics("sla_planner_ticks_total")))

    def changes(self) -> list[Mapping[str, Any]]:
        """Decisions that ordered something, newest first, as `/decisions` has them."""
        found: list[Mapping[str, Any]] = []
        before = ""
        while True:
            page = json.loads(fetched(f"{self.url}/decisions?changes=true&limit=200{before}"))
            found += page["items"]
            if page["next"] is None:
                return found
            before = f"&before={page['next']}"


@contextmanager
def planning(config: Path, kubeconfig: Path, folder: Path) -> Iterator[Planner]:
    """One that answers; it is asked until the block ends. Raises SystemExit when it never answers."""
    address = f"127.0.0.1:{free_port()}"
    command: list[str | Path] = [
        sys.executable, "-m", "planner", "run", "-c", config, "--listen", address, "--kubeconfig", kubeconfig,
        "--state", folder / "state",
    ]  # fmt: skip
    begun_s, ready = time.time(), f"http://{address}/readyz"
    with serving(command, ready, folder / "planner.log", patience_s=PATIENCE_S) as process:
        made = Planner(process.pid, f"http://{address}", begun_s, time.time())
        done = threading.Event()
        asking = threading.Thread(target=_ask, args=(ready, made.waits_s, done))
        asking.start()
        try:
            yield made
        finally:
            done.set()
            asking.join()


def _ask(url: str, waits_s: list[float], done: threading.Event) -> None:
    while not done.wait(0.1):
        begun_s = time.perf_counter()
        try:
            fetched(url)
        except TimeoutError:
            # That long, then.
            pass
        except OSError:
            # It ends.
            return
        waits_s.append(time.perf_counter() - begun_s)
