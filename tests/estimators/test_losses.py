"""Losses, WAIC and leaving one out against the closed forms of a Gaussian mean, drawn exactly.

y_i ~ N(w, 1) with w ~ N(0, 1) has the posterior N(μ, v) at every β, so that E_w[p^α] is
(1 + αv)^{−1/2} exp(−α(y − μ)²/(2(1 + αv))) up to the constant of p^α.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from slt_jax import estimators
from slt_jax.estimators import (
    Estimate,
    LossMoments,
    bayes_generalisation_loss,
    bayes_training_loss,
    energy_effective_sample_size,
    functional_variance,
    gibbs_generalisation_loss,
    leave_one_out_loss,
    loss_moments,
    pareto_fit,
    smoothed_leave_one_out,
    smoothed_weights,
    waic,
)

TRUTH = 0.3
# An interval that misses by chance once in ten million.
CERTAIN = 1 - 1e-7


class Gaussian(NamedTuple):
    """Data [n] and the inverse temperature."""

    y: np.ndarray
    beta: float

    @property
    def posterior(self) -> tuple[float, float]:
        """μ and v."""
        variance = 1 / (1 + self.beta * self.y.size)
        return variance * self.beta * self.y.sum(), variance

    def draws(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """w, exact and independent."""
        mean, variance = self.posterior
        return mean + np.sqrt(variance) * np.random.default_rng(seed).normal(size=shape)

    def log_power(self, y: np.ndarray, power: float) -> np.ndarray:
        """log E_w[(p(y|w)/p(y|w₀))^α]."""
        mean, variance = self.posterior
        wide = 1 + power * variance
        gain = (y - TRUTH) ** 2 - (y - mean) ** 2 / wide
        return power * gain / 2 - np.log(wide) / 2

    def log_ratio_mean(self, y: np.ndarray) -> np.ndarray:
        mean, variance = self.posterior
        return ((y - TRUTH) ** 2 - (y - mean) ** 2 - variance) / 2

    def log_ratio_variance(self) -> np.ndarray:
        mean, variance = self.posterior
        return variance**2 / 2 + (self.y - mean) ** 2 * variance


def ratios(w: np.ndarray, y: np.ndarray) -> np.ndarray:
    """ℓ(w) − ℓ(w₀), datum last."""
    return ((y - TRUTH) ** 2 - (y - w[..., None]) ** 2) / 2


def problem(beta: float, n: int = 30) -> Gaussian:
    return Gaussian(TRUTH + np.random.default_rng(7).normal(size=n), beta)


def expected(exact: Gaussian) -> dict[str, float]:
    y, beta, n = exact.y, exact.beta, exact.y.size
    training = -exact.log_power(y, 1).mean()
    variance = exact.log_ratio_variance().sum()
    left_out = exact.log_power(y, -beta) - exact.log_power(y, 1 - beta)
    mean, spread = exact.posterior
    slope = y.sum() - n * mean
    return {
        "bayes_training_loss": training,
        "gibbs_training_loss": -exact.log_ratio_mean(y).mean(),
        "functional_variance": variance,
        "waic": training + beta * variance / n,
        "leave_one_out_loss": left_out.mean(),
        "energy_variance": n**2 * spread**2 / 2 + slope**2 * spread,
    }


def assert_inside(estimate: Estimate, exact: float, precision: float) -> None:
    """First precise enough, by its own account, then right."""
    assert estimate.standard_error < precision
    assert abs(estimate.value - exact) <= estimate.half_width(CERTAIN)


@pytest.mark.parametrize("beta", [1.0, 0.4])
@pytest.mark.parametrize("blocks", [1, 5])
@pytest.mark.false_alarm(comparisons=6, probability=1 - CERTAIN)
def test_training_estimators_are_the_closed_forms(beta: float, blocks: int) -> None:
    exact = problem(beta)
    moments = loss_moments(ratios(exact.draws((200, 100)), exact.y), blocks, beta)
    for name, answer in expected(exact).items():
        estimate = getattr(estimators, name)(moments)
        assert_inside(estimate, answer, 0.05 * abs(answer))
        assert (estimate.basis.n, estimate.basis.beta) == (30, beta)


def test_each_check_can_fail() -> None:
    """WAIC with the wrong β, and leaving out as at β = 1 from draws at 0.4, are far outside."""
    exact = problem(0.4)
    log_ratios = ratios(exact.draws((100, 100)), exact.y)
    wrong = loss_moments(log_ratios, 1, 1.0)
    for estimator in (waic, leave_one_out_loss):
        estimate = estimator(wrong)
        miss = abs(estimate.value - expected(exact)[estimator.__name__])
        assert miss > 2 * estimate.half_width(CERTAIN)


def test_leaving_out_is_what_it_says() -> None:
    """The closed form by reweighting is that of the posterior without the datum, at β = 1."""
    exact = problem(1.0)
    for i in range(3):
        without = Gaussian(np.delete(exact.y, i), 1.0).log_power(exact.y[i : i + 1], 1)
        left_out = exact.log_power(exact.y, 0) - exact.log_power(exact.y, -1)
        assert left_out[i] == pytest.approx(float(without[0]), rel=1e-12)


@pytest.mark.false_alarm(comparisons=5, probability=1 - CERTAIN)
def test_singular_posterior() -> None:
    """y_i ~ N(w², 1), truth 0, w ~ N(0, 1): against sums over a grid, and drawn from the same.

    The posterior is far from normal, and half of it lies on either side of the singularity.
    """
    y = np.random.default_rng(11).normal(size=20) + 0.2
    grid = np.linspace(-3, 3, 4001)
    log_ratios = (y**2 - (y - grid[:, None] ** 2) ** 2) / 2
    weights = np.exp(log_ratios.sum(axis=1) - grid**2 / 2)
    weights /= weights.sum()
    mean = weights @ log_ratios
    variance = np.sum(weights @ (log_ratios - mean) ** 2)
    training = -np.log(weights @ np.exp(log_ratios)).mean()
    left_out = np.log(weights @ np.exp(-log_ratios)).mean()
    draws = np.random.default_rng(0).choice(grid.size, (200, 100), p=weights)
    moments = loss_moments(log_ratios[draws], 4)
    assert_inside(functional_variance(moments), variance, 0.03 * variance)
    assert_inside(bayes_training_loss(moments), training, 1e-3)
    assert_inside(waic(moments), training + variance / y.size, 1e-3)
    assert_inside(leave_one_out_loss(moments), left_out, 1e-3)
    assert_inside(smoothed_leave_one_out(log_ratios[draws]).loss, left_out, 1e-3)


@pytest.mark.false_alarm(comparisons=2, standard_errors=5.5)
def test_effective_sample_size_of_blocks() -> None:
    """Independent draws count once; repeated sixteen times in a row they count no more.

    The squared error of 50 chains of 4 blocks has 150 degrees of freedom: within 5.5
    standard errors of it, and a little below for the larger of two errors is taken.
    """
    exact = problem(1.0)
    log_ratios = ratios(exact.draws((50, 64)), exact.y)
    tolerance = 5.5 * np.sqrt(2 / 49) / 2
    for log_ratio in (log_ratios, np.repeat(log_ratios, 16, axis=1)):
        ess = energy_effective_sample_size(loss_moments(log_ratio, 4))
        assert 0.5 < ess / 3200 < 1 + tolerance
    # The mean of an energy that never changes has no error: every draw is as good as another.
    assert energy_effective_sample_size(loss_moments(np.zeros((2, 4, 3)))) == 8


@pytest.mark.false_alarm(comparisons=2, probability=1 - CERTAIN)
def test_held_out_losses_are_those_of_the_truth() -> None:
    """Closed B_g and G_g within an error that is mostly that of the 2000 held-out data."""
    exact = problem(1.0)
    mean, variance = exact.posterior
    misfit = (mean - TRUTH) ** 2
    held_out = TRUTH + np.random.default_rng(3).normal(size=2000)
    moments = loss_moments(ratios(exact.draws((100, 10)), held_out))
    bayes, gibbs = bayes_generalisation_loss(moments), gibbs_generalisation_loss(moments)
    bayes_error = np.log(1 + variance) / 2 + (1 + misfit) / (2 * (1 + variance)) - 1 / 2
    assert_inside(bayes, bayes_error, 0.02)
    assert_inside(gibbs, (misfit + variance) / 2, 0.02)
    for estimate in (bayes, gibbs):
        parts = [error for error in estimate.sources if error is not None]
        np.testing.assert_allclose(estimate.standard_error**2, sum(np.square(parts)))
        assert estimate.sources.held_out_data > 2 * estimate.sources.between_chains
        assert estimate.degrees_of_freedom > 1000
    spread = -exact.log_power(held_out, 1).std(ddof=1) / np.sqrt(2000)
    assert bayes.sources.held_out_data == pytest.approx(abs(spread), rel=0.05)


def test_the_order_of_data_and_a_constant() -> None:
    """Permutations change nothing; l + c moves losses by −c and leaves V_n and the errors."""
    exact = problem(0.4)
    log_ratios = ratios(exact.draws((10, 40)), exact.y)
    permuted = log_ratios[..., np.random.default_rng(0).permutation(exact.y.size)]
    for name in expected(exact):
        estimator = getattr(estimators, name)
        plain = estimator(loss_moments(log_ratios, 4, 0.4))
        other = estimator(loss_moments(permuted, 4, 0.4))
        moved = estimator(loss_moments(log_ratios + 2.5, 4, 0.4))
        shift = 0 if name in ("functional_variance", "energy_variance") else 2.5
        np.testing.assert_allclose(plain[:2], other[:2], rtol=1e-9)
        np.testing.assert_allclose(moved.value, plain.value - shift, rtol=1e-9)
        np.testing.assert_allclose(moved.standard_error, plain.standard_error, rtol=1e-6)


def coverage(
    repeats: int, shape: tuple[int, int], blocks: int, beta: float
) -> dict[str, tuple[float, float]]:
    """Share of 95 % intervals that cover, and claimed over true error, by estimator."""
    exact = problem(beta, n=10)
    log_ratios = ratios(exact.draws((repeats, *shape), seed=5), exact.y)
    runs = [loss_moments(run, blocks, beta) for run in log_ratios]
    together = (np.stack(leaves) for leaves in zip(*(run[:-1] for run in runs), strict=True))
    moments = LossMoments(*together, runs[0].num_draws)
    shares = {}
    for name, answer in expected(exact).items():
        estimate = getattr(estimators, name)(moments)
        deviation = estimate.value - answer
        share = np.mean(np.abs(deviation) <= estimate.half_width())
        claimed = np.sqrt(np.mean(estimate.standard_error**2) / np.mean(deviation**2))
        shares[name] = float(share), float(claimed)
    return shares


@pytest.mark.false_alarm(comparisons=12, standard_errors=5.5)
def test_error_bars_cover() -> None:
    """300 runs, 5.5 binomial standard errors below 95 % for six estimators."""
    for name, (share, claimed) in coverage(300, (16, 64), 4, 0.4).items():
        assert share >= 0.95 - 5.5 * np.sqrt(0.95 * 0.05 / 300), name
        assert 0.8 < claimed < 1.35, name


@pytest.mark.slow
@pytest.mark.parametrize(("chains", "blocks"), [(4, 16), (16, 4), (64, 1)])
def test_error_bars_cover_in_many_runs(chains: int, blocks: int) -> None:
    """4000 runs: coverage to 5 binomial standard errors, and the skewness of 256 draws."""
    for name, (share, claimed) in coverage(4000, (chains, 2048 // chains), blocks, 1.0).items():
        assert share >= 0.94 - 5 * np.sqrt(0.95 * 0.05 / 4000), name
        assert 0.9 < claimed < 1.3, name


def test_nan_is_the_answer_of_nan() -> None:
    log_ratios = np.zeros((2, 4, 3)) + np.arange(4)[:, None]
    log_ratios[0, 0, 1] = np.nan
    for name in expected(problem(1.0)):
        estimate = getattr(estimators, name)(loss_moments(log_ratios))
        assert np.isnan(estimate.value), name
        assert np.isnan(estimate.standard_error), name


def test_refusals() -> None:
    moments = loss_moments(np.zeros((2, 4, 1)))
    with pytest.raises(ValueError, match="1 held-out datum"):
        bayes_generalisation_loss(moments)
    held_out = moments._replace(log_means=moments.log_means[..., :1, :])
    with pytest.raises(ValueError, match="trained on"):
        leave_one_out_loss(held_out)
    with pytest.raises(ValueError, match="1 draws are not finite"):
        smoothed_leave_one_out(np.where(np.arange(8).reshape(1, 8, 1) == 3, np.nan, 0.0))
    with pytest.raises(ValueError, match=r"shape \(2, 4\)"):
        smoothed_leave_one_out(np.zeros((2, 4)))


# --- smoothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [1.0, 0.4])
@pytest.mark.false_alarm(comparisons=1, probability=1 - CERTAIN)
def test_smoothing_agrees_with_the_closed_form(beta: float) -> None:
    exact = problem(beta)
    smoothed = smoothed_leave_one_out(ratios(exact.draws((50, 100)), exact.y), beta)
    assert not smoothed.unreliable.any()
    assert_inside(smoothed.loss, expected(exact)["leave_one_out_loss"], 1e-3)
    assert smoothed.pointwise.mean() == pytest.approx(float(smoothed.loss.value))
    left_out = exact.log_power(exact.y, -beta) - exact.log_power(exact.y, 1 - beta)
    np.testing.assert_allclose(smoothed.pointwise, left_out, atol=0.02)


def test_heavy_weights_are_marked() -> None:
    """A datum far out: p^{−1} has no mean where v ≥ 1, so that k̂ must be beyond 0.7."""
    w = np.random.default_rng(2).normal(size=(10, 400)) * np.sqrt(2)
    left_out = smoothed_leave_one_out(ratios(w, np.array([0.3, 8.0])))
    assert left_out.unreliable.tolist() == [False, True] or left_out.unreliable.all()
    assert left_out.unreliable[1]
    assert (left_out.pareto_shape > 0.7).tolist() == left_out.unreliable.tolist()


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.7, 1.2])
@pytest.mark.false_alarm(comparisons=1, standard_errors=5.5)
def test_pareto_fit_finds_the_shape(shape: float) -> None:
    """5.5 times the asymptotic standard error (1 + k)/√M of an efficient estimator of k."""
    size = 4000
    excesses = np.sort(
        stats.genpareto(shape, scale=2.0).rvs(size, random_state=np.random.default_rng(0))
    )
    fitted, scale = pareto_fit(excesses)
    assert fitted == pytest.approx(shape, abs=5.5 * (1 + abs(shape)) / np.sqrt(size))
    assert scale == pytest.approx(2.0, rel=0.2)


def test_smoothing_keeps_order_and_normalises() -> None:
    raw = np.random.default_rng(0).exponential(size=1000)
    smoothed = smoothed_weights(raw)
    np.testing.assert_allclose(np.exp(smoothed.log_weights).sum(), 1)
    np.testing.assert_array_equal(np.argsort(smoothed.log_weights), np.argsort(raw))
    body = np.argsort(raw)[:900]
    shifts = smoothed.log_weights[body] - raw[body]
    np.testing.assert_allclose(shifts, shifts[0])
    assert smoothed_weights(raw + 1000).pareto_shape == pytest.approx(smoothed.pareto_shape)


def test_weights_without_a_tail() -> None:
    assert smoothed_weights(np.zeros(100)).pareto_shape == -np.inf
    assert smoothed_weights(np.r_[np.zeros(99), 5.0]).pareto_shape == np.inf
    constant = smoothed_leave_one_out(np.full((2, 50, 1), -0.5))
    assert constant.pointwise == pytest.approx(0.5)
    assert not constant.unreliable.any()
