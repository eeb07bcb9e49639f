"""Densities, gradients and random numbers of many chains at once, as all samplers take them."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from slt_jax.run.devices import peak_bytes

Density = Callable[[Array], tuple[Array, Array]]

# The second-level cache of a processor's core.
CACHE_BYTES = 2**20
# Chains that need so little that as many fit in the cache are as fast all at once.
MANY_CHAINS = 64


def values_and_gradients(density: Density, positions: Array) -> tuple[tuple[Array, Array], Array]:
    """Evaluate a density and its gradient for every chain.

    ``density`` maps one position [d] to its log density and its log-likelihood, as a pair;
    ``positions`` are [chain, d]. Returns both [chain], and the gradients [chain, d] of the first.
    Processors go through the chains in blocks that stay in the cache, where the likelihood is a sum
    over data that takes more memory than that.
    """
    one = jax.value_and_grad(density, has_aux=True)
    program, shapes = jax.make_jaxpr(one, return_shape=True)(positions[0])
    structure, run = jax.tree.structure(shapes), jaxpr_as_fun(program)

    def evaluate(position: Array) -> Any:
        return jax.tree.unflatten(structure, run(position))

    at_once = chains_in_cache(program) if jax.default_backend() == "cpu" else len(positions)
    if at_once >= min(len(positions), MANY_CHAINS):
        return jax.vmap(evaluate)(positions)
    return jax.lax.map(evaluate, positions, batch_size=at_once)


def gradients(density: Density, positions: Array) -> Array:
    """Return the gradients [chain, d] alone, as ``values_and_gradients`` does."""
    return values_and_gradients(density, positions)[1]


def chains_in_cache(program: ClosedJaxpr) -> int:
    """Return how many chains fit in the cache, a power of two: blocks then share one shape."""
    shared = sum(np.size(constant) * constant.dtype.itemsize for constant in program.consts)
    of_chain = max(1, peak_bytes(program) - shared)
    return 2 ** int(math.log2(max(1, CACHE_BYTES // of_chain)))


def drawn_once(numbers: Array) -> Array:
    """Return random numbers that are drawn here and nowhere else.

    A compiler fuses a generator with what its numbers are used for, and runs it anew for each use:
    for every entry of a likelihood that a prior draw enters, say.
    """
    once: Array = jax.lax.optimization_barrier(numbers)  # type: ignore[no-untyped-call]
    return once
