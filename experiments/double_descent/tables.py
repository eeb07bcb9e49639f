"""The tables of numbers that the verdict prints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slt_jax.report.verdict import aligned

Numbers = Mapping[str, Any]
Rows = Sequence[Numbers]


def tables(numbers: Numbers) -> str:
    """Join all tables."""
    return "\n\n".join(
        (
            table_of_descents(numbers),
            table_of_evidence(numbers["evidence"]),
            table_of_temperatures(numbers["temperatures"]),
            table_of_monomials(numbers["monomials"]),
            table_of_nets(numbers["nets"]),
        )
    )


def number(value: float) -> str:
    """Write a number with three digits, by powers of ten where it is large; – for NaN."""
    if not np.isfinite(value):
        return "–"
    return f"{value:.3g}" if value < 1000 else f"{value:.1e}"


def interval(triple: list[float], digits: int = 2) -> str:
    """Write a value with the ends of its interval."""
    if not np.isfinite(triple[0]):
        return "–"
    value, low, high = (f"{each:.{digits}f}" for each in triple)
    return f"{value} [{low}, {high}]"


def table_of_descents(numbers: Numbers) -> str:
    """Tabulate errors below, at and beyond p = n at the shown s, gains, and the s that help."""
    head = (
        "test error", "features", "truth", "σ", "s", "best p < n", "error", "at p = n", "last p",
        "error", "log₁₀ last/best", "helps from s =", "to s =",
    )  # fmt: skip
    rows = [
        [
            row["estimator"], row["family"], row["target"], f"{row['noise']:g}",
            f"{row['scale']:g}", str(row["best_below"]), number(row["error_below"]),
            number(row["error_at_n"]), str(row["last"]), number(row["error_last"][0]),
            interval(row["gain"]),
            interval(row["from"]) if row["helps"] else "–",
            interval(row["to"]) if row["helps"] else "–",
        ]
        for row in numbers["descents"]
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_evidence(rows: Rows) -> str:
    """Tabulate where the evidence is largest, and F_n at p = n above the best on both sides."""
    head = (
        "evidence", "truth", "σ", "largest at p", "quartiles", "beyond n", "best p of Bayes",
        "error there/least", "largest at s with last p", "barrier at n [nats]", "F_n at last p",
    )  # fmt: skip
    return aligned(
        head,
        [
            [
                row["family"], row["target"], f"{row['noise']:g}", str(row["parameters"][0]),
                f"{row['parameters'][1]}–{row['parameters'][2]}", f"{row['beyond']:.2f}",
                str(row["best"]), interval(row["regret"]),
                f"{row['scale'][0]:g} ({row['scale'][1]:g} to {row['scale'][2]:g})",
                interval(row["barrier"]),
                f"{row['at_last']:.1f}",
            ]
            for row in rows
        ],
    )  # fmt: skip


def table_of_temperatures(numbers: Numbers) -> str:
    """Tabulate the peak at p = n and the counted directions by β."""
    head = ("peak at p = n, and count", *(f"β = {beta:.0e}" for beta in numbers["betas"]))
    rows = []
    for family, row in numbers["rows"].items():
        rows.append([f"{family}, error over that beside", *map(number, row["peaks"])])
        rows.append(["  counted directions", *(f"{each:.2f}" for each in row["counts_at_n"])])
    return aligned(head, rows)


def table_of_monomials(numbers: Numbers) -> str:
    """Tabulate monomials in extended and in double precision."""
    head = (
        f"monomials, s = {numbers['scale']:g}, p", "exact", "interval",
        *(f"cut-off {cut}" for cut in numbers["double_precision"]),
    )  # fmt: skip
    return aligned(
        head,
        [
            [
                str(p), number(exact[0]), f"{number(exact[1])} to {number(exact[2])}",
                *(number(values[i]) for values in numbers["double_precision"].values()),
            ]
            for i, (p, exact) in enumerate(
                zip(numbers["parameters"], numbers["exact"], strict=True)
            )
        ],
    )  # fmt: skip


def table_of_nets(rows: Rows) -> str:
    """Tabulate the errors of nets; ``!`` marks those that have not all interpolated."""
    head = ("ReLU net, parameters", "test error", "interval", "training error/σ²", "interpolate")
    return aligned(
        head,
        [
            [
                str(row["parameters"]), number(row["error"][0]),
                f"{number(row['error'][1])} to {number(row['error'][2])}",
                f"{row['training']:.3f}",
                f"{row['interpolating']:.2f}{'' if row['interpolating'] == 1 else ' !'}",
            ]
            for row in rows
        ],
    )  # fmt: skip
