"""Batched, waste-free tempered sequential Monte Carlo on temperatures that a pilot chooses.

A population is drawn from the prior and carried to β = 1. At every temperature ``num_chains`` HMC
chains start from resampled particles and *all* their states form the next population; the
evidence is the product of the mean weights (Dau & Chopin, Waste-free sequential Monte Carlo,
JRSS B 84, 2022). A population that chose the temperature at which it is then weighed would be
biased, by more the longer the path. So one population, the pilot, goes ahead of all runs of a
data set: it chooses β, step sizes, scales and numbers of moves, and then it is forgotten. Given
its choice the mean of Ẑ over runs is Z exactly.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from slt_jax.samplers.hmc import Chains, Noise, chains_at, hmc_move, move_noise, normal_rows
from slt_jax.samplers.kernels import resampling_module
from slt_jax.samplers.sampling import Draws, Evidence, checked_betas
from slt_jax.samplers.target import Target, tempered_density

SMALLEST_STEP = 2.0**-40
BISECTIONS = 24
TARGET_ACCEPTANCE = 0.75
FIRST_STEP_SIZE = 0.3
STEP_SIZE_GAIN = 2.0
STEP_SIZE_JITTER = 0.4
VARIANCE_FLOOR = 1e-6
# A trajectory that goes a quarter of the way round a Gaussian forgets where it started, and its
# energy too; one that goes further comes back to it.
LONGEST_TRAJECTORY = math.pi / 2
# Of log Ẑ of one run: from there on F is biased by a quarter of its error and more.
ALLOWED_VARIANCE = 0.2
NEARLY_INDEPENDENT = 1.25


class SMCSettings(NamedTuple):
    """Shapes of a run; a change recompiles.

    A population has ``num_chains`` × ``chain_length`` particles; ``ess_fraction`` of that of the
    pilot must survive each change of β; ``num_tuning`` moves of the pilot tune the step size of a
    temperature and are then forgotten; ``max_temperatures`` bounds the path, and ``max_moves``
    the moves between two states of a chain.
    """

    num_chains: int = 32
    chain_length: int = 16
    num_integration_steps: int = 6
    num_tuning: int = 3
    max_temperatures: int = 1000
    max_moves: int = 8
    ess_fraction: float = 0.5

    def run(
        self,
        target: Target,
        keys: Array,
        statistics: Any,
        betas: Array,
        start: Array | None = None,
        step_size: Array | float | None = None,
    ) -> Draws:
        """Run all keys behind one pilot, with the evidence; see ``SamplerSettings.run``.

        Runs start from the prior, so that ``start`` is not used. The last of the ``betas`` must be
        1. ``step_size`` is that of ``tempered_smc``, 0.3 by default.
        """
        del start
        betas = checked_betas(betas)
        first_step = jnp.asarray(FIRST_STEP_SIZE if step_size is None else step_size)
        runs = tempered_smc(target, self, keys, statistics, betas, first_step)
        shape = (len(keys), len(betas), self.num_chains)
        return Draws(
            energies=jnp.swapaxes(runs.node_energies, -1, -2),
            positions=runs.node_positions[:, :, -1],
            acceptance=jnp.broadcast_to(jnp.nanmean(runs.acceptance, axis=1)[:, None, None], shape),
            num_divergent=jnp.sum(~jnp.isfinite(runs.node_energies), axis=2),
            evidence=Evidence(*(getattr(runs, name) for name in Evidence._fields)),
        )

    @property
    def num_particles(self) -> int:
        """Size of a population."""
        return self.num_chains * self.chain_length


class Temperature(NamedTuple):
    """All that is adapted: how a population is weighed and moved.

    Chains move at ``beta`` by HMC of ``step_size`` in units of ``scale`` [d], and every
    ``num_moves``-th state is kept.
    """

    beta: Array
    step_size: Array
    scale: Array
    num_moves: Array


class SMCResult(NamedTuple):
    """One run. T = max_temperatures, B = forced nodes, K = chain_length, C = num_chains.

    Energies are nL_n(w) − nL_n(w₀) in total nats. Path entries from ``num_temperatures`` on are
    NaN. ``log_evidence`` is −(F_n − nL_n(w₀)); it is NaN if β = 1 was not reached. ``num_nan``
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
    node_energies: Array
    node_positions: Array
    best_position: Array
    best_energy: Array
    num_nan: Array


