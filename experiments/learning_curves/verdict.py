"""The verdict on the limits of the errors (N3) and on what dominates F_n at small n (E14)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import (
    calibration_of,
    convergence_of,
    coverage_note,
    curves_of,
    sampled_sizes,
)
from slt_jax.curves.errors import QUANTITIES
from slt_jax.curves.mean_errors import (
    MAX_RELATIVE_ERROR,
    MAX_Z_SCORE,
    as_columns,
    exact_errors_of,
    exact_mean,
    is_negligible,
    sampled_mean,
    singular_fluctuations,
)
from slt_jax.estimators import Estimate, in_standard_errors, mean_over_data_sets
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

LIMITS = "nB_g→λ, nG_g→λ+ν; equations of state"
PRIORS = "λ dominates eventually whatever the prior; but small n is what matters"
MAX_RELATIVE_DEVIATION = 0.2

Row = Mapping[str, Any]
Rows = Mapping[str, Row]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge N3 by errors at growing n, and E14 by the n from which λ is the slope of F_n."""
    rows = {name: numbers_of(curve) for name, curve in curves_of(dataset).items()}
    findings = (judge_limits(rows), judge_priors(rows))
    tables = f"{table_of_errors(rows)}\n\n{table_of_priors(rows)}"
    return Verdict(
        findings,
        tables,
        {"problems": rows, "max_relative_deviation": MAX_RELATIVE_DEVIATION},
        (coverage_note(rows),),
    )


def numbers_of(curve: xr.Dataset) -> dict[str, Any]:
    """Collect the numbers of one problem: what is known of it, its errors and its priors."""
    return {
        "learning_coefficient": curve["exact_learning_coefficient"].item(),
        "multiplicity": int(curve["multiplicity"]),
        **error_numbers(curve),
        **slope_numbers(curve),
        "largest_n": int(curve["large_n"][-1]),
        "own_prior": f"{float(curve['own_prior_scale']):g}",
        "priors": {f"{scale:g}": prior_numbers(curve, scale) for scale in scales_of(curve)},
    }


def error_numbers(curve: xr.Dataset) -> dict[str, Any]:
    """Hold the errors to their limits, to the equations of state and to the sampled ones."""
    n = curve["n"].to_numpy()
    left = residuals(curve)
    errors = {name: exact_mean(curve, name) for name in QUANTITIES}
    twice_nu = errors["functional_variance"].value
    control = mean_over_data_sets(n[:, None] * curve["exact_control"].to_numpy())
    scores = in_standard_errors(control.value, control.standard_error)
    return {
        "sizes": n.tolist(),
        "sampled_sizes": sampled_sizes(curve),
        "errors": {name: as_columns(mean) for name, mean in errors.items()},
        "sampled_errors": {name: as_columns(sampled_mean(curve, name)) for name in QUANTITIES},
        "limits": limits(float(curve["learning_coefficient"]), float(twice_nu[-1]) / 2),
        "singular_fluctuation": {
            route: as_columns(nu) for route, nu in singular_fluctuations(curve).items()
        },
        "residuals": {name: as_columns(residual) for name, residual in left.items()},
        "relative_residual_first": _largest(left, 0) / float(twice_nu[0]),
        "relative_residual_last": _largest(left, -1) / float(twice_nu[-1]),
        "equations_hold": {
            name: is_negligible(r.value[-1], r.standard_error[-1], twice_nu[-1])
            for name, r in left.items()
        },
        "next_datum_score": float(scores[np.argmax(np.abs(scores))]),
        "next_datum": as_columns(control),
        "prequential_gap": float(curve["prequential_gap"]),
        "prequential_gap_error": float(curve["prequential_gap_error"]),
        "calibration": calibration_of(curve, QUANTITIES),
        **convergence_of(curve),
    }


def limits(coefficient: float, nu: float) -> dict[str, float]:
    """Give what n times each error tends to, λ being known and ν that of the last n."""
    values = (coefficient, coefficient + nu, coefficient - 2 * nu, coefficient - nu)
    return dict(zip(QUANTITIES[:4], values, strict=True))


def residuals(curve: xr.Dataset) -> dict[str, Estimate]:
    """Subtract the right side of each equation of state from its left, times n, shape [n].

    B_g − B_t = 2(G_t − B_t), G_g − G_t = 2(G_t − B_t) and V_n = 2n(G_t − B_t), at β = 1.
    """
    b_g, g_g, b_t, g_t, variance = exact_errors_of(curve)
    n = curve["n"].to_numpy()[:, None].astype(float)
    return {
        "bayes": mean_over_data_sets(n * (b_g - b_t - 2 * (g_t - b_t))),
        "gibbs": mean_over_data_sets(n * (g_g - g_t - 2 * (g_t - b_t))),
        "variance": mean_over_data_sets(variance - 2 * n * (g_t - b_t)),
    }


