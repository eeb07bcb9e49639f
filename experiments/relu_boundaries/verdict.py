"""The verdict on boundary annihilation (E8), from the dataset alone."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.estimators import in_standard_errors, p_value_of_largest
from slt_jax.report.verdict import Finding, Verdict, aligned, known, plus_minus

PASSAGE = (
    "ReLU boundary annihilation is a local symmetry; simpler functions have more local degeneracies"
)
# λ(n) tends to λ as a power of 1/n; at the last n it is to be within this.
MAX_LIMIT_GAP = 0.02
# A rise of λ(n) from one kink to the next is seen from so many standard errors on.
MIN_STANDARD_ERRORS = 3.0
# Of the farthest of all comparisons of samples with exact values.
MIN_P_VALUE = 1e-3
# Bins with fewer samples are not normal.
MIN_SHARE = 0.01

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge the symmetry at a closed gap, the crossovers, and λ(n) by the kinks of a function."""
    numbers = {
        "gaps": numbers_of_gaps(dataset),
        "crossovers": numbers_of_crossovers(dataset),
        "pieces": numbers_of_pieces(dataset),
        "posterior": numbers_of_posteriors(dataset),
    }
    numbers["sampled"] = agreement(numbers, int(dataset["num_runs"]))
    tables = (
        table_of_gaps(numbers["gaps"]),
        table_of_crossovers(numbers["crossovers"]),
        table_of_pieces(numbers["pieces"]),
    )
    return Verdict((judge(numbers),), "\n\n".join(tables), numbers, notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def numbers_of_gaps(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect λ(n) at the last n without a gap and with the widest, and the dip of the least."""
    gap = float(dataset["gap"][1])
    rows = {}
    for kind in map(str, dataset["kind"].to_numpy()):
        curves = dataset["gap_coefficient"].sel(kind=kind)
        errors = dataset["gap_coefficient_error"].sel(kind=kind)
        rows[kind] = {
            "limit": float(dataset["kind_limit"].sel(kind=kind)),
            "closed": float(curves[0, -1]), "closed_bound": float(errors[0, -1]),
            "widest": float(curves[-1, -1]), "widest_bound": float(errors[-1, -1]),
            "largest_bound": float(errors.max()),
        }  # fmt: skip
    n = dataset["n"].to_numpy()
    narrow = dataset["gap_coefficient"].sel(kind="annihilating", gap=gap).to_numpy()
    # The step is seen before the place is, which needs n ~ gap⁻³.
    peak = int(np.argmax(np.where(n * gap**3 < 1, narrow, -np.inf)))
    dip = peak + int(np.argmin(narrow[peak:]))
    return {
        "n": float(n[-1]),
        "widest_gap": float(dataset["gap"][-1]),
        "least_gap": gap,
        "rows": rows,
        "peak": [float(n[peak]), float(narrow[peak])],
        "dip": [float(n[dip]), float(narrow[dip])],
        "translation_loss": [float(value) for value in dataset["translation_loss"][:2]],
    }


def numbers_of_crossovers(dataset: xr.Dataset) -> dict[str, Any]:
    """Measure p of n ~ gap^−p by the local exponents between neighbouring gaps."""
    gaps = dataset["gap"].to_numpy()[1:]
    rows = {}
    for name in map(str, dataset["level"].to_numpy()):
        at = dataset.sel(level=name)
        n, error = (at[f"crossing_size{end}"].to_numpy()[1:] for end in ("", "_error"))
        kind, _, what = name.partition(", ")
        place = what == "place seen"
        nearest = dataset["nearest_loss"].sel(kind=kind).to_numpy()[1:]
        value, half_width, local = exponent(gaps, n, error)
        derived = int(at["level_exponent"])
        is_finite = math.isfinite(value)
        rows[name] = {
            "derived": derived,
            "exponent": value if is_finite else None,
            "half_width": half_width if is_finite else None,
            "agrees": abs(value - derived) <= half_width if is_finite else None,
            "local_exponents": known(local),
            "sizes": known(n),
            "nearest_loss_times_n": float(n[0] * nearest[0]) if is_finite and not place else None,
        }
    return {"gaps": gaps.tolist(), "rows": rows}


def exponent(
    gaps: np.ndarray, sizes: np.ndarray, errors: np.ndarray
) -> tuple[float, float, list[float]]:
    """Extrapolate p = −d log n/d log gap to gap 0, with the half-width of an interval.

    The local exponents of the two least pairs of gaps are taken to have an error in proportion to
    the gap, which a line through both removes; the half-width is what that moved, and the bounds.
    """
    steps = np.diff(np.log(gaps))
    local = -np.diff(np.log(sizes)) / steps
    bounds = (errors[1:] + errors[:-1]) / steps
    middle = np.sqrt(gaps[1:] * gaps[:-1])
    weight = middle[0] / (middle[1] - middle[0])
    value = local[0] + weight * (local[0] - local[1])
    half_width = abs(value - local[0]) + (1 + weight) * bounds[0] + weight * bounds[1]
    return float(value), float(half_width), local.tolist()


def numbers_of_pieces(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect λ, λ(n) and the degeneracies of every representation, and each rise by one kink."""
    rows: list[dict[str, Any]] = []
    rises: list[float | None] = []
    for units in map(int, dataset["units"].to_numpy()):
        for way in map(str, dataset["way"].to_numpy()):
            of_way = [_row(dataset, units, kinks, way) for kinks in range(units + 1)]
            rows += of_way
            if of_way[0]["value"] is not None:
                rises += [_rise(*both) for both in zip(of_way, of_way[1:], strict=False)]
    return {
        "n": float(dataset["sampled_n"][-1]),
        "rows": rows,
        "rises": [rise for rise in rises if rise is not None],
        "unseen": rises.count(None),
    }


def _row(dataset: xr.Dataset, units: int, kinks: int, way: str) -> dict[str, Any]:
    at = dataset.sel(units=units, kinks=kinks, way=way)
    row: dict[str, Any] = {
        "units": units, "kinks": kinks, "way": way,
        "limit": float(at["representation_limit"]), "fibre": int(at["fibre"]),
        "nullity": int(at["nullity"]), "value": None, "standard_error": None, "exact": None,
        "bound": None, "converged": True, "reason": "",
    }  # fmt: skip
    if way in dataset["sampled_way"].to_numpy():
        run = dataset.sel(units=units, kinks=kinks, sampled_way=way)
        last = run.isel(sampled_n=-1)
        exact = float(last["exact_sampled_coefficient"])
        row |= {
            "value": float(last["sampled_coefficient"]),
            "standard_error": float(last["sampled_coefficient_se"]),
            "converged": bool(run["converged"]), "reason": str(run["reason"].item()),
        }  # fmt: skip
        if math.isfinite(exact):
            row |= {"exact": exact, "bound": float(last["exact_sampled_coefficient_error"])}
    return row


def _rise(simple: Numbers, other: Numbers) -> float | None:
    """Return the rise of λ(n) in standard errors, None if a run of both did not converge."""
    if not (simple["converged"] and other["converged"]):
        return None
    error = math.hypot(simple["standard_error"], other["standard_error"])
    return float(in_standard_errors(other["value"] - simple["value"], error))


def numbers_of_posteriors(dataset: xr.Dataset) -> dict[str, Any]:
    """Hold the sampled probabilities of bins to the exact ones."""
    rows = []
    for case in map(str, dataset["case"].to_numpy()):
        for n in map(int, dataset["posterior_n"].to_numpy()):
            at = dataset.sel(case=case, posterior_n=n)
            exact, value = (at[name].to_numpy() for name in ("bin_share", "sampled_bin_share"))
            error = np.hypot(
                *(at[name].to_numpy() for name in ("sampled_bin_share_se", "bin_share_error"))
            )
            scores = [
                float(in_standard_errors(v - e, s))
                for v, e, s in zip(value, exact, error, strict=True)
                if e > MIN_SHARE
            ]
            rows.append(
                {
                    "case": case, "n": n, "scores": scores,
                    "largest_share": float(exact.max()),
                    "bins_with_95": int(np.searchsorted(np.cumsum(np.sort(exact)[::-1]), 0.95) + 1),
                    "bins": int(exact.size), "bound": float(at["bin_share_error"].max()),
                    "converged": bool(at["posterior_converged"]),
                    "reason": str(at["posterior_reason"].item()),
                }
            )  # fmt: skip
    return {"rows": rows}


def agreement(numbers: Numbers, runs: int) -> dict[str, Any]:
    """Find the sample that is farthest from its exact value, and how likely that is by chance."""
    scores = [
        float(in_standard_errors(row["value"] - row["exact"],
                                 math.hypot(row["standard_error"], row["bound"])))
        for row in numbers["pieces"]["rows"]
        if row["exact"] is not None and row["converged"]
    ]  # fmt: skip
    scores += [s for row in numbers["posterior"]["rows"] if row["converged"] for s in row["scores"]]
    farthest = max(map(abs, scores), default=0.0)
    p_value = p_value_of_largest(farthest, len(scores), runs - 1)
    return {
        "compared": len(scores),
        "farthest": farthest,
        "p_value": p_value,
        "agrees": p_value >= MIN_P_VALUE,
    }


# --- the judgement ----------------------------------------------------------------------------


def judge(numbers: Numbers) -> Finding:
    """E8 holds if the fibre of a closed gap costs λ as derived, and λ(n) rises with every kink."""
    gaps, crossovers, pieces = (numbers[name] for name in ("gaps", "crossovers", "pieces"))
    pair = gaps["rows"]["annihilating"]
    off = abs(pair["closed"] - pair["limit"])
    rises = pieces["rises"]
    agrees = [row["agrees"] for row in crossovers["rows"].values()]
    if off - pair["closed_bound"] > MAX_LIMIT_GAP or any(r < -MIN_STANDARD_ERRORS for r in rises):
        outcome = "fails"
    elif (
        off + pair["closed_bound"] > MAX_LIMIT_GAP
        or pieces["unseen"]
        or any(rise < MIN_STANDARD_ERRORS for rise in rises)
        or None in agrees
    ):
        outcome = "is undecided"
    elif all(agrees):
        outcome = (
            "holds exactly where the boundaries coincide, and where they are a gap g apart only "
            "for n below a multiple of g⁻²"
        )
    else:
        outcome = "holds where the boundaries coincide, but gaps are not seen at the derived n"
    return Finding("E8", PASSAGE, outcome, _why(numbers))


def _why(numbers: Numbers) -> str:
    """Say what was tested, what an annihilated pair does, and what λ(n) does with kinks."""
    gaps, crossovers, pieces = (numbers[name] for name in ("gaps", "crossovers", "pieces"))
    pair, merged = (gaps["rows"][kind] for kind in ("annihilating", "same sign"))
    exponents = ", ".join(
        f"{_exponent(row)} for “{name}” (derived {row['derived']})"
        for name, row in crossovers["rows"].items()
    )
    seen = sum(rise >= MIN_STANDARD_ERRORS for rise in pieces["rises"])
    steps = len(pieces["rises"]) + pieces["unseen"]
    return (
        "Read as: two units with one boundary and opposite slope changes can move together without "
        "changing the function, by which the local λ falls, and a net of H units has more such "
        "directions and a lower local λ the fewer kinks k its function has; the exact λ(n) of such "
        f"a pair is {pair['closed']:.3f} at n = {gaps['n']:.0e} (λ = 1, a level set of dimension "
        f"2), of two merged kinks of one sign {merged['closed']:.3f} (λ = 4/3, dimension 1), and "
        f"of either with a gap of {gaps['widest_gap']:g} {pair['widest']:.3f} (λ = 2, none). "
        "With a gap g the symmetry is approximate and is lost at an n ~ g^−p, where p is "
        f"{exponents}. "
        "A function of k kinks has a level set of dimension H − k if its surplus units are alive, "
        "with λ = k + (H − k)/3 merged into its kinks (1 + (H − 2)/3 if it has none) and "
        "k + (H − k)/2 silent or annihilated in pairs, and 2(H − k) if they are dead, with λ = k, "
        f"and the sampled λ(n) at n = {pieces['n']:.0e} rises by more than "
        f"{MIN_STANDARD_ERRORS:g} standard errors at {seen} of {steps} steps to one more kink."
    )


def _exponent(row: Numbers) -> str:
    if row["exponent"] is None:
        return "not measured"
    return plus_minus(row["exponent"], row["half_width"])


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say how annihilation is lost in two steps, and how samples compare with exact values."""
    gaps, sampled, posterior = (numbers[name] for name in ("gaps", "sampled", "posterior"))
    moved = gaps["translation_loss"]
    lost = [
        f"{row['units']} units, {row['kinks']} kinks, {row['way']} ({row['reason']})"
        for row in numbers["pieces"]["rows"]
        if not row["converged"]
    ] + [
        f"{row['case']} at n = {row['n']} ({row['reason']})"
        for row in posterior["rows"]
        if not row["converged"]
    ]
    far = "" if sampled["agrees"] else ", which is TOO FAR"
    spread = "; ".join(
        f"{row['bins_with_95']} of {row['bins']} bins at n = {row['n']} ({row['case']})"
        for row in posterior["rows"]
    )
    return (
        f"Moving an annihilating pair by 1/4 costs {moved[0]:g} nats per datum at gap 0 and "
        f"{moved[1]:.2e} at gap {gaps['least_gap']:g}: a level set, and with a gap a valley whose "
        "floor rises as g².",
        f"At gap {gaps['least_gap']:g} the annihilating pair passes λ(n) = {gaps['peak'][1]:.3f} "
        f"at n = {gaps['peak'][0]:.0e}, where its step is seen and counts as a location, and dips "
        f"to {gaps['dip'][1]:.3f} at n = {gaps['dip'][0]:.0e}, where it is seen to be a ramp.",
        f"95 % of the posterior of the first breakpoint are in {spread}.",
        f"The farthest of {sampled['compared']} samples is {sampled['farthest']:.1f} standard "
        f"errors from its exact value (p = {sampled['p_value']:.2g}{far}); not converged: "
        f"{', '.join(lost) or 'none'}.",
    )


# --- tables -----------------------------------------------------------------------------------


def table_of_gaps(numbers: Numbers) -> str:
    """Tabulate λ(n) without a gap and with the widest, at the last n."""
    head = ("slope changes", "λ, closed", f"λ(n), n = {numbers['n']:.0e}",
            f"with gap {numbers['widest_gap']:g}", "largest bound")  # fmt: skip
    rows = [
        [
            kind, f"{row['limit']:.4f}", plus_minus(row["closed"], row["closed_bound"], 4),
            plus_minus(row["widest"], row["widest_bound"], 4), f"{row['largest_bound']:.0e}",
        ]
        for kind, row in numbers["rows"].items()
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_crossovers(numbers: Numbers) -> str:
    """Tabulate the n of each crossover by gap, and p."""
    head = ("n of crossover at gap", *(f"{gap:g}" for gap in numbers["gaps"]), "p", "derived",
            "nK of the nearest net")  # fmt: skip
    rows = [
        [
            name, *("–" if n is None else f"{n:.3g}" for n in row["sizes"]), _exponent(row),
            str(row["derived"]),
            "–" if row["nearest_loss_times_n"] is None else f"{row['nearest_loss_times_n']:.2f}",
        ]
        for name, row in numbers["rows"].items()
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_pieces(numbers: Numbers) -> str:
    """Tabulate λ, λ(n) and degeneracies; ``!`` marks what has not converged."""
    head = ("units, kinks, surplus units", "level set", "nullity", "λ",
            f"sampled λ(n), n = {numbers['n']:.0e}", "exact λ(n)", "")  # fmt: skip
    rows = [
        [
            f"{row['units']}, {row['kinks']}, "
            + ("none" if row["units"] == row["kinks"] else row["way"]),
            str(row["fibre"]), str(row["nullity"]), f"{row['limit']:.3f}",
            "–" if row["value"] is None else plus_minus(row["value"], row["standard_error"]),
            "–" if row["exact"] is None else f"{row['exact']:.4f}",
            "" if row["converged"] else "! not converged",
        ]
        for row in numbers["rows"]
    ]  # fmt: skip
    return aligned(head, rows)
