from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from scipy.special import logsumexp

from slt_jax.theory import monomial


@pytest.mark.parametrize(
    ("exponents", "prior_exponents", "expected"),
    [
        ([1], None, (Fraction(1, 2), 1)),
        ([1, 1, 1], None, (Fraction(1, 2), 3)),
        ([1, 2], None, (Fraction(1, 4), 1)),
        ([2, 1, 2], None, (Fraction(1, 4), 2)),
        ([1, 2], [0, 1], (Fraction(1, 2), 2)),
        ([3, 1], [1, 0], (Fraction(1, 3), 1)),
        ([0, 1], [7, 2], (Fraction(3, 2), 1)),
        ([1, 0, 0], None, (Fraction(1, 2), 1)),
    ],
)
def test_by_hand(exponents, prior_exponents, expected):
    theory = monomial(exponents, prior_exponents)
    assert (theory.learning_coefficient, theory.multiplicity) == expected
    assert theory.kind == "exact"


@pytest.mark.parametrize(
    ("exponents", "prior_exponents"),
    [
        ([1], [0]),
        ([1, 1], [0, 0]),
        ([1, 1, 1], [0, 0, 0]),
        ([1, 1, 1, 1], [0, 0, 0, 0]),
        ([1, 3], [0, 0]),
        ([2, 1, 2], [0, 0, 0]),
        ([1, 2], [1, 3]),
        ([2, 3, 1], [1, 2, 0]),
        ([3, 1, 2], [5, 3, 1]),
    ],
)
def test_against_the_density_of_k(exponents, prior_exponents, assert_scaling):
    """E exp(−nK) under half-normal priors times w^h, from the density of log K on a grid.

    log K is a sum of independent terms, so its density is a convolution, and the trapezoidal rule
    is exact to rounding for such analytic, doubly decaying integrands. The next pole is further
    by 1/6 or more in these cases, so what is left is of order exp(−90/6), 3e-7, at most.
    """
    step = 0.25
    tau = np.arange(-2400, 80) * step
    log_densities = [
        (h + 1) / (2 * k) * tau - 0.5 * np.exp(tau / k)
        for k, h in zip(exponents, prior_exponents, strict=True)
    ]
    density = reduce(np.convolve, map(np.exp, log_densities))
    log_k = step * (np.arange(len(density)) - 2400 * len(exponents))
    with np.errstate(divide="ignore"):
        log_density = np.log(density)
    theory = monomial(exponents, prior_exponents)
    log_n = np.linspace(90, 180, theory.multiplicity + 1)
    log_z = np.array([logsumexp(log_density - np.exp(x + log_k)) for x in log_n])
    assert_scaling(theory, log_n, log_z, 1e-6)
