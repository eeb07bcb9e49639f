"""SGLD against the exact law of its discretised chain, which for a Gaussian target is known.

The chain w ← w + (ε/2)∇log density + √ε ξ on a Gaussian of precision A is a linear recursion: its
stationary covariance is (A(1 − εA/4))⁻¹, so that the bias of long steps is tested and not only
its absence. Statistics are of last positions of chains that never met: their number is their
effective sample size. Every comparison is within K = 5.5 standard errors, which fails by chance
4e-8 of the time.
"""

import functools
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array
from scipy import stats

from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.estimators.diagnostics import effective_sample_size, r_hat
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.sgld import RMSProp, SGLDResult, SGLDSettings, sgld
from slt_jax.samplers.target import Target
from slt_jax.statistics import Data, WeightedData

K = 5.5
NUM_CHAINS = 4096
OPTIMUM = np.array([0.7, -0.4])
BETA, GAMMA = 0.4, 2.0

run = jit_at_first_call(sgld, static_argnums=(0, 1))


class Statistics(NamedTuple):
    """Gram matrix [d, d] of the inputs, and their products [d] with the residuals at w₀."""

    gram: Array
    cross: Array


def log_prior(w: Array) -> Array:
    return -0.5 * jnp.sum(w**2)


def log_likelihood(w: Array, data: Statistics) -> Array:
    delta = w - OPTIMUM.astype(w.dtype)
    return delta @ (data.cross - 0.5 * data.gram @ delta)


def location_log_likelihood(w: Array, data: WeightedData) -> Array:
    """y ~ N(w, 1) around w₀ = 0: the noise of a minibatch gradient does not depend on w."""
    return jnp.sum(data.weights * (data.data.y @ w - w @ w / 2))


TARGET = Target(lambda key: jax.random.normal(key, (2,)), log_prior, log_likelihood)
LOCATION = Target(lambda key: jax.random.normal(key, (1,)), log_prior, location_log_likelihood)
STATISTICS = Statistics(np.array([[12.0, 5.0], [5.0, 8.0]]), np.array([2.0, -3.0]))
CENTRE = np.array([0.2, 0.5])


