"""The `planner` command.

Each subcommand lives in its own module and is imported only when it is asked for; each module imports what it needs
inside its functions, so that `planner --help` stays quick.

Exit codes: 0 done; 1 a check failed (an invalid profile, an explanation that does not reproduce); 2 a mistake in what
the user gave; 3 an optional package is not installed; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from planner import __version__
from planner.errors import UserError

EXIT_CHECK_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_MISSING_EXTRA = 3
EXIT_INTERRUPTED = 130

_COMMANDS = {
    "run": "planner.cli.run",
    "demo": "planner.cli.demo",
    "simulate": "planner.cli.simulate",
    "replay": "planner.cli.replay",
    "explain": "planner.cli.explain",
    "check-config": "planner.cli.check_config",
    "doctor": "planner.cli.doctor",
    "profile": "planner.cli.profile",
    "fit": "planner.cli.fit",
    "generate": "planner.cli.generate",
    "completion": "planner.cli.completion",
}
"""Command name to the module that defines it as `command`."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name]).command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="planner")
def cli() -> None:
    """Keep the smallest GPU fleet that honours a latency agreement."""


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr, never a traceback."""
    # Before numpy is imported: our matrices are tiny, and BLAS threads only wait for one another on them (an ARIMA fit
    # on busy cores takes up to a hundred times longer with them).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        sys.exit(cli.main(standalone_mode=False, prog_name="planner"))
    except UserError as error:
        _fail(str(error), EXIT_USER_ERROR)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        _fail(f"{error.name} is not installed; run: pip install 'sla-planner[{extra}]'", EXIT_MISSING_EXTRA)
    except click.exceptions.Abort:
        _fail("interrupted", EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USER_ERROR)


_EXTRAS = {
    "prophet": "prophet",
    "distributed": "dask",
    "joblib": "sim",
    "aiconfigurator_core": "estimate",
    "matplotlib": "fit",
}


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)
