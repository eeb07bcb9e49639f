"""Ladders and what joins them, on energies with a closed form: Γ(λ) at scale 1/b."""

import functools
from typing import Any

import jax
import numpy as np
import pytest

import slt_jax as slt
from slt_jax.curves import ladders, predictions
from slt_jax.estimators import Estimate, with_step_bias
from slt_jax.samplers.sampling import Draws

LAMBDA = 1.5
RUNGS = np.geomspace(0.05, 1.0, 7)
SEEDS, CHAINS, LENGTH = 4, 8, 64
K = 5.5


def energies(scale: Any, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(LAMBDA, scale, size=shape)


def prior_draws() -> np.ndarray:
    """Energies whose density at b is that of Γ(λ, 1/(1 + b)): Z(b) = (1 + b)^{−λ}."""
    return energies(1.0, (SEEDS * CHAINS, LENGTH), 0)


def draws(bias: float = 0.0, coarse_bias: float | None = None) -> Draws:
    """Draws at every rung, with energies too large by a factor where the step has a bias."""
    shape = (SEEDS, len(RUNGS), CHAINS, LENGTH)
    scale = 1 / (1 + RUNGS[:, None, None])
    coarse = None
    if coarse_bias is not None:
        coarse = (1 + coarse_bias) * energies(scale, shape, 2)
    values: Any = (1 + bias) * energies(scale, shape, 1)
    none: Any = np.zeros(shape[:-1])
    return Draws(values, none, none + 0.8, none, coarse)


@functools.cache
def joined() -> tuple[Estimate, list[str]]:
    return ladders._joined(draws(), RUNGS, 1.0, prior_draws())


@pytest.mark.false_alarm(comparisons=1, standard_errors=K)
def test_a_ladder_has_the_free_energy() -> None:
    estimate, wrong = joined()
    assert wrong == []
    assert 0 < estimate.standard_error < 0.05
    assert abs(estimate.value - LAMBDA * np.log(2)) < K * estimate.standard_error
    assert estimate.sources.discretisation is None


def test_the_bias_of_a_step_is_in_the_error() -> None:
    """A step that makes energies 5 % too large, and twice that step 10 %: both errors are seen."""
    estimate, _ = ladders._joined(draws(0.05, 0.1), RUNGS, 1.0, prior_draws())
    true_error = abs(float(estimate.value) - LAMBDA * np.log(2))
    assert estimate.sources.discretisation is not None
    assert true_error < 3 * float(estimate.sources.discretisation)
    assert estimate.standard_error > 1.3 * joined()[0].standard_error


def test_prior_energies_without_bound_do_not_matter() -> None:
    wild = prior_draws()
    wild[0, :5] = [np.inf, 1e30, 1e20, 1e9, 1e6]
    tame = prior_draws()
    tame[0, :5] = 1e4
    values = [ladders._joined(draws(), RUNGS, 1.0, p)[0].value for p in (wild, tame)]
    assert values[0] == pytest.approx(float(values[1]), abs=1e-6)


def test_rungs_far_apart_are_named() -> None:
    far = np.array([1e-4, 0.01, 1.0])
    values: Any = energies(1 / (1e-5 + far[:, None, None]), (SEEDS, 3, CHAINS, LENGTH), 1)
    none: Any = np.zeros((SEEDS, 3, CHAINS))
    few = Draws(values, none, none + 0.8, none)
    prior = energies(1e5, (SEEDS * CHAINS, LENGTH), 0)
    _, wrong = ladders._joined(few, far, 2.0, prior)
    assert any("the ladder has too few temperatures" in reason for reason in wrong)


def test_energies_that_are_not_finite_leave_no_free_energy() -> None:
    lost = draws()
    lost.energies[0, 0, 0, 0] = np.nan
    estimate, wrong = ladders._joined(lost, RUNGS, 1.0, prior_draws())
    assert np.isnan(estimate.value)
    assert "no free energy: 1 energies are not finite" in wrong[0]


def test_a_ladder_goes_from_the_prior_to_one() -> None:
    for scale, dimension in ((10.0, 1), (1e4, 3), (1e4, 40)):
        prior = energies(scale, (SEEDS * CHAINS, LENGTH), 0)
        rungs = ladders.ladder_of(prior, dimension, slt.NUTSSettings())
        assert rungs[-1] == 1
        assert len(rungs) % 4 == 3
        weights = np.exp(-rungs[0] * prior)
        assert weights.sum() ** 2 / np.sum(weights**2) > 0.45 * prior.size
        assert np.diff(np.log(rungs)).max() < min(0.71, 1.6 / dimension**0.5)
    assert len(ladders.ladder_of(prior, 40, slt.ParallelTemperingSettings())) == 13


def test_data_that_say_nothing_have_a_ladder() -> None:
    rungs = ladders.ladder_of(np.zeros((8, 64)), 1, slt.NUTSSettings())
    assert rungs[0] == ladders.HOTTEST
    assert rungs[-1] == 1


def test_runs_that_disagree_are_named() -> None:
    apart = draws()
    apart.energies[0, 2] += 5.0
    assert ladders.disagreements(draws(), RUNGS) == []
    (reason,) = ladders.disagreements(apart, RUNGS)
    assert reason.startswith(f"chains disagree at beta = {RUNGS[2]:.3g}: R-hat")


def test_groups_of_chains_that_never_left_their_starts_disagree() -> None:
    """Each run has chains from everywhere, so that the means of runs are the same."""
    stuck = draws()
    stuck.energies[:, -1] += 3.0 * np.arange(CHAINS)[:, None]
    (reason,) = ladders.disagreements(stuck, RUNGS)
    assert reason.startswith("R-hat")


def test_the_bias_of_a_step_and_its_noise_add_in_squares() -> None:
    fine = Estimate(np.array(1.0), np.array(0.3), 10.0)
    coarse = Estimate(np.array(1.4), np.array(0.4), 10.0)
    biased = with_step_bias(fine, coarse)
    assert float(biased.sources.discretisation) == pytest.approx((0.16 + 0.09 + 0.16) ** 0.5)
    assert float(biased.standard_error) == pytest.approx((0.09 + 0.41) ** 0.5)


def test_moments_of_draws_are_those_of_their_densities() -> None:
    problem = slt.named_problems()["linear_3"]
    data = slt.simulate(problem, jax.random.key(0), 6)
    positions = np.random.default_rng(0).normal(size=(2, 5, 3))
    moments = predictions.predictive_moments(problem, data, positions, beta=0.5)
    residuals = np.asarray(data.y)[:, 0] - positions @ np.asarray(data.x).T
    losses = -0.5 * (residuals**2 + np.log(2 * np.pi))
    np.testing.assert_allclose(moments.means[:, 0], losses.mean(axis=1), rtol=1e-12)
    left_out = np.log(np.mean(np.exp(-0.5 * losses), axis=1))
    np.testing.assert_allclose(moments.log_means[:, 0, 1], left_out, rtol=1e-12)
