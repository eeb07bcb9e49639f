"""Checks that any evidence must pass, whatever the model."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import t as student

from slt_jax.model import Model, Regression
from slt_jax.oracles.oracle import Oracle
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.precision import in_default_precision, in_float64
from slt_jax.statistics import Data, Params, Statistics

PROPOSAL_DEGREES = 4.0
PROPOSAL_SCALE = 2.0


class Integral(NamedTuple):
    """A Monte-Carlo mean and its standard error."""

    value: float
    standard_error: float


@in_float64
def evidence_integral(oracle: Oracle, key: Array, n: int, data_sets: int) -> Integral:
    """∫ Z_n(y | x) dy₁…dy_n, averaged over x: 1 because the evidence is a density on data sets.

    Importance sampling from a density of data sets whose tails are heavier than those of Z_n:
    f(x_i, w₀) + 2σ·t₄ noise for a regression, and for any other model the mean of p(·|w) over
    draws of the prior. Data from the truth itself would give weights Z_n/q of infinite variance.
    Raises ValueError for n < 1 or fewer than 2 data sets.
    """
    if n < 1 or data_sets < 2:
        raise ValueError(f"n = {n}, data sets = {data_sets}: n ≥ 1 and ≥ 2 data sets are needed")
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(data_sets))
    model, problem = oracle.model, oracle.problem
    if isinstance(model, Regression):
        all_statistics, log_proposal = compiled_overdispersed(model, problem, keys, n)
    else:
        all_statistics, log_proposal = compiled_from_the_prior(model, problem, keys, n)
    log_evidence = oracle.log_evidence(all_statistics).value + np.asarray(
        all_statistics.log_likelihood_at_optimum
    )
    ratios = np.exp(log_evidence - np.asarray(log_proposal))
    return Integral(float(ratios.mean()), float(ratios.std(ddof=1) / np.sqrt(data_sets)))


def _overdispersed(
    model: Regression, problem: Problem, keys: Array, n: int
) -> tuple[Statistics, Array]:
    optimum = _in_doubles(problem.optimum)
    width = PROPOSAL_SCALE * model.noise

    def one(key: Array) -> tuple[Statistics, Array]:
        key_x, key_y = jax.random.split(key)
        x = jax.vmap(model.sample_input)(jax.random.split(key_x, n))
        mean = jax.vmap(model.predict, (None, 0))(optimum, x)
        noise = _student_4(key_y, mean.shape)
        log_proposal = jnp.sum(student.logpdf(noise, PROPOSAL_DEGREES) - jnp.log(width))
        data = Data(x, mean + width * noise)
        return model.statistics(optimum, data, jnp.ones(n)), log_proposal

    return jax.vmap(one)(keys)


def _from_the_prior(
    model: Model, problem: Problem, keys: Array, n: int
) -> tuple[Statistics, Array]:
    """Data sets of the draws in turn, under the mean of all their densities."""
    optimum = _in_doubles(problem.optimum)
    split = jax.vmap(functools.partial(jax.random.split, num=n + 1))(keys)
    draws = jax.vmap(model.sample_prior)(split[:, 0])

    def one(draw: Params, seeds: Array) -> tuple[Statistics, Array]:
        data = Data(*jax.vmap(model.simulate, (None, 0))(draw, seeds))
        over_data = jax.vmap(model.log_likelihood, (None, 0, 0))
        logs = jax.vmap(lambda w: jnp.sum(over_data(w, *data)))(draws)
        log_proposal = jax.nn.logsumexp(logs) - jnp.log(len(logs))
        return model.statistics(optimum, data, jnp.ones(n)), log_proposal

    return jax.vmap(one)(draws, split[:, 1:])


def _in_doubles(params: Params) -> Params:
    return in_default_precision(params)


def _student_4(key: Array, shape: tuple[int, ...]) -> Array:
    """Student-t variates of 4 degrees of freedom, whose χ² is twice the sum of 2 exponentials.

    ``jax.random.t`` rejects in a loop, which takes longer to compile than all else here.
    """
    normal_key, chi_key = jax.random.split(key)
    exponentials = jax.random.exponential(chi_key, (2, *shape))
    return jax.random.normal(normal_key, shape) / jnp.sqrt(exponentials.sum(axis=0) / 2)


compiled_overdispersed = jit_at_first_call(_overdispersed, static_argnums=(0, 1, 3))
compiled_from_the_prior = jit_at_first_call(_from_the_prior, static_argnums=(0, 1, 3))
