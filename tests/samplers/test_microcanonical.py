"""Adjusted microcanonical sampling: trajectories of another program, invariance, oracles, refusals.

Statistical comparisons are of independent chains or of as many effective draws as are asked for
first, within K standard errors.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

import slt_jax as slt
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.estimators.diagnostics import mean_and_standard_error, r_hat
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.hmc import accept_or_stay, chains_at, one_move_noise
from slt_jax.samplers.microcanonical import (
    MicrocanonicalSettings,
    microcanonical,
    trajectory,
    turned,
)
from slt_jax.samplers.sampling import Start
from slt_jax.samplers.target import Target

K = 6.5
SCALE = np.array([1.0, 0.5], np.float32)
STARTS = np.array([[0.3, -0.2], [1.5, 0.4], [-0.7, 0.9]], np.float32)
DIRECTIONS = np.array([[0.1, 1.0, 0.3], [-1.2, 0.3, 0.0], [0.5, -0.4, -2.0]], np.float32)
LATENT = np.array([[0.5], [-1.0], [0.1]], np.float32)

run = jit_at_first_call(microcanonical, static_argnums=(0, 1))
follow = jit_at_first_call(trajectory, static_argnums=0)


def ridge(w: Array) -> tuple[Array, Array]:
    """The posterior of y = w₁w₂x + noise, with a truth of zero; its likelihood is not needed."""
    return -5 * (w[0] * w[1]) ** 2 - jnp.sum(w**2) / 2, w[0]


@pytest.mark.parametrize("num_steps", [1, 6])
def test_a_trajectory_is_that_of_blackjax(num_steps: int) -> None:
    """In d + 1 dimensions, of which the last one is a standard normal."""
    with jax.ensure_compile_time_eval():
        from blackjax.mcmc.integrators import isokinetic_velocity_verlet, new_integrator_state

    def extended(w: Array) -> Array:
        return ridge(w[:-1])[0] - w[-1] ** 2 / 2

    steps = np.array([0.3, 0.1, 0.5], np.float32)
    velocity = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
    chains = chains_at(ridge, jnp.asarray(STARTS))
    ends, gains = follow(ridge, chains, velocity, LATENT, steps, SCALE, num_steps)

    one_step = jax.jit(isokinetic_velocity_verlet(extended, jnp.append(SCALE**2, 1.0)))
    for i, step in enumerate(steps):
        start = jnp.append(STARTS[i], LATENT[i])
        state = first = new_integrator_state(extended, start, jnp.asarray(velocity[i]))
        work = 0.0
        for _ in range(num_steps):
            state, more = one_step(state, step)
            work += float(more)
        np.testing.assert_allclose(ends.positions[i], state.position[:-1], rtol=1e-4, atol=1e-5)
        gain = float(state.logdensity - first.logdensity) - work
        np.testing.assert_allclose(gains[i], gain, rtol=1e-4, atol=1e-5)


def test_no_kick_turns_nothing_and_none_is_too_hard() -> None:
    velocity = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]], jnp.float32)
    kick = jnp.array([[0.0, 0.0], [-9.0, 0.0], [0.0, 1e15]], jnp.float32)
    after, volume = turned(velocity, kick)
    np.testing.assert_allclose(after, [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], atol=1e-6)
    np.testing.assert_allclose(volume, [0.0, -9.0, 1e15], rtol=1e-5)


@pytest.mark.false_alarm(comparisons=2, standard_errors=K)
def test_one_dimension_is_enough() -> None:
    """Exact draws of a logistic law stay draws of it, though a step loses three of ten chains."""

    def density(w: Array) -> tuple[Array, Array]:
        return jnp.sum(-w - 2 * jnp.log1p(jnp.exp(-w))), w[0]

    @jax.jit
    def starts_and_moved(key: Array) -> tuple[Array, Array, Array]:
        draw_key, noise_key = jax.random.split(key)
        chains = chains_at(density, jax.random.logistic(draw_key, (count, 1)))
        noise = one_move_noise(noise_key, jnp.zeros((count, 3)))
        velocity, latent = jnp.split(noise.momenta.reshape(count, 3), [2], axis=1)
        velocity = velocity / jnp.linalg.norm(velocity, axis=1, keepdims=True)
        steps, scale = jnp.full(count, 2.0), jnp.array([1.8])
        proposed, gain = trajectory(density, chains, velocity, latent, steps, scale, 3)
        moved, info = accept_or_stay(chains, proposed, gain, noise)
        return chains.positions, moved.positions, info.acceptance

    count = 200_000
    before, after, acceptance = starts_and_moved(jax.random.key(0))
    assert 0.6 < float(jnp.mean(acceptance)) < 0.8
    w = np.asarray(after, float)[:, 0]
    assert np.mean(w == np.asarray(before)[:, 0]) < 0.5
    for values, exact in ((np.abs(w), 2 * np.log(2)), (w**2, np.pi**2 / 3)):
        assert abs(values.mean() - exact) < K * values.std() / count**0.5


def test_draws_are_where_they_say_and_a_chain_without_a_density_stays() -> None:
    """On a disc, outside of which the density is not a number."""
    target = Target(
        lambda key: jax.random.uniform(key, (2,)) - 0.5,
        lambda w: jnp.zeros(()),
        lambda w, n: n * jnp.log(1 - jnp.sum(w**2)),
    )
    settings = MicrocanonicalSettings(num_warmup=20, num_draws=5)
    starts = jnp.concatenate([jnp.full((1, 2), 2.0), jnp.array(STARTS[:, :2]) / 2])
    start = Start(jnp.stack([starts, starts]))
    keys = jax.random.split(jax.random.key(1))
    sample = jit_at_first_call(settings.run, static_argnums=(0, 5))
    draws = sample(target, keys, jnp.asarray(3.0), jnp.ones(1), start, True)
    kept = np.asarray(draws.kept_positions)
    assert kept.shape == (2, 1, 4, 5, 2)
    np.testing.assert_array_equal(kept[..., -1, :], draws.positions)
    np.testing.assert_array_equal(kept[:, :, 0], 2.0)
    np.testing.assert_array_equal(draws.num_divergent[:, 0], [[5, 0, 0, 0]] * 2)
    inside = kept[:, :, 1:]
    exact = -3 * np.log(1 - np.sum(inside**2, axis=-1))
    np.testing.assert_allclose(draws.energies[:, :, 1:], exact, rtol=1e-4, atol=1e-6)
    assert np.ptp(inside[..., 0], axis=-1).min() > 0
    assert not np.array_equal(kept[0], kept[1])


@pytest.mark.slow
def test_a_batch_of_runs_has_the_draws_of_each() -> None:
    """As far as rounding goes: a batch is another program, and few steps are compared."""
    problem = slt.named_problems()["linear_3"]
    target = target_of(problem.model)
    data = slt.statistics_of(problem, slt.simulate(problem, jax.random.key(3), 30))
    settings = MicrocanonicalSettings(num_warmup=4, num_draws=3)
    keys, betas = jax.random.split(jax.random.key(5)), jnp.array([0.3, 1.0])
    starts = jax.random.normal(jax.random.key(4), (2, 8, 3))
    data = in_precision(data, jnp.float32)
    draws = settings.run(target, keys, data, betas, Start(starts))
    for i, key in enumerate(keys):
        alone = slt.draw_posterior(target, settings, key, data, betas, starts[i])
        np.testing.assert_allclose(draws.energies[i], alone.energies, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["monomial_1_1", "parabola_critical", "reduced_rank_2_2_1_0"])
@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_energies_are_those_of_the_oracle(name: str) -> None:
    """Chains of one to four parameters come from the prior to a ridge or a narrow valley."""
    problem, n, count = slt.named_problems()[name], 1000, 64
    target, oracle = target_of(problem.model), slt.oracle_for(problem)
    statistics = slt.statistics_of(problem, slt.simulate(problem, jax.random.key(3), n))
    starts = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(4), count))
    settings = MicrocanonicalSettings(num_draws=1000)
    data = in_precision(statistics, jnp.float32)
    result = run(target, settings, jax.random.key(5), data, 1.0, starts)
    energies = np.asarray(result.energies, float)
    mean, error = mean_and_standard_error(energies)
    assert r_hat(energies) < 1.01
    assert np.var(energies) / error**2 > 5000
    exact = float(oracle.moments(statistics).excess_energy.value)
    assert abs(mean - exact) < K * error
    acceptance = float(jnp.mean(result.acceptance))
    assert abs(acceptance - settings.target_acceptance) < 0.05
    assert 1 <= float(result.num_steps) <= settings.max_num_steps


@pytest.mark.parametrize(
    ("changes", "shape", "words"),
    [
        ({}, (1, 1), r"initial_positions has shape \(1, 1\)"),
        ({"max_num_steps": 0}, (4, 1), "max_num_steps = 0: must be an integer ≥ 1"),
        ({"target_acceptance": 1.0}, (4, 1), "target_acceptance = 1.0: must be"),
    ],
)
def test_refusals(changes: dict, shape: tuple, words: str) -> None:
    target = Target(
        lambda key: jax.random.normal(key, (1,)), lambda w: jnp.zeros(()), lambda w, n: n * w[0]
    )
    settings = MicrocanonicalSettings()._replace(**changes)
    with pytest.raises(ValueError, match=words):
        microcanonical(target, settings, jax.random.key(0), 1.0, 1.0, jnp.zeros(shape))
