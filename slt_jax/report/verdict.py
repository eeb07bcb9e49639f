"""The verdict of an experiment: a judgement of each claim in words, and a table of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


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


def known(value: Any) -> Any:
    """Return a value for JSON, with None in the place of every number that is not finite.

    Mappings and sequences are gone through, and arrays become lists and numbers of Python.

    >>> known({"rho": float("nan"), "ends": [1.0, float("inf")]})
    {'rho': None, 'ends': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {key: known(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [known(each) for each in value]
    if hasattr(value, "__array__"):
        return known(np.asarray(value).tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
