"""Weighted data, as they are or reduced to sufficient statistics.

A likelihood is a sum over data with one weight a_i per datum (β for training data, 0 for absent
ones), relative to the optimum w₀.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.validation import NonNegative, checked, is_traced

Params = Mapping[str, Any]

# Of 1024 chains, longer sums are faster as one matrix product of all.
LONGEST_SUM = 8


class Data(NamedTuple):
    """Observations: inputs ``x`` [n, ...] and outputs ``y`` [n, ...]; ``x`` is None without inputs.

    >>> import numpy as np
    >>> from slt_jax import Data
    >>> data = Data(x=np.zeros((100, 2)), y=np.ones((100, 1)))
    >>> data.y.shape
    (100, 1)
    """

    x: Array
    y: Array


class Statistics(Protocol):
    """A tree of arrays that holds all that a model's likelihood needs of weighted data.

    ``log_likelihood_at_optimum`` is Σ_i a_i ℓ_i(w₀) in total nats, which is −nL_n(w₀) when every
    weight is one.
    """

    @property
    def log_likelihood_at_optimum(self) -> Array: ...

    def scaled(self, beta: Array | float) -> Self:
        """Return the statistics of the same data with every weight multiplied by β."""
        ...


class WeightedData(NamedTuple):
    """Weighted data kept as they are, for models without sufficient statistics.

    ``weights`` [n] are 0 for padding; ``optimum`` = w₀; ``log_likelihood_at_optimum`` =
    Σ_i a_i ℓ_i(w₀) in total nats.
    """

    data: Data
    weights: Array
    optimum: Params
    log_likelihood_at_optimum: Array

    def scaled(self, beta: Array | float) -> WeightedData:
        """Return the data with every weight multiplied by β ≥ 0 (ValueError)."""
        beta = checked_beta(beta)
        return self._replace(
            weights=beta * self.weights,
            log_likelihood_at_optimum=beta * self.log_likelihood_at_optimum,
        )

    @property
    def x(self) -> Array:
        """The inputs of the data, shape [n, ...]."""
        return self.data.x

    @property
    def total_weight(self) -> Array:
        """Σ_i a_i, the number of data when every weight is one."""
        return jnp.sum(self.weights)

    def subsample(self, key: Array, batch_size: int) -> WeightedData:
        """Draw a minibatch with replacement, reweighted so that weighted sums are unbiased.

        Datum i is drawn with probability |a_i|/Σ|a| and enters with weight sign(a_i) Σ|a|/size:
        for every function t of a datum E[Σ_batch a t] = Σ_i a_i t_i, whatever the weights. Unit
        weights give the usual n/size, and padding, of weight 0, is not drawn.
        ``log_likelihood_at_optimum`` stays that of all data, which is the expectation of the
        batch's. Float32 resolves the probabilities to 2⁻²³: meant for n up to 10⁵. Raises
        ValueError for a size below 1 or above the number of rows.
        """
        if not 1 <= batch_size <= len(self.weights):
            raise ValueError(
                f"batch_size {batch_size} must lie between 1 and the {len(self.weights)} rows of "
                "the data"
            )
        sizes = jnp.abs(self.weights)
        total = jnp.sum(sizes)
        # Of no data at all there is nothing to draw, and any rows will do: they weigh 0.
        probabilities = jnp.where(total > 0, sizes, 1.0)
        rows = jax.random.choice(key, len(sizes), (batch_size,), p=probabilities)
        drawn, weights = jax.tree.map(
            lambda leaf: jnp.asarray(leaf)[rows], (self.data, self.weights)
        )
        return self._replace(data=drawn, weights=jnp.sign(weights) * total / batch_size)


def checked_beta(beta: Any) -> Any:
    """Return a finite β ≥ 0, or one that is traced. Raises ValueError for another."""
    return beta if is_traced(beta) else checked("beta", beta, NonNegative)


class RegressionStatistics(NamedTuple):
    """Sufficient statistics of Gaussian regression on p features with q outputs, centred on w₀.

    ``gram`` [p, p] = Σ a_i φ_i φ_iᵀ; ``cross`` [p, q] = Σ a_i φ_i (y_i − f(x_i, w₀))ᵀ;
    ``optimum`` [p, q] = c(w₀); ``log_likelihood_at_optimum`` = Σ a_i ℓ_i(w₀) in total nats.
    """

    gram: Array
    cross: Array
    optimum: Array
    log_likelihood_at_optimum: Array

    def scaled(self, beta: Array | float) -> RegressionStatistics:
        """Return the statistics with every sum over data multiplied by β ≥ 0 (ValueError)."""
        beta = checked_beta(beta)
        return self._replace(
            gram=beta * self.gram,
            cross=beta * self.cross,
            log_likelihood_at_optimum=beta * self.log_likelihood_at_optimum,
        )


@jax.custom_jvp
def quadratic_form(delta: Array, gram: Array, cross: Array) -> Array:
    """tr δᵀ(Mδ − 2U) of a symmetric M: ``delta`` δ and ``cross`` U are [p] or [p, q].

    Its gradient 2(Mδ − U) needs the product Mδ of the value and no other.
    """
    return jnp.sum(delta * (_product(gram, delta) - 2 * cross))


@quadratic_form.defjvp
def _quadratic_form_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    delta, gram, cross = primals
    delta_dot, gram_dot, cross_dot = tangents
    curved = _product(gram, delta)
    by_data = jnp.sum(delta * (_product(gram_dot, delta) - 2 * cross_dot))
    change = 2 * jnp.sum(delta_dot * (curved - cross)) + by_data
    return jnp.sum(delta * (curved - 2 * cross)), change


def _product(gram: Array, delta: Array) -> Array:
    """Return Mδ of a symmetric M; of few features, or of several columns, as a fused sum."""
    if len(gram) <= (LONGEST_SUM if delta.ndim == 1 else 2 * LONGEST_SUM):
        columns = delta.reshape(1, *delta.shape)
        return jnp.sum(gram.reshape(*gram.shape, *(1,) * (delta.ndim - 1)) * columns, axis=1)
    # Chains first in the product, as they are in δ: for sums over both of them, its transpose would
    # be read column by column. Accelerators multiply matrices in fewer bits unless asked not to:
    # nats would be lost.
    return jnp.matmul(delta.T, gram, precision="highest").T
