"""`planner generate`: made-up traffic, written as a trace that `planner simulate` plays."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from planner.errors import UserError

if TYPE_CHECKING:
    from planner.sim.generators import Lengths, Traffic
    from planner.sim.loads import Request, Stretch

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_STDOUT = "-"
_LENGTHS = {"isl": 3000.0, "osl": 150.0, "isl_cv": 0.2, "osl_cv": 0.2}
"""The demo's mean lengths, and the spread of what is drawn from load tables."""

_HOUR_S, _DAY_S = 3600.0, 86_400.0

_rate = click.option("--rate", type=float, required=True, metavar="X", help="Requests per second.")
_peak = click.option("--peak", type=float, required=True, metavar="X", help="Highest rate, requests per second.")
_day = click.option(
    "--period", type=float, default=_DAY_S, show_default=True, metavar="S", help="Length of a day, seconds."
)


@click.group("generate")
def command() -> None:
    """Write a made-up trace: a rate over time, random arrivals, random lengths."""


def _traffic_options(duration_s: float) -> Callable[[CommandT], CommandT]:
    """What every kind of load has: where it goes, how long it lasts, how requests arrive and how long they are."""
    decorators = [
        click.option("--output", "-o", required=True, metavar="FILE", help="CSV, CSV.GZ, or - for standard output."),
        click.option("--duration", type=float, default=duration_s, show_default=True, metavar="S", help="Seconds."),
        click.option(
            "--cv", type=float, default=1.0, show_default=True, metavar="X",
            help="Coefficient of variation of the gaps between arrivals: 1 is Poisson, 3 is bursty.",
        ),
        click.option("--isl", type=float, metavar="TOKENS", help="Mean input length.  [default: 3000]"),
        click.option("--osl", type=float, metavar="TOKENS", help="Mean output length.  [default: 150]"),
        click.option("--isl-cv", type=float, metavar="X", help="Spread of input lengths.  [default: 0.2]"),
        click.option("--osl-cv", type=float, metavar="X", help="Spread of output lengths.  [default: 0.2]"),
        click.option("--lengths", "lengths_file", metavar="FILE", help="Draw lengths from this trace instead."),
        click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bytes."),
    ]  # fmt: skip

    def decorate(command: CommandT) -> CommandT:
        for option in reversed(decorators):
            command = option(command)
        return command

    return decorate


@command.command("constant")
@_rate
@_traffic_options(_HOUR_S)
def constant(rate: float, **options: Any) -> None:
    """One rate throughout."""
    from planner.sim import shapes

    _write_one(shapes.constant(options["duration"], rate), options)


@command.command("ramp")
@_rate
@_peak
@_traffic_options(_HOUR_S)
def ramp(rate: float, peak: float, **options: Any) -> None:
    """From --rate straight to --peak, which may be the lower one."""
    from planner.sim import shapes

    _write_one(shapes.ramp(options["duration"], rate, peak), options)


@command.command("steps")
@click.option("--rates", required=True, metavar="X,X,...", help="Requests per second, each for an equal time.")
@_traffic_options(_HOUR_S)
def steps(rates: str, **options: Any) -> None:
    """One rate after the other."""
    from planner.sim import shapes

    _write_one(shapes.steps(options["duration"], _numbers(rates)), options)


def _day_options(command: CommandT) -> CommandT:
    for option in (
        _day,
        click.option("--rates", metavar="X,X,...", help="The day's shape instead: rates, each for an equal time."),
        click.option("--peak", type=float, metavar="X", help="Rate at noon."),
        click.option("--rate", type=float, metavar="X", help="Requests per second at midnight."),
    ):
        command = option(command)
    return command


@command.command("diurnal")
@_day_options
@_traffic_options(_DAY_S)
def diurnal(rate: float | None, peak: float | None, rates: str | None, period: float, **options: Any) -> None:
    """Days that are alike.

    A sine from --rate at midnight to --peak at noon, or the shape of --rates.
    """
    _write_one(_days(rate, peak, rates, period, options["duration"]), options)


@command.command("weekly")
@_day_options
@click.option("--weekend", type=float, default=0.33, show_default=True, metavar="X", help="Times a weekday's rate.")
@_traffic_options(7 * _DAY_S)
def weekly(
    rate: float | None, peak: float | None, rates: str | None, period: float, weekend: float, **options: Any
) -> None:
    """Days, and a quieter weekend.

    Days are those of diurnal; the first is a Monday.
    """
    from planner.sim import shapes

    days = _days(rate, peak, rates, period, options["duration"])
    _write_one(shapes.weekly(days, weekend, period), options)


