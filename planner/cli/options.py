"""The options by which every command takes its configuration.

    @click.command("simulate")
    @config_options
    def command(**options: object) -> None:
        loaded = config_from_options(options)

Values stay text here: `planner.config` parses and judges them as it does a file's, so that a mistake reads the same
wherever it was made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from planner.config import LoadedConfig

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

SETTING_FLAGS = {
    "--profile": ("NAME|FILE", "Profile of the model on your GPU."),
    "--isl": ("TOKENS", "Mean input length."),
    "--osl": ("TOKENS", "Mean output length."),
    "--ttft": ("MS", "Time to first token to keep."),
    "--itl": ("MS", "Inter-token latency to keep."),
    "--objective": ("SHARE", "Share of requests that must meet both, such as 0.95."),
    "--gpus": ("N", "GPU budget of all services together."),
    "--mode": ("disaggregated|aggregated", "Separate prefill and decode pools, or one."),
    "--interval": ("S", "Seconds between two decisions."),
    "--startup": ("S", "Seconds from ordering a replica to Ready."),
    "--forecaster": ("NAME", "Forecaster of the request rate."),
}
"""What each flag expects and says; `planner.config.catalogue.FLAGS` tells which setting it is."""


def config_options(command: CommandT) -> CommandT:
    """Give a command --config, a flag for each common setting, and --set for all others."""
    decorators = [
        click.option(
            "--config", "-c", "config_file", metavar="FILE", type=click.Path(path_type=Path),
            help="YAML configuration file. Default: the one PLANNER_CONFIG names.",
        ),
        *(click.option(flag, metavar=metavar, help=text) for flag, (metavar, text) in SETTING_FLAGS.items()),
        click.option(
            "--set", "assignments", metavar="PATH=VALUE", multiple=True,
            help="Any other setting, such as --set scaling.tolerance=0.1. May be repeated.",
        ),
    ]  # fmt: skip
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def config_from_options(
    options: Mapping[str, Any], env: Mapping[str, str] | None = None, instead: tuple[str, ...] = ()
) -> LoadedConfig:
    """The configuration that a command's options ask for.

    `options` may hold the command's own as well; `env` None is the process's; `instead` are assignments of `--what-if`
    that go before all others. Raises ConfigError.
    """
    from planner.config import load_config
    from planner.config.catalogue import FLAGS

    flags = {flag: options[flag.removeprefix("--")] for flag in SETTING_FLAGS}
    given = {flag: value for flag, value in flags.items() if value is not None}
    changed = _assigned(instead, "--what-if")
    given = {
        name: value
        for name, value in (given | _assigned(options["assignments"], "--set")).items()
        if ".".join(FLAGS.get(name, (name,))) not in changed
    }
    return load_config(options["config_file"], os.environ if env is None else env, given | changed)


def _assigned(assignments: tuple[str, ...], option: str) -> dict[str, str]:
    from planner.config import ConfigError

    mistakes: list[str] = []
    assigned: dict[str, str] = {}
    for text in assignments:
        path, separator, value = text.partition("=")
        if not separator or not all(path.split(".")):
            mistakes.append(f"{option}: {text!r} must be PATH=VALUE, such as {option} scaling.tolerance=0.1")
        elif path in assigned:
            mistakes.append(f"{option}: {path} is given twice; keep one")
        assigned[path] = value
    if mistakes:
        raise ConfigError(mistakes)
    return assigned
