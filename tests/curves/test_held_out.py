"""Generalisation losses where the truth has no quadrature: the error of simulated data counts."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import slt_jax as slt
from slt_jax.curves import held_out
from slt_jax.curves.errors import errors_of_draws, over_points
from slt_jax.curves.held_out import held_out_points, points_to_sample
from slt_jax.estimators import bayes_generalisation_loss, gibbs_generalisation_loss, loss_moments
from slt_jax.inference.sampled import SampledPosterior
from slt_jax.models.linear import LinearRegression
from slt_jax.oracles.criteria import HeldOut, simulated_points

WIDE = slt.Problem("wide", LinearRegression(input_dim=4), {"w": np.zeros(4)})
SMALL = slt.SMCSettings(num_chains=8, chain_length=8)
K = 9.5


def test_simulated_points_stand_in_for_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "HELD_OUT", 50)
    with pytest.raises(ValueError, match="wide: 4 inputs and 1 outputs; at most 3 and 2"):
        held_out_points(WIDE)
    points = points_to_sample(dataclasses.replace(WIDE))
    assert points.check is None
    assert points.data.x.shape == (50, 4)
    line = slt.load_problem("linear_3")
    assert points_to_sample(line) is held_out_points(line)
    with pytest.raises(ValueError, match="bare: no truth is known"):
        points_to_sample(slt.Problem("bare", WIDE.model))


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=2, standard_errors=K, degrees_of_freedom=15)
def test_losses_by_simulated_data_are_those_of_the_truth() -> None:
    """In closed form for linear regression: E|w|²/2 and the log of a Gaussian predictive."""
    data = slt.simulate(WIDE, jax.random.key(0), 20)
    sampled = slt.sample(WIDE, data, key=jax.random.key(1), sampler=SMALL, seeds=16)
    assert isinstance(sampled, SampledPosterior)
    x, y = np.asarray(data.x), np.asarray(data.y)[:, 0]
    covariance = np.linalg.inv(x.T @ x + np.eye(4))
    mean = covariance @ x.T @ y
    gibbs = WIDE.optimal_loss + (mean @ mean + np.trace(covariance)) / 2
    estimate = sampled.gibbs_generalisation_loss
    assert 0 < estimate.sources.held_out_data < 0.01
    assert abs(estimate.value - gibbs) < K * estimate.standard_error
    inputs = np.random.default_rng(2).standard_normal((200_000, 4))
    spread = 1 + np.einsum("ni,ij,nj->n", inputs, covariance, inputs)
    squares = 1 + (inputs @ mean) ** 2  # E[(y − m)²] over y ~ N(0, 1)
    bayes = np.mean(np.log(2 * np.pi * spread) + squares / spread) / 2
    estimate = sampled.bayes_generalisation_loss
    assert abs(estimate.value - bayes) < K * estimate.standard_error


@pytest.mark.parametrize("estimator", [bayes_generalisation_loss, gibbs_generalisation_loss])
def test_what_a_coarser_rule_is_off_is_an_error(estimator: Any) -> None:
    """Two points of each rule, at which every draw has the same density: 2 nats and 1.9 nats."""
    moments = loss_moments(np.tile([-2.0, -2.0, -1.9, -1.9], (3, 20, 1)), 2)
    fine, coarse = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.0, 0.0, 0.5, 0.5])
    data = slt.Data(np.zeros((4, 0)), np.zeros(4))
    estimate = over_points(estimator, moments, HeldOut(data, fine, coarse))
    assert float(estimate.value) == pytest.approx(2.0)
    assert float(estimate.sources.held_out_data) == pytest.approx(0.1)
    assert float(estimate.standard_error) == pytest.approx(0.1)
    settled = over_points(estimator, moments, HeldOut(data, fine, fine))
    assert float(settled.standard_error) == pytest.approx(0.0)


@pytest.mark.slow
def test_a_kink_is_no_error_of_nothing() -> None:
    """The loss of a ReLU with a bias has one, while a line is integrated to rounding."""
    share = {}
    for problem in (slt.teacher_student("relu", 1, 2, biases=True), slt.load_problem("linear_3")):
        data = slt.simulate(problem, jax.random.key(0), 30)
        loss = slt.sample(problem, data, key=jax.random.key(1)).gibbs_generalisation_loss
        share[problem.name] = float(loss.sources.held_out_data)
    kinked, line = share.values()
    assert kinked > 1e-5
    assert line < 1e-9


def test_errors_of_draws_count_a_sample() -> None:
    data = slt.simulate(WIDE, jax.random.key(3), 10)
    sets = slt.Data(*(np.asarray(part)[None] for part in data))
    draws = np.random.default_rng(4).standard_normal((1, 3, 20, 4)) / 3
    by_few, by_many = (
        errors_of_draws(WIDE, 10, sets, draws, simulated_points(WIDE, jax.random.key(5), size))[
            "bayes_generalisation_error_se"
        ].item()
        for size in (20, 2000)
    )
    assert by_few > 2 * by_many > 0