class _Population(NamedTuple):
    """Particles [K, C, d] and their log-likelihoods [K, C]."""

    positions: Array
    log_likelihoods: Array

    @property
    def is_alive(self) -> Array:
        """No NaN, and a largest log-likelihood that is finite."""
        return jnp.isfinite(jnp.max(self.log_likelihoods, axis=(-1, -2)))


class _MoveNoise(NamedTuple):
    """The random numbers of a move: those of HMC, and standard normals [C] for the step."""

    move: Noise
    jitter: Array


class _Step(NamedTuple):
    """What one temperature adds to a run."""

    log_weight: Array
    ess: Array
    acceptance: Array


class _State(NamedTuple):
    """The pilot comes first on the axes of keys, populations and results."""

    keys: Array
    populations: _Population
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
    """S independent SMC runs from the prior to β = 1 behind one pilot; the result has axis [S].

    The pilot's key comes from the first of the ``keys`` [S]; the runs know nothing of each other.
    ``nodes`` [B] are increasing β ≤ 1 at which a temperature is forced and all energies [K, C]
    and positions [K, C, d] are kept; the last must be 1. ``step_size`` is the HMC step that
    tuning starts from, in units of the population's standard deviation.
    """
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
    """Populations from the prior, of the pilot and of each of the runs [S]."""
    split = jax.vmap(jax.random.split)(keys)
    keys = jnp.concatenate([split[:1, 0], split[:, 1]])
    split = jax.vmap(jax.random.split)(keys)
    populations = jax.vmap(lambda key: _prior_population(target, settings, key, data))(split[:, 0])
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
    """The state one temperature further, which the pilot chooses for all runs."""
    split = jax.vmap(lambda key: jax.random.split(key, 3))(state.keys)
    last, pilot = state.temperature, jax.tree.map(lambda leaf: leaf[0], state.populations)
    here, variance = _adapted(
        target, settings, split[0, 2], pilot, data, nodes, last, state.variance
    )

    def one(key: Array, population: _Population) -> tuple[_Population, _Step]:
        return _advanced(target, settings, key, population, data, last.beta, here)

    populations, steps = jax.vmap(one)(split[:, 1], state.populations)
    return _State(
        keys=split[:, 0],
        populations=populations,
        temperature=here._replace(
            step_size=_corrected(settings, here.step_size, steps.acceptance[0])
        ),
        variance=variance,
        results=_recorded(state, populations, steps, here, nodes),
        num_visited=state.num_visited + 1,
    )


def num_gradients(settings: SMCSettings, runs: SMCResult) -> float:
    """Gradients that the runs [S] of one data set took, and their pilot, whose steps were tuned."""
    temperatures = float(jnp.max(runs.num_temperatures))
    moves = float(jnp.nanmax(jnp.nansum(runs.num_moves, axis=-1)))
    steps = settings.num_integration_steps
    of_run = temperatures + moves * (settings.chain_length - 1) * steps
    of_tuning = temperatures * (1 + settings.num_tuning * steps)
    return settings.num_chains * ((len(runs.log_evidence) + 1) * of_run + of_tuning)


def _prior_population(target: Target, settings: SMCSettings, key: Array, data: Any) -> _Population:
    positions = jax.vmap(target.sample_prior)(jax.random.split(key, settings.num_particles))
    log_likelihoods = jax.vmap(target.log_likelihood, (0, None))(positions, data)
    shape = (settings.chain_length, settings.num_chains)
    return _Population(positions.reshape(*shape, -1), log_likelihoods.reshape(shape))


