"""Hamiltonian Monte Carlo moves of a whole batch of chains, which several samplers share.

A kernel of one chain under ``vmap`` evaluates the density anew where an energy is wanted and
selects every leaf of its loop for every chain. Here the chains are an axis, the energy of where
a trajectory ends is a by-product of its last gradient, and the number of steps is one for all.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.ensemble import Density, drawn_once, gradients, values_and_gradients

DIVERGENCE = 1000.0
# Where a singular posterior is narrow, the step that suits an ensemble is never accepted. One
# move in five is shorter, down to a hundredth, so that a chain that gets there also gets out.
SHORT_MOVES = 0.2
SHORTEST = 0.01
VARIANCE_FLOOR = 1e-6


class Chains(NamedTuple):
    """The state of C chains.

    ``positions`` [C, d]; ``log_density`` and ``log_likelihood`` [C] in total nats; ``gradient``
    [C, d] of the log density.
    """

    positions: Array
    log_density: Array
    log_likelihood: Array
    gradient: Array


class Noise(NamedTuple):
    """The random numbers of a move: standard normal ``momenta`` [C · d], ``log_uniform`` [C]."""

    momenta: Array
    log_uniform: Array


class MoveInfo(NamedTuple):
    """Diagnostics of a move by chain [C]: acceptance probability, and a loss of over 1000 nats."""

    acceptance: Array
    divergent: Array


def chains_at(density: Density, positions: Array) -> Chains:
    """Evaluate the density where chains start, at ``positions`` [C, d].

    ``density`` maps one position [d] to its log density and its log-likelihood, as a pair.
    """
    (value, log_likelihood), gradient = values_and_gradients(density, positions)
    return Chains(positions, value, log_likelihood, gradient)


def normal_rows(key: Array, count: int, size: int, dtype: jnp.dtype) -> Array:
    """Draw standard normals [count, size] for ``count`` moves, to be reshaped where they are used.

    A call costs as much as thousands of numbers, so one call makes those of many moves; and they
    are drawn along one axis, because the index arithmetic of more keeps the compiler from
    vectorising the generator and the inverse error function.
    """
    return drawn_once(jax.random.normal(key, (count * size,), dtype)).reshape(count, size)


def move_noise(key: Array, count: int, positions: Array) -> Noise:
    """Draw the noise of ``count`` moves of chains at ``positions`` [C, d], on a leading axis."""
    momentum_key, accept_key = jax.random.split(key)
    waiting = jax.random.exponential(accept_key, (count * len(positions),), positions.dtype)
    return Noise(
        momenta=normal_rows(momentum_key, count, positions.size, positions.dtype),
        log_uniform=-drawn_once(waiting).reshape(count, len(positions)),
    )


def one_move_noise(key: Array, positions: Array) -> Noise:
    """Draw the noise of a single move."""
    return jax.tree.map(lambda leaf: leaf[0], move_noise(key, 1, positions))


def scale_of(variance: Array) -> Array:
    """Estimate the scale [..., d] of every coordinate from its variance over an ensemble.

    A coordinate that has hardly moved gets a thousandth of the others' scale: a floor of its own
    would have the units of the parameters. 1 where all chains are in one place.
    """
    mean = jnp.mean(variance, axis=-1, keepdims=True)
    return jnp.where(mean > 0, jnp.sqrt(variance + VARIANCE_FLOOR * mean), 1.0)


def relative_lengths(key: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Draw factors of the step size: 1, or in one move of five log-uniform between 0.01 and 1.

    For samplers with one step size for all chains; they do not depend on where a chain is.
    """
    u = drawn_once(jax.random.uniform(key, shape, dtype))
    return jnp.where(u < SHORT_MOVES, SHORTEST ** (u / SHORT_MOVES), 1.0)


def hmc_move(
    density: Density,
    chains: Chains,
    noise: Noise,
    step_size: Array,
    scale: Array | float,
    num_steps: Array | int,
) -> tuple[Chains, MoveInfo]:
    """Move every chain by one trajectory of ``num_steps`` leapfrog steps, or reject it.

    ``step_size`` is a scalar or one per chain [C], in units of the standard deviations ``scale``
    [d], whose squares are the inverse mass matrix. ``num_steps`` ≥ 1 may be data; one step is the
    Metropolis-adjusted Langevin algorithm. A trajectory that ends in NaN is rejected.

    Source: Neal, MCMC using Hamiltonian dynamics, Handbook of Markov Chain Monte Carlo, 2011,
    figure 2.
    """
    step = jnp.reshape(step_size, (-1, 1)) * scale

    def leap(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        positions, momenta = state
        positions = positions + step * momenta
        return positions, momenta + step * gradients(density, positions)

    drawn = noise.momenta.reshape(chains.positions.shape)
    half_kicked = drawn + step / 2 * chains.gradient
    positions, momenta = jax.lax.fori_loop(0, num_steps - 1, leap, (chains.positions, half_kicked))
    proposed = chains_at(density, positions + step * momenta)
    momenta = momenta + step / 2 * proposed.gradient

    kinetic = jnp.sum(drawn**2 - momenta**2, axis=1) / 2
    return accept_or_stay(
        chains, proposed, proposed.log_density - chains.log_density + kinetic, noise
    )


def accept_or_stay(
    chains: Chains, proposed: Chains, gain: Array, noise: Noise
) -> tuple[Chains, MoveInfo]:
    """Move the chains that accept their proposal: those whose ``gain`` [C] is above the noise.

    ``gain`` is the logarithm of the Metropolis ratio; a proposal of which it is NaN is rejected.
    """
    gain = jnp.where(jnp.isnan(gain), -jnp.inf, gain)
    accepted = noise.log_uniform < gain
    kept = jax.tree.map(
        lambda new, old: jnp.where(accepted.reshape(-1, *(1,) * (new.ndim - 1)), new, old),
        proposed,
        chains,
    )
    return kept, MoveInfo(jnp.exp(jnp.minimum(gain, 0.0)), gain < -DIVERGENCE)
