"""Curves of several problems in one dataset, and how sampled, exact and asymptotic ones compare."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.config import SAMPLER_NAMES
from slt_jax.estimators import (
    Estimate,
    calibrate,
    slope_coefficient,
)
from slt_jax.problem import Problem

SLOPE_FROM = 100


def along_problems(problems: Sequence[Problem], curves: Sequence[xr.Dataset]) -> xr.Dataset:
    """One dataset of the curves of several problems, with what is known of each.

    ``title`` [problem]; ``learning_coefficient`` and ``multiplicity`` of the theorem, NaN and 0
    without one, with the coefficient as a fraction in ``exact_learning_coefficient``; and
    ``asymptote`` [problem, n] = λ log n − (m−1) log log n in nats where the curves have n > 1.
    """
    names = [problem.name for problem in problems]
    dataset = xr.concat(
        list(curves), dim=xr.Variable("problem", names), join="outer", combine_attrs="override"
    )
    theories = [problem.theory for problem in problems]
    dataset["title"] = ("problem", [problem.title or problem.name for problem in problems])
    dataset["learning_coefficient"] = (
        "problem", [np.nan if t is None else float(t.learning_coefficient) for t in theories],
    )  # fmt: skip
    dataset["exact_learning_coefficient"] = (
        "problem", ["" if t is None else str(t.learning_coefficient) for t in theories],
    )  # fmt: skip
    dataset["multiplicity"] = ("problem", [0 if t is None else t.multiplicity for t in theories])
    n = dataset["n"].to_numpy().astype(float)
    asymptotes = [
        np.full(n.shape, np.nan) if t is None else t.free_energy_asymptote(n) for t in theories
    ]
    dataset["asymptote"] = (("problem", "n"), np.stack(asymptotes))
    return dataset


def curves_of(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """The curve of each problem, without the variables that it does not have."""
    curves = {}
    for name in dataset["problem"].to_numpy().tolist():
        curve = dataset.sel(problem=name)
        absent = [
            key
            for key, variable in curve.data_vars.items()
            if variable.dtype.kind == "f" and not variable.notnull().any()
        ]
        curves[name] = curve.drop_vars(absent)
    return curves


def sampler_of(curve: xr.Dataset) -> str:
    """The name of a curve's sampler, as a legend has it."""
    return SAMPLER_NAMES[curve.attrs["sampler"]]


def estimate_in(curve: xr.Dataset, name: str) -> Estimate:
    """The estimate ``name`` with its error ``name_se``, shape [n, replicate]."""
    return Estimate(
        curve[name].to_numpy(),
        curve[f"{name}_se"].to_numpy(),
        float(curve.attrs["degrees_of_freedom"]),
    )


def sampled_sizes(curve: xr.Dataset) -> list[int]:
    """The n at which a curve, or every one of several, was sampled."""
    was_sampled = curve["reason"] != "not sampled"
    sampled = was_sampled.all([axis for axis in was_sampled.dims if axis != "n"])
    return [int(n) for n in curve["n"].to_numpy()[sampled.to_numpy()]]


def convergence_of(curve: xr.Dataset) -> dict[str, int]:
    """The number of sampled ``jobs`` of a curve, and of those that have ``not_converged``."""
    converged = curve["converged"].sel(n=sampled_sizes(curve)).to_numpy().astype(bool)
    return {"jobs": converged.size, "not_converged": int(converged.size - converged.sum())}


def calibration_of(curve: xr.Dataset, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Coverage of each estimate ``x`` that has an ``exact_x``, over converged jobs.

    Empty where no job can be compared or the seeds are too few for a t-distribution's variance.
    """
    calibrations = {}
    for name in names:
        exact = curve.get(f"exact_{name.removesuffix('_ti')}")
        if exact is None or name not in curve or curve.attrs["degrees_of_freedom"] < 3:
            continue
        usable = curve["converged"].to_numpy().astype(bool)
        sampled = estimate_in(curve, name)
        chosen = sampled._replace(
            value=sampled.value[usable], standard_error=sampled.standard_error[usable]
        )
        if usable.any():
            bound = curve[f"{exact.name}_error"].to_numpy()[usable]
            calibrations[name] = calibrate(chosen, exact.to_numpy()[usable], bound)._asdict()
    return calibrations


def coverage_note(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The sentence of a verdict on its sampled values and on the jobs that did not converge.

    A row of each problem has ``calibration`` as of ``calibration_of``, ``jobs`` and
    ``not_converged``.
    """
    compared = [c for row in rows.values() for c in row["calibration"].values()]
    count = sum(c["comparisons"] for c in compared)
    jobs, lost = (sum(row[key] for row in rows.values()) for key in ("jobs", "not_converged"))
    unconverged = f"{lost} of {jobs} jobs did not converge."
    if not count:
        return unconverged
    covered = sum(c["comparisons"] * c["coverage_95"] for c in compared) / count
    return (
        f"Sampled values: 95 % Monte-Carlo intervals cover the exact ones in {covered:.1%} of "
        f"{count} comparisons; {unconverged}"
    )


def best_free_energy(curve: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """n [N] and F_n − nL_n(w₀) [N, replicate]: exact where there is an oracle, else sampled."""
    exact = "exact_normalised_free_energy"
    name = exact if exact in curve else "normalised_free_energy"
    complete = np.isfinite(curve[name].to_numpy()).all(axis=1)
    return curve["n"].to_numpy()[complete], curve[name].to_numpy()[complete]


def against_asymptote(curve: xr.Dataset) -> dict[str, Any]:
    """The slope of the free energy from n = 100 on, and the exact increments per decade.

    ``increments`` lists ``increment_gap`` of the curve, where it has one, in nats.
    """
    n, values = best_free_energy(curve)
    large = n >= SLOPE_FROM
    result: dict[str, Any] = {}
    if large.sum() >= 2:
        slope = slope_coefficient(values[large].T, n[large], int(curve["multiplicity"]))
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
