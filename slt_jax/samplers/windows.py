"""Warm-up of the No-U-Turn sampler: dual averaging of the step size, and variances in windows.

Each of N chains learns by itself and is at a draw of its own; the chains are the last axis.

Sources: Hoffman & Gelman, The No-U-Turn Sampler, JMLR 15, 2014, section 3.2; the windows and the
shrinkage are those of the Stan reference manual.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.samplers.trees import where

FIRST_BUFFER, FIRST_WINDOW, LAST_BUFFER = 75, 25, 50
SHORTEST_WITH_WINDOWS = 20
DELAY, FORGETTING, GAIN = 10.0, 0.75, 0.05
PRIOR_DRAWS, PRIOR_VARIANCE = 5.0, 1e-3


class Tuning(NamedTuple):
    """State of the adaptation: ``step_size`` [N], and the ``inverse_mass`` [d, N] of each.

    Of the dual averaging [N]: the mean miss of the acceptance, the mean of log step sizes, and the
    logarithm to which they are drawn. Of the window: ``mean`` and sum of ``squares`` [d, N].
    """

    step_size: Array
    inverse_mass: Array
    miss: Array
    log_step: Array
    centre: Array
    mean: Array
    squares: Array


class Schedule(NamedTuple):
    """Tables [W] of what each draw of the warm-up does.

    ``steps`` are the draws since the dual averaging began, ``draws`` those since the window did;
    ``gathers`` says whether a draw is in a window, and ``closes`` whether it is its last.
    """

    steps: np.ndarray
    draws: np.ndarray
    gathers: np.ndarray
    closes: np.ndarray


def windows(num_warmup: int) -> list[int]:
    """Return the first draws of the windows in which variances are learnt, and where they end.

    Each window is twice as long as the one before, and the last as long as what is left.

    >>> windows(500)
    [75, 100, 150, 250, 450]
    >>> windows(10)
    []
    """
    if num_warmup < SHORTEST_WITH_WINDOWS:
        return []
    start, length, last = FIRST_BUFFER, FIRST_WINDOW, LAST_BUFFER
    if start + length + last > num_warmup:
        start, last = int(0.15 * num_warmup), int(0.1 * num_warmup)
        length = num_warmup - start - last
    end, bounds = num_warmup - last, [start]
    while bounds[-1] < end:
        whole = 3 * length <= end - bounds[-1]
        bounds.append(bounds[-1] + length if whole else end)
        length *= 2
    return bounds


@functools.cache
def schedule(num_warmup: int) -> Schedule:
    """Return what each draw of a warm-up does."""
    bounds = windows(num_warmup)
    index = np.arange(num_warmup)
    gathers = np.zeros(num_warmup, bool)
    closes = np.zeros(num_warmup, bool)
    steps, draws = index + 1, np.ones(num_warmup, int)
    for start, end in zip(bounds, bounds[1:], strict=False):
        gathers[start:end] = True
        closes[end - 1] = True
        draws[start:end] = index[start:end] - start + 1
        steps[end:] = index[end:] - end + 1
    return Schedule(steps, draws, gathers, closes)


def untuned(dimension: int, num_chains: int, dtype: np.dtype) -> Tuning:
    """Return what chains know before their first draw: a step of 1 and masses of 1."""
    one = jnp.ones(num_chains, dtype)
    zeros = jnp.zeros((dimension, num_chains), dtype)
    return Tuning(one, zeros + 1, 0 * one, 0 * one, jnp.log(10 * one), zeros, zeros)


def tuned(tuning: Tuning, draw: Array, num_warmup: int, miss: Array, position: Array) -> Tuning:
    """Learn from draws [N] of the warm-up at ``position`` [d, N].

    ``miss`` [N] is the acceptance that was aimed at less that of the draw.
    """
    tables = schedule(num_warmup)
    dtype = position.dtype
    # A power for each chain would take longer than the tree.
    steps = tables.steps.astype(float)
    rates = np.stack([1 / (steps + DELAY), np.sqrt(steps) / GAIN, steps**-FORGETTING])
    rate, gain, weight = jnp.asarray(rates, dtype)[:, draw]
    count = jnp.asarray(tables.draws, dtype)[draw]

    miss = (1 - rate) * tuning.miss + miss * rate
    now = tuning.centre - gain * miss
    log_step = (1 - weight) * tuning.log_step + weight * now
    limits = np.finfo(dtype)
    step_size = jnp.exp(jnp.where(draw == num_warmup - 1, log_step, now))
    step_size = jnp.clip(step_size, limits.tiny, limits.max)

    before = position - tuning.mean
    mean = tuning.mean + before / count
    squares = tuning.squares + before * (position - mean)
    gathered = tuning._replace(
        step_size=step_size, miss=miss, log_step=log_step, mean=mean, squares=squares
    )
    left_alone = gathered._replace(mean=tuning.mean, squares=tuning.squares)
    new = where(jnp.asarray(tables.gathers)[draw], gathered, left_alone)
    return where(jnp.asarray(tables.closes)[draw], _closed(new, count), new)


def _closed(tuning: Tuning, count: Array) -> Tuning:
    """Take the variances of a window for the inverse masses, and begin the next."""
    variance = count / (count + PRIOR_DRAWS) * (tuning.squares / (count - 1))
    shrinkage = PRIOR_VARIANCE * (PRIOR_DRAWS / (count + PRIOR_DRAWS))
    zero, zeros = jnp.zeros_like(tuning.miss), jnp.zeros_like(tuning.mean)
    centre = np.log(10.0) + jnp.log(tuning.step_size)
    return Tuning(tuning.step_size, variance + shrinkage, zero, zero, centre, zeros, zeros)
