"""The planner as it was published: throughput sized for one expected rate, and obeyed at once.

It is our own tick with everything beyond the formulas switched off: the constant forecaster's point instead of a
quantile, no reactive floor, no tolerance, stabilisation or step limits. The formulas are those of NVIDIA Dynamo's
SLA planner, see `planner.scaling.size.throughput`. The correction of the profile stays as configured: the published
planner corrects, too. What differs from theirs beyond that: lengths are our running means, and doubtful data does not
lower the fleet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.scaling.forecast import LEVELS, Forecast, Forecaster, Series, build
from planner.scaling.settings import GuardSettings, ServiceSettings


@dataclass(frozen=True, slots=True)
class PointForecaster:
    """Another forecaster's point at every quantile level: no headroom."""

    inner: Forecaster

    @property
    def name(self) -> str:
        """The other's."""
        return self.inner.name

    def forecast(self, history: Series, now_s: float, horizon_s: float) -> Forecast:
        """The other's forecast, sure of itself."""
        forecast = self.inner.forecast(history, now_s, horizon_s)
        return replace(forecast, quantiles=tuple((level, forecast.point) for level in LEVELS))


def published(service: ServiceSettings, budget_gpus: int) -> ServiceSettings:
    """The service as the published planner would run it."""
    return replace(
        service,
        forecaster=PointForecaster(build("constant", service.interval_s)),
        demand=replace(service.demand, reactive_floor=False),
        sizing=replace(service.sizing, method="throughput"),
        guards=GuardSettings(
            tolerance=0.0,
            stabilisation_up_s=0.0,
            stabilisation_down_s=0.0,
            max_up_factor=0.0,
            max_up_replicas=budget_gpus,  # more than any budget allows: no limit
            max_down_factor=1.0,
            max_pending_s=float("inf"),
            delayed_start_s=0.0,
        ),
    )
