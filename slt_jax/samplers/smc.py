"""Batched, adaptive, waste-free tempered sequential Monte Carlo.

A population is drawn from the prior and carried to β = 1 through temperatures chosen from its
own weighted effective sample size; every temperature starts ``num_chains`` HMC chains from
resampled particles and *all* their states form the next population (Dau & Chopin, Waste-free
sequential Monte Carlo, JRSS B 84, 2022). The evidence is the product of the mean weights.
Step size and mass matrix of a temperature come from the population before it, on device.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from slt_jax.samplers.hmc import Chains, Noise, chains_at, hmc_move, move_noise, normal_rows
from slt_jax.samplers.kernels import resampling_module
from slt_jax.samplers.target import Target, tempered_density

SMALLEST_STEP = 2.0**-40
BISECTIONS = 24
TARGET_ACCEPTANCE = 0.75
STEP_SIZE_GAIN = 2.0
STEP_SIZE_JITTER = 0.4
VARIANCE_FLOOR = 1e-6


class SMCSettings(NamedTuple):
    """Shapes of a run; a change recompiles.

    The population has ``num_chains`` × ``chain_length`` particles; ``ess_fraction`` of it must
    survive each change of β; ``num_pilots`` moves tune the step size of a temperature and are
    then forgotten; ``max_temperatures`` bounds the path.
    """

    num_chains: int = 32
    chain_length: int = 16
    num_integration_steps: int = 6
    num_pilots: int = 3
    max_temperatures: int = 100
    ess_fraction: float = 0.5

    @property
    def num_particles(self) -> int:
        """Size of the population."""
        return self.num_chains * self.chain_length


class SMCResult(NamedTuple):
    """One run. T = max_temperatures, B = forced nodes, K = chain_length, C = num_chains.

    Energies are nL_n(w) − nL_n(w₀) in total nats. Path entries from ``num_temperatures`` on are
    NaN. ``log_evidence`` is −(F_n − nL_n(w₀)); it is NaN if β = 1 was not reached.
    """

    log_evidence: Array
    num_temperatures: Array
    beta: Array
    mean_energy: Array
    energy_variance: Array
    acceptance: Array
    ess: Array
    step_size: Array
    first_log_weight: Array
    node_energies: Array
    node_positions: Array
    best_position: Array
    best_energy: Array


class _State(NamedTuple):
    key: Array
    temperature: Array
    beta: Array
    positions: Array
    log_likelihoods: Array
    log_evidence: Array
    step_size: Array
    result: SMCResult


def tempered_smc(
    target: Target,
    settings: SMCSettings,
    key: Array,
    data: Any,
    nodes: Array,
    step_size: Array,
) -> SMCResult:
    """One SMC run from the prior to β = 1; vmap over keys and data for many.

    ``nodes`` [B] are increasing β ≤ 1 at which a temperature is forced and all energies
    [K, C] and positions [K, C, d] are kept; the last must be 1. ``step_size`` is the HMC step of
    the first temperature, in units of the population's standard deviation.
    """
    size, chains, length = settings.num_particles, settings.num_chains, settings.chain_length
    key, prior_key = jax.random.split(key)
    positions = jax.vmap(target.sample_prior)(jax.random.split(prior_key, size))
    log_likelihoods = jax.vmap(target.log_likelihood, (0, None))(positions, data)
    dtype, dim = log_likelihoods.dtype, positions.shape[1]
    nodes = nodes.astype(dtype)
    path = jnp.full((settings.max_temperatures,), jnp.nan, dtype)
    start = _State(
        key=key,
        temperature=jnp.array(0),
        beta=jnp.zeros((), dtype),
        positions=positions,
        log_likelihoods=log_likelihoods,
        log_evidence=jnp.zeros((), dtype),
        step_size=jnp.asarray(step_size, dtype),
        result=SMCResult(
            log_evidence=jnp.array(jnp.nan, dtype),
            num_temperatures=jnp.array(0),
            beta=path,
            mean_energy=path,
            energy_variance=path,
            acceptance=path,
            ess=path,
            step_size=path,
            first_log_weight=jnp.array(jnp.nan, dtype),
            node_energies=jnp.full((len(nodes), length, chains), jnp.nan, dtype),
            node_positions=jnp.full((len(nodes), length, chains, dim), jnp.nan, dtype),
            best_position=positions[0],
            best_energy=jnp.array(jnp.inf, dtype),
        ),
    )

    def unfinished(state: _State) -> Array:
        within = state.temperature < settings.max_temperatures
        return (state.beta < nodes[-1]) & within & jnp.isfinite(state.log_evidence)

    def temper(state: _State) -> _State:
        ceiling = jnp.min(jnp.where(nodes > state.beta, nodes, jnp.inf))
        beta = next_beta(state.beta, ceiling, state.log_likelihoods, settings.ess_fraction)
        log_weights = (beta - state.beta) * state.log_likelihoods
        increment = logsumexp(log_weights) - jnp.log(size)
        weights = jax.nn.softmax(log_weights)
        key, resampling_key, chain_key = jax.random.split(state.key, 3)
        ancestors = resampling_module().systematic(resampling_key, weights, chains)
        mean = weights @ state.positions
        variance = weights @ (state.positions - mean) ** 2 + VARIANCE_FLOOR
        visited, log_likelihoods, acceptance, step_size = _chains(
            target, settings, chain_key, state.positions[ancestors], data, beta,
            state.step_size, variance,
        )  # fmt: skip
        energies = -log_likelihoods
        best = jnp.argmin(energies)
        improves = energies.ravel()[best] < state.result.best_energy
        old, t = state.result, state.temperature
        log_evidence = state.log_evidence + increment
        result = SMCResult(
            log_evidence=jnp.where(beta >= nodes[-1], log_evidence, jnp.nan),
            num_temperatures=t + 1,
            beta=old.beta.at[t].set(beta),
            mean_energy=old.mean_energy.at[t].set(jnp.mean(energies)),
            energy_variance=old.energy_variance.at[t].set(jnp.var(energies)),
            acceptance=old.acceptance.at[t].set(acceptance),
            ess=old.ess.at[t].set(1 / (size * jnp.sum(weights**2))),
            step_size=old.step_size.at[t].set(step_size),
            first_log_weight=jnp.where(t == 0, increment, old.first_log_weight),
            node_energies=jnp.where(
                (nodes == beta)[:, None, None], energies, old.node_energies
            ),
            node_positions=jnp.where(
                (nodes == beta)[:, None, None, None], visited, old.node_positions
            ),
            best_position=jnp.where(
                improves, visited.reshape(size, -1)[best], old.best_position
            ),
            best_energy=jnp.where(improves, energies.ravel()[best], old.best_energy),
        )  # fmt: skip
        return _State(
            key=key,
            temperature=t + 1,
            beta=beta,
            positions=visited.reshape(size, -1),
            log_likelihoods=log_likelihoods.ravel(),
            log_evidence=log_evidence,
            step_size=step_size * jnp.exp(STEP_SIZE_GAIN * (acceptance - TARGET_ACCEPTANCE)),
            result=result,
        )

    return jax.lax.while_loop(unfinished, temper, start).result


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


def _chains(
    target: Target,
    settings: SMCSettings,
    key: Array,
    positions: Array,
    data: Any,
    beta: Array,
    step_size: Array,
    variance: Array,
) -> tuple[Array, Array, Array, Array]:
    """HMC from each ancestor: positions [K, C, d], log-likelihoods [K, C], acceptance, step."""
    num_moves = settings.num_pilots + settings.chain_length - 1
    noise_key, jitter_key = jax.random.split(key)
    noise = move_noise(noise_key, num_moves, positions)
    # Valleys of a singular posterior narrow along their length: no one step fits them all.
    jitter = normal_rows(jitter_key, num_moves, len(positions), positions.dtype)

    density = tempered_density(target, data, beta)
    initial = chains_at(density, positions)

    def step_chain(carry: tuple[Chains, Array], inputs: tuple[Array, Noise, Array]) -> Any:
        (chains, step), (index, of_move, of_step) = carry, inputs
        # The pilots only tune: the chains proper start again from the resampled particles.
        chains = jax.tree.map(
            lambda s, first: jnp.where(index == settings.num_pilots, first, s), chains, initial
        )
        steps = step * jnp.exp(STEP_SIZE_JITTER * of_step)
        chains, info = hmc_move(
            density, chains, of_move, steps, jnp.sqrt(variance), settings.num_integration_steps
        )
        acceptance = jnp.mean(info.acceptance)
        tuned = step * jnp.exp(STEP_SIZE_GAIN * (acceptance - TARGET_ACCEPTANCE))
        step = jnp.where(index < settings.num_pilots, tuned, step)
        return (chains, step), (chains.positions, chains.log_likelihood, acceptance)

    (_, step_size), (moved, log_likelihoods, acceptance) = jax.lax.scan(
        step_chain, (initial, step_size), (jnp.arange(num_moves), noise, jitter)
    )
    visited, log_likelihoods = (
        jnp.concatenate([first[None], rest[settings.num_pilots :]])
        for first, rest in ((positions, moved), (initial.log_likelihood, log_likelihoods))
    )
    acceptance = jnp.mean(acceptance[settings.num_pilots :])
    return visited, log_likelihoods, acceptance, step_size
