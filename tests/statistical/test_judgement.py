"""Draws that ``judge_draws`` takes for converged agree with oracles; wrong ones do not pass."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import slt_jax as slt
from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.estimators import Estimate, mean_over_chains, mean_over_seeds
from slt_jax.estimators.diagnostics import Convergence, Thresholds, judge_draws
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.sampling import Draws, Start

pytestmark = pytest.mark.slow

PROBLEMS = slt.named_problems()
NAMES = ("linear_3", "monomial_1_1", "tanh_2", "reduced_rank_2_2_1_0")
SIZES = (100, 10_000)
DATA_SETS = 3
K = 7.0
# The accuracy of as many independent draws as are asked for.
ALLOWED_BIAS = Thresholds().min_ess ** -0.5
RUNS, CHAINS = 4, 64
SAMPLERS = {
    "mala": slt.MALASettings(),
    "microcanonical": slt.MicrocanonicalSettings(),
    "sgld": slt.SGLDSettings(),
    "smc": slt.SMCSettings(),
    "nuts": slt.NUTSSettings(300, 300, target_acceptance=0.95),
}


def run(target: Any, settings: Any, keys: Any, statistics: Any, start: Any) -> Draws:
    return settings.run(target, keys, statistics, jnp.ones(1), Start(start))


RUN = jit_at_first_call(run, static_argnums=(0, 1))


def judged(sampler: str, name: str, n: int, r: int) -> tuple[Convergence, Estimate, float, float]:
    """The verdict on E[nL_n], its estimate, its standard deviation and the exact value."""
    problem, settings = PROBLEMS[name], SAMPLERS[sampler]
    target, oracle = target_of(problem.model), slt.oracle_for(problem, costly=True)
    statistics = slt.statistics_of(problem, slt.simulate(problem, jax.random.key(r), n))
    chains = CHAINS // 8 if sampler == "nuts" else CHAINS
    start_key, *keys = jax.random.split(jax.random.key(100 + r), RUNS + 1)
    starts = jax.vmap(target.sample_prior)(jax.random.split(start_key, RUNS * chains))
    draws = RUN(
        target, settings, jnp.stack(keys), in_precision(statistics, jnp.float32),
        starts.reshape(RUNS, chains, -1),
    )  # fmt: skip
    draws = jax.tree.map(lambda leaf: np.asarray(leaf, float), draws)
    by_run = draws.energies[:, 0]
    flat, coarse = by_run.reshape(-1, by_run.shape[-1]), None
    if draws.coarse_energies is not None:
        coarse = draws.coarse_energies[:, 0].reshape(flat.shape)
    verdict = judge_draws(draws, settings)
    estimate = mean_over_chains(flat, coarse=coarse)
    if sampler == "smc":
        estimate = mean_over_seeds(by_run.mean(axis=(1, 2)))
    exact = float(oracle.moments(statistics).excess_energy.value)
    return verdict, estimate, float(flat.std()), exact


@pytest.mark.parametrize("sampler", ["mala", "microcanonical", "sgld", "nuts"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.false_alarm(comparisons=len(SIZES) * DATA_SETS, standard_errors=K)
def test_what_passes_agrees_with_the_oracle(sampler: str, name: str) -> None:
    for n in SIZES:
        for r in range(DATA_SETS):
            verdict, estimate, spread, exact = judged(sampler, name, n, r)
            if verdict.converged:
                allowed = K * float(estimate.standard_error) + ALLOWED_BIAS * spread
                assert abs(float(estimate.value) - exact) < allowed, (n, r, verdict)


@pytest.mark.parametrize("name", NAMES)
def test_right_populations_of_smc_pass(name: str) -> None:
    """Although chains of sixteen states disagree with one another."""
    for n in SIZES:
        verdict, estimate, spread, exact = judged("smc", name, n, 0)
        assert abs(float(estimate.value) - exact) < 0.5 * spread
        assert "R-hat" not in verdict.reason, (n, verdict)


@pytest.mark.parametrize(
    ("sampler", "name"),
    [
        ("mala", "linear_3"),
        ("mala", "monomial_1_1"),
        ("microcanonical", "linear_3"),
        ("microcanonical", "monomial_1_1"),
        ("nuts", "linear_3"),
        ("nuts", "monomial_1_1"),
        ("sgld", "monomial_1_1"),
    ],
)
def test_what_is_right_passes(sampler: str, name: str) -> None:
    assert judged(sampler, name, 100, 2)[0].converged


@pytest.mark.parametrize("sampler", ["mala", "sgld"])
def test_chains_that_have_not_settled_do_not_pass(sampler: str) -> None:
    """Seven standard errors from the exact value, with nested R-hat of groups below 1.01."""
    for r in range(DATA_SETS):
        verdict = judged(sampler, "reduced_rank_2_2_1_0", 10_000, r)[0]
        assert "R-hat" in verdict.reason
