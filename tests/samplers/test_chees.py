"""ChEES against the oracle at the same n and β, and against a closed form.

Every comparison asks first for a nested R̂ of independent runs below 1.1 and for an effective
sample size, and then for agreement within K = 5.5 standard errors, which fails by chance 4e-8 of
the time.
"""

import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.estimators.diagnostics import effective_sample_size, nested_r_hat
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.run.compilation import CompilationCounter, jit_at_first_call
from slt_jax.samplers.chees import ChEESResult, ChEESSettings, chees
from slt_jax.samplers.target import Target

K = 5.5
MIN_ESS = 3000
RUNS, CHAINS = 4, 64
SAMPLE_SIZES = (30, 100)
BETAS = np.array([1 / math.log(30), 1.0])
SETTINGS = ChEESSettings(num_warmup=200, num_draws=60)
NAMES = ["linear_3", pytest.param("monomial_1_1", marks=pytest.mark.slow)]


def chees_batch(
    target: Target, settings: ChEESSettings, keys: Array, data: Any, betas: Array, starts: Array
) -> ChEESResult:
    """Jobs [job] of independent runs [run]: the energies are [job, run, chain, draw]."""

    def one_job(keys: Array, data: Any, beta: Array, starts: Array) -> ChEESResult:
        return jax.vmap(lambda key, w: chees(target, settings, key, data, beta, w))(keys, starts)

    return jax.vmap(one_job)(keys, data, betas, starts)


compiled = jit_at_first_call(chees_batch, static_argnums=(0, 1))


@functools.cache
def cases(name: str) -> tuple[Target, Any, np.ndarray]:
    """Target, data of both jobs, exact energies: the jobs differ in data, n and β."""
    problem = named_problems()[name]
    all_statistics = statistics_along_n(problem, jax.random.key(3), 1, SAMPLE_SIZES)
    oracle = oracle_for(problem)
    exact = [
        oracle.moments(statistics, beta).excess_energy.value[0]
        for statistics, beta in zip(all_statistics, BETAS, strict=True)
    ]
    data = jax.tree.map(lambda *leaves: np.concatenate(leaves), *all_statistics)
    return target_of(problem.model), in_precision(data, jnp.float32), np.array(exact)


@functools.cache
def sample(name: str, seed: int = 5, turned: bool = False) -> ChEESResult:
    """``turned`` exchanges the data of the two jobs, but not their β."""
    target, data, _ = cases(name)
    if turned:
        data = jax.tree.map(lambda leaf: leaf[::-1], data)
    shape = (len(BETAS), RUNS, CHAINS)
    starts = jax.vmap(jax.vmap(jax.vmap(target.sample_prior)))(
        jax.random.split(jax.random.key(4), shape)
    )
    keys = jax.random.split(jax.random.key(seed), shape[:2])
    return jax.tree.map(np.asarray, compiled(target, SETTINGS, keys, data, BETAS, starts))


def assert_energy(energies: Any, exact: float, min_ess: float = MIN_ESS) -> None:
    """Energies [run, chain, draw] of runs that agree have this mean, within K standard errors."""
    energies = np.asarray(energies, float)
    assert float(nested_r_hat(energies)) < 1.1
    ess = float(effective_sample_size(energies.reshape(-1, energies.shape[-1])))
    assert ess >= min_ess
    assert abs(energies.mean() - exact) <= K * energies.std(ddof=1) / math.sqrt(ess)


@pytest.mark.parametrize("job", range(len(BETAS)))
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_agrees_with_the_oracle(name: str, job: int) -> None:
    result, exact = sample(name), cases(name)[2]
    assert result.energies.dtype == np.float32
    assert_energy(result.energies[job], exact[job])


@pytest.mark.parametrize("job", range(len(BETAS)))
@pytest.mark.parametrize("name", NAMES)
def test_the_check_can_fail(name: str, job: int) -> None:
    energies, exact = np.asarray(sample(name).energies[job], float), cases(name)[2][job]
    with pytest.raises(AssertionError):
        assert_energy(energies + 0.15 * energies.std(), exact)
    with pytest.raises(AssertionError, match="3000"):
        assert_energy(energies[..., :8], exact)
    # One run that is stuck elsewhere is seen, although it has as many chains as the others.
    apart = energies + energies.std() * np.array([0, 0, 0, 2.0])[:, None, None]
    with pytest.raises(AssertionError, match=r"< 1\.1"):
        assert_energy(apart, exact)


def test_shapes_and_diagnostics() -> None:
    result = sample("linear_3")
    jobs = len(BETAS)
    chex.assert_shape(result.energies, (jobs, RUNS, CHAINS, SETTINGS.num_draws))
    chex.assert_shape(result.positions, (jobs, RUNS, CHAINS, 3))
    chex.assert_shape([result.acceptance, result.num_divergent], (jobs, RUNS, CHAINS))
    by_run = [result.step_size, result.trajectory_length, result.num_steps]
    chex.assert_shape(by_run, (jobs, RUNS))
    acceptance = result.acceptance.mean(axis=-1)
    assert np.all((acceptance > SETTINGS.target_acceptance) & (acceptance < 0.99))
    np.testing.assert_array_equal(result.num_divergent, 0)
    # The second posterior is the narrower.
    assert np.all(result.step_size[0] > result.step_size[1])
    longest = result.trajectory_length / result.step_size
    assert np.all((longest >= 1) & (longest <= SETTINGS.max_num_steps))
    assert np.all((result.num_steps >= 1) & (result.num_steps <= np.ceil(longest)))


