"""`planner profile`: the performance profiles that sizing rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from planner.cli.profile_estimate import estimate

_NUMBER = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)
_FILE = click.Path(path_type=Path)


@click.group("profile")
def command() -> None:
    """List, show, check, import, plot and estimate performance profiles."""


command.add_command(estimate)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the profiles that come with the planner."""
    import json

    from planner.profiler.describe import table
    from planner.profiler.library import list_profiles

    profiles = list_profiles()
    if as_json:
        listed = [
            {
                "name": profile.name,
                "model": profile.model,
                "gpu": profile.gpu,
                "tensor_parallel": profile.tensor_parallel,
                "precision": profile.precision,
                "kind": profile.kind,
                "warnings": list(profile.warnings),
            }
            for profile in profiles
        ]
        click.echo(json.dumps(listed, indent=2))
        return
    rows = [(p.name, p.model, p.gpu, str(p.tensor_parallel), p.kind) for p in profiles]
    click.echo(table(("NAME", "MODEL", "GPU", "TP", "KIND"), rows))


@command.command("show")
@click.argument("profile")
@click.option("--isl", type=_NUMBER, help="Input length, tokens.")
@click.option("--osl", type=_NUMBER, help="Output length, tokens.")
@click.option("--ttft", type=_NUMBER, help="Target for the time to first token, ms.")
@click.option("--itl", type=_NUMBER, help="Target for the inter-token latency, ms.")
def show(profile: str, isl: float | None, osl: float | None, ttft: float | None, itl: float | None) -> None:
    """Show PROFILE (a name or a file): its figures and its doubts.

    With --isl, --osl, --ttft and --itl, also what one replica does under that agreement.
    """
    from planner.errors import UserError
    from planner.profiler.describe import capacity, described
    from planner.profiler.library import load_profile
    from planner.slo.targets import Targets

    shown = load_profile(profile)
    if isl is None or osl is None or ttft is None or itl is None:
        if not isl == osl == ttft == itl:
            raise UserError("--isl, --osl, --ttft, --itl: give all four or none")
        click.echo(described(shown))
        return
    targets = Targets(isl_tokens=isl, osl_tokens=osl, ttft_ms=ttft, itl_ms=itl)
    click.echo(f"{described(shown)}\n\n{capacity(shown, targets)}")


@command.command("validate")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.pass_context
def validate(ctx: click.Context, files: tuple[Path, ...]) -> None:
    """Check profile FILES; exit code 1 when any of them cannot be used."""
    from planner.cli import EXIT_CHECK_FAILED
    from planner.profiler.library import read_profile
    from planner.scaling.profile import ProfileError

    failed = False
    for file in files:
        try:
            profile = read_profile(file)
        except ProfileError as error:
            failed = True
            click.echo(f"invalid  {error}")
            continue
        click.echo(f"valid    {file}: {profile.name}")
        for warning in profile.warnings:
            click.echo(f"warning  {file}: {warning}")
    if failed:
        ctx.exit(EXIT_CHECK_FAILED)


@command.command("import")
@click.argument("paths", type=_FILE, nargs=-1, required=True)
@click.option("--output", "-o", type=_FILE, required=True, help="File to write.")
@click.option("--name", required=True, help="Name of the profile, such as h200-llama-3.1-8b-fp8-tp1.")
@click.option("--precision", required=True, help="Of the weights, such as fp8.")
@click.option("--model", help="Published checkpoint. Default: as the file says.")
@click.option("--gpu", help="Such as H200-SXM. Default: as the file says.")
@click.option("--tp", type=_COUNT, help="Tensor parallelism. Default: as the file says.")
@click.option("--prefill-gpus", type=_COUNT, help="GPUs per prefill replica. Default: as the file says, else --tp.")
@click.option("--decode-gpus", type=_COUNT, help="GPUs per decode replica. Default: as the file says, else --tp.")
@click.option("--engine", help="Such as vllm. Default: as the file says.")
@click.option("--engine-version", help="Default: as the file says, else unknown.")
@click.option("--kind", type=click.Choice(["measured", "estimated"]), help="Default: as the file says, else measured.")
@click.option("--source", help="Where the figures come from. Default: as the file says.")
@click.option("--license", help="Licence of the figures. Default: as the file says.")
@click.option("--time-unit", type=click.Choice(["s", "ms"]), help="Of the times in the files. Default: find out.")
def import_(
    paths: tuple[Path, ...],
    output: Path,
    name: str,
    precision: str,
    model: str | None,
    gpu: str | None,
    tp: int | None,
    prefill_gpus: int | None,
    decode_gpus: int | None,
    engine: str | None,
    engine_version: str | None,
    kind: str | None,
    source: str | None,
    license: str | None,  # noqa: A002 - the option's name
    time_unit: Literal["s", "ms"] | None,
) -> None:
    """Import Dynamo's profiling results.

    PATHS is one folder of results, one JSON file with prefill and decode, or a prefill and a decode file (npz or JSON).
    """
    from planner.profiler.importer import Metadata, import_profile
    from planner.profiler.library import write_profile

    metadata = Metadata(
        name=name,
        precision=precision,
        model=model,
        gpu=gpu,
        tensor_parallel=tp,
        prefill_gpus=prefill_gpus,
        decode_gpus=decode_gpus,
        engine=engine,
        engine_version=engine_version,
        kind=kind,
        source=source,
        license=license,
    )
    profile = import_profile(paths, metadata, time_unit)
    for note in (*profile.provenance.notes, *profile.warnings):
        click.echo(f"warning: {note}", err=True)
    write_profile(profile, output)
    click.echo(output)


@command.command("plot")
@click.argument("profile")
@click.option("--output", "-o", type=_FILE, required=True, help="HTML file to write.")
def plot(profile: str, output: Path) -> None:
    """Draw PROFILE (a name or a file) as one HTML page that loads nothing from anywhere."""
    from planner.profiler.library import load_profile
    from planner.profiler.plot import write_plot

    write_plot(load_profile(profile), output)
    click.echo(output)
