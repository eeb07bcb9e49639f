"""NUTS against the closed-form posterior of a linear regression.

Every comparison first asks for an effective sample size and then for agreement within K = 5.5
standard errors, which fails by chance 4e-8 of the time.
"""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpyro.diagnostics import effective_sample_size

from slt_jax.samplers.nuts import NUTSResult, NUTSSettings, nuts
from slt_jax.samplers.target import Target

K = 5.5
MIN_ESS = 1000
DIMENSION = 2
NUM_CHAINS = 16
OPTIMUM = np.array([0.7, -0.4])
SETTINGS = NUTSSettings(num_warmup=200, num_draws=400)


class Statistics(NamedTuple):
    """Gram matrix [d, d] of the inputs, and their products [d] with the residuals at w₀."""

    gram: Array
    cross: Array


def log_likelihood(w: Array, data: Statistics) -> Array:
    """−nL_n(w) + nL_n(w₀) of a regression with unit noise."""
    delta = w - OPTIMUM.astype(w.dtype)
    return delta @ (data.cross - 0.5 * data.gram @ delta)


TARGET = Target(
    sample_prior=lambda key: jax.random.normal(key, (DIMENSION,)),
    log_prior=lambda w: -0.5 * jnp.sum(w**2 + jnp.log(2 * jnp.pi)),
    log_likelihood=log_likelihood,
)


def simulate(n: int, seed: int) -> Statistics:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, DIMENSION)) @ np.array([[1.0, 0.6], [0.0, 0.5]])
    return Statistics(x.T @ x, x.T @ rng.normal(size=n))


