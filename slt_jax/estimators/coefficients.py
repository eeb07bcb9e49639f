"""Estimators of the learning coefficient λ, each with the standard error of its route."""

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slt_jax.estimators.estimate import (
    Basis,
    Estimate,
    Loss,
    Reference,
    mean_over_data_sets,
    mean_over_seeds,
)
from slt_jax.validation import AtLeast, Count, Number, Positive, check, checked, real_array


class Growth(NamedTuple):
    """The estimates λ̂ and m̂, the multiplicity as a real number."""

    learning_coefficient: Estimate
    multiplicity: Estimate


def slope_coefficient(
    normalised_free_energy: ArrayLike, n: ArrayLike, multiplicity: int = 1
) -> Estimate:
    """Estimate λ as the slope of F_n − nL_n(w₀) + (m−1) log log n on log n.

    ``normalised_free_energy`` [R, N] for R nested data sets at ``n`` [N], total nats. Each data
    set gives a least-squares slope; the error is the spread of the slopes, so the correlation
    along n of nested data does not matter. Raises ValueError for fewer than two n or n ≤ 1.

    >>> sizes = np.array([100.0, 1000.0])
    >>> estimate = slope_coefficient([0.75 * np.log(sizes), 1 + 0.75 * np.log(sizes)], sizes)
    >>> round(float(estimate.value), 6)
    0.75
    """
    n = _checked(n)
    if n.size < 2:
        raise ValueError(f"{n.size} sample size: a slope needs at least 2")
    check("multiplicity", multiplicity, Count)
    values = _along_n(normalised_free_energy, n)
    response = values + (multiplicity - 1) * np.log(np.log(n))
    centred = np.log(n) - np.log(n).mean()
    slopes = mean_over_data_sets(response @ centred / np.sum(centred**2))
    return slopes._replace(basis=Basis(n=tuple(n.tolist()), beta=1.0, reference="w0"))


def growth(normalised_free_energy: ArrayLike, n: ArrayLike) -> Growth:
    """Estimate λ and m by least squares of F_n − nL_n(w₀) on log n, −log log n and a constant.

    ``normalised_free_energy`` [R, N] for R nested data sets at ``n`` [N], total nats; errors as in
    ``slope_coefficient``. The regressors are nearly collinear: over a few decades of n the errors
    of both are large, and the terms that vanish slowly are taken for log log n. Raises
    ValueError for fewer than three different n or n ≤ 1.

    >>> logs = np.log([100.0, 1000.0, 10000.0])
    >>> fit = growth([logs / 2 - np.log(logs)] * 2, [100, 1000, 10000])
    >>> round(float(fit.learning_coefficient.value), 6), round(float(fit.multiplicity.value), 6)
    (0.5, 2.0)
    """
    n = _checked(n)
    design = np.column_stack([np.log(n), -np.log(np.log(n)), np.ones(n.size)])
    if np.unique(n).size < 3:
        raise ValueError(f"{np.unique(n).size} different n: two regressors need at least 3")
    fits = np.linalg.lstsq(design, _along_n(normalised_free_energy, n).T)[0]
    basis = Basis(n=tuple(n.tolist()), beta=1.0, reference="w0")
    slope, exponent = (mean_over_data_sets(fit)._replace(basis=basis) for fit in fits[:2])
    return Growth(slope, exponent._replace(value=exponent.value + 1))


def wbic_coefficient(
    excess_energy: ArrayLike, n: ArrayLike, reference: Reference = "w0", loss: Loss = "full"
) -> Estimate:
    """Estimate λ by λ̂ = (WBIC − nL_n(w₀))/log n at β = 1/log n.

    ``excess_energy`` [..., S] is E^β[nL_n] − nL_n by seed, total nats, with nL_n at the
    ``reference`` point; biased at finite n (Watanabe, JMLR 14, 2013, Theorem 4): in a regular
    model E[λ̂] is (d/2)(1 − 1/log n) at w₀ and d/2 at the maximum-likelihood estimate. Raises
    ValueError for n ≤ 1.

    >>> estimate = wbic_coefficient([2.0, 2.2, 2.4], n=100)
    >>> round(float(estimate.value), 3), round(float(estimate.standard_error), 3)
    (0.478, 0.025)
    """
    n = _checked(n)
    check("reference", reference, Reference)
    check("loss", loss, Loss)
    mean = mean_over_seeds(excess_energy)
    if n.ndim and n.shape != mean.value.shape:
        raise ValueError(f"n has shape {n.shape}; allowed is one n or {mean.value.shape}")
    mean = mean._replace(basis=Basis(_plain(n), _plain(1 / np.log(n)), reference, loss))
    return mean.scaled(1 / np.log(n))


