"""Estimators of λ on numbers whose answer is known."""

from typing import NamedTuple

import numpy as np
import pytest

from slt_jax.estimators import (
    energy_variance_coefficient,
    growth,
    slope_coefficient,
    two_temperature_coefficient,
    wbic_coefficient,
)

SIZES = np.array([10, 100, 1000, 10**6])


# --- slope ----------------------------------------------------------------------------------


@pytest.mark.parametrize("multiplicity", [1, 2, 3])
def test_slope_of_the_asymptote_is_exact(multiplicity: int) -> None:
    logs = np.log(SIZES)
    constants = np.array([[-3.0], [0.0], [5.0]])
    free_energy = 0.75 * logs - (multiplicity - 1) * np.log(logs) + constants
    estimate = slope_coefficient(free_energy, SIZES, multiplicity)
    assert estimate.value == pytest.approx(0.75, rel=1e-12)
    assert estimate.standard_error == pytest.approx(0, abs=1e-12)
    assert estimate.degrees_of_freedom == 2


def test_slope_error_is_the_spread_of_slopes() -> None:
    slopes = np.array([[1.0], [2.0], [6.0]])
    estimate = slope_coefficient(slopes * np.log(SIZES), SIZES)
    assert estimate.value == pytest.approx(3)
    assert estimate.standard_error == pytest.approx(np.sqrt(7 / 3))


@pytest.mark.parametrize(
    ("values", "n", "words"),
    [
        (np.ones((3, 1)), [100], "1 sample size"),
        (np.ones((3, 2)), [1, 100], "n = 1"),
        (np.ones((3, 2)), [-4, 100], "n = -4"),
        (np.ones((3, 2)), [np.nan, 100], "n = nan"),
        (np.ones((1, 2)), [10, 100], "1 data set"),
    ],
)
def test_slope_refuses(values: np.ndarray, n: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        slope_coefficient(values, n)


def test_growth_finds_both_exponents() -> None:
    """λ and m of the asymptote exactly, with the constants' spread as no error."""
    sizes = np.array([10, 100, 1000, 10**4, 10**6])
    logs = np.log(sizes)
    constants = np.array([[-3.0], [0.0], [5.0]])
    fit = growth(0.75 * logs - np.log(logs) + constants, sizes)
    assert fit.learning_coefficient.value == pytest.approx(0.75, rel=1e-9)
    assert fit.multiplicity.value == pytest.approx(2, rel=1e-9)
    assert fit.multiplicity.standard_error == pytest.approx(0, abs=1e-9)
    assert fit.learning_coefficient.basis.n == tuple(sizes)


def test_growth_refuses_two_sizes() -> None:
    with pytest.raises(ValueError, match="2 different n"):
        growth(np.ones((3, 3)), [10, 10, 100])


# --- temperatures: by hand ------------------------------------------------------------------


def test_by_hand() -> None:
    wbic = wbic_coefficient([[2.0, 4.0]], np.e**2)
    assert (wbic.value[0], wbic.standard_error[0]) == pytest.approx((1.5, 0.5))
    two = two_temperature_coefficient([[9.0, 11.0]], [[5.0, 5.0]], 0.25, 0.5)
    assert (two.value[0], two.standard_error[0]) == pytest.approx((2.5, 0.5))
    heat = energy_variance_coefficient([[8.0, 16.0]], 0.5)
    assert (heat.value[0], heat.standard_error[0]) == pytest.approx((3.0, 1.0))
    for estimate in (wbic, two, heat):
        assert estimate.degrees_of_freedom == 1
        assert estimate.sources.between_chains == pytest.approx(estimate.standard_error)
    assert (wbic.basis.reference, two.basis.reference, heat.basis.reference) == ("w0", None, None)
    assert wbic.basis.n == pytest.approx(np.e**2)
    assert (wbic.basis.beta, two.basis.beta, heat.basis.beta) == (0.5, (0.25, 0.5), 0.5)


@pytest.mark.parametrize("n", [1, 0, -3, np.nan])
def test_wbic_refuses(n: float) -> None:
    with pytest.raises(ValueError, match=f"n = {float(n)}"):
        wbic_coefficient([1.0, 2.0], n)


@pytest.mark.parametrize("betas", [(0.5, 0.5), (0.0, 0.5), (0.5, -1.0), (np.nan, 1.0)])
def test_two_temperatures_refuses(betas: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"^(first|second)_beta = (0\.5|0\.0|-1\.0|nan): must "):
        two_temperature_coefficient([1.0, 2.0], [1.0, 3.0], *betas)


@pytest.mark.parametrize("beta", [0.0, -0.5, np.nan])
def test_energy_variance_refuses(beta: float) -> None:
    with pytest.raises(ValueError, match=f"beta = {beta}"):
        energy_variance_coefficient([1.0, 2.0], beta)


def test_one_seed_is_refused() -> None:
    for estimate in (
        lambda: wbic_coefficient([1.0], 10),
        lambda: two_temperature_coefficient([1.0], [2.0], 0.1, 0.2),
        lambda: energy_variance_coefficient([1.0], 0.1),
    ):
        with pytest.raises(ValueError, match="1 seed"):
            estimate()


# --- temperatures: a conjugate model --------------------------------------------------------


class Conjugate(NamedTuple):
    """y = wᵀx + N(0, 1) with w ~ N(0, I) and w₀ = 0: XᵀX and Xᵀ(y − Xw₀)."""

    gram: np.ndarray
    cross: np.ndarray

    def energy(self, beta: float) -> float:
        """E_β[nL_n] − nL_n(w₀) = ½ tr GΣ + ½ μᵀGμ − μᵀU."""
        covariance, mean = self.posterior(beta)
        return float(
            np.trace(self.gram @ covariance) / 2 + mean @ (self.gram @ mean / 2 - self.cross)
        )

    def energy_variance(self, beta: float) -> float:
        """Var_β[nL_n] = ½ tr (GΣ)² + gᵀΣg with the gradient g = Gμ − U at the mean."""
        covariance, mean = self.posterior(beta)
        product, slope = self.gram @ covariance, self.gram @ mean - self.cross
        return float(np.trace(product @ product) / 2 + slope @ covariance @ slope)

    def posterior(self, beta: float) -> tuple[np.ndarray, np.ndarray]:
        covariance = np.linalg.inv(np.eye(len(self.gram)) + beta * self.gram)
        return covariance, covariance @ (beta * self.cross)


def conjugate(n: int, dimension: int = 3) -> Conjugate:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, dimension)), rng.normal(size=n)
    return Conjugate(x.T @ x, x.T @ y)


