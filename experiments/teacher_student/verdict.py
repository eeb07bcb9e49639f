"""The verdict on slim teachers (E7), from the dataset alone."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.estimators import in_standard_errors, mean_over_data_sets, p_value_of_largest
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

PASSAGE = (
    "a width-4 student of a width-3 teacher has lower λ than of a width-4 teacher; nets learn slim "
    "teachers more easily"
)
# The H₀ and H of the essay's comment.
CLAIMED = (3, 4)
TEACHER, STUDENT = "wider teacher", "wider student"
# Intervals of differences, of which a hundred are looked at: three standard errors of many data.
COVERAGE = 0.997
# Samples that are right are said to be too far from the exact ones in one run of a thousand.
MIN_P_VALUE = 1e-3
# With less, what is missing could move a mean by as much as its error.
MIN_CONVERGED_SHARE = 0.9

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge λ at the claimed widths, and from which n on the slim teacher is learnt more easily."""
    numbers: dict[str, Any] = {
        "noise": float(dataset["noise"]),
        "coefficients": numbers_of_coefficients(dataset),
        "comparisons": numbers_of_comparisons(dataset),
        "cells": numbers_of_cells(dataset),
        "check": numbers_of_check(dataset),
    }
    tables = (
        table_of_coefficients(dataset, numbers["cells"]),
        table_of_comparisons(numbers["comparisons"]),
        table_of_cells(numbers["cells"]),
    )
    return Verdict((judge(numbers),), "\n\n".join(tables), numbers, notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def numbers_of_coefficients(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect λ of both teachers of one student in each family, at the claimed widths."""
    widest = int(dataset["student"].max())
    slim, student = CLAIMED if widest >= CLAIMED[1] else (widest - 1, widest)
    rows = {}
    for family in dataset["family"].to_numpy().tolist():
        at = dataset.sel(family=family, student=student)
        low, high = (at.sel(teacher=width) for width in (slim, slim + 1))
        values = [float(each["learning_coefficient"]) for each in (low, high)]
        if all(map(math.isfinite, values)):
            rows[family] = {
                "slim": low["exact_learning_coefficient"].item(),
                "wide": high["exact_learning_coefficient"].item(),
                "multiplicities": [int(low["multiplicity"]), int(high["multiplicity"])],
                "relative": [float(low["relative_coefficient"]),
                             float(high["relative_coefficient"])],
                "lower": values[0] < values[1],
            }  # fmt: skip
    return {"slim": slim, "student": student, "rows": rows}


def numbers_of_comparisons(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Compare E[G_n] of each slim teacher and its student with the wider of both."""
    where = {cell_key(dataset, i): i for i in range(dataset.sizes["cell"])}
    rows = []
    for (family, spacing, teacher, student), i in where.items():
        others = {
            TEACHER: where.get((family, spacing, teacher + 1, student)),
            STUDENT: where.get((family, spacing, teacher, student + 1)),
        }
        if student != teacher + 1 or None in others.values():
            continue
        table = dataset["learning_coefficient"].sel(family=family, student=student)
        lower = bool(table.sel(teacher=teacher) < table.sel(teacher=teacher + 1))
        for against, j in others.items():
            rows.append(
                {
                    "lower": lower,
                    "family": family, "spacing": spacing, "slim": teacher, "student": student,
                    "against": against, **compared(dataset, i, j),
                }
            )  # fmt: skip
    return rows


def cell_key(dataset: xr.Dataset, i: int) -> tuple[str, float, int, int]:
    """Return family, spacing, H₀ and H of a cell."""
    at = dataset.isel(cell=i)
    return (
        str(at["cell_family"].item()), float(at["cell_spacing"]), int(at["cell_teacher"]),
        int(at["cell_student"]),
    )  # fmt: skip


def compared(dataset: xr.Dataset, i: int, j: int | None) -> dict[str, Any]:
    """Find the n from which one cell has less E[G_n] than another on the same inputs and noise.

    The mean of E[G_k] from n to n' − 1 is (E[F_n'] − E[F_n])/(n' − n), and F₀ = 0. ``gap`` is the
    difference of E[F_n'] − E[F_n] between the cells over log(n'/n), which is about that of
    n(E[G_n] − S); the first, from 0 to the first n, is not divided. ``low`` holds the n from
    which it may be below zero up to the last one, ``sure`` that from which it surely is, beyond its
    interval over data sets and ``bound``, that of the oracle.
    """
    energies = dataset["normalised_free_energy"].isel(cell=[i, j])
    energies = present(energies).transpose("cell", "n", "replicate")
    sizes = energies["n"].to_numpy().astype(float)
    difference = np.diff(energies.to_numpy(), axis=0)[0] * -1
    steps = np.diff(np.concatenate([np.zeros_like(difference[:1]), difference]), axis=0)
    units = np.concatenate([[1.0], np.diff(np.log(sizes))])
    gap = mean_over_data_sets(steps / units[:, None])
    bound = bounds_of(dataset, i, j, sizes) / units
    margin = np.maximum(gap.half_width(COVERAGE), bound)
    below, above = gap.value < -margin, gap.value > margin
    starts = [0.0, *sizes[:-1]]
    sure = 1 + max(np.flatnonzero(~below), default=-1)
    low = 1 + max(np.flatnonzero(above), default=-1)
    last = len(sizes)
    state = "from" if sure < last else "never" if low == last else "open"
    converged = dataset["converged_share"].isel(cell=[i, j]).min()
    return {
        "sizes": sizes.tolist(),
        "gap": gap.value.tolist(),
        "standard_error": gap.standard_error.tolist(),
        "state": state,
        "low": starts[low] if low < last else None,
        "sure": starts[sure] if sure < last else None,
        "bound": bound.tolist(),
        "converged": bool(converged >= MIN_CONVERGED_SHARE),
    }


def bounds_of(dataset: xr.Dataset, i: int, j: int | None, sizes: np.ndarray) -> np.ndarray:
    """Bound the difference of the rise of exact free energies of two cells; 0 of samples."""
    bounds = dataset["exact_normalised_free_energy_error"].where(~dataset["is_sampled"], 0.0)
    total = bounds.isel(cell=[i, j]).sel(n=sizes).mean("replicate").sum("cell").to_numpy()
    return total + np.concatenate([[0.0], total[:-1]])


def numbers_of_cells(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Take λ(n) of every cell between neighbouring n, with λ where it is known.

    ``value`` is that of the last two.
    """
    rows = []
    for i in range(dataset.sizes["cell"]):
        family, spacing, teacher, student = cell_key(dataset, i)
        energies = present(dataset["normalised_free_energy"].isel(cell=i))
        log_n = np.log(energies["n"].to_numpy().astype(float))
        rises = np.diff(energies.transpose("n", "replicate").to_numpy(), axis=0)
        growth = mean_over_data_sets(rises / np.diff(log_n)[:, None])
        at = dataset.sel(family=family, teacher=teacher, student=student)
        known = float(at["learning_coefficient"])
        share = dataset["converged_share"].isel(cell=i)
        middle = np.exp((log_n[1:] + log_n[:-1]) / 2)
        rows.append(
            {
                "family": family, "spacing": spacing, "teacher": teacher, "student": student,
                "sizes": middle.tolist(), "values": growth.value.tolist(),
                "standard_errors": growth.standard_error.tolist(),
                "n": float(middle[-1]), "value": float(growth.value[-1]),
                "standard_error": float(growth.standard_error[-1]),
                "known": known if math.isfinite(known) else None,
                "converged_share": float(share.min()),
                "converged_up_to": converged_up_to(share),
            }
        )  # fmt: skip
    return rows


def present(energies: xr.DataArray) -> xr.DataArray:
    """Leave out the data sets and the n that a cell does not have."""
    return energies.dropna("replicate", how="all").dropna("n", how="any")


def converged_up_to(share: xr.DataArray) -> float:
    """Return the largest n up to which enough data sets converged, 0 for none."""
    known = share.dropna("n")
    bad = np.flatnonzero(known.to_numpy() < MIN_CONVERGED_SHARE)
    sizes = [0.0, *known["n"].to_numpy().astype(float)]
    return float(sizes[bad[0]] if bad.size else sizes[-1])


def numbers_of_check(dataset: xr.Dataset) -> dict[str, Any]:
    """Hold the mean of samples to the exact one on the same data, in standard errors."""
    difference = dataset["normalised_free_energy"] - dataset["exact_normalised_free_energy"]
    rows: list[dict[str, Any]] = []
    for i in np.flatnonzero(dataset["is_sampled"].to_numpy()):
        family, spacing, teacher, student = cell_key(dataset, int(i))
        for n in dataset["n"].to_numpy():
            off = difference.isel(cell=i).sel(n=n).dropna("replicate").to_numpy()
            if off.size < 2:
                continue
            bound = dataset["exact_normalised_free_energy_error"].isel(cell=i).sel(n=n)
            mean = mean_over_data_sets(off)
            beyond = max(0.0, abs(float(mean.value)) - float(bound.mean()))
            rows.append(
                {
                    "family": family, "teacher": teacher, "student": student, "spacing": spacing,
                    "n": int(n), "data_sets": off.size, "off": float(mean.value),
                    "standard_error": float(mean.standard_error),
                    "z_score": float(in_standard_errors(beyond, mean.standard_error)),
                }
            )  # fmt: skip
    worst = max((row["z_score"] for row in rows), default=None)
    fewest = min((row["data_sets"] for row in rows), default=2)
    p_value = p_value_of_largest(worst, len(rows), fewest - 1)
    return {
        "rows": rows,
        "largest_z_score": worst,
        "p_value": p_value if rows else None,
        "agrees": p_value >= MIN_P_VALUE,
    }


# --- judgement --------------------------------------------------------------------------------


def judge(numbers: Numbers) -> Finding:
    """E7 holds where λ and, from some n on, E[G_n] are lower on the slim teacher, in all families.

    A comparison of teachers counts where λ is lower on the slim one; samples that did not converge
    leave it open.
    """
    table, comparisons = numbers["coefficients"], numbers["comparisons"]
    rows = table["rows"]
    lower = [family for family, row in rows.items() if row["lower"]]
    equal = [family for family in rows if family not in lower]
    teachers = [row for row in comparisons if row["against"] == TEACHER and row["lower"]]
    settled = [row for row in teachers if row["converged"] and row["state"] != "open"]
    late = [row for row in teachers if row not in settled or row["state"] == "never"]
    conditions = []
    if equal:
        conditions.append(
            f"the wider teacher is a function that no slimmer net computes (not so of "
            f"{', '.join(equal)})"
        )
    if late:
        told = "; ".join(f"{label(row)} up to n = {row['sizes'][-1]:.0f}" for row in late)
        conditions.append(
            "n is large enough to tell the teachers' units apart (not so, or not decided, of "
            f"{told})"
        )
    if not lower:
        outcome = "fails"
    elif not settled:
        outcome = "is undecided"
    elif conditions:
        outcome = f"holds only if {', and '.join(conditions)}"
    else:
        outcome = "holds"
    return Finding("E7", PASSAGE, outcome, reasons(numbers))


def label(row: Numbers) -> str:
    """Name the cell of a comparison."""
    return f"{row['family']} {row['slim']} in {row['student']} at spacing {row['spacing']:g}"


def reasons(numbers: Numbers) -> str:
    """Say the precise claim with λ, then what E[G_n] does against teachers and students."""
    table = numbers["coefficients"]
    slim, student = table["slim"], table["student"]
    told = ", ".join(
        f"{row['slim']} {'<' if row['lower'] else '='} {row['wide']} for {family}"
        for family, row in table["rows"].items()
    )
    by_teacher, by_student = (
        grouped([row for row in numbers["comparisons"] if row["against"] == against])
        for against in (TEACHER, STUDENT)
    )
    return (
        f"Read as λ of the width-{student} student being lower on H₀ = {slim} than on "
        f"{slim + 1} units, and its E[G_n] from some n on too, by theorem λ is {told}. "
        f"E[G_n] of a student lies below that of the same student on the wider teacher: "
        f"{by_teacher or 'not computed'}. "
        f"Below that of the next wider student on the same teacher it lies: "
        f"{by_student or 'not computed'}."
    )


def grouped(rows: Sequence[Numbers]) -> str:
    """Answer for all spacings of a family and its widths together, the widest first."""
    cells: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: -row["slim"]):
        name = f"{row['family']} {row['slim']} in {row['student']}"
        cells.setdefault(name, []).append(f"at spacing {row['spacing']:g} {answer(row)}")
    return "; ".join(f"{name}, {', '.join(answers)}" for name, answers in cells.items())


def answer(row: Numbers) -> str:
    """Say from which n on the gap is below zero."""
    last = row["sizes"][-1]
    mark = "" if row["converged"] else " (samples not converged)"
    if row["state"] == "never":
        return f"never up to n = {last:.0f}{mark}"
    if row["state"] == "open":
        gap = plus_minus(row["gap"][-1], row["standard_error"][-1])
        return f"open at n = {last:.0f}, n·gap {gap}{mark}"
    start = "the first datum" if row["sure"] == 0 else f"n = {row['sure']:.0f}"
    early = "" if row["low"] == row["sure"] else f" (perhaps {row['low']:.0f})"
    return f"from {start}{early} on{mark}"


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say what teachers are, how samples and exact answers agree, and what did not converge."""
    check, cells = numbers["check"], numbers["cells"]
    lost = [
        f"{row['family']} {row['teacher']} in {row['student']} at spacing {row['spacing']:g} "
        f"beyond n = {row['converged_up_to']:.0f}"
        for row in cells
        if row["converged_share"] < MIN_CONVERGED_SHARE
    ]
    within = "no cell has both"
    if check["largest_z_score"] is not None:
        far = "" if check["agrees"] else ", which is TOO FAR"
        within = (
            f"within {check['largest_z_score']:.1f} standard errors of the mean "
            f"(p = {check['p_value']:.2g} for the farthest of {len(check['rows'])}{far})"
        )
    ratios = ", ".join(
        f"{family} {row['relative'][0]:.3f} → {row['relative'][1]:.3f}"
        for family, row in numbers["coefficients"]["rows"].items()
    )
    unknown = ", ".join(
        f"{row['teacher']} in {row['student']} "
        + plus_minus(row["value"], row["standard_error"], 2)
        for row in cells
        if row["known"] is None and row["spacing"] == cells[0]["spacing"]
    )
    at = next((row["n"] for row in cells if row["known"] is None), math.nan)
    return (
        f"Teachers have output weights 1 and input weights, or singular values, s, 2s, 3s, … at "
        f"spacing s, with breakpoints s/2 apart where there are biases; the noise is "
        f"{numbers['noise']:g} and all priors are N(0, 1).",
        f"λ over the largest that a teacher of the student has: {ratios}.",
        f"Where no theorem is known, λ(n) of tanh nets at n ≈ {at:.0f}, not λ: "
        f"{unknown or 'none'}.",
        f"Samples and exact free energies of the same data agree {within}; not converged, by less "
        f"than {MIN_CONVERGED_SHARE:.0%} of data sets: {', '.join(lost) or 'none'}.",
    )


# --- tables -----------------------------------------------------------------------------------


def table_of_coefficients(dataset: xr.Dataset, cells: Sequence[Numbers]) -> str:
    """Tabulate λ and m by theorem of every H₀ ≤ H; ~ marks λ(n) of samples, – what is unknown."""
    teachers = dataset["teacher"].to_numpy().tolist()
    sampled = {
        (row["family"], row["teacher"], row["student"]): f"~{row['value']:.2f}"
        for row in reversed(cells)
        if row["known"] is None
    }
    rows = []
    for family in dataset["family"].to_numpy().tolist():
        for student in dataset["student"].to_numpy().tolist():
            at = dataset.sel(family=family, student=student)
            entries = []
            for teacher in teachers:
                known, m = (
                    at[name].sel(teacher=teacher).item()
                    for name in ("exact_learning_coefficient", "multiplicity")
                )
                empty = "" if teacher > student else "–"
                text = f"{known}, {m}" if known else sampled.get((family, teacher, student), empty)
                entries.append(text)
            rows.append([f"{family}, H = {student}", *entries])
    return aligned(("λ, m", *(f"H₀ = {teacher}" for teacher in teachers)), rows)


def table_of_comparisons(comparisons: Sequence[Numbers]) -> str:
    """Tabulate the gap of the last n and the n from which it is negative."""
    head = ("E[G_n] of", "against", "n·gap at the first n", "at the last n", "bound", "below")
    rows = [
        [
            label(row),
            row["against"],
            *(plus_minus(row["gap"][k], row["standard_error"][k]) for k in (1, -1)),
            f"{max(row['bound'][1:]):.3f}" if max(row["bound"]) else "sampled",
            answer(row),
        ]
        for row in comparisons
    ]
    return aligned(head, rows)


def table_of_cells(cells: Sequence[Numbers]) -> str:
    """Tabulate λ(n) at the last two n beside λ; ``!`` marks what has not converged."""
    head = ("cell", "spacing", "n", "λ(n)", "λ", "converged")
    rows = [
        [
            f"{row['family']} {row['teacher']} in {row['student']}",
            f"{row['spacing']:g}",
            f"{row['n']:.0f}",
            plus_minus(row["value"], row["standard_error"], 2),
            "–" if row["known"] is None else f"{row['known']:.3f}",
            f"{row['converged_share']:.0%}"
            + ("" if row["converged_share"] >= MIN_CONVERGED_SHARE else " !"),
        ]
        for row in cells
    ]
    return aligned(head, rows)
