"""Where two JSON values first differ, named so that it can be found in the file."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

_ABSENT = "nothing"


def first_difference(recorded: Any, computed: Any, path: str = "result") -> str | None:
    """The first field that differs with both its values, in the record's order; None when all are equal."""
    if isinstance(recorded, dict) and isinstance(computed, dict):
        # Both directions: a field may be missing from either.
        keys = [*recorded, *(key for key in computed if key not in recorded)]
        parts = ((f"{path}.{key}", recorded.get(key, _ABSENT), computed.get(key, _ABSENT)) for key in keys)
    elif isinstance(recorded, list) and isinstance(computed, list):
        pairs = zip_longest(recorded, computed, fillvalue=_ABSENT)
        parts = ((f"{path}[{place}]", left, right) for place, (left, right) in enumerate(pairs))
    else:
        return None if recorded == computed else f"{path}: recorded {recorded!r}, computed {computed!r}"
    return next((found for where, left, right in parts if (found := first_difference(left, right, where))), None)