def slope_numbers(curve: xr.Dataset) -> dict[str, Any]:
    """Hold dE[F_n]/d log n under the problem's own prior to λ − (m−1)/log n."""
    coefficient = float(curve["learning_coefficient"])
    middle, slope = slopes(curve, float(curve["own_prior_scale"]))
    gap = (slope.value - asymptotic_slope(curve, middle)) / coefficient
    away = (slope.value - coefficient) / coefficient
    nears = abs(away[-1]) <= max(abs(away[0]), MAX_RELATIVE_ERROR)
    return {
        "slope_n": [float(middle[0]), float(middle[-1])],
        "slope": [float(slope.value[0]), float(slope.value[-1])],
        "slope_se": [float(slope.standard_error[0]), float(slope.standard_error[-1])],
        "off_theory": float(gap[-1]),
        "limit_holds": bool(abs(gap[-1]) <= MAX_RELATIVE_ERROR and nears),
    }


def slopes(curve: xr.Dataset, scale: float) -> tuple[np.ndarray, Estimate]:
    """Take dE[F_n]/d log n under the prior of a scale, between neighbours of ``large_n``.

    It is nE[B_g] up to terms of order 1/n, since E[G_n] = E[F_{n+1}] − E[F_n]. Returns the n, which
    are geometric means of neighbours, and the slopes.
    """
    n = curve["large_n"].to_numpy().astype(float)
    along_n = curve["normalised_fixed_design_free_energy"].sel(prior_scale=scale)
    values = along_n.transpose("large_n", "design").to_numpy()
    slope = np.diff(values, axis=0) / np.diff(np.log(n))[:, None]
    return np.sqrt(n[1:] * n[:-1]), mean_over_data_sets(slope)


def asymptotic_slope(curve: xr.Dataset, n: np.ndarray) -> np.ndarray:
    """Return λ − (m−1)/log n, what λ log n − (m−1) log log n grows by."""
    correction = (int(curve["multiplicity"]) - 1) / np.log(n)
    return np.asarray(float(curve["learning_coefficient"]) - correction)


def scales_of(curve: xr.Dataset) -> list[float]:
    """List the prior scales under which F_n was computed."""
    along_n = curve["normalised_fixed_design_free_energy"].transpose("prior_scale", ...)
    computed = np.isfinite(along_n.to_numpy()).all(axis=(1, 2))
    return [float(scale) for scale in curve["prior_scale"].to_numpy()[computed]]


def prior_numbers(curve: xr.Dataset, scale: float) -> dict[str, Any]:
    """Find from which n on λ, or λ − (m−1)/log n, is the slope of F_n under a prior."""
    coefficient = float(curve["learning_coefficient"])
    tolerance = MAX_RELATIVE_DEVIATION * coefficient
    middle, slope = slopes(curve, scale)
    deviation = slope.value - coefficient
    distance, slack = np.abs(deviation), 2 * slope.standard_error
    asymptote = asymptotic_slope(curve, middle)
    return {
        "from_n": described_from(middle, deviation, tolerance),
        "from_n_low": described_from(middle, np.maximum(distance - slack, 0), tolerance),
        "from_n_high": described_from(middle, distance + slack, tolerance),
        "from_n_with_multiplicity": described_from(middle, slope.value - asymptote, tolerance),
        "last_slope": float(slope.value[-1]),
        "last_slope_se": float(slope.standard_error[-1]),
        "largest_slope": float(slope.value.max()),
        "slope_n": middle.tolist(),
        "slopes": as_columns(slope),
        "asymptotic_slopes": asymptote.tolist(),
    }


def described_from(n: np.ndarray, deviation: np.ndarray, tolerance: float) -> float | None:
    """Find the first n from which on every |deviation| is within the tolerance, else None."""
    outside = np.flatnonzero(~(np.abs(deviation) <= tolerance))
    first = 0 if outside.size == 0 else int(outside[-1]) + 1
    return float(n[first]) if first < n.size else None


def judge_limits(rows: Rows) -> Finding:
    """N3 holds where slope, equations of state and the loss of the next datum are right."""
    good = [
        name
        for name, row in rows.items()
        if row["limit_holds"]
        and all(row["equations_hold"].values())
        and abs(row["next_datum_score"]) <= MAX_Z_SCORE
    ]
    if len(good) == len(rows):
        outcome = "holds"
    elif good:
        outcome = f"holds only if the problem is {' or '.join(good)}"
    else:
        outcome = "fails"
    off = max(abs(row["off_theory"]) for row in rows.values())
    bent = [name for name, row in rows.items() if not all(row["equations_hold"].values())]
    beyond = f", beyond error for {', '.join(bent)}" if bent else ""
    first, last = (
        max(row[f"relative_residual_{end}"] for row in rows.values()) for end in ("first", "last")
    )
    scores = [abs(row["next_datum_score"]) for row in rows.values()]
    count = sum(len(row["sizes"]) for row in rows.values())
    gap, bound = (
        max(row[key] for row in rows.values())
        for key in ("prequential_gap", "prequential_gap_error")
    )
    why = (
        f"The slope dE[F_n]/d log n, which nears nE[B_g], ends within {off:.1%} of λ from "
        f"λ − (m−1)/log n. The equations of state are off by up to {first:.1%} of V_n at the "
        f"smallest n and {last:.1%} at the largest{beyond}. "
        f"E[LOO_n] = E[G_(n−1)] = E[F_n] − E[F_(n−1)] within {max(scores):.1f} standard errors in "
        f"{count} comparisons, and the cumulative Bayes loss is F_n within {gap:.1g} nats (bound "
        f"{bound:.1g})."
    )
    return Finding("N3", LIMITS, outcome, why)


