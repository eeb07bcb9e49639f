"""Small products become sums and long sums run in lanes, with the same values and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.run.small_products import with_sums_in_lanes, with_sums_of_products


def two_layers(first, second):
    return jnp.tanh(second @ jax.nn.relu(first)).sum()


def batched(first, second):
    return jnp.einsum("bij,bjk->bik", first, second).sum(axis=0)[0, 0] ** 2


def transposed(first, second):
    return jnp.einsum("ji,kj->ik", first, second)[0, 0] + jnp.vdot(first[:, 0], first[:, 0])


def called(first, second):
    return jax.jit(two_layers)(first, second) + 1.0


CASES = (
    (two_layers, (3, 2), (4, 3)),
    (two_layers, (3, 1), (1, 3)),
    (two_layers, (1, 5), (2, 1)),
    (batched, (6, 2, 3), (6, 3, 4)),
    (batched, (6, 1, 3), (6, 3, 1)),
    (transposed, (3, 2), (4, 3)),
    (called, (3, 2), (4, 3)),
)


def arrays(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(("function", "left", "right"), CASES)
def test_values_and_gradients_agree(function, left, right):
    factors = arrays(left, right)
    plain = jax.value_and_grad(function, (0, 1))
    rewritten = jax.value_and_grad(with_sums_of_products(function), (0, 1))
    for expected, actual in zip(
        jax.tree.leaves(plain(*factors)), jax.tree.leaves(rewritten(*factors)), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert "dot_general" not in str(jax.make_jaxpr(with_sums_of_products(function))(*factors))


@pytest.mark.parametrize(("left", "right"), [((3, 9), (9, 2)), ((9, 3), (3, 9))])
def test_large_products_stay(left, right):
    program = jax.make_jaxpr(with_sums_of_products(jnp.matmul))(*arrays(left, right))
    assert "dot_general" in str(program)


def test_loops_branches_and_derivative_rules_stay_as_they_are():
    def function(w):
        looped = jax.lax.fori_loop(0, 3, lambda _, v: v @ v, w)
        branched = jax.lax.cond(w[0, 0] > 0, jnp.sin, jnp.cos, w)
        return (looped + branched + jax.nn.silu(w)).sum()

    w = 0.3 * jnp.ones((2, 2))
    expected, actual = (
        jax.value_and_grad(f)(w) for f in (function, with_sums_of_products(function))
    )
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-6)


def test_the_function_is_traced_once_for_all_its_evaluations():
    traces = []

    @with_sums_of_products
    def function(w):
        traces.append(w)
        return (w @ w).sum()

    for _ in range(3):
        jax.vmap(jax.grad(function))(jnp.ones((4, 2, 2)))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("shape", "axes", "is_long"),
    [((2048,), (0,), True), ((3, 4096, 2), (1, 2), True), ((2, 2048), (1,), True),
     ((2, 2048), (0,), False), ((2016,), (0,), False), ((2050,), (0,), False)],
)  # fmt: skip
def test_long_sums_run_in_lanes(shape, axes, is_long):
    terms = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def total(terms):
        return jnp.sum(terms**2, axis=axes)

    np.testing.assert_allclose(with_sums_in_lanes(total)(terms), total(terms), rtol=1e-5)
    program = str(jax.make_jaxpr(jax.vmap(with_sums_in_lanes(total)))(terms[None]))
    assert ("optimization_barrier" in program) == is_long
