"""Weights are uniform on the simplex, and the density is a mixture also far out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from slt_jax.models.normal_mixture import NormalMixture


@pytest.mark.parametrize("num_components", [pytest.param(2, marks=pytest.mark.slow), 4])
@pytest.mark.false_alarm(comparisons=4, probability=1e-7)
def test_weights_are_uniform_on_the_simplex(num_components):
    """Each weight of Dirichlet(1, …, 1) is Beta(1, H − 1): 2000 draws, false alarm 1e-7 each."""
    model = NormalMixture(num_components=num_components)
    keys = jax.random.split(jax.random.key(0), 2000)
    with jax.enable_x64(True):
        logs = jax.jit(jax.vmap(lambda key: model.log_weights(model.sample_prior(key))))(keys)
    weights = np.exp(logs)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    for column in weights.T:
        assert stats.kstest(column, stats.beta(1, num_components - 1).cdf).pvalue > 1e-7


def test_density_by_hand_and_finite_gradients():
    """a₂ = 1/(1 + e^{−u}) to 1e-12, in the middle and in both tails."""
    model = NormalMixture(num_components=2, first_mean_fixed=True)
    grid = np.meshgrid([-800.0, -41.0, -3.0, 0.0, 39.0, 800.0], [0.0, 1e-3, 2.0, -9.0], [-1.0, 9.0])
    u, b, y = (axis.ravel() for axis in grid)
    logs = np.stack([-np.logaddexp(0, u), -np.logaddexp(0, -u)])
    expected = np.logaddexp(*(logs + stats.norm.logpdf(y, np.stack([np.zeros_like(b), b]))))
    over_grid = jax.vmap(jax.value_and_grad(model.log_likelihood), (0, None, 0))
    with jax.enable_x64(True):
        values, slopes = jax.jit(over_grid)({"b": b[:, None], "u": u[:, None]}, np.zeros(0), y)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert all(np.all(np.isfinite(leaf)) for leaf in slopes.values())


def test_both_means_move_the_density():
    """At y from −3 to 3 with the weights 3/4 and 1/4, and means none of which is zero."""
    y, b = np.linspace(-3, 3, 7), np.array([0.8, -1.5])
    with jax.enable_x64(True):
        params = {"b": b, "u": -np.log([3.0])}
        values = [NormalMixture().log_likelihood(params, np.zeros(0), each) for each in y]
    expected = np.log([0.75, 0.25] @ stats.norm.pdf(y, b[:, None]))
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_turned_means_are_those_of_the_docstring():
    """A rotation, whose first coordinate is the mean of the mixture over |weights|."""
    latent, model = np.array([0.7, -1.1, 0.2]), NormalMixture()
    with jax.enable_x64(True):
        params = model.from_latent(latent)
        weights = np.exp(model.log_weights(params))
    b, (u, v, a) = np.asarray(params["b"]), latent
    np.testing.assert_allclose(weights, [1 - a, a], rtol=1e-12)
    np.testing.assert_allclose(weights @ b, u * np.linalg.norm(weights), rtol=1e-12)
    np.testing.assert_allclose(b @ b, u**2 + v**2, rtol=1e-12)


@pytest.mark.slow
def test_entropy_of_two_components_far_apart():
    """½ log 2πe + log 2 up to the overlap, e^{−8}."""
    model = NormalMixture()
    with jax.enable_x64(True):
        entropy = model.entropy({"b": jnp.array([-4.0, 4.0]), "u": jnp.zeros(1)})
    expected = 0.5 * np.log(2 * np.pi * np.e) + np.log(2)
    assert float(entropy) == pytest.approx(expected, abs=5e-4)
    assert float(entropy) < expected
