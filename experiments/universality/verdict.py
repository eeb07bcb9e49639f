"""The verdict on universality (E9), from the dataset alone."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.estimators import in_standard_errors
from slt_jax.report.verdict import Finding, Verdict, aligned, known, plus_minus

from .pairs import REVERSAL_LEVEL, SMALLEST_REVERSAL

PASSAGE = "universality: λ in one model class is a monotone function of λ in another"
NETS = ("tanh", "ReLU")
IN_WORDS = {
    "tanh": "tanh nets",
    "ReLU": "ReLU nets",
    "powers": "polynomials with powers as coefficients",
    "powers reversed": "polynomials with the powers reversed",
    "monomials, any degree": "monomials of unknown degree",
    "Fourier, any number": "Fourier features of unknown number",
}
# An order that is the same but for errors of λ(n) has ρ above this in the whole interval.
MIN_SAME_ORDER = 0.9
# Integrals whose own error exceeds this say nothing of a sampler.
MAX_INTEGRAL_ERROR = 0.01
# Of some 50 z-scores of a right sampler the largest exceeds this once in 3000 runs.
MAX_Z_SCORE = 5.0

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge if classes order targets in the same way, by λ and by λ(n) at the last n."""
    numbers: dict[str, Any] = {
        "n": int(dataset["n"][-1]),
        "cells": numbers_of_cells(dataset),
        "pairs": numbers_of_pairs(dataset),
        "limits": numbers_of_limits(dataset),
        "calibration": numbers_of_calibration(dataset),
    }
    tables = (table_of_cells(dataset), table_of_pairs(numbers["pairs"]),
              table_of_limits(numbers["limits"]))  # fmt: skip
    return Verdict((judge(numbers),), "\n\n".join(tables), numbers, notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def varying_of(dataset: xr.Dataset) -> list[str]:
    """Return the classes in which λ depends on the target."""
    constant = dataset["limit_is_constant"].to_numpy().astype(bool)
    return [str(name) for name in dataset["model_class"].to_numpy()[~constant]]


def numbers_of_cells(dataset: xr.Dataset) -> dict[str, Any]:
    """Count the cells of each n that enter comparisons, and why the others do not."""
    rows = {}
    for i, n in enumerate(dataset["n"].to_numpy().tolist()):
        at = dataset.isel(n=i)
        outside = at["approximation_error"] > at["allowed_error"]
        rows[str(n)] = {
            "cells": int(at["counted"].size),
            "counted": int(at["counted"].sum()),
            "outside": int(outside.sum()),
            "too_few_draws": int((~at["counted"] & ~outside).sum()),
        }
    return {"targets": dataset.sizes["target"], "rows": rows}


def numbers_of_pairs(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect what each pair of classes says, at each n."""
    varying, rows = varying_of(dataset), []
    for n, (a, b) in itertools.product(
        dataset["n"].to_numpy().tolist(),
        itertools.combinations(dataset["model_class"].to_numpy().tolist(), 2),
    ):
        at = dataset.sel(n=n, model_class=a, other_class=b)
        back = dataset.sel(n=n, model_class=b, other_class=a)
        row: dict[str, Any] = {
            "n": n, "classes": [a, b], "varying": a in varying and b in varying,
            "common": int(at["num_common"]), "rho": known(at["rank_correlation"]),
            "low": known(at["rank_correlation_low"]), "high": known(at["rank_correlation_high"]),
            "after": known((at["explained_after"] + back["explained_after"]) / 2),
            "ahead": known((at["explained_ahead"] + back["explained_ahead"]) / 2),
            "relative_difference": known(at["relative_difference"]), "reversal": None,
        }  # fmt: skip
        if np.isfinite(at["reversal"]):
            names = [at[key].item() for key in ("reversal_above", "reversal_below")]
            row["reversal"] = {
                "targets": names, "size": float(at["reversal"]),
                "p_value": float(at["reversal_p_value"]),
                "coefficients": {
                    c: [value_of(dataset, n, c, target) for target in names] for c in (a, b)
                },
            }  # fmt: skip
        rows.append(row)
    last = [r for r in rows if r["n"] == int(dataset["n"][-1]) and r["varying"]]
    ordered = [r for r in last if r["rho"] is not None]
    clearest = max(
        (r for r in last if r["reversal"]), key=lambda r: r["reversal"]["size"], default=None
    )
    return {
        "rows": rows,
        "last": {
            "pairs": len(last),
            "compared": len(ordered),
            "reversed": sum(r["reversal"] is not None for r in ordered),
            "lowest": min(ordered, key=lambda r: r["rho"], default=None),
            "highest": max(ordered, key=lambda r: r["rho"], default=None),
            "same_order": bool(ordered) and all(r["low"] >= MIN_SAME_ORDER for r in ordered),
            "nets": next((r for r in last if tuple(r["classes"]) == NETS), None),
            "clearest": clearest,
            "after": median([r["after"] for r in ordered]),
            "ahead": median([r["ahead"] for r in ordered]),
            "relative_difference": median([r["relative_difference"] for r in ordered]),
        },
    }


def value_of(dataset: xr.Dataset, n: int, name: str, target: str) -> list[float]:
    """Return λ(n) of a cell with its standard error."""
    at = dataset.sel(n=n, model_class=name, target=target)
    return [float(at["coefficient"]), float(at["coefficient_se"])]


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of those that are numbers, or None."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def numbers_of_limits(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the pairs of classes whose λ is known by theorem and varies."""
    varying, rows = varying_of(dataset), []
    for a, b in itertools.combinations(varying, 2):
        at = dataset.sel(model_class=a, other_class=b)
        if not np.isfinite(at["limit_rank_correlation"]):
            continue
        row: dict[str, Any] = {
            "classes": [a, b], "common": int(at["limit_common"]),
            "rho": float(at["limit_rank_correlation"]), "reversal": None,
        }  # fmt: skip
        if np.isfinite(at["limit_reversal"]):
            names = [at[k].item() for k in ("limit_reversal_above", "limit_reversal_below")]
            row["reversal"] = {
                "targets": names, "size": float(at["limit_reversal"]),
                "coefficients": {
                    c: [float(dataset["limit"].sel(model_class=c, target=t)) for t in names]
                    for c in (a, b)
                },
            }  # fmt: skip
        rows.append(row)
    clearest = max(
        (r for r in rows if r["reversal"]), key=lambda r: r["reversal"]["size"], default=None
    )
    return {"rows": rows, "clearest": clearest}


def numbers_of_calibration(dataset: xr.Dataset) -> dict[str, Any]:
    """Hold λ(n) of nets of one unit, sampled, to its integral over the two hidden weights."""
    error = dataset["exact_one_unit_error"].to_numpy()
    known = error <= MAX_INTEGRAL_ERROR
    gap = (dataset["one_unit"] - dataset["exact_one_unit"]).to_numpy()
    scores = in_standard_errors(gap, np.hypot(dataset["one_unit_se"].to_numpy(), error))
    return {
        "compared": int(known.sum()),
        "largest_z_score": float(np.max(np.abs(scores[known]), initial=0.0)),
        "largest_difference": float(np.max(np.abs(gap[known]), initial=0.0)),
    }


# --- judgement --------------------------------------------------------------------------------


def judge(numbers: Numbers) -> Finding:
    """E9 fails where two classes order two targets in opposite ways, by λ or surely by λ(n)."""
    limit, last, n = numbers["limits"]["clearest"], numbers["pairs"]["last"], numbers["n"]
    if limit or last["clearest"]:
        outcome = "fails"
    elif last["same_order"] and last["compared"] == last["pairs"]:
        outcome = "holds"
    else:
        outcome = "is undecided"
    claim = (
        "Tested is: if two classes can both represent two targets, λ puts these in the same order "
        "in both"
    )
    sentences = [f"{claim}; {_example(limit, last['clearest'], n)}"]
    if last["compared"]:
        low, high = last["lowest"], last["highest"]
        sentences.append(
            f"Of the {last['compared']} pairs of classes in which λ varies and that share enough "
            f"targets, {last['reversed']} order some targets in surely opposite ways by λ(n) at "
            f"n = {n}, and Spearman's ρ goes from {_rho(low)} ({_both(low)}) to "
            f"{_rho(high)} ({_both(high)}){_between_nets(last['nets'])}"
        )
        sentences.append(
            "Relative λ changes none of these ρ, as it divides each class by one number, and "
            f"differs between classes by {last['relative_difference']:.2f} in the median; a "
            f"monotone map fitted afterwards explains {last['after']:.0%} of the variance, but "
            f"{_explained(last['ahead'])} of targets that it has not seen: that there is a map is "
            "trivial, that it predicts would not be"
        )
    return Finding("E9", PASSAGE, outcome, ". ".join(sentences) + ".")


def _explained(share: float) -> str:
    return f"{share:.0%}" if share > 0 else "nothing"


def _rho(row: Numbers) -> str:
    return f"{row['rho']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _both(row: Numbers) -> str:
    return " and ".join(IN_WORDS[name] for name in row["classes"])


def _between_nets(row: Numbers | None) -> str:
    if row is None or row["rho"] is None:
        return ""
    reversal = row["reversal"]
    order = "order all targets alike but for errors"
    if reversal is not None:
        order = f"order {' and '.join(reversal['targets'])} in opposite ways"
    return f"; the nets, with {_rho(row)}, {order}"


def _example(limit: Numbers | None, sampled: Numbers | None, n: int) -> str:
    """Name the clearest counterexample: of λ by theorem, else of λ(n)."""
    if limit:
        return "by theorem " + _counterexample(limit, "λ", "{:.3g}".format)
    if sampled:
        return _counterexample(sampled, f"λ({n})", _with_error)
    return "no two targets are surely in opposite order"


def _with_error(pair: Sequence[float]) -> str:
    value, error = pair
    return plus_minus(value, error, 2)


def _counterexample(row: Numbers, symbol: str, write: Callable[[Any], str]) -> str:
    (a, b), (one, two) = row["classes"], row["reversal"]["targets"]
    first, second = ([write(each) for each in row["reversal"]["coefficients"][c]] for c in (a, b))
    return (
        f"{symbol} of {one} and of {two} is {first[0]} > {first[1]} in {IN_WORDS[a]}, and "
        f"{second[0]} < {second[1]} in {IN_WORDS[b]}"
    )


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say which cells are left out, what is trivial, and how the sampler was calibrated."""
    row, calibration = numbers["cells"]["rows"][str(numbers["n"])], numbers["calibration"]
    score = calibration["largest_z_score"]
    judged = "as it should" if score <= MAX_Z_SCORE else "which is TOO MUCH"
    return (
        f"At n = {numbers['n']} {row['counted']} of {row['cells']} cells count: in "
        f"{row['outside']} the best member of the class is farther from the target than a tenth "
        f"of the noise over √n, and in {row['too_few_draws']} too few draws are effective.",
        f"Opposite order is sure where both differences are {SMALLEST_REVERSAL:g} or more and "
        f"p < {REVERSAL_LEVEL:g} over all targets and classes together.",
        "In products of the essay and in features of a given number λ is the same for all "
        "targets: between constants every map is monotone, and ρ of λ(n) there is of finite n.",
        f"λ(n) of nets of one unit differs from its integral by up to {score:.1f} standard errors "
        f"in {calibration['compared']} cells, {judged}.",
    )


# --- tables -----------------------------------------------------------------------------------


def table_of_cells(dataset: xr.Dataset) -> str:
    """Tabulate λ(n) at the last n; a star marks cells that do not count."""
    last = dataset.isel(n=-1)
    classes = last["model_class"].to_numpy().tolist()
    head = (f"λ({int(last['n'])}) of", *classes)
    rows = []
    for target in last["target"].to_numpy().tolist():
        row = [target]
        for name in classes:
            at = last.sel(target=target, model_class=name)
            value, error = float(at["coefficient"]), float(at["coefficient_se"])
            mark = " " if at["counted"] else "*"
            row.append((plus_minus(value, error, 2) if error else f"{value:.2f}") + mark)
        rows.append(row)
    return aligned(head, rows)


def table_of_pairs(numbers: Numbers) -> str:
    """Tabulate pairs of classes in which λ varies."""
    head = ("classes", "n", "common", "ρ", "95 %", "map after", "map ahead", "relative", "reversed",
            "by")  # fmt: skip
    rows = []
    for row in numbers["rows"]:
        if not row["varying"] or row["rho"] is None:
            continue
        reversal = row["reversal"]
        rows.append(
            [
                " / ".join(row["classes"]), str(row["n"]), str(row["common"]),
                f"{row['rho']:.2f}", f"[{row['low']:.2f}, {row['high']:.2f}]",
                *("–" if row[key] is None else f"{row[key]:.2f}"
                  for key in ("after", "ahead", "relative_difference")),
                "–" if reversal is None else ", ".join(reversal["targets"]),
                "–" if reversal is None else f"{reversal['size']:.2f}",
            ]
        )  # fmt: skip
    return aligned(head, rows)


def table_of_limits(numbers: Numbers) -> str:
    """Tabulate pairs of classes whose λ is known by theorem."""
    head = ("classes, λ by theorem", "common", "ρ", "reversed", "by")
    rows = [
        [
            " / ".join(row["classes"]), str(row["common"]), f"{row['rho']:.2f}",
            "–" if row["reversal"] is None else ", ".join(row["reversal"]["targets"]),
            "–" if row["reversal"] is None else f"{row['reversal']['size']:.2f}",
        ]
        for row in numbers["rows"]
    ]  # fmt: skip
    return aligned(head, rows)
