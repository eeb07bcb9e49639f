"""Binary trees of the No-U-Turn sampler for N chains, each at a place of its own in its own tree.

A tree of 2^j leaves is doubled by a subtree of as many that grows leaf by leaf from one end. All
arrays have the chains last, so that a number per chain multiplies a vector per chain.

Sources: Hoffman & Gelman, The No-U-Turn Sampler, JMLR 15, 2014; Betancourt, A conceptual
introduction to Hamiltonian Monte Carlo, 2017, appendix A; Phan, Pradhan & Jankowiak, Composable
effects for flexible and accelerated probabilistic programming in NumPyro, 2019 (without recursion).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.hmc import DIVERGENCE


class Point(NamedTuple):
    """Positions and ``gradient`` of the log density [d, N], and both logarithms [N] in nats."""

    position: Array
    gradient: Array
    log_density: Array
    log_likelihood: Array


class End(NamedTuple):
    """The state of a trajectory at one end of the tree: ``position``, ``momentum`` and gradient."""

    position: Array
    momentum: Array
    gradient: Array


class Tree(NamedTuple):
    """Summary of the leaves of a tree.

    ``log_weight`` [N] is the log sum of exp(−energy) relative to where the trajectory began,
    ``acceptance`` [N] the sum of min(1, exp(−energy)), ``num_leaves`` [N] how many were visited,
    ``momentum_sum`` [d, N] adds all momenta, and ``proposal`` is the leaf drawn from them.
    """

    log_weight: Array
    acceptance: Array
    num_leaves: Array
    momentum_sum: Array
    proposal: Point


class Trajectory(NamedTuple):
    """A tree and the subtree that is to double it.

    ``energy`` [N] is where it began; ``depth`` [N] of the tree; ``front`` is the end at which it
    grows, ``backward`` [N] whether that is against time. ``checkpoints`` [level, 2, d, N] are the
    momenta, and sums of them, at the left ends of the subtree's subtrees that are not complete.
    """

    energy: Array
    depth: Array
    backward: Array
    front: End
    back: End
    tree: Tree
    subtree: Tree
    checkpoints: Array


class Growth(NamedTuple):
    """Verdict on a new leaf [N]: its subtree made a U-turn, diverged, or is at an end."""

    turning: Array
    diverging: Array
    complete: Array


def where(condition: Array, new: Any, old: Any) -> Any:
    """Take the ``new`` leaves of a tree of arrays for the chains with the ``condition`` [N]."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def kinetic_energy(inverse_mass: Array, momentum: Array) -> Array:
    """Return the kinetic energy [N] of momenta [d, N]."""
    return 0.5 * jnp.sum(inverse_mass * momentum * momentum, axis=0)


def planted(point: Point, momentum: Array, inverse_mass: Array, like: Trajectory) -> Trajectory:
    """Begin trajectories at points with these momenta; the checkpoints of ``like`` are reused."""
    end = End(point.position, momentum, point.gradient)
    zero = jnp.zeros_like(point.log_density)
    tree = Tree(zero, zero, jnp.zeros_like(like.depth), momentum, point)
    energy = -point.log_density + kinetic_energy(inverse_mass, momentum)
    return like._replace(
        energy=energy, depth=jnp.zeros_like(like.depth), front=end, back=end, tree=tree
    )


def leap(trajectory: Trajectory, step_size: Array, inverse_mass: Array) -> tuple[Array, Array]:
    """Return positions [d, N] one leapfrog step on, and the momenta half a step on."""
    front = trajectory.front
    step = jnp.where(trajectory.backward, -step_size, step_size)
    momentum = front.momentum + 0.5 * step * front.gradient
    return front.position + step * (inverse_mass * momentum), momentum


def grown(
    trajectory: Trajectory,
    point: Point,
    half_momentum: Array,
    step_size: Array,
    inverse_mass: Array,
    uniform: Array,
) -> tuple[Trajectory, Growth]:
    """Add the leaf at ``point`` to the subtree; ``uniform`` [N] decides whether it is proposed."""
    step = jnp.where(trajectory.backward, -step_size, step_size)
    momentum = half_momentum + 0.5 * step * point.gradient
    loss = -point.log_density + kinetic_energy(inverse_mass, momentum) - trajectory.energy
    loss = jnp.where(jnp.isnan(loss), jnp.inf, loss)
    old, diverging = trajectory.subtree, loss > DIVERGENCE
    index = old.num_leaves
    leaf = Tree(-loss, jnp.minimum(jnp.exp(-loss), 1.0), jnp.ones_like(index), momentum, point)
    first = index == 0
    taken = first | (uniform < jax.nn.sigmoid(leaf.log_weight - old.log_weight))
    subtree = where(first, leaf, _added(old, leaf))._replace(
        num_leaves=index + 1, proposal=where(taken, point, old.proposal)
    )
    checkpoints, turning = _checked(
        trajectory.checkpoints, index, inverse_mass, momentum, subtree.momentum_sum
    )
    full = subtree.num_leaves == jnp.left_shift(1, trajectory.depth)
    trajectory = trajectory._replace(
        front=End(point.position, momentum, point.gradient),
        subtree=subtree,
        checkpoints=checkpoints,
    )
    return trajectory, Growth(turning, diverging, turning | diverging | full)


