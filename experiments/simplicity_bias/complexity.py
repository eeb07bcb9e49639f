"""The Lempel–Ziv complexity of 1976 of many binary strings at once."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .maps import LENGTH, unpacked

# Bits of half a word: K is a multiple of it.
UNIT = math.log2(LENGTH) / 2
# Strings whose matches fit into the caches.
BLOCK = 1024

State = tuple[Array, Array]


@jax.jit
def word_counts(strings: Array) -> Array:
    """Count the words [N] of the exhaustive history of strings [N, n] of 0 and 1.

    Each word is the shortest that does not occur before its own last letter. The match of length r
    at t with lag d, s_t … s_{t+r−1} = s_{t−d} … , is found for all d at once from the end: r at t
    is one more than r at t + 1 where s_t = s_{t−d}, and else 0.

    Source: Lempel & Ziv, On the complexity of finite sequences, IEEE Transactions on Information
    Theory 22 (1976); Kaspar & Schuster, Physical Review A 36 (1987) 842.
    """
    number, length = strings.shape
    lags = jnp.arange(1, length, dtype=jnp.int32)
    letters = strings.T.astype(jnp.int8)

    def match(runs: Array, t: Array) -> tuple[Array, Array]:
        """Take runs [lag, N] from t + 1 to t, and the longest of them [N]."""
        earlier = letters[jnp.maximum(t - lags, 0)]
        same = (earlier == letters[t]) & (lags <= t)[:, None]
        runs = jnp.where(same, runs + 1, 0).astype(jnp.int16)
        return runs, jnp.max(runs, axis=0)

    def parse(state: State, at: State) -> tuple[State, None]:
        """Start a word where the last one has ended."""
        begins, count = state
        t, longest = at
        new = begins == t
        return (jnp.where(new, t + longest + 1, begins), count + new), None

    places = jnp.arange(length, dtype=jnp.int32)
    runs = jnp.zeros((length - 1, number), jnp.int16)
    _, longest = jax.lax.scan(match, runs, places, reverse=True)
    start = (jnp.zeros(number, jnp.int32), jnp.zeros(number, jnp.int32))
    (_, count), _ = jax.lax.scan(parse, start, (places, longest.astype(jnp.int32)))
    return count


@functools.partial(jax.jit, static_argnames="blocks")
def _both_ways(strings: Array, blocks: int) -> Array:
    shaped = strings.reshape(blocks, -1, strings.shape[-1])
    return jax.lax.map(lambda each: word_counts(each) + word_counts(each[:, ::-1]), shaped).ravel()


def lempel_ziv(words: np.ndarray) -> np.ndarray:
    """Compute the complexity K in bits of functions, packed as words [N, 4].

    K = log₂ n for the two constant strings of length n = 128, and otherwise (log₂ n/2)(N(x) +
    N(xᴿ)), with N the number of words and xᴿ the string backwards.

    Source: Dingle, Camargo & Louis, Input–output maps are strongly biased towards simple outputs,
    Nature Communications 9 (2018) 761.
    """
    strings = unpacked(words)
    number = len(strings)
    # Sizes that are powers of two need few programs.
    blocks = 1 << max(0, (number - 1) // BLOCK).bit_length()
    padded = np.zeros((blocks * BLOCK, LENGTH), np.int8)
    padded[:number] = strings
    count = np.asarray(_both_ways(padded, blocks))[:number].astype(float)
    ones = strings.sum(axis=1)
    constant = (ones == 0) | (ones == LENGTH)
    return UNIT * np.where(constant, 2.0, count)
