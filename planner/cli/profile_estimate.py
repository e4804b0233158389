"""`planner profile estimate`: a profile for hardware nobody has at hand."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("estimate")
@click.option("--model", help="Published checkpoint or short name, such as llama-3.1-8b.")
@click.option("--gpu", help="Such as H100-SXM, or h100.")
@click.option("--tp", type=int, default=1, show_default=True, help="GPUs per replica (tensor parallel).")
@click.option("--precision", help="Of the weights, such as bf16 or fp8.")
@click.option("--engine", default="vllm", show_default=True, help="vllm, sglang or trtllm.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write. Default: the profile's name and .json.")
@click.option("--name", help="Name of the profile. Default: <gpu>-<model>-<precision>-tp<N>.")
@click.option("--list", "list_available", is_flag=True, help="List what can be estimated for the engine.")
def estimate(
    model: str | None,
    gpu: str | None,
    tp: int,
    precision: str | None,
    engine: str,
    output: Path | None,
    name: str | None,
    list_available: bool,
) -> None:
    """Estimate a profile from operator times that others measured; no GPU is needed.

    Estimates are optimistic: the planner corrects them online, a measured profile is better. Doubts about the points
    go to stderr. Needs the extra `estimate`.
    """
    import logging

    from planner.errors import UserError
    from planner.profiler.estimate import estimate_document
    from planner.profiler.library import write_profile
    from planner.profiler.operator_times import offers
    from planner.scaling.profile import ProfileError, profile_from_document

    # It warns of every table it loads, needed or not.
    logging.getLogger("aiconfigurator_core").setLevel(logging.ERROR)
    if list_available:
        for offer in offers(engine).values():
            click.echo(f"{offer.model:32} {offer.precision:6} {' '.join(offer.engine_versions)}")
        return
    if model is None or gpu is None or precision is None:
        raise UserError("--model, --gpu, --precision: give all three; `planner profile estimate --list` shows them")
    document = estimate_document(model, gpu, tp, precision, engine)
    try:
        profile = profile_from_document(document if name is None else document | {"name": name})
    except ProfileError as error:
        raise UserError(f"the estimate is no profile ({error}); measure this pair, or try another precision") from error
    for warning in profile.warnings:
        click.echo(f"warning: {warning}", err=True)
    path = output if output is not None else Path(f"{profile.name}.json")
    write_profile(profile, path)
    click.echo(path)
