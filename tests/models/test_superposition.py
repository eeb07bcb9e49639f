"""The divergence of any parameters, and polygons that minimise it."""

import jax
import numpy as np
import pytest

from slt_jax.models.superposition import Superposition, identity_divergence, polygon


def test_divergence_by_a_fine_grid():
    """Midpoints of 10⁵ intervals of each feature's value, for parameters with kinks anywhere."""
    rng = np.random.default_rng(0)
    W, b = rng.standard_normal((2, 3)), rng.standard_normal(3)
    W[:, 2] = 0.0
    values = (np.arange(100_000) + 0.5) / 100_000
    total = 0.0
    for i in range(3):
        f = np.maximum(np.outer(values, W.T @ W[:, i]) + b, 0)
        f[:, i] -= values
        total += np.mean(np.sum(f**2, axis=1)) / 6
    assert identity_divergence(W, b) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize(("num_features", "expected"), [(4, 0.0), (5, 0.0079128), (6, 0.0240962)])
def test_polygons_are_stationary(num_features, expected):
    """No step of 1e-3 in any direction lowers the loss, and it is what random starts found."""
    optimum = polygon(num_features).optimum
    least = identity_divergence(optimum["W"], optimum["b"])
    assert least == pytest.approx(expected, abs=5e-8)
    rng = np.random.default_rng(1)
    for _ in range(200):
        step_W, step_b = (rng.standard_normal(leaf.shape) for leaf in optimum.values())
        norm = np.sqrt(np.sum(step_W**2) + np.sum(step_b**2))
        for size in (1e-3, 1e-1):
            moved = (optimum["W"] + size * step_W / norm, optimum["b"] + size * step_b / norm)
            assert identity_divergence(*moved) > least


@pytest.mark.slow
def test_inputs_have_one_feature():
    model = Superposition(num_features=5)
    x = np.asarray(jax.vmap(model.sample_input)(jax.random.split(jax.random.key(0), 500)))
    assert np.all(np.sum(x != 0, axis=1) == 1)
    assert np.all((x >= 0) & (x < 1))
    assert np.all(np.sum(x != 0, axis=0) > 50)


@pytest.mark.parametrize("num_features", [3, 7])
def test_other_polygons_are_refused(num_features):
    with pytest.raises(ValueError, match=f"{num_features}.*4, 5 or 6"):
        polygon(num_features)
