"""`planner explain`: one decision, its whole arithmetic, computed anew and compared with the record; or all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.times import moment_s
from planner.errors import UserError

if TYPE_CHECKING:
    from planner.journal import Archive, Journal, Outcome, Place, Replayed
    from planner.scaling.settings import PlannerSettings

    SettingsOf = Callable[[Journal], PlannerSettings]


@click.command("explain")
@click.argument("journal", type=click.Path(path_type=Path))
@click.option("--tick", "-n", type=int, help="The decision's number. Default: the last that changed the fleet.")
@click.option(
    "--at", "at", metavar="TIME",
    help="The decision in force at a time: seconds, or 2026-11-21T13:00 (UTC unless it says otherwise).",
)  # fmt: skip
@click.option("--last", is_flag=True, help="The last decision, even if it changed nothing.")
@click.option("--service", help="Only this service. Default: all.")
@click.option("--list", "list_all", is_flag=True, help="List the decisions that changed the fleet, one a line.")
@click.option("--verify", is_flag=True, help="Compute every decision anew and compare it with the record.")
def command(
    journal: Path, tick: int | None, at: str | None, last: bool, service: str | None, list_all: bool, verify: bool
) -> None:
    """Explain a decision of JOURNAL: a file, or the folder of a planner that runs.

    The decision is computed anew from the record. Exit code 1 when the result is not the recorded one, 2 when the
    journal cannot be used.
    """
    from planner.journal import Archive

    chosen = [given for given, asked in (("--tick", tick is not None), ("--at", at is not None), ("--last", last),
                                         ("--list", list_all), ("--verify", verify)) if asked]  # fmt: skip
    if len(chosen) > 1:
        raise UserError(f"{', '.join(chosen)}: each asks for something else; give one of them")
    archive = Archive.read(journal)
    for note in archive.notes:
        click.echo(f"warning: {note}", err=True)
    if list_all:
        _list(archive)
    elif verify:
        _verify(archive, _settings_by_digest())
    else:
        _explain(archive, _place(archive, tick, at, last), service, _settings_by_digest())


def _settings_by_digest() -> SettingsOf:
    """The settings of a file; those of many files are mostly the same, and take long to build."""
    from planner.config import settings_from_document

    built: dict[str, PlannerSettings] = {}

    def settings(journal: Journal) -> PlannerSettings:
        if journal.digest not in built:
            built[journal.digest] = settings_from_document(journal.config, journal.profiles)
        return built[journal.digest]

    return settings


def _place(archive: Archive, tick: int | None, at: str | None, last: bool) -> Place:
    if tick is not None:
        return archive.number(tick)
    if at is not None:
        return archive.at(moment_s(at, "--at", time.time()))
    place = None if last else archive.last(changed=True)
    place = place or archive.last(changed=False)
    if place is None:
        raise UserError(f"{archive.path}: holds no decision yet; wait for the first, an interval after the start")
    return place


def _explain(archive: Archive, place: Place, service: str | None, settings_of: SettingsOf) -> None:
    from planner.cli import EXIT_CHECK_FAILED
    from planner.explain import explain

    journal = archive.files[place.file]
    settings = settings_of(journal)
    if service is not None and service not in settings.services:
        raise UserError(f"--service: {service!r} is not in the journal; it holds {', '.join(settings.services)}")
    replayed = journal.replay(place.tick.n, settings)
    outcomes = archive.outcomes(place)
    click.echo(f"decision {replayed.n} of {journal.path}\n")
    for name in [service] if service is not None else list(settings.services):
        click.echo(explain(replayed.result.decisions[name], replayed.result.budget))
        for line in _around(replayed, name, outcomes.get(name)):
            click.echo(line)
        click.echo()
    _print_meanwhile(archive, place)
    if not replayed.same:
        click.echo("computed anew: DIFFERS from the record; the code or the file has changed since", err=True)
        click.echo(f"  {replayed.difference}", err=True)
        raise SystemExit(EXIT_CHECK_FAILED)
    click.echo("computed anew: the same")


def _around(replayed: Replayed, service: str, outcome: Outcome | None) -> list[str]:
    """What people had ordered of a service, and what became of the decision; nothing where nothing is on record."""
    from planner.explain import when

    lines = []
    if held := replayed.holds.get(service):
        lines += ["", "held", *(f"  {role}: {replicas}" for role, replicas in held.items())]
    if outcome is not None:
        lines += ["", "outcome", f"  {outcome.status} at {when(outcome.at_s)}: {outcome.detail}"]
    return lines


def _print_meanwhile(archive: Archive, place: Place) -> None:
    from planner.explain import when
    from planner.journal import Control

    if events := archive.meanwhile(place):
        click.echo("since the decision before")
        for event in events:
            text = f"{event.what}, by {event.by}: {event.why}" if isinstance(event, Control) else event.text
            click.echo(f"  {when(event.at_s)}  {text}")
        click.echo()


def _list(archive: Archive) -> None:
    from planner.explain import when

    for journal in archive.files:
        changed = [tick for tick in journal.ticks if tick.orders]
        if len(archive.files) > 1 and changed:
            click.echo(journal.path.name)
        for tick in changed:
            click.echo(f"{tick.n:6d}  {when(tick.now_s):>10}  {tick.orders}")


def _verify(archive: Archive, settings_of: SettingsOf) -> None:
    from planner.cli import EXIT_CHECK_FAILED
    from planner.journal import JournalGoneError, gone

    count = left_out = 0
    differing: list[str] = []
    for journal in archive.files:
        try:
            for replayed in journal.rerun(settings_of(journal)):
                count += 1
                if not replayed.same:
                    differing.append(f"decision {replayed.n} of {journal.path}: {replayed.difference}")
        except JournalGoneError:
            left_out += 1
            click.echo(f"warning: {gone(journal.path)}", err=True)
    read = len(archive.files) - left_out
    files = f"{read} file{'s'[: read != 1]}"
    if differing:
        click.echo(f"{len(differing)} of {count} decisions in {files} DIFFER from the record; the first:", err=True)
        click.echo(f"  {differing[0]}", err=True)
        raise SystemExit(EXIT_CHECK_FAILED)
    click.echo(f"{count} decisions in {files}, computed anew: all the same")
