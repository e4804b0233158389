"""`planner fit`: how long an engine's steps take, learnt from what it recorded."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from planner.cli.fit_study import Data

_PATH = click.Path(path_type=Path)


@click.command("fit")
@click.option("--data", type=_PATH, metavar="DIR", help="Step logs to fit on: a folder, or one file.")
@click.option("--test", type=_PATH, metavar="DIR", help="Step logs to compare on. Default: the end of each run.")
@click.option("--output", "-o", type=_PATH, metavar="FILE", help="Model file to write, JSON. Default: none.")
@click.option(
    "--model",
    type=click.Choice(["linear-physical", "roofline", "saturation"]),
    default="linear-physical",
    show_default=True,
    help="Which to write.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0.05, 0.9),
    default=0.3,
    show_default=True,
    help="Share of each run to compare on, its last.",
)
@click.option(
    "--filter",
    "rule",
    type=click.Choice(["default", "published"]),
    default="default",
    show_default=True,
    help="Steps to leave out; published: those outside of 1 to 300 ms.",
)
@click.option("--served-model", metavar="NAME", help="Use the steps of this model alone, where logs hold several.")
@click.option("--graph-sizes", metavar="N,N,...", help="Captured graph sizes, tokens, for roofline. Default: none.")
@click.option("--hardware", metavar="TEXT", help="What the engine ran on; kept in the model file.")
@click.option("--plots", type=_PATH, metavar="DIR", help="Draw residuals and contours into this folder.")
@click.option("--analyze-only", is_flag=True, help="Report on the data, and fit nothing.")
@click.option("--demo", is_flag=True, help="Use made-up steps instead of --data.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--verbose", "-v", is_flag=True, help="Say more about the data.")
def command(
    data: Path | None, test: Path | None, output: Path | None, model: str, held_out: float,
    rule: Literal["default", "published"], served_model: str | None, graph_sizes: str | None, hardware: str | None,
    plots: Path | None, analyze_only: bool, demo: bool, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Fit models of step time on an engine's step logs, compare them, and write one.

    Exit code 0 when done, 1 when the data cannot support a model; then nothing is written.
    """
    import json

    from planner.cli import EXIT_CHECK_FAILED, fit_report, fit_study

    sizes = _checked(data, demo, output, graph_sizes)
    if plots is not None:
        # Missing is told before any work is done.
        import_module("matplotlib")
    read = fit_study.read_data("--data", data, served_model, rule)
    against = None if test is None else fit_study.read_data("--test", test, served_model, rule)
    _require_same_model(read, against)
    evidence = fit_study.examined(read)
    study = None
    written: dict[str, object] = {"written": None, "plots": []}
    if evidence.supports_a_model and not analyze_only:
        study = fit_study.studied(model, read, against, held_out, sizes, hardware)
        if plots is not None:
            written["plots"] = [str(path) for path in fit_study.drawn(study, plots)]
        if output is not None:
            from planner.engine.latency.model_file import write_model

            write_model(study.fitted, output)
            written["written"] = str(output)
    if as_json:
        click.echo(json.dumps(fit_report.as_json(read, evidence, study, written), indent=2))
    else:
        lines = [*fit_report.data_lines(read, evidence, verbose)]
        if study is not None:
            lines += fit_report.study_lines(study, verbose)
        click.echo("\n".join([*lines, *(f"wrote {path}" for path in _paths(written))]))
    if not evidence.supports_a_model:
        raise SystemExit(EXIT_CHECK_FAILED)


def _checked(data: Path | None, demo: bool, output: Path | None, graph_sizes: str | None) -> tuple[int, ...]:
    """The graph sizes; raises UserError for options that do not go together."""
    from planner.cli.simulate_compare import whole_numbers
    from planner.engine.latency.model_file import require_json_name
    from planner.errors import UserError

    if (data is None) == (not demo):
        raise UserError("--data: give a folder of step logs, or --demo, and not both")
    if output is not None:
        require_json_name(output, "--output")
    return () if graph_sizes is None else tuple(sorted(whole_numbers("--graph-sizes", graph_sizes)))


def _require_same_model(data: Data, test: Data | None) -> None:
    from planner.errors import UserError

    if test is None:
        return
    fitted, tested = ({run.run.model for run in each.runs if run.run.model} for each in (data, test))
    if fitted and tested and fitted != tested:
        raise UserError(
            f"--test: its steps are of {', '.join(sorted(tested))}, those of --data of {', '.join(sorted(fitted))}; "
            "compare on logs of the same model"
        )


def _paths(written: dict[str, object]) -> list[object]:
    plots = written["plots"]
    assert isinstance(plots, list)
    return [*plots, *([written["written"]] if written["written"] else [])]
