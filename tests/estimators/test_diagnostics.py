"""Diagnostics against processes with known correlation, and against blackjax.

Random ones are compared within 5 or 6 standard errors; seeds are fixed.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from numpyro.diagnostics import split_gelman_rubin

from slt_jax import ChEESSettings, MALASettings, ParallelTemperingSettings
from slt_jax.estimators.diagnostics import (
    Thresholds,
    compare_starts,
    drift_p_value,
    effective_sample_size,
    judge,
    judge_draws,
    mean_and_standard_error,
    nested_r_hat,
    r_hat,
)
from slt_jax.samplers.sampling import Draws

CHAINS, DRAWS = 8, 1000


def autoregressive(rho: float, *shape: int, seed: int = 0) -> np.ndarray:
    """Stationary x_t = ρ x_{t−1} + √(1 − ρ²) ε_t along the second axis: ESS/S → (1 − ρ)/(1 + ρ)."""
    noise = np.random.default_rng(seed).normal(size=shape)
    draws = np.empty(shape)
    draws[:, 0] = noise[:, 0]
    for t in range(1, shape[1]):
        draws[:, t] = rho * draws[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return draws


def test_independent_draws_pass() -> None:
    draws = autoregressive(0.0, CHAINS, DRAWS)
    assert 0.999 < r_hat(draws) < 1.005
    assert 0.85 < effective_sample_size(draws) / draws.size < 1.15


@pytest.mark.parametrize("rho", [-0.5, 0.3, 0.6, 0.9])
@pytest.mark.false_alarm(comparisons=1, standard_errors=6, degrees_of_freedom=49)
def test_ess_of_an_autoregression(rho: float) -> None:
    ess = effective_sample_size(autoregressive(rho, 8, 2000, 50))
    expected = 16_000 * (1 - rho) / (1 + rho)
    error = np.std(ess, ddof=1) / np.sqrt(50)
    # Geyer's sequence stops where the correlations drown in noise: a bias of some per cent.
    assert abs(np.mean(ess) - expected) < 6 * error + 0.05 * expected
    assert error < 0.03 * expected


def test_ess_of_antithetic_draws_is_bounded() -> None:
    draws = np.tile([1.0, -1.0], (4, 50)) + autoregressive(0.0, 4, 100) * 1e-3
    assert effective_sample_size(draws) == pytest.approx(400 * np.log10(400))


def test_a_shifted_chain_is_seen() -> None:
    draws = autoregressive(0.0, CHAINS, DRAWS)
    draws[0] += 2
    assert r_hat(draws) > 1.1
    assert effective_sample_size(draws) < 200


def test_a_drift_within_chains_is_seen() -> None:
    draws = autoregressive(0.0, CHAINS, DRAWS) + np.linspace(0, 3, DRAWS)
    assert r_hat(draws) > 1.1


def test_a_wider_chain_is_seen_where_plain_r_hat_is_blind() -> None:
    draws = autoregressive(0.0, CHAINS, DRAWS)
    draws[0] *= 10
    assert split_gelman_rubin(draws) < 1.01
    assert r_hat(draws) > 1.05


def test_infinite_variance_does_not_hide_a_shift() -> None:
    draws = np.random.default_rng(0).standard_cauchy((CHAINS, DRAWS))
    assert r_hat(draws) < 1.01
    draws[0] += 3
    assert split_gelman_rubin(draws) < 1.01
    assert r_hat(draws) > 1.05


def test_agrees_with_blackjax() -> None:
    draws = np.stack([autoregressive(rho, 4, 200) for rho in (-0.3, 0.0, 0.5, 0.95)], axis=-1)
    draws[0, ..., 1] += 0.5
    with jax.enable_x64(True):
        from blackjax import diagnostics as blackjax_diagnostics

        theirs_r_hat = jax.jit(blackjax_diagnostics.rhat)(draws)
        ess = jax.jit(blackjax_diagnostics.effective_sample_size)
        theirs_ess = ess(draws.reshape(8, 100, 4))
    np.testing.assert_allclose(r_hat(draws), theirs_r_hat, rtol=1e-9)
    np.testing.assert_allclose(effective_sample_size(draws), theirs_ess, rtol=0.05)


def test_quantities_are_judged_one_by_one() -> None:
    draws = autoregressive(0.5, CHAINS, 101, 3, 2)
    for function in (r_hat, effective_sample_size):
        together = function(draws)
        assert together.shape == (3, 2)
        np.testing.assert_allclose(together[2, 1], function(draws[..., 2, 1]), rtol=1e-12)


def test_rank_statistics_ignore_monotone_changes_and_float32() -> None:
    draws = autoregressive(0.5, CHAINS, DRAWS).astype(np.float32)
    once = r_hat(draws)
    assert once.dtype == np.float64
    with jax.enable_x64(False):
        assert r_hat(jax.numpy.asarray(draws)) == once
    draws[0] += 2
    # The folded half sees the change of shape, the half that decides here does not.
    assert r_hat(draws**3) == pytest.approx(r_hat(draws), rel=1e-12)


@pytest.mark.false_alarm(comparisons=3, standard_errors=5)
def test_a_drift_of_chains_is_told_from_chance() -> None:
    """A share p of 400 settled ensembles has a p-value below p, within 5 standard errors.

    A drift of half a standard deviation is seen, however long the memory of chains.
    """
    draws = autoregressive(0.9, 16, 200, 400)
    p_values = drift_p_value(draws)
    for p in (0.5, 0.1, 0.01):
        assert abs(np.mean(p_values < p) - p) < 5 * np.sqrt(p * (1 - p) / 400)
    drifting = draws + np.linspace(0, 2, 200)[:, None]
    assert np.mean(drift_p_value(drifting) < 1e-3) > 0.99
    assert drift_p_value(np.full((4, 10), 0.1)) == 1
    assert np.isnan(drift_p_value(draws[:1, :, 0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_draws_that_are_not_finite(bad: float) -> None:
    draws = autoregressive(0.0, CHAINS, DRAWS, 2)
    draws[3, 7, 1] = bad
    for values in (
        r_hat(draws),
        drift_p_value(draws),
        effective_sample_size(draws),
        *mean_and_standard_error(draws),
    ):
        np.testing.assert_array_equal(np.isnan(values), [False, True])
    verdict = judge(draws)
    assert not verdict.converged
    assert all(words in verdict.reason for words in ("not finite", "R-hat nan", "ESS nan"))


# Their mean is not one of them by rounding, which must not look like a variance.
CONSTANT = np.full((CHAINS, 100), 0.1)


def test_one_constant_is_agreement_that_the_acceptance_must_confirm() -> None:
    """As of a likelihood that does not depend on w: R-hat is 1, the mean has no error."""
    assert r_hat(CONSTANT) == 1
    assert effective_sample_size(CONSTANT) == CONSTANT.size
    np.testing.assert_allclose(mean_and_standard_error(CONSTANT), (0.1, 0), rtol=1e-12)
    assert judge(CONSTANT, acceptance=0.8).converged
    stuck = judge(CONSTANT, acceptance=0.0)
    assert stuck.reason == "acceptance 0.000 is not in [0.5, 1]"
    # Without an acceptance nothing says that chains move, unless another quantity does.
    assert "no acceptance says that chains move" in judge(CONSTANT).reason
    moving = np.stack([CONSTANT, autoregressive(0.0, *CONSTANT.shape)], axis=-1)
    assert judge(moving).converged


@pytest.mark.parametrize("places", [[0.1, 0.1, 0.1, 0.2] * 2, [1.0, -1.0] * 4, np.arange(8.0)])
def test_chains_stuck_at_different_constants_do_not_agree(places: list[float]) -> None:
    """Also where all are as far from the median, which the folded half of R-hat compares."""
    draws = np.repeat(np.array(places)[:, None], 100, axis=1)
    assert r_hat(draws) == np.inf
    verdict = judge(draws, acceptance=0.8)
    assert not verdict.converged
    assert "8 of 8 chains never moved" in verdict.reason
    assert "R-hat inf" in verdict.reason


@pytest.mark.parametrize("shape", [(100,), (4, 3), (0, 10), ()])
@pytest.mark.parametrize(
    "function", [r_hat, drift_p_value, effective_sample_size, mean_and_standard_error, judge]
)
def test_refuses_too_few_draws(function: Callable[..., Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[chain, draw, \.\.\.\] with at least 4 draws"):
        function(np.zeros(shape))


@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_mean_and_standard_error_of_independent_draws() -> None:
    draws = 3 + 2 * autoregressive(0.0, CHAINS, DRAWS)
    mean, error = mean_and_standard_error(draws)
    assert error == pytest.approx(2 / np.sqrt(draws.size), rel=0.1)
    assert abs(mean - 3) < 5 * error


@pytest.mark.parametrize("rho", [0.0, 0.8])
@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_standard_error_covers(rho: float) -> None:
    """(mean − truth)/error has unit variance: 400 of them give a χ² within 5 of its deviations."""
    replicates = 400
    mean, error = mean_and_standard_error(autoregressive(rho, 4, 500, replicates))
    chi_squared = float(np.sum((mean / error) ** 2))
    # The error itself is known to some per cent only, which adds to the spread.
    assert abs(chi_squared - replicates) < 5 * np.sqrt(2 * replicates) * 1.2
    naive = np.sqrt(1 / 2000)
    if rho:
        assert float(np.sum((mean / naive) ** 2)) > 3 * replicates


GOOD = autoregressive(0.0, CHAINS, DRAWS)
STUCK = GOOD.copy()
STUCK[2] = STUCK[2, 0]


def test_judge_passes_what_is_good() -> None:
    verdict = judge(GOOD, acceptance=np.full(CHAINS, 0.8), num_divergent=np.zeros(CHAINS, int))
    assert verdict.converged
    assert verdict.reason == "converged"
    assert verdict.r_hat == r_hat(GOOD)
    assert verdict.ess == effective_sample_size(GOOD)
    assert verdict.acceptance == pytest.approx(0.8)
    assert verdict.divergences == 0
    assert [type(field) for field in verdict] == [float, float, int, float, bool, str]


def test_judge_takes_what_twice_the_step_leaves_as_it_is() -> None:
    assert judge(GOOD, coarse=GOOD[::-1]).converged


def test_judge_without_a_kernel_to_report() -> None:
    verdict = judge(GOOD)
    assert verdict.converged
    assert verdict.acceptance is None
    assert verdict.divergences is None


@pytest.mark.parametrize(
    ("draws", "arguments", "reason"),
    [
        (GOOD + np.arange(CHAINS)[:, None], {}, "R-hat"),
        (autoregressive(0.99, CHAINS, DRAWS), {}, "ESS"),
        (STUCK, {}, "1 of 8 chains never moved"),
        (GOOD, {"acceptance": 0.2}, "acceptance 0.200 is not in [0.5, 1]"),
        (GOOD, {"acceptance": [0.8] * 7 + [np.nan]}, "acceptance nan"),
        (GOOD, {"num_divergent": [0] * 7 + [241]}, "241 of 8000 draws diverged, more than 3.0%"),
        (GOOD, {"num_divergent": -1}, "-1 of 8000 draws diverged"),
        (GOOD, {"thresholds": Thresholds(min_ess=20_000)}, "is below 20000"),
        (GOOD, {"thresholds": Thresholds(max_r_hat=0.9)}, "is above 0.9"),
        (GOOD, {"coarse": GOOD + 0.1}, "twice the step changes the mean by 0.1: a bias"),
        (GOOD, {"coarse": GOOD * np.nan}, "twice the step changes the mean by nan: a bias"),
    ],
)
def test_judge_says_what_is_wrong(draws: np.ndarray, arguments: dict, reason: str) -> None:
    verdict = judge(draws, **arguments)
    assert not verdict.converged
    assert reason in verdict.reason
    assert verdict.reason.count(";") == 0 or draws is not GOOD


def test_many_chains_may_be_shorter_than_four() -> None:
    limits = Thresholds()
    assert [limits.r_hat_limit(chains) for chains in (1, 4, 10, 20, 1000)] == pytest.approx(
        [1.01, 1.01, 1.025, 1.05, 1.05]
    )
    assert Thresholds(max_r_hat=1.2).r_hat_limit(4) == 1.2
    slow = autoregressive(0.6, 64, 200)
    assert 1.01 < judge(slow).r_hat < 1.05
    assert judge(slow).converged
    assert not judge(slow, thresholds=Thresholds(max_r_hat=1.01)).converged


def test_some_divergences_are_rejections() -> None:
    """More of them where a sampler has moves that lead out again."""
    assert judge(GOOD, num_divergent=240).converged
    assert not judge(GOOD, num_divergent=1400).converged
    for settings in (MALASettings(), ChEESSettings(), ParallelTemperingSettings()):
        limits = Thresholds(max_divergent=settings.max_divergent)
        assert judge(GOOD, num_divergent=1400, thresholds=limits).converged


def test_populations_are_compared_as_wholes() -> None:
    """Chains of SMC are shorter than their autocorrelation, whether or not populations agree."""
    short = autoregressive(0.8, 256, 16)
    short[3] = short[3, 0]
    assert "R-hat" in judge(short).reason
    verdict = judge(short, num_runs=8)
    assert verdict.converged
    assert verdict.r_hat == nested_r_hat(short.reshape(8, 32, 16)) < 1.05
    apart = short + np.repeat(np.arange(8.0), 32)[:, None]
    assert judge(apart, num_runs=8).reason.startswith("nested R-hat")
    both = np.stack([short, apart], axis=-1)
    worst = judge(apart, num_runs=8).r_hat
    assert judge(both, num_runs=8).r_hat == pytest.approx(worst)
    resting = np.where(np.arange(256)[:, None] < 32, 0.0, short)
    assert "1 of 8 chains never moved" in judge(resting, num_runs=8).reason
    assert "not finite" in judge(short * np.nan, num_runs=8).reason


def test_all_that_draws_report_is_judged() -> None:
    """Biased draws cannot pass by what is left out, nor populations fail by their short chains."""
    none = np.zeros((8, 2, 32))
    energies = np.zeros((8, 2, 32, 16))
    energies[:, 1] = autoregressive(0.8, 256, 16).reshape(8, 32, 16)
    chains: Any = Draws(energies, none, none + 0.8, none)
    assert judge_draws(chains).reason.startswith("R-hat ")
    population = chains._replace(evidence=none)
    acceptance = np.full(256, 0.8)
    flat = energies[:, 1].reshape(256, 16)
    assert judge_draws(population) == judge(flat, acceptance, 0, num_runs=8)
    assert judge_draws(population).converged
    assert judge_draws(population, rung=0).r_hat == 1
    assert judge_draws(population, None, Thresholds(min_acceptance=0.9)).reason.startswith(
        "acceptance"
    )
    diverged = population._replace(num_divergent=none + 1)
    assert "256 of 4096 draws diverged" in judge_draws(diverged).reason
    assert judge_draws(diverged, MALASettings()).converged
    biased = population._replace(coarse_energies=energies + 1)
    assert "twice the step changes the mean by 1: a bias" in judge_draws(biased).reason
    for wrong in (chains._replace(energies=energies[0]), jax.tree.map(lambda a: a[:1], population)):
        with pytest.raises(ValueError, match="^draws"):
            judge_draws(wrong)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_runs": 1}, "num_runs = 1: must be an integer ≥ 2"),
        ({"num_runs": 3}, "num_runs = 3: must divide the 8 chains"),
        ({"thresholds": 0.5}, "thresholds = 0.5: must be Thresholds or None"),
        ({"acceptance": "a"}, "acceptance: array of type"),
    ],
)
def test_judge_refuses(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        judge(GOOD, **arguments)


def test_judge_takes_the_worst_quantity_and_names_all_faults() -> None:
    both = np.stack([GOOD, autoregressive(0.99, CHAINS, DRAWS)], axis=-1)
    verdict = judge(both, acceptance=0.1, num_divergent=8000)
    assert verdict.ess == effective_sample_size(both[..., 1])
    assert all(word in verdict.reason for word in ("R-hat", "ESS", "acceptance", "diverged"))


def test_thresholds_may_be_looser() -> None:
    slow = autoregressive(0.9, CHAINS, 400, seed=3)
    assert not judge(slow).converged
    assert judge(slow, thresholds=Thresholds(max_r_hat=1.1, min_ess=100)).converged


def populations(shift: float = 0.0) -> np.ndarray:
    """Draws [quantity, run, chain, draw] whose chains are far shorter than their correlation."""
    draws = autoregressive(0.99, 8 * 200, 5).reshape(1, 8, 200, 5)
    draws[:, 0] += shift
    return draws


def test_nested_r_hat_compares_populations() -> None:
    """Plain R-hat sees chains that have not moved; the runs agree all the same."""
    assert r_hat(populations()[0].reshape(1600, 5)) > 1.5
    nested = nested_r_hat(populations())
    assert nested.shape == (1,)
    # Means of 200 independent chains have 1/200 of the variance: R-hat is near sqrt(1 + 1/200).
    assert 1.0 <= nested[0] < 1.01
    assert nested_r_hat(populations(shift=2.0)) > 1.1


def test_nested_r_hat_without_chains_to_compare() -> None:
    one_chain = autoregressive(0.0, 8, 100).reshape(8, 1, 100)
    assert 1.0 <= nested_r_hat(one_chain) < 1.02


def test_nested_r_hat_of_constants() -> None:
    """One constant everywhere is agreement, one for each run is none."""
    same = np.full((3, 4, 5, 10), 0.1)
    np.testing.assert_array_equal(nested_r_hat(same), 1)
    apart = same + 0.1 * np.arange(4)[:, None, None]
    np.testing.assert_array_equal(nested_r_hat(apart), np.inf)
    # A run that has left the constant of the others is not hidden by their lack of variance.
    one_off = same.copy()
    one_off[0, 2] += 0.1
    np.testing.assert_array_equal(nested_r_hat(one_off), [np.inf, 1, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nested_r_hat_of_draws_that_are_not_finite(bad: float) -> None:
    draws = np.concatenate([populations(), populations()])
    draws[1, 2, 3, 4] = bad
    np.testing.assert_array_equal(np.isnan(nested_r_hat(draws)), [False, True])


@pytest.mark.parametrize("shape", [(8, 5), (1, 200, 5), (8, 200, 1)])
def test_nested_r_hat_refuses_too_few(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 2 runs and 2 draws"):
        nested_r_hat(np.zeros(shape))


def two_modes(signs: np.ndarray, draws: int = 300, seed: int = 5) -> np.ndarray:
    """Chains [chain, draw, 2] that stay at ±5: the place, and an energy blind to its sign."""
    noise = np.random.default_rng(seed).normal(size=(len(signs), draws))
    return np.stack([5 * signs[:, None] + noise, noise**2 / 2], axis=-1)


BOTH = np.tile([1.0, -1.0], 8)


def test_a_missed_mode_is_reported() -> None:
    """Chains of one mode agree among themselves, and are found out by those seeded on both."""
    blind = two_modes(np.ones(16), seed=6)
    assert judge(blind).converged
    comparison = compare_starts(two_modes(BOTH), blind)
    assert not comparison.agree
    assert comparison.missed == 0.5
    assert "50% of the seeded chains stay where no other comes" in comparison.reason


def test_modes_in_the_wrong_shares_are_reported() -> None:
    """Both modes are visited, but chains that do not cross leave their shares unknown."""
    comparison = compare_starts(two_modes(BOTH), two_modes(BOTH, seed=6))
    assert comparison.missed == 0
    assert not comparison.agree
    assert "R-hat" in comparison.reason


def test_starts_that_see_the_same_agree() -> None:
    """Also where only a quantity is looked at that cannot tell the modes apart."""
    rng = np.random.default_rng(7)
    crossing = [np.sign(rng.normal(size=(16, 300, 1))) * 5 + rng.normal(size=(16, 300, 1))] * 2
    assert compare_starts(*crossing) == (pytest.approx(1.0, abs=0.01), 0.0, True, "")
    blind = [two_modes(np.ones(16), seed=seed)[..., 1] for seed in (1, 2)]
    assert compare_starts(*blind).agree


def test_starts_of_nan_or_other_quantities() -> None:
    good = two_modes(BOTH)
    bad = good.copy()
    bad[0, 0, 0] = np.nan
    assert not compare_starts(good, bad).agree
    with pytest.raises(ValueError, match="differ"):
        compare_starts(good, good[..., 0])
