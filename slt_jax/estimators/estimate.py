"""A number with its standard error, and what the error is made of."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


class Estimate(NamedTuple):
    """Value and standard error, float64 arrays of one shape.

    ``degrees_of_freedom`` belong to the standard error: (value − truth)/standard_error is
    Student-t distributed with that many, so a 95 % interval from 8 seeds is ±2.36 errors wide,
    not ±1.96.
    """

    value: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    degrees_of_freedom: float | NDArray[np.float64]

    def half_width(self, coverage: float = 0.95) -> NDArray[np.float64]:
        """Half-width of the two-sided interval that covers with probability ``coverage``."""
        quantile = stats.t.ppf(0.5 + coverage / 2, self.degrees_of_freedom)
        return np.asarray(quantile * self.standard_error)

    def scaled(self, factor: ArrayLike) -> "Estimate":
        """The estimate of factor × the quantity."""
        factor = np.asarray(factor, float)
        return Estimate(
            self.value * factor, self.standard_error * np.abs(factor), self.degrees_of_freedom
        )


def mean_over_seeds(draws: ArrayLike) -> Estimate:
    """Monte-Carlo mean over independent sampler runs on the same data.

    ``draws`` [..., S] → mean and sd/√S, S − 1 degrees of freedom. Raises ValueError for S < 2.
    """
    draws = np.asarray(draws, float)
    seeds = draws.shape[-1]
    if seeds < 2:
        raise ValueError(f"{seeds} seed: a standard error needs at least 2 independent runs")
    error = draws.std(axis=-1, ddof=1) / np.sqrt(seeds)
    return Estimate(draws.mean(axis=-1), error, seeds - 1)


def mean_over_data_sets(values: ArrayLike) -> Estimate:
    """Mean over data sets with the spread between data sets as its error.

    ``values`` [..., R] → mean and sd/√R, R − 1 degrees of freedom; Monte-Carlo error inside the
    values is part of that spread. Raises ValueError for R < 2.
    """
    values = np.asarray(values, float)
    if values.shape[-1] < 2:
        raise ValueError(f"{values.shape[-1]} data set: an error between data sets needs ≥ 2")
    return mean_over_seeds(values)


def monte_carlo_mean(estimates: Estimate) -> Estimate:
    """Mean over the last axis of independent estimates, with their own errors only.

    Standard error √(Σ se²)/R with the Welch–Satterthwaite degrees of freedom
    ν(Σ se²)²/Σ se⁴, which are ν·R for equal errors and ν if one dominates.
    """
    count = estimates.value.shape[-1]
    squares = estimates.standard_error**2
    total = squares.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        equivalent = total**2 / np.sum(squares**2, axis=-1)
    freedom = estimates.degrees_of_freedom * np.where(total > 0, equivalent, count)
    return Estimate(estimates.value.mean(axis=-1), np.sqrt(total) / count, freedom)
