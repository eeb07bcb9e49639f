"""Bounds on what interpolation of a likelihood in its data does to the evidence at a node.

A design d(x) [k] that is off by vectors of length ε, times a block of length A, moves
Σ_i a_i(ℓ_i(w) − ℓ_i(w₀)) by no more than (Aε √n R + nA²ε²/2)/σ², R² = Σ_i a_i r_i² of residuals.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from slt_jax.model import FeatureRegression
from slt_jax.oracles.block import BlockStatistics
from slt_jax.oracles.shards import NODES
from slt_jax.statistics import RegressionStatistics

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

# Of the error of a polynomial through Gauss nodes, in units of ρ^−NODES/(ρ − 1); a product of two
# units is as large as this where it is evaluated in the complex plane.
LARGEST = 40.0
# What a node adds to the integral is nothing if it is so many nats below what another one is.
NEGLIGIBLE = 28.0

DesignError = Callable[[np.ndarray], np.ndarray]
# Bounds [N], in nats, of the error of the log evidence at nodes [N, l], given the statistics there
# and the log terms [N] relative to the largest so far.
NodeErrors = Callable[[np.ndarray, BlockStatistics, np.ndarray], np.ndarray]


class Strip(NamedTuple):
    """A strip in which functions of a datum are analytic: within ``singularity``/|w| of the axis.

    |w| is the largest entry of the latent, and ``steepest`` as large as the prior makes it.
    """

    singularity: float
    steepest: float

    def half_width(self, steepest: float | None = None) -> float:
        """Half of the width of the strip at latents up to ``steepest``."""
        return self.singularity / max(self.steepest, steepest or 0.0)

    def error(self, steepest: float | None, nodes: np.ndarray) -> np.ndarray:
        """Bounds [N] on the length of errors of functions interpolated on panels, at nodes [N, l].

        The panels are as wide as the strip is at latents up to ``steepest``. Source: Trefethen,
        *Approximation Theory and Approximation Practice*, Theorem 8.2.
        """
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            ratio = self.singularity / (self.half_width(steepest) * _steepness(nodes))
            ellipse = ratio + np.sqrt(1 + ratio**2)
            error = LARGEST * ellipse ** -float(NODES) / (ellipse - 1)
        return np.sqrt(nodes.shape[1]) * np.nan_to_num(np.minimum(error, LARGEST), nan=0.0)


class Interpolation(NamedTuple):
    """Errors of the columns of a design that are interpolated in x.

    ``largest`` maps latents [N, l] to the length [N] of the vector of the columns' largest errors,
    ``at_points`` to their errors [N, point, k] at points that see the largest ones to a factor 2.
    """

    largest: DesignError
    at_points: DesignError


class Sizes(NamedTuple):
    """The sizes of a data set that bounds need: √(n Σ a_i r_i²)/σ² and n/σ².

    ``gain`` are the most nats that a block can gain, and ``scale`` is that of its prior.
    """

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
        """Bounds for a block of the largest size, and for its own posterior where that matters.

        In units of its prior the square of a block's mean is no more than twice what it can gain.
        """
        size, scale = reduced.precision.shape[1], self.sizes.scale
        most = scale * (math.sqrt(2 * self.beta * self.sizes.gain) + math.sqrt(size))
        bounds = self._change(most * self.largest(nodes))
        if self.rough:
            return bounds
        with np.errstate(divide="ignore"):
            added = logs + bounds + np.log(np.minimum(bounds, 1.0))
        matter = np.flatnonzero(added > -NEGLIGIBLE)
        if len(matter):
            precision, score = (np.asarray(part)[matter] for part in reduced[:2])
            covariance = np.linalg.inv(np.eye(size) + self.beta * precision)
            block = _Block(self.beta * covariance @ score, covariance)
            own = self._change(scale * self.off_by(nodes[matter], block))
            bounds[matter] = np.minimum(bounds[matter], own)
        return bounds

    def _change(self, off: np.ndarray) -> np.ndarray:
        return self.beta * (self.sizes.linear * off + 0.5 * self.sizes.quadratic * off**2)


def feature_errors(
    posterior: Posterior, interpolation: Interpolation, *, rough: bool
) -> NodeErrors:
    """Bounds where the columns of a basis are interpolated by features."""
    (statistics,), model = posterior.statistics, posterior.model
    # Features that interpolate have squares that sum to a half or more, but where the error is
    # small too.
    count = 2 * float(np.trace(statistics.gram))
    constant = count * abs(math.log(2 * math.pi * model.noise**2))
    squares = (2 * abs(float(statistics.log_likelihood_at_optimum)) + constant) * model.noise**2
    sizes = _sizes(posterior, count, squares, best_gain(model, statistics))
    off_by = functools.partial(_off_at, interpolation.at_points)
    return _DesignErrors(interpolation.largest, off_by, sizes, posterior.beta, rough)


def design_errors(posterior: Posterior, off: DesignError, *, rough: bool) -> NodeErrors:
    """Bounds where a design is interpolated in x, with errors ``off``."""
    (statistics,) = posterior.statistics
    weights, y = np.asarray(statistics.weights), np.asarray(statistics.data.y)
    squares = float(weights @ np.sum(y.reshape(len(y), -1) ** 2, axis=1))
    gain = squares / (2 * posterior.model.noise**2)
    sizes = _sizes(posterior, float(np.sum(weights)), squares, gain)
    return _DesignErrors(off, functools.partial(_off_by_length, off), sizes, posterior.beta, rough)


def density_errors(posterior: Posterior, off: DesignError) -> NodeErrors:
    """Bounds where a log-likelihood is interpolated in y: it is no larger than (|y| + |mean|)²."""
    (statistics,) = posterior.statistics
    weight, largest = float(np.sum(statistics.weights)), float(np.max(np.abs(statistics.data.y)))

    def moved(nodes: np.ndarray, reduced: BlockStatistics, logs: np.ndarray) -> np.ndarray:
        del reduced, logs
        size = 1 + (largest + _steepness(nodes)) ** 2
        return posterior.beta * weight * off(nodes) * size

    return moved


def best_gain(model: FeatureRegression, statistics: RegressionStatistics) -> float:
    """The most that any coefficients gain over none, in nats at β = 1."""
    gram, cross, optimum = map(np.asarray, (statistics.gram, statistics.cross, statistics.optimum))
    score = cross + gram @ optimum
    best = np.linalg.lstsq(gram, score, rcond=None)[0]
    return max(0.0, float(np.sum(best * score)) / (2 * model.noise**2))


def _sizes(posterior: Posterior, count: float, squares: float, gain: float) -> Sizes:
    variance, scale = posterior.model.noise**2, posterior.structure.scale
    return Sizes(math.sqrt(count * squares) / variance, count / variance, gain, scale)


def _off_at(at_points: DesignError, nodes: np.ndarray, block: _Block) -> np.ndarray:
    """Errors at points: columns that are alike are off alike, and cancel where these do."""
    errors = at_points(nodes)
    squares = np.sum((errors @ block.covariance) * errors, axis=2)
    squares += np.sum((errors @ block.mean) ** 2, axis=2)
    return 2 * np.sqrt(np.max(squares, axis=1))


def _off_by_length(off: DesignError, nodes: np.ndarray, block: _Block) -> np.ndarray:
    squares = np.trace(block.covariance, axis1=1, axis2=2) + np.sum(block.mean**2, axis=(1, 2))
    return np.sqrt(squares) * off(nodes)


def _steepness(nodes: np.ndarray) -> np.ndarray:
    return np.max(np.abs(np.asarray(nodes)), axis=1)
