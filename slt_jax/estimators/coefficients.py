"""Estimators of the learning coefficient λ, each with the standard error of its route."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slt_jax.estimators.estimate import Estimate, mean_over_data_sets, mean_over_seeds


def slope_coefficient(
    normalised_free_energy: ArrayLike, n: ArrayLike, multiplicity: int = 1
) -> Estimate:
    """λ̂ as the slope of F_n − nL_n(w₀) + (m−1) log log n on log n.

    ``normalised_free_energy`` [R, N] for R nested data sets at ``n`` [N], total nats. Each data
    set gives a least-squares slope; the error is the spread of the slopes, so the correlation
    along n of nested data does not matter. Raises ValueError for fewer than two n or n ≤ 1.
    """
    n = _checked(n)
    if n.size < 2:
        raise ValueError(f"{n.size} sample size: a slope needs at least 2")
    response = np.asarray(normalised_free_energy, float) + (multiplicity - 1) * np.log(np.log(n))
    centred = np.log(n) - np.log(n).mean()
    return mean_over_data_sets(response @ centred / np.sum(centred**2))


def wbic_coefficient(excess_energy: ArrayLike, n: ArrayLike) -> Estimate:
    """λ̂ = (WBIC − nL_n(w₀))/log n at β = 1/log n; w₀ is the reference point.

    ``excess_energy`` [..., S] is E^β[nL_n] − nL_n(w₀) by seed, total nats; biased at finite n
    (Watanabe, JMLR 14, 2013, Theorem 4). Raises ValueError for n ≤ 1.
    """
    return mean_over_seeds(excess_energy).scaled(1 / np.log(_checked(n)))


def two_temperature_coefficient(
    first_energy: ArrayLike, second_energy: ArrayLike, first_beta: float, second_beta: float
) -> Estimate:
    """λ̂ = (E_{β₁}[nL_n] − E_{β₂}[nL_n])/(1/β₁ − 1/β₂); needs no reference point.

    Energies [..., S] by seed, total nats. Raises ValueError for equal or non-positive β.
    """
    if not (first_beta > 0 and second_beta > 0 and first_beta != second_beta):
        raise ValueError(f"betas {first_beta} and {second_beta}: must be positive and differ")
    difference = np.asarray(first_energy, float) - np.asarray(second_energy, float)
    return mean_over_seeds(difference / (1 / first_beta - 1 / second_beta))


def energy_variance_coefficient(energy_variance: ArrayLike, beta: float) -> Estimate:
    """λ̂ = β² Var_β[nL_n], the heat capacity; needs no reference point.

    ``energy_variance`` [..., S] is the mean square by seed about the mean of all seeds, nats².
    A variance of skewed energies is itself skewed: its intervals cover less than they claim
    (``docs/calibration.md`` says how much), those of the two-temperature estimator do not.
    Raises ValueError for β ≤ 0.
    """
    if not beta > 0:
        raise ValueError(f"beta = {beta}: must be positive")
    return mean_over_seeds(beta**2 * np.asarray(energy_variance, float))


def _checked(n: ArrayLike) -> NDArray[np.float64]:
    n = np.asarray(n, float)
    if np.any(~(n > 1)):
        raise ValueError(f"n = {np.min(n)}: log n is used, so n must be > 1")
    return n
