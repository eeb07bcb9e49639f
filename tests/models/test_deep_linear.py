"""A deep linear network is the product of its layers, and its optimum has the rank it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.models.deep_linear import DeepLinearNetwork, deep_linear


def product(params) -> np.ndarray:
    """W_L…W₁ by hand."""
    layers = [np.asarray(params[f"W{s}"]) for s in range(1, len(params) + 1)]
    return np.linalg.multi_dot(layers[::-1]) if len(layers) > 1 else layers[0]


@pytest.mark.parametrize("widths", [(3, 2), (2, 3, 1), (4, 3, 2, 5), (1,) + (2,) * 11])
def test_coefficients_are_the_product_of_the_layers(widths):
    model = DeepLinearNetwork(widths=widths)
    with jax.enable_x64(True):
        params = model.sample_prior(jax.random.key(0))
        coefficients = np.asarray(model.coefficients(params))
        prediction = np.asarray(model.predict(params, jnp.ones(widths[0])))
        expected = product(params)
    np.testing.assert_allclose(coefficients, expected.T, rtol=1e-12)
    np.testing.assert_allclose(prediction, expected.sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize(("widths", "rank"), [((2, 2, 2, 2), 1), ((4, 2, 3), 2), ((3, 2, 2), 0)])
def test_optimum_has_the_rank_it_says(widths, rank):
    problem = deep_linear(widths, rank)
    assert np.linalg.matrix_rank(product(problem.optimum)) == rank
    assert problem.model.widths == widths
    assert not problem.showcase


@pytest.mark.parametrize(("widths", "rank"), [((2,), 0), ((2, 1, 2), 2), ((2, 2), -1)])
def test_impossible_widths_and_ranks_are_refused(widths, rank):
    with pytest.raises(ValueError, match="allowed"):
        deep_linear(widths, rank)
