"""Streaming gives the moments of the stored draws, in any order of merging, and compiles once."""

import chex
import jax
import numpy as np
import pytest

from slt_jax.estimators import LossAccumulator, LossMoments, loss_moments
from slt_jax.run.compilation import CompilationCounter
from slt_jax.run.precision import in_float64

JOBS, CHAINS, DRAWS, DATA, BLOCKS = 2, 3, 24, 5, 4
BETAS = (1.0, 0.3)
PART = 8


def draws(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-0.1, 1.0, (JOBS, CHAINS, DRAWS, DATA))


def empty(betas: tuple[float, float] = BETAS) -> LossAccumulator:
    """Two jobs in front, with a β each."""
    host = (LossAccumulator.empty(CHAINS, BLOCKS, DATA, beta) for beta in betas)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *host)


@jax.jit
def advanced(state: LossAccumulator, rows: jax.Array, times: jax.Array) -> LossAccumulator:
    """With the draws [PART, job, chain, datum] of those times, one by one."""

    def step(state: LossAccumulator, at: tuple[jax.Array, jax.Array]) -> tuple:
        row, block = at[0], at[1] // (DRAWS // BLOCKS)
        return jax.vmap(LossAccumulator.updated, (0, 0, None))(state, row, block), None

    return jax.lax.scan(step, state, (rows, times))[0]


merged = jax.jit(jax.vmap(LossAccumulator.merged))


def streamed(log_ratios: np.ndarray, state: LossAccumulator, times: np.ndarray) -> LossAccumulator:
    """The draws of those times, PART to a call of one compiled program."""
    rows = np.moveaxis(log_ratios, 2, 0)
    for some in times.reshape(-1, PART):
        state = advanced(state, rows[some], some)
    return state


def stored(log_ratios: np.ndarray, num_blocks: int = BLOCKS) -> LossMoments:
    moments = [loss_moments(job, num_blocks, b) for job, b in zip(log_ratios, BETAS, strict=True)]
    stacked = (np.stack(leaves) for leaves in zip(*(m[:-1] for m in moments), strict=True))
    return LossMoments(*stacked, moments[0].num_draws)


def assert_same(one: LossMoments, other: LossMoments, rtol: float) -> None:
    chex.assert_trees_all_close(one, other, rtol=rtol, atol=rtol)


def test_streaming_equals_stored_draws_and_compiles_once() -> None:
    """To the rounding of float32, jobs side by side; other β and draws use the same program."""
    times = np.arange(DRAWS)
    accumulated = streamed(draws(), empty(), times)
    assert_same(accumulated.finalised(), stored(draws()), 1e-5)
    with CompilationCounter() as compiled:
        streamed(draws(1), empty((0.1, 0.2)), times)
    assert not compiled.counts["advanced"]


@in_float64
def test_merging_is_associative_and_equals_one_stream() -> None:
    """Draws in three streams, each with a third of every block; to the rounding of float64."""
    times = np.arange(DRAWS).reshape(BLOCKS, 3, -1)
    a, b, c = (streamed(draws(), empty(), times[:, k].ravel()) for k in range(3))
    left = merged(merged(a, b), c).finalised()
    assert_same(left, stored(draws()), 1e-13)
    assert_same(merged(a, merged(b, c)).finalised(), left, 1e-13)
    assert_same(merged(merged(c, b), a).finalised(), left, 1e-13)
    assert_same(merged(empty(), a).finalised(), a.finalised(), 1e-15)
    assert_same(merged(a, empty()).finalised(), a.finalised(), 1e-15)
    assert_same(streamed(draws(), empty(), np.arange(DRAWS)).finalised(), left, 1e-13)


def test_padding_is_dropped() -> None:
    padded = draws() * (np.arange(DATA) < DATA - 2)
    accumulated = streamed(padded, empty(), np.arange(DRAWS)).finalised(DATA - 2)
    assert_same(accumulated, stored(draws()[..., : DATA - 2]), 1e-5)


def test_draws_beyond_the_last_block_are_dropped() -> None:
    late = np.concatenate([draws(), draws(1)[:, :, :PART]], axis=2)
    accumulated = streamed(late, empty(), np.arange(DRAWS + PART)).finalised()
    assert_same(accumulated, stored(draws()), 1e-5)


def test_moments_by_hand() -> None:
    """One chain, one block: l = 0 and log 3 for the first datum, 1 and 3 for the second."""
    moments = loss_moments([[[0.0, 1.0], [np.log(3), 3.0]]])
    np.testing.assert_allclose(moments.log_means[0, 0, 0, 0], np.log(2))
    np.testing.assert_allclose(moments.log_means[0, 0, 1, 0], np.log(2 / 3))
    np.testing.assert_allclose(moments.log_means[0, 0, 2], 0)
    np.testing.assert_allclose(moments.means[0, 0, 1], 2)
    np.testing.assert_allclose(moments.variances[0, 0, 1], 1)
    np.testing.assert_allclose(moments.energy_variances[0, 0], (2 + np.log(3)) ** 2 / 4)
    assert (moments.num_draws, moments.num_data) == (2, 2)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="num_blocks = 0"):
        LossAccumulator.empty(1, 0, 1)
    with pytest.raises(ValueError, match="blocks hold 0 to 6 draws"):
        streamed(draws(), empty(), np.arange(PART)).finalised()
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        loss_moments(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="num_blocks = 5"):
        loss_moments(draws()[0], 5)
