"""The joint fit of L₀ + cn^−σ: recovery, coverage, and the bias of a wrong L₀."""

import numpy as np
import pytest
from scipy.stats import binom

from slt_jax.estimators import fit_power_law, local_exponents

N = np.array([10.0, 30, 100, 300, 1000, 3000, 10000])


def curve(level=3.0, amplitude=1.0, exponent=2 / 3):
    return level + amplitude * N**-exponent


def test_a_power_is_found():
    errors = 1e-7 * N ** (-2 / 3)
    fit = fit_power_law(N, curve(), errors)
    assert fit.exponent.value == pytest.approx(2 / 3, abs=1e-8)
    assert fit.amplitude.value == pytest.approx(1.0, abs=1e-7)
    assert fit.asymptote.value == pytest.approx(3.0, abs=1e-10)
    assert fit.degrees_of_freedom == 4
    for interval in fit[:3]:
        assert interval.low < interval.value < interval.high


@pytest.mark.parametrize("exponent", [0.35, 1.0])
@pytest.mark.false_alarm(comparisons=3, probability=2e-7)
def test_intervals_cover(exponent):
    """95 % of 400 fits by the binomial law: false alarm 2e-7 for each of 3 per exponent."""
    rng = np.random.default_rng(0)
    errors = 0.05 * N**-exponent
    held = np.zeros(3)
    for _ in range(400):
        loss = curve(exponent=exponent) + errors * rng.normal(size=N.size)
        fit = fit_power_law(N, loss, errors)
        held += [
            fit.asymptote.holds(3.0), fit.amplitude.holds(1.0), fit.exponent.holds(exponent),
        ]  # fmt: skip
    tails = np.minimum(binom.cdf(held, 400, 0.95), binom.sf(held - 1, 400, 0.95))
    assert np.all(tails > 1e-7)


def test_a_wrong_asymptote_biases():
    """Too low an L₀ leaves a plateau and a small σ; one too high a steep end."""
    errors = 0.01 * N ** (-2 / 3)
    last = N[-1] ** (-2 / 3)
    low, right, high = (
        fit_power_law(N, curve(), errors, 3.0 + share * last).exponent.value
        for share in (-0.5, 0.0, 0.5)
    )
    assert right == pytest.approx(2 / 3, abs=1e-6)
    assert low < right - 0.03
    assert high > right + 0.03


def test_an_open_interval_says_so():
    fit = fit_power_law(N, np.full(N.size, 3.0) + 1e-3 * (N > 500), np.ones(N.size))
    assert np.isinf(fit.exponent.low) or np.isinf(fit.exponent.high)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((N[:2], N[:2], N[:2]), "N ≥ 3"),
        ((N, curve(), np.zeros(7)), "standard_error"),
        ((N, np.full(7, np.nan), np.ones(7)), "must be finite"),
        ((-N, curve(), np.ones(7)), "n = "),
        ((np.ones(7), curve(), np.ones(7)), "different"),
        ((N, curve(), np.ones(7), None, 1.0), "coverage"),
    ],
)
def test_refusals(arguments, words):
    with pytest.raises(ValueError, match=words):
        fit_power_law(*arguments)


def test_local_exponents():
    middle, exponents = local_exponents(N, 2 * N**-0.3)
    np.testing.assert_allclose(exponents, 0.3)
    np.testing.assert_allclose(middle, np.sqrt(N[1:] * N[:-1]))
    with pytest.raises(ValueError, match="must be positive"):
        local_exponents(N, curve() - 3.05)
