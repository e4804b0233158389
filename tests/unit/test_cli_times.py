"""Times as people write them."""

from __future__ import annotations

import pytest

from planner.cli.times import moment_s
from planner.errors import UserError

NOW_S = 1_795_266_000.0  # 2026-11-21T13:00 UTC


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("now", NOW_S),
        ("-6h", NOW_S - 21_600),
        ("-1.5d", NOW_S - 129_600),
        ("-90s", NOW_S - 90),
        ("-30m", NOW_S - 1800),
        ("2026-11-21T13:00", NOW_S),
        ("2026-11-21T13:00Z", NOW_S),
        ("2026-11-21T14:00+01:00", NOW_S),
        ("1795266000", NOW_S),
    ],
)
def test_every_form_is_a_moment(text: str, expected_s: float) -> None:
    assert moment_s(text, "--at", NOW_S) == expected_s


@pytest.mark.parametrize("text", ["noon", "", "-6w", "6h", "2026-13-01"])
def test_what_is_no_time_is_one_error(text: str) -> None:
    with pytest.raises(UserError, match=r"^--from: '.*' is no time; give seconds, -6h, or a time such as"):
        moment_s(text, "--from", NOW_S)
