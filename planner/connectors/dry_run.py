"""A connector that looks and does not touch: plans end in words."""

from __future__ import annotations

from collections.abc import Mapping

from planner.connectors.types import Applied, Connector, Plan
from planner.scaling.types import Absent, ReplicaSamples, Role


class DryRun:
    """Reads through another connector and says what it would set; sets nothing."""

    def __init__(self, inner: Connector) -> None:
        self._inner = inner

    async def read(self, service: str) -> Mapping[Role, ReplicaSamples]:
        """What the inner connector reads."""
        return await self._inner.read(service)

    async def apply(self, plan: Plan) -> Applied:
        """Say which pools the plan would change."""
        pools = await self._inner.read(plan.service)
        changes = [change for role, count in plan.replicas.items() if (change := _change(role, pools.get(role), count))]
        if not changes:
            return Applied("unchanged", "all pools are ordered so already")
        return Applied("dry-run", f"would set {', '.join(changes)}")

    async def close(self) -> None:
        """Close the inner connector."""
        await self._inner.close()


def _change(role: Role, pool: ReplicaSamples | None, count: int) -> str | None:
    wanted = Absent("there is no such pool") if pool is None else pool.wanted
    if isinstance(wanted, Absent):
        return f"{role} to {count} (now unknown: {wanted.cause})"
    return None if wanted.value == count else f"{role} from {wanted.value:.0f} to {count}"
