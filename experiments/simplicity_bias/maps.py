"""Maps from parameters to Boolean functions of seven inputs, drawn from their priors.

A function is the string of its 128 values, in the order of the inputs as binary numbers, packed
into four words of 32 bits, the first input in the highest bit of the first word.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import BLOCK

INPUTS = 7
LENGTH = 2**INPUTS
WORD = 32
WORDS = LENGTH // WORD
HIDDEN = 40
DEGREE = 4
# Threshold functions of seven inputs; Muroga, Tsuboi & Baugh, Enumeration of threshold functions
# of eight variables, 1970 (OEIS A000609).
THRESHOLD_FUNCTIONS = 8378070864
# The first 128 binary digits of π after the point.
PI_WORDS = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)


class Scales(NamedTuple):
    """The standard deviations of a net's prior: σ_w/√(fan-in) of weights, σ_b of biases."""

    weight: Array
    bias: Array


class Map(NamedTuple):
    """A parameter–function map.

    ``logits`` maps a key, a number of draws and the scales to real outputs [draws, 128], which are
    positive where the function is 1. ``log_outputs`` is log₂ of the number of functions that the
    map can reach, or a bound above it, and ``outputs`` names that set. ``mask`` are words that are
    added to every function modulo 2.
    """

    name: str
    logits: Callable[[Array, int, Scales], Array]
    log_outputs: float
    outputs: str
    wide: bool = False
    mask: tuple[int, ...] = (0,) * WORDS

    @property
    def slug(self) -> str:
        """Return the name as part of a file name."""
        return self.name.replace(" ", "_").replace("⊕", "xor").replace("π", "pi").replace(",", "")


def inputs() -> np.ndarray:
    """List all inputs in {0, 1}^7, shape [128, 7]; the last one changes fastest."""
    return np.indices(INPUTS * (2,)).reshape(INPUTS, -1).T.astype(np.float32)


def grid() -> np.ndarray:
    """Return 128 points of [−1, 1] in equal steps, none of them 0: the inputs as one number."""
    return (2 * np.arange(LENGTH, dtype=np.float32) - (LENGTH - 1)) / LENGTH


def _layer(key: Array, count: int, fan_in: int, fan_out: int, scales: Scales) -> tuple[Array, ...]:
    """Draw weights [count, fan_in, fan_out] and biases [count, 1, fan_out]."""
    weight_key, bias_key = jax.random.split(key)
    weights = jax.random.normal(weight_key, (count, fan_in, fan_out))
    biases = jax.random.normal(bias_key, (count, 1, fan_out))
    return scales.weight / math.sqrt(fan_in) * weights, scales.bias * biases


def net(activation: Callable[[Array], Array], key: Array, count: int, scales: Scales) -> Array:
    """Draw outputs of nets with two hidden layers of 40 units."""
    widths = (INPUTS, HIDDEN, HIDDEN, 1)
    values = jnp.asarray(inputs())
    for layer, layer_key in enumerate(jax.random.split(key, len(widths) - 1)):
        weights, biases = _layer(layer_key, count, widths[layer], widths[layer + 1], scales)
        values = (values if layer == 0 else activation(values)) @ weights + biases
    return values[..., 0]


def perceptron(key: Array, count: int, scales: Scales) -> Array:
    """Draw outputs of nets without hidden layers."""
    weights, biases = _layer(key, count, INPUTS, 1, scales)
    return (jnp.asarray(inputs()) @ weights + biases)[..., 0]


def polynomial(factors: tuple[int, ...], key: Array, count: int, scales: Scales) -> Array:
    """Draw polynomials of degree four on the grid, each coefficient a product of N(0, 1).

    ``factors`` are how many factors the coefficients of x⁴, x³, x², x and 1 have.
    """
    theta = jax.random.normal(key, (count, sum(factors)))
    ends = np.cumsum(factors)
    each = [theta[:, end - k : end] for k, end in zip(factors, ends, strict=True)]
    coefficients = jnp.stack([jnp.prod(part, axis=1) for part in each], axis=1)
    powers = np.stack([grid() ** (DEGREE - i) for i in range(DEGREE + 1)])
    return coefficients @ jnp.asarray(powers)


def table(key: Array, count: int, scales: Scales) -> Array:
    """Draw each of the 128 values by itself."""
    return jax.random.normal(key, (count, LENGTH))


def maps() -> tuple[Map, ...]:
    """List all maps; the last two are simple programs that show no bias, or one that is masked."""
    everything = (float(LENGTH), "all functions")
    # A polynomial of degree four changes its sign at most four times along the grid.
    changes = 2 * sum(math.comb(LENGTH - 1, k) for k in range(DEGREE + 1))
    few = (math.log2(changes), "four changes of sign")
    threshold = math.log2(THRESHOLD_FUNCTIONS)
    tanh, relu = (functools.partial(net, act) for act in (jnp.tanh, jax.nn.relu))
    return (
        Map("ReLU net", relu, *everything),
        Map("tanh net", tanh, *everything),
        Map("tanh net, wide prior", tanh, *everything, wide=True),
        Map("perceptron", perceptron, threshold, "threshold functions"),
        Map("polynomial", functools.partial(polynomial, (1,) * 5), *few),
        Map("products", functools.partial(polynomial, (1, 2, 3, 4, 5)), *few),
        Map("table", table, *everything),
        Map("π ⊕ perceptron", perceptron, threshold, "threshold functions ⊕ π", mask=PI_WORDS),
    )


def packed(values: Array) -> Array:
    """Pack Boolean values [..., 128] into words [..., 4]."""
    bits = values.reshape(*values.shape[:-1], WORDS, WORD).astype(jnp.uint32)
    return jnp.sum(bits << np.arange(WORD - 1, -1, -1, dtype=np.uint32), axis=-1, dtype=jnp.uint32)


def unpacked(words: np.ndarray) -> np.ndarray:
    """Unpack words [..., 4] into values [..., 128] of 0 and 1."""
    shifts = np.arange(WORD - 1, -1, -1, dtype=np.uint32)
    bits = (words[..., None] >> shifts) & np.uint32(1)
    return bits.reshape(*words.shape[:-1], LENGTH).astype(np.int8)


@functools.partial(jax.jit, static_argnames=("logits", "blocks"))
def draw(
    logits: Callable[[Array, int, Scales], Array],
    blocks: int,
    key: Array,
    first: Array,
    scales: Scales,
    mask: Array,
) -> Array:
    """Draw ``blocks`` of 512 functions from the block ``first`` on, as words [draws, 4]."""
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(first + jnp.arange(blocks))
    words = jax.lax.map(lambda each: packed(logits(each, BLOCK, scales) > 0), keys)
    return words.reshape(-1, WORDS) ^ mask