def seeds(value: float) -> list[float]:
    return [value, value]


@pytest.mark.parametrize("n", [10**4, 10**6])
def test_regular_model(n: int) -> None:
    """d/2 for both estimators without a reference point; WBIC at w₀ misses by −½UᵀG⁻¹U/log n.

    What is left is the prior's share, of order d/(nβ) and UᵀG⁻²U/β: below 20 log n/n.
    """
    model, beta = conjugate(n), 1 / np.log(n)
    tolerance = 20 * np.log(n) / n
    two = two_temperature_coefficient(
        seeds(model.energy(beta)), seeds(model.energy(2 * beta)), beta, 2 * beta
    )
    assert two.value == pytest.approx(1.5, abs=tolerance)
    heat = energy_variance_coefficient(seeds(model.energy_variance(beta)), beta)
    assert heat.value == pytest.approx(1.5, abs=tolerance)
    wbic = wbic_coefficient(seeds(model.energy(beta)), n)
    misfit = model.cross @ np.linalg.solve(model.gram, model.cross) / 2
    assert misfit > 0.1
    assert wbic.value == pytest.approx(1.5 - misfit / np.log(n), abs=tolerance)


def test_energy_variance_is_the_slope_of_the_energy() -> None:
    """The two estimators without a reference point agree as the temperatures approach."""
    model, beta, step = conjugate(20), 0.3, 1e-4
    low, high = beta - step, beta + step
    two = two_temperature_coefficient(
        seeds(model.energy(low)), seeds(model.energy(high)), low, high
    )
    heat = energy_variance_coefficient(seeds(model.energy_variance(beta)), beta)
    # Central differences err by (step/beta)² ~ 1e-7, and rounding of energies by 1e-15/step.
    assert two.value == pytest.approx(float(heat.value), rel=1e-5)
