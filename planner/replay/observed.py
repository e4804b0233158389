"""What a source said at past times, as a recording: a row for each time, of the interval that ended there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.scaling.types import PoolSamples, Role, Sample, Sampled, ServiceSamples
from planner.sources.recorded import GAUGES, Recording, RecordingError, Span

_QUANTITIES = ("rate_per_s", "isl_tokens", "osl_tokens", "isl_cv2", "ttft_s", "queue_s", "itl_s")


def recording_of(name: str, samples: Sequence[ServiceSamples], interval_s: float) -> Recording:
    """The recording of samples taken every `interval_s`.

    Means and rates are those of the source's window, which may be longer than the interval. What was never told is no
    column. Raises RecordingError when the load never was.
    """
    rows = [_row(each) for each in samples]
    told = {quantity for row in rows for quantity, value in row.items() if value is not None}
    for role in Role:
        if not {f"{role}_wanted", f"{role}_ready"} <= told:
            told -= {f"{role}_{gauge}" for gauge in GAUGES if gauge not in ("waiting", "running")}
    if "rate_per_s" not in told:
        raise RecordingError(f"{name}: no load in all this time; check the time and the service's labels")
    spans = (
        Span(index * interval_s, (index + 1) * interval_s, {quantity: row.get(quantity) for quantity in told})
        for index, row in enumerate(rows)
    )
    return Recording(name, frozenset(told), interval_s, tuple(spans))


def _row(samples: ServiceSamples) -> Mapping[str, float | None]:
    row = {quantity: _value(getattr(samples, quantity)) for quantity in _QUANTITIES}
    for role, pool in samples.pools.items():
        row |= {f"{role}_{gauge}": _value(_gauge(pool, gauge)) for gauge in GAUGES}
    return row


def _gauge(pool: PoolSamples, name: str) -> Sampled:
    gauge: Sampled = getattr(pool, name)
    return gauge


def _value(sampled: Sampled) -> float | None:
    return sampled.value if isinstance(sampled, Sample) else None
