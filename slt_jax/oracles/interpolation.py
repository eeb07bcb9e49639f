"""Bounds on what interpolation of a likelihood in its data does to the evidence at a node.

A design d(x) [k] that is off by vectors of length ε, times a block of length A, moves
Σ_i a_i(ℓ_i(w) − ℓ_i(w₀)) by no more than (Aε √n R + nA²ε²/2)/σ², R² = Σ_i a_i r_i² of residuals.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from slt_jax.model import FeatureRegression, Model, Regression
from slt_jax.oracles.collapse import BlockStatistics
from slt_jax.oracles.condensed import NODES
from slt_jax.oracles.moments import NodeErrors
from slt_jax.oracles.pieces import is_condensed
from slt_jax.oracles.structures import Collapse, Direct, LinearBlock, Strip, Structure
from slt_jax.statistics import RegressionStatistics, WeightedData

# Of the error of a polynomial through Gauss nodes, in units of ρ^−NODES/(ρ − 1); a product of two
# units is as large as this where it is evaluated in the complex plane.
LARGEST = 40.0
# What a node adds to the integral is nothing if it is so many nats below what another one is.
NEGLIGIBLE = 28.0


DesignError = Callable[[np.ndarray], np.ndarray]


class Sizes(NamedTuple):
    """Of a data set √(n Σ a_i r_i²)/σ² and n/σ², the most nats that a block can gain, and the scale
    of its prior."""

    linear: float
    quadratic: float
    gain: float
    scale: float


class _Block(NamedTuple):
    """Mean [N, k, q] and covariance [N, k, k] of the block at nodes, in units of its prior."""

    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class _DesignErrors:
    """Bounds on errors of the evidence at nodes whose design is off by vectors of some lengths.

    ``largest`` maps nodes [N, l] to bounds [N] on these lengths, and ``off_by`` nodes and the
    posteriors of the block there to the root mean square [N] of what the regression function is
    off by. ``rough`` bounds are of any block, and cost little.
    """

    largest: DesignError
    off_by: Callable[[np.ndarray, _Block], np.ndarray]
    sizes: Sizes
    beta: float
    rough: bool

    def __call__(self, nodes: np.ndarray, reduced: BlockStatistics, logs: np.ndarray) -> np.ndarray:
        """Those of a block of the largest size, and of its own posterior where that matters.

        In units of its prior the square of a block's mean is no more than twice what it can gain.
        """
        size, scale = reduced.precision.shape[1], self.sizes.scale
        most = scale * (math.sqrt(2 * self.beta * self.sizes.gain) + math.sqrt(size))
        found = self._change(most * self.largest(nodes))
        if self.rough:
            return found
        with np.errstate(divide="ignore"):
            added = logs + found + np.log(np.minimum(found, 1.0))
        matter = np.flatnonzero(added > -NEGLIGIBLE)
        if len(matter):
            precision, score = (np.asarray(part)[matter] for part in reduced[:2])
            covariance = np.linalg.inv(np.eye(size) + self.beta * precision)
            block = _Block(self.beta * covariance @ score, covariance)
            own = self._change(scale * self.off_by(nodes[matter], block))
            found[matter] = np.minimum(found[matter], own)
        return found

    def _change(self, off: np.ndarray) -> np.ndarray:
        return self.beta * (self.sizes.linear * off + 0.5 * self.sizes.quadratic * off**2)


def node_errors(
    structure: Structure,
    model: Model,
    all_statistics: Sequence[Any],
    pieces: Sequence[Any],
    beta: float,
    steepest: float | None = None,
    *,
    rough: bool = False,
) -> NodeErrors | None:
    """Bounds on errors of the evidence of one data set at β, None where nothing is interpolated.

    ``all_statistics`` add up to that of the data, and so do the ``pieces`` that were made of them for
    latents up to ``steepest``. ``rough`` bounds cost little.
    """
    if isinstance(structure, Collapse):
        if structure.interpolation is None:
            return None
        assert isinstance(model, FeatureRegression)
        (statistics,) = all_statistics
        largest, at_points = structure.interpolation
        sizes = _of_features(structure, model, statistics)
        return _DesignErrors(largest, functools.partial(_off_at, at_points), sizes, beta, rough)
    if structure.strip is None:
        return None
    (statistics,) = all_statistics
    if not is_condensed(pieces, statistics):
        return None
    off = functools.partial(_condensed_error, structure.strip, steepest)
    if isinstance(structure, Direct):
        return functools.partial(_moved_density, off, _span(statistics), beta)
    assert isinstance(model, Regression)
    sizes = _of_data(structure, model, statistics)
    return _DesignErrors(off, functools.partial(_off_by_length, off), sizes, beta, rough)


def best_gain(model: FeatureRegression, statistics: RegressionStatistics) -> float:
    """The most that any coefficients gain over none, in nats at β = 1."""
    gram, cross, origin = map(np.asarray, (statistics.gram, statistics.cross, statistics.optimum))
    score = cross + gram @ origin
    found = np.linalg.lstsq(gram, score, rcond=None)[0]
    return max(0.0, float(np.sum(found * score)) / (2 * model.noise**2))


def _of_features(
    structure: Collapse, model: FeatureRegression, statistics: RegressionStatistics
) -> Sizes:
    # Features that interpolate have squares that sum to a half or more, but where the error is
    # small too.
    count = 2 * float(np.trace(statistics.gram))
    constant = count * abs(math.log(2 * math.pi * model.noise**2))
    squares = (2 * abs(float(statistics.log_likelihood_at_optimum)) + constant) * model.noise**2
    return _sizes(structure, model, count, squares, best_gain(model, statistics))


def _of_data(structure: LinearBlock, model: Regression, statistics: WeightedData) -> Sizes:
    weights, y = np.asarray(statistics.weights), np.asarray(statistics.data.y)
    squares = float(weights @ np.sum(y.reshape(len(y), -1) ** 2, axis=1))
    gain = squares / (2 * model.noise**2)
    return _sizes(structure, model, float(np.sum(weights)), squares, gain)


def _sizes(
    structure: Collapse | LinearBlock, model: Regression, count: float, squares: float, gain: float
) -> Sizes:
    variance = model.noise**2
    return Sizes(math.sqrt(count * squares) / variance, count / variance, gain, structure.scale)


def _off_at(at_points: DesignError, nodes: np.ndarray, block: _Block) -> np.ndarray:
    """By errors at points: columns that are alike are off alike, and cancel where these do."""
    errors = at_points(nodes)
    squares = np.sum((errors @ block.covariance) * errors, axis=2)
    squares += np.sum((errors @ block.mean) ** 2, axis=2)
    return 2 * np.sqrt(np.max(squares, axis=1))


def _off_by_length(off: DesignError, nodes: np.ndarray, block: _Block) -> np.ndarray:
    squares = np.trace(block.covariance, axis1=1, axis2=2) + np.sum(block.mean**2, axis=(1, 2))
    return np.sqrt(squares) * off(nodes)


def _span(statistics: WeightedData) -> tuple[float, float]:
    """Total weight, and the largest y."""
    return float(np.sum(statistics.weights)), float(np.max(np.abs(statistics.data.y)))


def _moved_density(
    off: DesignError,
    span: tuple[float, float],
    beta: float,
    nodes: np.ndarray,
    reduced: BlockStatistics,
    logs: np.ndarray,
) -> np.ndarray:
    """Of Σ_i a_i ℓ(y_i), where ℓ is no larger than the square of the distance of y to a mean."""
    del reduced, logs
    weight, largest = span
    return beta * weight * off(nodes) * (1 + (largest + _steepness(nodes)) ** 2)


def _condensed_error(strip: Strip, steepest: float | None, nodes: np.ndarray) -> np.ndarray:
    """Of functions that are analytic within singularity/|w| on panels of the width of the strip.

    Source: Trefethen, *Approximation Theory and Approximation Practice*, Theorem 8.2.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = strip.singularity / (strip.half_width(steepest) * _steepness(nodes))
        ellipse = ratio + np.sqrt(1 + ratio**2)
        error = LARGEST * ellipse ** -float(NODES) / (ellipse - 1)
    return np.sqrt(nodes.shape[1]) * np.nan_to_num(np.minimum(error, LARGEST), nan=0.0)


def _steepness(nodes: np.ndarray) -> np.ndarray:
    return np.max(np.abs(np.asarray(nodes)), axis=1)
