"""Langevin runs around the weights of checkpoints, on the loss of any network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.run.data_sums import sum_over_data
from slt_jax.run.devices import JobFunction
from slt_jax.run.small_products import with_sums_of_products
from slt_jax.samplers.mode import posterior_mode
from slt_jax.samplers.sgld import SGLDSettings, reference_step, sgld
from slt_jax.samplers.target import Target
from slt_jax.samplers.underdamped import (
    UnderdampedSettings,
    largest_precision,
    underdamped_draws,
)

# More data are summed block by block.
ROWS_AT_ONCE = 8192
PROBES = 8  # and as many opposite ones
PROBE_COST = 0.5  # nats
LOG_RANGE = 20.0
BISECTIONS = 20
GROUPS = 32


@dataclass(frozen=True)
class FlatLoss:
    """The loss of a network per datum, of its weights as one vector [D]; ``d`` are sampled.

    ``loss`` maps (weights, other variables, batch) to [batch] in nats, ``structure`` and
    ``shapes`` are those of the weights.
    """

    loss: Callable[[Any, Any, Any], Array]
    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    d: int

    def __call__(self, flat: Array, others: Any, batch: Any) -> Array:
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = jnp.split(flat, ends[:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return self.loss(jax.tree.unflatten(self.structure, leaves), others, batch)

    def total(self, flat: Array, others: Any, batch: Any, weights: Array) -> Array:
        """Sum of the losses of all data, each with its weight, in total nats."""
        return jnp.sum(weights * self(flat, others, batch))

    def gain(self, flat: Array, fixed: tuple[Array, Any], batch: Any, weights: Array) -> Array:
        """Sum of how much lower the loss of each datum is than at the centre, in total nats.

        ``fixed`` are the centre [D] and the other variables.
        """
        centre, others = fixed
        # Chains share the loss at the centre, and gradients need none: it is not kept.
        return -jnp.sum(weights * (self(flat, others, batch) - self(centre, others, batch)))


class LocalData(NamedTuple):
    """All that the loss around a checkpoint needs, for the target of ``local_target``.

    The position u [d] stands for w = w* + ``radius`` · u. ``batch`` are arrays [n, ...],
    ``weights`` [n] their factors, ``centre`` [D] all weights at w*, ``sampled`` [d] the indices of
    those that move, and ``others`` the other variables.
    """

    batch: Any
    weights: Array
    centre: Array
    sampled: Array
    others: Any
    radius: Array

    def subsample(self, key: Array, batch_size: int) -> LocalData:
        """Draw a minibatch with replacement, each datum of which counts for n/size."""
        n = len(self.weights)
        rows = jax.random.randint(key, (batch_size,), 0, n)
        batch = jax.tree.map(lambda leaf: leaf[rows], self.batch)
        weights = jnp.full(batch_size, n / batch_size, self.weights.dtype)
        return self._replace(batch=batch, weights=weights)


class Checkpoint(NamedTuple):
    """A job: ``centre`` [D] are the weights w*, ``others`` the other variables of a module."""

    centre: Array
    others: Any
    key_data: Array


class Pilot(NamedTuple):
    """The scales of the loss around a checkpoint, and chains that have left it.

    ``loss`` is L_n(w*) in nats per datum; ``radius`` the unit of positions; ``step_size`` in the
    square of it; ``positions`` [chain, d]; ``descent`` by how much nL_n falls below nL_n(w*) at
    best, total nats; ``gradient_norm`` |∇L_n(w*)| and ``gradient_noise``, its standard error as of
    n independent data.
    """

    loss: Array
    radius: Array
    step_size: Array
    positions: Array
    descent: Array
    gradient_norm: Array
    gradient_noise: Array


class Walk(NamedTuple):
    """A job: one γ and step size, in the units of ``radius``, from ``positions`` [chain, d]."""

    checkpoint: Checkpoint
    radius: Array
    gamma: Array
    step_size: Array
    positions: Array


class Walked(NamedTuple):
    """The ``energies`` [chain, draw], nL_n(w) − nL_n(w*), and per chain [chain] the
    ``acceptance``, the square of the ``distance`` to w* where it ended, and ``num_divergent``.
    """

    energies: Array
    acceptance: Array
    square_distance: Array
    num_divergent: Array


@functools.lru_cache(maxsize=64)
def local_target(flat_loss: FlatLoss) -> Target:
    """Return the target of positions u [d] whose data are ``LocalData``; it has no prior."""
    d = flat_loss.d
    all_move = d == sum(int(np.prod(shape)) for shape in flat_loss.shapes)

    @with_sums_of_products
    def log_likelihood(u: Array, data: LocalData) -> Array:
        moved = data.radius * u
        flat = data.centre + moved if all_move else data.centre.at[data.sampled].add(moved)

        arguments = (flat, (data.centre, data.others), data.batch, data.weights)
        if len(data.weights) <= ROWS_AT_ONCE:
            return flat_loss.gain(*arguments)
        return sum_over_data(flat_loss.gain, *arguments)

    return Target(
        sample_prior=lambda key: jax.random.normal(key, (d,)),
        log_prior=lambda u: jnp.zeros((), u.dtype),
        log_likelihood=log_likelihood,
    )


def _local_data(
    flat_loss: FlatLoss, batch: Any, sampled: Array, checkpoint: Checkpoint, radius: Array
) -> LocalData:
    weights = jnp.ones(len(jax.tree.leaves(batch)[0]), checkpoint.centre.dtype)
    return LocalData(batch, weights, checkpoint.centre, sampled, checkpoint.others, radius)


def pilot_batch(
    flat_loss: FlatLoss,
    settings: SGLDSettings,
    num_chains: int,
    is_underdamped: bool,
    shared: tuple[Any, Array, Array, Array | None],
    relative_gamma: Array,
    checkpoints: Checkpoint,
) -> Pilot:
    """Find the scales around checkpoints, one job each; ``shared`` are data, ``sampled`` and β.

    ``relative_gamma`` is the weakest γ, in units of the precision 1/radius². The unit of steps is
    ``reference_step``, and of underdamped dynamics 1/√a with the largest curvature a where the
    chains are then.
    """
    batch, sampled, beta, gamma = shared
    target = local_target(flat_loss)

    def pilot(checkpoint: Checkpoint) -> Pilot:
        key = jax.random.wrap_key_data(checkpoint.key_data)
        probe_key, group_key, step_key = jax.random.split(key, 3)
        one = jnp.ones((), checkpoint.centre.dtype)
        data = _local_data(flat_loss, batch, sampled, checkpoint, one)
        radius = _radius(target, data, beta, probe_key)
        data = data._replace(radius=radius)
        weakest = relative_gamma if gamma is None else gamma * radius**2
        centre = jnp.zeros(flat_loss.d, radius.dtype)
        step, positions = reference_step(
            target, settings, step_key, data, beta, weakest, centre,
            jnp.zeros((num_chains, flat_loss.d), radius.dtype),
        )  # fmt: skip
        if is_underdamped:
            vectors = jax.random.normal(probe_key, positions.shape, positions.dtype)
            steepest, _ = largest_precision(target, data, beta, weakest, centre, positions, vectors)
            step = 1 / jnp.sqrt(jnp.max(steepest))
        lowest = posterior_mode(target, data, centre)
        total = sum_over_data(flat_loss.total, data.centre, data.others, data.batch, data.weights)
        norm, noise = _gradient(target, data, group_key)
        return Pilot(
            loss=total / len(data.weights),
            radius=radius,
            step_size=step,
            positions=positions,
            descent=target.log_likelihood(lowest, data),
            gradient_norm=norm / radius,
            gradient_noise=noise / radius,
        )

    return jax.vmap(pilot)(checkpoints)


def _radius(target: Target, data: LocalData, beta: Array, key: Array) -> Array:
    """Return 1/√a with the precision a of βnL_n around w*, on average weighted by its cost.

    The cost of noise u is |E(u) + E(−u)|/2 with E = βn(L_n − L_n(w*)), to which a slope at w* adds
    nothing. It is PROBE_COST on average for u = r N(0, I) at a radius r that bisection finds. There
    a = E|∇E(u) − ∇E(−u)|²/8 over that, tr H²/tr H for a form E = uᵀHu/2 without negative
    directions. Where the loss never grows so much, the root mean square of the weights is all
    that there is.
    """
    probes = jax.random.normal(key, (PROBES, len(data.sampled)), data.centre.dtype)
    rms = jnp.sqrt(jnp.mean(data.centre[data.sampled] ** 2))
    size = jnp.where(rms > 0, rms, 1.0)

    def energy(u: Array) -> Array:
        return -beta * target.log_likelihood(u, data)

    def cost(u: Array) -> Array:
        return jnp.abs(energy(u) + energy(-u)) / 2

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        cheap = jnp.mean(jax.lax.map(cost, jnp.exp(middle) * probes)) < PROBE_COST
        return jnp.where(cheap, middle, low), jnp.where(cheap, high, middle)

    def square(u: Array) -> Array:
        slope = jax.grad(energy)
        return jnp.sum((slope(u) - slope(-u)) ** 2) / 8

    first = jnp.log(size) + LOG_RANGE * jnp.array([-1.0, 1.0], size.dtype)
    low, _ = jax.lax.fori_loop(0, BISECTIONS, halve, (first[0], first[1]))
    costs, squares = jax.lax.map(lambda u: (cost(u), square(u)), jnp.exp(low) * probes)
    precision = jnp.mean(squares) / jnp.mean(costs)
    found = jnp.isfinite(precision) & (precision > 0) & (low < first[1] - 0.01)
    return jnp.where(found, 1 / jnp.sqrt(jnp.where(found, precision, 1.0)), size)


def _gradient(target: Target, data: LocalData, key: Array) -> tuple[Array, Array]:
    """Return the norm of the gradient of L_n at u = 0, and its standard error by groups of data."""
    n = len(data.weights)
    groups = min(GROUPS, n)
    size = n // groups
    slope, centre = jax.grad(target.log_likelihood), jnp.zeros(len(data.sampled), data.radius.dtype)

    def of_group(rows: Array) -> Array:
        batch = jax.tree.map(lambda leaf: leaf[rows], data.batch)
        weights = jnp.full(size, 1 / size, data.weights.dtype)
        return slope(centre, data._replace(batch=batch, weights=weights))

    rows = jax.random.permutation(key, n)[: groups * size].reshape(groups, size)
    square = jnp.sum(jnp.var(jax.lax.map(of_group, rows), axis=0, ddof=1))
    return jnp.sqrt(jnp.sum(slope(centre, data) ** 2)) / n, jnp.sqrt(square * size / n)


def walk_batch(
    flat_loss: FlatLoss,
    settings: SGLDSettings | UnderdampedSettings,
    shared: tuple[Any, Array, Array],
    jobs: Walk,
) -> Walked:
    """Run the chains of one γ and step size around a checkpoint, one job each."""
    batch, sampled, beta = shared
    target = local_target(flat_loss)

    def walk(job: Walk) -> Walked:
        data = _local_data(flat_loss, batch, sampled, job.checkpoint, job.radius)
        arguments = (
            jax.random.wrap_key_data(job.checkpoint.key_data), data, beta, job.gamma,
            jnp.zeros(flat_loss.d, job.radius.dtype), job.step_size, job.positions,
        )  # fmt: skip
        if isinstance(settings, UnderdampedSettings):
            result: Any = underdamped_draws(target, settings, *arguments)
        else:
            result = sgld(target, settings, *arguments)
        square = job.radius**2 * jnp.sum(result.positions**2, axis=1)
        return Walked(result.energies, result.acceptance, square, result.num_divergent)

    return jax.vmap(walk)(jobs)


pilot_jobs = JobFunction(pilot_batch, num_static=4, num_shared=2)
walk_jobs = JobFunction(walk_batch, num_static=2, num_shared=1)
