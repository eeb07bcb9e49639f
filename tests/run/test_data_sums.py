"""Sums by blocks of data: values and derivatives of the plain sum, in one pass."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.run.data_sums import CPU_BLOCK, sum_over_data

RNG = np.random.default_rng(0)
SHARED = {"shift": np.float32(0.5)}
PARAMS = {"w": np.array([0.3, -0.7], np.float32), "b": np.float32(0.2)}


def term(params, shared, data, weights):
    """A net of two inputs, whose small product is one of matrices; labels are integers."""
    x, labels = data
    hidden = jnp.tanh(jax.vmap(lambda x: params["w"] @ x)(x) + params["b"])
    return jnp.sum(weights * (hidden - labels - shared["shift"]) ** 2) / 1000


def arguments(n):
    x = RNG.normal(size=(n, 2)).astype(np.float32)
    return (x, RNG.integers(0, 3, n)), RNG.uniform(0, 2, n).astype(np.float32)


@pytest.mark.parametrize("n", [100, CPU_BLOCK + 1, 3 * CPU_BLOCK - 5])
def test_values_and_derivatives_are_those_of_the_plain_sum(n) -> None:
    data, weights = arguments(n)

    def derivatives(total):
        def of_all(params, weights):
            return total(params, SHARED, data, weights)

        by_params = jax.value_and_grad(of_all)
        chains = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PARAMS)
        return (
            of_all(PARAMS, weights),
            jax.vmap(by_params, (0, None))(chains, weights),
            jax.grad(of_all, 1)(PARAMS, weights),
            jax.jvp(of_all, (PARAMS, weights), (PARAMS, weights)),
            jax.hessian(of_all)(PARAMS, weights),
        )

    plain = jax.jit(functools.partial(derivatives, term))()
    blocks = jax.jit(functools.partial(derivatives, functools.partial(sum_over_data, term)))()
    assert jax.tree.structure(plain) == jax.tree.structure(blocks)
    for expected, actual in zip(jax.tree.leaves(plain), jax.tree.leaves(blocks), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=1e-6)


def test_a_gradient_is_one_loop_without_small_products() -> None:
    data, weights = arguments(2 * CPU_BLOCK)
    gradient = jax.value_and_grad(lambda w: sum_over_data(term, w, SHARED, data, weights))
    program = str(jax.make_jaxpr(gradient)(PARAMS))
    assert program.count(" scan[") == 1
    assert "dot_general" not in program
