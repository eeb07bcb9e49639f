"""Every kind of oracle against integrals over the original parameters, which know no collapse."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax import Array
from scipy.stats import multivariate_normal, norm

from slt_jax.model import Model
from slt_jax.models import named_problems
from slt_jax.models.deep_linear import DeepLinearNetwork
from slt_jax.models.linear import LinearRegression
from slt_jax.models.monomial import MonomialRegression
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.models.relu_net import BiasedReluNet, ReluNet
from slt_jax.models.shallow_net import ShallowNet
from slt_jax.models.skalse import SkalsePolynomial
from slt_jax.models.tanh_net import TanhNet
from slt_jax.oracles.laws.none import NoLatent
from slt_jax.oracles.laws.powers import PowersLatent
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import Data

NUM_DATA, NUM_SETS = 6, 4
NUM_DRAWS = 500_000


def reduced_rank(A, B, **hyperparameters) -> Problem:
    A, B = np.array(A, float), np.array(B, float)
    model = ReducedRankRegression(
        input_dim=A.shape[1], output_dim=B.shape[0], hidden_dim=A.shape[0], **hyperparameters
    )
    return Problem(
        f"reduced_rank_{'_'.join(map(str, (*B.shape, *A.shape)))}", model, {"A": A, "B": B}
    )


def monomial(exponents, w, **hyperparameters) -> Problem:
    model = MonomialRegression(exponents=exponents, **hyperparameters)
    return Problem(f"monomial_{'_'.join(map(str, exponents))}_scaled", model, {"w": np.array(w)})


# Truths, scales and shapes that no discovered problem has, so that a factor of noise, of the
# prior's scale, of symmetry or of a sign cannot hide where it is one.
OTHERS = (
    monomial((1, 2), [0.7, -1.2], noise=0.5, prior_scale=2.0),
    monomial((1, 1, 1), [2.0, 1.0, -0.5], prior_scale=1.5),
    monomial((3, 2), [0.0, 0.0], noise=0.5, prior_scale=0.8),
    reduced_rank([[1.5], [0.0]], [[1.0, 0.0], [-1.0, 0.0]], noise=0.5, prior_scale=1.5),
    reduced_rank([[0.6, -0.8]], [[1.0], [0.5]], noise=0.5, prior_scale=1.5),
    reduced_rank(np.zeros((3, 2)), np.zeros((1, 3)), prior_scale=0.7),
    reduced_rank(np.eye(2), [[1.0, 0.0], [0.0, 0.3]]),
    Problem(
        "skalse_scaled",
        SkalsePolynomial(noise=0.5, prior_scale=1.2),
        {"theta": np.array([1.0, 0.5, 1.0, *3 * [0.0], *4 * [1.0], *5 * [0.0]])},
    ),
    Problem(
        "deep_linear_scaled",
        DeepLinearNetwork(widths=(2, 3, 2, 2), noise=0.8, prior_scale=0.8),
        {"W1": np.eye(3, 2), "W2": np.ones((2, 3)), "W3": np.array([[0.5, 0.0], [0.3, 0.1]])},
    ),
    Problem(
        "bottleneck_scaled",
        DeepLinearNetwork(widths=(2, 2, 1, 2), noise=0.9, prior_scale=1.2),
        {"W1": np.eye(2), "W2": np.array([[0.6, -0.8]]), "W3": np.full((2, 1), 0.5)},
    ),
    Problem(
        "relu_3_scaled",
        ReluNet(hidden_dim=3, noise=0.5, prior_scale=1.5),
        {"a": np.array([1.0, 0.5, 0.0]), "b": np.array([0.7, -1.0, 0.0])},
    ),
    Problem(
        "softplus_biased_scaled",
        ShallowNet(
            hidden_dim=1,
            output_dim=2,
            activation="softplus",
            biases=True,
            sharpness=2.0,
            noise=0.5,
            prior_scale=1.5,
        ),
        {"a": np.array([[1.0], [-0.5]]), "b": np.array([[1.0]]), "c": np.array([-0.5])},
    ),
    Problem(
        "tanh_2_scaled",
        TanhNet(hidden_dim=2, noise=0.5, prior_scale=1.5),
        {"a": np.array([1.0, -0.7]), "b": np.array([-1.5, 0.7])},
    ),
    Problem(
        "relu_biased_scaled",
        BiasedReluNet(hidden_dim=1, noise=0.6, prior_scale=1.4),
        {"a": np.ones(1), "b": np.ones(1), "c": np.full(1, 0.5)},
    ),
    Problem(
        "silu_biased_2_scaled",
        ShallowNet(
            hidden_dim=2, output_dim=2, activation="silu", biases=True, noise=1.0, prior_scale=1.3
        ),
        {
            "a": np.array([[1.0, 0.0], [-0.5, 0.4]]),
            "b": np.array([[1.0], [-0.5]]),
            "c": np.array([-0.5, 0.0]),
        },
    ),
)
DISCOVERED = tuple(problem for problem in named_problems().values() if oracle_for(problem))


def one_per_model(problems) -> list[Problem]:
    """Problems that share a model differ in their truth alone, and so do those of OTHERS."""
    return list({problem.model: problem for problem in problems}.values())


def marked(problems) -> list:
    """The first problem of each structure and law, and the others marked slow.

    So are powers, of which six data leave many nodes: ``test_powers`` has other routes for them.
    Models without a latent are left to ``test_linear_regression_in_closed_form``.
    """
    seen, cases = {NoLatent}, []
    for problem in problems:
        structure = problem.model.exact(problem.optimum)
        kind = type(structure.law)
        key = kind if kind is NoLatent else (type(structure), kind, type(problem.model))
        slow = key in seen or kind is PowersLatent
        cases.append(pytest.param(problem, marks=[pytest.mark.slow] if slow else []))
        seen.add(key)
    return cases


@functools.partial(jax.jit, static_argnums=0)
def simulated(problem: Problem, keys: Array) -> tuple[Array, Array]:
    return jax.vmap(problem.simulate)(keys)


def data_sets(problem: Problem, n: int, count: int) -> list[Data]:
    with jax.enable_x64(True):
        x, y = simulated(problem, jax.random.split(jax.random.key(31), count * n))
        x, y = (np.asarray(part).reshape(count, n, *part.shape[1:]) for part in (x, y))
    return [Data(*pair) for pair in zip(x, y, strict=True)]


def statistics_of(problem: Problem, sets: list[Data]):
    """Statistics of data sets of one size, leading axis [R]."""
    with jax.enable_x64(True):
        optimum = jax.tree.map(jnp.asarray, dict(problem.optimum))
        x, y = (np.stack(part) for part in zip(*sets, strict=True))
        statistics = statistics_of_each(problem.model, optimum, Data(x, y), np.ones(x.shape[1]))
    return jax.tree.map(np.asarray, statistics)


@functools.partial(jax.jit, static_argnums=0)
def statistics_of_each(model: Model, optimum, data: Data, weights):
    return jax.vmap(model.statistics, (None, 0, None))(optimum, data, weights)


# --- Monte Carlo over the prior --------------------------------------------------------------


class Estimate(NamedTuple):
    """log Z and E[nL_n] relative to w₀ with standard errors, and the number of draws that count."""

    log_evidence: Array
    log_evidence_error: Array
    energy: Array
    energy_error: Array
    effective_size: Array


@functools.partial(jax.jit, static_argnums=0)
def average_over(model: Model, draws, optimum, x, y) -> Estimate:
    """Means of exp Σ_i(ℓ_i(w) − ℓ_i(w₀)) over draws of w, ℓ as ``log_likelihood`` says."""
    over_data = jax.vmap(model.log_likelihood, (None, 0, 0))
    gain = jax.vmap(lambda w: jnp.sum(over_data(w, x, y) - over_data(optimum, x, y)))(draws)
    weight = jnp.exp(gain - jnp.max(gain))
    mean, share = jnp.mean(weight), weight / jnp.sum(weight)
    energy = -jnp.sum(share * gain)
    return Estimate(
        jnp.log(mean) + jnp.max(gain),
        jnp.std(weight) / mean / np.sqrt(NUM_DRAWS),
        energy,
        jnp.sqrt(jnp.sum((share * (gain + energy)) ** 2)),
        1 / jnp.sum(share**2),
    )


def prior_draws(problem: Problem) -> dict[str, np.ndarray]:
    rng, draws = np.random.default_rng(32), {}
    for name, prior in problem.model.priors().items():
        base = getattr(prior, "base_dist", prior)
        standard = STANDARD[type(base)](rng, (NUM_DRAWS, *prior.shape()))
        draws[name] = np.asarray(base.loc + base.scale * standard, np.float32)
    return draws


STANDARD = {
    dist.Normal: lambda rng, shape: rng.standard_normal(shape),
    dist.Logistic: lambda rng, shape: rng.logistic(size=shape),
}


@pytest.mark.parametrize(
    "problem",
    [
        *marked(one_per_model(DISCOVERED)),
        *(
            pytest.param(p, marks=[] if i % 6 == 0 else pytest.mark.slow)
            for i, p in enumerate(OTHERS)
        ),
    ],
    ids=lambda p: p.name,
)
@pytest.mark.false_alarm(comparisons=2 * NUM_SETS, standard_errors=6)
def test_evidence_by_prior_draws(problem):
    """log Z and E[nL_n] of 4 data sets of n = 6, from 5·10⁵ draws of all parameters, in float32.

    Enough draws must count (ESS ≥ 1000, standard error of log Z ≤ 0.03); then 6 standard errors,
    with false alarm 2e-9 for each of 8 numbers, plus the oracle's own error and 1e-4 for rounding.
    """
    sets = data_sets(problem, NUM_DATA, NUM_SETS)
    powers = isinstance(problem.model.exact(problem.optimum).law, PowersLatent)
    large = powers or isinstance(problem.model, SkalsePolynomial)
    oracle = oracle_for(problem, 1 if large else 2, costly=True)
    exact = oracle.moments(statistics_of(problem, sets))
    draws = prior_draws(problem)
    optimum, *singles = jax.tree.map(np.float32, (dict(problem.optimum), *sets))
    for r, data in enumerate(singles):
        estimate = average_over(problem.model, draws, optimum, *data)
        assert estimate.effective_size >= 1000
        assert estimate.log_evidence_error <= 0.03
        free_energy, energy = exact.normalised_free_energy, exact.excess_energy
        distance = abs(free_energy.value[r] + estimate.log_evidence)
        assert distance <= 6 * estimate.log_evidence_error + free_energy.error[r] + 1e-4
        distance = abs(energy.value[r] - estimate.energy)
        assert distance <= 6 * estimate.energy_error + energy.error[r] + 1e-4


# --- closed form and grids -------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "prior_scale"), [(1.0, 1.0), (0.5, 2.0)])
def test_linear_regression_in_closed_form(noise, prior_scale):
    """log N(y; 0, σ²I + s²XXᵀ), from the n × n matrix that the oracle never makes."""
    model = LinearRegression(noise=noise, input_dim=3, prior_scale=prior_scale)
    problem = Problem("linear", model, {"w": np.array([0.5, 0.0, -0.5])})
    sets = data_sets(problem, 20, NUM_SETS)
    statistics = statistics_of(problem, sets)
    evidence = oracle_for(problem).log_evidence(statistics)
    expected = [
        multivariate_normal(cov=noise**2 * np.eye(20) + prior_scale**2 * data.x @ data.x.T).logpdf(
            data.y[:, 0]
        )
        for data in sets
    ]
    np.testing.assert_allclose(
        evidence.value + statistics.log_likelihood_at_optimum, expected, rtol=1e-12
    )


def log_evidence_on_grid(function, data: Data, axes: list[np.ndarray]) -> tuple[float, float]:
    """log Z − Σℓ(w₀ = 0) by the trapezoid rule in all of w, and its change on half the points.

    ``function(w, x)`` takes the axes of w, broadcast against each other, and one input.
    """
    w = np.meshgrid(*axes, indexing="ij", sparse=True)
    steps = [axis[1] - axis[0] for axis in axes]
    exponent = sum(norm.logpdf(values) for values in w)
    for x, y in zip(data.x, data.y, strict=True):
        f = function(w, float(np.squeeze(x)))
        exponent = exponent - f * (f - 2 * float(y[0])) / 2
    terms = np.exp(exponent)
    coarse = terms[(slice(None, None, 2),) * len(axes)]
    fine, half = (np.log(t.sum()) for t in (terms, coarse))
    return fine + np.log(steps).sum(), abs(fine - half - len(axes) * np.log(2))


def symmetric(reach: float, count: int) -> np.ndarray:
    return np.linspace(-reach, reach, 2 * count + 1)


GRIDS = {
    "monomial_1_1": (lambda w, x: w[0] * w[1] * x, [symmetric(7.5, 300)] * 2),
    "monomial_2_1": (lambda w, x: w[0] ** 2 * w[1] * x, [symmetric(7.5, 600)] * 2),
    "monomial_2_2": (lambda w, x: w[0] ** 2 * w[1] ** 2 * x, [symmetric(7.5, 600)] * 2),
    "monomial_1_1_1": (lambda w, x: w[0] * w[1] * w[2] * x, [symmetric(6.5, 104)] * 3),
    "tanh_1": (lambda w, x: w[0] * np.tanh(w[1] * x), [symmetric(7.5, 300)] * 2),
}


@pytest.mark.parametrize("name", GRIDS)
def test_evidence_on_a_dense_grid(name):
    """n = 3 data, where a grid of step 1/40 or so resolves the ridges of the likelihood.

    Allowed: the oracle's error, what doubling the step changes (a rule that converges geometrically
    is far better than that), and 1e-9 for the prior mass beyond the grid.
    """
    problem = named_problems()[name]
    function, axes = GRIDS[name]
    (data,) = data_sets(problem, 3, 1)
    expected, change = log_evidence_on_grid(function, data, axes)
    evidence = oracle_for(problem, 3).log_evidence(statistics_of(problem, 8 * [data]))
    allowed = evidence.error[0] + change + 1e-9
    assert allowed < 1e-4
    assert abs(evidence.value[0] - expected) <= allowed
