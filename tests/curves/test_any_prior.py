"""Every sampler draws from the posterior under any prior; quadrature by brute force says so."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from slt_jax.curves.jobs import (
    batch_keys,
    in_precision,
    ravelled,
    sampled_jobs,
    target_of,
    unravelled,
)
from slt_jax.curves.simulated_ranks import simulated_ranks
from slt_jax.data import simulate, statistics_of
from slt_jax.estimators import mean_over_chains
from slt_jax.estimators.diagnostics import mean_and_standard_error
from slt_jax.model import Regression
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.chees import ChEESSettings
from slt_jax.samplers.mala import MALASettings
from slt_jax.samplers.mode import posterior_mode
from slt_jax.samplers.nuts import NUTSSettings
from slt_jax.samplers.sampling import SamplerSettings, draw_posterior
from slt_jax.samplers.sgld import SGLDSettings
from slt_jax.samplers.smc import SMCSettings
from slt_jax.samplers.tempering import ParallelTemperingSettings
from slt_jax.statistics import Statistics

N, CHAINS, K = 30, 64, 5.5
BETAS = (0.3, 1.0)
SAMPLERS = [
    NUTSSettings(num_warmup=300, num_draws=100),
    SGLDSettings(num_warmup=2000, num_draws=50, thinning=100),
    SMCSettings(num_chains=128, max_temperatures=60),
    pytest.param(MALASettings(num_warmup=500, num_draws=100), marks=pytest.mark.slow),
    pytest.param(ParallelTemperingSettings(num_temperatures=6), marks=pytest.mark.slow),
    pytest.param(ChEESSettings(num_warmup=200, num_draws=50), marks=pytest.mark.slow),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product(Regression):
    """y = a·b·x + noise, a ~ U[−1, 1] and b half-normal, of a scale that a declares."""

    def priors(self):
        return {"a": dist.Uniform(-1.0, 1.0), "b": lambda params: dist.HalfNormal(2 + params["a"])}

    def sample_input(self, key):
        return jax.random.normal(key, (1,))

    def predict(self, params, x):
        return params["a"] * params["b"] * x


PROBLEM = Problem("product", Product(), {"a": np.array(0.9), "b": np.array(0.5)})
sample = jit_at_first_call(draw_posterior, static_argnums=(0, 1))


@functools.cache
def statistics() -> Statistics:
    return statistics_of(PROBLEM, simulate(PROBLEM, jax.random.key(3), N))


@functools.cache
def grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Midpoints in a and b of the box [−1, 1] × [0, 30], with log prior and energy of each.

    The prior is written out, without a map to real coordinates.
    """
    a = np.linspace(-1, 1, 1001)[:-1] + 1e-3
    b = 30 * (np.arange(3000) + 0.5) / 3000
    log_prior = -np.log(2) + np.log(2 / (2 + a)) - 0.5 * np.log(2 * np.pi)
    log_prior = log_prior[:, None] - 0.5 * (b / (2 + a)[:, None]) ** 2
    x, y = (np.asarray(part)[:, 0] for part in statistics().data)
    slopes = np.outer(a, b)
    energy = 0.5 * (x @ x) * (slopes**2 - 0.45**2) - (x @ y) * (slopes - 0.45)
    return a, log_prior + np.log(2e-3 * 1e-2), energy


def exact(beta: float) -> tuple[float, float, float]:
    """F_n(β) − βnL_n(w₀), E_β[nL_n] − nL_n(w₀) and E_β[a]."""
    a, log_mass, energy = grid()
    terms = np.exp(log_mass - beta * energy)
    total = terms.sum()
    return -np.log(total), np.sum(terms * energy) / total, np.sum(terms.sum(axis=1) * a) / total


def starts(chains: int) -> jax.Array:
    keys = jax.random.split(jax.random.key(4), chains)
    return jax.vmap(target_of(PROBLEM.model).sample_prior)(keys)


@pytest.mark.parametrize("settings", SAMPLERS, ids=lambda s: type(s).__name__)
@pytest.mark.false_alarm(comparisons=4, standard_errors=K)
def test_samplers_agree_with_quadrature(settings: SamplerSettings) -> None:
    """Energies at two β; chains left the box, or diverged at its walls, where u was a itself."""
    data = in_precision(statistics(), jnp.float32)
    target, key = target_of(PROBLEM.model), jax.random.key(5)
    draws = jax.tree.map(
        np.asarray, sample(target, settings, key, data, jnp.array(BETAS), starts(CHAINS))
    )
    assert np.sum(draws.num_divergent) <= 2e-3 * draws.energies.size
    for i, beta in enumerate(BETAS):
        error = mean_and_standard_error(draws.energies[i])[1]
        assert np.var(draws.energies[i]) / error**2 > 200
        coarse = None if draws.coarse_energies is None else draws.coarse_energies[i]
        estimate = mean_over_chains(draws.energies[i], coarse=coarse)
        assert estimate.standard_error < 4 * error
        assert abs(estimate.value - exact(beta)[1]) < K * estimate.standard_error
        params = jax.vmap(lambda w: unravelled(PROBLEM.model, w))(draws.positions[i])
        a, b = (np.asarray(params[name], float) for name in ("a", "b"))
        assert np.all((np.abs(a) < 1) & (b > 0))
        # Chains are independent, and where each ended is one draw of it.
        spread = np.std(a, ddof=1) / np.sqrt(len(a))
        assert abs(np.mean(a) - exact(beta)[2]) < 7 * spread


@pytest.mark.false_alarm(comparisons=2, standard_errors=K)
def test_free_energy_agrees_with_quadrature() -> None:
    """By the evidence of 4 runs and by integration; the mode is no worse than the optimum."""
    every = jax.tree.map(lambda leaf: np.asarray(leaf)[None], statistics())
    keys = batch_keys(jax.random.key(6), N, 1, 4)
    found = sampled_jobs(PROBLEM, N, every, keys, SMCSettings(max_temperatures=60), 0.4)
    assert bool(found["converged"][0]), str(found["reason"].values)
    for name in ("normalised_free_energy", "normalised_free_energy_ti"):
        value, error = float(found[name][0]), float(found[f"{name}_se"][0])
        assert error < 0.1
        assert abs(value - exact(1.0)[0]) < K * error


def test_the_mode_is_that_of_real_coordinates() -> None:
    target, data = target_of(PROBLEM.model), in_precision(statistics(), jnp.float32)
    first = ravelled(PROBLEM.model, jax.tree.map(jnp.asarray, PROBLEM.optimum))
    mode = jax.jit(posterior_mode, static_argnums=0)(target, data, first)
    slope = jax.grad(lambda w: target.log_prior(w) + target.log_likelihood(w, data))(mode)
    np.testing.assert_allclose(slope, 0.0, atol=0.05)


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=4, probability=1e-6)
def test_ranks_of_truths_are_uniform() -> None:
    settings = NUTSSettings(num_warmup=200, num_draws=20)
    ranks = simulated_ranks(PROBLEM, settings, jax.random.key(7), 128, N, 15)
    assert all(each.p_value > 1e-6 for each in ranks.uniformity.values())
