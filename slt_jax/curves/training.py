"""Joins problems to optimisers: thousands of training runs as data of one compiled program.

A run is one point w [d] of the real coordinates that samplers move in, which descends the loss

    −(1/b) Σ_{i in batch} ℓ_i(w) + (weight_decay/2) |w|²      [nats per datum]

by steps of optax on minibatches of its data set. All runs are one axis under one ``vmap``, and all
that tells them apart is data: seeds, data sets, n, and every field of ``TrainingSettings``.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from slt_jax.curves.jobs import ravelled, unravelled
from slt_jax.model import Model
from slt_jax.priors import coordinate_shapes
from slt_jax.run.devices import JobFunction
from slt_jax.run.small_products import with_sums_of_products
from slt_jax.samplers.ensemble import MANY_CHAINS, chains_in_cache, drawn_once
from slt_jax.statistics import Data
from slt_jax.validation import (
    AtLeast,
    Below,
    Count,
    NonNegative,
    Number,
    Positive,
    Size,
    suggestion,
)

# Arrays of NumPy between programs, and of JAX in them.
Numbers = Any
Decay = Annotated[float, AtLeast(0), Below(1)]
OPTIMISERS = ("sgd", "adam")
SCHEDULES = ("constant", "linear", "cosine")
STOPS = ("", "steps", "training_loss", "worst_loss", "patience", "diverged")
RUNNING, STEPS, TRAINING_LOSS, WORST_LOSS, PATIENCE, DIVERGED = range(len(STOPS))
# A place is left where it was with probability 2^-12.
ROUNDS = 12


class TrainingSettings(NamedTuple):
    """Settings of a training run; all are data of the compiled program.

    ``optimiser`` is SGD with a trace of past gradients, m ← momentum·m + g and w ← w − η m, which
    is plain SGD for ``momentum`` 0, or Adam with ``first_decay``, ``second_decay`` and ``damping``,
    both as in optax. η is ``step_size`` times the ``schedule``: it rises linearly from 0 in
    ``warmup`` steps and then falls to 0 at ``steps``, linearly or as a half cosine, or stays.

    Batches of ``batch_size`` data are taken from a new order of all n in every epoch, the last of
    which is what is left over; n or more is the gradient of all data. ``independent_batches`` are
    the first of a new order at every step instead, as theories of SGD have them: the noise of an
    epoch adds up to nothing at first order in η, that of independent batches does not. A step costs
    the gradients of as many data as the largest batch of all runs that are compiled together.

    ``weight_decay`` is a penalty in the loss, whose minimum is the posterior mode of a prior
    N(0, 1/(n·weight_decay)) of each real coordinate, for any optimiser; at inverse temperature β of
    the likelihood N(0, 1/(nβ·weight_decay)). ``decoupled``, it is subtracted beside the step
    instead, w ← w − η(update + weight_decay·w), as AdamW does: the same for plain SGD; with
    momentum, a penalty of (1 − momentum)·weight_decay; with Adam, of no prior.

    A run starts at a draw of the prior times ``initial_scale``, or with "fan_in" at
    N(0, initial_scale²/fan_in) for matrices and 0 for vectors (``fan_in_deviations``). It stops
    after ``steps``, or when its loss over all training data is at most ``stop_at_loss``, or when
    each of them has a loss below ``stop_at_worst_loss`` (log 2: a classifier of two classes has
    every label right), or when its held-out loss has had no new minimum at so many recorded steps
    in a row as ``patience``; a run with patience ends at that minimum, whatever stops it.
    Losses are in nats per datum and looked at only at recorded steps. A run whose batch loss is
    above ``largest_loss``, or whose next point is not finite, has diverged, and stays there.

    >>> from slt_jax import TrainingSettings
    >>> grid = TrainingSettings.grid(step_size=[0.01, 0.1], batch_size=[4, 16, 64], momentum=0.9)
    >>> len(grid), grid[1].batch_size, grid[1].step_size
    (6, 16, 0.01)
    """

    optimiser: Literal["sgd", "adam"] = "sgd"
    step_size: Positive = 0.1
    batch_size: Count = 32
    steps: Count = 1000
    momentum: Decay = 0.0
    first_decay: Decay = 0.9
    second_decay: Decay = 0.999
    damping: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    decoupled: bool = False
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Size = 0
    initial: Literal["prior", "fan_in"] = "prior"
    initial_scale: NonNegative = 1.0
    stop_at_loss: Number | None = None
    stop_at_worst_loss: Number | None = None
    patience: Count | None = None
    largest_loss: Positive = 1e6
    independent_batches: bool = False

    @classmethod
    def grid(cls, **fields: Any) -> list["TrainingSettings"]:
        """Return settings for every combination of the values of some fields.

        A list or a tuple is several values; those of the last field change fastest. Raises
        ValueError for a field that settings do not have.
        """
        for name in fields:
            if name not in cls._fields:
                raise ValueError(f"{name}: no field; {suggestion(name, cls._fields)}")
        axes = [one if isinstance(one, list | tuple) else (one,) for one in fields.values()]
        every = itertools.product(*axes)
        return [cls(**dict(zip(fields, values, strict=True))) for values in every]


class DataSets(NamedTuple):
    """Data that all runs share: R sets of up to N training data, and points of a held-out loss.

    ``data`` [R, N, ...] with ``counts`` [R] of real rows, of which the rest are copies.
    ``held_out`` [Q, M, ...] with ``weights`` [Q, M], Q = R or 1 for all; both None without.
    """

    data: Data
    counts: Numbers
    held_out: Data | None = None
    weights: Numbers | None = None


class Run(NamedTuple):
    """The settings of a run as numbers, its ``data_set`` and the two ``words`` of its order of it.

    ``patience`` is 0 for none, and thresholds of losses −∞ for none.
    """

    words: Numbers
    data_set: Numbers
    is_adam: Numbers
    step_size: Numbers
    batch_size: Numbers
    steps: Numbers
    momentum: Numbers
    first_decay: Numbers
    second_decay: Numbers
    damping: Numbers
    weight_decay: Numbers
    decoupled: Numbers
    schedule: Numbers
    warmup: Numbers
    stop_at_loss: Numbers
    stop_at_worst_loss: Numbers
    patience: Numbers
    largest_loss: Numbers
    independent_batches: Numbers


class RunState(NamedTuple):
    """The state of a run: ``position`` [d], ``step`` and what its optimiser remembers.

    ``stopped`` is an index of STOPS. ``best_position`` has the least held-out loss of all recorded
    steps, ``best_loss`` at ``best_step``, and ``since_best`` counts the recorded steps after it.
    """

    position: Numbers
    trace: Any
    moments: Any
    step: Numbers
    stopped: Numbers
    best_position: Numbers
    best_loss: Numbers
    best_step: Numbers
    since_best: Numbers


class Losses(NamedTuple):
    """Losses at a recorded step, nats per datum.

    The mean and the largest over the training data, and the held-out loss, NaN without.
    """

    training: Array
    worst: Array
    held_out: Array


def fan_in_deviations(model: Model) -> np.ndarray:
    """Return the standard deviation [d] of each coordinate at the start of ``initial="fan_in"``.

    A parameter with axes [..., out, in] has 1/√in, one called ``kernel``, as in flax, has axes
    [..., in, out] that are all but the last summed over; vectors and scalars have 0. Raises
    ValueError where all have 0, from where nothing would move.
    """
    parts = []
    for name, shape in coordinate_shapes(model.priors()).items():
        is_kernel = name.split("/")[-1] == "kernel"
        fan_in = math.prod(shape[:-1] if is_kernel else shape[-1:])
        parts.append(np.full(math.prod(shape), fan_in**-0.5 if len(shape) > 1 else 0.0))
    deviations = np.concatenate(parts)
    if not deviations.any():
        raise ValueError(
            f"initial = 'fan_in': {type(model).__name__} has no matrix of weights; allowed: "
            "'prior', or initial_positions"
        )
    return deviations


def start_batch(model: Model, key_data: Array, deviations: Array, scale: Array) -> Array:
    """Draw first positions [run, d], from the prior where the ``deviations`` [run, d] are NaN."""

    def one(key_data: Array, deviations: Array, scale: Array) -> Array:
        key = jax.random.wrap_key_data(key_data)
        prior = ravelled(model, model.sample_prior(key))
        normal = deviations * jax.random.normal(key, prior.shape, prior.dtype)
        return scale * jnp.where(jnp.isnan(deviations), prior, normal)

    return jax.vmap(one)(key_data, deviations, scale)


def new_states(positions: np.ndarray) -> RunState:
    """Return runs that stand at ``positions`` [run, d] and have not taken a step."""
    count = len(positions)
    zeros, none = np.zeros_like(positions), np.zeros(count, np.int32)
    return RunState(
        position=positions,
        trace=optax.TraceState(zeros),
        moments=optax.ScaleByAdamState(none, zeros, zeros),
        step=none,
        stopped=none,
        best_position=positions,
        best_loss=np.full(count, np.inf, positions.dtype),
        best_step=none,
        since_best=none,
    )


def train_batch(
    model: Model, width: int, shared: tuple[DataSets, Array], runs: Run, states: RunState
) -> tuple[RunState, Losses]:
    """Take some steps with each run that has not stopped, and look at its losses afterwards.

    ``shared`` are the data sets and the number of steps, which compiles nothing anew; ``width`` is
    the largest batch. Returns the states, and losses where the runs were before any was put back
    to its least held-out loss.
    """
    data_sets, num_steps = shared
    step = functools.partial(_step, model, width, data_sets)
    judge = functools.partial(_judged, model, data_sets)

    def of_block(block: tuple[Run, RunState]) -> tuple[RunState, Losses]:
        runs, first = block

        def goes_on(carry: tuple[Array, RunState]) -> Array:
            return (carry[0] < num_steps) & jnp.any(carry[1].stopped == RUNNING)

        def advance(carry: tuple[Array, RunState]) -> tuple[Array, RunState]:
            return carry[0] + 1, jax.vmap(step)(runs, carry[1])

        _, states = jax.lax.while_loop(goes_on, advance, (jnp.zeros_like(num_steps), first))
        return jax.vmap(judge)(runs, states, first.stopped == RUNNING)

    count = len(runs.data_set)
    blocks = -(-count // _runs_at_once(step, runs, states))
    if blocks == 1:
        return of_block((runs, states))
    size = -(-count // blocks)
    rows = np.minimum(np.arange(blocks * size), count - 1).reshape(blocks, size)
    done = jax.lax.map(of_block, jax.tree.map(lambda leaf: leaf[rows], (runs, states)))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], done)


def _runs_at_once(step: Callable[[Run, RunState], RunState], runs: Run, states: RunState) -> int:
    """Return how many runs a processor advances side by side: as many as its cache holds."""
    if jax.default_backend() != "cpu":
        return len(runs.data_set)
    one = jax.tree.map(lambda leaf: leaf[0], (runs, states))
    return max(MANY_CHAINS, chains_in_cache(jax.make_jaxpr(step)(*one)))


def _step(model: Model, width: int, data_sets: DataSets, run: Run, state: RunState) -> RunState:
    n = data_sets.counts[run.data_set]
    rows, is_row = _batch(run, n, state.step, width)
    batch = jax.tree.map(lambda leaf: leaf[run.data_set, rows], data_sets.data)
    size = jnp.sum(is_row)

    @with_sums_of_products
    def loss_of(w: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            terms = model.log_likelihoods(unravelled(model, w), batch)
        return -jnp.sum(jnp.where(is_row, terms, 0.0)) / size

    w = state.position
    loss, gradient = jax.value_and_grad(loss_of)(w)
    decay = run.weight_decay * w
    gradient += jnp.where(run.decoupled, 0.0, decay)
    by_trace, trace = optax.trace(run.momentum).update(gradient, state.trace)
    adam = optax.scale_by_adam(run.first_decay, run.second_decay, run.damping)
    by_moments, moments = adam.update(gradient, state.moments)
    update = jnp.where(run.is_adam, by_moments, by_trace) + jnp.where(run.decoupled, decay, 0.0)
    moved = w - run.step_size * schedule_factor(run, state.step) * update
    is_finite = (loss <= run.largest_loss) & jnp.isfinite(moved).all()
    goes_on = state.stopped == RUNNING
    after = state._replace(position=moved, trace=trace, moments=moments, step=state.step + 1)
    lost = state._replace(stopped=jnp.full_like(state.stopped, DIVERGED))
    return jax.tree.map(
        lambda new, end, old: jnp.where(goes_on, jnp.where(is_finite, new, end), old),
        after,
        lost,
        state,
    )


def schedule_factor(run: Run, step: Array) -> Array:
    """Return the factor of the step size at a step ≥ 0, which optax's schedules have too."""
    after = jnp.maximum(step - run.warmup, 0) / jnp.maximum(run.steps - run.warmup, 1)
    progress = jnp.minimum(after, 1.0)
    shapes = [jnp.ones_like(progress), 1 - progress, (1 + jnp.cos(jnp.pi * progress)) / 2]
    return jnp.where(
        step < run.warmup,
        step / jnp.maximum(run.warmup, 1),
        jnp.select([run.schedule == i for i in range(len(shapes))], shapes),
    )


