"""Microcanonical sampling (MCLMC) of many chains, adjusted so that nothing biases its draws.

A chain moves at constant speed and gradients only turn its velocity: where a singular posterior is
steep a step that is too long loses its way, but not its energy, and a Metropolis test of the whole
trajectory makes it exact. One step size and one diagonal scale serve all chains: they are learnt
from the whole ensemble in the warm-up and then constant. All chains take equally many gradients per
draw, and some trajectories have shorter steps by chance, whatever the state.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.samplers.arguments import check_positions, check_run, check_scalar
from slt_jax.samplers.ensemble import Density, gradients
from slt_jax.samplers.hmc import (
    Chains,
    MoveInfo,
    accept_or_stay,
    chains_at,
    one_move_noise,
    relative_lengths,
    scale_of,
)
from slt_jax.samplers.sampling import Draws, Start, by_chain, run_each_beta
from slt_jax.samplers.target import Target, tempered_density
from slt_jax.validation import Count, NonNegative, Positive, Probability, check_key

# A velocity of length one has to have a direction: every chain gets one more coordinate, standard
# normal, independent of the others and forgotten after each trajectory. So one parameter is enough.
LATENT = 1
# Time in which a coordinate of a standard normal turns into one that is independent of it.
QUARTER_PERIOD = math.pi / 2
# In this share of the warm-up chains look for the posterior, one step at a time.
SEARCH = 0.2
# For so long the scale follows the ensemble, as an average over so many moves: then it is left in
# peace, so that the step size can settle.
SCALING = 0.75
MEMORY = 20
STEP_SIZE_GAIN = 0.5
# Multiples of the golden ratio, without the integer, fill the unit interval evenly.
GOLDEN_RATIO = (5**0.5 - 1) / 2


class MicrocanonicalSettings(NamedTuple):
    """Settings of adjusted microcanonical sampling: shapes and aims; a change recompiles.

    ``num_warmup`` trajectories tune and are dropped, of which the first fifth have one step. A
    trajectory has at most ``max_num_steps`` steps, of one gradient each. 0.9 is the acceptance that
    the authors of the algorithm recommend: above the best one for independent coordinates, and
    robust.

    >>> target = Target(
    ...     sample_prior=lambda key: jax.random.normal(key, (1,)),
    ...     log_prior=lambda w: -jnp.sum(w**2) / 2,
    ...     log_likelihood=lambda w, n: -n * jnp.sum(w**2) / 2,
    ... )
    >>> keys, start = jax.random.split(jax.random.key(0), 1), jnp.zeros((1, 64, 1))
    >>> settings = MicrocanonicalSettings(num_draws=50)
    >>> draws = settings.run(target, keys, 3.0, jnp.ones(1), Start(start))
    >>> draws.energies.shape  # run, β, chain, draw
    (1, 1, 64, 50)
    >>> bool(abs(draws.energies.mean() - 3 / 8) < 0.05)
    True
    """

    num_warmup: Count = 300
    num_draws: Count = 100
    max_num_steps: Count = 100
    target_acceptance: Probability = 0.9
    initial_step_size: Positive = 0.1

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
            result = microcanonical(target, self, key, statistics, beta, positions, keep_positions)
            return Draws(
                result.energies,
                result.positions,
                result.acceptance,
                result.num_divergent,
                kept_positions=result.kept_positions,
            )

        return run_each_beta(one, keys, betas, start.positions)


class MicrocanonicalResult(NamedTuple):
    """Draws of one run, without those of its warm-up.

    ``energies`` [chain, draw] are nL_n(w) − nL_n(w₀) in total nats and ``positions`` [chain, d]
    where the chains ended. Per chain [chain]: ``acceptance``, the mean acceptance probability of
    draws whose steps were not shortened, NaN if all were; ``num_divergent``, draws whose trajectory
    lost more than 1000 nats. Of all chains []: ``step_size`` after warm-up, in units of the scale
    of each coordinate; ``num_steps`` and ``num_warmup_steps``, the gradients that each chain took
    for a draw, on average, and for the warm-up. ``kept_positions`` [chain, draw, d] of all draws,
    None unless asked for.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    step_size: Array
    num_steps: Array
    num_warmup_steps: Array
    kept_positions: Array | None = None


