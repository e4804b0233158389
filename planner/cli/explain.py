"""`planner explain`: one decision, its whole arithmetic, computed anew and compared with the record."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("explain")
@click.argument("journal", type=click.Path(path_type=Path))
@click.option("--decision", "-n", type=int, help="Its number, from 0. Default: the last that changed the fleet.")
@click.option("--service", help="Only this service. Default: all.")
@click.option("--list", "list_all", is_flag=True, help="List the decisions that changed the fleet, one a line.")
def command(journal: Path, decision: int | None, service: str | None, list_all: bool) -> None:
    """Explain a decision of JOURNAL (written by simulate or replay with --journal).

    The decision is computed anew from the record. Exit code 1 when the result is not the recorded one, 2 when the
    journal cannot be used.
    """
    from planner.cli import EXIT_CHECK_FAILED
    from planner.config import settings_from_document
    from planner.errors import UserError
    from planner.explain import explain
    from planner.journal import Journal

    record = Journal.read(journal)
    if record.torn is not None:
        click.echo(f"warning: {journal}: {record.torn}", err=True)
    settings = settings_from_document(record.config, record.profiles)
    if service is not None and service not in settings.services:
        raise UserError(f"--service: {service!r} is not in the journal; it holds {', '.join(settings.services)}")
    changed = [tick for tick in record if _changes(tick.recorded)]
    if list_all:
        for tick in changed:
            click.echo(f"{tick.n:6d}  {tick.now_s:10.0f} s  {_orders(tick.recorded)}")
        return
    if decision is None:
        decision = changed[-1].n if changed else len(record.ticks) - 1
    replayed = record.replay(decision, settings)
    names = [service] if service is not None else list(settings.services)
    click.echo(f"decision {decision} of {journal}\n")
    for name in names:
        click.echo(explain(replayed.result.decisions[name], replayed.result.budget))
        click.echo()
    if not replayed.same:
        click.echo("computed anew: DIFFERS from the record; the code or the file has changed since", err=True)
        raise SystemExit(EXIT_CHECK_FAILED)
    click.echo("computed anew: the same")


def _changes(result: dict[str, object]) -> bool:
    return bool(_orders(result))


def _orders(result: dict[str, object]) -> str:
    """What a recorded tick ordered, "decode 3 -> 4"; empty when it left everything as it was."""
    decisions = result["decisions"]
    assert isinstance(decisions, dict)
    return ", ".join(
        f"{name} {role} {pool['current']} -> {pool['replicas']}"
        for name, decided in decisions.items()
        for role, pool in decided["pools"].items()
        if pool["replicas"] not in (None, pool["current"])
    )
