"""Losses and criteria: closed forms, refitted evidences, and identities that hold at every n."""

import functools

import jax
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import logsumexp
from scipy.stats import norm

from slt_jax.data import simulate, statistics_of
from slt_jax.models import named_problems
from slt_jax.models.linear import LinearRegression
from slt_jax.oracles.criteria import (
    GeneralisationErrors,
    generalisation_errors,
    pointwise_moments,
    quadrature_points,
    simulated_points,
    training_criteria,
    wbic,
)
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.problem import Problem
from slt_jax.run.compilation import CompilationCounter
from slt_jax.statistics import Data

PROBLEMS = named_problems()
NUM_DATA = 6
LINEAR = Problem(
    "linear_scaled",
    LinearRegression(noise=0.5, input_dim=1, prior_scale=2.0),
    {"w": np.array([0.7])},
)
# One of each structure: a Gaussian block of fixed features, a block without them, and none.
KINDS = ("monomial_1_1", "tanh_2d_1", "parabola_two_optima")


@functools.cache
def data_of(name: str, n: int = NUM_DATA) -> Data:
    problem = LINEAR if name == "linear" else PROBLEMS[name]
    return Data(*map(np.asarray, simulate(problem, jax.random.key(61), n)))


@functools.cache
def oracle_of(name: str) -> Oracle:
    return oracle_for(LINEAR if name == "linear" else PROBLEMS[name])


