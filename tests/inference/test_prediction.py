"""Predictions of exact and sampled posteriors against the conjugate answer."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

import slt_jax as slt

PROBLEMS = slt.named_problems()
LINEAR = PROBLEMS["linear_3"]
N, SEEDS, K = 30, 16, 9.5
INPUTS = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [-20.0, 5.0, 1.0]])


@functools.cache
def data() -> slt.Data:
    return slt.simulate(LINEAR, jax.random.key(2), N)


@functools.cache
def conjugate() -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of y at each input."""
    x, y = np.asarray(data().x), np.asarray(data().y)[:, 0]
    scale = LINEAR.model.prior_scale  # type: ignore[attr-defined]
    covariance = np.linalg.inv(x.T @ x + np.eye(3) / scale**2)
    mean = INPUTS @ (covariance @ x.T @ y)
    return mean, np.sqrt(1 + np.einsum("ni,ij,nj->n", INPUTS, covariance, INPUTS))


@functools.cache
def sampled() -> Any:
    return slt.sample(LINEAR, data(), key=jax.random.key(3), seeds=SEEDS)


def test_exact_predictions_are_those_of_the_conjugate_posterior() -> None:
    predicted = slt.exact(LINEAR, data()).predict(INPUTS, coverage=0.9)
    mean, spread = conjugate()
    np.testing.assert_allclose(predicted["mean"][:, 0], mean, atol=1e-6)
    np.testing.assert_allclose(predicted["standard_deviation"][:, 0], spread, atol=1e-6)
    reach = stats.norm.ppf(0.95) * spread
    np.testing.assert_allclose(predicted["low"][:, 0], mean - reach, atol=1e-6)
    np.testing.assert_allclose(predicted["high"][:, 0], mean + reach, atol=1e-6)
    assert all(v.attrs.keys() == {"long_name", "units"} for v in predicted.data_vars.values())


def test_sampled_predictions_are_near_the_exact_ones() -> None:
    predicted = sampled().predict(INPUTS)
    mean, spread = conjugate()
    # 4096 draws: a hundredth of the posterior's standard deviation, and some autocorrelation.
    tolerance = 0.15 * np.sqrt(spread**2 - 1) + 1e-3
    assert np.all(np.abs(predicted["mean"][:, 0] - mean) < tolerance)
    assert np.all(np.abs(predicted["standard_deviation"][:, 0] - spread) < tolerance)
    reach = stats.norm.ppf(0.975) * spread
    assert np.all(np.abs(predicted["high"][:, 0] - mean - reach) < 4 * tolerance)


@pytest.mark.false_alarm(comparisons=3, standard_errors=K, degrees_of_freedom=SEEDS - 1)
def test_densities_of_new_data() -> None:
    mean, spread = conjugate()
    points = slt.Data(INPUTS, (mean + 0.7)[:, None])  # type: ignore[arg-type]
    expected = stats.norm.logpdf(0.7, scale=spread)
    exact = slt.exact(LINEAR, data()).log_predictive_density(points)
    np.testing.assert_allclose(exact.value, expected, atol=1e-9)
    estimate = sampled().log_predictive_density(points)
    assert np.all(np.abs(estimate.value - expected) < K * estimate.standard_error + 1e-12)


def test_predictions_at_another_beta_do_not_temper_the_density() -> None:
    cold = slt.exact(LINEAR, data(), 50.0).predict(INPUTS[:1])
    assert float(cold["standard_deviation"][0, 0]) == pytest.approx(1.0, abs=1e-9)


def test_wrong_predictions_are_refused() -> None:
    posterior = slt.exact(LINEAR, data())
    with pytest.raises(ValueError, match=r"coverage = 1\.0: must be a number above 0 and below 1"):
        posterior.predict(INPUTS, coverage=1.0)
    with pytest.raises(ValueError, match=r"x has shape \(3, 2\)"):
        posterior.predict(INPUTS[:, :2])
    mixture = PROBLEMS["mixture_2_fixed"]
    of_mixture = slt.exact(mixture, slt.simulate(mixture, jax.random.key(0), 10))
    with pytest.raises(ValueError, match="predictions need a regression"):
        of_mixture.predict(of_mixture.data.x)
    two = PROBLEMS["reduced_rank_2_2_1_0"]
    several = slt.exact(two, slt.simulate(two, jax.random.key(0), 10))
    with pytest.raises(ValueError, match="exact predictions need one output"):
        several.predict(several.data.x)
