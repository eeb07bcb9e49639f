"""The verdict on Skalse's polynomial (E1 to E3), the conclusions apart from their reason, λ."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.estimators import in_standard_errors, mean_over_data_sets, slope_coefficient
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

TRUTHS = (
    "f=θ₁x⁴+θ₂θ₃x³+θ₄θ₅θ₆x²+θ₇θ₈θ₉θ₁₀x+θ₁₁…θ₁₅: among f=1, x, …, x⁴ the lowest RLCT is x⁴, so the "
    "machine prefers high complexity"
)
ONE_DATUM = "the same with the single datum (1,1)"
SCALED_UP = "scaling it up (500,000 degrees, 50,000 points) changes nothing"
HIGHEST = "x^4"
LOWEST = "1"
EXACT = "exact"
MAX_STANDARD_ERRORS = 4.0
MIN_STANDARD_ERRORS_OF_GAP = 4.0
MIN_ERROR_OF_USELESS_MEAN = 0.9
MAX_ERROR_OF_USEFUL_MEAN = 0.1
SUPERSCRIPTS = str.maketrans({"^": "", "2": "²", "3": "³", "4": "⁴"})


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge the three claims, and part each conclusion from its reason."""
    numbers = {
        "truths": numbers_of_truths(dataset),
        "one_datum": numbers_of_one_datum(dataset),
        "scaled_up": numbers_of_scaling(dataset),
    }
    findings = (
        judge_truths(numbers["truths"]),
        judge_one_datum(numbers["one_datum"]),
        judge_scaling(numbers["scaled_up"]),
    )
    tables = (
        table_of_truths(numbers["truths"]),
        table_of_one_datum(numbers["one_datum"]),
        table_of_scaling(numbers["scaled_up"]),
    )
    return Verdict(findings, "\n\n".join(tables), numbers, notes(numbers))


