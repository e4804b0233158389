"""Times as people write them on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from planner.errors import UserError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"-(\d+(?:\.\d+)?)([smhd])")


def moment_s(text: str, option: str, now_s: float) -> float:
    """`now`, `-6h` (s, m, h, d before now), seconds, or a date and time such as 2026-11-21T13:00, UTC unless it says.

    Seconds since the epoch. Raises UserError, naming the option.
    """
    if text == "now":
        return now_s
    if ago := _AGO.fullmatch(text):
        return now_s - float(ago[1]) * _UNITS_S[ago[2]]
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"{option}: {text!r} is no time; give seconds, -6h, or a time such as 2026-11-21T13:00"
        ) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
