"""What interpolation of a likelihood in its data may do to the evidence at a node.

A design d(x) [k] that is off by vectors of length ε, times a block of length A, moves
Σ_i a_i(ℓ_i(w) − ℓ_i(w₀)) by no more than (Aε √n R + nA²ε²/2)/σ², R² = Σ_i a_i r_i² of residuals.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from slt_jax.model import DataSummary, FeatureRegression, FeatureSummary, Model, Regression
from slt_jax.oracles.collapse import BlockStatistics
from slt_jax.oracles.condensed import NODES
from slt_jax.oracles.moments import NodeErrors, compiled_mean_square
from slt_jax.oracles.pieces import is_condensed
from slt_jax.structures import Collapse, Direct, Interpolation, LinearBlock, Strip, Structure

# Of the error of a polynomial through Gauss nodes, in units of ρ^−NODES/(ρ − 1); a product of two
# units is as large as this where it is evaluated in the complex plane.
LARGEST = 40.0
# Nats that are nothing, and by how many a node is below others of its block that it is nothing to.
SMALL, NEGLIGIBLE = 1e-12, 45.0


DesignError = Callable[[np.ndarray], np.ndarray]


class Sizes(NamedTuple):
    """Of a data set √(n Σ a_i r_i²)/σ² and n/σ², and the scale of the block's prior."""

    linear: float
    quadratic: float
    scale: float


def node_errors(
    structure: Structure,
    model: Model,
    summaries: Sequence[Any],
    pieces: Sequence[Any],
    beta: float,
    steepest: float | None = None,
) -> NodeErrors | None:
    """Bounds on errors of the evidence of one data set at β, None where nothing is interpolated.

    ``summaries`` add up to that of the data, and so do the ``pieces`` that were made of them for
    latents up to ``steepest``.
    """
    if isinstance(structure, Collapse):
        if structure.interpolation is None:
            return None
        assert isinstance(model, FeatureRegression)
        (summary,) = summaries
        sizes = _of_features(structure, model, summary)
        return functools.partial(_moved_features, structure.interpolation, sizes, beta)
    if structure.strip is None:
        return None
    (summary,) = summaries
    if not is_condensed(pieces, summary):
        return None
    off = functools.partial(_condensed_error, structure.strip, steepest)
    if isinstance(structure, Direct):
        return functools.partial(_moved_density, off, _span(summary), beta)
    assert isinstance(model, Regression)
    return functools.partial(_moved, off, _of_data(structure, model, summary), beta)


def best_gain(model: FeatureRegression, summary: FeatureSummary) -> float:
    """The most that any coefficients gain over none, in nats at β = 1."""
    gram, cross, origin = map(np.asarray, (summary.gram, summary.cross, summary.origin))
    score = cross + gram @ origin
    found = np.linalg.lstsq(gram, score, rcond=None)[0]
    return max(0.0, float(np.sum(found * score)) / (2 * model.noise**2))


def _of_features(structure: Collapse, model: FeatureRegression, summary: FeatureSummary) -> Sizes:
    # Features that interpolate have squares that sum to a half or more, but where the error is
    # small too.
    count = 2 * float(np.trace(summary.gram))
    constant = count * abs(math.log(2 * math.pi * model.noise**2))
    squares = (2 * abs(float(summary.reference)) + constant) * model.noise**2
    return _sizes(structure, model, count, squares)


def _of_data(structure: LinearBlock, model: Regression, summary: DataSummary) -> Sizes:
    weights, y = np.asarray(summary.weights), np.asarray(summary.data.y)
    squares = float(weights @ np.sum(y.reshape(len(y), -1) ** 2, axis=1))
    return _sizes(structure, model, float(np.sum(weights)), squares)


def _sizes(
    structure: Collapse | LinearBlock, model: Regression, count: float, squares: float
) -> Sizes:
    variance = model.noise**2
    return Sizes(math.sqrt(count * squares) / variance, count / variance, structure.scale)


def _moved_features(
    interpolation: Interpolation,
    sizes: Sizes,
    beta: float,
    nodes: np.ndarray,
    statistics: BlockStatistics,
    logs: np.ndarray,
) -> np.ndarray:
    """The bound by lengths, and where that is not small enough by errors at points.

    Columns that are alike are off alike, and a block of large entries that cancel is not off.
    """
    lengths = sizes.scale * _lengths(statistics, beta)
    found = _change(sizes, beta, lengths * interpolation.largest(nodes))
    matter = (found > SMALL) & (logs + found > np.max(logs) - NEGLIGIBLE)
    if np.any(matter):
        precision, score = (np.asarray(part)[matter] for part in statistics[:2])
        covariance = np.linalg.inv(np.eye(precision.shape[1]) + beta * precision)
        errors = interpolation.at_points(nodes[matter])
        mean = errors @ (beta * covariance @ score)
        squares = np.sum((errors @ covariance) * errors, axis=2) + np.sum(mean**2, axis=2)
        between = 2 * sizes.scale * np.sqrt(np.max(squares, axis=1))
        found[matter] = np.minimum(found[matter], _change(sizes, beta, between))
    return found


def _moved(
    off: DesignError,
    sizes: Sizes,
    beta: float,
    nodes: np.ndarray,
    statistics: BlockStatistics,
    logs: np.ndarray,
) -> np.ndarray:
    del logs
    return _change(sizes, beta, sizes.scale * _lengths(statistics, beta) * off(nodes))


def _lengths(statistics: BlockStatistics, beta: float) -> np.ndarray:
    return np.sqrt(np.asarray(compiled_mean_square(statistics, jnp.float64(beta))))


def _change(sizes: Sizes, beta: float, off: np.ndarray) -> np.ndarray:
    return beta * (sizes.linear * off + 0.5 * sizes.quadratic * off**2)


def _span(summary: DataSummary) -> tuple[float, float]:
    """Total weight, and the largest y."""
    return float(np.sum(summary.weights)), float(np.max(np.abs(summary.data.y)))


def _moved_density(
    off: DesignError,
    span: tuple[float, float],
    beta: float,
    nodes: np.ndarray,
    statistics: BlockStatistics,
    logs: np.ndarray,
) -> np.ndarray:
    """Of Σ_i a_i ℓ(y_i), where ℓ is no larger than the square of the distance of y to a mean."""
    del statistics, logs
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