@command.command("bursts")
@_rate
@_peak
@click.option("--period", type=float, default=600.0, show_default=True, metavar="S", help="Mean time between bursts.")
@click.option("--burst", type=float, default=30.0, show_default=True, metavar="S", help="Mean length of a burst.")
@_traffic_options(_HOUR_S)
def bursts(rate: float, peak: float, period: float, burst: float, **options: Any) -> None:
    """Quiet at --rate, with bursts at --peak.

    Both last exponentially long, so that nobody can foretell them. Short bursts are spikes.
    """
    from planner.sim import shapes

    _write_one(shapes.bursts(options["duration"], rate, peak, period, burst, options["seed"]), options)


@command.command("correlated")
@click.option("--service", "services", multiple=True, metavar="NAME=X", help="A service and its mean rate; repeat.")
@click.option("--swing", type=float, default=0.5, show_default=True, metavar="X", help="Spread of the shared rate.")
@click.option(
    "--period", type=float, default=_HOUR_S, show_default=True, metavar="S", help="Time over which it forgets itself."
)
@_traffic_options(_HOUR_S)
def correlated(services: tuple[str, ...], swing: float, period: float, **options: Any) -> None:
    """Services that rise and fall together.

    There is a file for each, FILE's name with the service's: --service chat=5 --service code=2 -o load.csv.gz writes
    load-chat.csv.gz and load-code.csv.gz.
    """
    from planner.sim import generators, shapes

    rates_per_s = _service_rates(services)
    if options["output"] == _STDOUT:
        raise UserError("--output: '-' cannot hold a file for each service; give a file's name")
    duration_s, seed = options["duration"], options["seed"]
    # Judged here, before the first file is written.
    shapes.swings(duration_s, swing, period, seed)
    streams = generators.correlated(
        lambda: shapes.swings(duration_s, swing, period, seed), rates_per_s, _traffic(options), seed
    )
    output = Path(options["output"])
    for name, requests in streams.items():
        stem, dot, suffixes = output.name.partition(".")
        _write(requests, str(output.with_name(f"{stem}-{name}{dot}{suffixes}")))


def _days(
    rate: float | None, peak: float | None, rates: str | None, period: float, duration_s: float
) -> Iterator[Stretch]:
    from planner.sim import shapes

    if rates is not None and rate is None and peak is None:
        return shapes.day_shape(duration_s, _numbers(rates), period)
    if rates is None and rate is not None and peak is not None:
        return shapes.diurnal(duration_s, rate, peak, period)
    raise UserError("--rate, --peak, --rates: give the first two, or the last alone")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--rates: {text!r} must be numbers with commas between them, such as 2,8,4") from None


def _service_rates(services: Iterable[str]) -> dict[str, float]:
    rates_per_s: dict[str, float] = {}
    for text in services:
        name, _, rate = text.partition("=")
        try:
            rate_per_s = float(rate)
        except ValueError:
            rate_per_s = None
        # The name becomes part of a file's name.
        if rate_per_s is None or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UserError(f"--service: {text!r} must be NAME=RATE, such as --service chat=5")
        if name in rates_per_s:
            raise UserError(f"--service: {name} is given twice; keep one")
        rates_per_s[name] = rate_per_s
    return rates_per_s


def _write_one(shape: Iterable[Stretch], options: Mapping[str, Any]) -> None:
    from planner.sim.generators import generated

    _write(generated(shape, _traffic(options), options["seed"]), options["output"])


def _traffic(options: Mapping[str, Any]) -> Traffic:
    from planner.sim.generators import Traffic

    return Traffic(_lengths(options), options["cv"])


def _lengths(options: Mapping[str, Any]) -> Lengths:
    from planner.sim.generators import empirical_lengths, lognormal_lengths
    from planner.sim.traces import load_trace

    given = {name: options[name] for name in _LENGTHS if options[name] is not None}
    if options["lengths_file"] is None:
        return lognormal_lengths(**_LENGTHS | given)
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"--lengths: {options['lengths_file']} already gives the lengths; leave out {flags}")
    return empirical_lengths(load_trace(options["lengths_file"], seed=options["seed"]), options["seed"])


def _write(requests: Iterable[Request], output: str) -> None:
    from planner.sim.trace_writer import write_rows, write_trace

    if output == _STDOUT:
        write_rows(requests, sys.stdout)
        return
    written = write_trace(requests, Path(output))
    click.echo(f"{output}: {written} requests")
