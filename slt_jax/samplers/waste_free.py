"""Waste-free populations of SMC: weights and moves, and their adaptation by a pilot.

A population at one β is all states of HMC chains that start from resampled particles of the last.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from slt_jax.samplers.ensemble import drawn_once
from slt_jax.samplers.hmc import (
    Chains,
    Noise,
    chains_at,
    hmc_move,
    move_noise,
    normal_rows,
)
from slt_jax.samplers.kernels import resampling_module
from slt_jax.samplers.target import Target, tempered_density

if TYPE_CHECKING:
    from slt_jax.samplers.smc import SMCSettings

SMALLEST_STEP = 2.0**-40
BISECTIONS = 24
TARGET_ACCEPTANCE = 0.75
STEP_SIZE_GAIN = 2.0
STEP_SIZE_JITTER = 0.4
VARIANCE_FLOOR = 1e-6
# A trajectory that goes a quarter of the way round a Gaussian forgets where it started, and its
# energy too; one that goes further comes back to it.
LONGEST_TRAJECTORY = math.pi / 2
# Of log Ẑ of one run: from there on F is biased by a quarter of its error and more.
ALLOWED_VARIANCE = 0.2
NEARLY_INDEPENDENT = 1.25


class Temperature(NamedTuple):
    """The weighing and moving of a population at one β: all that is adapted.

    Chains move at ``beta`` by HMC of ``step_size`` in units of ``scale`` [d], and every
    ``num_moves``-th state is kept.
    """

    beta: Array
    step_size: Array
    scale: Array
    num_moves: Array


class Population(NamedTuple):
    """Particles [K, C, d] and their log-likelihoods [K, C]."""

    positions: Array
    log_likelihoods: Array

    @property
    def is_alive(self) -> Array:
        """True if no log-likelihood is NaN and the largest is finite."""
        return jnp.isfinite(jnp.max(self.log_likelihoods, axis=(-1, -2)))


class _MoveNoise(NamedTuple):
    """The random numbers of a move: those of HMC, and standard normals [C] for the step."""

    move: Noise
    jitter: Array


class Step(NamedTuple):
    """The contribution of one temperature to a run: its log mean weight, and diagnostics."""

    log_weight: Array
    ess: Array
    acceptance: Array


def prior_population(target: Target, settings: SMCSettings, key: Array, data: Any) -> Population:
    """Draw a population from the prior."""
    positions = drawn_once(
        jax.vmap(target.sample_prior)(jax.random.split(key, settings.num_particles))
    )
    log_likelihoods = jax.vmap(target.log_likelihood, (0, None))(positions, data)
    shape = (settings.chain_length, settings.num_chains)
    return Population(positions.reshape(*shape, -1), log_likelihoods.reshape(shape))


def next_temperature(
    target: Target,
    settings: SMCSettings,
    key: Array,
    pilot: Population,
    data: Any,
    nodes: Array,
    last: Temperature,
    variance: Array,
) -> tuple[Temperature, Array]:
    """Choose the temperature after ``last`` that suits the pilot.

    Also returns the variance of log Ẑ so far, of which ``variance`` is that up to ``last``.
    """
    log_likelihoods = pilot.log_likelihoods.ravel()
    positions = pilot.positions.reshape(len(log_likelihoods), -1)
    ceiling = jnp.min(jnp.where(nodes > last.beta, nodes, jnp.inf))
    beta = next_beta(last.beta, ceiling, log_likelihoods, settings.ess_fraction)
    weights = jax.nn.softmax((beta - last.beta) * log_likelihoods)
    mean = weights @ positions
    spread = jnp.sqrt(weights @ (positions - mean) ** 2 + VARIANCE_FLOOR)
    added, dependence = weight_variance(weights.reshape(pilot.log_likelihoods.shape))
    variance = variance + added
    num_moves = enough_moves(settings, last.num_moves, dependence, variance)
    here = last._replace(beta=beta, scale=spread, num_moves=num_moves)

    resampling_key, noise_key = jax.random.split(key)
    density = tempered_density(target, data, beta)
    chains = chains_at(density, _ancestors(settings, resampling_key, pilot, weights))

    def tune(carry: tuple[Chains, Array], noise: _MoveNoise) -> tuple[tuple[Chains, Array], None]:
        chains, step_size = carry
        chains, acceptance = _moved(
            settings, density, chains, noise, here._replace(step_size=step_size)
        )
        return (chains, corrected_step_size(settings, step_size, acceptance)), None

    noise = _noise(noise_key, settings.num_tuning, chains.positions)
    (_, step_size), _ = jax.lax.scan(tune, (chains, last.step_size), noise)
    return here._replace(step_size=step_size), variance


def corrected_step_size(settings: SMCSettings, step_size: Array, acceptance: Array) -> Array:
    """Correct a step size towards the target acceptance, and towards one that is not too long."""
    tuned = step_size * jnp.exp(STEP_SIZE_GAIN * (acceptance - TARGET_ACCEPTANCE))
    # No faster than a step falls of which no move is accepted.
    shortened = step_size * math.exp(-STEP_SIZE_GAIN * TARGET_ACCEPTANCE)
    longest = LONGEST_TRAJECTORY / settings.num_integration_steps
    return jnp.minimum(tuned, jnp.maximum(longest, shortened))


def weight_variance(weights: Array) -> tuple[Array, Array]:
    """Estimate the variance of the log of the mean of positive weights [K, C] of C chains.

    Chains are independent and their states are not: the variance is that of the chains' means over
    C, relative to the squared mean. The second result is the factor by which it exceeds that of
    K · C independent states, 1 without variance.
    """
    relative = weights / jnp.mean(weights) - 1
    of_states = jnp.mean(relative**2) / weights.size
    of_chains = jnp.mean(jnp.mean(relative, axis=0) ** 2) / weights.shape[1]
    return of_chains, jnp.where(of_states > 0, of_chains / of_states, 1.0)


def enough_moves(
    settings: SMCSettings, num_moves: Array, dependence: Array, variance: Array
) -> Array:
    """Add a move if states depend on each other more than the path can afford, or take one away.

    A short path affords much: its log Ẑ has little variance all the same.
    """
    allowed = jnp.maximum(ALLOWED_VARIANCE / variance, NEARLY_INDEPENDENT)
    change = jnp.where(dependence > allowed, 1, -1)
    return jnp.clip(num_moves + change, 1, settings.max_moves)


def next_beta(beta: Array, ceiling: Array, log_likelihoods: Array, ess_fraction: float) -> Array:
    """Return the largest β' ≤ ceiling at which the reweighted population keeps its share of ESS.

    ESS = (Σw)²/Σw² with w = exp((β' − β)ℓ). Bisection gives the logarithm of the increment,
    between 2⁻⁴⁰ of the way to the ceiling, which is taken whatever it costs, and all of it.
    """
    size = log_likelihoods.shape[0]
    centred = log_likelihoods - jnp.max(log_likelihoods)
    widest = ceiling - beta

    def enough(fraction: Array) -> Array:
        weights = jnp.exp(fraction * widest * centred)
        return jnp.sum(weights) ** 2 >= ess_fraction * size * jnp.sum(weights**2)

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = jnp.sqrt(low * high)
        return jax.tree.map(
            lambda keep, move: jnp.where(enough(middle), keep, move), (middle, high), (low, middle)
        )

    first = jnp.full_like(beta, SMALLEST_STEP), jnp.ones_like(beta)
    low, _ = jax.lax.fori_loop(0, BISECTIONS, halve, first)
    return jnp.where(enough(jnp.ones_like(beta)), ceiling, beta + low * widest)


def advance(
    target: Target,
    settings: SMCSettings,
    key: Array,
    population: Population,
    data: Any,
    last_beta: Array,
    here: Temperature,
) -> tuple[Population, Step]:
    """Weigh and move a population at a temperature in whose choice it had no part."""
    log_weights = (here.beta - last_beta) * population.log_likelihoods.ravel()
    weights = jax.nn.softmax(log_weights)
    resampling_key, chain_key = jax.random.split(key)
    ancestors = _ancestors(settings, resampling_key, population, weights)
    visited, acceptance = run_chains(target, settings, chain_key, ancestors, data, here)
    step = Step(
        log_weight=logsumexp(log_weights) - jnp.log(settings.num_particles),
        ess=1 / (settings.num_particles * jnp.sum(weights**2)),
        acceptance=acceptance,
    )
    return visited, step


def _ancestors(settings: SMCSettings, key: Array, population: Population, weights: Array) -> Array:
    """Resample the first positions of chains [C, d], in proportion to the weights of particles."""
    chosen = resampling_module().systematic(key, weights, settings.num_chains)
    return population.positions.reshape(settings.num_particles, -1)[chosen]


def _noise(key: Array, count: int, positions: Array) -> _MoveNoise:
    noise_key, jitter_key = jax.random.split(key)
    jitter = normal_rows(jitter_key, count, len(positions), positions.dtype)
    return _MoveNoise(move_noise(noise_key, count, positions), jitter)


def _moved(
    settings: SMCSettings, density: Any, chains: Chains, noise: _MoveNoise, here: Temperature
) -> tuple[Chains, Array]:
    """Move each chain by one trajectory; also returns the mean acceptance."""
    # Valleys of a singular posterior narrow along their length: no one step fits them all.
    step_sizes = here.step_size * jnp.exp(STEP_SIZE_JITTER * noise.jitter)
    chains, info = hmc_move(
        density, chains, noise.move, step_sizes, here.scale, settings.num_integration_steps
    )
    return chains, jnp.mean(info.acceptance)


def run_chains(
    target: Target,
    settings: SMCSettings,
    key: Array,
    ancestors: Array,
    data: Any,
    here: Temperature,
) -> tuple[Population, Array]:
    """Run HMC from each ancestor and keep every ``num_moves``-th state, K of them.

    Also returns the mean acceptance.
    Moves come in sweeps of K − 1, whose random numbers are drawn at once.
    """
    density = tempered_density(target, data, here.beta)
    size = settings.chain_length - 1

    def sweep(index: Array, carry: Any) -> Any:
        chains, kept, acceptance = carry

        def move(chains: Chains, noise: _MoveNoise) -> tuple[Chains, tuple[Population, Array]]:
            chains, accepted = _moved(settings, density, chains, noise, here)
            return chains, (Population(chains.positions, chains.log_likelihood), accepted)

        noise = _noise(jax.random.fold_in(key, index), size, ancestors)
        chains, (states, accepted) = jax.lax.scan(move, chains, noise)
        # Where in this sweep the states are that will be kept: before, within or after it.
        place = jnp.arange(1, size + 1) * here.num_moves - 1 - index * size
        within = (place >= 0) & (place < size)

        def merged(new: Array, old: Array) -> Array:
            chosen = within.reshape(-1, *(1,) * (old.ndim - 1))
            return jnp.where(chosen, new[jnp.clip(place, 0, size - 1)], old)

        kept = jax.tree.map(merged, states, kept)
        return chains, kept, acceptance + jnp.mean(accepted) / here.num_moves

    first = chains_at(density, ancestors)
    origin = Population(first.positions, first.log_likelihood)
    kept = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), origin)
    start = (first, kept, jnp.zeros((), ancestors.dtype))
    _, kept, acceptance = jax.lax.fori_loop(0, here.num_moves, sweep, start)
    every = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), origin, kept)
    return every, acceptance