def exact(data: Statistics, beta: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior mean [d], variances [d] and E_β[nL_n(w) − nL_n(w₀)]."""
    gram, cross = np.asarray(data.gram, np.float64), np.asarray(data.cross, np.float64)
    covariance = np.linalg.inv(np.eye(DIMENSION) + beta * gram)
    mean = covariance @ (beta * (gram @ OPTIMUM + cross))
    delta = mean - OPTIMUM
    energy = 0.5 * (np.trace(gram @ covariance) + delta @ gram @ delta) - delta @ cross
    return mean, np.diag(covariance), energy


def assert_mean(draws: np.ndarray, expected: float) -> None:
    """The mean of draws [chain, draw] is the expected one, within K standard errors."""
    draws = np.asarray(draws, np.float64)
    ess = float(effective_sample_size(draws))
    assert ess >= MIN_ESS
    assert abs(draws.mean() - expected) <= K * draws.std(ddof=1) / np.sqrt(ess)


def assert_posterior(result: NUTSResult, data: Statistics, beta: float) -> None:
    mean, variance, energy = exact(data, beta)
    for i in range(DIMENSION):
        w = np.asarray(result.positions[..., i], np.float64)
        assert_mean(w, mean[i])
        assert_mean((w - mean[i]) ** 2, variance[i])
    assert_mean(result.energies, energy)


BETAS = np.array([1.0, 1 / np.log(200), 0.3])
JOBS = [simulate(20, 0), simulate(200, 1), simulate(2000, 2)]
STACKED = Statistics(*(np.stack(leaves) for leaves in zip(*JOBS, strict=True)))


@functools.cache
def sampler() -> Any:
    """One compiled program for all jobs, so that the tests compile it once."""
    once = chex.assert_max_traces(nuts, n=1)
    return jax.jit(jax.vmap(once, in_axes=(None, None, 0, 0, 0, 0)), static_argnums=(0, 1))


def sample(seed: int, betas: np.ndarray = BETAS, data: Statistics = STACKED) -> NUTSResult:
    keys = jax.random.split(jax.random.key(seed), len(betas))
    start = jax.random.normal(jax.random.key(1), (len(betas), NUM_CHAINS, DIMENSION))
    return sampler()(TARGET, SETTINGS, keys, data, betas, start)


@pytest.fixture(scope="module")
def result() -> NUTSResult:
    return sample(seed=0)


def job(result: NUTSResult, index: int) -> NUTSResult:
    return jax.tree.map(lambda leaf: leaf[index], result)


@pytest.mark.parametrize("index", range(len(JOBS)))
@pytest.mark.false_alarm(comparisons=5, standard_errors=K)
def test_closed_form_posterior(result: NUTSResult, index: int) -> None:
    assert result.positions.dtype == result.energies.dtype == jnp.float32
    assert_posterior(job(result, index), JOBS[index], BETAS[index])


@pytest.mark.parametrize("index", range(len(JOBS)))
def test_the_check_can_fail(result: NUTSResult, index: int) -> None:
    one = job(result, index)
    with pytest.raises(AssertionError):
        assert_posterior(one, JOBS[index], 1.2 * BETAS[index])
    few = one._replace(positions=one.positions[:, :40], energies=one.energies[:, :40])
    with pytest.raises(AssertionError, match="1000"):
        assert_posterior(few, JOBS[index], BETAS[index])


def test_energies_belong_to_the_positions(result: NUTSResult) -> None:
    for i, data in enumerate(JOBS):
        delta = np.asarray(result.positions[i], np.float64) - OPTIMUM
        energies = 0.5 * np.einsum("...i,ij,...j", delta, data.gram, delta) - delta @ data.cross
        np.testing.assert_allclose(result.energies[i], energies, rtol=1e-3, atol=1e-3)


def test_shapes_and_diagnostics(result: NUTSResult) -> None:
    jobs = len(JOBS)
    chex.assert_shape(result.positions, (jobs, NUM_CHAINS, SETTINGS.num_draws, DIMENSION))
    chex.assert_shape(result.energies, (jobs, NUM_CHAINS, SETTINGS.num_draws))
    chex.assert_tree_shape(result[2:], (jobs, NUM_CHAINS))
    assert np.all((result.acceptance > 0.6) & (result.acceptance < 1))
    assert np.all(result.num_divergent == 0)
    # The step size follows the width of the posterior, which was known to be within a factor.
    assert np.all((result.step_size > 0.1) & (result.step_size < 4))
    assert np.all((result.num_steps >= 1) & (result.num_steps < 2**SETTINGS.max_tree_depth))


def test_same_key_same_draws(result: NUTSResult) -> None:
    chex.assert_trees_all_equal(result, sample(seed=0))
    other = sample(seed=1)
    assert not np.any(np.all(other.positions == result.positions, axis=(2, 3)))


def test_chains_are_independent(result: NUTSResult) -> None:
    last = np.asarray(result.positions[:, :, -1, 0])
    assert len(np.unique(last)) == last.size


def test_beta_data_and_keys_do_not_recompile(result: NUTSResult) -> None:
    """``sampler`` refuses to be traced again, which precedes every compilation."""
    sample(seed=2, betas=np.array([0.01, 0.5, 0.9]))
    sample(seed=3, data=jax.tree.map(lambda leaf: 3 * leaf, STACKED))


def test_a_chain_that_starts_nowhere_stays_and_is_counted() -> None:
    start = np.zeros((len(JOBS), NUM_CHAINS, DIMENSION))
    start[1, 3] = np.nan
    keys = jax.random.split(jax.random.key(4), len(JOBS))
    result = sampler()(TARGET, SETTINGS, keys, STACKED, BETAS, start)
    lost = np.zeros((len(JOBS), NUM_CHAINS), dtype=bool)
    lost[1, 3] = True
    np.testing.assert_array_equal(result.num_divergent, np.where(lost, SETTINGS.num_draws, 0))
    np.testing.assert_array_equal(np.isnan(result.energies).all(axis=-1), lost)
    np.testing.assert_array_equal(np.isnan(result.energies).any(axis=-1), lost)
    np.testing.assert_array_equal(result.acceptance == 0, lost)


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=5, standard_errors=K)
def test_float64() -> None:
    with jax.enable_x64(True):
        start = jax.random.normal(jax.random.key(1), (NUM_CHAINS, DIMENSION), jnp.float32)
        run = jax.jit(nuts, static_argnums=(0, 1))
        result = run(TARGET, SETTINGS, jax.random.key(0), JOBS[1], BETAS[1], start)
        assert result.positions.dtype == result.energies.dtype == jnp.float64
        assert_posterior(result, JOBS[1], BETAS[1])


def test_a_step_far_too_long_diverges() -> None:
    """Without warm-up the step is 1, and the posterior is a thousand times narrower."""
    run = jax.jit(nuts, static_argnums=(0, 1))
    settings = NUTSSettings(num_warmup=0, num_draws=20)
    narrow = Statistics(1e6 * np.eye(DIMENSION), np.zeros(DIMENSION))
    start = np.tile(OPTIMUM, (4, 1))
    result = run(TARGET, settings, jax.random.key(0), narrow, 1.0, start)
    np.testing.assert_array_equal(result.num_divergent, 20)
    np.testing.assert_array_equal(result.num_steps, 1)
    np.testing.assert_array_equal(result.step_size, 1)
    np.testing.assert_array_equal(result.energies, 0)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        (NUTSSettings(), (DIMENSION,)),
        (NUTSSettings(), (0, DIMENSION)),
        (NUTSSettings(num_warmup=-1), (4, DIMENSION)),
        (NUTSSettings(num_draws=0), (4, DIMENSION)),
        (NUTSSettings(max_tree_depth=0), (4, DIMENSION)),
        (NUTSSettings(target_acceptance=1.0), (4, DIMENSION)),
    ],
)
def test_refuses_what_is_out_of_range(settings: NUTSSettings, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"allowed is|must"):
        nuts(TARGET, settings, jax.random.key(0), JOBS[0], 1.0, np.zeros(shape))
