"""A tanh net is integrated where its interpolant is one, and refuses other data at every door."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from experiments.unrealisable.information import information
from slt_jax.curves.errors import cumulative_loss_gap, errors_of_draws
from slt_jax.data import statistics_of, validate_data
from slt_jax.models import named_problems
from slt_jax.models.shallow_net import ShallowNet
from slt_jax.oracles.criteria import (
    HeldOut,
    generalisation_errors,
    pointwise_moments,
    training_criteria,
    wbic,
)
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import Data

PROBLEM = named_problems()["tanh_1"]
ORACLE = oracle_for(PROBLEM)


def exact_log_evidence(x: float, y: float) -> float:
    """log ∫ N(b; 0, 1) N(y; 0, 1 + tanh²(bx)) db, as a is integrated in closed form."""

    def density(b):
        return stats.norm.pdf(b) * stats.norm.pdf(y, 0, np.sqrt(1 + np.tanh(b * x) ** 2))

    return float(np.log(integrate.quad(density, -12, 12, epsabs=1e-14, epsrel=1e-12)[0]))


def log_evidence(problem: Problem, x: np.ndarray) -> tuple[float, float]:
    """log Z of one datum (x, 1) and the bound of the oracle."""
    statistics = statistics_of(problem, Data(x, np.ones((1, 1))))
    evidence = oracle_for(problem).log_evidence(statistics)
    return float(evidence.value + statistics.log_likelihood_at_optimum), float(evidence.error)


@pytest.mark.parametrize("x", [1.0, -0.6])
def test_one_datum_within_the_interval(x):
    value, bound = log_evidence(PROBLEM, np.array([x]))
    assert abs(value - exact_log_evidence(x, 1.0)) <= bound + 1e-8


def test_one_datum_beyond_it_by_the_net_without_statistics():
    """At x = 2 the evidence is −1.4743; that of x = 1, as a clipped x would have it, −1.4490."""
    assert exact_log_evidence(2.0, 1.0) == pytest.approx(-1.4743, abs=5e-5)
    assert exact_log_evidence(1.0, 1.0) == pytest.approx(-1.4490, abs=5e-5)
    zero = {"a": np.zeros((1, 1)), "b": np.zeros((1, 1))}
    value, bound = log_evidence(Problem("any_x", ShallowNet(hidden_dim=1), zero), np.array([[2.0]]))
    assert abs(value - exact_log_evidence(2.0, 1.0)) <= bound + 1e-9


INSIDE = Data(np.array([0.5, 1.0, -1.0]), np.ones((3, 1)))
BEYOND = Data(np.array([0.5, 1.0, -1.0 - 1e-9]), np.ones((3, 1)))
WEIGHTS = np.full(3, 1 / 3)
DRAWS = np.zeros((1, 2, 3, 2))


@pytest.mark.parametrize(
    "door",
    [
        lambda data: validate_data(PROBLEM, data),
        lambda data: statistics_of(PROBLEM, data),
        ORACLE.evaluate,
        lambda data: ORACLE.evaluate(INSIDE, points=data),
        lambda data: training_criteria(ORACLE, data),
        lambda data: pointwise_moments(ORACLE, data),
        lambda data: pointwise_moments(ORACLE, INSIDE, data),
        lambda data: generalisation_errors(ORACLE, INSIDE, HeldOut(data, WEIGHTS, WEIGHTS)),
        lambda data: information(PROBLEM, HeldOut(data, WEIGHTS, WEIGHTS)),
        lambda data: wbic(ORACLE, data),
        lambda data: cumulative_loss_gap(ORACLE, data),
        lambda data: errors_of_draws(
            PROBLEM, 3, jax.tree.map(lambda v: v[None], INSIDE), DRAWS, HeldOut(data, WEIGHTS, None)
        ),
        lambda data: errors_of_draws(
            PROBLEM, 3, jax.tree.map(lambda v: v[None], data), DRAWS, HeldOut(INSIDE, WEIGHTS, None)
        ),
    ],
)
def test_every_door_refuses_data_beyond_the_interval(door):
    with pytest.raises(ValueError, match=r"^x\[2\] is -1.000000001; allowed: Interval"):
        door(BEYOND)
