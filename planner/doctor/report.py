"""Findings as an operator reads them, and as a program does.

The text's layout is stable: a heading for each Prometheus, cluster and service, then level, check and sentence in
columns, the remedy below on a line of its own. The JSON has the schema `SCHEMA`; what is added later leaves its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from planner.doctor.finding import Finding, Level

SCHEMA = "sla-planner/doctor/1"
_WORDS = {Level.GOOD: "ok", Level.REMARK: "note", Level.PROBLEM: "PROBLEM"}
_CHECK_WIDTH = 20
_UNCHECKED = ("  not checked",)


@dataclass(frozen=True, slots=True)
class Section:
    """What was found at one Prometheus, or at one cluster."""

    of: Literal["prometheus", "kubernetes"]
    url: str
    services: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def answered(self) -> bool:
        """Whether anything beyond that it did not answer could be checked."""
        return any(finding.service is not None for finding in self.findings)


def is_good(sections: Iterable[Section]) -> bool:
    """No problem anywhere."""
    return not any(finding.level is Level.PROBLEM for section in sections for finding in section.findings)


def as_lines(sections: Sequence[Section]) -> Iterator[str]:
    """The text."""
    for section in sections:
        yield f"{section.of} {section.url}"
        yield from _rows(finding for finding in section.findings if finding.service is None)
        for name in section.services:
            yield ""
            yield f"service {name}"
            yield from list(_rows(finding for finding in section.findings if finding.service == name)) or _UNCHECKED
        yield ""
    counts = [
        sum(finding.level is level for section in sections for finding in section.findings)
        for level in (Level.PROBLEM, Level.REMARK)
    ]
    yield ", ".join(
        f"{count} {word}{'s'[: count != 1]}" for count, word in zip(counts, ("problem", "note"), strict=True)
    )


def _rows(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield f"  {_WORDS[finding.level]:<7}  {finding.check:<{_CHECK_WIDTH}}  {finding.text}"
        if finding.remedy is not None:
            yield f"  {'':<7}  {'':<{_CHECK_WIDTH}}  -> {finding.remedy}"


def as_json(sections: Sequence[Section]) -> dict[str, Any]:
    """JSON values only."""
    return {
        "schema": SCHEMA,
        "good": is_good(sections),
        **{of: [_section(section) for section in sections if section.of == of] for of in ("prometheus", "kubernetes")},
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "url": section.url,
        "services": list(section.services),
        "checked": section.answered,
        "findings": [asdict(finding) for finding in section.findings],
    }
