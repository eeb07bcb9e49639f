"""Data sets cut into shards of one size, so that one program serves every n; many data as few.

Shards are statistics that add up to those of the data. Where functions of a datum are analytic, few
*moment-matched* pseudo-data stand for many. In an input x nothing enters but sums Σ a_i g(x_i) and
Σ a_i y_i g(x_i) with g a product of two units, and in a y without input Σ a_i g(y_i) with g a
log-likelihood: analytic in a strip about the real axis. On a panel as long as the strip is wide
such a g is, to rounding, the polynomial that interpolates it at NODES Gauss nodes ξ_j, so that
A_j = Σ a_i ℓ_j(x_i) and Y_j = Σ a_i y_i ℓ_j(x_i), with ℓ_j those of Lagrange, stand for the data of
the panel (Trefethen, *Approximation Theory and Approximation Practice*, Theorem 8.2). In more
dimensions panels are cubes, and the ℓ_j products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial.legendre import leggauss, legvander

from slt_jax.data import CHUNK, compiled_statistics
from slt_jax.oracles.laws.law import at_once
from slt_jax.problem import Problem
from slt_jax.run.precision import in_default_precision
from slt_jax.statistics import Data, Params, RegressionStatistics, WeightedData

if TYPE_CHECKING:
    from slt_jax.oracles.structures import Structure

DATA_BLOCK, FEW = 128, 16
# 2.4^−32 is 6e-13 for weights at the end of their reach, and less than rounding for those near 0.
NODES = 32
EPSILON = float(np.finfo(float).eps)


class Points(NamedTuple):
    """``size`` data at which the posterior is asked, in blocks of equal length B.

    With each comes ``shifts`` [S, B], the t of log E_w exp(t·g_j), where g_j = ℓ_j(w) − ℓ_j(w₀).
    """

    blocks: Sequence[tuple[Data, Array]]
    optimum: Params
    size: int


def total_weight(statistics: Any) -> float:
    """Σ_i a_i of statistics; of sufficient statistics, what stands for it in their curvature."""
    if isinstance(statistics, RegressionStatistics):
        return float(np.trace(statistics.gram))
    return float(np.sum(statistics.weights))


def of_replicate(batch: Any, replicate: int) -> Any:
    """One of the trees of arrays that are stacked on a leading axis."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[replicate], batch)


def in_rows(batch: Any, size: int) -> list[Any]:
    """Parts of ``size`` rows of a tree of arrays [n, ...]; the last row fills the last part."""
    count = len(jax.tree.leaves(batch)[0])

    def rows(leaf: Array, start: int) -> np.ndarray:
        return np.asarray(leaf)[np.minimum(np.arange(start, start + size), count - 1)]

    return [
        jax.tree.map(lambda leaf, s=start: jnp.asarray(rows(leaf, s)), batch)
        for start in range(0, count, size)
    ]


def _rows(count: int) -> int:
    """Rows of a shard: as many as make good use of a program, or few where there are few."""
    enough = (size for size in (FEW, DATA_BLOCK) if count <= 2 * size)
    return next(enough, at_once(DATA_BLOCK))


def shards_of(
    statistics: Any, structure: Structure[Any], steepest: float | None = None
) -> list[Any]:
    """Statistics that add up to one: blocks of the data that have weight, or sufficient statistics.

    A data set of a batch is padded to the length of the longest. Where the structure is analytic in
    few numbers of a datum, few pseudo-data stand for many data, at latents up to ``steepest`` or as
    large as the prior makes them.
    """
    if not isinstance(statistics, WeightedData):
        return [jax.tree.map(jnp.asarray, statistics)]
    own = np.flatnonzero(statistics.weights)
    own = own if len(own) else np.zeros(1, int)
    data, weights = jax.tree.map(lambda leaf: np.asarray(leaf)[own], statistics[:2])
    data, weights = structure.fewer(data, weights, steepest)
    size = _rows(len(weights))
    blocks = in_rows(data, size)
    weights = np.pad(weights, (0, -len(weights) % size))
    parts = [jnp.asarray(part) for part in weights.reshape(len(blocks), size)]
    optimum = jax.tree.map(jnp.asarray, statistics.optimum)
    log_likelihood_at_optimum = jnp.asarray(statistics.log_likelihood_at_optimum / len(blocks))
    return [
        WeightedData(*pair, optimum, log_likelihood_at_optimum)
        for pair in zip(blocks, parts, strict=True)
    ]


def stand_for_more(shards: Sequence[Any], statistics: Any) -> bool:
    """True if the data of shards are fewer than those of the statistics that they add up to."""
    if not isinstance(statistics, WeightedData):
        return False
    kept = sum(np.count_nonzero(shard.weights) for shard in shards)
    return bool(kept < np.count_nonzero(statistics.weights))