def numbers_of_truths(dataset: xr.Dataset) -> dict[str, Any]:
    """Compare the free energies of all truths, their slopes, and the local λ̂ with exact ones."""
    n = dataset["large_n"].to_numpy().astype(float)
    late = n >= n[len(n) // 2 - 1]
    early = ~late | (n == n[late][0])
    truths, functions = (dataset[axis].to_numpy().tolist() for axis in ("truth", "function"))
    rows = {truth: _truth(dataset.sel(truth=truth), n, early, late) for truth in truths}
    curves = dataset["fixed_design_normalised_free_energy"].transpose(
        "truth", "large_n", "replicate"
    )
    highest = curves.sel(truth=HIGHEST)
    gaps = {
        f: mean_over_data_sets((curves.sel(truth=f) - highest).to_numpy()[-1])
        for f in functions
        if f != HIGHEST
    }
    nearest = min(gaps, key=lambda f: float(gaps[f].value))
    gap = gaps[nearest]
    ends = (curves.sel(truth=LOWEST) - highest).to_numpy()[np.flatnonzero(late)[[0, -1]]]
    gain = mean_over_data_sets(ends[1] - ends[0])
    orders = rows[HIGHEST]["multiplicity"] - rows[LOWEST]["multiplicity"]
    deviation = max(row["local_deviation"] for row in rows.values())
    return {
        "conclusion_holds": float(gap.value)
        > MIN_STANDARD_ERRORS_OF_GAP * float(gap.standard_error),
        "reason_holds": _is_least(dataset["learning_coefficient"], functions),
        "reason_holds_for_powers": _is_least(dataset["power_learning_coefficient"], functions),
        "functions": functions,
        "next_function": nearest,
        "gap_to_next": float(gap.value),
        "gap_to_next_se": float(gap.standard_error),
        "gain": float(gain.value),
        "gain_se": float(gain.standard_error),
        "gain_of_orders": orders * math.log(math.log(n[-1]) / math.log(n[late][0])),
        "late_from_n": float(n[late][0]),
        "largest_n": float(n[-1]),
        "local_agrees": deviation < MAX_STANDARD_ERRORS,
        "local_deviation": deviation,
        "least_acceptance": float(dataset["sgld_acceptance"].min()),
        "gammas": dataset["gamma"].to_numpy().tolist(),
        "largest_route_gap": float(dataset["route_gap"].max()),
        "routes_agree": not bool((dataset["route_gap"] > dataset["route_bound"]).any()),
        "design_gap": _design_gap(dataset),
        "truths": rows,
    }


def _truth(at: xr.Dataset, n: np.ndarray, early: np.ndarray, late: np.ndarray) -> dict[str, Any]:
    """Collect the numbers of one truth; slopes of F_n on log n are at the theorem's m."""
    curve = at["fixed_design_normalised_free_energy"].transpose("replicate", "large_n").to_numpy()
    multiplicity = int(at["multiplicity"])
    first, last = (
        slope_coefficient(curve[:, chosen], n[chosen], multiplicity) for chosen in (early, late)
    )
    powers = at["power_normalised_free_energy"].to_numpy()[late]
    local, error = at["local_learning_coefficient"], at["local_learning_coefficient_se"]
    exact = at["exact_local_learning_coefficient"]
    return {
        "learning_coefficient": at["exact_learning_coefficient"].item(),
        "multiplicity": multiplicity,
        "slope_early": float(first.value),
        "slope": float(last.value),
        "slope_se": float(last.standard_error),
        "power_learning_coefficient": at["exact_power_learning_coefficient"].item(),
        "power_slope": float(np.polyfit(np.log(n[late]), powers, 1)[0]),
        "local": local.to_numpy().tolist(),
        "local_se": error.to_numpy().tolist(),
        "exact_local": exact.to_numpy().tolist(),
        "local_deviation": float(np.max(np.abs(in_standard_errors(local - exact, error)))),
        "large_n_local": at["large_n_local_learning_coefficient"]
        .isel(large_n=-1)
        .to_numpy()
        .tolist(),
    }


def _is_least(coefficients: xr.DataArray, functions: list[str]) -> bool:
    """Return whether the coefficient of x⁴ lies below those of all other functions."""
    others = [float(coefficients.sel(truth=f)) for f in functions if f != HIGHEST]
    return float(coefficients.sel(truth=HIGHEST)) < min(others)


def _design_gap(dataset: xr.Dataset) -> float:
    """Compare simulated and fixed-design means at shared n, in standard errors; the largest."""
    shared = np.intersect1d(dataset["n"], dataset["large_n"])
    name = "normalised_free_energy"
    simulated, fixed = (
        mean_over_data_sets(dataset[variable].sel({axis: shared}).to_numpy())
        for variable, axis in ((name, "n"), (f"fixed_design_{name}", "large_n"))
    )
    error = np.hypot(simulated.standard_error, fixed.standard_error)
    apart = np.abs(in_standard_errors(simulated.value - fixed.value, error))
    return float(np.max(apart, initial=0.0))


def judge_truths(numbers: Mapping[str, Any]) -> Finding:
    """E1 holds where x⁴ has both the least F_n and, by theorem, the least λ."""
    rows, functions = numbers["truths"], numbers["functions"]
    outcome = _outcome([numbers["conclusion_holds"]], numbers["reason_holds"], "the multiplicity m")
    coefficients = ", ".join(sorted({rows[f]["learning_coefficient"] for f in functions}))
    gap = plus_minus(numbers["gap_to_next"], numbers["gap_to_next_se"], 2)
    powers = ", ".join(f"{rows[f]['power_learning_coefficient']} ({shown(f)})" for f in functions)
    does = "does" if numbers["reason_holds_for_powers"] else "does not"
    why = (
        f"At n = {numbers['largest_n']:.0e} the free energy of x⁴ lies {gap} nats below that of "
        f"the next function, {shown(numbers['next_function'])}. λ is {coefficients} for the five "
        f"functions, and m runs from {rows[LOWEST]['multiplicity']} (1) to "
        f"{rows[HIGHEST]['multiplicity']} (x⁴). Where the coefficients are powers of one "
        f"parameter, x⁴ {does} have the lowest λ: {powers}."
    )
    return Finding("E1", TRUTHS, outcome, why)


def numbers_of_one_datum(dataset: xr.Dataset) -> dict[str, Any]:
    """Compare masses by function, with what the prior's densities predict, and with samples."""
    functions = dataset["function"].to_numpy().tolist()
    rows = {
        f"noise {noise:g}, radius {radius:g}": _masses(
            dataset.sel(datum_noise=noise, radius=radius), functions
        )
        for noise in dataset["datum_noise"].to_numpy()
        for radius in dataset["radius"].to_numpy()
    }
    coefficients = dataset["datum_learning_coefficient"]
    others = [float(coefficients.sel(function=f)) for f in functions if f != HIGHEST]
    unconverged = [
        f"{route} at noise {noise:g}: "
        f"{dataset['posterior_mass_reason'].sel(route=route, datum_noise=noise).item()}"
        for noise in dataset["datum_noise"].to_numpy()
        for route in dataset["route"].to_numpy()
        if not bool(dataset["posterior_mass_converged"].sel(route=route, datum_noise=noise))
    ]
    conclusions = [row["conclusion_holds"] for row in rows.values()]
    largest_unexplained = {
        f"{radius:g}": max(
            row["largest_unexplained"] for row in rows.values() if row["radius"] == radius
        )
        for radius in dataset["radius"].to_numpy()
    }
    return {
        "conclusion_holds": all(conclusions),
        "pairs": len(conclusions),
        "pairs_that_agree": sum(conclusions),
        "reason_holds": float(coefficients.sel(function=HIGHEST)) < min(others),
        "learning_coefficient": dataset["exact_datum_learning_coefficient"]
        .sel(function=HIGHEST)
        .item(),
        "functions": functions,
        "largest_unexplained": largest_unexplained,
        "disjoint_below_radius": float(dataset["least_distance"]) / 2,
        "sampled_deviation": max(row["sampled_deviation"] for row in rows.values()),
        "not_converged": unconverged,
        "masses": rows,
    }


def _masses(at: xr.Dataset, functions: list[str]) -> dict[str, Any]:
    """Collect the numbers of one noise and radius; x⁴ is the last of the functions."""
    mass, error = (
        at[name].sel(route=EXACT).to_numpy() for name in ("posterior_mass", "posterior_mass_error")
    )
    predicted = at["mass_from_densities"].to_numpy()
    at_one, near_zero = at["density_at_one"].to_numpy(), at["density_near_zero"].to_numpy()
    measured, explained = (np.log(v[-1] / v[:-1]) for v in (mass, predicted))
    sampled, its_error = (
        at[name].drop_sel(route=EXACT).transpose("route", "function").to_numpy()
        for name in ("posterior_mass", "posterior_mass_error")
    )
    away, allowed = np.abs(sampled - mass), np.maximum(np.hypot(its_error, error), 1e-300)
    return {
        "radius": float(at["radius"]),
        "noise": float(at["datum_noise"]),
        "conclusion_holds": bool(mass[-1] - error[-1] > np.max(mass[:-1] + error[:-1])),
        "mass": dict(zip(functions, mass.tolist(), strict=True)),
        "error_bound": dict(zip(functions, error.tolist(), strict=True)),
        "log_ratio_to_1": float(measured[0]),
        "from_density_at_one": float(np.log(at_one[-1] / at_one[0])),
        "from_density_near_zero": float(np.log(near_zero[0] / near_zero[-1])),
        "largest_unexplained": float(np.max(np.abs(measured - explained))),
        "sampled_deviation": float(np.max(np.where(away > 0, away / allowed, 0))),
    }


def judge_one_datum(numbers: Mapping[str, Any]) -> Finding:
    """E2 holds where x⁴ has both the greatest mass and the least λ of all solutions."""
    conclusions = [row["conclusion_holds"] for row in numbers["masses"].values()]
    outcome = _outcome(conclusions, numbers["reason_holds"], "the prior's density")
    left_over = ", ".join(
        f"{value:.2f} nats (r = {radius})"
        for radius, value in numbers["largest_unexplained"].items()
    )
    why = (
        f"The posterior mass near x⁴ is the greatest of the five in {sum(conclusions)} of "
        f"{len(conclusions)} pairs of noise and radius. λ is {numbers['learning_coefficient']} at "
        "every solution. The prior's densities of a coefficient at 1 and near 0 give the log ratio "
        f"of any two masses up to {left_over}."
    )
    return Finding("E2", ONE_DATUM, outcome, why)


def numbers_of_scaling(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the posterior mean's error out of sample at the largest degree, by noise."""
    last = dataset.isel(degree=-1)
    outcomes: dict[str, Any] = {}
    for noise in dataset["noise"].to_numpy():
        row: dict[str, Any] = {}
        for pattern in dataset["pattern"].to_numpy():
            at = last.sel(noise=noise, pattern=pattern)
            estimate = mean_over_data_sets(at["prediction_error"].to_numpy())
            row[str(pattern)] = float(estimate.value)
            row[f"{pattern}_se"] = float(estimate.standard_error)
            row[f"{pattern}_not_converged"] = int((~at["scaled_converged"].astype(bool)).sum())
        outcomes[f"{noise:g}"] = row
    numbers = {
        "degree": int(dataset["degree"][-1]),
        "points": int(last["points"].max()),
        "outcomes": outcomes,
        "noise_threshold": float(dataset["threshold_noise"]),
        "nats_per_factor": float(dataset["nats_per_factor"]),
    }
    if "exact_mean" in dataset and bool(dataset["exact_mean"].notnull().any()):
        gap = dataset["sampled_mean"] - dataset["exact_mean"]
        deviations = np.abs(in_standard_errors(gap, dataset["sampled_mean_se"]))
        numbers["one_datum_deviation"] = float(np.nanmax(deviations))
    return numbers


def judge_scaling(numbers: Mapping[str, Any]) -> Finding:
    """E3 holds where the posterior mean does not learn the low-degree truth x at any noise."""
    essay = [row["essay"] for row in numbers["outcomes"].values()]
    useless = [error > MIN_ERROR_OF_USELESS_MEAN for error in essay]
    if all(useless):
        outcome = "holds"
    elif any(useless):
        outcome = "holds only if the noise is large"
    else:
        useful = all(error < MAX_ERROR_OF_USEFUL_MEAN for error in essay)
        outcome = "fails" if useful else "is undecided"
    errors = ", ".join(
        f"{row['essay']:.3g} ± {row['essay_se']:.2g} (σ = {noise})"
        for noise, row in numbers["outcomes"].items()
    )
    why = (
        f"With the low-degree truth x the posterior mean at degree {numbers['degree']}, n = "
        f"{numbers['points']}, has the relative squared error {errors}, 1 being that of 0. A "
        f"coefficient of size 1 costs {numbers['nats_per_factor']:.3f} nats per factor and x gains "
        f"n/6σ². To leading order, then, x is learnt at every large degree if σ < "
        f"{numbers['noise_threshold']:.3f} and never above, which is an estimate beyond the "
        "largest degree sampled."
    )
    return Finding("E3", SCALED_UP, outcome, why)


def notes(numbers: Mapping[str, Any]) -> tuple[str, ...]:
    """Say how the samplers and the exact routes agree, and what did not converge."""
    truths, datum, scaled = (numbers[part] for part in ("truths", "one_datum", "scaled_up"))
    lost = sum(
        count
        for row in scaled["outcomes"].values()
        for name, count in row.items()
        if name.endswith("_not_converged")
    )
    mean = ""
    if "one_datum_deviation" in scaled:
        deviation = scaled["one_datum_deviation"]
        mean = f" and the mean given one datum within {deviation:.1f}"
    return (
        f"Local λ̂ by SGLD {'agrees' if truths['local_agrees'] else 'DISAGREES'} with its exact "
        f"value, within {truths['local_deviation']:.1f} standard errors, at acceptances of "
        f"{truths['least_acceptance']:.3f} or more; the oracle and one-dimensional integrals "
        f"{'agree' if truths['routes_agree'] else 'DISAGREE'} within their bounds.",
        f"Masses by NUTS and SMC are within {datum['sampled_deviation']:.1f} standard errors of "
        f"the exact ones{mean}; not converged: {'; '.join(datum['not_converged']) or 'none'}. "
        f"Gibbs chains of {lost} data sets at the largest degree did not converge.",
    )


def table_of_truths(numbers: Mapping[str, Any]) -> str:
    """Write slopes of products and of powers, and local λ̂ by SGLD, of the largest γ."""
    start, gamma = numbers["late_from_n"], numbers["gammas"][-1]
    head = (
        "truth", "λ", "m", f"slope to n = {start:.0e}", "slope from there", "λ of powers",
        "slope of powers", f"local λ̂, γ = {gamma:g}", "exact",
    )  # fmt: skip
    rows = [
        [
            shown(truth), row["learning_coefficient"], str(row["multiplicity"]),
            f"{row['slope_early']:.3f}", plus_minus(row["slope"], row["slope_se"]),
            row["power_learning_coefficient"], f"{row['power_slope']:.3f}",
            plus_minus(row["local"][-1], row["local_se"][-1]), f"{row['exact_local'][-1]:.3f}",
        ]
        for truth, row in numbers["truths"].items()
    ]  # fmt: skip
    gain = plus_minus(numbers["gain"], numbers["gain_se"])
    expected = numbers["gain_of_orders"]
    grown = (
        f"F_n of 1 minus that of x⁴ grows by {gain} nats from n = {start:.0e} to "
        f"{numbers['largest_n']:.0e}; the multiplicities alone give {expected:.3f}."
    )
    title = "Exact free energy by truth, slopes dF_n/d log n at the known m, ± 1 standard error"
    return f"{title}\n{aligned(head, rows)}\n{grown}"


def table_of_one_datum(numbers: Mapping[str, Any]) -> str:
    """Write masses by function, and log(mass of x⁴ / mass of 1) with what densities give of it."""
    functions = numbers["functions"]
    head = (
        "noise", "radius", *(f"mass of {shown(f)}" for f in functions), "log x⁴/1",
        "density at 1", "density near 0", "unexplained",
    )  # fmt: skip
    names = (
        "log_ratio_to_1", "from_density_at_one", "from_density_near_zero", "largest_unexplained",
    )  # fmt: skip
    rows = [
        [
            *(f"{row[name]:g}" for name in ("noise", "radius")),
            *(f"{row['mass'][f]:.3g}" for f in functions),
            *(f"{row[name]:.2f}" for name in names),
        ]
        for row in numbers["masses"].values()
    ]
    apart = f"Below the radius {numbers['disjoint_below_radius']:.3f} no two regions overlap."
    title = "Exact posterior mass within the radius of each function, given the datum (1, 1)"
    return f"{title}\n{aligned(head, rows)}\n{apart}"


def table_of_scaling(numbers: Mapping[str, Any]) -> str:
    """Write errors at the largest degree, with more factors at low or at high degrees."""
    head = ("noise", "as in the essay", "not converged", "ascending factors", "not converged")
    rows = [
        [
            noise,
            *(
                cell
                for pattern in ("essay", "ascending")
                for cell in (
                    f"{row[pattern]:.3g} ± {row[f'{pattern}_se']:.2g}",
                    str(row[f"{pattern}_not_converged"]),
                )
            ),
        ]
        for noise, row in numbers["outcomes"].items()
    ]
    title = (
        f"∫(E[f] − x)²/∫x² of the posterior mean, degree {numbers['degree']}, ± 1 standard error"
    )
    return f"{title}\n{aligned(head, rows)}"


def shown(function: str) -> str:
    """Write a function with superscripts."""
    return function.translate(SUPERSCRIPTS)


def _outcome(conclusions: list[bool], reason: bool, instead: str) -> str:
    """Name the outcome of a conclusion, in several cases, and of its reason, λ."""
    if not any(conclusions):
        return "fails"
    conditions = []
    if not all(conclusions):
        conditions.append(f"noise and radius suit ({sum(conclusions)} of {len(conclusions)} pairs)")
    if not reason:
        conditions.append(f"{instead} takes the place of λ")
    return f"holds only if {' and '.join(conditions)}" if conditions else "holds"
