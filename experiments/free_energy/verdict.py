"""The verdict on the evidence as a density (N1) and on the free energy and WBIC (N2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import (
    against_asymptote,
    calibration_of,
    convergence_of,
    curves_of,
    estimate_in,
    sampled_sizes,
)
from slt_jax.curves.free_energy import EVIDENCE_SIZE
from slt_jax.estimators import in_standard_errors, mean_over_data_sets, monte_carlo_mean
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

DENSITY = "the evidence is a density over data sets: ∫Z_n dy = 1"
RANKING = "F_n is what Bayesian model selection ranks by; WBIC estimates it"
MAX_STANDARD_ERRORS = 4.0
MAX_STANDARD_ERRORS_OF_COVERAGE = 3.0
SAMPLED = ("normalised_free_energy", "normalised_free_energy_ti", "normalised_wbic")
SAMPLERS = ("smc_batch", "run_batch")


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge N1 by the integral of the exact evidence and N2 by the sampled F_n and WBIC."""
    curves = curves_of(dataset)
    rows = {name: numbers_of(curve) for name, curve in curves.items()}
    jobs, lost = (sum(row[key] for row in rows.values()) for key in ("jobs", "not_converged"))
    compiled = sum(int(dataset.attrs["compilations"].get(name, 0)) for name in SAMPLERS)
    notes = (
        f"Sampler compilations: {compiled} for {len(rows)} problems and "
        f"{len(sampled_sizes(dataset))} sample sizes; {lost} of {jobs} jobs did not converge.",
    )
    numbers = {"problems": rows, "sampler_compilations": compiled}
    return Verdict((judge_density(rows), judge_ranking(rows)), table(curves), numbers, notes)


def numbers_of(curve: xr.Dataset) -> dict[str, Any]:
    """The numbers of one problem's curve that its verdict rests on."""
    last = sampled_sizes(curve)[-1]
    at = curve.sel(n=last)
    gap = mean_over_data_sets((at["normalised_wbic"] - at["normalised_free_energy"]).to_numpy())
    row: dict[str, Any] = {
        **convergence_of(curve),
        "calibration": calibration_of(curve, SAMPLED),
        "largest_sampled_n": last,
        "wbic_minus_free_energy": float(gap.value),
        "wbic_minus_free_energy_se": float(gap.standard_error),
    }
    if curve["exact_learning_coefficient"].item():
        row["learning_coefficient"] = curve["exact_learning_coefficient"].item()
        row["multiplicity"] = int(curve["multiplicity"])
        row |= against_asymptote(curve)
    for name in ("evidence_integral", "evidence_integral_se"):
        if name in curve:
            row[name] = float(curve[name])
    return row


def judge_density(rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    """N1 holds where the exact evidence integrates to 1 within its Monte-Carlo error."""
    integrals = [
        abs(float(in_standard_errors(row["evidence_integral"] - 1, row["evidence_integral_se"])))
        for row in rows.values()
        if "evidence_integral" in row
    ]
    if not integrals:
        return Finding("N1", DENSITY, "is undecided", "No problem of this run has an oracle.")
    outcome = "holds" if max(integrals) < MAX_STANDARD_ERRORS else "fails"
    why = (
        f"The exact evidence at n = {EVIDENCE_SIZE} integrates to 1 over data sets within "
        f"{max(integrals):.1f} standard errors for {len(integrals)} problems."
    )
    return Finding("N1", DENSITY, outcome, why)


def judge_ranking(rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    """N2 holds for the sampled F_n where its intervals cover; WBIC's distance is reported."""
    gaps = [abs(row["wbic_minus_free_energy"]) for row in rows.values()]
    last = max(row["largest_sampled_n"] for row in rows.values())
    wbic = (
        f"WBIC is F_n to leading order only: at n = {last} it is off by {min(gaps):.2f} to "
        f"{max(gaps):.2f} nats on average."
    )
    growth = _growth([row["increments"] for row in rows.values() if row.get("increments")])
    compared = [
        row["calibration"][SAMPLED[0]] for row in rows.values() if SAMPLED[0] in row["calibration"]
    ]
    count = sum(c["comparisons"] for c in compared)
    if not count:
        why = f"No sampled F_n can be held to an exact one in this run. {wbic}{growth}"
        return Finding("N2", RANKING, "is undecided", why)
    share = sum(c["comparisons"] * c["coverage_95"] for c in compared) / count
    off = abs(share - 0.95) / np.sqrt(0.95 * 0.05 / count)
    outcome = (
        "holds only if WBIC is read as the leading order of F_n"
        if off < MAX_STANDARD_ERRORS_OF_COVERAGE
        else "fails"
    )
    why = (
        f"95 % intervals of the sampled F_n cover the exact value in {share:.1%} of {count} jobs, "
        f"largest deviation {max(c['largest'] for c in compared):.1f} s.e. {wbic}{growth}"
    )
    return Finding("N2", RANKING, outcome, why)


def _growth(increments: list[list[dict[str, float]]]) -> str:
    """The sentence on the growth of the exact F_n per decade against the theory's."""
    if not increments:
        return ""
    first, last = ([rows[end] for rows in increments] for end in (0, -1))
    nearer = sum(abs(b["gap"]) < abs(a["gap"]) for a, b in zip(first, last, strict=True))
    return (
        f" The growth of the exact F_n per decade nears λ log n − (m−1) log log n for {nearer} of "
        f"{len(increments)} problems: it is off by up to {max(abs(a['gap']) for a in first):.2f} "
        f"nats from n = {first[0]['from_n']} and {max(abs(b['gap']) for b in last):.3f} from "
        f"n = {last[0]['from_n']}."
    )


def table(curves: Mapping[str, xr.Dataset]) -> str:
    """Means over data sets, relative to nL_n(w₀), in nats; ± is one Monte-Carlo standard error.

    For λ̂ it is the standard error between data sets. ``!`` counts jobs that did not converge.
    """
    head = ("problem", "n", "exact F_n", "sampled F_n", "WBIC", "λ̂ (WBIC)", "λ", "m", "")
    rows = [_row(name, curve, n) for name, curve in curves.items() for n in curve["n"].to_numpy()]
    return aligned(head, rows)


def _row(name: str, curve: xr.Dataset, n: int) -> list[str]:
    at = curve.sel(n=n)
    exact = at.get("exact_normalised_free_energy")
    cells = [name, str(n), "–" if exact is None else f"{float(exact.mean()):.3f}"]
    bad = ""
    if np.isfinite(at["normalised_free_energy"].to_numpy()).any():
        for quantity in ("normalised_free_energy", "normalised_wbic"):
            mean = monte_carlo_mean(estimate_in(at, quantity))
            cells.append(plus_minus(float(mean.value), float(mean.standard_error)))
        coefficient = mean_over_data_sets(at["lambda_wbic"].to_numpy())
        cells.append(plus_minus(float(coefficient.value), float(coefficient.standard_error)))
        lost = int((~at["converged"].to_numpy().astype(bool)).sum())
        bad = f"! {lost} of {at.sizes['replicate']}" if lost else ""
    else:
        cells += ["", "", ""]
    known = str(at["exact_learning_coefficient"].item())
    return [*cells, known, str(int(at["multiplicity"])) if known else "", bad]
