"""The Metropolis-adjusted Langevin algorithm for thousands of chains that tune together.

A draw costs ``thinning`` gradients. One step size and one diagonal scale serve all chains: they
are learnt from the whole ensemble in the warm-up and then constant, so that what is sampled is
the target itself, unlike with SGLD. Some moves are shorter by chance, whatever the
state, which leaves the target as it is too.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.arguments import check_positions, check_run, check_scalar
from slt_jax.samplers.ensemble import Density
from slt_jax.samplers.hmc import (
    Chains,
    MoveInfo,
    Noise,
    chains_at,
    hmc_move,
    move_noise,
    one_move_noise,
    relative_lengths,
    scale_of,
)
from slt_jax.samplers.sampling import MAX_DIVERGENT, Draws, Start, by_chain, run_each_beta
from slt_jax.samplers.target import Target, tempered_density
from slt_jax.validation import Count, NonNegative, Positive, Probability, check_key

STEP_SIZE_GAIN = 0.5


class MALASettings(NamedTuple):
    """Settings of MALA: shapes and aims of a run; a change recompiles.

    ``num_warmup`` steps tune and are dropped; then every ``thinning``-th of the steps is kept
    until there are ``num_draws``. 0.574 is the acceptance at which the diffusion mixes fastest in
    many dimensions (Roberts & Rosenthal, JRSS B 60, 1998).

    >>> target = Target(
    ...     sample_prior=lambda key: jax.random.normal(key, (1,)),
    ...     log_prior=lambda w: -jnp.sum(w**2) / 2,
    ...     log_likelihood=lambda w, n: -n * jnp.sum(w**2) / 2,
    ... )
    >>> keys, start = jax.random.split(jax.random.key(0), 1), jnp.zeros((1, 64, 1))
    >>> draws = MALASettings(num_draws=50).run(target, keys, 3.0, jnp.ones(1), Start(start))
    >>> draws.energies.shape  # run, β, chain, draw
    (1, 1, 64, 50)
    >>> bool(abs(draws.energies.mean() - 3 / 8) < 0.05)
    True
    """

    num_warmup: Count = 1000
    num_draws: Count = 100
    thinning: Count = 10
    target_acceptance: Probability = 0.574
    initial_step_size: Positive = 0.1

    @property
    def max_divergent(self) -> float:
        """The share of draws that may diverge, since shorter moves lead out of where they do."""
        return MAX_DIVERGENT

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
            result = mala(target, self, key, statistics, beta, positions, keep_positions)
            return Draws(
                result.energies,
                result.positions,
                result.acceptance,
                result.num_divergent,
                kept_positions=result.kept_positions,
            )

        return run_each_beta(one, keys, betas, start.positions)


class MALAResult(NamedTuple):
    """Draws of one run, without those of its warm-up.

    ``energies`` [chain, draw] are nL_n(w) − nL_n(w₀) in total nats and ``positions`` [chain, d]
    where the chains ended. Per chain [chain]: ``acceptance``, the mean acceptance probability of
    steps that were not shortened, NaN if all were; ``num_divergent``, draws on the way to which a
    step lost more than 1000 nats.
    ``step_size`` [] after warm-up, in units of the scale of each coordinate. ``kept_positions``
    [chain, draw, d] of all draws, None unless asked for.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    step_size: Array
    kept_positions: Array | None = None


def mala(
    target: Target,
    settings: MALASettings,
    key: Array,
    data: Any,
    beta: Array | float,
    initial_positions: Array,
    keep_positions: bool = False,
) -> MALAResult:
    """Draw from φ(w) exp(β · log_likelihood(w, data)) with one chain per initial position.

    ``initial_positions`` has shape [chain, d], best dispersed: the scales are the ensemble's
    standard deviations, renewed at every doubling of the warm-up. Everything is sampled in JAX's
    default float type. Under ``jit`` the first two arguments and the last are static; ``vmap`` over
    the others for many jobs. Raises ValueError for arguments out of range.

    Source: Roberts & Tweedie, Exponential convergence of Langevin distributions and their
    discrete approximations, Bernoulli 2, 1996.
    """
    dimension = check_run(settings, target, data)
    check_key("key", key)
    check_scalar("beta", beta, NonNegative)
    check_positions(initial_positions, dimension, 2)
    dtype = jnp.result_type(float)
    positions = jnp.asarray(initial_positions, dtype)
    density = tempered_density(target, data, jnp.asarray(beta, dtype))
    warmup_key, draw_key = jax.random.split(key)

    chains, step_size, scale = _warmed_up(settings, density, warmup_key, positions)

    def move(chains: Chains, inputs: tuple[Noise, Array]) -> tuple[Chains, MoveInfo]:
        noise, length = inputs
        return hmc_move(density, chains, noise, step_size * length, scale, 1)

    def draw(chains: Chains, draw_key: Array) -> tuple[Chains, Any]:
        noise_key, length_key = jax.random.split(draw_key)
        noise = move_noise(noise_key, settings.thinning, positions)
        lengths = relative_lengths(length_key, noise.log_uniform.shape, dtype)
        chains, info = jax.lax.scan(move, chains, (noise, lengths))
        whole = lengths == 1
        accepted = jnp.sum(jnp.where(whole, info.acceptance, 0.0), axis=0)
        divergent = jnp.any(info.divergent, axis=0)
        kept = chains.positions if keep_positions else None
        return chains, (-chains.log_likelihood, accepted, jnp.sum(whole, axis=0), divergent, kept)

    chains, (energies, accepted, whole, divergent, kept) = jax.lax.scan(
        draw, chains, jax.random.split(draw_key, settings.num_draws)
    )
    return MALAResult(
        energies=energies.T,
        positions=chains.positions,
        acceptance=jnp.sum(accepted, axis=0) / jnp.sum(whole, axis=0),
        num_divergent=jnp.sum(divergent, axis=0),
        step_size=step_size,
        kept_positions=by_chain(kept),
    )


def _warmed_up(
    settings: MALASettings, density: Density, key: Array, positions: Array
) -> tuple[Chains, Array, Array]:
    """Warm the chains up, and return them with the step size [] and scale [d] that they learnt."""
    dtype = positions.dtype

    def warm(index: Array, carry: tuple[Chains, Array, Array]) -> tuple[Chains, Array, Array]:
        chains, step, scale = carry
        # The scale follows the ensemble at steps 1, 2, 4, 8, …: then it is left in peace.
        doubling = (index & (index - 1)) == 0
        scale = jnp.where(doubling, scale_of(jnp.var(chains.positions, axis=0)), scale)
        noise_key, length_key = jax.random.split(jax.random.fold_in(key, index))
        noise = one_move_noise(noise_key, positions)
        length = relative_lengths(length_key, (len(positions),), dtype)
        chains, info = hmc_move(density, chains, noise, step * length, scale, 1)
        # Short moves say nothing of the step of the others.
        miss = jnp.where(length == 1, info.acceptance - settings.target_acceptance, 0.0)
        change = jnp.mean(miss)
        decay = jnp.sqrt(1 + 10 * index / settings.num_warmup)
        return chains, step * jnp.exp(STEP_SIZE_GAIN / decay * change), scale

    start = (
        chains_at(density, positions),
        jnp.asarray(settings.initial_step_size, dtype),
        jnp.ones(positions.shape[1], dtype),
    )
    chains, step_size, scale = jax.lax.fori_loop(0, settings.num_warmup, warm, start)
    return chains, step_size, scale