def _added(one: Tree, other: Tree) -> Tree:
    """Join what is summed over the leaves of two trees."""
    return one._replace(
        log_weight=jnp.logaddexp(one.log_weight, other.log_weight),
        acceptance=one.acceptance + other.acceptance,
        num_leaves=one.num_leaves + other.num_leaves,
        momentum_sum=one.momentum_sum + other.momentum_sum,
    )


def joined(
    trajectory: Trajectory, growth: Growth, inverse_mass: Array, uniform: Array, max_depth: int
) -> tuple[Trajectory, Array]:
    """Join complete subtrees to their trees, and say whose tree is over [N].

    ``uniform`` [N] decides whether the proposal of the subtree is taken, which is favoured over
    that of the tree.
    """
    tree, subtree = trajectory.tree, trajectory.subtree
    ratio = jnp.minimum(jnp.exp(subtree.log_weight - tree.log_weight), 1.0)
    spoilt = growth.turning | growth.diverging
    taken = growth.complete & ~spoilt & (uniform < ratio)
    both = _added(tree, subtree)
    depth = trajectory.depth + 1
    over = spoilt | (depth == max_depth)
    over |= _is_turning(
        inverse_mass, trajectory.back.momentum, trajectory.front.momentum, both.momentum_sum
    )
    new = where(growth.complete, both, tree)._replace(
        proposal=where(taken, subtree.proposal, tree.proposal)
    )
    depth = jnp.where(growth.complete, depth, trajectory.depth)
    return trajectory._replace(tree=new, depth=depth), growth.complete & over


def doubled(trajectory: Trajectory, starts: Array, backward: Array) -> Trajectory:
    """Start a subtree where ``starts`` [N], in a direction that is drawn anew."""
    turned = starts & (backward != trajectory.backward)
    front, back = trajectory.front, trajectory.back
    subtree = trajectory.subtree
    return trajectory._replace(
        backward=jnp.where(starts, backward, trajectory.backward),
        front=where(turned, back, front),
        back=where(turned, front, back),
        subtree=subtree._replace(num_leaves=jnp.where(starts, 0, subtree.num_leaves)),
    )


def _checked(
    checkpoints: Array, index: Array, inverse_mass: Array, momentum: Array, total: Array
) -> tuple[Array, Array]:
    """Look for a U-turn between leaf ``index`` and the left ends of subtrees that it completes.

    Every even leaf is a left end, kept at the level of the number of its bits but the last.
    """
    level = jax.lax.population_count(jnp.right_shift(index, 1))
    lowest = level - jax.lax.population_count((~index & (index + 1)) - 1)

    kept_at = jnp.where(index % 2 == 0, level, len(checkpoints))
    chain = jnp.arange(len(index))
    ends = jnp.moveaxis(jnp.stack([momentum, total]), -1, 0)
    checkpoints = checkpoints.at[kept_at, :, :, chain].set(ends, mode="drop")

    def check(at: Array, turning: Array) -> Array:
        left, left_total = checkpoints[at]
        asked = (at <= level) & (at > lowest)
        return turning | (
            asked & _is_turning(inverse_mass, left, momentum, total - left_total + left)
        )

    # Levels about which no chain asks are left out.
    return checkpoints, jax.lax.fori_loop(jnp.min(lowest) + 1, jnp.max(level) + 1, check, index < 0)


def _is_turning(inverse_mass: Array, left: Array, right: Array, total: Array) -> Array:
    """Tell whether momenta [..., d, N] at two ends point out of the sum of all between no more."""
    middle = total - (left + right) / 2
    at_left = jnp.sum(inverse_mass * left * middle, axis=-2)
    at_right = jnp.sum(inverse_mass * right * middle, axis=-2)
    return (at_left <= 0) | (at_right <= 0)
