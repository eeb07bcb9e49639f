"""Standard errors by hand, and what they claim about coverage."""

import numpy as np
import pytest
from scipy import stats

from slt_jax.estimators import (
    ErrorSources,
    Estimate,
    mean_over_data_sets,
    mean_over_seeds,
    monte_carlo_mean,
    p_value_of_largest,
)


def test_mean_over_seeds_by_hand() -> None:
    """Deviations ±1, ±3 about 4 and 0: variances 20/3, errors √(20/3)/2."""
    estimate = mean_over_seeds([[1, 3, 5, 7], [-3, -1, 1, 3]])
    np.testing.assert_allclose(estimate.value, [4, 0])
    np.testing.assert_allclose(estimate.standard_error, np.sqrt(20 / 3) / 2)
    assert estimate.degrees_of_freedom == 3


def test_mean_over_data_sets_by_hand() -> None:
    estimate = mean_over_data_sets([1.0, 2.0, 6.0])
    assert estimate.value == 3
    assert estimate.standard_error == pytest.approx(np.sqrt(7 / 3))
    assert estimate.degrees_of_freedom == 2


def test_a_sum_of_independent_estimates() -> None:
    """Errors 3 and 4 with 4 and ∞ degrees of freedom: 5, with 5⁴/(3⁴/4) of them."""
    first = Estimate(np.array([1.0]), np.array([3.0]), 4)
    estimate = first.plus(Estimate(np.array([2.0]), np.array([4.0]), np.inf))
    assert (estimate.value, estimate.standard_error) == (3, 5)
    assert estimate.degrees_of_freedom == pytest.approx(4 * 625 / 81)
    exact = Estimate(np.zeros(1), np.zeros(1), 7)
    assert exact.plus(exact).degrees_of_freedom == 7


def test_nan_stays_where_it_is() -> None:
    estimate = mean_over_seeds([[1, np.nan], [1, 3]])
    np.testing.assert_array_equal(np.isnan(estimate.value), [True, False])
    np.testing.assert_array_equal(np.isnan(estimate.standard_error), [True, False])


def test_single_precision_is_summed_in_double() -> None:
    """The mean of a million equal numbers is that number; single-precision sums lose digits."""
    estimate = mean_over_seeds(np.full(10**6, np.float32(0.1)))
    assert estimate.value == pytest.approx(float(np.float32(0.1)), rel=1e-12)


@pytest.mark.parametrize(
    ("average", "words"), [(mean_over_seeds, "1 seed:"), (mean_over_data_sets, "1 data set:")]
)
def test_one_draw_has_no_error(average, words) -> None:
    with pytest.raises(ValueError, match=words):
        average([[1.0], [2.0]])


def test_half_width_is_students() -> None:
    """Quantiles from printed tables: t₇ at 97.5 % is 2.365, at 84.13 % near 1.08; t_∞ 1.96."""
    estimate = Estimate(np.zeros(2), np.array([1.0, 2.0]), 7)
    np.testing.assert_allclose(estimate.half_width(), [2.3646, 4.7292], atol=1e-4)
    assert estimate.half_width(0.6827)[0] == pytest.approx(1.0767, abs=1e-3)
    assert Estimate(np.zeros(1), np.ones(1), np.inf).half_width() == pytest.approx(
        1.95996, abs=1e-5
    )


@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_half_width_covers() -> None:
    """95 % of 20 000 intervals from 4 seeds cover, within 5 binomial standard errors (6e-7)."""
    draws = np.random.default_rng(0).normal(3.0, 2.0, (20_000, 4))
    estimate = mean_over_seeds(draws)
    share = np.mean(np.abs(estimate.value - 3.0) <= estimate.half_width())
    assert share == pytest.approx(0.95, abs=5 * np.sqrt(0.95 * 0.05 / 20_000))


@pytest.mark.parametrize("factor", [-2.0, 0.5])
def test_scaled(factor: float) -> None:
    estimate = Estimate(np.array([1.0, -3.0]), np.array([0.5, 1.0]), 7).scaled(factor)
    np.testing.assert_allclose(estimate.value, [factor, -3 * factor])
    np.testing.assert_allclose(estimate.standard_error, [0.5 * abs(factor), abs(factor)])
    assert estimate.degrees_of_freedom == 7


def test_monte_carlo_mean_by_hand() -> None:
    estimate = monte_carlo_mean(
        Estimate(np.array([[1.0, 3.0], [0.0, 8.0]]), np.array([[3.0, 4.0], [1.0, 1.0]]), 7)
    )
    np.testing.assert_allclose(estimate.value, [2, 4])
    np.testing.assert_allclose(estimate.standard_error, [2.5, np.sqrt(0.5)])