def statistics_in_parts(problem: Problem, data: Data, weights: np.ndarray) -> list[Any]:
    """Statistics that add up to that of n weighted data: one if the model's are additive."""
    blocks = in_rows(data, CHUNK)
    padded = np.pad(weights, (0, -len(weights) % CHUNK)).reshape(len(blocks), CHUNK)
    optimum = _optimum(problem)
    parts = [
        compiled_statistics(problem.model, optimum, block, jnp.asarray(part))
        for block, part in zip(blocks, padded, strict=True)
    ]
    if isinstance(parts[0], WeightedData):
        log_likelihood_at_optimum = sum(part.log_likelihood_at_optimum for part in parts)
        return [
            WeightedData(
                data, jnp.asarray(weights), optimum, jnp.asarray(log_likelihood_at_optimum)
            )
        ]
    if not problem.model.statistics_are_additive:
        return parts
    total = jax.tree.map(lambda *leaves: sum(leaves), *parts)
    return [total._replace(optimum=parts[0].optimum)]


def points_of(problem: Problem, data: Data, own_weights: np.ndarray) -> Points:
    """Data [N] to ask the posterior about, in which they have the weights a_j given [N].

    Shifts of a datum's weight: by 1, to its predictive density; by −a_j, to the posterior
    without it; and by 1 − a_j, to its predictive density under that.
    """
    shifts = np.stack([np.ones_like(own_weights), -own_weights, 1 - own_weights], axis=1)
    blocks = in_rows((data, shifts), min(_rows(len(data.y)), DATA_BLOCK))
    return Points([(part, shift.T) for part, shift in blocks], _optimum(problem), len(data.y))


def _optimum(problem: Problem) -> Params:
    """w₀ in double precision."""
    return in_default_precision(problem.optimum)


def moment_matched(data: Data, weights: np.ndarray, strip: float) -> tuple[Data, np.ndarray]:
    """Data and weights, some negative, with the same sums as n weighted data.

    x is interpolated, or y where x has no entries, of d numbers; ``strip`` is the half-width of the
    strip in which functions of each are analytic. Panels that hold no more than NODES^d data keep
    them.
    """
    x, y = (np.asarray(part).reshape(len(weights), -1) for part in data)
    places, carried = (x, y) if x.size else (y, x)
    panel = np.floor(places / (2 * strip))
    order = np.lexsort((*places.T, *panel.T))
    starts = np.any(np.diff(panel[order], axis=0) != 0, axis=1)
    parts = []
    for rows in np.split(order, 1 + np.flatnonzero(starts)):
        one = (places[rows], carried[rows], weights[rows])
        parts.append(one if len(rows) <= NODES ** places.shape[1] else _interpolated(*one, strip))
    places, carried, masses = map(np.concatenate, zip(*parts, strict=True))
    fewer = (places, carried) if x.size else (carried, places)
    reshaped = (
        jnp.asarray(values).reshape(len(masses), *np.shape(part)[1:])
        for values, part in zip(fewer, data, strict=True)
    )
    return Data(*reshaped), masses


def _interpolated(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, strip: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes [NODES^d, d], Y_j/A_j [NODES^d, q] and A_j [NODES^d] of the data of one panel."""
    dimension = x.shape[1]
    centre = (2 * np.floor(x[0] / (2 * strip)) + 1) * strip
    places, quadrature = leggauss(NODES)
    # ℓ_j = w_j Σ_k (k + ½) P_k(ξ_j) P_k, as Gauss quadrature is exact for P_k P_l.
    degrees = np.arange(NODES) + 0.5
    sums = _moments((x - centre) / strip, np.column_stack([weights, weights[:, None] * y]))
    for _ in range(dimension):
        flat = sums.reshape(NODES, -1)
        flat = quadrature[:, None] * (legvander(places, NODES - 1) @ (degrees[:, None] * flat))
        # The next axis comes first; after all of them each is back in its place.
        sums = np.moveaxis(flat.reshape(sums.shape), 0, dimension - 1)
    sums = sums.reshape(NODES**dimension, -1)
    masses, products = sums[:, 0], sums[:, 1:]
    least = EPSILON * np.max(np.abs(masses))
    masses = np.where(np.abs(masses) < least, least, masses)
    nodes = np.stack(np.meshgrid(*[places] * dimension, indexing="ij"), axis=-1)
    return centre + strip * nodes.reshape(-1, dimension), products / masses[:, None], masses


def _moments(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Σ_i P_k(x_i1) P_l(x_i2) … v_i [NODES, …, c] of values [n, c]."""
    *others, last = (legvander(column, NODES - 1) for column in x.T)
    rows = values
    for polynomials in reversed(others):
        rows = (polynomials[:, :, None] * rows[:, None]).reshape(len(x), -1)
    sums = (last.T @ rows).reshape(*[NODES] * x.shape[1], -1)
    return np.moveaxis(sums, 0, x.shape[1] - 1)
