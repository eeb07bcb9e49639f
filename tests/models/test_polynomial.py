"""Bases are what they are called, and powers what the coefficients are."""

import jax
import numpy as np
import pytest
from scipy.special import eval_legendre

from slt_jax.data import statistics_of
from slt_jax.models.polynomial import PolynomialRegression, polynomial
from slt_jax.problem import Problem
from slt_jax.statistics import Data

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)


def features(basis: str, count: int) -> np.ndarray:
    """φ_i at the nodes, shape [node, i]."""
    model = PolynomialRegression(powers=count * (1,), functions=basis)
    with jax.enable_x64(True):
        return np.asarray(jax.vmap(model.features)(NODES))


@pytest.mark.parametrize("basis", ["legendre", "fourier"])
def test_orthonormal_under_the_inputs(basis):
    """E_{q(x)} φ_i φ_j is 1 or 0, by 64 Gauss points, exact to rounding for these degrees."""
    phi = features(basis, 12)
    np.testing.assert_allclose((phi.T * WEIGHTS / 2) @ phi, np.eye(12), atol=1e-12)


def test_each_basis_by_name():
    np.testing.assert_allclose(features("monomial", 4), NODES[:, None] ** np.arange(4), rtol=1e-13)
    waves = np.sqrt(2) * np.stack([np.cos(np.pi * NODES), np.sin(np.pi * NODES)], axis=1)
    np.testing.assert_allclose(features("fourier", 3)[:, 1:], waves, atol=1e-14)
    hundredth = features("legendre", 101)[:, 100]
    expected = np.sqrt(201) * eval_legendre(100, NODES)
    np.testing.assert_allclose(hundredth, expected, atol=1e-12)
    third = np.sqrt(7) * (5 * NODES**3 - 3 * NODES) / 2
    np.testing.assert_allclose(features("legendre", 4)[:, 3], third, atol=1e-13)


def test_coefficients_are_powers():
    model = PolynomialRegression(powers=(3, 2, 1))
    theta = np.array([-2.0, -3.0, 0.5])
    coefficients = np.asarray(model.coefficients({"theta": theta}))
    np.testing.assert_allclose(coefficients[:, 0], [-8.0, 9.0, 0.5])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"functions": "hermite"}, "hermite"),
        ({"powers": ()}, "1 or more"),
        ({"powers": (1, 0)}, r"powers\[1\]"),
    ],
)
def test_impossible_models_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        PolynomialRegression(**fields)


@pytest.mark.parametrize("basis", ["monomial", "legendre", "fourier"])
def test_data_beyond_the_interval(basis):
    """Refused where a feature would be that of ±1, and else the features are those of x."""
    model = PolynomialRegression(powers=(1, 1, 1), functions=basis)
    problem, x = Problem("p", model, {"theta": np.array([0.2, 0.3, 0.5])}), 1.5
    data = Data(np.array([0.5, x]), np.ones((2, 1)))
    if basis == "legendre":
        with pytest.raises(ValueError, match=r"^x\[1\] is 1.5; allowed: Interval"):
            statistics_of(problem, data)
        return
    waves = [1, np.sqrt(2) * np.cos(np.pi * x), np.sqrt(2) * np.sin(np.pi * x)]
    phi = np.array([1, x, x**2] if basis == "monomial" else waves)
    cross = statistics_of(problem, data, np.array([0.0, 1.0])).cross
    expected = phi[:, None] * (1 - phi @ problem.optimum["theta"])
    np.testing.assert_allclose(cross, expected, rtol=1e-12)


def test_a_truth_beyond_monomials_is_refused():
    with pytest.raises(ValueError, match="beyond"):
        polynomial("wrong", PolynomialRegression(), np.ones(4), "", 0.5)
