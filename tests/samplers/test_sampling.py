"""One call for all samplers, on a regular model: each against the closed form.

Each comparison asks first for 200 effective draws and then for agreement within K = 5.5
standard errors. The bias of SGLD's step is part of its error. SMC runs in float64, as ``test_smc``
has it in float32.
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
from slt_jax.estimators import mean_over_chains
from slt_jax.estimators.diagnostics import Thresholds, judge, mean_and_standard_error
from slt_jax.models import named_problems
from slt_jax.oracles.oracle import oracle_for
from slt_jax.run.compilation import CompilationCounter, jit_at_first_call
from slt_jax.samplers import hmc
from slt_jax.samplers.chees import ChEESSettings
from slt_jax.samplers.mala import MALASettings, mala
from slt_jax.samplers.microcanonical import MicrocanonicalSettings
from slt_jax.samplers.nuts import NUTSSettings
from slt_jax.samplers.sampling import Draws, SamplerSettings, Start, draw_posterior
from slt_jax.samplers.sgld import SGLDSettings
from slt_jax.samplers.smc import SMCSettings
from slt_jax.samplers.target import Target
from slt_jax.samplers.tempering import ParallelTemperingSettings

K = 5.5
N = 30
BETAS = [1 / math.log(N), 1.0]
CHAINS = 32
SAMPLERS = [
    pytest.param(SMCSettings(num_chains=CHAINS, chain_length=32), marks=pytest.mark.slow),
    MALASettings(num_warmup=300, num_draws=50),
    SGLDSettings(num_warmup=2000, num_draws=50, thinning=100),
    pytest.param(ParallelTemperingSettings(num_temperatures=6), marks=pytest.mark.slow),
    pytest.param(ChEESSettings(num_warmup=200, num_draws=50), marks=pytest.mark.slow),
    pytest.param(MicrocanonicalSettings(num_warmup=200, num_draws=50), marks=pytest.mark.slow),
    pytest.param(NUTSSettings(num_warmup=300, num_draws=100), marks=pytest.mark.slow),
]

sample = jit_at_first_call(draw_posterior, static_argnums=(0, 1))


@functools.cache
def start() -> tuple:
    problem = named_problems()["linear_3"]
    target = target_of(problem.model)
    statistics = statistics_along_n(problem, jax.random.key(3), 1, (N,))[0]
    data = in_precision(jax.tree.map(lambda leaf: leaf[0], statistics), jnp.float32)
    starts = jax.vmap(target.sample_prior)(jax.random.split(jax.random.key(4), CHAINS))
    oracle = oracle_for(problem)
    exact = [oracle.moments(statistics, beta).excess_energy.value[0] for beta in BETAS]
    return target, data, starts, exact


@pytest.mark.parametrize("settings", SAMPLERS, ids=lambda s: type(s).__name__)
@pytest.mark.false_alarm(comparisons=2, standard_errors=K)
def test_all_samplers_agree_with_the_closed_form(settings: SamplerSettings) -> None:
    target, data, starts, exact = start()
    key = jax.random.key(5)
    dtype = np.dtype(np.float64 if isinstance(settings, SMCSettings) else np.float32)
    with jax.enable_x64(dtype == np.float64):
        data, starts = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (data, starts))
        draws: Draws = sample(target, settings, key, data, jnp.array(BETAS), starts)
        draws = jax.tree.map(np.asarray, draws)
    assert draws.energies.dtype == draws.positions.dtype == dtype
    chex.assert_shape([draws.energies, draws.positions], [(2, CHAINS, None), (2, CHAINS, 3)])
    chex.assert_shape([draws.acceptance, draws.num_divergent], (2, CHAINS))
    assert np.sum(draws.num_divergent) == 0
    assert (draws.evidence is not None) == isinstance(settings, SMCSettings)
    if draws.evidence is not None:
        assert np.isfinite(draws.evidence.log_evidence)
        at_the_end = draws.evidence.mean_energy[draws.evidence.num_temperatures - 1]
        np.testing.assert_allclose(at_the_end, np.mean(draws.energies[-1]))
    for i, value in enumerate(exact):
        error = mean_and_standard_error(draws.energies[i])[1]
        assert np.var(draws.energies[i]) / error**2 > 200
        coarse = None if draws.coarse_energies is None else draws.coarse_energies[i]
        estimate = mean_over_chains(draws.energies[i], coarse=coarse)
        assert estimate.standard_error < 4 * error
        assert abs(estimate.value - value) < K * estimate.standard_error


def test_runs_of_several_keys_are_those_of_each_key() -> None:
    """As far as rounding goes: a batch of runs is another program, and few steps are compared."""
    target, data, starts, _ = start()
    settings = MALASettings(num_warmup=4, num_draws=3, thinning=2)
    keys, betas = jax.random.split(jax.random.key(5)), jnp.array(BETAS)
    run = jax.jit(settings.run, static_argnums=0)
    draws = run(target, keys, data, betas, Start(jnp.stack([starts, 2 * starts])))
    assert draws.energies.shape == (2, 2, CHAINS, 3)
    for i, first in enumerate((starts, 2 * starts)):
        alone = sample(target, settings, keys[i], data, betas, first)
        np.testing.assert_allclose(draws.energies[i], alone.energies, rtol=1e-3)


@pytest.mark.false_alarm(comparisons=2, standard_errors=K)
def test_the_default_step_of_sgld_knows_the_units() -> None:
    """Parameters in other units, and ten thousand times the data: an energy of 3/2 all the same.

    Chains start from the prior, up to a thousand standard deviations away. The absolute step that
    one of them needs is too long by far for the other.
    """
    unit = 1e-3
    target = Target(
        lambda key: unit * jax.random.normal(key, (3,)),
        lambda w: -jnp.sum((w / unit) ** 2) / 2,
        lambda w, n: -n * jnp.sum((w / unit) ** 2) / 2,
    )
    starts = unit * jax.random.normal(jax.random.key(8), (CHAINS, 3))
    for n in (100.0, 1e6):
        draws = sample(
            target, SGLDSettings(), jax.random.key(9), jnp.asarray(n), jnp.ones(1), starts
        )
        estimate = mean_over_chains(draws.energies[0], coarse=draws.coarse_energies[0])
        assert estimate.standard_error < 0.2
        assert abs(estimate.value - 1.5 * n / (n + 1)) < K * estimate.standard_error
        assert abs(float(jnp.mean(draws.acceptance)) - 0.995) < 0.003


def test_mala_is_the_same_in_other_units() -> None:
    """Parameters 2²⁰ times as small, three scales among them: the same chains but for rounding."""
    sizes = np.array([1.0, 0.1, 0.01])
    settings, energies = MALASettings(num_warmup=64, num_draws=5, thinning=2), []
    for unit in (1.0, 2.0**-20):
        target = Target(
            lambda key: jax.random.normal(key, (3,)),
            lambda w: jnp.zeros(()),
            lambda w, widths: -jnp.sum((w / widths) ** 2) / 2,
        )
        widths = jnp.asarray(unit * sizes, jnp.float32)
        starts = widths * jax.random.normal(jax.random.key(1), (CHAINS, 3))
        run = sample(target, settings, jax.random.key(2), widths, jnp.ones(1), starts)
        energies.append(run.energies)
    np.testing.assert_allclose(*energies, rtol=1e-4, atol=1e-4)


@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_a_step_of_sgld_that_is_too_long_is_marked() -> None:
    """Six times the default: MALA would accept most steps, and energies are too large."""
    target, data, starts, exact = start()
    settings, betas = SGLDSettings(), jnp.ones(1)

    def run(step: float) -> Draws:
        return sample(target, settings, jax.random.key(5), data, betas, starts, step)

    run(1.0)
    with CompilationCounter() as counter:
        draws = run(6.0)
    assert not counter.counts
    limits = Thresholds(max_r_hat=1.05)
    one, other = draws.energies[0], draws.coarse_energies[0]
    assert judge(one, draws.acceptance[0], draws.num_divergent[0], limits).converged
    verdict = judge(one, draws.acceptance[0], draws.num_divergent[0], limits, other)
    assert "twice the step changes the mean" in verdict.reason
    alone, estimate = mean_over_chains(one), mean_over_chains(one, coarse=other)
    assert abs(alone.value - exact[1]) > K * alone.standard_error
    assert abs(estimate.value - exact[1]) < K * estimate.standard_error


@pytest.mark.parametrize(
    "settings",
    [
        MALASettings(num_warmup=10, num_draws=5),
        SGLDSettings(num_warmup=10, num_draws=5),
        pytest.param(
            ParallelTemperingSettings(num_rounds=1, round_length=2, num_draws=5),
            marks=pytest.mark.slow,
        ),
        pytest.param(ChEESSettings(num_warmup=10, num_draws=5), marks=pytest.mark.slow),
        pytest.param(MicrocanonicalSettings(num_warmup=10, num_draws=5), marks=pytest.mark.slow),
        pytest.param(NUTSSettings(num_warmup=10, num_draws=5), marks=pytest.mark.slow),
    ],
    ids=lambda s: type(s).__name__,
)
def test_divergences_are_counted_by_draw(settings: SamplerSettings) -> None:
    """Chains that start where the density is NaN: every draw, however many moves lead to it."""
    target = Target(
        lambda key: jax.random.normal(key, (2,)),
        lambda w: -jnp.sum(w**2) / 2,
        lambda w, n: jnp.nan * jnp.sum(w),
    )
    starts = jnp.zeros((4, 2))
    draws = sample(target, settings, jax.random.key(0), jnp.asarray(1.0), jnp.ones(1), starts)
    np.testing.assert_array_equal(draws.num_divergent[0], 5)


def test_mala_tunes_its_acceptance() -> None:
    target, data, starts, _ = start()
    settings = MALASettings(num_warmup=300, num_draws=50)
    result = jit_at_first_call(mala, static_argnums=(0, 1))(
        target, settings, jax.random.key(6), data, 1.0, starts
    )
    assert abs(float(jnp.mean(result.acceptance)) - settings.target_acceptance) < 0.1


def ridge(w: jax.Array, n: jax.Array) -> jax.Array:
    """Nothing but the ridge w₁w₂ = 0, narrow where |w| is large."""
    return -n / 2 * (w[0] * w[1]) ** 2


def two_normals(key: jax.Array) -> jax.Array:
    return jax.random.normal(key, (2,))


@pytest.mark.parametrize("short_moves", [0.0, hmc.SHORT_MOVES])
def test_chains_leave_where_the_posterior_is_narrow(
    monkeypatch: pytest.MonkeyPatch, short_moves: float
) -> None:
    """Starts from the prior: without steps that are shorter by chance a third never moves."""
    monkeypatch.setattr(hmc, "SHORT_MOVES", short_moves)
    target = Target(two_normals, lambda w: -jnp.sum(w**2) / 2, ridge)
    settings = MALASettings(num_warmup=300, num_draws=40)
    starts = jax.random.normal(jax.random.key(4), (CHAINS, 2))
    result = jit_at_first_call(mala, static_argnums=(0, 1))(
        target, settings, jax.random.key(7), jnp.asarray(1000.0), 1.0, starts
    )
    stuck = int(np.sum(np.ptp(np.asarray(result.energies), axis=1) == 0))
    assert stuck == 0 if short_moves else stuck > CHAINS / 5


@pytest.mark.parametrize(
    ("changes", "shape", "words"),
    [
        ({}, (1, 3), r"initial_positions has shape \(1, 3\)"),
        ({"thinning": 0}, (4, 3), "thinning = 0: must be an integer ≥ 1"),
        ({"target_acceptance": 1.0}, (4, 3), "target_acceptance = 1.0: must be"),
        ({"initial_step_size": 0.0}, (4, 3), "initial_step_size = 0.0: must be"),
    ],
)
def test_mala_refuses(changes: dict, shape: tuple, words: str) -> None:
    target, data, _, _ = start()
    settings = MALASettings()._replace(**changes)
    with pytest.raises(ValueError, match=words):
        mala(target, settings, jax.random.key(0), data, 1.0, jnp.zeros(shape))


def test_refusals() -> None:
    target, data, starts, _ = start()
    with pytest.raises(ValueError, match=r"betas has shape \(\)"):
        draw_posterior(target, SMCSettings(), jax.random.key(0), data, jnp.array(1.0), starts)
