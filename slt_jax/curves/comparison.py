"""Reads a curve of one problem: sampled against exact, exact against the asymptote."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.estimators import (
    Estimate,
    calibrate,
    mean_over_data_sets,
    monte_carlo_mean,
    slope_coefficient,
)
from slt_jax.problem import Problem
from slt_jax.theory import Theory

SLOPE_FROM = 100


def estimate_in(curve: xr.Dataset, name: str) -> Estimate:
    """The estimate ``name`` with its error ``name_se``, shape [n, replicate]."""
    return Estimate(
        curve[name].to_numpy(),
        curve[f"{name}_se"].to_numpy(),
        float(curve.attrs["degrees_of_freedom"]),
    )


def calibration_of(curve: xr.Dataset, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Coverage of each estimate ``x`` that has an ``exact_x``, over converged jobs.

    Empty where no job can be compared or the seeds are too few for a t-distribution's variance.
    """
    found = {}
    for name in names:
        exact = curve.get(f"exact_{name.removesuffix('_ti')}")
        if exact is None or curve.attrs["degrees_of_freedom"] < 3:
            continue
        usable = curve["converged"].to_numpy().astype(bool)
        sampled = estimate_in(curve, name)
        chosen = sampled._replace(
            value=sampled.value[usable], standard_error=sampled.standard_error[usable]
        )
        if usable.any():
            bound = curve[f"{exact.name}_error"].to_numpy()[usable]
            found[name] = calibrate(chosen, exact.to_numpy()[usable], bound)._asdict()
    return found


def sampled_coverage(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The line of a verdict on all sampled values, none where nothing was compared.

    A row of each problem has ``calibration`` as of ``calibration_of``, ``jobs`` and
    ``not_converged``.
    """
    compared = [c for row in rows.values() for c in row["calibration"].values()]
    count = sum(c["comparisons"] for c in compared)
    if not count:
        return []
    covered = sum(c["comparisons"] * c["coverage_95"] for c in compared) / count
    return [
        f"Sampled values: 95 % Monte-Carlo intervals cover the exact ones in {covered:.1%} of "
        f"{count} comparisons; {sum(row['not_converged'] for row in rows.values())} of "
        f"{sum(row['jobs'] for row in rows.values())} jobs did not converge."
    ]


def best_free_energy(curve: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """n [N] and F_n − nL_n(w₀) [N, replicate]: exact where there is an oracle, else sampled."""
    name = "exact_normalised_free_energy" if "exact_normalised_free_energy" in curve else "normalised_free_energy"
    complete = np.isfinite(curve[name].to_numpy()).all(axis=1)
    return curve["n"].to_numpy()[complete], curve[name].to_numpy()[complete]


def against_asymptote(curve: xr.Dataset, theory: Theory) -> dict[str, Any]:
    """The slope of the free energy from n = 100 on, and the exact increments per decade.

    ``increments`` lists ``increment_gap`` of the curve, where it has one, in nats.
    """
    n, values = best_free_energy(curve)
    large = n >= SLOPE_FROM
    result: dict[str, Any] = {}
    if large.sum() >= 2:
        slope = slope_coefficient(values[large].T, n[large], theory.multiplicity)
        result["slope"] = float(slope.value)
        result["slope_se"] = float(slope.standard_error)
    if "increment_gap" in curve:
        result["increments"] = [
            {"from_n": int(start), "gap": float(gap), "gap_se": float(error)}
            for start, gap, error in zip(
                curve["decade_from"].to_numpy(),
                curve["increment_gap"].to_numpy(),
                curve["increment_gap_se"].to_numpy(),
                strict=True,
            )
        ]
    return result


def curve_table(problems: Sequence[Problem], curves: dict[str, xr.Dataset]) -> str:
    """Means over data sets, relative to nL_n(w₀), in nats; ± is one Monte-Carlo standard error.

    For λ̂ it is the standard error between data sets. ``!`` counts jobs that did not converge.
    """
    head = f"{'problem':<24}{'n':>8}{'exact F_n':>11}{'sampled F_n':>17}{'WBIC':>17}"
    lines = [head + f"{'λ̂ (WBIC)':>18}{'λ':>7}{'m':>4}"]
    for problem in problems:
        curve, theory = curves[problem.name], problem.theory
        known = (f"{theory.learning_coefficient!s:>7}{theory.multiplicity:>4}") if theory else ""
        for n in curve["n"].to_numpy():
            at = curve.sel(n=n)
            text = f"{problem.name:<24}{n:>8}"
            exact = at.get("exact_normalised_free_energy")
            text += f"{float(exact.mean()):>11.3f}" if exact is not None else f"{'–':>11}"
            if np.isfinite(at["normalised_free_energy"].to_numpy()).any():
                for name in ("normalised_free_energy", "normalised_wbic"):
                    mean = monte_carlo_mean(estimate_in(at, name))
                    text += f"{float(mean.value):>9.3f} ± {float(mean.standard_error):<5.3f}"
                estimate = mean_over_data_sets(at["lambda_wbic"].to_numpy())
                text += f"{float(estimate.value):>10.3f} ± {float(estimate.standard_error):<5.3f}"
                bad = int((~at["converged"].to_numpy().astype(bool)).sum())
                known_here = known + (f"  ! {bad} of {at.sizes['replicate']}" if bad else "")
            else:
                known_here = " " * 52 + known
            lines.append(text + known_here)
    return "\n".join(lines)