class _Learnt(NamedTuple):
    """State of the adaptation: a step size [] and the variance of each coordinate [d]."""

    step_size: Array
    variance: Array

    @property
    def scale(self) -> Array:
        return scale_of(self.variance)

    def num_steps(self, settings: MicrocanonicalSettings, index: Array) -> Array:
        """Steps of the trajectory ``index``: up to those of a quarter period, in turn.

        In units of the scale the velocity of a standard normal of D dimensions would be √D.
        """
        dimension = self.variance.shape[0] + LATENT
        longest = jnp.ceil(QUARTER_PERIOD * math.sqrt(dimension) / self.step_size - 1)
        longest = jnp.minimum(jnp.maximum(longest, 1), settings.max_num_steps)
        return 1 + jnp.floor((index * GOLDEN_RATIO) % 1 * longest).astype(int)


def microcanonical(
    target: Target,
    settings: MicrocanonicalSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    initial_positions: Array,
    keep_positions: bool = False,
) -> MicrocanonicalResult:
    """Draw from φ(w) exp(β · log_likelihood(w, data)) with one chain per initial position.

    ``initial_positions`` has shape [chain, d] with at least two chains, best dispersed: draws
    from the prior. Everything is sampled in JAX's default float type. Under ``jit`` the first two
    arguments and the last are static; ``vmap`` over the others for many jobs, each of which then
    waits for the longest trajectory among them. Raises ValueError for arguments out of range.

    Source: Robnik, De Luca, Silverstein & Seljak, Microcanonical Hamiltonian Monte Carlo, JMLR 24,
    2023; Robnik, Cohn-Gordon & Seljak, Metropolis adjusted microcanonical Hamiltonian Monte Carlo,
    arXiv 2503.01707, 2025. The velocity is drawn anew before each trajectory, whose length varies.
    """
    dimension = check_run(settings, target, data)
    check_key("key", key)
    check_scalar("beta", beta, NonNegative)
    check_positions(initial_positions, dimension, 2)
    dtype = jnp.result_type(float)
    positions = jnp.asarray(initial_positions, dtype)
    density = tempered_density(target, data, jnp.asarray(beta, dtype))
    warmup_key, draw_key = jax.random.split(key)

    chains, learnt, num_warmup_steps = _warmed_up(settings, density, warmup_key, positions)

    def draw(chains: Chains, inputs: tuple[Array, Array]) -> tuple[Chains, Any]:
        index, draw_key = inputs
        num_steps = learnt.num_steps(settings, index)
        chains, info, whole = _jittered(density, chains, draw_key, learnt, num_steps)
        accepted = jnp.where(whole, info.acceptance, 0.0)
        kept = chains.positions if keep_positions else None
        return chains, (-chains.log_likelihood, accepted, whole, info.divergent, num_steps, kept)

    draw_keys = jax.random.split(draw_key, settings.num_draws)
    chains, traces = jax.lax.scan(draw, chains, (jnp.arange(settings.num_draws), draw_keys))
    energies, accepted, whole, divergent, num_steps, kept = traces
    return MicrocanonicalResult(
        energies=energies.T,
        positions=chains.positions,
        acceptance=jnp.sum(accepted, axis=0) / jnp.sum(whole, axis=0),
        num_divergent=jnp.sum(divergent, axis=0),
        step_size=learnt.step_size,
        num_steps=jnp.mean(num_steps),
        num_warmup_steps=num_warmup_steps,
        kept_positions=by_chain(kept),
    )


def _warmed_up(
    settings: MicrocanonicalSettings, density: Density, key: Array, positions: Array
) -> tuple[Chains, _Learnt, Array]:
    """Warm the chains up, and return them with what they learnt and the steps [] of each."""
    search, scaling = SEARCH * settings.num_warmup, SCALING * settings.num_warmup

    def warm(index: Array, carry: tuple[Chains, _Learnt, Array]) -> tuple[Chains, _Learnt, Array]:
        chains, (step_size, variance), taken = carry
        rate = jnp.where(index < scaling, 1 / MEMORY, 0.0)
        variance = variance + rate * (jnp.var(chains.positions, axis=0) - variance)
        learnt = _Learnt(step_size, variance)
        num_steps = jnp.where(index < search, 1, learnt.num_steps(settings, index))
        move_key = jax.random.fold_in(key, index)
        chains, info, whole = _jittered(density, chains, move_key, learnt, num_steps)
        # Short moves say nothing of the step of the others.
        change = jnp.mean(jnp.where(whole, info.acceptance - settings.target_acceptance, 0.0))
        decay = jnp.sqrt(1 + 10 * index / settings.num_warmup)
        step_size = step_size * jnp.exp(STEP_SIZE_GAIN / decay * change)
        return chains, _Learnt(step_size, variance), taken + num_steps

    start = _Learnt(
        jnp.asarray(settings.initial_step_size, positions.dtype), jnp.var(positions, axis=0)
    )
    carry = (chains_at(density, positions), start, jnp.asarray(0))
    return jax.lax.fori_loop(0, settings.num_warmup, warm, carry)


