"""JAX's default generator for keys that are arrays of words, one for each of many chains.

``jax.random`` keeps the rounds of its generator in a loop, whose arrays go through memory between
the rounds: inside a loop that draws little for each of many keys this takes three times as long.
The numbers are those of ``jax.random``, bit by bit.

Source: Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def key_words(keys: Array) -> Array:
    """Return the two words [2, N] of each of the ``keys`` [N].

    Keys of another generator than threefry are exchanged for keys of threefry that they draw.
    """
    if jax.random.key_impl(keys) == "threefry2x32":
        return jax.random.key_data(keys).T
    return jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32))(keys).T


def if_any(needed: Array, draw: Callable[[Array], Any], key: Array) -> Any:
    """Return what ``draw`` makes of keys [2, N], or zeros if none of the N is ``needed``.

    Fused with what it is used for, the generator would run anew at each of its uses: that it is in
    a branch keeps the compiler from that.
    """
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(draw, key))
    return jax.lax.cond(jnp.any(needed), draw, lambda _: zeros, key)


def split(key: Array, count: int) -> Array:
    """Return the words [count, 2, N] of ``jax.random.split(key, count)`` for keys [2, N]."""
    counter = np.arange(count, dtype=np.uint32)[:, None]
    return jnp.stack(_hash(key[:, None], counter), axis=1)


def uniform(key: Array, dtype: Any) -> Array:
    """Draw what ``jax.random.uniform(key, (), dtype)`` does, for keys [2, N]."""
    return _unit(_hash(key, np.uint32(0)), dtype)


def normal(key: Array, size: int, dtype: Any) -> Array:
    """Draw [size, N] with the columns ``jax.random.normal(key, (size,), dtype)`` of keys [2, N]."""
    lowest = np.nextafter(np.array(-1, dtype), np.array(0, dtype))
    width = np.array(1, dtype) - lowest
    unit = _unit(_hash(key[:, None], np.arange(size, dtype=np.uint32)[:, None]), dtype)
    uniform = jnp.maximum(lowest, unit * width + lowest)
    return jax.lax.erf_inv(uniform) * np.array(np.sqrt(2), dtype)


def _unit(words: tuple[Array, Array], dtype: Any) -> Array:
    """Turn random words into numbers in [0, 1) with all bits of the mantissa."""
    first, second = words
    if jnp.dtype(dtype) == jnp.float32:
        return ((first ^ second) >> 9).astype(jnp.int32).astype(dtype) * np.float32(2.0**-23)
    return first.astype(dtype) * 2.0**-32 + (second >> 12).astype(dtype) * 2.0**-52


@jax.jit
def _hash(key: Array, counter: np.ndarray | np.uint32) -> tuple[Array, Array]:
    """Encrypt the words 0 and ``counter`` with keys [2, ...]."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(PARITY))
    first = schedule[0]
    second = schedule[1] + counter
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            first = first + second
            second = first ^ ((second << rotation) | (second >> (32 - rotation)))
        first = first + schedule[(group + 1) % 3]
        second = second + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return first, second
