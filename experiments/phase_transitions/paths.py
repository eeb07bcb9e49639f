"""Evidences of the phases of the toy model by tempered paths.

The population's posterior at n is the prior tempered by nL(w), so that one path to the largest n
gives evidences at every n on the way. The plain path is sequential Monte Carlo from the prior. That
of a region is the same with the region's indicator in the density: it starts from the prior by
rejection, and HMC rejects every proposal outside.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.run.precision import in_float64
from slt_jax.samplers.smc import SMCSettings, tempered_smc
from slt_jax.samplers.target import Target
from slt_jax.samplers.waste_free import Temperature, run_chains

from .polygons import (
    DIMENSION,
    FEATURES,
    PHASES,
    Moments,
    loss_of_moments,
    num_vertices,
    phase_of,
)

EVERYWHERE = 0
FIRST_STEP = 0.3
MAX_TEMPERATURES = 400
# Moves between two states of a chain that starts at a polygon.
SEEDED_MOVES = 16
# Cells of t in the tables of a data set, within which its data are spread evenly. A kink is
# misplaced by less than a cell, where the output is below slope/256.
CELLS = 256
PRIOR_BATCH = 2**16


class Path(NamedTuple):
    """A path by S runs with B nodes, which are n, and P particles at each.

    ``log_evidence`` [S, B] is relative to the prior within the region.
    ``positions`` [S, B, P, 18] and their ``phases`` [S, B, P], indices of ``PHASES``.
    ``energies`` nL [S, P] at the last node, and ``seeded_energies`` [S, G, P] and
    ``seeded_phases`` of chains that start at each of G polygons.
    ``ess`` and ``acceptance`` [S] are the least along the path, ``num_temperatures`` [S].
    """

    log_evidence: Array
    positions: Array
    phases: Array
    energies: Array
    seeded_energies: Array
    seeded_phases: Array
    ess: Array
    acceptance: Array
    num_temperatures: Array


def target_within(region: Array) -> Target:
    """Return the target of w [18] within the region of so many vertices, 0 for all of them.

    Its prior is not normalised within the region; its data are n.
    """

    def inside(w: Array) -> Array:
        return (region == EVERYWHERE) | (num_vertices(w) == region)

    def sample_prior(key: Array) -> Array:
        def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
            key, draw_key = jax.random.split(state[0])
            return key, jax.random.normal(draw_key, (DIMENSION,))

        first = again((key, jnp.zeros(DIMENSION)))
        return jax.lax.while_loop(lambda state: ~inside(state[1]), again, first)[1]

    def log_prior(w: Array) -> Array:
        normal = -jnp.sum(w**2) / 2 - DIMENSION / 2 * jnp.log(2 * jnp.pi)
        return jnp.where(inside(w), normal, -jnp.inf)

    return Target(sample_prior, log_prior, lambda w, n: -n * loss_of_moments(w, None))


@functools.partial(jax.jit, static_argnames=("settings",))
def path_within(
    settings: SMCSettings, region: Array, seeds: Array, keys: Array, sizes: Array
) -> Path:
    """Follow S = len(keys) runs from the prior through all n of ``sizes`` [B].

    ``seeds`` [G, 18] are the polygons at which the seeded chains start, at the last n.
    """
    target, largest = target_within(region), sizes[-1]
    nodes = (sizes / largest).at[-1].set(1.0)
    split = jax.vmap(jax.random.split)(keys)
    runs = tempered_smc(target, settings, split[:, 0], largest, nodes, jnp.asarray(FIRST_STEP))
    up_to = runs.beta[:, None] <= nodes[:, None]
    log_evidence = jnp.sum(jnp.where(up_to, runs.log_weight[:, None], 0.0), axis=-1)
    particles = (len(keys), len(nodes), settings.num_particles)
    positions = runs.node_positions.reshape(*particles, DIMENSION)

    def seeded(key: Array, seed: Array, place: Array, step: Array) -> tuple[Array, Array]:
        spread = jnp.sqrt(jnp.var(place, axis=0) + 1e-6)
        here = Temperature(jnp.ones(()), step, spread, jnp.asarray(SEEDED_MOVES))
        ancestors = jnp.broadcast_to(seed, (settings.num_chains, DIMENSION))
        visited, _ = run_chains(target, settings, key, ancestors, largest, here)
        # Half of the states are left to forget where they started.
        places = visited.positions[settings.chain_length // 2 :].reshape(-1, DIMENSION)
        return energies_of(places), jax.vmap(phase_of)(places)

    def energies_of(places: Array) -> Array:
        return largest * jax.vmap(lambda w: loss_of_moments(w, None))(places)

    def from_seeds(key: Array, place: Array, steps: Array, count: Array) -> tuple[Array, Array]:
        seed_keys = jax.random.split(key, len(seeds))
        return jax.vmap(lambda key, seed: seeded(key, seed, place, steps[count - 1]))(
            seed_keys, seeds
        )

    seeded_energies, seeded_phases = jax.vmap(from_seeds)(
        split[:, 1], positions[:, -1], runs.step_size, runs.num_temperatures
    )
    return Path(
        log_evidence=jnp.where(jnp.isfinite(runs.log_evidence)[:, None], log_evidence, jnp.nan),
        positions=positions,
        phases=jax.vmap(jax.vmap(jax.vmap(phase_of)))(positions),
        energies=jax.vmap(energies_of)(positions[:, -1]),
        seeded_energies=seeded_energies,
        seeded_phases=seeded_phases,
        ess=jnp.nanmin(runs.ess, axis=-1),
        acceptance=jnp.nanmin(runs.acceptance, axis=-1),
        num_temperatures=runs.num_temperatures,
    )


def log_evidences(path: Path) -> np.ndarray:
    """Return log Z of each phase [S, B, phase], −∞ where a run has no particle of it."""
    phases, total = np.asarray(path.phases), np.asarray(path.log_evidence, float)
    shares = np.stack([np.mean(phases == i, axis=-1) for i in range(len(PHASES))], axis=-1)
    with np.errstate(divide="ignore"):
        return np.asarray(total[..., None] + np.log(shares))


def prior_counts(key: Array, draws: int) -> np.ndarray:
    """Count the vertices of at least ``draws`` draws of the prior: numbers of 3 to 6 [4]."""

    @jax.jit
    def batch(key: Array) -> Array:
        counts = jax.vmap(num_vertices)(jax.random.normal(key, (PRIOR_BATCH, DIMENSION)))
        return jnp.sum(counts[:, None] == jnp.arange(3, FEATURES + 1), axis=0)

    total = np.zeros(FEATURES - 2)
    for i in range(-(-draws // PRIOR_BATCH)):
        total += np.asarray(batch(jax.random.fold_in(key, i)))
    return total


def data_tables(key: Array, sizes: tuple[int, ...]) -> Moments:
    """Draw one data set and return the moments of its first n data for each n [B, ...]."""
    key_value, key_feature = jax.random.split(key)
    values = np.asarray(jax.random.uniform(key_value, (sizes[-1],)), float)
    features = np.asarray(jax.random.randint(key_feature, (sizes[-1],), 0, FEATURES))
    below = np.zeros((len(sizes), 3, FEATURES, CELLS + 1))
    cells = np.minimum((values * CELLS).astype(int), CELLS - 1)
    for b, n in enumerate(sizes):
        for power in range(3):
            np.add.at(below[b, power], (features[:n], cells[:n] + 1), values[:n] ** power)
    below = below.cumsum(axis=-1)
    return Moments(jnp.asarray(below), jnp.asarray(below[..., -1]))


@jax.jit
def log_weights(positions: Array, tables: Moments, sizes: Array) -> Array:
    """Return −(nL_n − nL)(w) at positions [B, N, 18], for the tables of one data set [B, N]."""

    def at_node(each: tuple[Array, Moments, Array]) -> Array:
        places, moments, n = each
        return jax.vmap(lambda w: n * loss_of_moments(w, None) - loss_of_moments(w, moments))(
            places
        )

    return jnp.asarray(jax.lax.map(at_node, (positions, tables, sizes)))


@in_float64
def reweighted(
    path: Path, key: Array, sizes: tuple[int, ...], data_sets: int, particles: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what data sets add to the log evidence of each phase, and the ESS of the weights.

    log Z_n − log Z of the population is the log of the mean of exp(−(nL_n − nL)(w)) over the
    population's posterior at n: the first result is [data set, B, phase, S], NaN where a run has no
    particle of the phase, and the second, [data set, B, phase], is Kish's of all runs' particles.
    ``particles`` of each population are weighed. Data set d depends on the key and d alone.
    """
    step = max(1, path.positions.shape[2] // particles)
    places = np.swapaxes(np.asarray(path.positions[:, :, ::step], float), 0, 1)
    phases = np.swapaxes(np.asarray(path.phases[:, :, ::step]), 0, 1)
    flat = jnp.asarray(places.reshape(len(places), -1, DIMENSION))
    gains, ess = [], []
    for d in range(data_sets):
        tables = data_tables(jax.random.fold_in(key, d), sizes)
        logs = np.asarray(log_weights(flat, tables, jnp.asarray(sizes, float)))
        one_gain, one_ess = _means_by_phase(logs.reshape(phases.shape), phases)
        gains.append(one_gain)
        ess.append(one_ess)
    return np.stack(gains), np.stack(ess)


def _means_by_phase(logs: np.ndarray, phases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average exp(logs) [B, S, P] within phases: log means [B, phase, S], ESS [B, phase]."""
    gains = np.full((len(logs), len(PHASES), logs.shape[1]), np.nan)
    ess = np.zeros(gains.shape[:2])
    top = logs.max(axis=(1, 2), keepdims=True)
    weights = np.exp(logs - top)
    for i in range(len(PHASES)):
        chosen = phases == i
        count = chosen.sum(axis=2)
        sums = np.sum(weights * chosen, axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            gains[:, i] = np.where(count > 0, np.log(sums / count), np.nan) + top[:, :, 0]
            squares = np.sum(weights**2 * chosen, axis=(1, 2))
            ess[:, i] = np.where(squares > 0, sums.sum(axis=1) ** 2 / squares, 0.0)
    return gains, ess
