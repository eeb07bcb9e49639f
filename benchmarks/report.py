"""The table of a run, made of its JSON alone."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from benchmarks import (
    chains,
    cost_in_n,
    curve,
    gradients,
    likelihoods,
    machine,
    nuts,
    peers,
    scaling,
    startup,
)
from benchmarks.timing import MET, Row

BENCHMARKS: dict[str, ModuleType] = {
    "likelihoods": likelihoods,
    "gradients": gradients,
    "curve": curve,
    "peers": peers,
    "chains": chains,
    "nuts": nuts,
    "cost_in_n": cost_in_n,
    "startup": startup,
    "scaling": scaling,
}


def rows(results: Mapping[str, Any]) -> list[Row]:
    """All lines of the benchmarks that were run, in their order."""
    timings = results["benchmarks"]
    return [
        row for name, b in BENCHMARKS.items() if name in timings for row in b.rows(timings[name])
    ]


def markdown(results: Mapping[str, Any]) -> str:
    """docs/benchmarks.md."""
    quick = results["machine"]["quick"]
    lines = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks`; every number is of that one run, so that ratios hold "
        "although the machine is shared.",
        "",
        machine.sentence(results["machine"])
        + (" A quick run: the sizes are too small to mean anything." if quick else ""),
        f"It took {results['minutes']:.0f} minutes.",
        "",
        "| benchmark | measured | aim | met | how |",
        "|---|---|---|---|---|",
        *("| " + " | ".join(_cells(row)) + " |" for row in rows(results)),
        "",
    ]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    return row.benchmark, row.measured, row.aim, MET[row.met], row.how


def text(results: Mapping[str, Any]) -> str:
    """The same table for a terminal, without how it was measured."""
    table = [("benchmark", "measured", "aim", "met"), *(_cells(row)[:4] for row in rows(results))]
    widths = [max(len(line[i]) for line in table) for i in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    )
