"""Boolean functions of four inputs: nets drawn until one fits, and nets trained until they fit.

A function is the integer whose bits are its 16 values, the first input in the highest bit. Given
some labels, the functions that have them are numbered by their values at the other inputs.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from slt_jax.curves.jobs import unravelled
from slt_jax.curves.training import TrainingSettings
from slt_jax.inference.training import train_ensemble
from slt_jax.models.boolean_net import BooleanNet
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.statistics import Data

from . import BLOCK
from .ensembles import REFERENCE

Integers = NDArray[np.int64]

INPUTS = 4
LENGTH = 2**INPUTS
WRONG = -1
CHECKED_EVERY = 10
# Trained together: endpoints and what optimisers remember stay in memory.
TRAINED_AT_ONCE = 50000


class Target(NamedTuple):
    """A function to be learned: its formula and its 16 values."""

    name: str
    values: Integers


def targets() -> tuple[Target, ...]:
    """List a function of one input, one of three, and the parity of two."""
    first, second, third, _ = np.indices(INPUTS * (2,)).reshape(INPUTS, -1)
    return (
        Target("x₁", first),
        Target("if x₁ then x₂ else x₃", np.where(first == 1, second, third)),
        Target("x₁ ⊕ x₂", first ^ second),
    )


def settings_of(step_size: float, steps: int) -> dict[str, TrainingSettings]:
    """Return the settings, the reference first and others that differ from it in one thing.

    A run stops when all its labels are right, which is looked at every ten steps.
    """
    base = TrainingSettings(
        step_size=step_size, batch_size=1, steps=steps, stop_at_worst_loss=math.log(2)
    )
    return {
        REFERENCE: base,
        "batch 4": base._replace(batch_size=4),
        "all labels": base._replace(batch_size=LENGTH),
        "step × ¼": base._replace(step_size=step_size / 4),
        "step × 4": base._replace(step_size=4 * step_size),
        "momentum": base._replace(momentum=0.9, step_size=step_size / 10),
        "Adam": base._replace(optimiser="adam", step_size=step_size / 10),
        "start × ½": base._replace(initial_scale=0.5),
        "start × 2": base._replace(initial_scale=2.0),
    }


def net(hidden: int) -> BooleanNet:
    """Return the net with one hidden layer of tanh units, all weights and biases N(0, 1)."""
    return BooleanNet(widths=(INPUTS, hidden, 1))


def problem_of(model: BooleanNet) -> Problem:
    """Return the problem of a net, whose truth is of no concern here."""
    optimum = {name: np.zeros(prior.shape()) for name, prior in model.priors().items()}
    return Problem("boolean_net", model, optimum)


def labelled_rows(key: Array, labels: int) -> Integers:
    """Choose which inputs have a label, in order."""
    return np.sort(np.asarray(jax.random.permutation(key, LENGTH))[:labels])


def _functions(model: BooleanNet, positions: Array) -> Array:
    """Compute the functions [K] of weights [K, d]."""
    inputs = jnp.asarray(model.inputs(), positions.dtype)

    def logits(w: Array) -> Array:
        params = unravelled(model, w)
        return jax.vmap(lambda x: model.logits(params, x)[1])(inputs)

    bits = (jax.vmap(logits)(positions) > 0).astype(jnp.int32)
    return bits @ (2 ** np.arange(LENGTH - 1, -1, -1, dtype=np.int32))


def _drawn(model: BooleanNet, key: Array, scale: Array) -> Array:
    """Count the functions of ``BLOCK`` draws of the prior times ``scale``, shape [2^16]."""
    positions = scale * jax.random.normal(key, (BLOCK, model.dimension))
    return jnp.zeros(2**LENGTH, jnp.int32).at[_functions(model, positions)].add(1)


functions_of = jit_at_first_call(_functions, static_argnums=(0,))
drawn = jit_at_first_call(_drawn, static_argnums=(0,))


def prior_counts(model: BooleanNet, key: Array, scale: float, draws: int) -> Integers:
    """Count how often each function [2^16] is drawn from the prior times ``scale``."""
    counts = np.zeros(2**LENGTH, np.int64)
    for i in range(draws // BLOCK):
        each = drawn(model, jax.random.fold_in(key, i), jnp.float32(scale))
        counts += np.asarray(each)
    return counts


def completions(target: Target, rows: Integers) -> Integers:
    """List the functions that have the target's values at ``rows``, shape [2^(16 − labels)]."""
    free = np.setdiff1d(np.arange(LENGTH), rows)
    values = np.tile(target.values, (2**free.size, 1))
    values[:, free] = np.indices(free.size * (2,)).reshape(free.size, -1).T
    return values @ (2 ** np.arange(LENGTH - 1, -1, -1))


def place_in(functions: Integers, every: Integers) -> Integers:
    """Return the place of each function among increasing ones, −1 where it is not there."""
    places = np.minimum(np.searchsorted(every, functions), every.size - 1)
    return np.where(every[places] == functions, places, WRONG)


class Trained(NamedTuple):
    """Counts of the completions that were found [completion], of runs given up, and of steps."""

    counts: Integers
    unfinished: int
    mean_steps: float
    at_start: int


def trained_counts(
    model: BooleanNet,
    target: Target,
    rows: Integers,
    settings: TrainingSettings,
    key: Array,
    trainings: int,
) -> Trained:
    """Train until all labels are right, from ``trainings`` independent starts, and count."""
    inputs = jnp.asarray(model.inputs()[rows])
    data = Data(inputs, jnp.asarray(target.values[rows], inputs.dtype))
    problem = problem_of(model)
    every = completions(target, rows)
    counts = np.zeros(every.size, np.int64)
    unfinished, steps, at_start = 0, 0.0, 0
    record = range(0, settings.steps + 1, CHECKED_EVERY)
    for first in range(0, trainings, TRAINED_AT_ONCE):
        seeds = min(TRAINED_AT_ONCE, trainings - first)
        part = jax.random.fold_in(key, first)
        runs = train_ensemble(problem, data, settings, key=part, seeds=seeds, record=record)
        found = np.asarray(functions_of(model, runs["position"].to_numpy()[0, 0]), np.int64)
        right = runs["stopped_by"].to_numpy()[0, 0] == "worst_loss"
        counts += np.bincount(place_in(found[right], every), minlength=every.size)
        unfinished += int(np.sum(~right))
        taken = runs["num_steps"].to_numpy()[0, 0]
        steps += float(taken.sum())
        at_start += int(np.sum(right & (taken == 0)))
    return Trained(counts, unfinished, steps / trainings, at_start)