def test_positions_are_those_of_the_last_draw() -> None:
    target, data, _ = cases("linear_3")
    result = sample("linear_3")
    for i in range(len(BETAS)):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], data)
        log_likelihood = jax.vmap(jax.vmap(target.log_likelihood, (0, None)), (0, None))
        energies = -log_likelihood(result.positions[i], one)
        np.testing.assert_allclose(energies, result.energies[i, ..., -1], rtol=1e-3, atol=1e-3)


def test_runs_and_chains_are_independent_and_keys_repeat() -> None:
    result = sample("linear_3")
    last = result.positions[..., 0]
    assert len(np.unique(last)) == last.size
    assert len(np.unique(result.step_size)) == result.step_size.size
    again = sample.__wrapped__("linear_3")
    np.testing.assert_array_equal(again.energies, result.energies)


def test_data_beta_and_keys_do_not_recompile() -> None:
    sample("linear_3")
    with CompilationCounter() as counter:
        other = sample("linear_3", seed=6)
        turned = sample("linear_3", turned=True)
    assert counter.counts["chees_batch"] == 0
    assert not np.any(np.all(other.positions == sample("linear_3").positions, axis=-1))
    assert not np.any(turned.energies == sample("linear_3").energies)


def test_a_chain_that_starts_nowhere_stays_and_is_counted() -> None:
    target, data, _ = cases("linear_3")
    starts = np.zeros((len(BETAS), RUNS, CHAINS, 3))
    starts[1, 2, 3] = np.nan
    keys = jax.random.split(jax.random.key(5), starts.shape[:2])
    result = compiled(target, SETTINGS, keys, data, BETAS, starts)
    lost = np.isnan(starts).any(axis=-1)
    np.testing.assert_array_equal(result.num_divergent, np.where(lost, SETTINGS.num_draws, 0))
    np.testing.assert_array_equal(np.isnan(result.energies).all(axis=-1), lost)
    np.testing.assert_array_equal(np.isnan(result.energies).any(axis=-1), lost)
    np.testing.assert_array_equal(result.acceptance == 0, lost)


NARROW = Target(
    sample_prior=lambda key: jax.random.normal(key, (2,)),
    log_prior=lambda w: -0.5 * jnp.sum(w**2),
    log_likelihood=lambda w, curvatures: -0.5 * jnp.sum(curvatures * w**2),
)


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_diagonal_mass_matrix_and_float64() -> None:
    """One direction a hundred times narrower: E = ½ Σ h/(1 + h), in a third of the gradients."""
    curvatures, runs = np.array([[0.0, 1e4]]), 2
    steps = []
    for diagonal in (False, True):
        settings = SETTINGS._replace(diagonal_mass_matrix=diagonal)
        with jax.enable_x64(True):
            starts = jax.random.normal(jax.random.key(1), (1, runs, CHAINS, 2))
            keys = jax.random.split(jax.random.key(2), (1, runs))
            result = compiled(NARROW, settings, keys, curvatures, np.ones(1), starts)
            result = jax.tree.map(np.asarray, result)
        assert result.energies.dtype == result.positions.dtype == np.float64
        steps.append(result.num_steps)
    assert_energy(result.energies[0], 0.5 * 1e4 / (1 + 1e4), min_ess=1000)
    assert np.all(3 * steps[1] < steps[0])
    assert np.all(steps[0] <= SETTINGS.max_num_steps)


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        (ChEESSettings(), (3,), r"\(3,\); allowed is \[chain ≥ 2, d\]"),
        (ChEESSettings(), (1, 3), r"\(1, 3\); allowed is \[chain ≥ 2, d\]"),
        (ChEESSettings(num_warmup=0), (4, 3), "num_warmup = 0: must be"),
        (ChEESSettings(num_draws=0), (4, 3), "num_draws = 0: must be"),
        (ChEESSettings(max_num_steps=0), (4, 3), "max_num_steps = 0: must be"),
        (ChEESSettings(target_acceptance=1.0), (4, 3), "target_acceptance = 1.0: must be"),
        (ChEESSettings(initial_step_size=0.0), (4, 3), "initial_step_size = 0.0: must be"),
        (ChEESSettings(learning_rate=-1.0), (4, 3), "learning_rate = -1.0: must be"),
    ],
)
def test_refuses_what_is_out_of_range(
    settings: ChEESSettings, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        chees(NARROW, settings, jax.random.key(0), np.ones(2), 1.0, np.zeros(shape))
