"""Waste-free tempered sequential Monte Carlo, in batches, at temperatures that a pilot chooses.

A population is drawn from the prior and carried to β = 1. At every temperature ``num_chains`` HMC
chains start from resampled particles and *all* their states form the next population; the
evidence is the product of the mean weights (Dau & Chopin, Waste-free sequential Monte Carlo,
JRSS B 84, 2022). A population that chose the temperature at which it is then weighed would be
biased, by more the longer the path. So one population, the pilot, goes ahead of all runs of a
data set: it chooses β, step sizes, scales and numbers of moves, and then it is forgotten. Given
its choice the mean of Ẑ over runs is Z exactly.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.arguments import (
    check_run,
    check_scalar,
    check_step_size,
    checked_betas,
)
from slt_jax.samplers.sampling import Draws, Evidence, Start
from slt_jax.samplers.target import Target
from slt_jax.samplers.waste_free import (
    Population,
    Step,
    Temperature,
    advance,
    corrected_step_size,
    next_temperature,
    prior_population,
)
from slt_jax.validation import Count, Positive, Probability, Size, check_key, is_traced

FIRST_STEP_SIZE = 0.3


class SMCSettings(NamedTuple):
    """Settings of tempered SMC: shapes of a run; a change recompiles.

    A population has ``num_chains`` × ``chain_length`` particles; ``ess_fraction`` of that of the
    pilot must survive each change of β; ``num_tuning`` moves of the pilot tune the step size of a
    temperature and are then forgotten; ``max_temperatures`` bounds the path, and ``max_moves``
    the moves between two states of a chain.

    >>> SMCSettings(num_chains=64, chain_length=8).num_particles
    512
    """

    num_chains: Count = 32
    chain_length: Count = 16
    num_integration_steps: Count = 6
    num_tuning: Size = 3
    max_temperatures: Count = 1000
    max_moves: Count = 8
    ess_fraction: Probability = 0.5

    def run(
        self,
        target: Target,
        keys: Array,
        statistics: Any,
        betas: Array,
        start: Start,
        keep_positions: bool = False,
    ) -> Draws:
        """Run all keys behind one pilot, with the evidence; see ``SamplerSettings.run``.

        Runs start from the prior, so that ``start.positions`` are not used. The last of the
        ``betas`` must be 1. ``start.step_size`` is that of ``tempered_smc``, 0.3 by default.
        """
        betas = checked_betas(betas)
        check_step_size(start.step_size)
        first_step = jnp.asarray(FIRST_STEP_SIZE if start.step_size is None else start.step_size)
        runs = tempered_smc(target, self, keys, statistics, betas, first_step)
        shape = (len(keys), len(betas), self.num_chains)
        return Draws(
            energies=jnp.swapaxes(runs.node_energies, -1, -2),
            positions=runs.node_positions[:, :, -1],
            acceptance=jnp.broadcast_to(jnp.nanmean(runs.acceptance, axis=1)[:, None, None], shape),
            num_divergent=jnp.sum(~jnp.isfinite(runs.node_energies), axis=2),
            kept_positions=jnp.swapaxes(runs.node_positions, 2, 3) if keep_positions else None,
            evidence=Evidence(*(getattr(runs, name) for name in Evidence._fields)),
        )

    @property
    def num_particles(self) -> int:
        """The size of a population."""
        return self.num_chains * self.chain_length


class SMCResult(NamedTuple):
    """The result of one run of T = max_temperatures, B nodes, K = chain_length, C = num_chains.

    Energies are nL_n(w) − nL_n(w₀) in total nats. Path entries from ``num_temperatures`` on are
    NaN. ``log_evidence`` is −(F_n − nL_n(w₀)); it is NaN if β = 1 was not reached. It is the sum of
    ``log_weight`` [T], and that of a node's β is the sum up to there. ``num_nan``
    counts the log-likelihoods that were NaN where the run, or the pilot, was ended by them.
    """

    log_evidence: Array
    num_temperatures: Array
    beta: Array
    mean_energy: Array
    energy_variance: Array
    acceptance: Array
    ess: Array
    step_size: Array
    num_moves: Array
    first_log_weight: Array
    log_weight: Array
    node_energies: Array
    node_positions: Array
    best_position: Array
    best_energy: Array
    num_nan: Array


class _State(NamedTuple):
    """All populations at one temperature; the pilot comes first on their axes."""

    keys: Array
    populations: Population
    temperature: Temperature
    variance: Array
    results: SMCResult
    num_visited: Array


def tempered_smc(
    target: Target,
    settings: SMCSettings,
    keys: Array,
    data: Any,
    nodes: Array,
    step_size: Array,
) -> SMCResult:
    """Carry S independent populations from the prior to β = 1 behind one pilot.

    Every leaf of the result has a first axis [S]. The pilot's key comes from the first of the
    ``keys`` [S]; the runs know nothing of each other.
    ``nodes`` [B] are increasing β ≤ 1 at which a temperature is forced and all energies [K, C]
    and positions [K, C, d] are kept; the last must be 1. ``step_size`` is the HMC step that
    tuning starts from, in units of the population's standard deviation. Raises ValueError for
    arguments out of range.
    """
    check_run(settings, target, data)
    check_key("keys", keys, several=True)
    check_scalar("step_size", step_size, Positive)
    if not is_traced(nodes) and float(nodes[-1]) != 1:
        raise ValueError(f"betas end at {float(nodes[-1]):g}; the last of SMC must be 1")
    start = _start(target, settings, keys, data, nodes, step_size)
    nodes = nodes.astype(start.variance.dtype)

    def unfinished(state: _State) -> Array:
        within = state.num_visited < settings.max_temperatures
        return (state.temperature.beta < nodes[-1]) & within & state.populations.is_alive[0]

    end = jax.lax.while_loop(
        unfinished, lambda state: _tempered(target, settings, data, nodes, state), start
    )
    results = jax.tree.map(lambda leaf: leaf[1:], end.results)
    arrived = end.temperature.beta >= nodes[-1]
    return results._replace(
        log_evidence=jnp.where(arrived, results.log_evidence, jnp.nan),
        num_nan=results.num_nan + end.results.num_nan[0],
    )


def _start(
    target: Target,
    settings: SMCSettings,
    keys: Array,
    data: Any,
    nodes: Array,
    step_size: Array,
) -> _State:
    """Draw the populations of the pilot and of each of the runs [S] from the prior."""
    split = jax.vmap(jax.random.split)(keys)
    keys = jnp.concatenate([split[:1, 0], split[:, 1]])
    split = jax.vmap(jax.random.split)(keys)
    populations = jax.vmap(lambda key: prior_population(target, settings, key, data))(split[:, 0])
    dtype, dim = populations.log_likelihoods.dtype, populations.positions.shape[-1]
    return _State(
        keys=split[:, 1],
        populations=populations,
        temperature=Temperature(
            beta=jnp.zeros((), dtype),
            step_size=jnp.asarray(step_size, dtype),
            scale=jnp.ones(dim, dtype),
            num_moves=jnp.array(1),
        ),
        variance=jnp.zeros((), dtype),
        results=_nothing_yet(settings, populations, len(nodes)),
        num_visited=jnp.array(0),
    )


def _tempered(
    target: Target, settings: SMCSettings, data: Any, nodes: Array, state: _State
) -> _State:
    """Advance all populations by one temperature, which the pilot chooses."""
    split = jax.vmap(lambda key: jax.random.split(key, 3))(state.keys)
    last, pilot = state.temperature, jax.tree.map(lambda leaf: leaf[0], state.populations)
    here, variance = next_temperature(
        target, settings, split[0, 2], pilot, data, nodes, last, state.variance
    )

    def one(key: Array, population: Population) -> tuple[Population, Step]:
        return advance(target, settings, key, population, data, last.beta, here)

    populations, steps = jax.vmap(one)(split[:, 1], state.populations)
    return _State(
        keys=split[:, 0],
        populations=populations,
        temperature=here._replace(
            step_size=corrected_step_size(settings, here.step_size, steps.acceptance[0])
        ),
        variance=variance,
        results=_recorded(state, populations, steps, here, nodes),
        num_visited=state.num_visited + 1,
    )


def num_gradients(settings: SMCSettings, runs: SMCResult) -> float:
    """Count the gradients that the runs [S] of one data set and their pilot took."""
    temperatures = float(jnp.max(runs.num_temperatures))
    moves = float(jnp.nanmax(jnp.nansum(runs.num_moves, axis=-1)))
    steps = settings.num_integration_steps
    of_run = temperatures + moves * (settings.chain_length - 1) * steps
    of_tuning = temperatures * (1 + settings.num_tuning * steps)
    return settings.num_chains * ((len(runs.log_evidence) + 1) * of_run + of_tuning)


def _nothing_yet(settings: SMCSettings, populations: Population, num_nodes: int) -> SMCResult:
    """Return the results before the first temperature."""
    positions, log_likelihoods = populations
    count, *shape, dim = positions.shape

    def missing(*shape: int) -> Array:
        return jnp.full((count, *shape), jnp.nan, positions.dtype)

    path = missing(settings.max_temperatures)
    return SMCResult(
        log_evidence=jnp.zeros(count, positions.dtype),
        num_temperatures=jnp.zeros(count, int),
        beta=path,
        mean_energy=path,
        energy_variance=path,
        acceptance=path,
        ess=path,
        step_size=path,
        num_moves=path,
        first_log_weight=missing(),
        log_weight=path,
        node_energies=missing(num_nodes, *shape),
        node_positions=missing(num_nodes, *shape, dim),
        best_position=positions[:, 0, 0],
        best_energy=jnp.full(count, jnp.inf, positions.dtype),
        num_nan=jnp.sum(jnp.isnan(log_likelihoods), axis=(1, 2)),
    )


def _recorded(
    state: _State, populations: Population, steps: Step, here: Temperature, nodes: Array
) -> SMCResult:
    """Add one temperature to the results; a run that was lost gets NaN from there on."""
    old, t = state.results, state.num_visited
    alive = jnp.isfinite(old.log_evidence) & state.populations.is_alive
    energies = -populations.log_likelihoods
    count = len(energies)
    flat = energies.reshape(count, -1)
    best = jnp.argmin(flat, axis=1)
    candidate = jnp.min(flat, axis=1)
    improves = alive & (candidate < old.best_energy)
    places = populations.positions.reshape(count, flat.shape[1], -1)
    at_node = (nodes == here.beta) & alive[:, None]

    def on_path(path: Array, value: Array) -> Array:
        return path.at[:, t].set(jnp.where(alive, value, jnp.nan))

    def at_nodes(kept: Array, value: Array) -> Array:
        chosen = at_node.reshape(*at_node.shape, *(1,) * (kept.ndim - 2))
        return jnp.where(chosen, value[:, None], kept)

    return old._replace(
        log_evidence=jnp.where(alive, old.log_evidence + steps.log_weight, jnp.nan),
        num_temperatures=old.num_temperatures + alive,
        beta=on_path(old.beta, here.beta),
        mean_energy=on_path(old.mean_energy, jnp.mean(flat, axis=1)),
        energy_variance=on_path(old.energy_variance, jnp.var(flat, axis=1)),
        acceptance=on_path(old.acceptance, steps.acceptance),
        ess=on_path(old.ess, steps.ess),
        step_size=on_path(old.step_size, here.step_size),
        num_moves=on_path(old.num_moves, here.num_moves),
        first_log_weight=jnp.where(t == 0, steps.log_weight, old.first_log_weight),
        log_weight=on_path(old.log_weight, steps.log_weight),
        node_energies=at_nodes(old.node_energies, energies),
        node_positions=at_nodes(old.node_positions, populations.positions),
        best_position=jnp.where(
            improves[:, None], places[jnp.arange(count), best], old.best_position
        ),
        best_energy=jnp.where(improves, candidate, old.best_energy),
    )
