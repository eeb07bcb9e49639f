"""The reference sampler: numpyro's No-U-Turn sampler over a flat parameter vector.

Every chain adapts its own step size and diagonal mass matrix (Hoffman & Gelman, JMLR 15, 2014;
the windows are Stan's), and all chains advance in lockstep: one draw takes as many gradients as
its longest tree. NUTS therefore checks other samplers, and does not replace them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.infer.hmc import HMCState, hmc

from slt_jax.samplers.arguments import check_positions, check_run, check_scalar
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
            result = nuts(target, self, key, statistics, beta, positions)
            return Draws(
                result.energies,
                result.positions[:, -1],
                result.acceptance,
                result.num_divergent,
                kept_positions=result.positions if keep_positions else None,
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
    others for many jobs. Raises ValueError for arguments out of range.

    Source: Hoffman & Gelman, The No-U-Turn Sampler, JMLR 15, 2014; numpyro.infer.hmc.
    """
    dimension = check_run(settings, target, data)
    check_key("key", key)
    check_scalar("beta", beta, NonNegative)
    check_positions(initial_positions, dimension)
    dtype = jnp.result_type(float)
    positions = jnp.asarray(initial_positions, dtype)
    beta = jnp.asarray(beta, dtype)
    data = jax.tree.map(lambda leaf: _cast(leaf, dtype), data)

    def log_likelihood(w: Array) -> Array:
        return target.log_likelihood(w, data)

    def potential(w: Array) -> Array:
        return -(target.log_prior(w) + beta * log_likelihood(w))

    keys = jax.random.split(key, len(positions))
    return jax.vmap(lambda k, w: _chain(potential, log_likelihood, settings, k, w))(keys, positions)


def _chain(
    potential: Any, log_likelihood: Any, settings: NUTSSettings, key: Array, position: Array
) -> NUTSResult:
    """Run one chain; the result has not the first axis of ``NUTSResult``."""
    warmup, draws = settings.num_warmup, settings.num_draws
    # These two share variables that the first sets, so they must not outlive this trace.
    init_kernel, sample_kernel = hmc(potential, algo="NUTS")
    start = init_kernel(
        position,
        num_warmup=warmup,
        target_accept_prob=settings.target_acceptance,
        max_tree_depth=settings.max_tree_depth,
        rng_key=key,
    )

    def advance(step: int, carry: tuple[HMCState, NUTSResult]) -> tuple[HMCState, NUTSResult]:
        state, so_far = carry
        state = sample_kernel(state)
        # Warm-up and draws share one loop, since a second one would compile every tree again:
        # what warm-up leaves in the first slot and in the sums is overwritten by the first draw.
        slot, first = jnp.maximum(step - warmup, 0), step <= warmup
        return state, NUTSResult(
            energies=so_far.energies.at[slot].set(-log_likelihood(state.z)),
            positions=so_far.positions.at[slot].set(state.z),
            acceptance=state.mean_accept_prob,
            num_divergent=jnp.where(first, 0, so_far.num_divergent) + state.diverging,
            step_size=state.adapt_state.step_size,
            num_steps=jnp.where(first, 0, so_far.num_steps) + state.num_steps,
        )

    scalar = jnp.zeros((), position.dtype)
    count = jnp.zeros((), start.num_steps.dtype)
    empty = NUTSResult(
        energies=jnp.zeros(draws, position.dtype),
        positions=jnp.zeros((draws, *position.shape), position.dtype),
        acceptance=scalar,
        num_divergent=count,
        step_size=scalar,
        num_steps=count,
    )
    _, result = jax.lax.fori_loop(0, warmup + draws, advance, (start, empty))
    return result._replace(num_steps=result.num_steps / draws)


def _cast(leaf: Any, dtype: Any) -> Array:
    array = jnp.asarray(leaf)
    return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array