def log_evidences(name: str, data: Data, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """log Z(a) − Σ a_i ℓ_i(w₀) for each row of weights [R, n], and the bound of all, in nats."""
    oracle = oracle_of(name)
    all_statistics = [statistics_of(oracle.problem, data, row) for row in weights]
    exact = oracle.log_evidence(jax.tree.map(lambda *leaves: np.stack(leaves), *all_statistics))
    return exact.value, exact.error.max()


def extended(data: Data, *more: Data) -> Data:
    return Data(*(np.concatenate(parts) for parts in zip(data, *more, strict=True)))


# --- identities in the weights -----------------------------------------------------------------


@pytest.mark.parametrize("beta", [1.0, 0.4])
@pytest.mark.parametrize("name", KINDS)
def test_pointwise_moments_are_differences_of_evidences(name, beta):
    """Weights of one datum up by 1 or down to 0, and difference quotients of them, extrapolated.

    Shifts are exact up to the bounds of all that is subtracted; a difference quotient of step h
    divides the error of log Z by h or h², and extrapolation from 2h leaves a tenth of what it
    corrects, as its own error is of higher order.
    """
    data, h = data_of(name), 0.05
    ones, units = np.full(NUM_DATA, beta), np.eye(NUM_DATA)
    shifts = (1.0, -beta, 1 - beta, 2 * h, -2 * h, h, -h)
    rows = np.concatenate([ones[None], *(ones + shift * units for shift in shifts)])
    values, error = log_evidences(name, data, rows)
    base, (up, out, other, *steps) = values[0], values[1:].reshape(7, NUM_DATA)
    wide, narrow = np.reshape(steps, (2, 2, NUM_DATA))
    slopes = [(right - left) / (2 * k) for k, (right, left) in ((2 * h, wide), (h, narrow))]
    bends = [(right - 2 * base + left) / k**2 for k, (right, left) in ((2 * h, wide), (h, narrow))]
    moments = pointwise_moments(oracle_of(name), data, beta=beta)
    for quantity, expected, allowed in (
        (moments.log_predictive, up - base, 2 * error),
        (moments.log_left_out, other - out, 2 * error),
        (moments.mean, *extrapolated(slopes, 2 * error / h)),
        (moments.variance, *extrapolated(bends, 6 * error / h**2)),
    ):
        assert np.all(np.abs(quantity.value - expected) <= quantity.error + allowed)
        assert np.mean(np.abs(expected)) > 20 * np.mean(allowed), "a check without power"


def extrapolated(quotients: list[np.ndarray], error: float) -> tuple[np.ndarray, np.ndarray]:
    """Richardson's value from steps of 2h and h, and what is allowed."""
    wide, narrow = quotients
    return (4 * narrow - wide) / 3, error + 0.1 * np.abs(narrow - wide)


@pytest.mark.parametrize("name", KINDS)
def test_criteria_are_sums_of_pointwise_moments(name):
    """E_β is one of them in total; WAIC and the losses follow their definitions."""
    data, beta = data_of(name), 0.6
    criteria = training_criteria(oracle_of(name), data, beta)
    each = pointwise_moments(oracle_of(name), data, beta=beta)
    optimum = statistics_of(PROBLEMS[name], data).log_likelihood_at_optimum / -NUM_DATA
    for quantity, expected in (
        (criteria.bayes_training_loss, optimum - np.mean(each.log_predictive.value)),
        (criteria.gibbs_training_loss, optimum - np.mean(each.mean.value)),
        (criteria.functional_variance, np.sum(each.variance.value)),
        (criteria.waic, criteria.bayes_training_loss.value + beta * np.mean(each.variance.value)),
        (criteria.loo, optimum - np.mean(each.log_left_out.value)),
        (criteria.excess_energy, -np.sum(each.mean.value)),
        (criteria.free_energy, criteria.normalised_free_energy.value + beta * 6 * optimum),
    ):
        assert abs(quantity.value - expected) <= NUM_DATA * each.mean.error.max() + 1e-12
    moments = oracle_of(name).moments(statistics_of(PROBLEMS[name], data), beta)
    for quantity in moments._fields:
        one, other = getattr(criteria, quantity), getattr(moments, quantity)
        assert abs(one.value - other.value) <= 1e-11 + one.error * 1e-3


def test_weights_are_those_of_the_posterior():
    """A datum of weight 2 counts as two, one of weight 0 is held out, as in a longer data set."""
    data, oracle = data_of("monomial_1_1"), oracle_of("monomial_1_1")
    weights = np.array([2.0, 1, 1, 1, 0, 1])
    rows = np.array([0, 0, 1, 2, 3, 5])
    repeated = pointwise_moments(oracle, Data(*(part[rows] for part in data)), points=data)
    weighted = pointwise_moments(oracle, data, weights=weights)
    for quantity in ("mean", "variance", "log_predictive"):
        one, other = getattr(weighted, quantity), getattr(repeated, quantity)
        np.testing.assert_allclose(one.value, other.value, atol=1e-12)
    np.testing.assert_allclose(weighted.log_left_out.value[4], weighted.log_predictive.value[4])


# --- closed forms ------------------------------------------------------------------------------


def test_conjugate_regression_in_closed_form():
    """w | data ~ N(μ, τ²): all criteria from it, at β = 0.7, noise ½ and prior scale 2."""
    beta, noise, scale, true = 0.7, 0.5, 2.0, 0.7
    data = data_of("linear", 40)
    x, y = data.x[:, 0], data.y[:, 0]

    def posterior(weights):
        precision = 1 / scale**2 + np.sum(weights * x**2) / noise**2
        return np.sum(weights * x * y) / noise**2 / precision, 1 / precision

    weights = np.full(40, beta)
    mean, variance = posterior(weights)
    residual, spread = (y - mean * x) / noise, variance * x**2 / noise**2
    at_optimum = norm(true * x, noise).logpdf(y)
    predictive = norm(mean * x, np.sqrt(noise**2 + variance * x**2)).logpdf(y)
    left_out = [
        norm(m * x[j], np.sqrt(noise**2 + v * x[j] ** 2)).logpdf(y[j])
        for j, (m, v) in enumerate(map(posterior, weights - beta * np.eye(40)))
    ]
    gibbs = (residual**2 + spread + np.log(2 * np.pi * noise**2)) / 2
    variances = spread**2 / 2 + spread * residual**2
    criteria = training_criteria(oracle_of("linear"), data, beta)
    for quantity, expected in (
        (criteria.bayes_training_loss, -predictive.mean()),
        (criteria.gibbs_training_loss, gibbs.mean()),
        (criteria.functional_variance, variances.sum()),
        (criteria.waic, -predictive.mean() + beta * variances.mean()),
        (criteria.loo, -np.mean(left_out)),
        (criteria.bayes_training_error, np.mean(at_optimum - predictive)),
    ):
        assert quantity.value == pytest.approx(expected, rel=1e-10, abs=1e-12)

    # Out of sample x is standard normal, so that E (μ − w₀)²x² + τ²x² is elementary.
    errors = generalisation_errors(oracle_of("linear"), data, quadrature_points(LINEAR), beta)
    expected = ((mean - true) ** 2 + variance) / (2 * noise**2)
    gibbs_error = errors.gibbs_generalisation_error
    assert abs(gibbs_error.value - expected) <= gibbs_error.error
    assert gibbs_error.error < 1e-10
    nodes, mass = hermegauss(200)
    widths = 1 + variance * nodes**2 / noise**2
    bayes = ((1 + (mean - true) ** 2 * nodes**2 / noise**2) / widths - 1 + np.log(widths)) / 2
    expected = mass @ bayes / np.sqrt(2 * np.pi)
    bayes_error = errors.bayes_generalisation_error
    assert abs(bayes_error.value - expected) <= bayes_error.error
    assert bayes_error.error < 1e-4
    assert errors.bayes_generalisation_loss.value == pytest.approx(
        expected + 0.5 * (1 + np.log(2 * np.pi * noise**2)), rel=1e-5
    )


def test_criteria_on_a_grid_of_all_parameters():
    """y = w₁w₂x by the trapezoid rule in w, which is exact to rounding at this step and n."""
    data, beta = data_of("monomial_1_1"), 1.0
    axis = np.linspace(-7.5, 7.5, 601)
    product = np.multiply.outer(axis, axis).ravel()
    log_prior = np.add.outer(norm.logpdf(axis), norm.logpdf(axis)).ravel()
    logs = norm.logpdf(data.y[:, 0], np.multiply.outer(product, data.x[:, 0]))
    gains = logs - norm.logpdf(data.y[:, 0])
    log_posterior = log_prior + beta * gains.sum(axis=1)
    log_share = log_posterior - logsumexp(log_posterior)
    share = np.exp(log_share)
    mean = share @ gains
    left_out = -logsumexp(log_share[:, None] - gains, axis=0)
    moments = pointwise_moments(oracle_of("monomial_1_1"), data)
    for quantity, expected in (
        (moments.mean, mean),
        (moments.variance, share @ (gains - mean) ** 2),
        (moments.log_predictive, np.log(share @ np.exp(gains))),
        (moments.log_left_out, left_out),
    ):
        np.testing.assert_allclose(quantity.value, expected, rtol=1e-7, atol=1e-9)


# --- generalisation ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["monomial_1_1", "parabola_two_optima"])
def test_generalisation_error_is_the_growth_of_the_free_energy(name):
    """G_n = E[F_{n+1} | z_1 … z_n] − F_n: evidences of longer data sets at Gauss points of z.

    They share the points, so that only the bounds of the two oracles separate the answers.
    """
    data, points = data_of(name), quadrature_points(PROBLEMS[name])
    keep = points.weights > 4e-3
    some = points._replace(
        data=Data(*(np.asarray(part)[keep] for part in points.data)),
        weights=points.weights[keep],
        check=points.check[keep],
    )
    exact = generalisation_errors(oracle_of(name), data, some).bayes_generalisation_error
    longer = extended(data, some.data)
    count = keep.sum()
    rows = np.column_stack([np.ones((count + 1, NUM_DATA)), np.eye(count + 1)[:, 1:]])
    values, error = log_evidences(name, longer, rows)
    growth = -(values[1:] - values[0]) @ some.weights
    assert abs(exact.value - growth) <= exact.error + 2 * error
    assert abs(exact.value) > 100 * (2 * error)


@pytest.mark.parametrize("name", ["linear_3", "reduced_rank_2_2_1_0", "skalse_x2", "tanh_1"])
def test_points_of_the_truth_have_its_entropy(name):
    """Both rules give −Σ weight·log q(z) = S: residuals are standard normal, weights sum to 1."""
    problem, points = PROBLEMS[name], quadrature_points(PROBLEMS[name])
    with jax.enable_x64(True):
        over_data = jax.vmap(problem.model.log_likelihood, (None, 0, 0))
        logs = np.asarray(over_data(problem.optimum, *points.data))
    for weights in (points.weights, points.check):
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        assert -weights @ logs == pytest.approx(problem.entropy, rel=1e-12)


@pytest.mark.false_alarm(comparisons=2, standard_errors=5)
def test_a_sample_of_the_truth_agrees_with_quadrature():
    """B_g and G_g within 5 standard errors, which are half of them at most."""
    oracle, data = oracle_of("monomial_1_1"), data_of("monomial_1_1")
    exact = generalisation_errors(oracle, data, quadrature_points(oracle.problem))
    sample = simulated_points(oracle.problem, jax.random.key(63), 4000)
    sampled = generalisation_errors(oracle, data, sample)
    assert isinstance(exact, GeneralisationErrors)
    for rule in ("bayes", "gibbs"):
        value = getattr(exact, f"{rule}_generalisation_error").value
        standard_error = getattr(sampled, f"{rule}_standard_error")
        assert getattr(exact, f"{rule}_standard_error") == 0
        assert standard_error < 0.5 * value
        distance = getattr(sampled, f"{rule}_generalisation_error").value - value
        assert abs(distance) <= 5 * standard_error


# --- one program, and refusals -----------------------------------------------------------------


def test_one_program_serves_every_n_and_beta():
    """Also data sets that need more pieces than one."""
    oracle, data = oracle_of("monomial_1_1"), data_of("monomial_1_1", 150)
    training_criteria(oracle, data_of("monomial_1_1"))
    with CompilationCounter() as counter:
        for n, beta in ((9, 0.3), (150, 1.0)):
            criteria = training_criteria(oracle, Data(data.x[:n], data.y[:n]), beta)
            assert criteria.functional_variance.value > 0
    assert not {"point_sums", "statistics_of_block", "density_of_block"} & set(counter.counts)


def test_wbic_is_the_energy_at_its_temperature():
    data, oracle = data_of("monomial_1_1"), oracle_of("monomial_1_1")
    criteria = training_criteria(oracle, data, 1 / np.log(NUM_DATA))
    expected = criteria.excess_energy.value + criteria.energy_at_optimum
    assert wbic(oracle, data).value == pytest.approx(expected, rel=1e-13)
    assert criteria.n == NUM_DATA


@pytest.mark.parametrize("beta", [-0.5, np.nan, np.inf])
def test_bad_beta_is_refused(beta):
    with pytest.raises(ValueError, match=f"beta = {beta}"):
        training_criteria(oracle_of("monomial_1_1"), data_of("monomial_1_1"), beta)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_bad_data_are_refused(value):
    """Training data and points alike, by the place of the first offender."""
    data, oracle = data_of("monomial_1_1"), oracle_of("monomial_1_1")
    y = data.y.copy()
    y[3] = value
    with pytest.raises(ValueError, match=r"y\[3, 0\]"):
        training_criteria(oracle, Data(data.x, y))
    with pytest.raises(ValueError, match=r"y\[3, 0\]"):
        pointwise_moments(oracle, data, points=Data(data.x, y))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), r"weights have shape \(5,\); they must be \(6,\)"),
        (np.array([1, 1, -1, 1, 1, 1.0]), r"weights\[2\] is -1.0; they must be ≥ 0"),
        (6 * [np.nan], r"weights\[0\] is nan; they must be finite"),
        (np.ones(6) + 1j, r"weights\[0\] is \(1\+1j\); allowed: real numbers"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        pointwise_moments(
            oracle_of("monomial_1_1"), data_of("monomial_1_1"), weights=np.array(weights)
        )


def test_what_has_no_exact_expectation_says_so():
    with pytest.raises(ValueError, match="mixture_2_fixed"):
        quadrature_points(PROBLEMS["mixture_2_fixed"])
    with pytest.raises(ValueError, match="size = 1"):
        simulated_points(PROBLEMS["linear_3"], jax.random.key(0), 1)
    with pytest.raises(ValueError, match="n = 2"):
        wbic(oracle_of("linear"), data_of("linear", 2))
