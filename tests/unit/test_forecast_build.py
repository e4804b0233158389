"""Choosing a forecaster by name or by import string."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import UserError
from planner.scaling.forecast import Forecast, Series, build

OWN = """
class Own:
    name = "own"

    def __init__(self, interval_s):
        self.interval_s = interval_s

    @classmethod
    def doubled(cls, interval_s):
        return cls(2 * interval_s)

NUMBER = 3
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the user's with a good module and two bad ones."""
    folder = tmp_path / "own_forecasts"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "good.py").write_text(OWN)
    (folder / "needy.py").write_text("import a_package_nobody_has\n")
    (folder / "broken.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "interval_s"), [("own_forecasts.good:Own", 60.0), ("own_forecasts.good:Own.doubled", 120.0)]
)
def test_an_import_string_is_called_with_the_interval(name: str, interval_s: float) -> None:
    made = build(name, 60.0)

    assert (made.name, vars(made)) == ("own", {"interval_s": interval_s})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(
            "holt",
            r"^forecaster: 'holt' is unknown; use one of constant, moving-average, kalman-level, kalman, arima, "
            r"prophet, or 'package.module:attribute'$",
            id="unknown name",
        ),
        pytest.param(
            "own_forecasts.good:", "'own_forecasts.good:' is no import string; write it as", id="no attribute"
        ),
        pytest.param(":Own", "':Own' is no import string", id="no module"),
        pytest.param("own forecasts:Own", "is no import string", id="no identifier"),
        pytest.param("a:b:c", "'a:b:c' is no import string", id="two colons"),
        pytest.param(
            "own_forecasts.absent:Own",
            "no module named 'own_forecasts.absent'; install it or correct the name",
            id="missing module",
        ),
        pytest.param("nowhere_at_all.x:Own", "no module named 'nowhere_at_all'; install it", id="missing package"),
        pytest.param(
            "own_forecasts.good:Absent",
            "module 'own_forecasts.good' has no attribute 'Absent'; correct the name",
            id="missing attribute",
        ),
        pytest.param("own_forecasts.good:NUMBER", "is not callable; name a class or function", id="not callable"),
        pytest.param(
            "own_forecasts.needy:Own",
            "importing 'own_forecasts.needy' failed with ModuleNotFoundError: No module named 'a_package_nobody_has'",
            id="a module's own import is missing",
        ),
        pytest.param(
            "own_forecasts.broken:Own",
            "importing 'own_forecasts.broken' failed with RuntimeError: two lines; mend that module",
            id="a module fails",
        ),
    ],
)
def test_a_mistake_is_named_in_one_line_with_its_remedy(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build(name, 60.0)

    assert "\n" not in str(caught.value)


def test_a_forecast_interpolates_between_the_levels_it_carries() -> None:
    made = build("constant", 60.0).forecast(Series((0.0,), (10.0,)), 0.0, 60.0)

    assert isinstance(made, Forecast)
    assert made.quantile(0.85) == pytest.approx((made.quantile(0.8) + made.quantile(0.9)) / 2)
    assert made.quantile(0.999) == made.quantile(0.99)
