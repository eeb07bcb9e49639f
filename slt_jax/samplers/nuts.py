"""The No-U-Turn sampler for thousands of chains none of which waits for another.

Every chain adapts its own step size and diagonal mass matrix. Trees differ in length, so that
chains which advance draw by draw all wait for the longest. Here a chain is a machine with a
state: each turn of one loop takes one gradient of every chain, wherever it is in its own tree, its
own draw and its own warm-up. A chain that has all its draws gives its place to one that has none.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers import threefry
from slt_jax.samplers.arguments import check_positions, check_run, check_scalar
from slt_jax.samplers.nuts_loop import Plan, Sampled, run_chains
from slt_jax.samplers.sampling import Draws, Start, run_each_beta
from slt_jax.samplers.target import Target
from slt_jax.validation import Count, NonNegative, Probability, Size, check_key


class NUTSSettings(NamedTuple):
    """Settings of NUTS: shapes and aims of a run; a change recompiles.

    ``num_warmup`` draws adapt and are dropped; below 20 the mass matrix stays the identity, and
    at 0 the step size stays 1. A tree has at most 2^``max_tree_depth`` − 1 steps.
    """

    num_warmup: Size = 500
    num_draws: Count = 500
    max_tree_depth: Count = 10
    target_acceptance: Probability = 0.8

    def run(
        self,
        target: Target,
        keys: Array,
        statistics: Any,
        betas: Array,
        start: Start,
        keep_positions: bool = False,
    ) -> Draws:
        """Run once for each key and β; see ``SamplerSettings.run``. The step size is tuned."""

        def one(key: Array, beta: Array, positions: Array) -> Draws:
            sampled = _sample(target, self, key, statistics, beta, positions, keep_positions)
            return Draws(
                sampled.energies,
                sampled.ends,
                sampled.acceptance,
                sampled.num_divergent,
                kept_positions=sampled.positions,
            )

        return run_each_beta(one, keys, betas, start.positions)


class NUTSResult(NamedTuple):
    """Draws of one run, without those of its warm-up.

    ``energies`` [chain, draw] are nL_n(w) − nL_n(w₀) in total nats and ``positions``
    [chain, draw, d] the w they belong to. Per chain [chain]: ``acceptance``, the mean
    acceptance probability; ``num_divergent``, draws whose trajectory lost more than 1000 nats;
    ``step_size`` after warm-up; ``num_steps``, the mean number of gradients per draw.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    step_size: Array
    num_steps: Array


def nuts(
    target: Target,
    settings: NUTSSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    initial_positions: Array,
) -> NUTSResult:
    """Draw from φ(w) exp(β · log_likelihood(w, data)) with one chain per initial position.

    ``initial_positions`` has shape [chain, d]; a chain that starts where the density is zero or
    not finite stays there and counts every draw as divergent. Everything is sampled in JAX's
    default float type. Under ``jit`` the first two arguments are static; ``vmap`` over the
    others for many jobs, whose chains then share one loop. Raises ValueError for arguments out of
    range.

    Sources: Hoffman & Gelman, The No-U-Turn Sampler, JMLR 15, 2014; Dance, Glaser, Orbanz & Adams,
    Efficiently vectorized MCMC on modern accelerators, ICML 2025. With the same key a chain's
    numbers are those of numpyro.infer.hmc.
    """
    sampled = _sample(target, settings, key, data, beta, initial_positions, True)
    assert sampled.positions is not None
    return NUTSResult(
        sampled.energies,
        sampled.positions,
        sampled.acceptance,
        sampled.num_divergent,
        sampled.step_size,
        sampled.num_steps,
    )


def _sample(
    target: Target,
    settings: NUTSSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    initial_positions: Array,
    keep_positions: bool,
) -> Sampled:
    """Check the arguments and run all chains of a job, together with those of other jobs."""
    dimension = check_run(settings, target, data)
    check_key("key", key)
    check_scalar("beta", beta, NonNegative)
    check_positions(initial_positions, dimension)
    dtype = jnp.result_type(float)
    positions = jnp.asarray(initial_positions, dtype)
    data = jax.tree.map(lambda leaf: _cast(leaf, dtype), data)
    keys = jax.random.split(key, len(positions))
    # The generator's state before the first draw, as in numpyro.
    words = threefry.split(threefry.key_words(keys), 1)[0].T
    sample = _merging(target, Plan(*settings, keep_positions))
    sampled = sample(
        words[None, None],
        jax.tree.map(lambda leaf: leaf[None], data),
        jnp.asarray(beta, dtype)[None, None],
        positions[None, None],
    )
    return jax.tree.map(lambda leaf: leaf[0, 0], sampled)


def _merging(target: Target, plan: Plan) -> Any:
    """Return the sampler of G data sets with R runs each, to which ``vmap`` adds more of them.

    A loop under ``vmap`` would select all draws of all jobs anew in each of its turns.
    """

    @jax.custom_batching.custom_vmap
    def sample(words: Array, data: Any, betas: Array, positions: Array) -> Sampled:
        return run_chains(target, plan, words, data, betas, positions)

    @sample.def_vmap
    def merged(size: int, batched: Any, *arguments: Any) -> tuple[Sampled, Any]:
        words, data, betas, positions = jax.tree.map(
            lambda leaf, has: leaf if has else jnp.broadcast_to(leaf, (size, *leaf.shape)),
            arguments,
            tuple(batched),
        )
        # Jobs on the same data are more runs, which share them.
        same_data = not any(jax.tree.leaves(batched[1]))
        axis = 1 if same_data else 0
        words, betas, positions = (_merged(leaf, axis) for leaf in (words, betas, positions))
        data = arguments[1] if same_data else jax.tree.map(lambda leaf: _merged(leaf, 0), data)
        sampled = sample(words, data, betas, positions)
        parted = jax.tree.map(lambda leaf: _parted(leaf, axis, size), sampled)
        return parted, jax.tree.map(lambda _: True, parted)

    return sample


def _merged(leaf: Array, axis: int) -> Array:
    """Merge the first axis into one that comes ``axis`` after it."""
    moved = jnp.moveaxis(leaf, 0, axis)
    return moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])


def _parted(leaf: Array, axis: int, size: int) -> Array:
    """Undo ``_merged`` of a first axis of this size."""
    return jnp.moveaxis(
        leaf.reshape(*leaf.shape[:axis], size, -1, *leaf.shape[axis + 1 :]), axis, 0
    )


def _cast(leaf: Any, dtype: Any) -> Array:
    array = jnp.asarray(leaf)
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array
