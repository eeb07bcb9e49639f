"""Densities and gradients of many chains, in blocks or at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.samplers import ensemble
from slt_jax.samplers.ensemble import gradients, values_and_gradients

DATA = np.linspace(-1.0, 1.0, 50, dtype=np.float32)


def density(w):
    log_likelihood = -jnp.sum((jnp.sin(w[0] * DATA) - w[1]) ** 2)
    return log_likelihood - jnp.sum(w**2), log_likelihood


@pytest.mark.parametrize(("cache", "chains"), [(1, 7), (2**12, 64), (2**12, 7), (2**30, 64)])
def test_blocks_change_nothing(cache, chains, monkeypatch):
    monkeypatch.setattr(ensemble, "CACHE_BYTES", cache)
    positions = jax.random.normal(jax.random.key(0), (chains, 2))
    expected = jax.vmap(jax.value_and_grad(density, has_aux=True))(positions)
    actual = jax.jit(lambda w: values_and_gradients(density, w))(positions)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(jax.jit(lambda w: gradients(density, w))(positions), actual[1])


def test_what_all_chains_share_does_not_count(monkeypatch):
    monkeypatch.setattr(ensemble, "CACHE_BYTES", 2**14)
    shared = jnp.zeros(2**14)

    def program(of_density):
        return str(
            jax.make_jaxpr(lambda w: values_and_gradients(of_density, w))(jnp.ones((128, 2)))
        )

    def looks_up(w):
        return shared[jnp.argmax(w)] + w[0], w[1]

    def sums(w):
        return jnp.sum(jnp.sin(w[0] * shared)), w[1]

    assert "scan" not in program(looks_up)
    assert "scan" in program(sums)
