"""Powers of parameters as coefficients: the rule's Gaussian, other routes, and what has no rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.skalse_polynomial.factorised import Block, factorised_moments
from slt_jax.data import simulate, statistics_along_n, statistics_of
from slt_jax.models import named_problems
from slt_jax.models.polynomial import PolynomialRegression
from slt_jax.oracles.block import log_block_evidence
from slt_jax.oracles.laws import powers
from slt_jax.oracles.laws.law import RESOLUTIONS
from slt_jax.oracles.laws.powers import (
    LatentGaussian,
    PowersLatent,
    latent_gaussian,
    powers_rule,
)
from slt_jax.oracles.moments import Posterior
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import RegressionStatistics

NUM_SETS = 3
FAST = ((1000, (-0.6, 1.0, 0.3)), (10**6, (0.0, 0.0, 0.0)))


def problem_of(powers, theta, **hyperparameters) -> Problem:
    model = PolynomialRegression(powers=powers, **hyperparameters)
    return Problem("powers", model, {"theta": np.array(theta, float)})


@pytest.mark.slow
def test_the_likelihood_of_the_latents_is_the_gaussian():
    """Up to a constant, at any coefficients; noise ½, prior scale 1.3, β = 0.6."""
    problem = problem_of((3, 1, 2, 1), [0.5, 1.0, -0.7, 0.2], noise=0.5, prior_scale=1.3)
    collapse = problem.model.exact(problem.optimum)
    statistics = statistics_of(problem, simulate(problem, jax.random.key(91), 12))
    likelihood = latent_gaussian(Posterior(collapse, problem.model, [statistics], 0.6), 2)
    points = np.random.default_rng(1).standard_normal((6, 2))
    with jax.enable_x64(True):
        exact = [
            float(
                log_block_evidence(
                    collapse.node_statistics(problem.model, c, statistics), jnp.float64(0.6)
                )
            )
            for c in jnp.asarray(points)
        ]
    quadratic = np.einsum("ni,ij,nj->n", points, likelihood.precision, points)
    gaussian = points @ likelihood.linear - quadratic / 2
    np.testing.assert_allclose(np.diff(gaussian), np.diff(exact), rtol=1e-9)


@pytest.mark.parametrize(
    ("n", "true"),
    [
        pytest.param(n, true, marks=[] if (n, true) in FAST else [pytest.mark.slow])
        for n in (10, 1000, 10**6)
        for true in ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (-0.6, 1.0, 0.3))
    ],
)
def test_orthonormal_features_are_one_integral_each(true, n):
    """Σφφᵀ = nI: the sum over coefficients of integrals by push-forward densities of powers."""
    powers = (3, 2, 1)
    problem = problem_of(powers, np.zeros(3))
    noise = np.random.default_rng(n).standard_normal((NUM_SETS, 3))
    statistics = RegressionStatistics(
        np.tile(n * np.eye(3), (NUM_SETS, 1, 1)),
        np.sqrt(n) * noise[:, :, None],
        np.tile(np.array(true)[:, None], (NUM_SETS, 1, 1)),
        np.zeros(NUM_SETS),
    )
    blocks = [Block((power,), value) for power, value in zip(powers, true, strict=True)]
    for beta in (1.0, 0.2):
        whole = oracle_for(problem).moments(statistics, beta)
        parts = factorised_moments(blocks, n, noise, beta)
        for one, other in zip(whole, parts, strict=False):
            assert np.all(np.abs(one.value - other.value) <= one.error + other.error)
        assert np.all(whole.normalised_free_energy.error < 0.01)


@pytest.mark.parametrize("n", [pytest.param(10, marks=pytest.mark.slow), 1000])
def test_error_bounds_are_true(n):
    """Refinements 1 and 2 are held to 3, with correlated features; more: tests/statistical."""
    problem = problem_of((3, 2, 1), [1.0, 0.0, 0.5])
    statistics = statistics_along_n(problem, jax.random.key(92), NUM_SETS, [n])[0]
    *claims, best = (
        oracle_for(problem, refinement).moments(statistics) for refinement in (1, 2, 3)
    )
    for claim in claims:
        for one, two in zip(claim, best, strict=True):
            rounding = 1e-12 * (1 + np.abs(two.value))
            assert np.all(np.abs(one.value - two.value) <= one.error + two.error + rounding)
    assert np.all(claims[1].normalised_free_energy.error < 1e-3)


def test_each_data_set_has_its_own_rule():
    """Two data sets at once are the two alone."""
    problem = problem_of((2, 1), [0.5, 0.0])
    oracle = oracle_for(problem)
    statistics = statistics_along_n(problem, jax.random.key(93), 2, [50])[0]
    together = oracle.log_evidence(statistics).value
    alone = [
        oracle.log_evidence(jax.tree.map(lambda leaf, r=r: leaf[r], statistics)) for r in (0, 1)
    ]
    np.testing.assert_array_equal(together, [exact.value for exact in alone])


def test_the_rule_is_the_prior_where_data_say_nothing():
    """Without data the weights sum to one, and the nodes have the moments of the powers."""
    law = PowersLatent((2, 3), 0.7)
    problem = problem_of((2, 3), [0.0, 0.0], prior_scale=0.7)
    statistics = statistics_of(problem, simulate(problem, jax.random.key(94), 5))
    structure = problem.model.exact(problem.optimum)
    nothing = latent_gaussian(Posterior(structure, problem.model, [statistics], 1e-3), 2)
    nodes, logs = map(np.concatenate, zip(*powers_rule(law, nothing, RESOLUTIONS[2]), strict=True))
    weights = np.exp(logs)
    assert weights.sum() == pytest.approx(1, abs=1e-8)
    assert weights @ nodes[:, 0] == pytest.approx(0.49, rel=1e-6)
    assert weights @ nodes[:, 1] ** 2 == pytest.approx(15 * 0.7**6, rel=1e-5)


def test_what_has_no_rule_says_so():
    five = problem_of((2,) * 5, np.zeros(5))
    assert oracle_for(five) is None
    assert oracle_for(named_problems()["powers_x2"]) is not None


def test_more_nodes_than_memory_holds_are_refused(monkeypatch):
    likelihood = LatentGaussian(np.eye(3), np.ones(3))
    rule = functools.partial(powers_rule, PowersLatent((3, 2, 2)), likelihood, RESOLUTIONS[1])
    assert sum(len(part.log_weights) for part in rule()) > 100
    monkeypatch.setattr(powers, "MAX_NODES", 100)
    with pytest.raises(ValueError, match="more data are needed"):
        list(rule())
