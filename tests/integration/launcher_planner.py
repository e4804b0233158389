"""A planner whose replicas a launcher starts: the real loop and API, loads by a script. Run as a process.

    python launcher_planner.py PORT FOLDER

One service with prefill and decode under 6 GPUs; its load changes every 20 s, ten times as fast as the wall.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from planner.api import Security, create_app
from planner.clock import WallClock
from planner.config import build_settings, load_config
from planner.connectors.virtual import VirtualConnector
from planner.live import listening, run
from planner.loop import ControlLoop, Pace
from planner.scaling.types import Absent, PoolSamples, Sample, ServiceSamples
from planner.steering import Steering

BUDGET_GPUS = 6
RATES_PER_S = (5.0, 30.0, 45.0, 200.0, 20.0, 5.0, 30.0)
CONFIG = f"""\
budget: {{gpus: {BUDGET_GPUS}}}
profile: h200-llama-3.1-8b-fp8-tp1
sla: {{isl: 3000, osl: 150, ttft: 500, itl: 50}}
interval_s: 5
startup_s: 5
forecast: {{model: constant, quantile: 0.5}}
scaling: {{stabilisation_down_s: 5, delayed_start_s: 0, max_down_factor: 1}}
"""


class Loads:
    """Engines that always report and never queue."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock

    async def collect(self, service: str) -> ServiceSamples:
        """The load of this moment."""
        now_s = self._clock.now_s()
        unknown = Absent("the launcher tells")

        def sample(value: float) -> Sample:
            return Sample(value, now_s)

        pool = PoolSamples(unknown, unknown, unknown, unknown, unknown, unknown, sample(99), sample(0), sample(1))
        rate_per_s = RATES_PER_S[int(now_s // 20) % len(RATES_PER_S)]
        return ServiceSamples(
            5.0, sample(rate_per_s), sample(3000), sample(150), sample(0.5), sample(0.07), sample(0.001), sample(0.006),
            dict.fromkeys(("prefill", "decode"), pool),  # type: ignore[arg-type]
        )  # fmt: skip

    async def close(self) -> None:
        """Nothing is open."""


async def main(port: int, folder: Path) -> None:
    """Until SIGTERM."""
    config = folder / "planner.yaml"
    config.write_text(CONFIG)
    settings = build_settings(load_config(config, {}, {}))
    clock = WallClock(speed=10.0)
    pools = {name: dict.fromkeys(service.pools, 0) for name, service in settings.services.items()}
    connector = VirtualConnector(
        pools, clock, state=folder / "orders.json", accept_within_s=60.0, report_max_age_s=600.0
    )
    loop = ControlLoop(settings, Loads(clock), connector, clock, pace=Pace(lead_s=1.0))
    steering = Steering(loop.desk, clock, loop.scribe)
    await run(loop, create_app(steering, connector, Security(folder / "token")), listening("127.0.0.1", port))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
