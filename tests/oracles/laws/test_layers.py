"""Densities of singular values of products of Gaussian matrices, and the oracles made of them."""

import jax
import numpy as np
import pytest
from scipy.special import gammaln

from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.models.deep_linear import DeepLinearNetwork, deep_linear
from slt_jax.models.monomial import MonomialRegression
from slt_jax.oracles.laws.layers import (
    STEP,
    LayersLatent,
    log_square_density,
    singular_values,
)
from slt_jax.oracles.oracle import oracle_for
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem


@pytest.mark.parametrize("degrees", [(1,), (3,), (1, 1, 1), (2, 5), (4, 2, 1)])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_moments_of_a_product_of_lengths(degrees, power):
    """E ∏(χ²_k)^p = ∏ 2^p Γ(k/2 + p)/Γ(k/2)."""
    grid, density = log_square_density(degrees)
    logs = [power * np.log(2) + gammaln(k / 2 + power) - gammaln(k / 2) for k in degrees]
    assert STEP * np.sum(density * np.exp(power * grid)) == pytest.approx(np.exp(sum(logs)), 1e-9)


@pytest.mark.parametrize("rows", [(2,), (3,), (2, 2), pytest.param((2, 4), marks=pytest.mark.slow)])
def test_moments_of_singular_values(rows):
    """Mass, tr AᵀA and |AᵀA| are 1, ∏H·2 and ∏H(H − 1); of one matrix, the curve in s₂ too.

    For W of H rows |WᵀW| = χ²_H χ²_{H−1}, whose products are those of ``log_square_density``.
    """
    u, r, density = singular_values(rows)
    mass = STEP**2 * density
    trace, determinant = 2 * np.exp(u)[:, None] * np.cosh(r), np.exp(2 * u)[:, None]
    assert mass.sum() == pytest.approx(1, abs=1e-11)
    assert np.sum(mass * trace) == pytest.approx(2 * np.prod(rows), rel=1e-11)
    assert np.sum(mass * determinant) == pytest.approx(
        np.prod([count * (count - 1) for count in rows]), rel=1e-11
    )
    grid, expected = log_square_density([k for count in rows for k in (count, count - 1)])
    marginal = 0.5 * STEP * density.sum(axis=1)
    # On the finer grid of u = log s₁s₂ the density of 2u is at every second point.
    at = np.round((2 * u - grid[0]) / STEP).astype(int)
    # Below, the other density's grid ends; above, the density is below 10⁻⁶ and good to 10⁻¹².
    inside = (u > -24) & (u < 2.5)
    np.testing.assert_allclose(marginal[inside], expected[at[inside]], rtol=1e-8)
    above = (u >= 2.5) & (at < len(grid))
    np.testing.assert_allclose(marginal[above], expected[at[above]], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("n", [10, 1000])
@pytest.mark.parametrize("name", ["reduced_rank_2_2_1_0", "reduced_rank_2_2_2_1"])
def test_one_layer_is_a_matrix(name, n):
    """Trapezoid rules on log grids, and graded panels in the singular values themselves."""
    problem = named_problems()[name]
    panels = oracle_for(problem)
    collapse = panels.structure
    matrix = collapse.law
    layers = LayersLatent((matrix.rows,), matrix.columns, matrix.scale, matrix.direction)
    grids = panels._replace(structure=Collapse(layers, collapse.scale))
    assert_agree(grids, panels, statistics_along_n(problem, jax.random.key(81), 2, [n])[0])


def test_layers_of_width_one_are_factors():
    """y = w₃w₂w₁x by lengths of layers and by the density of a product of normals."""
    chain = oracle_for(deep_linear((1, 1, 1, 1), 0))
    product = oracle_for(
        Problem("product", MonomialRegression(exponents=(1, 1, 1)), {"w": np.zeros(3)})
    )
    for n in (10, 10**5):
        statistics = statistics_along_n(chain.problem, jax.random.key(82), 2, [n])[0]
        assert_agree(chain, product, statistics)


def test_a_layer_may_be_seen_from_either_side():
    """Truth zero of 2-1-1-2 at one input that is always 0 is that of 1-1-1-2."""
    wide, narrow = deep_linear((2, 1, 1, 2), 0), deep_linear((1, 1, 1, 2), 0)
    statistics = statistics_along_n(wide, jax.random.key(83), 2, [100])[0]
    alone = statistics._replace(
        gram=statistics.gram[:, :1, :1],
        cross=statistics.cross[:, :1],
        optimum=statistics.optimum[:, :1],
    )
    keep = np.array([1.0, 0.0])
    seen = statistics._replace(
        gram=statistics.gram * np.outer(keep, keep), cross=statistics.cross * keep[:, None]
    )
    one, other = oracle_for(wide).moments(seen), oracle_for(narrow).moments(alone)
    for a, b in zip(one, other, strict=True):
        assert np.all(np.abs(a.value - b.value) <= a.error + b.error)


def assert_agree(one, other, statistics):
    for a, b in zip(one.moments(statistics, 0.7), other.moments(statistics, 0.7), strict=True):
        assert np.all(np.abs(a.value - b.value) <= a.error + b.error)
        assert np.all(a.error + b.error < 0.05)


@pytest.mark.parametrize("degrees", [(), (0,), (2, -1)])
def test_bad_degrees_are_refused(degrees):
    with pytest.raises(ValueError, match="at least one, each ≥ 1"):
        log_square_density(degrees)


@pytest.mark.parametrize("rows", [(), (1,), (2, 1)])
def test_bad_rows_are_refused(rows):
    with pytest.raises(ValueError, match="at least one, each ≥ 2"):
        singular_values(rows)


def test_three_inputs_have_no_rule():
    model = DeepLinearNetwork(widths=(3, 2, 2, 1))
    optimum = {name: np.zeros(prior.shape()) for name, prior in model.priors().items()}
    assert oracle_for(Problem("wide", model, optimum)) is None