def two_temperature_coefficient(
    first_energy: ArrayLike, second_energy: ArrayLike, first_beta: float, second_beta: float
) -> Estimate:
    """Estimate λ by λ̂ = (E_{β₁}[nL_n] − E_{β₂}[nL_n])/(1/β₁ − 1/β₂), without a reference point.

    Energies [..., S] by seed, total nats. Raises ValueError for equal or non-positive β.

    >>> float(two_temperature_coefficient([4.0, 6.0], [2.0, 2.0], 0.25, 0.5).value)
    1.5
    """
    first_beta = checked("first_beta", first_beta, Positive)
    second_beta = checked("second_beta", second_beta, Positive)
    if first_beta == second_beta:
        raise ValueError(f"second_beta = {second_beta}: must differ from first_beta")
    difference = difference_of("first_energy", first_energy, "second_energy", second_energy)
    mean = mean_over_seeds(difference / (1 / first_beta - 1 / second_beta))
    return mean._replace(basis=Basis(beta=(float(first_beta), float(second_beta))))


def energy_variance_coefficient(energy_variance: ArrayLike, beta: float) -> Estimate:
    """Estimate λ by λ̂ = β² Var_β[nL_n], the heat capacity, without a reference point.

    ``energy_variance`` [..., S] is the mean square by seed about the mean of all seeds, nats².
    A variance of skewed energies is itself skewed: its intervals cover less than they claim
    (``docs/calibration.md`` says how much), those of the two-temperature estimator do not.
    Raises ValueError for β ≤ 0.

    >>> float(energy_variance_coefficient([7.0, 9.0], beta=0.5).value)
    2.0
    """
    beta = checked("beta", beta, Positive)
    mean = mean_over_seeds(beta**2 * real_array("energy_variance", energy_variance))
    return mean._replace(basis=Basis(beta=float(beta)))


def generalisation_coefficient(
    bayes_generalisation_error: ArrayLike | Estimate,
    n: float,
    beta: float = 1.0,
    singular_fluctuation: float = 0.0,
) -> Estimate:
    """Estimate λ by λ̂ = βnB_g + ν(1 − β), which at β = 1 is nB_g, without ν.

    It rests on nE[B_g] → λ/β + ν(1 − 1/β). ``bayes_generalisation_error`` [R] = G_n − L(w₀) of R
    data sets of size n, per datum; ν is that of the same β. Raises ValueError for n < 1, β ≤ 0 or
    fewer than 2 data sets.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009).

    >>> float(generalisation_coefficient([0.004, 0.006], n=100).value)
    0.5
    """
    n, beta = check_size(n, beta)
    singular_fluctuation = checked("singular_fluctuation", singular_fluctuation, Number)
    mean = mean_over_data_sets(bayes_generalisation_error).scaled(beta * n)
    return mean._replace(
        value=mean.value + singular_fluctuation * (1 - beta),
        basis=Basis(float(n), float(beta), "w0"),
    )


def check_size(n: float, beta: float) -> tuple[float, float]:
    """Return n and β as numbers. Raises ValueError for n < 1 or β ≤ 0, and for infinite ones."""
    return checked("n", n, Annotated[float, AtLeast(1)]), checked("beta", beta, Positive)


def difference_of(
    first_name: str, first: ArrayLike, second_name: str, second: ArrayLike
) -> NDArray[np.float64]:
    """Subtract values in pairs. Raises ValueError for shapes that differ, as nothing is spread."""
    one, other = real_array(first_name, first), real_array(second_name, second)
    if one.shape != other.shape:
        raise ValueError(
            f"{first_name} has shape {one.shape} and {second_name} {other.shape}; must be pairs"
        )
    return one - other


def _plain(values: NDArray[np.float64]) -> float | tuple[float, ...]:
    return float(values) if values.ndim == 0 else tuple(values.ravel().tolist())


def _checked(n: ArrayLike) -> NDArray[np.float64]:
    sizes = real_array("n", n)
    if np.any(~(np.isfinite(sizes) & (sizes > 1))):
        raise ValueError(f"n = {np.min(sizes)}: log n is used, so n must be > 1 and finite")
    return sizes


def _along_n(values: ArrayLike, n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values [R, N] of R data sets. Raises ValueError for another shape."""
    array = real_array("normalised_free_energy", values)
    if n.ndim != 1 or array.ndim != 2 or array.shape[1] != n.size:
        raise ValueError(
            f"normalised_free_energy has shape {array.shape} and n {n.shape}; allowed is "
            "[data set, n] and [n]"
        )
    return array