def _jittered(
    density: Density, chains: Chains, key: Array, learnt: _Learnt, num_steps: Array
) -> tuple[Chains, MoveInfo, Array]:
    """Move chains, some of which take shorter steps by chance; [C] says which ones do not."""
    noise_key, length_key = jax.random.split(key)
    count, dimension = chains.positions.shape
    dtype = chains.positions.dtype
    noise = one_move_noise(noise_key, jnp.zeros((count, dimension + 2 * LATENT), dtype))
    length = relative_lengths(length_key, (count,), dtype)
    normals, step_size = noise.momenta.reshape(count, -1), learnt.step_size * length
    velocity, latent = normals[:, :-LATENT], normals[:, -LATENT:]
    velocity = velocity / jnp.linalg.norm(velocity, axis=1, keepdims=True)
    proposed, gain = trajectory(
        density, chains, velocity, latent, step_size, learnt.scale, num_steps
    )
    return *accept_or_stay(chains, proposed, gain, noise), length == 1


def trajectory(
    density: Density,
    chains: Chains,
    velocity: Array,
    latent: Array,
    step_size: Array,
    scale: Array,
    num_steps: Array | int,
) -> tuple[Chains, Array]:
    """Follow every chain for ``num_steps`` steps to its end, with the log of the Metropolis ratio.

    ``velocity`` [C, d + 1] has length one and ``latent`` [C, 1] is normal; the latter and
    ``step_size`` [C] are in units of the standard deviations ``scale`` [d]. The ratio [C] has the
    volume that the turns of the velocity take up in it.
    """
    step, start = step_size[:, None], chains.positions

    def pull(gradient: Array, latent: Array) -> Array:
        return jnp.concatenate([scale * gradient, -latent], axis=1)

    def leap(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        moved, velocity, work = state
        moved = moved + step * velocity
        gradient = gradients(density, start + scale * moved[:, :-LATENT])
        kick = step * pull(gradient, latent + moved[:, -LATENT:])
        velocity, more = turned(velocity, kick)
        return moved, velocity, work + more

    half_turned, work = turned(velocity, step / 2 * pull(chains.gradient, latent))
    state = (jnp.zeros_like(velocity), half_turned, work)
    moved, velocity, work = jax.lax.fori_loop(0, num_steps - 1, leap, state)
    moved = moved + step * velocity
    end = latent + moved[:, -LATENT:]
    proposed = chains_at(density, start + scale * moved[:, :-LATENT])
    work = work + turned(velocity, step / 2 * pull(proposed.gradient, end))[1]
    lifted = jnp.sum(latent**2 - end**2, axis=1) / 2
    return proposed, proposed.log_density - chains.log_density + lifted - work


def turned(velocity: Array, kick: Array) -> tuple[Array, Array]:
    """Turn unit velocities [C, D] towards the gradient, by a ``kick`` of step size × gradient.

    Also returns (D − 1) log(cosh δ + u·e sinh δ) [C], for a velocity u, the direction e of the kick
    and its length over D − 1, δ: what the turn does to the logarithm of volumes. Exact for
    a constant gradient, and without overflow.
    """
    freedom = velocity.shape[1] - 1
    size = jnp.linalg.norm(kick, axis=1, keepdims=True)
    direction = kick / jnp.where(size > 0, size, 1.0)
    angle = size / freedom
    shrunk = jnp.exp(-angle)
    along = jnp.sum(velocity * direction, axis=1, keepdims=True)
    turn = (1 - shrunk) * (1 + shrunk + along * (1 - shrunk)) * direction + 2 * shrunk * velocity
    # (1 + u·e)/2 without the loss of digits where the two are opposite, and no logarithm of 0.
    ahead = jnp.sum((velocity + direction) ** 2, axis=1, keepdims=True) / 4
    grown = ahead + (1 - ahead) * shrunk**2 + float(np.finfo(kick.dtype).tiny)
    volume = freedom * (angle + jnp.log(grown))[:, 0]
    return turn / jnp.linalg.norm(turn, axis=1, keepdims=True), volume
