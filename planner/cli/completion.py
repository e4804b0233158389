"""`planner completion`: the line that makes a shell complete planner's commands and options."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL: eval "$(planner completion bash)"."""
    from click.shell_completion import get_completion_class

    from planner.cli import cli

    completion = get_completion_class(shell)
    assert completion is not None  # the choice above lists only shells that click knows
    click.echo(completion(cli, {}, "planner", "_PLANNER_COMPLETE").source())
