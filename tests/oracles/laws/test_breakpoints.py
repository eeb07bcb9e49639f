"""A ReLU unit of two weights: two routes, a grid, and kinks that panels do not follow."""

import jax
import numpy as np
import pytest

from slt_jax.data import simulate, statistics_of
from slt_jax.models.relu_net import BiasedReluNet, with_teacher
from slt_jax.models.shallow_net import ShallowNet
from slt_jax.oracles.criteria import training_criteria
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import Data

TEACHER = with_teacher("relu", BiasedReluNet(hidden_dim=1), None, "", a=(1.0,), b=(1.0,), c=(-0.5,))
GRID, REACH = 1200, 8.0


def data_of(problem: Problem, n: int) -> Data:
    return Data(*map(np.asarray, simulate(problem, jax.random.key(91), n)))


def by_grid(inputs: np.ndarray, y: np.ndarray) -> float:
    """log ∫ N(y | 0, I + φφᵀ) dφ over both weights, φ = relu(inputs · w), by the midpoint rule."""
    step = 2 * REACH / GRID
    axis = -REACH + step * (np.arange(GRID) + 0.5)
    first, second = np.meshgrid(axis, axis, indexing="ij")
    phi = [np.maximum(z[0] * first + z[1] * second, 0) for z in inputs]
    square, product = (sum(p * q for p, q in zip(phi, other, strict=True)) for other in (phi, y))
    log_density = -0.5 * np.log1p(square) + 0.5 * product**2 / (1 + square)
    prior = np.exp(-(first**2 + second**2) / 2) / (2 * np.pi) * step**2
    constant = -0.5 * np.sum(y**2) - len(y) / 2 * np.log(2 * np.pi)
    return float(np.log(np.sum(np.exp(log_density) * prior)) + constant)


@pytest.mark.slow
def test_two_inputs_agree_with_a_grid():
    model = ShallowNet(input_dim=2, hidden_dim=1, activation="relu")
    optimum = {key: np.ones(prior.shape()) for key, prior in model.priors().items()}
    problem = Problem("plane", model, optimum)
    data = data_of(problem, 6)
    statistics = statistics_of(problem, data)
    evidence = (
        oracle_for(problem)
        .log_evidence(statistics)
        .shifted(float(statistics.log_likelihood_at_optimum))
    )
    assert abs(evidence.value - by_grid(data.x, data.y[:, 0])) < 1e-5 + evidence.error
    assert evidence.error < 1e-4


def test_a_bias_agrees_with_a_grid():
    data = data_of(TEACHER, 6)
    statistics = statistics_of(TEACHER, data)
    evidence = (
        oracle_for(TEACHER)
        .log_evidence(statistics)
        .shifted(float(statistics.log_likelihood_at_optimum))
    )
    inputs = np.column_stack([data.x, np.ones(6)])
    assert abs(evidence.value - by_grid(inputs, data.y[:, 0])) < 1e-5 + evidence.error


def test_sorted_sums_and_all_data_agree():
    """The same unit with a bias, whose likelihood comes from sums over sorted data or from each."""
    model = ShallowNet(hidden_dim=1, activation="relu", biases=True)
    optimum = {"a": np.ones((1, 1)), "b": np.ones((1, 1)), "c": np.array([-0.5])}
    data = data_of(TEACHER, 30)
    one = training_criteria(oracle_for(TEACHER), data, 0.6)
    other = oracle_for(Problem("same", model, optimum))
    two = training_criteria(other, Data(data.x[:, None], data.y), 0.6)
    for exact, expected in zip(one[:8], two[:8], strict=True):
        assert abs(exact.value - expected.value) <= exact.error + expected.error
        assert exact.error < 1e-2


@pytest.mark.parametrize("n", [40, pytest.param(4000, marks=pytest.mark.slow)])
def test_error_bounds_are_true(n):
    """Also where panels hold several kinks, as from some hundred data on."""
    statistics = statistics_of(TEACHER, data_of(TEACHER, n))
    *claims, best = (
        oracle_for(TEACHER, refinement).moments(statistics) for refinement in (1, 2, 3)
    )
    for claim in claims:
        for one, two in zip(claim, best, strict=True):
            assert abs(one.value - two.value) <= one.error + two.error
    assert claims[1].normalised_free_energy.error < 1e-2


def test_three_units_have_no_rule():
    three = with_teacher("three", BiasedReluNet(hidden_dim=3), None, "")
    assert oracle_for(three, costly=True) is None
