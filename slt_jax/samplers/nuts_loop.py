"""The loop of the No-U-Turn sampler: one turn takes one gradient of every chain.

A chain is a machine with a state. What happens at the end of a subtree, of a draw and of a chain is
done where any chain is there, and selected for those that are.

Source: Dance, Glaser, Orbanz & Adams, Efficiently vectorized MCMC on modern accelerators, 2025.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers import threefry
from slt_jax.samplers.hmc import Chains, chains_at
from slt_jax.samplers.target import Target, tempered_density
from slt_jax.samplers.trees import (
    End,
    Growth,
    Point,
    Trajectory,
    Tree,
    doubled,
    grown,
    joined,
    leap,
    planted,
    where,
)
from slt_jax.samplers.windows import Tuning, tuned, untuned

# So many chains keep a processor's vector units busy, and their state still fits its cache.
LANES = 1024


class Plan(NamedTuple):
    """A plan of all chains: ``NUTSSettings``, and whether the positions of draws are kept."""

    num_warmup: int
    num_draws: int
    max_tree_depth: int
    target_acceptance: float
    keep_positions: bool

    @property
    def length(self) -> int:
        """The number of draws of a chain, warm-up included."""
        return self.num_warmup + self.num_draws


class Sampled(NamedTuple):
    """The results of chains [N, ...] so far, as in ``NUTSResult``, and where they ended."""

    energies: Array
    positions: Array | None
    ends: Array
    acceptance: Array
    num_divergent: Array
    step_size: Array
    num_steps: Array


class _Sums(NamedTuple):
    """Sums over the draws after the warm-up so far [N]."""

    acceptance: Array
    num_divergent: Array
    num_steps: Array


class _Lanes(NamedTuple):
    """The places [N] at which chains are at work.

    ``chain`` is the number of the one that is there, out of range where none is left, ``draw`` the
    number of its draw, warm-up included. The keys [2, N] are those of the chain, of the rest of
    its tree and of the rest of the subtree; ``uniform`` decides about the proposal of the subtree.
    """

    chain: Array
    draw: Array
    key: Array
    tree_key: Array
    leaf_key: Array
    uniform: Array
    trajectory: Trajectory
    growth: Growth
    tuning: Tuning
    sums: _Sums


class _Queue(NamedTuple):
    """The chains: ``keys`` [2, chain], ``points`` where they start, and the ``length`` of a job."""

    keys: Array
    points: Point
    length: int

    @property
    def size(self) -> int:
        return self.keys.shape[1]


class _State(NamedTuple):
    """The state of the loop: ``taken`` [job] chains have been started, ``left`` [] not ended."""

    lanes: _Lanes
    taken: Array
    left: Array
    sampled: Sampled


def run_chains(
    target: Target,
    plan: Plan,
    words: Array,
    data: Any,
    betas: Array,
    positions: Array,
) -> Sampled:
    """Run C chains for each of G data sets and R of their ``betas`` [G, R].

    The ``words`` [G, R, C, 2] are keys of chains that start at ``positions`` [G, R, C, d]; ``data``
    has a first axis [G].
    """
    jobs, length, dimension = betas.size, positions.shape[2], positions.shape[3]
    evaluate = _evaluator(target, data, betas)
    queue = _Queue(words.reshape(-1, 2).T, evaluate(positions.reshape(-1, dimension).T), length)
    lanes = jobs * min(length, max(1, LANES // jobs))
    state = _empty(plan, queue, jobs, lanes)

    def turn(state: _State) -> _State:
        state = jax.lax.cond(
            jnp.any(state.lanes.growth.complete),
            lambda state: _at_boundary(plan, queue, state),
            lambda state: state,
            state,
        )
        return state._replace(lanes=_with_leaf(evaluate, state.lanes))

    sampled = jax.lax.while_loop(lambda state: state.left > 0, turn, state).sampled
    shape = (*betas.shape, length)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), sampled)


def _evaluator(target: Target, data: Any, betas: Array) -> Callable[[Array], Point]:
    """Return the function of positions [d, N] whose chains are those of G · R jobs in order."""

    def of_job(data: Any, beta: Array, positions: Array) -> Chains:
        return chains_at(tempered_density(target, data, beta), positions)

    def evaluate(positions: Array) -> Point:
        groups, runs = betas.shape
        w = positions.T.reshape(groups, runs, -1, len(positions))
        function = _mapped(_mapped(of_job, (None, 0, 0), runs), (0, 0, 0), groups)
        chains = function(data, betas, w)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:]), chains)
        return Point(positions, flat.gradient.T, flat.log_density, flat.log_likelihood)

    return evaluate


def _mapped(function: Callable[..., Any], axes: tuple[int | None, ...], size: int) -> Any:
    """Map a function over axes, one of length one without the batched programs of ``vmap``."""
    if size > 1:
        return jax.vmap(function, axes)

    def single(*arguments: Any) -> Any:
        first = [
            argument if axis is None else jax.tree.map(lambda leaf: leaf[0], argument)
            for argument, axis in zip(arguments, axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: leaf[None], function(*first))

    return single


def _empty(plan: Plan, queue: _Queue, jobs: int, lanes: int) -> _State:
    """Return the state before the loop: all lanes are at the last draw of no chain."""
    dimension, dtype = len(queue.points.position), queue.points.position.dtype
    zero, zeros = jnp.zeros(lanes, dtype), jnp.zeros((dimension, lanes), dtype)
    count, no = jnp.zeros(lanes, int), jnp.zeros(lanes, bool)
    words = jnp.zeros((2, lanes), jnp.uint32)
    tree = Tree(zero, zero, count, zeros, Point(zeros, zeros, zero, zero))
    end = End(zeros, zeros, zeros)
    levels = max(plan.max_tree_depth - 1, 1)
    checkpoints = jnp.zeros((levels, 2, dimension, lanes), dtype)
    of_chain = jnp.zeros(queue.size, dtype)
    shape = (queue.size, plan.num_draws)
    return _State(
        _Lanes(
            count + queue.size,
            count + plan.length - 1,
            words,
            words,
            words,
            zero,
            Trajectory(zero, count, no, end, end, tree, tree, checkpoints),
            Growth(~no, no, ~no),
            untuned(dimension, lanes, dtype),
            _Sums(zero, count, count),
        ),
        jnp.zeros(jobs, int),
        jnp.asarray(queue.size),
        Sampled(
            jnp.zeros(shape, dtype),
            jnp.zeros((*shape, dimension), dtype) if plan.keep_positions else None,
            jnp.zeros((queue.size, dimension), dtype),
            of_chain,
            jnp.zeros(queue.size, int),
            of_chain,
            of_chain,
        ),
    )


def _with_leaf(evaluate: Callable[[Array], Point], lanes: _Lanes) -> _Lanes:
    """Let every subtree grow by one leaf, which is one gradient of every chain."""
    tuning = lanes.tuning
    position, momentum = leap(lanes.trajectory, tuning.step_size, tuning.inverse_mass)
    point = evaluate(position)

    def draw(key: Array) -> tuple[Array, Array]:
        leaf_key, proposal_key = threefry.split(key, 2)
        return leaf_key, threefry.uniform(proposal_key, position.dtype)

    leaf_key, uniform = threefry.if_any(lanes.tuning.step_size > 0, draw, lanes.leaf_key)
    trajectory, growth = grown(
        lanes.trajectory, point, momentum, tuning.step_size, tuning.inverse_mass, uniform
    )
    return lanes._replace(leaf_key=leaf_key, trajectory=trajectory, growth=growth)


def _at_boundary(plan: Plan, queue: _Queue, state: _State) -> _State:
    """Join the subtrees that are complete, finish draws whose tree is over, and double the rest."""
    lanes = state.lanes
    trajectory, over = joined(
        lanes.trajectory,
        lanes.growth,
        lanes.tuning.inverse_mass,
        lanes.uniform,
        plan.max_tree_depth,
    )
    state = state._replace(lanes=lanes._replace(trajectory=trajectory))
    state = jax.lax.cond(
        jnp.any(over),
        lambda state: _with_draws(plan, queue, state, over),
        lambda state: state,
        state,
    )
    lanes, starts = state.lanes, lanes.growth.complete

    def draw(key: Array) -> tuple[Array, Array, Array, Array]:
        tree_key, direction_key, doubling_key = threefry.split(key, 3)
        leaf_key, proposal_key = threefry.split(doubling_key, 2)
        keys = jnp.stack([direction_key, proposal_key], axis=1)
        direction, uniform = threefry.uniform(keys, lanes.uniform.dtype)
        return tree_key, leaf_key, direction, uniform

    tree_key, leaf_key, direction, uniform = threefry.if_any(starts, draw, lanes.tree_key)
    lanes = lanes._replace(
        trajectory=doubled(lanes.trajectory, starts, direction >= 0.5),
        tree_key=where(starts, tree_key, lanes.tree_key),
        leaf_key=where(starts, leaf_key, lanes.leaf_key),
        uniform=where(starts, uniform, lanes.uniform),
    )
    return state._replace(lanes=lanes)


def _with_draws(plan: Plan, queue: _Queue, state: _State, over: Array) -> _State:
    """Finish the draw where a tree is ``over`` [N], learn from it, and begin the next."""
    lanes, sampled = state.lanes, state.sampled
    tree = lanes.trajectory.tree
    point = tree.proposal
    acceptance = tree.acceptance / tree.num_leaves
    warmup = plan.num_warmup
    kept = over & (lanes.draw >= warmup)
    # An index out of range is not written.
    slot = jnp.where(kept, lanes.draw - warmup, plan.num_draws)
    sampled = sampled._replace(
        energies=sampled.energies.at[lanes.chain, slot].set(-point.log_likelihood, mode="drop"),
        positions=None
        if sampled.positions is None
        else sampled.positions.at[lanes.chain, slot].set(point.position.T, mode="drop"),
    )
    sums = lanes.sums
    sums = _Sums(
        sums.acceptance + jnp.where(kept, acceptance, 0),
        sums.num_divergent + (kept & lanes.growth.diverging),
        sums.num_steps + jnp.where(kept, tree.num_leaves, 0),
    )
    lanes = lanes._replace(sums=sums, tuning=_learnt(plan, lanes, over, acceptance))
    lanes = lanes._replace(draw=lanes.draw + over)
    state = state._replace(lanes=lanes, sampled=sampled)
    last = over & (lanes.draw == plan.length)
    state, point = jax.lax.cond(
        jnp.any(last),
        lambda state, point: _with_chains(plan, queue, state, point, last),
        lambda state, point: (state, point),
        state,
        point,
    )
    return state._replace(lanes=_with_momenta(state.lanes, point, over))


def _learnt(plan: Plan, lanes: _Lanes, over: Array, acceptance: Array) -> Tuning:
    """Adapt where a draw of the warm-up is over."""
    warmup = plan.num_warmup
    learns = over & (lanes.draw < warmup)
    if warmup == 0:
        return lanes.tuning

    def learn(tuning: Tuning) -> Tuning:
        draw = jnp.minimum(lanes.draw, warmup - 1)
        miss = plan.target_acceptance - acceptance
        position = lanes.trajectory.tree.proposal.position
        return where(learns, tuned(tuning, draw, warmup, miss, position), tuning)

    return jax.lax.cond(jnp.any(learns), learn, lambda tuning: tuning, lanes.tuning)


def _with_momenta(lanes: _Lanes, point: Point, over: Array) -> _Lanes:
    """Begin trees at points, with new momenta."""
    dimension, dtype = len(point.position), point.position.dtype
    inverse_mass = lanes.tuning.inverse_mass

    def draw(key: Array) -> tuple[Array, Array, Array]:
        key, momentum_key, tree_key = threefry.split(key, 3)
        return key, tree_key, threefry.normal(momentum_key, dimension, dtype)

    key, tree_key, noise = threefry.if_any(over, draw, lanes.key)
    new = planted(point, noise / jnp.sqrt(inverse_mass), inverse_mass, lanes.trajectory)
    return lanes._replace(
        key=where(over, key, lanes.key),
        tree_key=where(over, tree_key, lanes.tree_key),
        trajectory=where(over, new, lanes.trajectory),
    )


def _with_chains(
    plan: Plan, queue: _Queue, state: _State, point: Point, last: Array
) -> tuple[_State, Point]:
    """Write down the chains that had their last draw, and take new ones from the queue."""
    lanes, taken = state.lanes, state.taken
    ended = jnp.where(last, lanes.chain, queue.size)
    values = (
        point.position.T,
        lanes.sums.acceptance / plan.num_draws,
        lanes.sums.num_divergent,
        lanes.tuning.step_size,
        lanes.sums.num_steps / plan.num_draws,
    )
    sampled = state.sampled
    written = [
        old.at[ended].set(new, mode="drop") for old, new in zip(sampled[2:], values, strict=True)
    ]
    asks = last.reshape(len(taken), -1).astype(int)
    place = taken[:, None] + jnp.cumsum(asks, axis=1) - asks
    chain = place + queue.length * jnp.arange(len(taken))[:, None]
    chain = jnp.where(place < queue.length, chain, queue.size).reshape(-1)
    starts = last & (chain < queue.size)
    index = jnp.minimum(chain, queue.size - 1)
    fresh = jax.tree.map(lambda leaf: leaf[..., index], (queue.keys, queue.points))
    key, point = where(starts, fresh, (lanes.key, point))
    count = jnp.zeros_like(lanes.draw)
    dimension, number = point.position.shape
    new = untuned(dimension, number, point.position.dtype)
    zero = _Sums(jnp.zeros_like(lanes.sums.acceptance), count, count)
    lanes = lanes._replace(
        chain=jnp.where(last, chain, lanes.chain),
        draw=jnp.where(starts, 0, lanes.draw),
        key=key,
        tuning=where(starts, new, lanes.tuning),
        sums=where(starts, zero, lanes.sums),
    )
    state = _State(
        lanes,
        taken + jnp.sum(asks, axis=1),
        state.left - jnp.sum(ended < queue.size),
        Sampled(sampled.energies, sampled.positions, *written),
    )
    return state, point