def _batch(run: Run, n: Array, step: Array, width: int) -> tuple[Array, Array]:
    """Return the rows of a step's batch [width], and which of these places it has."""
    size = jnp.minimum(run.batch_size, n)
    steps_of_epoch = jnp.where(run.independent_batches, 1, -(-n // size))
    places = step % steps_of_epoch * size + jnp.arange(width)
    is_row = (jnp.arange(width) < size) & (places < n)
    rows = shuffled(jnp.where(is_row, places, 0), n, run.words, step // steps_of_epoch)
    return rows, is_row


def shuffled(places: Array, n: Array, words: Array, epoch: Array) -> Array:
    """Return where a random order of 0 … n − 1 has each of some ``places``, without the others.

    The order is that of the ``epoch`` of a run with the two random ``words``. In each of 12 rounds
    a place changes with its mirror image at a random centre, or not, by one bit of a hash that is
    pairwise independent: a permutation for every n, of no use to cryptography.

    Source: Hoang, Morris & Rogaway, An enciphering scheme based on a card shuffle, CRYPTO 2012;
    Dietzfelbinger, Universal hashing and k-wise independent random variables via integer arithmetic
    without primes, STACS 1996.
    """
    n, places = n.astype(jnp.uint32), places.astype(jnp.uint32)
    start = _hashed(words[0] ^ _hashed(words[1] + epoch.astype(jnp.uint32)))
    counter = np.arange(1, 3 * ROUNDS + 1, dtype=np.uint32) * np.uint32(0x9E3779B9)
    # Fused with what follows they would be computed anew for every place.
    factors, terms, centres = drawn_once(_hashed(start + counter)).reshape(3, ROUNDS)
    centres = drawn_once(centres % n)
    for factor, term, centre in zip(factors | 1, terms, centres, strict=True):
        mirrored = centre - places
        mirrored = jnp.minimum(mirrored, mirrored + n)  # a negative one is a large one
        bit = (jnp.maximum(places, mirrored) * factor + term) >> 31
        places = jnp.where(bit == 1, mirrored, places)
    return places.astype(jnp.int32)


def _hashed(word: Array) -> Array:
    """Mix the bits of words by the finaliser of Appleby's MurmurHash3."""
    word = (word ^ (word >> 16)) * np.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * np.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def _losses(model: Model, data_sets: DataSets, run: Run, w: Array) -> Losses:
    params = unravelled(model, w)

    @with_sums_of_products
    def of_data(data: Data) -> Array:
        with jax.default_matmul_precision("highest"):
            return -model.log_likelihoods(params, data)

    terms = of_data(jax.tree.map(lambda leaf: leaf[run.data_set], data_sets.data))
    n = data_sets.counts[run.data_set]
    is_row = jnp.arange(len(terms)) < n
    training = jnp.sum(jnp.where(is_row, terms, 0.0)) / n
    worst = jnp.max(jnp.where(is_row, terms, -jnp.inf))
    if data_sets.held_out is None or data_sets.weights is None:
        return Losses(training, worst, jnp.full_like(training, jnp.nan))
    place = jnp.minimum(run.data_set, len(data_sets.weights) - 1)
    held_out = of_data(jax.tree.map(lambda leaf: leaf[place], data_sets.held_out))
    weights = data_sets.weights[place]  # 0 of copies, whatever their loss
    return Losses(training, worst, jnp.sum(jnp.where(weights == 0, 0.0, weights * held_out)))


def _judged(
    model: Model, data_sets: DataSets, run: Run, state: RunState, was_running: Array
) -> tuple[RunState, Losses]:
    """Stop a run where it has to, and put one with patience back to its least held-out loss."""
    losses = _losses(model, data_sets, run, state.position)
    running = state.stopped == RUNNING
    is_best = running & (losses.held_out < state.best_loss)
    state = state._replace(
        best_position=jnp.where(is_best, state.position, state.best_position),
        best_loss=jnp.where(is_best, losses.held_out, state.best_loss),
        best_step=jnp.where(is_best, state.step, state.best_step),
        since_best=jnp.where(is_best, 0, state.since_best + running),
    )
    has_patience = run.patience > 0
    reasons = {
        TRAINING_LOSS: losses.training <= run.stop_at_loss,
        WORST_LOSS: losses.worst < run.stop_at_worst_loss,
        PATIENCE: has_patience & (state.since_best >= run.patience),
        STEPS: state.step >= run.steps,
    }
    reason = jnp.select(list(reasons.values()), list(reasons), RUNNING).astype(state.stopped.dtype)
    state = state._replace(stopped=jnp.where(running, reason, state.stopped))
    back = was_running & (state.stopped != RUNNING) & has_patience & jnp.isfinite(state.best_loss)
    position = jnp.where(back, state.best_position, state.position)
    return state._replace(position=position), losses


start_jobs = JobFunction(start_batch, num_static=1, num_shared=0)
"""It is ``start_batch`` of any number of runs."""

train_jobs = JobFunction(train_batch, num_static=2, num_shared=1)
"""It is ``train_batch`` of any number of runs, over all devices within their memory."""
