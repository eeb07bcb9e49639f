"""The verdict on simplicity (E10), on the bits of parameters (E11) and on digits (E13)."""

import math
from collections.abc import Mapping
from typing import Any

import xarray as xr

from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

from .measures import (
    MAX_RELATIVE_GAP,
    numbers_of_digits,
    numbers_of_priors,
    numbers_of_volumes,
)

SIMPLICITY = "P(f) ≤ 2^{−K(f)+O(1)}, and how tight it is depends on the parameter–function map"
BITS = "singling out a function's parameters costs λ log₂ n bits"
DIGITS = "nets fit random labels and still generalise on real ones"
# A constant of more bits than this would be a factor of a thousand in P.
MAX_EXCESS_BITS = 10.0
PI = "π ⊕ perceptron"
# Maps whose distances from the line differ by less are equally tight.
MIN_SPREAD_BITS = 5.0
MIN_Z_SCORE = 4.0
# Of the bits that more draws bring into sight: a constant would take none of them.
MIN_RISE = 0.5
MIN_RESOLVED = 3
MAX_TRAIN_ERROR = 0.01
# Chance has nine tenths.
MAX_TEST_ERROR = 0.2

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge the bound on P(f), the growth of bits, and what nets learn."""
    numbers = {
        "priors": numbers_of_priors(dataset),
        "volumes": numbers_of_volumes(dataset),
        "digits": numbers_of_digits(dataset),
    }
    findings = (
        judge_priors(numbers["priors"]),
        judge_volumes(numbers["volumes"], numbers["priors"]),
        judge_digits(numbers["digits"]),
    )
    tables = (
        table_of_priors(numbers["priors"]),
        table_of_volumes(numbers["volumes"]),
        table_of_digits(numbers["digits"]),
    )
    return Verdict(findings, "\n\n".join(tables), numbers, notes(numbers))


# --- judgements -------------------------------------------------------------------------------


def judge_priors(numbers: Numbers) -> Finding:
    """E10 holds where one line bounds P for every map, at distances that differ between maps."""
    rows = numbers["rows"]
    seen = {name: row for name, row in rows.items() if row["complexities"] >= MIN_RESOLVED}
    above = {name: row for name, row in rows.items() if (row["excess"] or 0.0) > MAX_EXCESS_BITS}
    growing = _growing(numbers)
    known = {name: row for name, row in rows.items() if row["gap"] is not None}
    least, most = (
        choose(known, key=lambda name: known[name]["gap"]) if known else None
        for choose in (min, max)
    )
    spread, error = 0.0, 0.0
    if least is not None and most is not None:
        spread = known[most]["gap"] - known[least]["gap"]
        error = math.hypot(*(known[name]["gap_se"] or 0.0 for name in (most, least)))
    depends = spread > max(MIN_SPREAD_BITS, MIN_Z_SCORE * error)
    if len(seen) < 2:
        outcome = "is undecided"
    elif not depends:
        outcome = "fails"
    elif above or growing:
        outcome = "holds only if K is the true complexity and not that of Lempel and Ziv"
    else:
        outcome = "holds"
    told = ", ".join(
        f"{name} {row['excess']:.1f} (at K = {row['excess_at']:g})" for name, row in above.items()
    )
    more = (
        ", whose program is the perceptron's and a line for the digits of π" if PI in above else ""
    )
    why = (
        "The claim is read with K of Lempel and Ziv, the predicted slope a = log₂ N/max K, and an "
        f"O(1) of at most {MAX_EXCESS_BITS:g} bits, on {numbers['draws']} draws of each prior; "
        "with the true K it is a theorem for every map that a short program computes, since a "
        f"likely f has a short code. By more bits than that there lie above the line: "
        f"{told or 'none'}{more}; and what lies above still rises with the number of draws, so "
        f"that no constant is in sight, for: {', '.join(growing) or 'none'}. "
    )
    if least is not None and most is not None:
        why += (
            "The mean distance of the likeliest functions below the line, negative above it, is "
            f"from {_gap_of(known[least])} ({least}) to {_gap_of(known[most])} bits ({most}): a "
            "table of independent values is as short a program, and gives each function 2^−128."
        )
    return Finding("E10", SIMPLICITY, outcome, why.strip())


def _growing(numbers: Numbers) -> dict[str, float]:
    """Return by map how many bits the largest distance above the line rises with the draws.

    They are all draws against those of a repeat; the maps are those of which it rises by more than
    half of what the further draws bring into sight.
    """
    room = math.log2(numbers["draws"] / numbers["draws_of_repeat"])
    return {name: rise for name, rise in _rises(numbers).items() if rise > MIN_RISE * room}


def _rises(numbers: Numbers) -> dict[str, float]:
    return {
        name: row["excess_estimate"] - row["excess_of_repeats"][0]
        for name, row in numbers["rows"].items()
        if row["excess_estimate"] is not None and row["excess_of_repeats"] is not None
    }


def _with_error(pair: tuple[float, float], digits: int = 3) -> str:
    return plus_minus(pair[0], pair[1], digits)


def _gap_of(row: Numbers) -> str:
    bound = "at least " if row["gap_is_bound"] else ""
    has_error = (row["gap_se"] or 0.0) > 0
    return bound + (plus_minus(row["gap"], row["gap_se"], 2) if has_error else f"{row['gap']:.1f}")


def judge_volumes(numbers: Numbers, priors: Numbers) -> Finding:
    """E11 holds where each doubling of n costs λ bits, at the last n of the volumes."""
    rows = numbers["rows"]
    near = [name for name, row in rows.items() if abs(row["relative_gap"]) <= MAX_RELATIVE_GAP]
    limits = [row["log_size_within"] for row in rows.values() if row["exact_growth"] is not None]
    if not numbers["agrees"]:
        outcome = "is undecided"
    elif len(near) == len(rows):
        outcome = "holds"
    elif near and all(limit is not None for limit in limits):
        outcome = (
            "holds only if m = 1 and no other pole is near, or n is larger than any number of data"
        )
    else:
        outcome = "fails"
    worst = max(rows, key=lambda name: abs(rows[name]["relative_gap"]))
    cheapest = min(
        (name for name in rows if rows[name]["exact_bits"] is not None),
        key=lambda name: rows[name]["exact_bits"] / rows[name]["claimed_bits"],
    )
    sizes = ", ".join(
        f"10^{row['log_size_within']:.0f} for {name} (m = {row['multiplicity']})"
        for name, row in rows.items()
        if row["log_size_within"] is not None and name not in near
    )
    row, n = rows[cheapest], numbers["n"]
    constant = priors["rows"]["perceptron"]["exact_constant"]
    why = (
        "The claim is read as: −log₂ V(1/n), V the prior volume of K < 1/n, grows by λ bits when n "
        f"doubles, to {100 * MAX_RELATIVE_GAP:.0f} %, at n = {n:.0e}; {len(near)} of {len(rows)} "
        f"functions do, and {worst} is off by {100 * rows[worst]['relative_gap']:+.0f} %. "
        "What is missing is (m − 1) log₂ log n and a constant, which no n makes small: "
        f"{cheapest} costs {row['exact_bits']:.1f} bits and not {row['claimed_bits']:.1f}, and "
        f"the growth comes within the tolerance from n = {sizes or 'the first'} on. "
        "A Boolean function of a map has a volume of its own, so λ = 0 and the bits stop at "
        f"−log₂ P(f), {-math.log2(constant):.2f} for the constant 0 of the perceptron."
    )
    return Finding("E11", BITS, outcome, why)


def judge_digits(numbers: Numbers) -> Finding:
    """E13 holds where nets of one width fit random labels, and generalise from true ones."""
    rows = numbers["rows"]
    trained = [row for row in rows if row["true"]["train_error"][0] <= MAX_TRAIN_ERROR]
    both = [
        row
        for row in trained
        if row["random"]["train_error"][0] <= MAX_TRAIN_ERROR
        and row["true"]["test_error"][0] <= MAX_TEST_ERROR
    ]
    outcome = "holds" if both else "fails" if trained else "is undecided"
    row = both[-1] if both else rows[-1]
    errors = {label: _with_error(row[label]["test_error"]) for label in ("true", "random")}
    why = (
        f"The claim is read for nets with one hidden layer on {numbers['train_size']} digits: "
        f"training errors of at most {MAX_TRAIN_ERROR:g} with both labels, and a test error of at "
        f"most {MAX_TEST_ERROR:g} with true ones, where chance has 0.9. "
        f"With {row['width']} hidden units training errors are "
        f"{row['true']['train_error'][0]:.3f} (true) and {row['random']['train_error'][0]:.3f} "
        f"(random labels), test errors {errors['true']} and {errors['random']}. "
        f"{_told_apart(numbers, row)}"
    )
    return Finding("E13", DIGITS, outcome, why)


def _told_apart(numbers: Numbers, row: Numbers) -> str:
    """Say if λ̂ tells true from random labels, and how firmly it stands."""
    counts = [
        sum(row[label]["converged"] for row in numbers["rows"]) for label in ("true", "random")
    ]
    total = numbers["trainings"] * len(numbers["rows"])
    pairs = [
        f"{_with_error(true, 1)} and {_with_error(random, 1)} at γ = {gamma:g}"
        for gamma, true, random in zip(
            numbers["gammas"], row["true"]["by_gamma"], row["random"]["by_gamma"], strict=True
        )
    ]
    tells = "tells" if min(row["apart"]) > MIN_Z_SCORE else "does not everywhere tell"
    return (
        f"λ̂ {tells} them apart: {', '.join(pairs)} of {row['weights'] / 2:.0f} if regular, though "
        f"only {counts[0]} of {total} (true) and {counts[1]} of {total} (random) have one value "
        "over a decade of γ with settled chains."
    )


# --- words ------------------------------------------------------------------------------------


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say how sampled and exact numbers agree, and what finite draws leave out."""
    priors, volumes = numbers["priors"], numbers["volumes"]
    row = priors["rows"]["perceptron"]
    seen = ", ".join(
        f"{name} {each['resolved_share'][0]:.2f}" for name, each in priors["rows"].items()
    )
    factor = priors["draws"] / priors["draws_of_repeat"]
    grown = ", ".join(f"{name} {rise:+.1f}" for name, rise in _rises(priors).items())
    score = volumes["largest_z_score"]
    splitting = "No volume by splitting has an exact one beside it."
    if score is not None:
        splitting = (
            f"Volumes by splitting are within {score:.1f} standard errors of the exact ones (p = "
            f"{volumes['p_value']:.2g} for the farthest of {volumes['compared']}"
            f"{'' if volumes['agrees'] else ', which is TOO FAR'})."
        )
    return (
        f"The perceptron's constant 0 has P = {row['exact_constant']:.6f} exactly and "
        f"{_with_error(row['constant'], 6)} in draws.",
        f"With {factor:g} times the draws the largest distance above the line changes by {grown} "
        f"bits; where no constant bounds it, {math.log2(factor):.1f} more come into sight.",
        splitting,
        f"Between the line and what draws resolve {_empty_of(priors)} of the plane is empty.",
        "What is said of P(f) is of functions drawn ten times or more, and of no others; the share "
        f"of the draws that they have is {seen}.",
    )


