"""What a single request may ask for: from `tightest` to `loosest` times the service's own target.

The wish comes with the request, from outside. A very tight one would hold up every other request in its batch, so it is
clamped; what is no positive finite number is ignored, and never an error.
"""

from __future__ import annotations

import math


def agreed_ms(asked: object, default_ms: float, tightest: float, loosest: float) -> float:
    """The target of a request that asked so, in ms; the service's own when it asked for nothing sensible."""
    # Numbers alone: true is no time, and text may be anything. A comparison with nan is false.
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 < asked < math.inf:
        return default_ms
    return float(min(max(asked, tightest * default_ms), loosest * default_ms))
