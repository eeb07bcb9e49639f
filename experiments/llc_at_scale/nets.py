"""Deep linear nets of random widths, ranks and singular values, with K from exact second moments.

The inputs are N(0, I) and the noise has variance one, so that K(w) = ½‖W_L…W₁ − C‖² and n is only a
number. Chains start at w* = diag(s_1^{1/L}, …, s_r^{1/L}, 0, …) in every layer, where each product
of layers has the rank r of C: there the local λ is the global one.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax import theory
from slt_jax.samplers.target import Target

# Layers of a net, both allowed; widths and singular values spread by factors of up to this.
FEWEST_LAYERS, MOST_LAYERS = 2, 5
SPREAD = 2.0
# What a step costs beside its matrix products, in operations: about 0.15 ms.
OVERHEAD = 1e7
# More chains than one share the overhead of small nets; fewer leave large ones time.
CHAIN_PARAMETERS = 60_000
FEWEST_CHAINS, MOST_CHAINS = 4, 32
# From this size on the spread of one chain is below any error of interest: one from each side.
LARGE = 300_000


class Net(NamedTuple):
    """A net of the ``widths`` from input to output whose true map has these ``singular_values``."""

    widths: tuple[int, ...]
    singular_values: tuple[float, ...]

    @property
    def rank(self) -> int:
        """The rank r of the true map."""
        return len(self.singular_values)

    @property
    def depth(self) -> int:
        """The number L of layers."""
        return len(self.widths) - 1

    @property
    def dimension(self) -> int:
        """The number d of parameters."""
        return sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))

    @property
    def label(self) -> str:
        """The widths and the rank as text."""
        return f"{'-'.join(map(str, self.widths))} rank {self.rank}"

    @property
    def theory(self) -> theory.Theory:
        """λ and m by the theorem."""
        return theory.deep_linear(self.widths, self.rank)

    @property
    def num_chains(self) -> int:
        """Chains by size: 32 of a small net and 4 of one with 10⁴ parameters or more, then 2."""
        if self.dimension > LARGE:
            return 2
        fitting = 2 ** int(math.log2(max(CHAIN_PARAMETERS / self.dimension, 1)))
        return min(max(fitting, FEWEST_CHAINS), MOST_CHAINS)

    @property
    def work(self) -> float:
        """Floating-point operations of one step of all chains: three passes over the product."""
        first, *hidden = self.widths
        products = sum(first * a * b for a, b in zip(hidden, hidden[1:], strict=False))
        return 6.0 * self.num_chains * products + OVERHEAD

    def true_layers(self) -> list[np.ndarray]:
        """Return the layers of w*, float64 [out, in] each."""
        values = np.array(self.singular_values) ** (1 / self.depth)
        layers = []
        for into, out in zip(self.widths, self.widths[1:], strict=False):
            layer = np.zeros((out, into))
            layer[np.arange(self.rank), np.arange(self.rank)] = values
            layers.append(layer)
        return layers

    def centre(self) -> Array:
        """Return w* as one vector [d]."""
        return jnp.asarray(
            np.concatenate([layer.ravel() for layer in self.true_layers()]), jnp.float32
        )

    def truth(self) -> Array:
        """Return the true map C [out, in]."""
        product = functools.reduce(lambda done, layer: layer @ done, self.true_layers())
        return jnp.asarray(product, jnp.float32)


def random_net(seed: Sequence[int], size: int) -> Net:
    """Draw a net of about ``size`` parameters: depth, widths, rank and singular values.

    The depth is uniform from 2 to 5, widths are log-uniform over a factor of four before they are
    scaled to the size, the rank uniform from 0 to the smallest width, and singular values are
    log-uniform from ½ to 2.
    """
    rng = np.random.default_rng(list(seed))
    layers = int(rng.integers(FEWEST_LAYERS, MOST_LAYERS + 1))
    reach = math.log(SPREAD)
    shape = np.exp(rng.uniform(-reach, reach, layers + 1))
    scale = math.sqrt(size / float(np.sum(shape[1:] * shape[:-1])))
    widths = tuple(max(2, round(float(width) * scale)) for width in shape)
    rank = int(rng.integers(0, min(widths) + 1))
    return Net(widths, tuple(float(s) for s in np.exp(rng.uniform(-reach, reach, rank))))


@functools.cache
def target_of(widths: tuple[int, ...]) -> Target:
    """Return the target with log-likelihood −K whose data is the true map, one per architecture."""
    shapes = [(out, into) for into, out in zip(widths, widths[1:], strict=False)]
    ends = np.cumsum([out * into for out, into in shapes])

    def log_likelihood(w: Array, truth: Array) -> Array:
        parts = jnp.split(w, ends[:-1])
        layers = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        product = functools.reduce(lambda done, layer: layer @ done, layers)
        return -jnp.sum((product - truth) ** 2) / 2

    return Target(
        sample_prior=lambda key: jax.random.normal(key, (int(ends[-1]),)),
        log_prior=lambda w: -jnp.sum(w**2) / 2,
        log_likelihood=log_likelihood,
    )
