"""The GPUs all replicas share, and what holding them has cost.

A replica holds its GPUs from the moment it is placed until it is gone, starting and draining included.
Each service has an account; the cluster is short when all accounts together hold everything.
"""

from __future__ import annotations

import math

from planner.sim.loop import Handler, Loop

_S_PER_H = 3600.0


class Cluster:
    """`gpus` GPUs, or as many as are asked for when None."""

    def __init__(self, gpus: int | None) -> None:
        self._gpus = math.inf if gpus is None else gpus
        self._on_free: list[Handler] = []
        self.held_gpus = 0
        self.peak_gpus = 0

    def when_free(self, handler: Handler) -> None:
        """Call `handler` whenever GPUs have been given back."""
        self._on_free.append(handler)

    def take(self, gpus: int) -> bool:
        """Hold GPUs if so many are free."""
        if self.held_gpus + gpus > self._gpus:
            return False
        self.held_gpus += gpus
        self.peak_gpus = max(self.peak_gpus, self.held_gpus)
        return True

    def give(self, gpus: int) -> None:
        """Give GPUs back."""
        self.held_gpus -= gpus
        for handler in self._on_free:
            handler()


class Account:
    """What one service holds of a cluster, and has held."""

    def __init__(self, loop: Loop, cluster: Cluster) -> None:
        self._loop = loop
        self.cluster = cluster
        self._gpu_s = 0.0
        self._counted_until_s = 0.0
        self.held_gpus = 0

    def take(self, gpus: int) -> bool:
        """Hold GPUs if so many are free."""
        if not self.cluster.take(gpus):
            return False
        self._hold(gpus)
        return True

    def give(self, gpus: int) -> None:
        """Give GPUs back."""
        self._hold(-gpus)
        self.cluster.give(gpus)

    def gpu_hours(self) -> float:
        """GPU-hours held until now."""
        self._hold(0)
        return self._gpu_s / _S_PER_H

    def _hold(self, more: int) -> None:
        self._gpu_s += self.held_gpus * (self._loop.now_s - self._counted_until_s)
        self._counted_until_s = self._loop.now_s
        self.held_gpus += more
