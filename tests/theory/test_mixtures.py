from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.special import logsumexp

from slt_jax.theory import monomial, normal_mixture, regular

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(30)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def value(theory):
    return theory.learning_coefficient, theory.multiplicity


def divergence(weight: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """K from N(0, 1) to (1 − weight) N(first, 1) + weight N(second, 1), by Gauss-Hermite."""
    total = np.zeros(np.broadcast_shapes(weight.shape, first.shape, second.shape))
    for x, w in zip(NODES, WEIGHTS, strict=True):
        excess = (1 - weight) * np.expm1(first * x - first**2 / 2)
        excess = excess + weight * np.expm1(second * x - second**2 / 2)
        # −log(ratio) has mean K; adding the excess, of mean 0, leaves terms that are all ≥ 0.
        total += w * (excess - np.log1p(excess))
    return total


def test_by_hand():
    assert value(normal_mixture(1)) == value(regular(1))
    assert value(normal_mixture(2)) == (Fraction(3, 4), 1)
    assert value(normal_mixture(3)) == (Fraction(1), 1)
    assert value(normal_mixture(2, first_mean_fixed=True)) == (Fraction(1, 2), 2)
    assert value(normal_mixture(2, first_mean_fixed=True)) == value(monomial([1, 1]))


def test_more_dimensions_and_true_components_by_hand():
    assert value(normal_mixture(2, dim=2)) == (Fraction(3, 2), 2)
    assert value(normal_mixture(3, dim=2)) == (Fraction(2), 3)
    assert value(normal_mixture(3, dim=3)) == (Fraction(5, 2), 1)
    assert value(normal_mixture(3, true_components=2)) == (Fraction(7, 4), 1)
    assert value(normal_mixture(2, dim=3, first_mean_fixed=True)) == (Fraction(1, 2), 1)


def test_without_further_components_it_is_regular():
    for h, dim in product(range(1, 6), repeat=2):
        expected = value(regular(h * dim + h - 1))
        assert value(normal_mixture(h, dim=dim, true_components=h)) == expected


def test_published_bounds_are_attained():
    """(H + 3 H₀ − 2)/4 in one dimension and (D H₀ + H − 1)/2 in more."""
    for h0, further, dim in product(range(1, 5), range(4), range(1, 5)):
        h = h0 + further
        published = Fraction(h + 3 * h0 - 2, 4) if dim == 1 else Fraction(dim * h0 + h - 1, 2)
        theory = normal_mixture(h, dim=dim, true_components=h0)
        assert theory.learning_coefficient == published


@pytest.mark.parametrize("num_components", range(1, 10))
def test_each_further_component_costs_a_quarter(num_components):
    difference = (
        normal_mixture(num_components + 1).learning_coefficient
        - normal_mixture(num_components).learning_coefficient
    )
    assert difference == Fraction(1, 4)


def test_first_mean_fixed_by_quadrature(assert_scaling):
    """int exp(−nK) da db over (0, 1) x (−1, 1), with the actual Kullback-Leibler divergence.

    Both variables are on logarithmic scales towards 0. Rounding in K, about 1e-16 of the excess,
    sets the limit n = 1e16; what is left after the leading term is of order n^{-1/2} log n, so
    1e-3 of the difference at n = 1e8.
    """
    v = np.arange(-90, 60)[:, None] * 0.5
    t = np.arange(-90, 1)[None, :] * 0.5
    weight = 1 / (1 + np.exp(-v))
    kullback = divergence(weight, np.zeros(1), np.exp(t))
    log_density = np.log(weight) + np.log1p(-weight) + t
    log_n = np.log([1e8, 1e12, 1e16])
    log_z = np.array([logsumexp(log_density - np.exp(x) * kullback) for x in log_n])
    assert_scaling(normal_mixture(2, first_mean_fixed=True), log_n, log_z, 2e-3)


def test_two_free_means_by_quadrature(assert_scaling):
    """int exp(−nK) over the weight, the mean of the mixture and the difference of the means.

    K is the actual Kullback-Leibler divergence. The mean is of order n^{-1/2}, the difference is
    on a logarithmic scale, and the weight is sin² of a uniform angle, which takes away the
    inverse square roots at both ends. What is left after the leading term is of order n^{-1/4},
    1e-3 at n = 1e12, from weights so small that the difference reaches the edge of its interval.
    """
    angles, angle_weights = np.polynomial.legendre.leggauss(24)
    angle = (angles[:, None, None] + 1) * np.pi / 4
    t = np.arange(-60, 1)[None, :, None] * 0.3
    z = np.arange(-20, 21)[None, None, :] * 0.4
    weight, difference = np.sin(angle) ** 2, np.exp(t)
    log_density = np.log(angle_weights[:, None, None] * np.sin(2 * angle)) + t
    log_n = np.log([1e12, 1e16])
    log_z = []
    for x in log_n:
        mean = z * np.exp(-x / 2)
        kullback = divergence(weight, mean - weight * difference, mean + (1 - weight) * difference)
        log_z.append(logsumexp(log_density - np.exp(x) * kullback) - x / 2)
    assert_scaling(normal_mixture(2), log_n, np.array(log_z), 1e-3)
