"""The mean runs over the parabola uniformly, and optima are where the distance is least."""

import jax
import numpy as np
import pytest
from scipy import stats

from slt_jax.models.normal_parabola import NormalOnParabola, normal_parabola


@pytest.mark.false_alarm(comparisons=1, probability=1e-6)
def test_w_is_uniform():
    """2000 draws: false alarm 1e-6."""
    model = NormalOnParabola()
    keys = jax.random.split(jax.random.key(0), 2000)
    draws = np.asarray(jax.vmap(lambda key: model.coefficients(model.sample_prior(key)))(keys))
    w, squares = np.asarray(draws, float)[:, 0].T
    assert stats.kstest(w, stats.uniform(-2, 4).cdf).pvalue > 1e-6
    np.testing.assert_allclose(squares, w**2, rtol=1e-6)


@pytest.mark.parametrize("c", [-3.0, 0.25, 0.5, 0.75, 1.0, 4.4])
def test_optimum_and_divergence_by_a_grid(c):
    """½ min_w |(w, w²) − (0, c)|² on a grid of step 1e-4, whose error is of second order."""
    problem = normal_parabola("any", c)
    w = np.linspace(-2, 2, 40_001)
    distances = (w**2 + (w**2 - c) ** 2) / 2
    assert problem.divergence == pytest.approx(distances.min(), abs=1e-7)
    with jax.enable_x64(True):
        best = float(problem.model.coefficients(problem.optimum)[0, 0])
    assert abs(best) == pytest.approx(abs(w[np.argmin(distances)]), abs=1e-3)
    assert (problem.theory is None) == (c >= 0.5)


@pytest.mark.parametrize("c", [4.5, np.nan, -np.inf])
def test_optima_outside_are_refused(c):
    with pytest.raises(ValueError, match=f"c = {c}"):
        normal_parabola("wrong", c)