def location_data(n: int, padding: int, seed: int = 0) -> WeightedData:
    """n data with unequal weights and padding that would be noticed."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([1 + rng.normal(size=(n, 1)), np.full((padding, 1), 1e6)])
    weights = np.concatenate([rng.uniform(0.5, 1.5, size=n), np.zeros(padding)])
    return location_statistics(y, weights)


def location_statistics(y: np.ndarray, weights: np.ndarray) -> WeightedData:
    log_likelihood_at_optimum = -0.5 * np.sum(np.where(weights == 0, 0, weights * y[:, 0] ** 2))
    return WeightedData(
        Data(np.zeros((len(y), 0)), y), weights, {"w": np.zeros(1)}, log_likelihood_at_optimum
    )


def sample(
    settings: SGLDSettings,
    step_size: float,
    *,
    target: Target = TARGET,
    data: Any = STATISTICS,
    beta: float = BETA,
    gamma: float = GAMMA,
    centre: np.ndarray = CENTRE,
    start: np.ndarray | None = None,
    seed: int = 0,
) -> SGLDResult:
    start = np.zeros((NUM_CHAINS, len(centre))) if start is None else start
    key = jax.random.key(seed)
    return run(target, settings, key, data, beta, gamma, centre, step_size, start)


def assert_mean(draws: Array, expected: float) -> None:
    """Independent draws have this mean, within K standard errors."""
    draws = np.asarray(draws, float)
    assert draws.ndim == 1
    assert len(draws) >= NUM_CHAINS
    assert abs(draws.mean() - expected) <= K * draws.std(ddof=1) / math.sqrt(len(draws))


# --- the exact law of the discretised chain -------------------------------------------------


class Law(NamedTuple):
    mean: np.ndarray
    covariance: np.ndarray
    energy: float
    forgotten: float  # what is left of the start after one step, in the slowest direction


def law(
    step_size: float,
    *,
    with_prior: bool = False,
    data: Statistics = STATISTICS,
    beta: float = BETA,
    gamma: float = GAMMA,
    centre: np.ndarray = CENTRE,
) -> Law:
    identity = np.eye(2)
    precision = beta * data.gram + (gamma + with_prior) * identity
    pull = beta * (data.gram @ OPTIMUM + data.cross) + gamma * centre
    mean = np.linalg.solve(precision, pull)
    covariance = np.linalg.inv(precision @ (identity - step_size * precision / 4))
    delta = mean - OPTIMUM
    energy = 0.5 * (np.trace(data.gram @ covariance) + delta @ data.gram @ delta)
    values = np.linalg.eigvalsh(precision)
    forgotten = np.max(np.abs(1 - step_size * values / 2))
    return Law(mean, covariance, energy - delta @ data.cross, forgotten)


def assert_law(result: SGLDResult, expected: Law) -> None:
    assert not np.any(result.diverged)
    for i in range(2):
        w = np.asarray(result.positions[:, i], float)
        assert_mean(w, expected.mean[i])
        assert_mean((w - expected.mean[i]) ** 2, expected.covariance[i, i])
    both = np.prod(np.asarray(result.positions, float) - expected.mean, axis=1)
    assert_mean(both, expected.covariance[0, 1])
    assert_mean(result.energies[:, -1], expected.energy)


STEP_SIZE = 0.2  # times the largest precision over 4: the widest variance is a third too large
SETTINGS = SGLDSettings(num_warmup=90, num_draws=3, thinning=10)


@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.false_alarm(comparisons=6, standard_errors=K)
def test_discretised_gaussian(with_prior: bool) -> None:
    settings = SETTINGS._replace(with_prior=with_prior)
    expected = law(STEP_SIZE, with_prior=with_prior)
    assert expected.forgotten ** (90 + 30) < 1e-6
    result = sample(settings, STEP_SIZE)
    assert result.positions.dtype == result.energies.dtype == jnp.float32
    assert_law(result, expected)
    other = sample(SETTINGS._replace(with_prior=not with_prior), STEP_SIZE)
    with pytest.raises(AssertionError):
        assert_law(other, expected)


@pytest.mark.parametrize("wrong", [{"step_size": 1e-6}, {"beta": 0.5}, {"gamma": 2.5}])
def test_the_check_can_fail(wrong: dict[str, float]) -> None:
    with pytest.raises(AssertionError):
        assert_law(sample(SETTINGS, STEP_SIZE), law(**({"step_size": STEP_SIZE} | wrong)))


@functools.cache
def location_case() -> tuple[WeightedData, float, float]:
    """Data, their weighted mean and their weight."""
    data = location_data(40, 60)
    total = data.weights.sum()
    return data, float(data.weights @ data.data.y[:, 0] / total), float(total)


@pytest.mark.false_alarm(comparisons=2, standard_errors=K)
def test_minibatches_have_the_exact_law() -> None:
    """The gradient noise of m data adds β²(Σa)²s²/m · ε²/4 to the variance of a step."""
    data, mean, total = location_case()
    size, step_size = 5, 0.05
    spread = data.weights @ (data.data.y[:, 0] - mean) ** 2 / total
    precision = BETA * total + GAMMA
    centre = np.array([0.3])
    target_mean = (BETA * total * mean + GAMMA * centre[0]) / precision
    contraction = 1 - step_size * precision / 2
    noise = step_size**2 / 4 * BETA**2 * total**2 * spread / size
    variance = (step_size + noise) / (1 - contraction**2)
    assert noise > 0.3 * step_size
    assert abs(contraction) ** 50 < 1e-6
    settings = SGLDSettings(num_warmup=48, num_draws=2, thinning=1, batch_size=size)
    result = sample(settings, step_size, target=LOCATION, data=data, centre=centre)
    assert not np.any(result.diverged)
    w = np.asarray(result.positions[:, 0], float)
    assert_mean(w, target_mean)
    assert_mean((w - target_mean) ** 2, variance)
    # Energies are of all data.
    energies = total * ((w - mean) ** 2 - mean**2) / 2
    np.testing.assert_allclose(result.energies[:, -1], energies, rtol=1e-3, atol=1e-3)
    with pytest.raises(AssertionError):
        assert_mean((w - target_mean) ** 2, step_size / (1 - contraction**2))


# --- minibatches ----------------------------------------------------------------------------

WEIGHTS = {
    "ones": [1, 1, 1, 1, 1, 1, 1, 1],
    "padded": [1, 1, 1, 1, 1, 0, 0, 0],
    "unequal": [0.3, 2.0, 0.0, 1.0, 0.1, 0.0, 4.0, 0.0],
    "negative": [1.0, -2.0, 0.0, 0.5, -0.5, 0.0, 1.0, 9.0],
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_minibatch_gradients_are_unbiased(weights: list[float], size: int) -> None:
    a = np.array(weights)
    y = np.where(a == 0, np.nan, np.arange(8.0) - 2)[:, None]  # NaN wherever a row must not count
    data = location_statistics(y, a)
    w = jnp.array([0.4])
    gradient = jax.grad(location_log_likelihood)
    keys = jax.random.split(jax.random.key(7), 20000)
    batches = jax.jit(jax.vmap(lambda key: data.subsample(key, size)))(keys)
    chex.assert_shape([batches.weights, batches.data.y], [(20000, size), (20000, size, 1)])
    np.testing.assert_array_equal(
        batches.log_likelihood_at_optimum, np.float32(data.log_likelihood_at_optimum)
    )
    np.testing.assert_allclose(np.abs(batches.weights), np.abs(a).sum() / size, rtol=1e-6)
    present = a != 0
    exact = np.sum(a[present] * (y[present, 0] - 0.4))
    drawn = np.asarray(jax.jit(jax.vmap(gradient, (None, 0)))(w, batches), float)[:, 0]
    assert_mean(drawn, exact)
    if len(a) != np.abs(a).sum():
        with pytest.raises(AssertionError):
            assert_mean(drawn * len(a) / np.abs(a).sum(), exact)


def test_a_subsample_of_no_data_weighs_nothing() -> None:
    data = location_data(4, 0)
    batch = data._replace(weights=np.zeros(4)).subsample(jax.random.key(0), 3)
    np.testing.assert_array_equal(batch.weights, 0)


def test_chains_and_steps_have_their_own_minibatches() -> None:
    """Without noise to speak of, two chains part by their minibatches alone."""
    data, _, _ = location_case()
    settings = SGLDSettings(num_warmup=0, num_draws=1, thinning=1, batch_size=1)
    tiny = sample(settings, 1e-10, target=LOCATION, data=data, beta=1e8, centre=np.zeros(1))
    assert len(np.unique(np.asarray(tiny.positions))) > 30


# --- singular learning theory ---------------------------------------------------------------


@functools.cache
def linear(n: int) -> tuple[Any, Any]:
    """One data set of linear_3, in float64, with and without its leading axis."""
    problem = named_problems()["linear_3"]
    batch = statistics_along_n(problem, jax.random.key(3), 1, (n,))[0]
    return batch, jax.tree.map(lambda leaf: leaf[0], batch)


@pytest.mark.parametrize("beta", [1 / math.log(100), 1.0])
@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_agrees_with_the_oracle(beta: float) -> None:
    """γ = 0 with the prior is the Bayes posterior; the bias of the step is allowed for."""
    problem = named_problems()["linear_3"]
    batch, data = linear(100)
    exact = oracle_for(problem).moments(batch, beta).excess_energy.value[0]
    target = target_of(problem.model)
    start = np.asarray(jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(1), 512)))
    stiffest = 1 + beta * np.linalg.eigvalsh(data.gram)[-1]
    step_size = 0.04 / stiffest
    result = sample(
        SGLDSettings(num_warmup=800, num_draws=30, thinning=50, with_prior=True),
        step_size,
        target=target,
        data=in_precision(data, jnp.float32),
        beta=beta,
        gamma=0.0,
        centre=np.zeros(3),
        start=start,
    )
    energies = np.asarray(result.energies, float)
    ess = float(effective_sample_size(energies))
    assert ess >= 5000
    assert float(r_hat(energies)) < 1.02
    assert np.all(result.acceptance > 0.98)
    # Variances are at most 1/(1 − εa/4) − 1 too large, and energies are d/2β of fluctuation.
    bias = 1.5 / beta * (1 / (1 - 0.01) - 1)
    error = energies.std() / math.sqrt(ess)
    assert error < 0.02 * 1.5 / beta
    assert abs(energies.mean() - exact) <= K * error + bias
    assert abs(1.2 * energies.mean() - exact) > K * error + bias


@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_local_learning_coefficient_of_a_regular_model() -> None:
    """β(E[nL_n] − nL_n(w*)) at the MLE is ½ tr βM(A(1 − εA/4))⁻¹, which tends to d/2."""
    _, data = linear(10_000)
    problem = named_problems()["linear_3"]
    target, beta, gamma, step_size = target_of(problem.model), 1 / math.log(1e4), 1.0, 2e-4
    centre = data.optimum[:, 0] + np.linalg.solve(data.gram, data.cross[:, 0])
    result = sample(
        SGLDSettings(num_warmup=300, num_draws=1, thinning=1),
        step_size,
        target=target,
        data=in_precision(data, jnp.float32),
        beta=beta,
        gamma=gamma,
        centre=centre,
        start=np.tile(centre, (NUM_CHAINS, 1)),
    )
    precision = beta * data.gram + gamma * np.eye(3)
    values = np.linalg.eigvalsh(precision)
    assert np.max(np.abs(1 - step_size * values / 2)) ** 300 < 1e-6
    exact = np.sum((values - gamma) / (values * (1 - step_size * values / 4))) / 2
    assert abs(exact - 1.5) < 0.15
    floor = -target.log_likelihood(jnp.asarray(centre, jnp.float32), in_precision(data, "float32"))
    coefficients = beta * (np.asarray(result.energies[:, 0], float) - float(floor))
    assert_mean(coefficients, exact)
    assert coefficients.std() / math.sqrt(NUM_CHAINS) < 0.03


# --- the acceptance of MALA -----------------------------------------------------------------


def gaussian_acceptance(
    before: np.ndarray, after: np.ndarray, log_density: Any, gradient: Any, scaled: np.ndarray
) -> np.ndarray:
    """From the two proposal densities themselves, in float64."""

    def proposal(to: np.ndarray, of: np.ndarray) -> np.ndarray:
        mean = of + scaled / 2 * gradient(of)
        return stats.norm.logpdf(to, mean, np.sqrt(scaled)).sum(axis=-1)

    forth, back = proposal(after, before), proposal(before, after)
    return np.exp(np.minimum(0, log_density(after) - log_density(before) + back - forth))


def density(w: np.ndarray) -> np.ndarray:
    delta, away = w - OPTIMUM, w - CENTRE
    curved = np.einsum("ci,ij,cj->c", delta, STATISTICS.gram, delta) / 2
    return BETA * (delta @ STATISTICS.cross - curved) - GAMMA / 2 * np.sum(away**2, axis=1)


def gradient(w: np.ndarray) -> np.ndarray:
    return BETA * (STATISTICS.cross - (w - OPTIMUM) @ STATISTICS.gram) - GAMMA * (w - CENTRE)


ONE_STEP = SGLDSettings(num_warmup=0, num_draws=1, thinning=1)
CASES = {
    "plain": ONE_STEP,
    "schedule": ONE_STEP._replace(schedule=optax.constant_schedule(0.5)),
    "preconditioned": ONE_STEP._replace(preconditioner=RMSProp(0.9, 0.5, frozen=False)),
}


@pytest.mark.parametrize("case", CASES)
def test_acceptance_is_that_of_mala(case: str) -> None:
    start = np.random.default_rng(0).normal(size=(100, 2))
    result = sample(CASES[case], 0.3, start=start)
    scaled = np.full((100, 2), 0.3)
    if case == "schedule":
        scaled *= 0.5
    if case == "preconditioned":
        scaled /= 0.5 + np.sqrt(0.1 * gradient(start) ** 2)
    after = np.asarray(result.positions, float)
    exact = gaussian_acceptance(start, after, density, gradient, scaled)
    assert exact.min() < 0.7
    np.testing.assert_allclose(result.acceptance, exact, rtol=1e-3, atol=1e-4)


def test_acceptance_of_a_minibatch_step_is_on_all_data() -> None:
    data, mean, total = location_case()
    start = 1 + 0.3 * np.random.default_rng(0).normal(size=(100, 1))
    settings = ONE_STEP._replace(batch_size=3)
    result = sample(
        settings, 0.05, target=LOCATION, data=data, gamma=0.0, centre=np.zeros(1), start=start
    )
    exact = gaussian_acceptance(
        start,
        np.asarray(result.positions, float),
        lambda w: -BETA * total * (w[:, 0] - mean) ** 2 / 2,
        lambda w: BETA * total * (mean - w),
        np.full((100, 1), 0.05),
    )
    assert exact.min() < 0.7
    np.testing.assert_allclose(result.acceptance, exact, rtol=1e-3, atol=1e-4)


def test_rejections_vanish_like_the_step_to_the_three_halves() -> None:
    """At stationarity log α has a standard deviation ∝ ε^{3/2} for a Gaussian."""
    settings = SGLDSettings(num_warmup=120, num_draws=10, thinning=20)
    steps = np.array([0.16, 0.04])
    rejected = [1 - np.asarray(sample(settings, step).acceptance, float) for step in steps]
    assert rejected[1].mean() < 0.02
    rate = np.log(rejected[0].mean() / rejected[1].mean()) / np.log(steps[0] / steps[1])
    errors = [r.std(ddof=1) / math.sqrt(len(r)) / r.mean() for r in rejected]
    assert np.hypot(*errors) / np.log(4) < 0.05
    assert abs(rate - 1.5) < 0.25


# --- steps ----------------------------------------------------------------------------------


def test_preconditioning_and_schedule_scale_one_step() -> None:
    """The noise, recovered from the plain step of the same key, is put into the other steps."""
    start = np.random.default_rng(0).normal(size=(100, 2))
    step_size, drift = 0.01, gradient(start)
    plain = np.asarray(sample(ONE_STEP, step_size, start=start).positions, float)
    noise = (plain - start - step_size / 2 * drift) / math.sqrt(step_size)
    assert 0.7 < noise.std() < 1.3
    lengths = {
        "schedule": 0.5 * step_size * np.ones_like(start),
        "preconditioned": step_size / (0.5 + np.sqrt(0.1 * drift**2)),
    }
    for case, length in lengths.items():
        expected = start + length / 2 * drift + np.sqrt(length) * noise
        result = sample(CASES[case], step_size, start=start)
        np.testing.assert_allclose(result.positions, expected, atol=1e-5)


def test_the_schedule_counts_steps_from_the_warm_up() -> None:
    settings = SGLDSettings(
        num_warmup=2, num_draws=1, schedule=lambda step: jnp.where(step == 5, 1.0, 1e-20)
    )
    start = np.ones((8, 2))
    for thinning, moves in [(3, False), (4, True), (9, True)]:
        result = sample(settings._replace(thinning=thinning), 0.01, start=start)
        assert np.all((np.asarray(result.positions) != start) == moves)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.false_alarm(comparisons=4, standard_errors=K)
def test_preconditioning_leaves_the_mean_of_a_gaussian(frozen: bool) -> None:
    """The chain is symmetric about the mean, whatever V does; frozen, it also has the variance."""
    settings = SGLDSettings(300, 1, 300, preconditioner=RMSProp(0.9, 1.0, frozen))
    result = sample(settings, 0.05, start=np.tile(law(0.0).mean, (NUM_CHAINS, 1)))
    expected = law(0.0)
    assert not np.any(result.diverged)
    assert np.mean(result.acceptance) > 0.98
    for i in range(2):
        w = np.asarray(result.positions[:, i], float)
        assert_mean(w, expected.mean[i])
        if frozen:
            assert_mean((w - expected.mean[i]) ** 2, expected.covariance[i, i])


def test_preconditioning_tames_unequal_curvatures() -> None:
    """A step that is five times too long for the steep direction diverges unless scaled."""
    narrow = Statistics(np.diag([1.0, 4000.0]), np.zeros(2))
    settings = SGLDSettings(num_warmup=300, num_draws=1, thinning=1)
    options = {"data": narrow, "beta": 1.0, "gamma": 0.0, "start": np.tile(OPTIMUM, (64, 1))}
    assert np.all(sample(settings, 0.005, **options).diverged)
    scaled = sample(settings._replace(preconditioner=RMSProp()), 0.005, **options)
    assert not np.any(scaled.diverged)
    assert np.mean(scaled.acceptance) > 0.95


def test_a_step_costs_one_gradient() -> None:
    calls = []

    @jax.custom_vjp
    def counted(w: Array) -> Array:
        raise AssertionError("evaluated without its gradient")

    def forward(w: Array) -> tuple[Array, Array]:
        jax.debug.callback(lambda: calls.append(1))
        return -0.5 * jnp.sum(w**2), w

    counted.defvjp(forward, lambda w, cotangent: (-cotangent * w,))
    target = Target(TARGET.sample_prior, log_prior, lambda w, data: counted(w))
    settings = SGLDSettings(num_warmup=7, num_draws=5, thinning=4)
    jax.block_until_ready(sample(settings, 0.1, target=target, start=np.ones((1, 2))))
    jax.effects_barrier()
    assert len(calls) == 1 + 7 + 5 * 4


# --- shapes, keys, failures -----------------------------------------------------------------


def test_shapes_and_keys() -> None:
    result = sample(SETTINGS, STEP_SIZE)
    chex.assert_shape(result.energies, (NUM_CHAINS, SETTINGS.num_draws))
    chex.assert_shape(result.positions, (NUM_CHAINS, 2))
    chex.assert_shape([result.acceptance, result.diverged], (NUM_CHAINS,))
    assert np.all((result.acceptance > 0) & (result.acceptance <= 1))
    assert len(np.unique(np.asarray(result.positions[:, 0]))) > 0.99 * NUM_CHAINS
    np.testing.assert_array_equal(sample(SETTINGS, STEP_SIZE).positions, result.positions)
    other = sample(SETTINGS, STEP_SIZE, seed=1)
    assert not np.any(np.all(other.positions == result.positions, axis=1))
    w = np.asarray(result.positions, float) - OPTIMUM
    energies = np.einsum("ci,ij,cj->c", w, STATISTICS.gram, w) / 2 - w @ STATISTICS.cross
    np.testing.assert_allclose(result.energies[:, -1], energies, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch_size", [pytest.param(None, marks=pytest.mark.slow), 4])
def test_a_lost_chain_is_marked_and_stays_alone(batch_size: int | None) -> None:
    data, _, _ = location_case()
    settings = SGLDSettings(num_warmup=5, num_draws=4, thinning=2, batch_size=batch_size)
    start = np.ones((16, 1))
    options = {"target": LOCATION, "data": data, "centre": np.ones(1)}
    healthy = sample(settings, 0.01, start=start, **options)
    assert not np.any(healthy.diverged)
    start[3], start[7] = np.nan, np.inf
    result = sample(settings, 0.01, start=start, **options)
    lost = np.isin(np.arange(16), [3, 7])
    np.testing.assert_array_equal(result.diverged, lost)
    np.testing.assert_array_equal(result.acceptance[lost], 0)
    chex.assert_trees_all_equal(
        *(jax.tree.map(lambda leaf: leaf[~lost], run) for run in (result, healthy))
    )


def test_a_step_far_too_long_diverges() -> None:
    assert np.all(sample(SETTINGS, 10.0).diverged)


def batch_of_jobs(target: Target, settings: SGLDSettings, *arguments: Any) -> SGLDResult:
    return jax.vmap(lambda *job: sgld(target, settings, *job))(*arguments)


@pytest.mark.parametrize("batch_size", [pytest.param(None, marks=pytest.mark.slow), 4])
def test_jobs_are_data(batch_size: int | None) -> None:
    """A batch of jobs is what they are alone, and other n, β, γ, w*, ε or keys compile nothing."""
    settings = SGLDSettings(num_warmup=5, num_draws=4, thinning=2, batch_size=batch_size)
    keys = jax.random.split(jax.random.key(2), 3)
    data = location_data(100, 0)
    sized = [data._replace(weights=(np.arange(100) < n).astype(float)) for n in (10, 30, 100)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *sized)
    betas, gammas = np.array([1.0, 0.5, 0.2]), np.array([0.0, 1.0, 9.0])
    centres, starts = np.ones((3, 1)), np.ones((3, 8, 1))
    centres[1], steps = 0.5, np.array([0.01, 0.005, 0.003])
    arguments = (keys, stacked, betas, gammas, centres, steps, starts)
    batched = jit_at_first_call(batch_of_jobs, (0, 1))(LOCATION, settings, *arguments)
    assert batched.energies.shape == (3, 8, 4)
    chex.clear_trace_counter()
    run_once = jit_at_first_call(chex.assert_max_traces(sgld, n=1), static_argnums=(0, 1))
    for i in range(3):
        job = jax.tree.map(lambda leaf, i=i: leaf[i], arguments)
        alone = run_once(LOCATION, settings, *job)
        np.testing.assert_allclose(alone.energies, batched.energies[i], rtol=1e-3, atol=1e-3)


@pytest.mark.false_alarm(comparisons=6, standard_errors=K)
def test_float64() -> None:
    with jax.enable_x64(True):
        result = sample(SETTINGS, STEP_SIZE, start=np.zeros((NUM_CHAINS, 2), np.float32))
        assert result.positions.dtype == result.energies.dtype == jnp.float64
        assert_law(result, law(STEP_SIZE))


FROZEN = RMSProp()


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        (SGLDSettings(), (2,), r"\(2,\); allowed is \[chain, d\]"),
        (SGLDSettings(), (0, 2), r"\(0, 2\); allowed is \[chain, d\]"),
        (SGLDSettings(), (4, 3), r"\(4, 3\); allowed is \[chain, d\] with d = 2"),
        (SGLDSettings(num_warmup=-1), (4, 2), "num_warmup = -1: must be"),
        (SGLDSettings(num_draws=0), (4, 2), "num_draws = 0: must be"),
        (SGLDSettings(thinning=0), (4, 2), "thinning = 0: must be"),
        (SGLDSettings(batch_size=4), (4, 2), "batch_size 4 with data of type Statistics"),
        (SGLDSettings(preconditioner=FROZEN._replace(decay=1.0)), (4, 2), "decay = 1.0: must be"),
        (SGLDSettings(preconditioner=FROZEN._replace(damping=0)), (4, 2), "damping = 0: must be"),
        (SGLDSettings(num_warmup=0, preconditioner=FROZEN), (4, 2), "must have a warm-up"),
    ],
)
def test_refuses_what_is_out_of_range(
    settings: SGLDSettings, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sample(settings, STEP_SIZE, start=np.zeros(shape))


@pytest.mark.parametrize("size", [0, 101])
def test_refuses_a_batch_that_is_no_part_of_the_data(size: int) -> None:
    data, settings = location_case()[0], SGLDSettings(batch_size=size)
    words = "batch_size 101 must lie between 1 and the 100 rows|batch_size = 0: must be an integer"
    with pytest.raises(ValueError, match=words):
        sample(settings, 0.1, target=LOCATION, data=data, centre=np.zeros(1))


@pytest.mark.parametrize("name", ["beta", "gamma", "step_size"])
def test_refuses_one_value_per_chain(name: str) -> None:
    values = {"step_size": 0.1, name: np.ones(NUM_CHAINS)}
    with pytest.raises(ValueError, match=rf"{name} has shape \({NUM_CHAINS},\); allowed is a sca"):
        sample(SGLDSettings(), **values)
