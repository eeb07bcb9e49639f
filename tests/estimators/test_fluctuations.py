"""The singular fluctuation by three routes: by hand, and on a regular model in closed form."""

import numpy as np
import pytest

from slt_jax.estimators import (
    Estimate,
    bayes_fluctuation,
    generalisation_coefficient,
    gibbs_fluctuation,
    variance_fluctuation,
)


def gaussian_errors(n: int, beta: float, data_sets: int = 4000) -> dict[str, np.ndarray]:
    """B_g, B_t, G_g and V_n [R] of y_i ~ N(w, I_2), flat prior, truth w₀ = 0: λ = ν = 1.

    The posterior is N(ȳ, 1/(βn)) in each of d = 2 directions; with v = 1/(βn) and the squared
    error s of the mean of data, everything is known but for the data, of which s and the
    residual square r are enough.
    """
    rng = np.random.default_rng(0)
    v, d = 1 / (beta * n), 2
    square = rng.chisquare(d, data_sets) / n
    residual = rng.chisquare(d * (n - 1), data_sets)
    log_term = d * np.log1p(v) / 2
    total = residual + n * square
    return {
        "bayes_generalisation": log_term + (d + square) / (2 * (1 + v)) - d / 2,
        "bayes_training": log_term + (residual / (1 + v) - total) / (2 * n),
        "gibbs_generalisation": (square + d * v) / 2,
        "functional_variance": n * d * v**2 / 2 + residual * v,
    }


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.false_alarm(comparisons=4, standard_errors=5)
def test_three_routes_agree_on_a_regular_model(beta: float) -> None:
    """ν = d/2 = 1 up to O(1/n): within 5 standard errors and 10/n."""
    n = 2000
    errors = gaussian_errors(n, beta)
    generalisation = errors["bayes_generalisation"]
    routes = {
        "variance": variance_fluctuation(errors["functional_variance"], beta),
        "bayes": bayes_fluctuation(generalisation, errors["bayes_training"], n, beta),
        "gibbs": gibbs_fluctuation(errors["gibbs_generalisation"], generalisation, n, beta),
        "lambda": generalisation_coefficient(generalisation, n, beta, singular_fluctuation=1.0),
    }
    for name, estimate in routes.items():
        assert estimate.standard_error < 0.05, name
        assert abs(estimate.value - 1) <= 5 * estimate.standard_error + 10 / n, name
    # The correction by ν is needed away from β = 1, and does nothing there.
    plain = generalisation_coefficient(generalisation, n, beta)
    assert plain.value == pytest.approx(float(routes["lambda"].value) - (1 - beta), abs=1e-9)


def test_by_hand() -> None:
    variance = variance_fluctuation([2.0, 4.0], 0.5)
    assert (variance.value, variance.standard_error) == pytest.approx((0.75, 0.25))
    bayes = bayes_fluctuation([0.3, 0.1], [-0.1, -0.1], 10)
    assert (bayes.value, bayes.standard_error) == pytest.approx((1.5, 0.5))
    gibbs = gibbs_fluctuation([0.3, 0.5], [0.1, 0.1], 10, beta=0.5)
    assert (gibbs.value, gibbs.standard_error) == pytest.approx((1.5, 0.5))
    coefficient = generalisation_coefficient([0.1, 0.3], 10, beta=0.5, singular_fluctuation=2.0)
    assert (coefficient.value, coefficient.standard_error) == pytest.approx((2.0, 0.5))
    for estimate in (variance, bayes, gibbs, coefficient):
        assert estimate.degrees_of_freedom == 1
        assert estimate.sources.between_data_sets == pytest.approx(float(estimate.standard_error))
        assert estimate.sources.within_chains is None
    assert (coefficient.basis.n, coefficient.basis.beta) == (10, 0.5)
    assert (gibbs.basis.n, gibbs.basis.beta) == (10, 0.5)


def test_monte_carlo_error_is_told_from_data_sets() -> None:
    sampled = Estimate(np.array([2.0, 4.0, 6.0]), np.full(3, 0.6), 20)
    estimate = variance_fluctuation(sampled, 1.0)
    assert estimate.standard_error == pytest.approx(2 / np.sqrt(3) / 2)
    parts = estimate.sources.between_data_sets**2 + (0.6 / np.sqrt(3) / 2) ** 2
    assert estimate.standard_error**2 == pytest.approx(parts)


@pytest.mark.parametrize(("n", "beta"), [(0, 1.0), (10, 0.0), (np.nan, 1.0), (10, np.nan)])
def test_refusals(n: float, beta: float) -> None:
    with pytest.raises(
        ValueError, match=r"^(n = (0|nan): must be a .* ≥ 1|beta = .* must be .* > 0)"
    ):
        generalisation_coefficient([0.1, 0.2], n, beta)
    with pytest.raises(ValueError, match="1 data set"):
        bayes_fluctuation([0.1], [0.2], 10)
