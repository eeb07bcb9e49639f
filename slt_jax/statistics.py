"""Weighted data, as they are or reduced to sufficient statistics.

A likelihood is a sum over data with one weight a_i per datum (β for training data, 0 for absent
ones), relative to the optimum w₀.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import jax.numpy as jnp
from jax import Array

Params = Mapping[str, Any]


class Data(NamedTuple):
    """Observations: inputs ``x`` [n, ...] and outputs ``y`` [n, ...].

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
        """Return the data with every weight multiplied by β."""
        return self._replace(
            weights=beta * self.weights,
            log_likelihood_at_optimum=beta * self.log_likelihood_at_optimum,
        )

    @property
    def total_weight(self) -> Array:
        """Σ_i a_i, the number of data when every weight is one."""
        return jnp.sum(self.weights)


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
        """Return the statistics with every sum over data multiplied by β."""
        return self._replace(
            gram=beta * self.gram,
            cross=beta * self.cross,
            log_likelihood_at_optimum=beta * self.log_likelihood_at_optimum,
        )
