"""Oracles that take different routes to one integral agree within their bounds, at any n."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.models.monomial import MonomialRegression
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.models.skalse import SkalsePolynomial
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.laws.products import PowerLatent
from slt_jax.oracles.oracle import ExactMoments, Oracle, oracle_for
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem
from slt_jax.statistics import RegressionStatistics

NUM_SETS = 4
SIZES = (10, 1000, 10**6)
QUANTITIES = ("normalised_free_energy", "excess_energy", "energy_variance")


def sets_of(n: int, origin: np.ndarray, gram: np.ndarray) -> RegressionStatistics:
    """Data sets with Σφφᵀ = n·gram and the cross statistics of unit noise, N(0, n·gram)."""
    rng = np.random.default_rng(n)
    origin = np.asarray(origin, float)
    root = np.linalg.cholesky(gram + 1e-300 * np.eye(len(gram)))
    cross = np.sqrt(n) * root @ rng.standard_normal((NUM_SETS, *origin.shape))
    return RegressionStatistics(
        np.tile(n * gram, (NUM_SETS, 1, 1)),
        cross,
        np.tile(origin, (NUM_SETS, 1, 1)),
        np.zeros(NUM_SETS),
    )


def assert_agree(one: ExactMoments, other: ExactMoments) -> None:
    for quantity in QUANTITIES:
        a, b = getattr(one, quantity), getattr(other, quantity)
        assert np.all(np.abs(a.value - b.value) <= a.error + b.error), quantity


# Made once, since programs are compiled for them.
monomial_model = functools.cache(lambda exponents: MonomialRegression(exponents=exponents))
reduced_rank_model = functools.cache(ReducedRankRegression)


def monomial(exponents: tuple[int, ...], w) -> Problem:
    return Problem("monomial", monomial_model(exponents), {"w": np.array(w)})


class WholeMonomial(MonomialRegression):
    """Nothing of the product is in a block, though it has a linear factor."""

    def basis(self, latent):
        return jnp.zeros((1, 0), latent.dtype)

    def offset(self, latent):
        return latent.reshape(1, 1)


whole_model = functools.cache(lambda exponents: WholeMonomial(exponents=exponents))


def integrated_whole(exponents: tuple[int, ...]) -> Oracle:
    """The oracle that integrates the product itself, though it has a linear factor."""
    oracle = oracle_for(monomial(exponents, np.zeros(len(exponents))), 3)
    return oracle._replace(model=whole_model(exponents), structure=Collapse(PowerLatent(exponents)))


@pytest.mark.parametrize("beta", [1.0, 0.1])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("coefficient", [0.0, 0.5, 2.0])
def test_a_product_is_reduced_rank_regression_of_width_one(coefficient, n, beta):
    """y = ba·x by the density of |w| and by the radius of a 1 × 1 matrix."""
    model = reduced_rank_model(input_dim=1, output_dim=1, hidden_dim=1)
    root = np.sqrt(coefficient)
    matrix = Problem("matrix", model, {"A": np.array([[root]]), "B": np.array([[root]])})
    statistics = sets_of(n, np.array([[coefficient]]), np.ones((1, 1)))
    assert_agree(
        oracle_for(monomial((1, 1), [root, root]), 3).moments(statistics, beta),
        oracle_for(matrix, 3).moments(statistics, beta),
    )


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("exponents", [(1,), (1, 1), (1, 1, 1), (2, 1), (1, 3)])
def test_collapse_agrees_with_the_push_forward(exponents, n):
    """A Gauss rule of what a linear factor leaves, and a trapezoid rule of the whole product."""
    problem = monomial(exponents, np.zeros(len(exponents)))
    statistics = sets_of(n, np.zeros((1, 1)), np.ones((1, 1)))
    assert_agree(
        oracle_for(problem, 3).moments(statistics), integrated_whole(exponents).moments(statistics)
    )


@pytest.mark.parametrize("n", SIZES)
def test_skalse_with_orthogonal_features_is_five_products(n):
    """With a diagonal Gram matrix the five coefficients are independent, so that F and E add up."""
    problem = Problem("skalse", SkalsePolynomial(), {"theta": np.zeros(15)})
    gram = np.diag([0.1, 0.2, 0.3, 0.5, 1.0])
    statistics = sets_of(n, np.zeros((5, 1)), gram)
    whole = oracle_for(problem, 2).moments(statistics)
    parts = []
    for j, factors in enumerate(SkalsePolynomial.factors):
        entry = RegressionStatistics(
            statistics.gram[:, j : j + 1, j : j + 1],
            statistics.cross[:, j : j + 1],
            statistics.optimum[:, j : j + 1],
            statistics.log_likelihood_at_optimum,
        )
        parts.append(integrated_whole((1,) * factors).moments(entry))
    added = ExactMoments(
        *(
            Exact(
                *(np.sum([getattr(getattr(p, q), f) for p in parts], axis=0) for f in Exact._fields)
            )
            for q in QUANTITIES
        )
    )
    assert_agree(whole, added)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("hidden_dim", [1, 2])
def test_an_input_that_is_always_zero_is_no_input(hidden_dim, n):
    """B A x for x = (x₁, 0): singular values and an angle, or the length of one column of A."""
    problems = []
    for inputs in (1, 2):
        model = reduced_rank_model(input_dim=inputs, output_dim=2, hidden_dim=hidden_dim)
        A, B = np.zeros((hidden_dim, inputs)), np.zeros((2, hidden_dim))
        A[0, 0] = B[0, 0] = 1.0
        problems.append(Problem(f"inputs_{inputs}", model, {"A": A, "B": B}))
    narrow, wide = problems
    statistics = sets_of(n, np.array([[1.0, 0.0]]), np.ones((1, 1)))
    padded = RegressionStatistics(
        np.pad(statistics.gram, ((0, 0), (0, 1), (0, 1))),
        np.pad(statistics.cross, ((0, 0), (0, 1), (0, 0))),
        np.pad(statistics.optimum, ((0, 0), (0, 1), (0, 0))),
        statistics.log_likelihood_at_optimum,
    )
    refinement = 3 if n < 10**6 or hidden_dim == 1 else 2
    assert_agree(
        oracle_for(narrow, 3).moments(statistics), oracle_for(wide, refinement).moments(padded)
    )
