"""Populations of SMC: how far their chains go, their weights, and the next temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.curves.jobs import target_of
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.samplers import waste_free
from slt_jax.samplers.smc import SMCSettings
from slt_jax.samplers.waste_free import next_beta

PROBLEM = named_problems()["linear_3"]
N = 100
KEY = jax.random.key(6)


def test_chains_keep_every_third_state() -> None:
    """Three moves between states: the first sweep is that of single moves, and every third of it
    is kept."""
    target = target_of(PROBLEM.model)
    statistics = jax.tree.map(
        lambda leaf: jnp.float32(leaf[0]), statistics_along_n(PROBLEM, KEY, 1, [N])[0]
    )
    ancestors = jax.random.normal(KEY, (SMCSettings().num_chains, 3))
    visit = jax.jit(waste_free.run_chains, static_argnums=(0, 1))

    def states(moves: int) -> np.ndarray:
        here = waste_free.Temperature(
            jnp.float32(0.1), jnp.float32(0.3), jnp.ones(3), jnp.array(moves)
        )
        population, acceptance = visit(target, SMCSettings(), KEY, ancestors, statistics, here)
        assert 0 < acceptance <= 1
        return np.asarray(population.positions)

    single, triple = states(1), states(3)
    np.testing.assert_array_equal(triple[:6], single[::3])
    assert not np.any(np.all(triple[1:] == triple[:-1], axis=(1, 2)))


@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_variance_of_weights_counts_chains_not_states() -> None:
    """64 chains of 16 states: independent ones are worth 1024, constant ones 64, equal ones all."""
    weights = np.exp(np.random.default_rng(0).normal(size=(16, 64)))
    constant = np.tile(weights[:1], (16, 1))
    variance, factor = map(float, waste_free.weight_variance(jnp.asarray(weights)))
    assert factor == pytest.approx(1, abs=1)  # within 5 of its standard errors
    assert variance == pytest.approx(factor * weights.var() / weights.mean() ** 2 / 1024, rel=1e-4)
    variance, factor = map(float, waste_free.weight_variance(jnp.asarray(constant)))
    assert factor == pytest.approx(16, rel=1e-4)
    assert variance == pytest.approx(weights[0].var() / weights[0].mean() ** 2 / 64, rel=1e-4)
    assert tuple(waste_free.weight_variance(jnp.ones((16, 64)))) == (0, 1)


@pytest.mark.parametrize(
    ("dependence", "variance", "moves"),
    [(4.0, 0.01, 2), (4.0, 0.1, 4), (1.0, 10.0, 2), (1.5, 10.0, 4), (16.0, 0.0, 2)],
)
def test_moves_are_added_where_the_path_is_long_and_states_depend(
    dependence: float, variance: float, moves: int
) -> None:
    num_moves = waste_free.enough_moves(
        SMCSettings(), jnp.array(3), jnp.float32(dependence), jnp.float32(variance)
    )
    assert num_moves == moves


# --- the next temperature -------------------------------------------------------------------

next_beta_compiled = jax.jit(next_beta)
CHI_SQUARE = np.random.default_rng(0).chisquare(3, 512)


def next_of(
    log_likelihoods: np.ndarray, fraction: float = 0.5, beta: float = 0.0, ceiling: float = 1.0
) -> float:
    return float(
        next_beta_compiled(
            jnp.float32(beta), jnp.float32(ceiling), jnp.float32(log_likelihoods), fraction
        )
    )


def share_of_ess(increment: float, log_likelihoods: np.ndarray) -> float:
    centred = np.float64(np.float32(log_likelihoods))
    weights = np.exp(increment * (centred - centred.max()))
    return weights.sum() ** 2 / np.sum(weights**2) / len(weights)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("scale", [1e1, 1e3, 1e6, 1e9])
def test_next_beta_spends_the_whole_share(scale: float, fraction: float) -> None:
    """At n = 10⁶ prior draws differ by 10⁶ nats; 10⁹ is far beyond. Single precision: 1e-3."""
    beta = next_of(-scale * CHI_SQUARE, fraction)
    assert 0 < beta < 1
    assert share_of_ess(beta, -scale * CHI_SQUARE) == pytest.approx(fraction, abs=1e-3)


def test_next_beta_starts_from_any_beta() -> None:
    beta = next_of(-1e3 * CHI_SQUARE, beta=0.25)
    increment = next_of(-1e3 * CHI_SQUARE)
    # One unit in the last place of 0.25 is 3e-8.
    assert beta - 0.25 == pytest.approx(increment, abs=6e-8)


@pytest.mark.parametrize("ceiling", [0.2, 1.0])
def test_next_beta_reaches_a_ceiling_that_costs_less(ceiling: float) -> None:
    assert next_of(-0.1 * CHI_SQUARE, ceiling=ceiling) == np.float32(ceiling)
    assert next_of(np.full(512, -3e8), ceiling=ceiling) == np.float32(ceiling)


def test_next_beta_is_monotone() -> None:
    by_fraction = [next_of(-50 * CHI_SQUARE, f) for f in (0.2, 0.4, 0.6, 0.8)]
    assert np.all(np.diff(by_fraction) < 0)
    by_scale = [next_of(-s * CHI_SQUARE) for s in (5.0, 10.0, 100.0, 1e4)]
    assert np.all(np.diff(by_scale) < 0)


def test_next_beta_does_not_depend_on_the_level_of_energy() -> None:
    coarse = np.round(CHI_SQUARE)
    assert next_of(-8 * coarse) == next_of(-8 * coarse + 2**20)


def test_next_beta_moves_when_one_particle_is_far_ahead() -> None:
    log_likelihoods = np.full(512, -1e6)
    log_likelihoods[7] = 0.0
    beta = next_of(log_likelihoods)
    assert 0 < beta < 1e-4
    assert share_of_ess(beta, log_likelihoods) >= 0.5 - 1e-3
