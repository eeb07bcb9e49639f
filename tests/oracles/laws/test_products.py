"""The density of log|∏ w^p| against moments and closed forms of products of normals."""

import math

import numpy as np
import pytest
from scipy.special import gamma, k0
from scipy.stats import norm

from slt_jax.oracles.laws.products import STEP, log_modulus_density

CASES = [
    ((1,), 1.0),
    ((2,), 1.0),
    ((3,), 0.5),
    ((1, 1), 1.0),
    ((1, 1), 2.0),
    ((2, 1), 0.5),
    ((2, 2), 1.0),
    ((1, 1, 1, 1), 1.0),
    ((3, 2, 1), 1.5),
]


def absolute_moment(exponents: tuple[int, ...], scale: float, k: float) -> float:
    """E|∏ w_j^{p_j}|^k with w_j ~ N(0, scale²), from E|N|^a = 2^{a/2} Γ((a+1)/2)/√π."""
    orders = [p * k for p in exponents]
    return math.prod(
        scale**a * 2 ** (a / 2) * gamma((a + 1) / 2) / math.sqrt(math.pi) for a in orders
    )


@pytest.mark.parametrize(("exponents", "scale"), CASES)
def test_mass_is_one(exponents, scale):
    """The mass left of the grid is e^{−45} of it or so, and the rest is rounding."""
    grid, density = log_modulus_density(exponents, scale)
    assert grid.shape == density.shape
    np.testing.assert_allclose(np.diff(grid), STEP, rtol=1e-9)
    assert np.all(density >= 0)
    assert density.sum() * STEP == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("exponents", "scale"), CASES)
@pytest.mark.parametrize("k", [0.25, 0.5, 1.0, 2.0])
def test_moments(exponents, scale, k):
    """The transform that convolves leaves 1e-17 of the peak everywhere, also far to the right.

    e^{kτ} lifts that by the largest modulus, some 11^{Σp} in units of the scale, to the k.
    """
    grid, density = log_modulus_density(exponents, scale)
    expected = absolute_moment(exponents, scale, k)
    noise = 1e-16 * np.sum(np.exp(k * grid)) * STEP if len(exponents) > 1 else 0.0
    actual = np.sum(density * np.exp(k * grid)) * STEP
    assert actual == pytest.approx(expected, rel=1e-11, abs=noise)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_two_factors_are_the_product_normal(scale):
    """z = w₁w₂ has density K₀(|z|/s²)/πs², hence τ = log|z| has twice |z| times that."""
    grid, density = log_modulus_density((1, 1), scale)
    z = np.exp(grid) / scale**2
    np.testing.assert_allclose(density, 2 * z * k0(z) / np.pi, atol=1e-14)
    bulk = np.abs(grid - 2 * np.log(scale)) < 4
    near_one = bulk & (z < 5)
    np.testing.assert_allclose(density[near_one], (2 * z * k0(z) / np.pi)[near_one], rtol=1e-12)


@pytest.mark.parametrize(("power", "scale"), [(1, 1.0), (2, 1.0), (3, 2.0)])
def test_one_factor_is_a_change_of_variables(power, scale):
    grid, density = log_modulus_density((power,), scale)
    w = np.exp(grid / power)
    np.testing.assert_allclose(density, 2 * norm(0, scale).pdf(w) * w / power, rtol=1e-12)


def test_order_of_factors_does_not_matter():
    one, other = log_modulus_density((3, 1), 0.7), log_modulus_density((1, 3), 0.7)
    np.testing.assert_allclose(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], atol=1e-15)


@pytest.mark.parametrize(
    ("exponents", "scale", "named"),
    [
        ((), 1.0, "exponents ()"),
        ((0,), 1.0, "exponents (0,)"),
        ((2, -1), 1.0, "exponents (2, -1)"),
        ((1,), 0.0, "scale = 0"),
        ((1,), -2.0, "scale = -2"),
        ((1,), math.nan, "scale = nan"),
        ((1,), math.inf, "scale = inf"),
    ],
)
def test_bad_input_is_refused(exponents, scale, named):
    with pytest.raises(ValueError) as error:
        log_modulus_density(exponents, scale)
    assert named in str(error.value)
