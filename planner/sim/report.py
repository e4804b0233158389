"""Results in words: what was kept, what it cost, what was done and why; and several of them as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from planner.sim.compare import Played
from planner.sim.ledger import Outcome, Quantiles
from planner.sim.run import Result
from planner.sim.stage import ScaleAction, ServiceResult
from planner.slo.attainment import Attainment
from planner.slo.targets import MS_PER_S, Targets

LARGEST_ACTIONS = 8

_RESTATING = ("raise", "lower")
"""Causes that say no more than the action itself."""

_COLUMNS = ("good %", "TTFT p50 ms", "p95", "p99", "ITL p95 ms", "GPU-hours", "actions", "good/GPU-hour")
_VARIATION = {"startup_s": "start-up s", "scale": "load", "seed": "seed"}


def report(result: Result, targets: Mapping[str, Targets], *, all_actions: bool) -> str:
    """Several lines of plain text, without a newline at the end; `targets` are each service's.

    `all_actions` lists every scale action, else the `LARGEST_ACTIONS` of a service that moved most replicas.
    """
    if len(result.services) == 1:
        (name,) = result.services
        return "\n".join(_lines(result, result.only, targets[name], all_actions))
    lines = list(_sums(result))
    for name, service in result.services.items():
        lines += ["", name, *(f"  {line}" for line in _lines(result, service, targets[name], all_actions))]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Part:
    """A run as a whole, or what one of its services has in it."""

    service: str | None
    """None: all of them together."""
    attainment: Attainment
    outcome: Outcome | None
    """None for several together: latencies of different agreements have no common quantile."""
    gpu_hours: float
    actions: int

    @property
    def good_per_gpu_hour(self) -> float | None:
        """Requests that met both targets, per GPU-hour; None when nothing was spent."""
        return self.attainment.met / self.gpu_hours if self.gpu_hours > 0 else None


def parts(one: Played) -> list[Part]:
    """The whole, then each service; the only service alone where there is one."""
    services = one.result.services
    each = [
        Part(name, service.outcome.attainment, service.outcome, service.gpu_hours, len(service.actions))
        for name, service in services.items()
    ]
    if len(each) == 1:
        return each
    return [Part(None, one.attainment, None, one.result.gpu_hours, sum(part.actions for part in each)), *each]


def differing(played: Sequence[Played]) -> list[str]:
    """The fields of `Variation` that are not the same in all these runs."""
    first, *others = (asdict(one.variation) for one in played)
    return [field for field in first if any(other[field] != first[field] for other in others)]


def table(played: Sequence[Played]) -> str:
    """Under a head, one line per policy and, where there are several services, one per service, after one for all.

    No newline at the end. What the runs do not differ in has no column.
    """
    varied = differing(played)
    several = len(played[0].result.services) > 1
    names = ("policy", "service") if several else ("policy",)
    cells = [(*names, *(_VARIATION[field] for field in varied), *_COLUMNS)]
    for one in played:
        variation = asdict(one.variation)
        varying = tuple(_setting(variation[field]) for field in varied)
        for part in parts(one):
            service = (part.service or "all",) if several else ()
            cells.append((one.name, *service, *varying, *_figures(part)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column < len(names) else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def _setting(value: float | None) -> str:
    return "configured" if value is None else str(value) if isinstance(value, int) else f"{value:g}"


def _figures(part: Part) -> tuple[str, ...]:
    share, per_hour = part.attainment.share, part.good_per_gpu_hour
    ttft_s, itl_s = (None, None) if part.outcome is None else (part.outcome.ttft_s, part.outcome.itl_s)
    return (
        "-" if share is None else f"{share * 100:.1f}",
        *_in_ms(ttft_s),
        "-" if itl_s is None else f"{itl_s.p95 * MS_PER_S:.1f}",
        f"{part.gpu_hours:.2f}",
        f"{part.actions}",
        "-" if per_hour is None else f"{per_hour:.0f}",
    )


def _in_ms(quantiles: Quantiles | None) -> tuple[str, ...]:
    if quantiles is None:
        return ("-", "-", "-")
    return tuple(f"{value * MS_PER_S:.0f}" for value in (quantiles.p50, quantiles.p95, quantiles.p99))


def _sums(result: Result) -> Iterator[str]:
    judged = sum((service.outcome.attainment for service in result.services.values()), Attainment())
    yield f"good       {_share(judged)} both targets of their service"
    yield _cost(result, result.gpu_hours)


def _lines(result: Result, service: ServiceResult, targets: Targets, all_actions: bool) -> Iterator[str]:
    outcome, judged = service.outcome, service.outcome.attainment
    yield f"good       {_share(judged)} both targets, objective {in_percent(targets.objective)}"
    yield f"TTFT       {_latency(outcome.ttft_s)}, target {targets.ttft_ms:g} ms"
    yield f"ITL        {_latency(outcome.itl_s)}, target {targets.itl_ms:g} ms (a request's mean gap)"
    if len(result.services) == 1:
        yield _cost(result, service.gpu_hours)
    else:
        yield f"cost       {service.gpu_hours:.2f} GPU-hours"
    lost = f", {outcome.lost} lost with their replica" if outcome.lost else ""
    yield (
        f"requests   {outcome.arrived} arrived: {outcome.finished} finished, {outcome.refused} refused as longer than "
        f"the KV cache{lost}, {outcome.in_flight} in flight"
    )
    if outcome.preemptions:
        yield f"preempted  {outcome.preemptions} times a full KV cache threw a request out"
    little = outcome.little
    yield (
        f"in system  {little.in_system:.1f} requests on average = {little.rate_per_s:.2f}/s x "
        f"{little.time_in_system_s:.2f} s there"
    )
    reasons = Counter(cause.code for row in service.timeline for cause in row.reasons)
    if reasons:
        counts = ", ".join(f"{code} {count}" for code, count in reasons.most_common())
        yield f"reasons    in {len(service.timeline)} decisions: {counts}"
    yield from _actions(service.actions, all_actions)


def _share(judged: Attainment) -> str:
    return "no requests to judge by" if judged.share is None else f"{judged.share:.2%} of {judged.judged} requests met"


def _cost(result: Result, gpu_hours: float) -> str:
    return f"cost       {gpu_hours:.2f} GPU-hours in {clock(result.duration_s)}, at most {result.peak_gpus} GPUs"


def _actions(actions: tuple[ScaleAction, ...], all_actions: bool) -> Iterator[str]:
    yield f"scaling    {len(actions) or 'no'} action{'' if len(actions) == 1 else 's'}"
    shown = actions
    if not all_actions and len(actions) > LARGEST_ACTIONS:
        largest = sorted(actions, key=lambda action: -abs(action.after - action.before))[:LARGEST_ACTIONS]
        shown = tuple(action for action in actions if action in largest)
        yield f"           the {LARGEST_ACTIONS} largest; --verbose lists all"
    for action in shown:
        causes = "; ".join(why(action))
        yield f"  {clock(action.at_s)}  {action.role} {action.before} -> {action.after}  {causes}".rstrip()


def why(action: ScaleAction) -> list[str]:
    """The sentences that say more than the action itself."""
    return [cause.text for cause in action.reasons if cause.code not in _RESTATING]


def _latency(quantiles: Quantiles | None) -> str:
    if quantiles is None:
        return "nothing finished"
    return f"p50 {in_words(quantiles.p50)}, p95 {in_words(quantiles.p95)}, p99 {in_words(quantiles.p99)}"


def in_words(seconds: float) -> str:
    """A latency, in ms below a second."""
    return f"{seconds * MS_PER_S:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def in_percent(share: float) -> str:
    """A promised share without digits it does not have: 95%, 99.5%."""
    return f"{share * 100:.6g}%"


def clock(seconds: float) -> str:
    """A time of the run as h:mm:ss."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
