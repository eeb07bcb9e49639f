"""The HMC move of a batch of chains: exact arithmetic, reversibility, invariance, refusals.

Statistical comparisons are of independent chains, within K = 5.5 standard errors.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from slt_jax.samplers.hmc import Chains, MoveInfo, Noise, chains_at, hmc_move, move_noise

K = 5.5
PRECISION = np.array([1.0, 4.0])
SCALE = np.array([1.0, 0.5], np.float32)
STARTS = np.array([[0.3, -0.2], [1.5, 0.4], [-0.7, 0.9]], np.float32)
MOMENTA = np.array([[0.1, 1.0], [-1.2, 0.3], [0.5, -0.4]], np.float32)


def normal_density(w: Array) -> tuple[Array, Array]:
    """Independent normals of precision PRECISION; the "likelihood" is the first coordinate."""
    return -jnp.sum(PRECISION * w**2) / 2, w[0]


def move(
    starts: np.ndarray, momenta: np.ndarray, log_uniform: float, step: float, num_steps: int
) -> tuple[Chains, MoveInfo]:
    noise = Noise(jnp.asarray(momenta).ravel(), jnp.full(len(starts), log_uniform))
    chains = chains_at(normal_density, jnp.asarray(starts))
    return hmc_move(normal_density, chains, noise, jnp.float32(step), SCALE, num_steps)


def leapfrog(
    w: np.ndarray, z: np.ndarray, step: float, num_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(num_steps):
        z = z - step / 2 * SCALE * PRECISION * w
        w = w + step * SCALE * z
        z = z - step / 2 * SCALE * PRECISION * w
    return w, z


def test_a_trajectory_is_that_of_leapfrog() -> None:
    for num_steps in (1, 2, 7):
        end, momenta = leapfrog(STARTS, MOMENTA, 0.3, num_steps)
        chains, info = move(STARTS, MOMENTA, -np.inf, 0.3, num_steps)
        np.testing.assert_allclose(chains.positions, end, rtol=1e-5, atol=1e-6)
        lost = (np.sum(PRECISION * (end**2 - STARTS**2) + momenta**2 - MOMENTA**2, axis=1)) / 2
        np.testing.assert_allclose(info.acceptance, np.exp(-np.maximum(lost, 0)), rtol=1e-5)
        np.testing.assert_allclose(chains.log_likelihood, end[:, 0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(chains.gradient, -PRECISION * end, rtol=1e-5, atol=1e-5)


def test_a_rejected_chain_stays_with_all_that_is_known_of_it() -> None:
    chains, _ = move(STARTS, MOMENTA, np.inf, 0.3, 3)
    start = chains_at(normal_density, jnp.asarray(STARTS))
    chex.assert_trees_all_equal(chains, start)


def test_the_way_back() -> None:
    end, momenta = leapfrog(STARTS, MOMENTA, 0.3, 5)
    back, _ = move(end.astype(np.float32), -momenta.astype(np.float32), -np.inf, 0.3, 5)
    np.testing.assert_allclose(back.positions, STARTS, atol=1e-5)


def test_steps_that_are_too_long_are_rejected_and_said_to_diverge() -> None:
    chains, info = move(STARTS, MOMENTA, -1.0, 100.0, 20)
    np.testing.assert_array_equal(chains.positions, STARTS)
    np.testing.assert_array_equal(info.acceptance, 0.0)
    assert info.divergent.all()


def test_every_chain_may_have_its_own_step() -> None:
    steps = jnp.array([0.1, 0.2, 0.4], jnp.float32)
    noise = Noise(jnp.asarray(MOMENTA).ravel(), jnp.full(3, -jnp.inf))
    chains = chains_at(normal_density, jnp.asarray(STARTS))
    moved, _ = hmc_move(normal_density, chains, noise, steps, SCALE, 4)
    for c, step in enumerate(np.asarray(steps)):
        end, _ = leapfrog(STARTS[c], MOMENTA[c], step, 4)
        np.testing.assert_allclose(moved.positions[c], end, rtol=1e-5, atol=1e-6)


@pytest.mark.false_alarm(comparisons=6, standard_errors=K)
def test_the_target_is_invariant_and_the_number_of_steps_is_data() -> None:
    """20 000 independent exact draws stay exact under long steps, of which a fifth is rejected."""
    size = 20_000
    start_key, move_key = jax.random.split(jax.random.key(0))
    starts = jax.random.normal(start_key, (size, 2)) / jnp.sqrt(PRECISION)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(starts: Array, num_steps: Array) -> tuple[Chains, MoveInfo]:
        noise = jax.tree.map(lambda leaf: leaf[0], move_noise(move_key, 1, starts))
        chains = chains_at(normal_density, starts)
        return hmc_move(normal_density, chains, noise, jnp.float32(1.4), SCALE, num_steps)

    for num_steps in (1, 3):
        moved, info = run(starts, jnp.array(num_steps))
        accepted = np.mean(np.any(np.asarray(moved.positions != starts), axis=1))
        mean_acceptance = float(np.mean(info.acceptance))
        assert 0.5 < mean_acceptance < 0.95
        assert abs(accepted - mean_acceptance) < K * np.sqrt(0.25 / size)
        chi_square = np.sum(PRECISION * np.asarray(moved.positions, float) ** 2, axis=1)
        assert abs(chi_square.mean() - 2) < K * 2 / np.sqrt(size)
        assert abs(chi_square.var() - 4) < K * 4 * np.sqrt(8 / size)
