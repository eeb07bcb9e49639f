"""Power-law regression in closed form, against matrices and against its own limits."""

import numpy as np
import pytest

from experiments.learning_exponents import spectrum
from experiments.learning_exponents.spectrum import PowerLawSpectrum


def test_one_direction_by_hand():
    """κ = n: G_g = ½[1/(1+n) + n/(1+n)² + 1/(1+n)²] = 1/(1+n), and B_g by log(1 + κ)."""
    bayes, gibbs = PowerLawSpectrum(width=1, alpha=1.0).errors([4.0, 9.0])
    np.testing.assert_allclose(gibbs, [1 / 5, 1 / 10])
    np.testing.assert_allclose(bayes, np.log([6 / 5, 11 / 10]) / 2)


def test_general_closed_form_against_a_diagonal_design():
    """With XᵀX = n the regression on one design is the model of independent directions."""
    made = PowerLawSpectrum(12, 0.7, 1.3, 0.4, -0.3, 0.6)
    n = 24
    standard = np.concatenate([np.eye(12), np.eye(12)]) * np.sqrt(12)
    assert made.design_error(standard) == pytest.approx(float(made.errors(n)[1][0]))


def test_the_far_directions_by_an_integral(monkeypatch):
    made = PowerLawSpectrum(20_000, 0.5, 1.3, 0.3, -0.2, 0.7)
    short = made.errors([10, 1e5])
    monkeypatch.setattr(spectrum, "SUMMED", 20_000)
    np.testing.assert_allclose(short, made.errors([10, 1e5]), rtol=1e-8)


@pytest.mark.parametrize(
    "change", [{}, {"prior_decay": 1.0}, {"target_decay": -0.2}, {"alpha": 0.105},
               {"prior_decay": 1.0, "target_decay": 1.0}],
)  # fmt: skip
def test_exponents(change):
    """Far from the end of a very wide spectrum, and 1 beyond that of a narrow one."""
    made = PowerLawSpectrum(**({"width": 1e40} | change))
    gibbs = made.errors([1e12, 1.1e12])[1]
    assert -np.log(gibbs[1] / gibbs[0]) / np.log(1.1) == pytest.approx(made.exponent, abs=0.01)
    narrow = PowerLawSpectrum(**({"width": 10} | change))
    for error in narrow.errors([1e9, 1.1e9]):
        assert -np.log(error[1] / error[0]) / np.log(1.1) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"width": 0}, "width = 0"), ({"alpha": 0.0}, "alpha = 0"), ({"noise": -1.0}, "noise = -1"),
     ({"target_decay": -0.5}, "alpha \\+ target_decay = 0"), ({"prior_scale": np.nan}, "nan")],
)  # fmt: skip
def test_refusals(change, words):
    with pytest.raises(ValueError, match=words):
        PowerLawSpectrum(**change)


def test_sizes_and_designs_are_refused():
    with pytest.raises(ValueError, match="n = "):
        PowerLawSpectrum().errors([0.0])
    with pytest.raises(ValueError, match="shape"):
        PowerLawSpectrum(width=3).design_error(np.ones((4, 2)))
