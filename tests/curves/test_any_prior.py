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
from slt_jax.samplers.microcanonical import MicrocanonicalSettings
from slt_jax.samplers.mode import posterior_mode
from slt_jax.samplers.nuts import NUTSSettings
from slt_jax.samplers.sampling import SamplerSettings, draw_posterior
from slt_jax.samplers.sgld import SGLDSettings
from slt_jax.samplers.smc import SMCSettings
from slt_jax.samplers.tempering import ParallelTemperingSettings
from slt_jax.statistics import Statistics

N, CHAINS, K = 30, 64, 5.5
BETAS = (0.3, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product(Regression):
    """y = a·b·x + noise, a ~ U[−1, 1], and b too or half-normal of a scale that depends on a."""

    dependent: bool = False

    def priors(self):
        a = dist.Uniform(-1.0, 1.0)
        return {"a": a, "b": (lambda p: dist.HalfNormal(2 + p["a"])) if self.dependent else a}

    def sample_input(self, key):
        return jax.random.normal(key, (1,))

    def predict(self, params, x):
        return params["a"] * params["b"] * x


BOX, DEPENDENT = (
    Problem("product", Product(dependent=each), {"a": np.array(0.9), "b": np.array(0.5)})
    for each in (False, True)
)
NUTS, SMC = NUTSSettings(num_warmup=300, num_draws=100), SMCSettings(num_chains=128)
CASES = [
    pytest.param(BOX, MALASettings(num_warmup=500, num_draws=100), marks=pytest.mark.slow),
    pytest.param(BOX, NUTS, marks=pytest.mark.slow),
    pytest.param(
        BOX,
        SGLDSettings(num_warmup=2000, num_draws=100, thinning=100),
        marks=pytest.mark.slow,
    ),
    pytest.param(BOX, SMC, marks=pytest.mark.slow),
    pytest.param(DEPENDENT, NUTS, marks=pytest.mark.slow),
    pytest.param(DEPENDENT, SMC, marks=pytest.mark.slow),
    pytest.param(BOX, MicrocanonicalSettings(), marks=pytest.mark.slow),
    pytest.param(BOX, ParallelTemperingSettings(num_temperatures=6), marks=pytest.mark.slow),
    pytest.param(BOX, ChEESSettings(num_warmup=200, num_draws=50), marks=pytest.mark.slow),
]
sample = jit_at_first_call(draw_posterior, static_argnums=(0, 1))


@functools.cache
def statistics(problem: Problem) -> Statistics:
    return statistics_of(problem, simulate(problem, jax.random.key(3), N))


@functools.cache
def grid(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Midpoints in a, log mass of the prior of cells in a and b, and the energy of each.

    The prior is written out, without a map to real coordinates.
    """
    a = np.linspace(-1, 1, 1001)[:-1] + 1e-3
    b, log_b = a, np.full((1, len(a)), np.log(0.5))
    if problem is DEPENDENT:
        b = 30 * (np.arange(3000) + 0.5) / 3000
        scale = (2 + a)[:, None]
        log_b = np.log(2 / scale) - 0.5 * np.log(2 * np.pi) - 0.5 * (b / scale) ** 2
    x, y = (np.asarray(part)[:, 0] for part in statistics(problem).data)
    slopes = np.outer(a, b)
    energy = 0.5 * (x @ x) * (slopes**2 - 0.45**2) - (x @ y) * (slopes - 0.45)
    return a, np.log(0.5) + log_b + np.log(2e-3 * (b[1] - b[0])), energy


def exact(problem: Problem, beta: float) -> tuple[float, float, float]:
    """F_n(β) − βnL_n(w₀), E_β[nL_n] − nL_n(w₀) and E_β[a²]."""
    a, log_mass, energy = grid(problem)
    terms = np.exp(log_mass - beta * energy)
    total = terms.sum()
    square = np.sum(terms.sum(axis=1) * a**2) / total
    return -np.log(total), np.sum(terms * energy) / total, square


@pytest.mark.parametrize(("problem", "settings"), CASES, ids=lambda s: type(s).__name__)
@pytest.mark.false_alarm(comparisons=4, standard_errors=K)
def test_samplers_agree_with_quadrature(problem: Problem, settings: SamplerSettings) -> None:
    """Energies at two β, and a² where chains ended, which are independent but for SMC.

    In the box's own coordinates nine in ten moves of NUTS were lost at its walls, and SGLD left it.
    """
    data = in_precision(statistics(problem), jnp.float32)
    target, betas = target_of(problem.model), jnp.array(BETAS)
    starts = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(4), CHAINS))
    draws = sample(target, settings, jax.random.key(5), data, betas, starts)
    draws = jax.tree.map(np.asarray, draws)
    assert np.sum(draws.num_divergent) <= 5e-3 * draws.energies.size
    for i, beta in enumerate(BETAS):
        _, energy, square = exact(problem, beta)
        error = mean_and_standard_error(draws.energies[i])[1]
        assert np.var(draws.energies[i]) / error**2 > 200
        coarse = None if draws.coarse_energies is None else draws.coarse_energies[i]
        estimate = mean_over_chains(draws.energies[i], coarse=coarse)
        assert estimate.standard_error < 4 * error
        assert abs(estimate.value - energy) < K * estimate.standard_error
        params = jax.vmap(functools.partial(unravelled, problem.model))(draws.positions[i])
        a, b = (np.asarray(params[name], float) for name in ("a", "b"))
        assert np.all((np.abs(a) <= 1) & (b >= -1))
        if draws.evidence is None:
            spread = np.std(a**2, ddof=1) / np.sqrt(len(a))
            assert abs(np.mean(a**2) - square) < K * spread


@pytest.mark.parametrize("problem", [BOX, pytest.param(DEPENDENT, marks=pytest.mark.slow)])
@pytest.mark.false_alarm(comparisons=2, standard_errors=K)
def test_free_energy_agrees_with_quadrature(problem: Problem) -> None:
    """By the evidence of 4 runs, and by integration along their paths."""
    every = jax.tree.map(lambda leaf: np.asarray(leaf)[None], statistics(problem))
    keys = batch_keys(jax.random.key(6), N, 1, 4)
    found = sampled_jobs(problem, N, every, keys, SMCSettings(), 0.4)
    assert bool(found["converged"][0]), str(found["reason"].values)
    for name in ("normalised_free_energy", "normalised_free_energy_ti"):
        value, error = float(found[name][0]), float(found[f"{name}_se"][0])
        assert error < 0.1
        assert abs(value - exact(problem, 1.0)[0]) < K * error


def test_the_mode_is_that_of_real_coordinates() -> None:
    target, data = target_of(BOX.model), in_precision(statistics(BOX), jnp.float32)
    first = ravelled(BOX.model, BOX.optimum)
    mode = jax.jit(posterior_mode, static_argnums=0)(target, data, first)
    slope = jax.grad(lambda w: target.log_prior(w) + target.log_likelihood(w, data))(mode)
    np.testing.assert_allclose(slope, 0.0, atol=0.05)


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=4, probability=1e-6)
def test_ranks_of_truths_are_uniform() -> None:
    settings = NUTSSettings(num_warmup=100, num_draws=10)
    ranks = simulated_ranks(DEPENDENT, settings, jax.random.key(7), 64, N, 15)
    assert all(each.p_value > 1e-6 for each in ranks.uniformity.values())
