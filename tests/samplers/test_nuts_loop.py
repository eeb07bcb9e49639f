"""NUTS draw for draw against numpyro's, whatever its chains do beside one another."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from numpyro.infer.hmc import hmc
from numpyro.infer.hmc_util import build_adaptation_schedule

from slt_jax.samplers import nuts_loop, threefry
from slt_jax.samplers.nuts import NUTSResult, NUTSSettings, nuts
from slt_jax.samplers.target import Target
from slt_jax.samplers.windows import schedule, windows

SCALES = np.array([0.5, 1.0, 3.0])
TARGET = Target(
    sample_prior=lambda key: jax.random.normal(key, (3,)),
    log_prior=lambda w: -0.5 * jnp.sum(w**2 / SCALES**2),
    log_likelihood=lambda w, n: -n * ((w[0] - 0.3 * w[1]) ** 2),
)
KEY = jax.random.key(7)


def numpyros(
    settings: NUTSSettings, key: Array, n: Array, beta: Array, start: Array
) -> tuple[Array, Array, Array]:
    """Positions, numbers of steps and step sizes of all draws after the warm-up."""

    def potential(w: Array) -> Array:
        return -(TARGET.log_prior(w) + beta * TARGET.log_likelihood(w, n))

    def one(key: Array, w: Array) -> Any:
        init, kernel = hmc(potential, algo="NUTS")
        state = init(
            w,
            settings.num_warmup,
            target_accept_prob=settings.target_acceptance,
            max_tree_depth=settings.max_tree_depth,
            rng_key=key,
        )

        def draw(state: Any, _: None) -> Any:
            state = kernel(state)
            return state, (state.z, state.num_steps, state.adapt_state.step_size)

        length = settings.num_warmup + settings.num_draws
        return jax.lax.scan(draw, state, length=length)[1]

    traces = jax.vmap(one)(jax.random.split(key, len(start)), start)
    return jax.tree.map(lambda leaf: leaf[:, settings.num_warmup :], traces)


def assert_same_draws(
    result: NUTSResult, theirs: tuple[Array, Array, Array], tolerance: float
) -> None:
    positions, steps, sizes = theirs
    assert np.ptp(steps) > 0
    np.testing.assert_allclose(result.positions, positions, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(result.num_steps, np.mean(steps, axis=-1))
    np.testing.assert_allclose(result.step_size, sizes[..., -1], rtol=tolerance)


@pytest.mark.slow
def test_one_chain_of_fixed_step_draws_as_numpyros_does() -> None:
    settings = NUTSSettings(0, 200, 6)
    with jax.enable_x64(True):
        arguments = (KEY, jnp.array(2.0), jnp.array(0.5), jnp.ones((1, 3)))
        result = jax.jit(partial(nuts, TARGET, settings))(*arguments)
        assert_same_draws(result, jax.jit(partial(numpyros, settings))(*arguments), 1e-6)


def test_jobs_that_share_lanes_draw_as_numpyros_chains_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three chains after one another, for two data sets and two β of each, warm-up included."""
    monkeypatch.setattr(nuts_loop, "LANES", 4)
    settings = NUTSSettings(60, 20, 5)

    def every(run: Any) -> Any:
        return jax.jit(jax.vmap(jax.vmap(run, (None, None, 0, None)), (0, 0, None, None)))

    # The first steps of a warm-up are unstable, and rounding grows with them.
    with jax.enable_x64(True):
        keys, sizes = jax.random.split(KEY, 2), jnp.array([1.0, 4.0])
        arguments = (keys, sizes, jnp.array([0.5, 2.0]), jnp.ones((3, 3)))
        result = every(partial(nuts, TARGET, settings))(*arguments)
        assert_same_draws(result, every(partial(numpyros, settings))(*arguments), 1e-3)


@pytest.mark.parametrize("num_warmup", [0, 19, 20, 37, 149, 150, 151, 500, 1234])
def test_windows_are_those_of_numpyro(num_warmup: int) -> None:
    theirs = [(window.start, window.end + 1) for window in build_adaptation_schedule(num_warmup)]
    bounds = windows(num_warmup)
    assert list(zip(bounds, bounds[1:], strict=False)) == theirs[1:-1]
    tables = schedule(num_warmup)
    assert [int(i) + 1 for i in np.flatnonzero(tables.closes)] == bounds[1:]
    assert tables.gathers.sum() == (bounds[-1] - bounds[0] if bounds else 0)


@pytest.mark.parametrize("x64", [False, True])
def test_random_numbers_are_those_of_jax(x64: bool) -> None:
    with jax.enable_x64(x64):
        dtype = jnp.result_type(float)
        keys = jax.random.split(jax.random.key(1), 5)
        words = threefry.key_words(keys)
        split = jax.vmap(lambda key: jax.random.key_data(jax.random.split(key, 3)))(keys)
        uniform = jax.vmap(lambda key: jax.random.uniform(key, (), dtype))(keys)
        normal = jax.vmap(lambda key: jax.random.normal(key, (4,), dtype))(keys)
        np.testing.assert_array_equal(threefry.split(words, 3), split.transpose(1, 2, 0))
        np.testing.assert_array_equal(threefry.uniform(words, dtype), uniform)
        np.testing.assert_allclose(threefry.normal(words, 4, dtype), normal.T, rtol=1e-6)


def test_keys_of_another_generator_serve_too() -> None:
    keys = jax.random.split(jax.random.key(1, impl="rbg"), 3)
    assert len(np.unique(threefry.key_words(keys), axis=1).T) == 3