def _nothing_yet(settings: SMCSettings, populations: _Population, num_nodes: int) -> SMCResult:
    """The results before the first temperature."""
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
        node_energies=missing(num_nodes, *shape),
        node_positions=missing(num_nodes, *shape, dim),
        best_position=positions[:, 0, 0],
        best_energy=jnp.full(count, jnp.inf, positions.dtype),
        num_nan=jnp.sum(jnp.isnan(log_likelihoods), axis=(1, 2)),
    )


def _recorded(
    state: _State, populations: _Population, steps: _Step, here: Temperature, nodes: Array
) -> SMCResult:
    """The results with one temperature more; a run that was lost gets NaN from there on."""
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
        node_energies=at_nodes(old.node_energies, energies),
        node_positions=at_nodes(old.node_positions, populations.positions),
        best_position=jnp.where(
            improves[:, None], places[jnp.arange(count), best], old.best_position
        ),
        best_energy=jnp.where(improves, candidate, old.best_energy),
    )


def _adapted(
    target: Target,
    settings: SMCSettings,
    key: Array,
    pilot: _Population,
    data: Any,
    nodes: Array,
    last: Temperature,
    variance: Array,
) -> tuple[Temperature, Array]:
    """The temperature after ``last`` that suits the pilot, and the variance of log Ẑ so far."""
    log_likelihoods = pilot.log_likelihoods.ravel()
    positions = pilot.positions.reshape(len(log_likelihoods), -1)
    ceiling = jnp.min(jnp.where(nodes > last.beta, nodes, jnp.inf))
    beta = next_beta(last.beta, ceiling, log_likelihoods, settings.ess_fraction)
    weights = jax.nn.softmax((beta - last.beta) * log_likelihoods)
    mean = weights @ positions
    spread = jnp.sqrt(weights @ (positions - mean) ** 2 + VARIANCE_FLOOR)
    added, dependence = weight_variance(weights.reshape(pilot.log_likelihoods.shape))
    variance = variance + added
    num_moves = _enough_moves(settings, last.num_moves, dependence, variance)
    here = last._replace(beta=beta, scale=spread, num_moves=num_moves)

    resampling_key, noise_key = jax.random.split(key)
    density = tempered_density(target, data, beta)
    chains = chains_at(density, _ancestors(settings, resampling_key, pilot, weights))

    def tune(carry: tuple[Chains, Array], noise: _MoveNoise) -> tuple[tuple[Chains, Array], None]:
        chains, step_size = carry
        chains, acceptance = _moved(
            settings, density, chains, noise, here._replace(step_size=step_size)
        )
        return (chains, _corrected(settings, step_size, acceptance)), None

    noise = _noise(noise_key, settings.num_tuning, chains.positions)
    (_, step_size), _ = jax.lax.scan(tune, (chains, last.step_size), noise)
    return here._replace(step_size=step_size), variance


def _corrected(settings: SMCSettings, step_size: Array, acceptance: Array) -> Array:
    """A step nearer to the target acceptance, and nearer to one that is not too long."""
    tuned = step_size * jnp.exp(STEP_SIZE_GAIN * (acceptance - TARGET_ACCEPTANCE))
    # No faster than a step falls of which no move is accepted.
    shortened = step_size * math.exp(-STEP_SIZE_GAIN * TARGET_ACCEPTANCE)
    longest = LONGEST_TRAJECTORY / settings.num_integration_steps
    return jnp.minimum(tuned, jnp.maximum(longest, shortened))


def weight_variance(weights: Array) -> tuple[Array, Array]:
    """The variance of the log of the mean of positive weights [K, C] of C chains.

    Chains are independent and their states are not: it is the variance of the chains' means over
    C, relative to the squared mean. Second, the factor by which that exceeds what K · C
    independent states would have: 1 without variance.
    """
    relative = weights / jnp.mean(weights) - 1
    of_states = jnp.mean(relative**2) / weights.size
    of_chains = jnp.mean(jnp.mean(relative, axis=0) ** 2) / weights.shape[1]
    return of_chains, jnp.where(of_states > 0, of_chains / of_states, 1.0)


