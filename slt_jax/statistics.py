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
    """Observations: ``x`` of shape [n, ...] and ``y`` of shape [n, ...]."""

    x: Array
    y: Array


class Statistics(Protocol):
    """What a model's likelihood needs of weighted data: a tree of arrays that can be scaled.

    ``log_likelihood_at_optimum`` is Σ_i a_i ℓ_i(w₀) in total nats, −nL_n(w₀) when every weight is one.
    """

    @property
    def log_likelihood_at_optimum(self) -> Array: ...

    def scaled(self, beta: Array | float) -> Self:
        """The statistics of the same data with every weight multiplied by β."""
        ...


class WeightedData(NamedTuple):
    """Weighted data kept as they are, for models without sufficient statistics.

    ``weights`` [n] is 0 for padding; ``optimum`` = w₀; ``log_likelihood_at_optimum`` = Σ_i a_i ℓ_i(w₀) in total
    nats.
    """

    data: Data
    weights: Array
    optimum: Params
    log_likelihood_at_optimum: Array

    def scaled(self, beta: Array | float) -> WeightedData:
        """Every weight multiplied by β."""
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
        """Every sum over data multiplied by β."""
        return self._replace(
            gram=beta * self.gram,
            cross=beta * self.cross,
            log_likelihood_at_optimum=beta * self.log_likelihood_at_optimum,
        )
