"""Data sets and statistics cut into pieces of one size, so that one program serves every n."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.data import CHUNK
from slt_jax.model import Model
from slt_jax.oracles.condensed import condensed
from slt_jax.oracles.moments import DATA_BLOCK, Points, at_once
from slt_jax.oracles.structures import Direct, LinearBlock, Structure
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.statistics import Data, Params, WeightedData

FEW = 16


def of_replicate(batch: Any, replicate: int) -> Any:
    """One of the trees of arrays that are stacked on a leading axis."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[replicate], batch)


def cut(batch: Any, size: int) -> list[Any]:
    """Pieces of ``size`` rows of a tree of arrays [n, ...]; the last row fills the last piece."""
    count = len(jax.tree.leaves(batch)[0])

    def rows(leaf: Array, start: int) -> np.ndarray:
        return np.asarray(leaf)[np.minimum(np.arange(start, start + size), count - 1)]

    return [
        jax.tree.map(lambda leaf, s=start: jnp.asarray(rows(leaf, s)), batch)
        for start in range(0, count, size)
    ]


def _rows(count: int) -> int:
    """Rows of a piece: as many as make good use of a program, or few where there are few."""
    enough = (size for size in (FEW, DATA_BLOCK) if count <= 2 * size)
    return next(enough, at_once(DATA_BLOCK))


def pieces_of(statistics: Any, structure: Structure, steepest: float | None = None) -> list[Any]:
    """Statistics that add up to one: blocks of the data that have weight, or sufficient statistics.

    A data set of a batch is padded to the length of the longest. Where the structure is analytic in
    few numbers of a datum, many data are condensed to few, which serve latents up to ``steepest``
    or as large as the prior makes them.
    """
    if not isinstance(statistics, WeightedData):
        return [jax.tree.map(jnp.asarray, statistics)]
    own = np.flatnonzero(statistics.weights)
    own = own if len(own) else np.zeros(1, int)
    data, weights = jax.tree.map(lambda leaf: np.asarray(leaf)[own], statistics[:2])
    if isinstance(structure, LinearBlock) and structure.odd:
        data = _folded(data)
    if isinstance(structure, LinearBlock | Direct) and structure.strip is not None:
        data, weights = condensed(data, weights, structure.strip.half_width(steepest))
    size = _rows(len(weights))
    blocks = cut(data, size)
    weights = np.pad(weights, (0, -len(weights) % size))
    parts = [jnp.asarray(part) for part in weights.reshape(len(blocks), size)]
    origin = jax.tree.map(jnp.asarray, statistics.optimum)
    log_likelihood_at_optimum = jnp.asarray(statistics.log_likelihood_at_optimum / len(blocks))
    return [
        WeightedData(*pair, origin, log_likelihood_at_optimum)
        for pair in zip(blocks, parts, strict=True)
    ]


def is_condensed(pieces: Sequence[Any], statistics: Any) -> bool:
    """Whether fewer data than there are stand for them in statistics that ``pieces_of`` made."""
    if not isinstance(statistics, WeightedData):
        return False
    kept = sum(np.count_nonzero(piece.weights) for piece in pieces)
    return bool(kept < np.count_nonzero(statistics.weights))


def _folded(data: Data) -> Data:
    """The data (−x, −y) for those (x, y) that have a negative first entry of x."""
    sign = np.where(data.x[:, :1] < 0, -1.0, 1.0)
    return jax.tree.map(lambda leaf: sign * leaf, data)


def statistics_in_parts(problem: Problem, data: Data, weights: np.ndarray) -> list[Any]:
    """Statistics that add up to that of n weighted data: one if the model's are additive."""
    blocks = cut(data, CHUNK)
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
    blocks = cut((data, shifts), min(_rows(len(data.y)), DATA_BLOCK))
    return Points([(part, shift.T) for part, shift in blocks], _optimum(problem), len(data.y))


def _optimum(problem: Problem) -> Params:
    """w₀ in double precision."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), dict(problem.optimum))


def _statistics(model: Model, optimum: Params, data: Data, weights: Array) -> Any:
    return model.statistics(optimum, data, weights)


compiled_statistics = jit_at_first_call(_statistics, static_argnums=(0,))
