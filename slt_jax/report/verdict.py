"""The verdict of an experiment: a judgement of each claim in words, and a table of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """The judgement of one claim.

    ``claim`` is its code, which never stands without the ``passage`` that it quotes; ``outcome`` is
    "holds", "fails", "holds only if …" or "is undecided"; ``why`` are at most three sentences.
    """

    claim: str
    passage: str
    outcome: str
    why: str


class Verdict(NamedTuple):
    """The findings of an experiment, its table of numbers as text, and the numbers for JSON.

    ``notes`` are lines on the run itself, such as jobs that did not converge.
    """

    findings: tuple[Finding, ...]
    table: str
    numbers: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def statement(self) -> str:
        """The findings and notes in words, one paragraph each."""
        paragraphs = [
            f"“{finding.passage}” ({finding.claim}) {finding.outcome}. {finding.why}"
            for finding in self.findings
        ]
        return "\n".join([*paragraphs, *self.notes])

    def as_json(self) -> dict[str, Any]:
        """The verdict as a mapping of plain values."""
        claims = {finding.claim: finding._asdict() for finding in self.findings}
        return {"claims": claims, "statement": self.statement, "numbers": dict(self.numbers)}


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text: the first column to the left, all others to the right."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def plus_minus(value: float, error: float, digits: int = 3) -> str:
    """A value with its error, "value ± error", both with so many decimals."""
    return f"{value:.{digits}f} ± {error:.{digits}f}"
