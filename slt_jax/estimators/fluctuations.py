"""Estimators of the singular fluctuation ν by three routes, over data sets."""

from numpy.typing import ArrayLike

from slt_jax.estimators.coefficients import check_size, difference_of
from slt_jax.estimators.estimate import Basis, Estimate, mean_over_data_sets


def variance_fluctuation(functional_variance: ArrayLike | Estimate, beta: float) -> Estimate:
    """Estimate ν by ν̂ = (β/2) E[V_n] from R data sets [R].

    Raises ValueError for β ≤ 0 or fewer than 2 data sets.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009).

    >>> float(variance_fluctuation([1.0, 3.0], beta=1.0).value)
    1.0
    """
    _, beta = check_size(1.0, beta)
    mean = mean_over_data_sets(functional_variance).scaled(beta / 2)
    return mean._replace(basis=Basis(beta=float(beta)))


def bayes_fluctuation(
    bayes_generalisation_error: ArrayLike,
    bayes_training_error: ArrayLike,
    n: float,
    beta: float = 1.0,
) -> Estimate:
    """Estimate ν by ν̂ = (n/2) E[B_g − B_t].

    It rests on nE[B_g] → λ/β + ν(1 − 1/β) and nE[B_t] → λ/β − ν(1 + 1/β). Errors [R] by data set,
    per datum, in pairs: the spread of the differences is the error, and Monte-Carlo error is part
    of it. The formula is the same at every β, and ν that of the posterior's. Raises ValueError for
    n < 1, β ≤ 0 or fewer than 2 data sets.

    >>> round(float(bayes_fluctuation([0.02, 0.03], [0.01, 0.02], n=100).value), 6)
    0.5
    """
    return _scaled_mean(bayes_generalisation_error, bayes_training_error, n, beta, 1 / 2)


def gibbs_fluctuation(
    gibbs_generalisation_error: ArrayLike,
    bayes_generalisation_error: ArrayLike,
    n: float,
    beta: float = 1.0,
) -> Estimate:
    """Estimate ν by ν̂ = βn E[G_g − B_g].

    It rests on nE[G_g] → λ/β + ν and nE[B_g] → λ/β + ν(1 − 1/β). Arguments,
    standard error and errors raised are those of ``bayes_fluctuation``.

    >>> round(float(gibbs_fluctuation([0.02, 0.03], [0.01, 0.02], n=100).value), 6)
    1.0
    """
    return _scaled_mean(gibbs_generalisation_error, bayes_generalisation_error, n, beta, beta)


def _scaled_mean(
    larger: ArrayLike, smaller: ArrayLike, n: float, beta: float, factor: float
) -> Estimate:
    n, beta = check_size(n, beta)
    difference = difference_of("the first error", larger, "the second", smaller)
    basis = Basis(float(n), float(beta))
    return mean_over_data_sets(difference).scaled(factor * n)._replace(basis=basis)
