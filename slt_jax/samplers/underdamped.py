"""Underdamped Langevin dynamics around a point, with energies that are corrected for the step.

A chain has a momentum, so that it crosses a valley of width 1/√γ with walls of precision a in
about √(a/γ) gradients, where overdamped dynamics (``sgld``) takes a/γ. No step is rejected: a
Metropolis test of all d coordinates at once would shorten the step as d^(−1/4).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.arguments import check_scalar
from slt_jax.samplers.ensemble import values_and_gradients
from slt_jax.samplers.hmc import normal_rows
from slt_jax.samplers.langevin import localised_density
from slt_jax.samplers.microcanonical import GOLDEN_RATIO
from slt_jax.samplers.target import Target
from slt_jax.validation import Count, NonNegative, Positive, Size, check_key

# Random numbers cost as much as a small gradient: momenta are refreshed once in so many steps, on
# average. With a constant number a direction that turns a whole number of half times in between
# would come back to where it was each time, and never forget it.
STEPS_PER_REFRESHMENT = 8
POWER_ITERATIONS = 8


class Moving(NamedTuple):
    """The state of all chains: ``positions``, ``momenta`` and ``gradient`` of −log density.

    All are [chain, d].
    """

    positions: Array
    momenta: Array
    gradient: Array


class Energies(NamedTuple):
    """Means over the steps of a run, by chain [chain], in nats.

    ``energy`` is β times minus the log-likelihood, without the bias of the step to first order, and
    ``correction`` what was taken off.
    """

    energy: Array
    correction: Array


class _Sums(NamedTuple):
    moving: Moving
    energy: Array
    correction: Array
    steps: Array


def underdamped(
    target: Target,
    data: Any,
    key: Array,
    beta: Array | float,
    gamma: Array | float,
    centre: Array,
    step_size: Array | float,
    friction: Array | float,
    num_refreshments: Array | int,
    positions: Array,
    momenta: Array,
) -> tuple[Moving, Energies]:
    """Move chains on exp(β · log_likelihood(w, data) − (γ/2)|w − w*|²), and average their energies.

    Between refreshments p ← e^(−τ)p + √(1 − e^(−2τ)) N(0, I), with τ = ``friction`` times the time
    in between, a chain takes from 1 to 15 steps of velocity Verlet of ``step_size`` ε with unit
    mass, 8 on average and as many as all others. These sample a direction of precision a with the
    variance 1/(a(1 − ε²a/4)), for any ε < 2/√a. The energy E = −β log_likelihood is therefore
    averaged as E − (ε²/8) ∇E·∇U, U being minus the log density: of a quadratic U that mean has no
    bias at all.

    ``positions`` and ``momenta`` [chain, d] are where chains are, and ``centre`` [d] is w*; all
    else but ``target`` is data under ``jit``, the number of refreshments too.

    Source: Leimkuhler and Matthews, Molecular Dynamics, 2015, section 7.4, on the bias of
    splittings; the correction is that of a harmonic oscillator. Raises ValueError for a β, γ or
    friction that is negative and for a step that is not positive.
    """
    check_key("key", key)
    for name, value in (("beta", beta), ("gamma", gamma), ("friction", friction)):
        check_scalar(name, value, NonNegative)
    check_scalar("step_size", step_size, Positive)
    density = localised_density(target, False, beta, gamma, centre)
    count, size = positions.shape[0], positions.size

    def at(w: Array) -> tuple[Array, Array, Array]:
        """Return E, ∇E·∇U and ∇U by chain."""
        (_, log_likelihood), slope = values_and_gradients(lambda u: density(u, data), w)
        of_energy = -slope - gamma * (w - centre)
        return -beta * log_likelihood, -jnp.sum(of_energy * slope, axis=1), -slope

    def step(_: int, sums: _Sums) -> _Sums:
        w, p, slope = sums.moving
        p = p - step_size / 2 * slope
        w = w + step_size * p
        energy, product, slope = at(w)
        p = p - step_size / 2 * slope
        moving = Moving(w, p, slope)
        correction = sums.correction + step_size**2 / 8 * product
        return _Sums(moving, sums.energy + energy, correction, sums.steps)

    def refresh(index: Array, sums: _Sums) -> _Sums:
        length = _length(index)
        kept = jnp.exp(-friction * step_size * length)
        noise = normal_rows(jax.random.fold_in(key, index), 1, size, positions.dtype)
        momenta = kept * sums.moving.momenta
        momenta = momenta + jnp.sqrt(1 - kept**2) * noise.reshape(positions.shape)
        sums = sums._replace(moving=sums.moving._replace(momenta=momenta))
        return jax.lax.fori_loop(0, length, step, sums._replace(steps=sums.steps + length))

    zeros = jnp.zeros(count, positions.dtype)
    first = _Sums(Moving(positions, momenta, at(positions)[2]), zeros, zeros, jnp.asarray(0))
    last = jax.lax.fori_loop(0, num_refreshments, refresh, first)
    correction = last.correction / last.steps
    return last.moving, Energies(last.energy / last.steps - correction, correction)


def _length(index: Array) -> Array:
    """Return the number of steps after a refreshment: 8 first, then evenly from 1 to 15."""
    longest = 2 * STEPS_PER_REFRESHMENT - 1
    return 1 + jnp.floor((0.5 + index * GOLDEN_RATIO) % 1 * longest).astype(int)


def largest_precision(
    target: Target,
    data: Any,
    beta: Array | float,
    gamma: Array | float,
    centre: Array,
    positions: Array,
    vectors: Array,
) -> tuple[Array, Array]:
    """Estimate the largest curvature a of minus the log density where chains are, [chain].

    It takes 8 turns of the power iteration from ``vectors`` [chain, d], which also come back, to be
    handed on to the next call; a step of 2/√a is the longest that is stable. Arguments are those of
    ``underdamped``.
    """
    density = localised_density(target, False, beta, gamma, centre)
    slope = jax.grad(lambda w: -density(w, data)[0])

    def of_chain(w: Array, vector: Array) -> tuple[Array, Array]:
        def turn(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
            unit = state[1] / jnp.linalg.norm(state[1])
            turned = jax.jvp(slope, (w,), (unit,))[1]
            return jnp.linalg.norm(turned), turned

        return jax.lax.fori_loop(0, POWER_ITERATIONS, turn, (jnp.zeros((), w.dtype), vector))

    return jax.vmap(of_chain)(positions, vectors)


class UnderdampedSettings(NamedTuple):
    """Settings of a run of fixed length, in steps that are rounded up to whole refreshments.

    ``num_warmup`` steps are dropped; then each of ``num_draws`` is a mean over ``thinning`` steps.
    ``friction`` is in units of √γ.
    """

    num_warmup: Size = 1000
    num_draws: Count = 100
    thinning: Count = 24
    friction: Positive = 2.0


class UnderdampedResult(NamedTuple):
    """Draws of one run, without those of its warm-up.

    ``energies`` [chain, draw] are minus the mean log-likelihoods of each draw, without the bias of
    the step to first order. Per chain [chain]: ``acceptance``, one minus the share of the energy
    that was taken off for the step, and ``num_divergent``, draws that are not finite.
    ``positions`` [chain, d] are where the chains ended.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array


