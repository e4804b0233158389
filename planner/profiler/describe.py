"""A profile in words and tables, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.scaling.profile import Profile
from planner.slo.targets import Targets

MS_PER_S = 1000.0
_ROWS = 9
"""Points shown of a longer column, first and last included."""


def described(profile: Profile) -> str:
    """Who made the profile, what it covers, what is doubtful, and its figures."""
    return "\n".join([*_about(profile), *_warnings(profile), "", *_prefill(profile), "", *_decode(profile)])


def capacity(profile: Profile, targets: Targets) -> str:
    """What one replica does under an agreement, without queueing and without failures."""
    prefill, decode, context = profile.prefill, profile.decode, targets.context_tokens
    ttft_s = prefill.ttft_s(targets.isl_tokens)
    concurrency = decode.largest_concurrency(targets.itl_s, context)
    best = decode.best_tokens_per_s_per_gpu(targets.itl_s, context)
    lines = [
        f"one replica at isl {targets.isl_tokens:g}, osl {targets.osl_tokens:g}, "
        f"TTFT {targets.ttft_ms:g} ms, ITL {targets.itl_ms:g} ms",
        f"  prefill  TTFT of a lone prompt {ttft_s * MS_PER_S:.1f} ms "
        f"({'meets' if ttft_s <= targets.ttft_s else 'misses'} the target), "
        f"{prefill.tokens_per_s_per_gpu(targets.isl_tokens):.0f} tokens/s/GPU",
        f"  decode   at context {context:g}: {concurrency:.1f} requests of {decode.max_concurrency(context):.1f} "
        f"meet the target, {best:.0f} tokens/s/GPU",
    ]
    if concurrency == 0:
        alone_ms = decode.itl_s(1, context) * MS_PER_S
        lines.append(f"  not even one request fits and meets the ITL target; alone it takes {alone_ms:.1f} ms a token")
    if not prefill.covers(targets.isl_tokens):
        lines.append(f"  isl {targets.isl_tokens:g} was not measured: {_prefill_clamp(profile, targets.isl_tokens)}")
    if not decode.context_range[0] <= context <= decode.context_range[1]:
        lines.append(f"  context {context:g} was not measured: the nearest measured context stands for it")
    return "\n".join(lines)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns."""
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    )


def _about(profile: Profile) -> Iterator[str]:
    version = f" {profile.engine_version}" if profile.engine_version else ""
    provenance = profile.provenance
    yield f"{profile.name} ({profile.kind})"
    yield f"  model     {profile.model}, {profile.precision}"
    yield f"  hardware  {profile.gpu}, tensor parallel {profile.tensor_parallel}, {profile.engine}{version}"
    yield f"  source    {provenance.source} ({provenance.license})"
    yield f"  method    {provenance.method}"
    for note in provenance.notes:
        yield f"  note      {note}"
    yield f"  digest    {profile.digest}"


def _warnings(profile: Profile) -> Iterator[str]:
    for warning in profile.warnings:
        yield f"  warning   {warning}"


def _prefill(profile: Profile) -> Iterator[str]:
    prefill = profile.prefill
    shortest, longest = prefill.isl_range
    yield f"prefill: GPUs per replica {prefill.gpus}, isl {shortest:g} to {longest:g}"
    rows = [
        (f"{isl:g}", f"{prefill.ttft_s(isl) * MS_PER_S:.1f}", f"{prefill.tokens_per_s_per_gpu(isl):.0f}")
        for isl in _spread(prefill.points.isl_tokens)
    ]
    yield table(("isl", "TTFT ms", "tokens/s/GPU"), rows)


def _decode(profile: Profile) -> Iterator[str]:
    decode = profile.decode
    shortest, longest = decode.context_range
    yield (
        f"decode: GPUs per replica {decode.gpus}, KV tokens {decode.max_kv_tokens}, "
        f"contexts {shortest:g} to {longest:g}, each measured up to the KV usage given"
    )
    rows = [
        (
            f"{line.context_tokens:g}" if concurrency == line.concurrency[0] else "",
            f"{line.kv_tokens[-1] / decode.max_kv_tokens:.2f}" if concurrency == line.concurrency[0] else "",
            f"{concurrency:g}",
            f"{decode.itl_s(concurrency, line.context_tokens) * MS_PER_S:.2f}",
            f"{decode.tokens_per_s_per_gpu(concurrency, line.context_tokens):.0f}",
        )
        for line in decode.lines
        for concurrency in _spread(line.concurrency)
    ]
    yield table(("context", "KV usage", "requests", "ITL ms", "tokens/s/GPU"), rows)


def _spread(values: Sequence[float]) -> list[float]:
    """At most `_ROWS` of the values, evenly chosen, both ends included."""
    if len(values) <= _ROWS:
        return list(values)
    return [values[round(i * (len(values) - 1) / (_ROWS - 1))] for i in range(_ROWS)]


def _prefill_clamp(profile: Profile, isl_tokens: float) -> str:
    shortest, longest = profile.prefill.isl_range
    if isl_tokens < shortest:
        return f"the time at isl {shortest:g} stands for it"
    return f"the throughput at isl {longest:g} stands for it"
