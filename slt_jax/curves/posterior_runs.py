"""Independent runs of any sampler on one posterior, and what they say of its evidence.

A posterior at β is sampled as that of data with the weights β, so that every sampler ends at the
inverse temperature 1 of its own: b below stands for β_b = bβ. Energies of the scaled data,
β(nL_n(w) − nL_n(w₀)), are divided by β where they are reported.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from slt_jax.curves.jobs import (
    convergence,
    in_precision,
    refuse_divergence,
    smc_jobs,
    target_of,
)
from slt_jax.curves.ladders import (
    FreeEnergy,
    chains_at,
    disagreements,
    free_energy_along,
    ladder_of,
)
from slt_jax.estimators import (
    Estimate,
    free_energy_from_evidence,
    mean_over_chains,
    mean_over_seeds,
)
from slt_jax.estimators.diagnostics import Thresholds
from slt_jax.problem import Problem
from slt_jax.run.devices import JobFunction
from slt_jax.samplers.ensemble import drawn_once
from slt_jax.samplers.sampling import Draws, SamplerSettings, Start
from slt_jax.samplers.sgld import DEFAULT_STEP
from slt_jax.samplers.smc import FIRST_STEP_SIZE, SMCSettings
from slt_jax.samplers.target import Target
from slt_jax.statistics import Statistics

# Bennett's equations are solved with so many draws of a rung, or with four of each chain.
DRAWS_OF_A_RUNG = 2**13
CHAINS_PER_CHAIN_OF_A_RUNG = 8
PRIOR_AT_ONCE = 256

Floats = NDArray[np.float64]


class Sampling(NamedTuple):
    """The way posteriors of R data sets are sampled: ``seeds`` independent runs of a sampler each.

    ``statistics`` [R, ...] are those of the data with unit weights, n of them in each data set. A
    run has ``num_chains`` chains; ``step_size`` as in ``Start``. With ``keep_positions`` all draws
    are kept. ``budget`` is that of ``JobFunction``.
    """

    problem: Problem
    statistics: Statistics
    n: int
    sampler: SamplerSettings
    seeds: int
    num_chains: int
    step_size: float | None
    keep_positions: bool = False
    budget: int | None = None

    @property
    def max_divergent(self) -> float:
        """The share of draws that may diverge, by the settings if they say so."""
        return float(getattr(self.sampler, "max_divergent", Thresholds().max_divergent))


class Runs(NamedTuple):
    """The results of S runs on one data set at one β, relative to w₀ in total nats.

    ``excess_energy`` E_β[nL_n] − nL_n(w₀). ``positions`` [S, D, d] are draws at β: the last
    population of SMC, and where the chains of other samplers ended. ``coarse_positions`` are those
    with twice the step of a sampler that its step biases, else None. ``evidence`` is None for
    samplers that have none. ``reason`` is empty if the energies have converged, and
    ``reason_of_losses`` if there are enough positions. ``kept_positions``
    [chain, draw, d] and ``kept_energies`` [chain, draw] are all draws, None unless asked for; the
    chains of SMC are its runs.
    """

    excess_energy: Estimate
    positions: Floats
    coarse_positions: Floats | None
    evidence: Estimate | None
    reason: str
    reason_of_losses: str = ""
    kept_positions: Floats | None = None
    kept_energies: Floats | None = None


def sampled_runs(sampling: Sampling, keys: Array, beta: float) -> list[Runs]:
    """Run a sampler on the posterior of each data set at β > 0, with one of the ``keys`` [R] each.

    Raises ValueError for settings that the sampler refuses, and for a step at which no chain of SMC
    moves.
    """
    statistics = sampling.statistics.scaled(beta)
    is_smc = isinstance(sampling.sampler, SMCSettings)
    every = (_by_populations if is_smc else _by_chains)(sampling, statistics, keys, beta)
    return [runs._replace(excess_energy=runs.excess_energy.scaled(1 / beta)) for runs in every]


def _by_populations(
    sampling: Sampling, statistics: Statistics, keys: Array, beta: float
) -> list[Runs]:
    dtype = jnp.result_type(float)
    of_seeds = jax.vmap(lambda key: jax.random.split(key, sampling.seeds))(keys)
    step = FIRST_STEP_SIZE if sampling.step_size is None else sampling.step_size
    every, _ = smc_jobs(
        target_of(sampling.problem.model),
        sampling.sampler,
        jnp.asarray(step, dtype),
        np.asarray(jax.random.key_data(of_seeds)),
        in_precision(statistics, dtype),
        np.ones((len(keys), 1), dtype),
        budget=sampling.budget,
    )
    every = jax.tree.map(lambda leaf: np.asarray(leaf, float), every)
    refuse_divergence(sampling.problem, sampling.n, every, step)
    judged = convergence(every, (0,), np.asarray(statistics.log_likelihood_at_optimum))
    (_, reasons), shape = judged["reason"], (sampling.seeds, -1)
    each = []
    for r, reason in enumerate(reasons):
        runs = jax.tree.map(lambda leaf, r=r: leaf[r], every)
        positions = runs.node_positions.reshape(*shape, runs.node_positions.shape[-1])
        kept = sampling.keep_positions
        each.append(
            Runs(
                excess_energy=mean_over_seeds(runs.node_energies.mean(axis=(-3, -2, -1))),
                positions=positions,
                coarse_positions=None,
                evidence=free_energy_from_evidence(runs.log_evidence),
                reason=str(reason),
                kept_positions=positions if kept else None,
                kept_energies=runs.node_energies.reshape(shape) / beta if kept else None,
            )
        )
    return each


def _by_chains(sampling: Sampling, statistics: Statistics, keys: Array, beta: float) -> list[Runs]:
    start_keys, run_keys, coarse_keys = jnp.moveaxis(jax.vmap(partial(_split, 3))(keys), 1, 0)
    shape = (sampling.seeds, sampling.num_chains)
    starts, _ = _prior(sampling, statistics, start_keys, math.prod(shape))
    start, rungs = starts.reshape(len(keys), *shape, -1), np.ones((len(keys), 1))
    every = _drawn(
        sampling, statistics, run_keys, rungs, start, sampling.step_size, sampling.keep_positions
    )
    coarse = None
    if every[0].coarse_energies is not None:
        step = DEFAULT_STEP if sampling.step_size is None else sampling.step_size
        coarse = _drawn(sampling, statistics, coarse_keys, rungs, start, 2 * step)
    return [
        _runs_of(draws, None if coarse is None else coarse[r], beta, sampling.max_divergent)
        for r, draws in enumerate(every)
    ]


def _runs_of(draws: Draws, coarse: Draws | None, beta: float, max_divergent: float) -> Runs:
    """Summarise the chains of one data set, whose energies are those of the scaled data."""
    count, enough = math.prod(draws.positions.shape[:3]), Thresholds().min_ess
    kept = draws.kept_positions
    return Runs(
        excess_energy=mean_over_chains(
            chains_at(draws.energies, -1), coarse=chains_at(draws.coarse_energies, -1)
        ),
        positions=np.asarray(draws.positions[:, 0]),
        coarse_positions=None if coarse is None else np.asarray(coarse.positions[:, 0]),
        evidence=None,
        reason="; ".join(disagreements(draws, np.array([beta]), max_divergent)),
        reason_of_losses=(
            "" if count >= enough else f"losses rest on {count} chains, fewer than {enough:g}"
        ),
        kept_positions=None if kept is None else np.concatenate(kept[:, 0]),
        kept_energies=None if kept is None else chains_at(draws.energies, -1) / beta,
    )


def ladder_free_energies(sampling: Sampling, keys: Array, beta: float) -> list[FreeEnergy]:
    """Estimate F_n(β) of each data set by chains at all rungs of a ladder from the prior.

    A rung has an eighth of the chains, at least two in each run; all rungs and data sets are one
    program. Bennett's equations join the rungs; integration over β must give the same. Where a step
    biases the draws, the error holds what twice the step changes.
    """
    statistics = sampling.statistics.scaled(beta)
    start_keys, run_keys = jnp.moveaxis(jax.vmap(partial(_split, 2))(keys), 1, 0)
    shape = (sampling.seeds, max(2, sampling.num_chains // CHAINS_PER_CHAIN_OF_A_RUNG))
    chains = math.prod(shape)
    length = max(4, DRAWS_OF_A_RUNG // chains)
    starts, energies = _prior(sampling, statistics, start_keys, chains * length)
    priors = energies.reshape(len(keys), chains, length)
    ladders = [ladder_of(prior, starts.shape[-1], sampling.sampler) for prior in priors]
    # The longest serves all data sets, as they are one program.
    count = max(map(len, ladders))
    rungs = np.stack([np.geomspace(ladder[0], 1.0, count) for ladder in ladders])
    start = starts.reshape(len(keys), *shape, length, -1)[..., 0, :]
    every = _drawn(sampling, statistics, run_keys, rungs, start, sampling.step_size)
    return [
        free_energy_along(*of_data_set, beta, sampling.max_divergent)
        for of_data_set in zip(every, rungs, priors, strict=True)
    ]


def _split(count: int, key: Array) -> Array:
    return jax.random.split(key, count)


def _drawn(
    sampling: Sampling,
    statistics: Statistics,
    keys: Array,
    rungs: Floats,
    start: Floats,
    step_size: float | None,
    keep_positions: bool = False,
) -> list[Draws]:
    """The draws [S, B, C, ...] of each data set at its ``rungs`` [R, B], from starts [R, S, C, d].

    A job is one run on one data set.
    """
    dtype, seeds = jnp.result_type(float), sampling.seeds
    run_keys = jax.vmap(partial(_split, seeds))(keys).reshape(-1)
    every = run_jobs(
        target_of(sampling.problem.model),
        sampling.sampler,
        keep_positions,
        None if step_size is None else jnp.asarray(step_size, dtype),
        np.asarray(jax.random.key_data(run_keys)),
        jax.tree.map(lambda leaf: np.repeat(leaf, seeds, 0), in_precision(statistics, dtype)),
        np.repeat(np.asarray(rungs, dtype), seeds, 0),
        np.concatenate(start),
        budget=sampling.budget,
    )
    every = jax.tree.map(lambda leaf: np.asarray(leaf, float), every)
    return [
        jax.tree.map(lambda leaf, r=r: leaf[r * seeds : (r + 1) * seeds], every)
        for r in range(len(keys))
    ]


def _prior(
    sampling: Sampling, statistics: Statistics, keys: Array, count: int
) -> tuple[Floats, Floats]:
    """Draws of the prior [R, N, d] and their energies [R, N], with one of the ``keys`` [R] each."""
    of_draws = jax.vmap(partial(_split, count))(keys)
    starts, energies = prior_jobs(
        target_of(sampling.problem.model),
        np.asarray(jax.random.key_data(of_draws)),
        in_precision(statistics, jnp.result_type(float)),
        budget=sampling.budget,
    )
    return starts, np.asarray(energies, float)


def prior_batch(target: Target, key_data: Array, statistics: Any) -> tuple[Array, Array]:
    """Draw from the prior with each of the keys [R, N]: positions [R, N, d] and energies [R, N]."""

    def of_data_set(keys: Array, of_data: Any) -> Any:
        def one(key: Array) -> tuple[Array, Array]:
            w = drawn_once(target.sample_prior(key))
            return w, -target.log_likelihood(w, of_data)

        return jax.lax.map(one, jax.random.wrap_key_data(keys), batch_size=PRIOR_AT_ONCE)

    return jax.vmap(of_data_set)(key_data, statistics)


def run_batch(
    target: Target,
    sampler: SamplerSettings,
    keep_positions: bool,
    step_size: Array | None,
    key_data: Array,
    statistics: Any,
    betas: Array,
    starts: Array,
) -> Draws:
    """One run for each job: key data, statistics, ``betas`` [B] and starts [C, d] of its own."""

    def one(key: Array, of_data: Any, of_run: Array, positions: Array) -> Draws:
        start = Start(positions[None], step_size)
        keys = jax.random.wrap_key_data(key)[None]
        draws = sampler.run(target, keys, of_data, of_run, start, keep_positions)
        return jax.tree.map(lambda leaf: leaf[0], draws)

    return jax.vmap(one)(key_data, statistics, betas, starts)


prior_jobs = JobFunction(prior_batch, num_static=1, num_shared=0)
"""It is ``prior_batch`` of any number of data sets, over all devices within their memory."""

run_jobs = JobFunction(run_batch, num_static=3, num_shared=1)
"""It is ``run_batch`` of any number of jobs, over all devices within their memory."""