def _empty_of(priors: Numbers) -> str:
    """Say what share of the plane is empty, from the least to the largest of all maps."""
    shares = [row["empty"] for row in priors["rows"].values() if row["empty"] is not None]
    return f"from {min(shares):.2f} to {max(shares):.2f}" if shares else "nothing"


def table_of_priors(numbers: Numbers) -> str:
    """Tabulate slope, distances from the line and the empty plane of each map."""
    size = numbers["draws_of_repeat"]
    head = (
        "map", "a", "functions", "resolved", "E[K]", "above the line", f"… of {size}",
        "mean below", "empty plane", f"… of {size}",
    )  # fmt: skip
    rows = [
        [
            name, f"{row['slope']:.3f}", str(row["distinct"]), str(row["resolved"]),
            _with_error(row["mean_complexity"], 2),
            "–" if row["excess"] is None else f"{row['excess']:.1f}",
            "–" if row["excess_of_repeats"] is None else _with_error(row["excess_of_repeats"], 2),
            "–" if row["gap"] is None else _gap_of(row),
            "–" if row["empty"] is None else f"{row['empty']:.2f}",
            "–" if row["empty_of_repeats"] is None else _with_error(row["empty_of_repeats"], 2),
        ]
        for name, row in numbers["rows"].items()
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_volumes(numbers: Numbers) -> str:
    """Tabulate bits at the last n and their growth, exact and sampled."""
    head = (
        "function", "λ", "m", f"λ log₂ n, n = {numbers['n']:.0e}", "bits, exact", "bound",
        "by splitting", "growth, exact", "by splitting", "log₁₀ n of 5 %",
    )  # fmt: skip
    rows = [
        [
            name, row["learning_coefficient"], str(row["multiplicity"]),
            f"{row['claimed_bits']:.2f}",
            "–" if row["exact_bits"] is None else f"{row['exact_bits']:.2f}",
            "–" if row["bound"] is None else f"{row['bound']:.0e}",
            _with_error(row["bits"], 2),
            "–" if row["exact_growth"] is None else f"{row['exact_growth']:.3f}",
            _with_error(row["growth"]),
            "–" if row["log_size_within"] is None else f"{row['log_size_within']:.0f}",
        ]
        for name, row in numbers["rows"].items()
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_digits(numbers: Numbers) -> str:
    """Tabulate errors and λ̂ by width and labels; ``!`` marks chains that have not settled."""
    head = (
        "width", "weights", "labels", "train error", "test error", "loss above least",
        *(f"λ̂, γ = {gamma:g}" for gamma in numbers["gammas"]), "one value",
    )  # fmt: skip
    rows = []
    for row in numbers["rows"]:
        for label in ("true", "random"):
            of = row[label]
            by_gamma = [
                _with_error(value, 1) + ("" if settled else " !")
                for value, settled in zip(of["by_gamma"], of["settled_by_gamma"], strict=True)
            ]
            rows.append(
                [
                    str(row["width"]), str(row["weights"]), label,
                    *(_with_error(of[name])
                      for name in ("train_error", "test_error", "train_loss")),
                    *by_gamma, f"{of['converged']} of {numbers['trainings']}",
                ]
            )  # fmt: skip
    return aligned(head, rows)