def underdamped_draws(
    target: Target,
    settings: UnderdampedSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    gamma: Array | float,
    centre: Array,
    step_size: Array | float,
    initial_positions: Array,
) -> UnderdampedResult:
    """Sample exp(β · log_likelihood(w, data) − (γ/2)|w − w*|²) with one chain per position.

    Arguments as of ``sgld``, but for ``step_size``, which is that of ``underdamped`` and has the
    units of a parameter times the root of the mass.
    """
    momentum_key, draw_key = jax.random.split(key)
    friction = settings.friction * jnp.sqrt(jnp.asarray(gamma))
    lengths = (settings.num_warmup, *[settings.thinning] * settings.num_draws)
    counts = jnp.asarray([-(-length // STEPS_PER_REFRESHMENT) for length in lengths])

    # The warm-up is a draw that is dropped: a loop of its own would compile every step again.
    def draw(state: tuple[Array, Array], inputs: tuple[Array, Array]) -> Any:
        moving, found = underdamped(
            target, data, inputs[0], beta, gamma, centre, step_size, friction, inputs[1], *state
        )
        return (moving.positions, moving.momenta), found

    momenta = jax.random.normal(momentum_key, initial_positions.shape, initial_positions.dtype)
    keys = jax.random.split(draw_key, len(lengths))
    state, found = jax.lax.scan(draw, (initial_positions, momenta), (keys, counts))
    found = jax.tree.map(lambda leaf: leaf[1:], found)
    share = jnp.sum(found.correction, axis=0) / jnp.sum(found.energy + found.correction, axis=0)
    return UnderdampedResult(
        energies=found.energy.T / beta,
        positions=state[0],
        acceptance=jnp.where(jnp.isnan(share), 0.0, 1 - share),
        num_divergent=jnp.sum(~jnp.isfinite(found.energy), axis=0),
    )