def judge_priors(rows: Rows) -> Finding:
    """E14 holds where λ describes the slope of F_n from some n on under every prior."""
    priors = [prior for row in rows.values() for prior in row["priors"].values()]
    alone = [prior["from_n"] for prior in priors if prior["from_n"] is not None]
    orders = [
        prior["from_n_with_multiplicity"]
        for prior in priors
        if prior["from_n_with_multiplicity"] is not None
    ]
    largest = max(row["largest_n"] for row in rows.values())
    if not alone:
        outcome = f"fails up to n = {largest:.0e}"
    elif len(alone) == len(priors):
        outcome = "holds"
    else:
        missing = len(priors) - len(alone)
        outcome = f"holds only if n may exceed {largest:.0e} for {missing} of {len(priors)} priors"
    tolerance = f"{MAX_RELATIVE_DEVIATION:.0%} of λ"
    where = f"from n = {min(alone):.1e} to {max(alone):.1e} on" if alone else "at no n"
    latest = f", from n = {max(orders):.1e} at the latest" if orders else ""
    why = (
        f"|dE[F_n]/d log n − λ| is within {tolerance} for {len(alone)} of {len(priors)} priors "
        f"N(0, s²), {where}. With λ − (m−1)/log n in place of λ it is so for {len(orders)} of "
        f"{len(priors)}{latest}."
    )
    return Finding("E14", PRIORS, outcome, why)


def table_of_errors(rows: Rows) -> str:
    """Tabulate errors at the largest n, means over data sets ± 1 standard error, in nats.

    The equations of state are off by a share of V_n, at the smallest and the largest n; ``!`` says
    beyond error. The slope is dE[F_n]/d log n under the own prior, at the first and the last n.
    """
    head = (
        "problem", "λ", "m", "n", "nB_g", "nG_g", "ν = V_n/2", "ν at first n",
        "equations of state off", "first slope", "last slope", "off λ − (m−1)/log n",
    )  # fmt: skip
    return aligned(head, [_error_row(name, row) for name, row in rows.items()])


def _error_row(name: str, row: Row) -> list[str]:
    errors, nu = row["errors"], row["singular_fluctuation"]["variance"]
    bent = "" if all(row["equations_hold"].values()) else " !"
    (first_n, last_n), (first, last) = row["slope_n"], row["slope"]
    return [
        name,
        row["learning_coefficient"],
        str(row["multiplicity"]),
        str(row["sizes"][-1]),
        *(_last(errors[quantity]) for quantity in QUANTITIES[:2]),
        _last(nu),
        f"{nu['value'][0]:.2f}",
        f"{row['relative_residual_first']:.1%} → {row['relative_residual_last']:.1%}{bent}",
        f"{first:.3f} at {first_n:.2g}",
        f"{plus_minus(last, row['slope_se'][1])} at {last_n:.2g}",
        f"{row['off_theory']:+.1%}",
    ]


def table_of_priors(rows: Rows) -> str:
    """Tabulate the n from which on the slope of F_n is within 20 % of λ under N(0, s²).

    "earliest" and "latest" allow for 2 standard errors of the slope; "with m" is the n of
    λ − (m−1)/log n in place of λ. All n are on the grid of the sizes.
    """
    head = ("problem", "prior s", "from n", "earliest", "latest", "with m", "last slope")
    cells = [
        [
            name,
            scale,
            *(_size(prior[f"from_n{end}"]) for end in ("", "_low", "_high", "_with_multiplicity")),
            plus_minus(prior["last_slope"], prior["last_slope_se"]),
        ]
        for name, row in rows.items()
        for scale, prior in row["priors"].items()
    ]
    return aligned(head, cells)


def _largest(estimates: Mapping[str, Estimate], place: int) -> float:
    return float(max(abs(estimate.value[place]) for estimate in estimates.values()))


def _last(columns: Mapping[str, list[float]]) -> str:
    return plus_minus(columns["value"][-1], columns["standard_error"][-1])


def _size(n: float | None) -> str:
    return "later" if n is None else f"{n:.1e}"
