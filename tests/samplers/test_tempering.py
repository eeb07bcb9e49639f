"""Parallel tempering against the oracle at the same n: every temperature, and the evidence of all.

Comparisons ask first for R̂ below 1.05 and an effective sample size of 400, and then for agreement
within K = 5.5 standard errors.
"""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.estimators import multistate_bennett
from slt_jax.estimators.diagnostics import effective_sample_size, mean_and_standard_error, r_hat
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.tempering import (
    ParallelTemperingResult,
    ParallelTemperingSettings,
    parallel_tempering,
)

K = 5.5
N = 100
WBIC_BETA = 1 / math.log(N)
SETTINGS = ParallelTemperingSettings(
    num_temperatures=8, num_rounds=6, round_length=40, num_draws=300
)
PROBLEM = "monomial_1_1"

run = jit_at_first_call(chex.assert_max_traces(parallel_tempering, n=1), static_argnums=(0, 1))


@functools.cache
def start() -> tuple:
    """Target, statistics in float64, data in float32, and starts [chain, d]."""
    problem = named_problems()[PROBLEM]
    target = target_of(problem.model)
    statistics = statistics_along_n(problem, jax.random.key(3), 1, (N,))[0]
    data = in_precision(jax.tree.map(lambda leaf: leaf[0], statistics), jnp.float32)
    starts = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(4), 16))
    return target, statistics, data, starts


@functools.cache
def sampled() -> ParallelTemperingResult:
    target, _, data, starts = start()
    betas = jnp.array([WBIC_BETA, 1.0])
    return jax.tree.map(np.asarray, run(target, SETTINGS, jax.random.key(5), data, betas, starts))


@pytest.mark.parametrize("beta", [WBIC_BETA, 1.0])
@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_energies_agree_with_the_oracle(beta: float) -> None:
    row = int(np.flatnonzero(np.isclose(sampled().beta, beta, rtol=1e-6))[0])
    energies = sampled().energies[row]
    assert r_hat(energies) < 1.05
    assert effective_sample_size(energies) > 400
    mean, error = mean_and_standard_error(energies)
    exact = oracle_for(named_problems()[PROBLEM]).moments(start()[1], beta)
    assert abs(mean - exact.excess_energy.value[0]) < K * error


def test_the_prior_is_drawn_afresh() -> None:
    """At β = 0 draws are independent: as many effective ones as there are."""
    energies = np.log(sampled().energies[0] + 100)
    assert sampled().beta[0] == 0
    assert effective_sample_size(energies) > 0.7 * energies.size
    assert np.all(sampled().acceptance[0] == 1)


@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_the_evidence_of_the_whole_ladder() -> None:
    """MBAR over all temperatures gives F_n within K of its errors, of at most 0.1 nats."""
    estimate = multistate_bennett(sampled().energies, sampled().beta).free_energy
    exact = oracle_for(named_problems()[PROBLEM]).moments(start()[1]).normalised_free_energy
    assert estimate.standard_error[-1] < 0.1
    assert abs(estimate.value[-1] - exact.value[0]) < K * estimate.standard_error[-1]


def test_the_ladder_is_tuned_and_replicas_travel() -> None:
    """Pairs are rejected alike, and round trips take about 2 + 2Λ sweeps (Syed et al. 2022)."""
    result = sampled()
    assert np.all(np.diff(result.beta) > 0)
    assert result.beta[-1] == 1
    assert np.ptp(result.rejection) < 0.2
    sweeps = SETTINGS.num_draws * SETTINGS.num_temperatures / np.mean(result.round_trips)
    per_replica = sweeps / SETTINGS.num_temperatures
    assert 1 < per_replica < 4 * (2 + 2 * result.rejection.sum())


def test_data_beta_and_keys_are_data() -> None:
    """``run`` refuses to be traced again, and data of NaN give NaN and no draw."""
    sampled()
    target, _, data, starts = start()
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, data)
    result = run(target, SETTINGS, jax.random.key(6), broken, jnp.array([0.3, 1.0]), starts)
    assert np.all(np.isnan(np.asarray(result.energies)))
    assert np.all(np.asarray(result.acceptance)[1:] == 0)


@pytest.mark.parametrize(
    ("changes", "betas", "shape", "words"),
    [
        ({}, [0.1, 1.0], (3,), r"initial_positions has shape \(3,\)"),
        ({}, 0.5, (3, 2), r"betas has shape \(\)"),
        ({"num_temperatures": 4}, [0.1, 0.2, 1.0], (3, 2), "at most num_temperatures − 2 = 2"),
        ({"num_temperatures": 2}, [], (3, 2), "num_temperatures = 2: must be an integer ≥ 3"),
        ({"num_draws": 0}, [1.0], (3, 2), "num_draws = 0: must be an integer ≥ 1"),
        ({"round_length": 1}, [1.0], (3, 2), "round_length = 1: must be an integer ≥ 2"),
    ],
)
def test_refusals(changes: dict, betas: object, shape: tuple, words: str) -> None:
    target, _, data, _ = start()
    settings = SETTINGS._replace(**changes)
    with pytest.raises(ValueError, match=words):
        parallel_tempering(
            target, settings, jax.random.key(0), data, jnp.array(betas), jnp.zeros(shape)
        )
