"""Real data for nets: scikit-learn's handwritten digits, and a net that learns them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jax import Array

CLASSES, BRIGHTEST = 10, 16.0


class DigitNet(linen.Module):
    """One hidden layer of ``width`` tanh units and ten logits."""

    width: int

    @linen.compact
    def __call__(self, x: Array) -> Array:
        return linen.Dense(CLASSES)(jnp.tanh(linen.Dense(self.width)(x)))


def shuffled_digits(key: Array) -> tuple[Array, Array]:
    """Return all 1797 images [1797, 64], in [−½, ½], and their labels [1797], in random order.

    Source: Alpaydin & Kaynak, Optical recognition of handwritten digits, UCI repository 1998, as
    scikit-learn ships it.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.asarray(jax.random.permutation(key, len(labels)))
    return (
        jnp.asarray(images[order] / BRIGHTEST - 0.5, jnp.float32),
        jnp.asarray(labels[order], jnp.int32),
    )
