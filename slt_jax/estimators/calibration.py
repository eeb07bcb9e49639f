"""Calibration of error bars: sampled against exact values, in units of the claimed error."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from slt_jax.estimators.estimate import Estimate, in_standard_errors
from slt_jax.validation import check_kind, real_array


class Calibration(NamedTuple):
    """Coverage of intervals, and the distribution of errors in units of the claimed error.

    ``coverage_68`` and ``coverage_95`` are shares of the ``comparisons`` whose central
    intervals (Student-t) cover; ``largest`` is the largest |sampled − exact|/s.e., ``spread`` the
    root mean square of it over that of its t-distribution (1 if the error bars are true), and
    ``p_value`` that of a Kolmogorov–Smirnov test against that distribution.
    """

    comparisons: int
    coverage_68: float
    coverage_95: float
    largest: float
    spread: float
    p_value: float

    def within_binomial_error(self, standard_errors: float = 3.0) -> bool:
        """True if both coverages are within so many binomial standard errors of nominal."""
        return all(
            abs(coverage - nominal)
            <= standard_errors * np.sqrt(nominal * (1 - nominal) / self.comparisons)
            for coverage, nominal in ((self.coverage_68, 0.68), (self.coverage_95, 0.95))
        )


def calibrate(estimate: Estimate, exact: ArrayLike, bound: ArrayLike = 0.0) -> Calibration:
    """Compare independent estimates with exact values of the same shape.

    The exact values are known to within ``bound``: no smaller difference counts, so that draws that
    never vary, and have no error, agree with an oracle that rounds.

    Raises ValueError for NaN, for shapes that differ, and for fewer than 3 degrees of freedom,
    at which a t-distribution has no variance.

    >>> from slt_jax.estimators import mean_over_seeds
    >>> draws = np.random.default_rng(0).normal(size=(1000, 8))
    >>> calibrate(mean_over_seeds(draws), np.zeros(1000)).within_binomial_error()
    True
    """
    check_kind("estimate", estimate, Estimate, "an Estimate")
    exact = real_array("exact", exact)
    if exact.shape != estimate.value.shape:
        raise ValueError(f"exact has shape {exact.shape}, the estimate {estimate.value.shape}")
    if not estimate.degrees_of_freedom >= 3:
        raise ValueError(
            f"degrees of freedom = {estimate.degrees_of_freedom}: at least 3 (4 seeds) are needed"
        )
    difference = estimate.value - exact
    known = np.where(np.abs(difference) <= np.asarray(bound, float), 0.0, difference)
    deviation = np.ravel(in_standard_errors(known, estimate.standard_error))
    if not np.isfinite(deviation).all():
        raise ValueError(f"{np.sum(~np.isfinite(deviation))} deviations are not finite")
    from scipy import stats  # which takes long to import

    reference = stats.t(estimate.degrees_of_freedom)
    size = np.abs(deviation)
    return Calibration(
        comparisons=size.size,
        coverage_68=float(np.mean(size <= reference.ppf(0.84))),
        coverage_95=float(np.mean(size <= reference.ppf(0.975))),
        largest=float(size.max()),
        spread=float(np.sqrt(np.mean(size**2) / reference.var())),
        p_value=float(stats.kstest(deviation, reference.cdf).pvalue),
    )
