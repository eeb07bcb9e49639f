"""Calibration accepts true error bars and rejects false ones."""

import numpy as np
import pytest
from scipy import stats

from slt_jax.estimators import Calibration, Estimate, calibrate

COUNT, FREEDOM = 2000, 7
# Coverages are allowed 5 binomial standard errors, which two exceed by chance 1e-6 of the time;
# a p-value below 1e-6 is as rare.
ALLOWED, FALSE_ALARM = 5.0, 1e-6


def errors(understated: float = 1.0, seed: int = 0) -> tuple[Estimate, np.ndarray]:
    """Estimates of random exact values whose errors are Student-t, of random scales."""
    rng = np.random.default_rng(seed)
    exact, scale = rng.normal(size=COUNT), rng.uniform(0.01, 10.0, COUNT)
    value = exact + scale * rng.standard_t(FREEDOM, COUNT)
    return Estimate(value, scale / understated, FREEDOM), exact


@pytest.mark.false_alarm(comparisons=3, standard_errors=ALLOWED)
@pytest.mark.false_alarm(comparisons=1, probability=FALSE_ALARM)
def test_true_errors_are_accepted() -> None:
    calibration = calibrate(*errors())
    assert calibration.comparisons == COUNT
    assert calibration.within_binomial_error(ALLOWED)
    assert calibration.p_value > FALSE_ALARM
    # The fourth moment of t₇ is 5 times its variance squared: sd of the spread √(4/2000)/2.
    assert calibration.spread == pytest.approx(1, abs=5 * np.sqrt(4 / COUNT) / 2)


@pytest.mark.parametrize("understated", [1.5, 1 / 1.5])
def test_false_errors_are_rejected(understated: float) -> None:
    calibration = calibrate(*errors(understated))
    assert not calibration.within_binomial_error(ALLOWED)
    assert calibration.p_value < FALSE_ALARM
    assert calibration.spread == pytest.approx(understated, rel=0.15)


def test_a_normal_distribution_is_not_students() -> None:
    """±1.96 errors for 3 degrees of freedom: the reason for Student's t."""
    estimate, exact = errors()
    rng = np.random.default_rng(1)
    narrow = estimate._replace(
        value=exact + estimate.standard_error * rng.standard_t(3, COUNT), degrees_of_freedom=1e9
    )
    assert not calibrate(narrow, exact).within_binomial_error(ALLOWED)


def test_bias_is_rejected() -> None:
    estimate, exact = errors()
    shifted = estimate._replace(value=estimate.value + 0.5 * estimate.standard_error)
    assert calibrate(shifted, exact).p_value < FALSE_ALARM


def test_by_hand() -> None:
    """t₃: 68 % within 1.189, 95 % within 3.182; variance 3."""
    values = np.array([[0.0, -1.0], [2.0, 4.0]])
    calibration = calibrate(Estimate(values, np.full((2, 2), 2.0), 3), values * 0)
    assert calibration.comparisons == 4
    assert calibration.coverage_68 == 0.75
    assert calibration.coverage_95 == 1.0
    assert calibration.largest == 2
    assert calibration.spread == pytest.approx(np.sqrt((0 + 0.25 + 1 + 4) / 4 / 3))
    p_value = stats.kstest(values.ravel() / 2, stats.t(3).cdf).pvalue
    assert calibration.p_value == pytest.approx(p_value)


def test_what_never_varies_agrees_within_the_bound_of_the_exact_value() -> None:
    """Energies of a likelihood that does not depend on w have no error, and an oracle rounds."""
    estimate = Estimate(np.zeros(4), np.array([0.0, 0.0, 1e-17, 1.0]), 7)
    exact = np.array([0.0, 5e-12, 5e-12, 0.5])
    calibration = calibrate(estimate, exact, 1e-11)
    assert calibration.largest == 0.5
    with pytest.raises(ValueError, match="1 deviations are not finite"):
        calibrate(estimate, exact)


@pytest.mark.parametrize(
    ("coverage_68", "coverage_95", "within"),
    [(0.68, 0.95, True), (0.68, 0.88, False), (0.53, 0.95, False), (0.55, 0.9, True)],
)
def test_binomial_error(coverage_68: float, coverage_95: float, within: bool) -> None:
    """3 standard errors of 100 comparisons are 0.14 and 0.065."""
    calibration = Calibration(100, coverage_68, coverage_95, 3.0, 1.0, 0.5)
    assert calibration.within_binomial_error() is within


@pytest.mark.parametrize(
    ("value", "freedom", "exact", "words"),
    [
        ([1.0, 2.0], 7, [1.0], r"shape \(1,\)"),
        ([1.0, 2.0], 2, [1.0, 2.0], "degrees of freedom = 2"),
        ([1.0, 2.0], np.nan, [1.0, 2.0], "degrees of freedom = nan"),
        ([1.0, np.nan], 7, [1.0, 2.0], "1 deviations are not finite"),
        ([1.0, 2.0], 7, [np.inf, np.nan], "2 deviations are not finite"),
    ],
)
def test_refuses(value: list[float], freedom: float, exact: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        calibrate(Estimate(np.array(value), np.ones(2), freedom), exact)
