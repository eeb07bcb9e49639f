"""Simulation-based calibration: whether a sampler draws from the posterior of any model.

Parameters are drawn from the prior, data from the model at these, and posterior draws given the
data: the parameters must then rank among the draws as one more of them. No oracle is needed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.curves.jobs import target_of, unravelled
from slt_jax.estimators.ranks import RankUniformity, rank_uniformity
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.precision import in_default_precision
from slt_jax.samplers.sampling import SamplerSettings, draw_posterior
from slt_jax.samplers.target import Target
from slt_jax.shapes import datum_of
from slt_jax.statistics import Data
from slt_jax.validation import Count, check, check_key

QUANTITIES = ("energy", "log_prior", "first_parameter", "log_likelihood_of_one")


class SimulatedRanks(NamedTuple):
    """``uniformity`` of the ranks by quantity; ``divergent`` draws per chain, on average."""

    uniformity: dict[str, RankUniformity]
    divergent: float


def simulated_ranks(
    problem: Problem,
    settings: SamplerSettings,
    key: Array,
    num_truths: int,
    n: int,
    num_chains: int,
    step_size: float | None = None,
) -> SimulatedRanks:
    """Ranks of ``num_truths`` draws of the prior, each with a data set of size n of its own.

    The draws are where ``num_chains`` chains ended that started from the prior: independent but
    for the tuning that they share. What is ranked are functions in which the symmetries of a
    singular model do not matter, nL_n(w) and log p(z|w) of one datum z, and, of the prior alone,
    log φ(w) and the first parameter. The problem gives the model and a reference point for the
    statistics; its truth is not used. All data sets are sampled by one compiled program. Raises
    ValueError for a problem that ``shapes.datum_of`` refuses, for numbers that are no integers ≥ 1,
    and as the sampler does.
    """
    datum_of(problem)
    check_key("key", key)
    for name, count in (("num_truths", num_truths), ("n", n), ("num_chains", num_chains)):
        check(name, count, Count)
    case = simulated_cases(problem, n, num_chains, jax.random.split(key, num_truths))
    positions, divergent = _ends(
        target_of(problem.model), settings, case.keys, case.all_statistics, case.starts, step_size
    )
    draws = np.asarray(_values(problem, case.all_statistics, positions))
    truth = np.asarray(_values(problem, case.all_statistics, case.truths[:, None]))[:, 0]
    uniformity = {
        name: rank_uniformity(draws[..., i], truth[:, i]) for i, name in enumerate(QUANTITIES)
    }
    return SimulatedRanks(uniformity, float(np.mean(divergent)))


class Cases(NamedTuple):
    """R truths [R, d] of the prior, the statistics of a data set of each, C starts [R, C, d] of
    chains, and keys [R] for samplers."""

    truths: Array
    all_statistics: Any
    starts: Array
    keys: Array


def draw_cases(problem: Problem, n: int, num_chains: int, keys: Array) -> Cases:
    """Truths, data sets of size n and starts, one for each of the keys [R]."""
    model, target = problem.model, target_of(problem.model)
    optimum = in_default_precision(problem.optimum)

    def one(key: Array) -> Cases:
        truth_key, data_key, start_key, run_key = jax.random.split(key, 4)
        w = target.sample_prior(truth_key)
        simulate = jax.vmap(model.simulate, (None, 0))
        data = Data(*simulate(unravelled(model, w), jax.random.split(data_key, n)))
        starts = jax.vmap(target.sample_prior)(jax.random.split(start_key, num_chains))
        return Cases(w, model.statistics(optimum, data, jnp.ones(n)), starts, run_key)

    return jax.vmap(one)(keys)


def chain_ends(
    target: Target,
    settings: SamplerSettings,
    keys: Array,
    all_statistics: Any,
    starts: Array,
    step_size: Array | float | None,
) -> tuple[Array, Array]:
    """The chains' last positions of every case [R, C, d], and their divergent draws [R, C]."""

    def one(key: Array, statistics: Any, start: Array) -> tuple[Array, Array]:
        run = draw_posterior(target, settings, key, statistics, jnp.ones(1), start, step_size)
        # SMC has chains of its own number, of which as many are taken.
        ends = slice(None, None, run.positions.shape[1] // len(start))
        return run.positions[0, ends], run.num_divergent[0, ends]

    return jax.vmap(one)(keys, all_statistics, starts)


def values_of(problem: Problem, all_statistics: Any, positions: Array) -> Array:
    """``QUANTITIES`` [R, L, Q] at positions [R, L, d] of the cases."""
    model, target = problem.model, target_of(problem.model)
    datum = problem.simulate(jax.random.key(0))

    def one(w: Array, statistics: Any) -> Array:
        return jnp.stack(
            [
                -target.log_likelihood(w, statistics),
                target.log_prior(w),
                w[0],
                model.log_likelihood(unravelled(model, w), *datum),
            ]
        )

    return jax.vmap(jax.vmap(one, (0, None)))(positions, all_statistics)


simulated_cases = jit_at_first_call(draw_cases, static_argnums=(0, 1, 2))
_ends = jit_at_first_call(chain_ends, static_argnums=(0, 1))
_values = jit_at_first_call(values_of, static_argnums=(0,))