def test_monte_carlo_mean_of_equal_errors_adds_degrees_of_freedom() -> None:
    estimate = monte_carlo_mean(Estimate(np.zeros(8), np.full(8, 0.3), 7))
    np.testing.assert_allclose(estimate.degrees_of_freedom, 56)


@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_monte_carlo_mean_covers_where_one_error_dominates() -> None:
    """Its degrees of freedom are then those of that one error (Welch–Satterthwaite).

    Four data sets, four seeds each, noise 1 on one and 0.05 on the others; 20 000 intervals and
    5 binomial standard errors. Satterthwaite's approximation is good to 0.5 % here.
    """
    scales = np.array([1.0, 0.05, 0.05, 0.05])
    draws = scales[:, None] * np.random.default_rng(1).normal(size=(20_000, 4, 4))
    estimate = monte_carlo_mean(mean_over_seeds(draws))
    share = np.mean(np.abs(estimate.value) <= estimate.half_width())
    assert share == pytest.approx(0.95, abs=0.005 + 5 * np.sqrt(0.95 * 0.05 / 20_000))


def test_half_width_is_a_quantile_of_its_own_distribution() -> None:
    estimate = Estimate(np.zeros(1), np.ones(1), 5.5)
    assert stats.t(5.5).cdf(estimate.half_width(0.8)) == pytest.approx(0.9)


# --- what an error is made of ---------------------------------------------------------------


def test_sources_scale_and_average_with_the_estimate() -> None:
    errors = ErrorSources(within_chains=np.array([3.0, 4.0]), between_chains=np.array([4.0, 3.0]))
    estimate = Estimate(np.zeros(2), np.full(2, 5.0), 9, errors).scaled(-2)
    np.testing.assert_allclose(estimate.sources.within_chains, [6, 8])
    assert estimate.sources.held_out_data is None
    mean = monte_carlo_mean(estimate)
    assert mean.sources.within_chains == pytest.approx(5)
    assert mean.standard_error == pytest.approx(np.sqrt(200) / 2)


def test_a_further_part_adds_its_square() -> None:
    """3 and 4 make 5; degrees of freedom 625/(81/4 + 256/16) by Welch–Satterthwaite."""
    estimate = Estimate(np.zeros(1), np.array([3.0]), 4).with_part("held_out_data", 4.0, 16)
    assert estimate.standard_error == pytest.approx(5)
    assert estimate.sources.held_out_data == 4
    assert estimate.degrees_of_freedom == pytest.approx(625 / (81 / 4 + 256 / 16))
    nothing = Estimate(np.zeros(1), np.zeros(1), 4).with_part("discretisation", 0.0, np.inf)
    assert nothing.degrees_of_freedom == 4


def test_data_sets_and_monte_carlo_are_told_apart() -> None:
    """Spread √(7/3) over three data sets: mostly theirs, or all Monte-Carlo."""
    values = np.array([1.0, 2.0, 6.0])

    def sampled(error: float) -> Estimate:
        parts = ErrorSources(within_chains=np.full(3, error))
        return mean_over_data_sets(Estimate(values, np.full(3, error), 50, parts))

    precise = sampled(0.3)
    assert precise.standard_error == pytest.approx(np.sqrt(7 / 3))
    assert precise.degrees_of_freedom == 2
    assert precise.sources.within_chains == pytest.approx(0.3 / np.sqrt(3))
    assert precise.sources.between_data_sets == pytest.approx(np.sqrt(7 / 3 - 0.03))
    noisy = sampled(30.0)
    assert noisy.standard_error == pytest.approx(30 / np.sqrt(3))
    assert noisy.degrees_of_freedom == pytest.approx(150)
    assert noisy.sources.between_data_sets == 0


def test_the_largest_of_many_is_held_to_their_number() -> None:
    """Bonferroni's bound of Student's or the normal law; nothing compared is nothing against it."""
    assert p_value_of_largest(None, 0) == p_value_of_largest(9.0, 0) == 1.0
    assert p_value_of_largest(3.0, 5, 7) == pytest.approx(5 * 2 * stats.t.sf(3.0, 7), rel=1e-12)
    assert p_value_of_largest(3.0, 5) == pytest.approx(5 * 2 * stats.norm.sf(3.0), rel=1e-12)
    assert p_value_of_largest(0.5, 5) == 1.0
    assert np.isnan(p_value_of_largest(float("nan"), 5))
