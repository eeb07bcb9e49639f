"""Rates at which errors vanish, with the oracle as truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.curves.jobs import in_precision, target_of
from slt_jax.data import statistics_along_n
from slt_jax.estimators import free_energy_from_evidence, integrate_path, mean_over_chains
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.samplers.smc import SMCSettings, tempered_smc

pytestmark = pytest.mark.slow

STEPS = np.array([0.001, 0.002, 0.004, 0.008])
CHAINS_OF_SGLD = 1024
PARTICLES = (128, 256, 512, 1024)
RUNS = 400
NODES = (9, 17, 33, 65)
FIRST_BETA = 1e-4
ERRORS = 4.0
GROUPS = ("sgld", "smc", "ladder")
COLUMNS = ("error", "against", "problem", "expected order", "measured order", "what was seen")
TEXT = f"""## Rates

Slopes of log error on log size with the oracle's answer as truth, ± one standard error of the
slope; each must lie within {ERRORS:g} of them of what is expected. *SGLD*: bias of E_w[nL_n] of
{CHAINS_OF_SGLD} chains with full gradients. *SMC*: variance of log Z of {RUNS} runs of n = 100; Z
itself has the mean that the oracle says. *Ladder*: thermodynamic integration over a geometric
ladder from β = {FIRST_BETA:g} with the oracle's own means and variances, so that nothing but the
rule is seen; the error of the slope is what the fit leaves over.
"""


def one_data_set(name: str, n: int):
    """The problem's target, its statistics in float32 and in float64, and the oracle."""
    problem = named_problems()[name]
    statistics = statistics_along_n(problem, jax.random.key(2), 1, (n,))[0]
    first = jax.tree.map(lambda leaf: leaf[0], statistics)
    return (
        target_of(problem.model),
        in_precision(first, jnp.float32),
        statistics,
        oracle_for(problem),
    )


def fitted_slope(size: np.ndarray, value: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Weighted least squares of log value on log size, with the error that ``error`` gives it."""
    x, y, weight = np.log(size), np.log(value), (value / error) ** 2
    centred = x - np.average(x, weights=weight)
    information = np.sum(weight * centred**2)
    return float(np.sum(weight * centred * y) / information), float(information**-0.5)


def test_bias_of_sgld_is_of_the_order_of_the_step(record):
    name = "linear_3"
    target, data, statistics, oracle = one_data_set(name, 30)
    exact = float(oracle.moments(statistics).excess_energy.value[0])
    settings = SGLDSettings(num_warmup=4000, num_draws=400, thinning=100, with_prior=True)
    run = jax.jit(sgld, static_argnums=(0, 1))
    starts = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(3), CHAINS_OF_SGLD))
    means = [
        mean_over_chains(
            run(
                target, settings, jax.random.key(4), data, 1.0, 0.0, jnp.zeros(3), step, starts
            ).energies
        )
        for step in STEPS
    ]
    bias = np.array([float(mean.value) for mean in means]) - exact
    error = np.array([float(mean.standard_error) for mean in means])
    slope, slope_error = fitted_slope(STEPS, bias, error)
    seen = "bias " + ", ".join(f"{b:.4f} ± {e:.4f}" for b, e in zip(bias, error, strict=True))
    row = ["SGLD's bias", "step", name, "1", f"{slope:.3f} ± {slope_error:.3f}", seen]
    record("rates", TEXT, COLUMNS, GROUPS, "sgld", [row])
    assert slope_error < 0.1
    assert abs(slope - 1) < ERRORS * slope_error


def test_variance_of_log_evidence_falls_with_the_particles(record):
    name = "monomial_1_1"
    target, data, statistics, oracle = one_data_set(name, 100)
    exact = float(oracle.moments(statistics).normalised_free_energy.value[0])
    variances, deviations = [], []
    for particles in PARTICLES:
        settings = SMCSettings(num_chains=particles // 16, chain_length=16)
        run = jax.jit(tempered_smc, static_argnums=(0, 1))
        keys = jax.random.split(jax.random.key(5), RUNS)
        found = run(target, settings, keys, data, jnp.ones(1), jnp.asarray(0.4))
        log_evidence = np.asarray(found.log_evidence, float)
        variances.append(log_evidence.var(ddof=1))
        estimate = free_energy_from_evidence(log_evidence)
        deviations.append((float(estimate.value) - exact) / float(estimate.standard_error))
    variance = np.array(variances)
    # The relative variance of a variance is (2 + excess kurtosis)/runs: here near 2.
    slope, error = fitted_slope(np.array(PARTICLES), variance, variance * np.sqrt(2 / (RUNS - 1)))
    seen = "variance " + ", ".join(f"{v:.4f}" for v in variance)
    seen += "; (F − exact)/s.e. " + ", ".join(f"{d:+.1f}" for d in deviations)
    row = ["variance of log Z", "particles", name, "−1", f"{slope:.3f} ± {error:.3f}", seen]
    record("rates", TEXT, COLUMNS, GROUPS, "smc", [row])
    assert error < 0.1
    assert abs(slope + 1) < ERRORS * error
    assert np.abs(deviations).max() < 5


def test_error_of_integration_falls_with_the_fourth_power_of_the_ladder(record):
    rows = []
    for name in ("linear_3", "monomial_1_1"):
        _, _, statistics, oracle = one_data_set(name, 100)
        exact = oracle.moments(statistics).normalised_free_energy.value[0]
        first = -oracle.moments(statistics, FIRST_BETA).normalised_free_energy.value[0]
        errors = []
        for count in NODES:
            beta = np.geomspace(FIRST_BETA, 1, count)
            moments = [oracle.moments(statistics, float(b)) for b in beta]
            mean = np.array([m.excess_energy.value[0] for m in moments])
            variance = np.array([m.energy_variance.value[0] for m in moments])
            errors.append(abs(float(integrate_path(beta, mean, variance, first)) - exact))
        panels = np.array(NODES) - 1
        fit, residuals = np.polyfit(np.log(panels), np.log(errors), 1, full=True)[:2]
        spread = np.sum((np.log(panels) - np.log(panels).mean()) ** 2)
        error = float(np.sqrt(residuals[0] / (len(NODES) - 2) / spread))
        seen = "error " + ", ".join(f"{e:.1e}" for e in errors) + " nats"
        measured = f"{fit[0]:.2f} ± {error:.2f}"
        rows.append(["ladder integration", "panels", name, "−4", measured, seen])
        assert abs(fit[0] + 4) < max(ERRORS * error, 0.3)
    record("rates", TEXT, COLUMNS, GROUPS, "ladder", rows)