def _enough_moves(
    settings: SMCSettings, num_moves: Array, dependence: Array, variance: Array
) -> Array:
    """One move more if states depend on each other more than the path can afford, or one fewer.

    A short path affords much: its log Ẑ has little variance all the same.
    """
    allowed = jnp.maximum(ALLOWED_VARIANCE / variance, NEARLY_INDEPENDENT)
    change = jnp.where(dependence > allowed, 1, -1)
    return jnp.clip(num_moves + change, 1, settings.max_moves)


def next_beta(beta: Array, ceiling: Array, log_likelihoods: Array, ess_fraction: float) -> Array:
    """The largest β' ≤ ceiling at which the reweighted population keeps its share of ESS.

    ESS = (Σw)²/Σw² with w = exp((β' − β)ℓ). The logarithm of the increment is found by bisection
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


def _advanced(
    target: Target,
    settings: SMCSettings,
    key: Array,
    population: _Population,
    data: Any,
    last_beta: Array,
    here: Temperature,
) -> tuple[_Population, _Step]:
    """A population weighed and moved at a temperature in whose choice it had no part."""
    log_weights = (here.beta - last_beta) * population.log_likelihoods.ravel()
    weights = jax.nn.softmax(log_weights)
    resampling_key, chain_key = jax.random.split(key)
    ancestors = _ancestors(settings, resampling_key, population, weights)
    visited, acceptance = _visited(target, settings, chain_key, ancestors, data, here)
    step = _Step(
        log_weight=logsumexp(log_weights) - jnp.log(settings.num_particles),
        ess=1 / (settings.num_particles * jnp.sum(weights**2)),
        acceptance=acceptance,
    )
    return visited, step


def _ancestors(settings: SMCSettings, key: Array, population: _Population, weights: Array) -> Array:
    """Where chains start [C, d]: particles as often, on average, as their weights say."""
    chosen = resampling_module().systematic(key, weights, settings.num_chains)
    return population.positions.reshape(settings.num_particles, -1)[chosen]


def _noise(key: Array, count: int, positions: Array) -> _MoveNoise:
    noise_key, jitter_key = jax.random.split(key)
    jitter = normal_rows(jitter_key, count, len(positions), positions.dtype)
    return _MoveNoise(move_noise(noise_key, count, positions), jitter)


def _moved(
    settings: SMCSettings, density: Any, chains: Chains, noise: _MoveNoise, here: Temperature
) -> tuple[Chains, Array]:
    """One trajectory of each chain, and the mean acceptance."""
    # Valleys of a singular posterior narrow along their length: no one step fits them all.
    step_sizes = here.step_size * jnp.exp(STEP_SIZE_JITTER * noise.jitter)
    chains, info = hmc_move(
        density, chains, noise.move, step_sizes, here.scale, settings.num_integration_steps
    )
    return chains, jnp.mean(info.acceptance)


def _visited(
    target: Target,
    settings: SMCSettings,
    key: Array,
    ancestors: Array,
    data: Any,
    here: Temperature,
) -> tuple[_Population, Array]:
    """Every ``num_moves``-th state of HMC from each ancestor, K of them, and mean acceptance.

    Moves come in sweeps of K − 1, whose random numbers are drawn at once.
    """
    density = tempered_density(target, data, here.beta)
    size = settings.chain_length - 1

    def sweep(index: Array, carry: Any) -> Any:
        chains, kept, acceptance = carry

        def move(chains: Chains, noise: _MoveNoise) -> tuple[Chains, tuple[_Population, Array]]:
            chains, accepted = _moved(settings, density, chains, noise, here)
            return chains, (_Population(chains.positions, chains.log_likelihood), accepted)

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
    origin = _Population(first.positions, first.log_likelihood)
    kept = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), origin)
    start = (first, kept, jnp.zeros((), ancestors.dtype))
    _, kept, acceptance = jax.lax.fori_loop(0, here.num_moves, sweep, start)
    every = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), origin, kept)
    return every, acceptance
