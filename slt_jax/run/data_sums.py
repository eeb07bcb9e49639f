"""Sums over many data, whose gradient takes the same pass through the data as their value.

Reverse-mode differentiation of a loop goes through the data twice, and computes again on the way
back what it has not kept. Of a sum, each block of data has a gradient of its own as soon as it has
a value: both are added up, and only a block's intermediate values exist at a time.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from slt_jax.run.small_products import with_sums_in_lanes, with_sums_of_products

# What a dozen chains make of so many data stays in a core's cache; accelerators keep more busy.
CPU_BLOCK, ACCELERATOR_BLOCK = 2048, 16_384

# A sum over the data of a block: (params, shared, data, weights) to a number.
Term = Callable[[Any, Any, Any, Array], Array]


def sum_over_data(term: Term, params: Any, shared: Any, data: Any, weights: Array) -> Array:
    """Add up ``term(params, shared, block of data, block of weights)`` over blocks of the data.

    ``data`` are arrays [n, ...] and ``weights`` [n] the factors of the data; ``term`` must be
    hashable, and is a sum over data in which each has its factor. Small matrix products in it are
    sums of products, and on processors its sums run in lanes. Derivatives are those of the plain
    sum, of any order, and the first ones by ``params`` take no second pass.

    >>> import jax, jax.numpy as jnp
    >>> def squares(w, shared, x, weights):
    ...     return jnp.sum(weights * (x - w) ** 2)
    >>> x = jnp.arange(10_000) / 10_000
    >>> print(jax.grad(sum_over_data, 1)(squares, 0.25, None, x, jnp.ones(10_000)).round())
    -4999.0
    """
    return _sum(term, params, (shared, data, weights))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sum(term: Term, params: Any, others: tuple[Any, Any, Array]) -> Array:
    return _value(term, params, others)


@functools.partial(_sum.defjvp, symbolic_zeros=True)
def _sum_jvp(term: Term, primals: Any, tangents: Any) -> tuple[Array, Array]:
    params, others = primals
    value, gradient = _value_and_gradient(term, params, others)
    change = jnp.zeros_like(value)
    for slope, moved in zip(*map(jax.tree.leaves, (gradient, tangents[0])), strict=True):
        if not isinstance(moved, SymbolicZero):
            change += jnp.sum(slope * moved)
    if all(isinstance(moved, SymbolicZero) for moved in jax.tree.leaves(tangents[1])):
        return value, change
    moved = jax.tree.map(
        lambda leaf, dot: (
            zero_from_primal(leaf)  # type: ignore[no-untyped-call]
            if isinstance(dot, SymbolicZero)
            else dot
        ),
        others, tangents[1],
    )  # fmt: skip
    by_others = jax.jvp(functools.partial(_value, term, params), (others,), (moved,))[1]
    return value, change + by_others


@functools.partial(jax.jit, static_argnums=0)
def _value(term: Term, params: Any, others: tuple[Any, Any, Array]) -> Array:
    shared, data, weights = others
    total: Array = _by_block(
        functools.partial(with_sums_of_products(term), params, shared), data, weights
    )
    return total


@functools.partial(jax.jit, static_argnums=0)
def _value_and_gradient(
    term: Term, params: Any, others: tuple[Any, Any, Array]
) -> tuple[Array, Any]:
    shared, data, weights = others
    both = jax.value_and_grad(with_sums_of_products(term))
    total: tuple[Array, Any] = _by_block(functools.partial(both, params, shared), data, weights)
    return total


def _by_block(of_block: Callable[[Any, Array], Any], data: Any, weights: Array) -> Any:
    on_cpu = jax.default_backend() == "cpu"
    rows = min(len(weights), CPU_BLOCK if on_cpu else ACCELERATOR_BLOCK)
    fast = with_sums_in_lanes(of_block) if on_cpu else of_block
    last = len(weights) - rows
    within = jnp.arange(rows)

    def block_at(first: Array) -> Any:
        # Blocks are sliced where they lie: data reshaped to blocks would be copied. The last one
        # begins before its turn, with data that have been counted.
        start = jnp.minimum(first, last)
        take = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=rows)
        block, factors = jax.tree.map(take, (data, weights))
        return fast(block, jnp.where(start + within >= first, factors, 0))

    def add(total: Any, first: Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, block_at(first)), None

    starts = jnp.arange(0, len(weights), rows)
    shapes = jax.eval_shape(block_at, starts[0])
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(add, zeros, starts)[0]
