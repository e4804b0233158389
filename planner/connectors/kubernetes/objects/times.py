"""Times as the API server takes them."""

from __future__ import annotations

from datetime import UTC, datetime


def micro_time(epoch_s: float) -> str:
    """Seconds since the epoch as the API's MicroTime: RFC 3339 in UTC, six digits of the second, always."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
