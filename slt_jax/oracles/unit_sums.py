"""Sums over data by units and pairs of units, which serve all nodes that combine these units.

The design at a node is that of its units one by one, so that the data need not be seen by each
node.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.model import Regression
from slt_jax.oracles.block import BlockStatistics
from slt_jax.oracles.laws.law import at_once
from slt_jax.oracles.structures import Structure, block_energy
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.statistics import WeightedData

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

# Lists of units and pairs of lists that are seen at a time.
LISTS, PAIRS = 8, 1


class Units(NamedTuple):
    """Units that are seen once however many nodes they are part of.

    ``values`` [P, m, c] of P lists of m units; ``pairs`` [Q, 2] of lists whose products are asked.
    Of both there may be fewer than there is room for: ``counts`` [2].
    """

    values: Array
    pairs: Array
    counts: Array


class UnitSums(NamedTuple):
    """Sums over data of the designs d of units, at β = 1.

    ``squares`` [P, m] of d², ``score`` [P, m, q] of d·y/σ and ``products`` [Q, m, m] of d_i d_j
    with i of the first list of a pair and j of the second; ``energy`` as in BlockStatistics.
    """

    squares: Array
    score: Array
    products: Array
    energy: Array


def unit_sums(
    structure: Structure[Any],
    model: Regression,
    steps: tuple[int, int],
    units: Units,
    statistics: WeightedData,
) -> UnitSums:
    """Sums of one statistics at lists of units and at pairs of lists, so many of each at a time.

    Those of several statistics add up.
    """
    (x, y), weights = statistics.data, statistics.weights
    over_units = jax.vmap(jax.vmap(model.design, (0, None)), (0, None))
    over_data = jax.vmap(over_units, (None, 0), out_axes=2)

    def of_lists(values: Array) -> tuple[Array, Array, Array]:
        design = structure.scale / model.noise * over_data(values, x)[..., 0]
        weighted = weights * design
        score = jnp.einsum("pin,nq->piq", weighted, y) / model.noise
        return design, jnp.sum(weighted * design, axis=2), score

    def of_pairs(pairs: Array) -> Array:
        return (weights * designs[pairs[:, 0]]) @ jnp.swapaxes(designs[pairs[:, 1]], 1, 2)

    designs, squares, score = _in_steps(of_lists, units.values, steps[0], units.counts[0])
    products = _in_steps(of_pairs, units.pairs, steps[1], units.counts[1])
    return UnitSums(squares, score, products, block_energy(model, statistics))


def _in_steps(function: Callable[[Array], Any], rows: Array, step: int, count: Array) -> Any:
    """A function of the first ``count`` rows, of ``step`` at a time; zeros for what lies beyond."""
    step = min(step, len(rows))

    def taken(place: Array | int, sums: Any) -> Any:
        start = step * place
        fresh = function(jax.lax.dynamic_slice_in_dim(rows, start, step))
        write = jax.lax.dynamic_update_slice_in_dim
        return jax.tree.map(lambda leaf, new: write(leaf, new, start, 0), sums, fresh)

    shapes = jax.eval_shape(function, rows[:step])
    zeros = jax.tree.map(lambda s: jnp.zeros((len(rows), *s.shape[1:]), s.dtype), shapes)
    return jax.lax.fori_loop(0, -(-count // step), taken, zeros)


def combined(sums: UnitSums, lists: Array, pairs: Array) -> BlockStatistics:
    """``node_statistics`` at all combinations of a unit of each of G lists, leading axis [m^G].

    ``lists`` [G] and ``pairs`` [G(G − 1)/2], in the order of ``pairs_of``, are places in the sums.
    The design at a node is that of its units one by one, so that the data are seen by pairs of
    units and not by each node.
    """
    groups, count = len(lists), sums.squares.shape[1]
    which = jnp.indices((count,) * groups).reshape(groups, -1)
    precision = jnp.zeros((which.shape[1], groups, groups))
    for g in range(groups):
        precision = precision.at[:, g, g].set(sums.squares[lists[g]][which[g]])
    for place, (g, h) in enumerate(pairs_of(groups)):
        both = sums.products[pairs[place]][which[g], which[h]]
        precision = precision.at[:, g, h].set(both).at[:, h, g].set(both)
    return BlockStatistics(
        precision=precision,
        score=jnp.moveaxis(sums.score[lists[:, None], which], 1, 0),
        energy=jnp.full(which.shape[1], sums.energy),
    )


def pairs_of(groups: int) -> list[tuple[int, int]]:
    """The pairs (g, h) with h < g."""
    return [(g, h) for g in range(groups) for h in range(g)]


class Combinations(NamedTuple):
    """All combinations of one unit of each of G lists in each of N cells.

    ``lists`` [N, G] and ``pairs`` [N, G(G − 1)/2] are places in the ``sums``, as in ``combined``.
    """

    sums: UnitSums
    lists: Array
    pairs: Array

    def statistics(self, posterior: "Posterior") -> BlockStatistics:
        """Statistics of the data at all nodes, the last unit changing fastest."""
        del posterior
        return compiled_combined(*self)


def sums_at(posterior: "Posterior", units: Units) -> UnitSums:
    """Sums over all shards of the data at lists of units and at pairs of them."""
    steps = (at_once(LISTS), at_once(PAIRS))
    at = (posterior.structure, posterior.model, steps, units)
    first, *rest = posterior.shards
    sums = compiled_unit_sums(*at, first)
    for shard in rest:
        sums = compiled_more_sums(*at, shard, sums)
    return sums


def more_unit_sums(
    structure: Structure[Any],
    model: Regression,
    steps: tuple[int, int],
    units: Units,
    statistics: Any,
    before: UnitSums,
) -> UnitSums:
    """Sums of one statistics more than those before."""
    return jax.tree.map(jnp.add, before, unit_sums(structure, model, steps, units, statistics))


def statistics_of_combinations(sums: UnitSums, lists: Array, pairs: Array) -> BlockStatistics:
    """Statistics at all combinations of the units of each cell, leading axis [cell·m^G]."""
    in_cells = jax.vmap(combined, (None, 0, 0))(sums, lists, pairs)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), in_cells)


compiled_unit_sums = jit_at_first_call(unit_sums, static_argnums=(0, 1, 2))
compiled_more_sums = jit_at_first_call(more_unit_sums, static_argnums=(0, 1, 2))
compiled_combined = jit_at_first_call(statistics_of_combinations)
