"""A rule in cells that are halved where the posterior of a data set asks for it.

In four dimensions the posterior lies along sets that no tensor product of panels follows: one unit
at the true one and the other anywhere, two units that are equal, or one that is dead. So the space
is cut into boxes, and the axis of a box along which the integrand is least like a polynomial is
halved until what is left out is small (Berntsen, Espelid & Genz, ACM Trans. Math. Softw. 17, 1991,
choose so). Units are exchangeable: of boxes that are permutations of one another one is kept.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial.legendre import leggauss, legvander

from slt_jax.compilations import jit_at_first_call
from slt_jax.model import Model, Regression
from slt_jax.oracles.collapse import (
    BlockStatistics,
    Units,
    log_block_evidence,
    pairs_of,
    total_weight,
)
from slt_jax.oracles.latents import log_density
from slt_jax.oracles.moments import Combinations, NodeBlock, at_once, statistics_at, sums_at
from slt_jax.structures import CellsLatent, Collapse, Coordinate, LinearBlock, Structure

MOST_DIMENSIONS = 4
SEARCH_ORDER = 4
BULK = 2.0
# By the ratio of a resolution, which one of lower order shares.
TOLERANCES = {4.0: 0.2, 3.0: 0.15, 2.5: 0.1}
MARKED = 0.8
MAX_CELLS = 200_000
# Information, in data at a noise of one, whose posterior is wide, and the ratio of the β of those
# that come before a narrow one.
WIDE, COLDER = 30.0, 4.0
AT_ONCE = 16_384
CELLS_AT_ONCE = 64
LAID_OUT = 4096
# Lists of units, and pairs of them, whose sums over data are held at a time.
FEW_HELD, HELD = 32, 256

LogDensity = Callable[[np.ndarray], np.ndarray]
AnyArray = TypeVar("AnyArray", np.ndarray, Array)


class Cells(NamedTuple):
    """Boxes [N, unit, coordinate] with the multiplicity [N] of each under exchange of units."""

    low: np.ndarray
    high: np.ndarray
    multiplicity: np.ndarray

    def parts(self, size: int) -> Iterator["Cells"]:
        """So many boxes at a time."""
        for start in range(0, len(self.low), size):
            yield Cells(*(values[start : start + size] for values in self))


class Values(NamedTuple):
    """Of each cell the logarithm of the integral [N], and the share of it that is in doubt along
    each axis [N, dimension]."""

    log_integral: np.ndarray
    doubt: np.ndarray


def cells_of(
    latent: CellsLatent,
    structure: Collapse | LinearBlock,
    model: Regression,
    pieces: Sequence[Any],
    beta: float,
    ratio: float,
) -> Cells:
    """Cells for the posterior at β of a data set, whatever the order of the rule in them.

    They are halved at small β first, as nodes see nothing of a peak that is much narrower than
    their distance, but see one half as wide as the one that they were laid out for. Raises
    ValueError where MAX_CELLS do not settle the integral to the tolerance of resolutions of this
    ratio.
    """

    # Each axis less makes so many fewer cells that they may settle ten times as much.
    tolerance = TOLERANCES[ratio] * 10.0 ** (_dimension(latent) - MOST_DIMENSIONS)
    cells = first_cells(latent)
    information = sum(map(total_weight, pieces)) * (structure.scale / model.noise) ** 2
    for colder in _temperatures(beta, information):
        evidence = functools.partial(_log_density, structure, model, pieces, colder)
        cells = settled_cells(latent, evidence, tolerance, cells)
    return cells


def _temperatures(beta: float, information: float) -> list[float]:
    """The β to settle cells at, one after the other, up to the one of the posterior."""
    steps = max(0, math.ceil(math.log(max(beta * information, 1.0) / WIDE) / math.log(COLDER)))
    return [beta * COLDER**-step for step in range(steps, -1, -1)]


def cell_blocks(
    latent: CellsLatent,
    structure: Collapse | LinearBlock,
    model: Regression,
    pieces: Sequence[Any],
    cells: Cells,
    order: int,
) -> Iterator[NodeBlock]:
    """Blocks of all nodes of some cells at a time, of a rule of an order or, in more than two
    dimensions, of two less."""
    order = order - 2 if _dimension(latent) > 2 else order
    for number, part in enumerate(cells.parts(LAID_OUT)):
        units, logs = _grid(latent, part, order)
        size = _cells_at_once(units)
        for rows, seen in _some_at_a_time(structure, model, pieces, units):
            short = ((0, size - len(rows)), (0, 0), (0, 0))
            each = np.pad(logs[rows], short, constant_values=-np.inf)
            log_weights = sums_of_all(jnp.asarray(each)).ravel()
            places = np.pad(number * LAID_OUT + rows, short[0], constant_values=-1)
            if isinstance(seen, Combinations):
                nodes = compiled_combinations(jnp.asarray(_filled(units[rows], size)))
                yield NodeBlock(nodes, log_weights, seen, cells=places)
            else:
                yield NodeBlock(seen, log_weights, cells=places)


def _dimension(latent: CellsLatent) -> int:
    return latent.num_units * len(latent.coordinates)


def _some_at_a_time(
    structure: Structure, model: Model, pieces: Sequence[Any], units: np.ndarray
) -> Iterator[tuple[np.ndarray, Array | Combinations]]:
    """Rows of cells of units [N, G, m, c], and what ``statistics_at`` sees their nodes by.

    That is of one number of cells, the last of which is repeated where they are fewer.
    """
    size = _cells_at_once(units)
    if not (isinstance(structure, LinearBlock) and structure.sums is None):
        for rows in _cut(np.arange(len(units)), size):
            yield rows, compiled_combinations(jnp.asarray(_filled(units[rows], size)))
        return
    assert isinstance(model, Regression)
    for held, pool, lists, pairs in _pools(units):
        sums = sums_at(structure, model, pieces, pool)
        for here in _cut(np.arange(len(held)), size):
            places = (jnp.asarray(_filled(each[here], size)) for each in (lists, pairs))
            yield held[here], Combinations(sums, *places)


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return np.split(rows, np.arange(size, len(rows), size))


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    return np.pad(rows, ((0, size - len(rows)), *((0, 0),) * (rows.ndim - 1)), mode="edge")


def _cells_at_once(units: np.ndarray) -> int:
    """How many of some cells are laid out at a time: one of two numbers, to compile two."""
    count, groups, nodes, _ = units.shape
    most = min(max(1, at_once(AT_ONCE) // nodes**groups), at_once(CELLS_AT_ONCE))
    return min(most, CELLS_AT_ONCE) if count <= CELLS_AT_ONCE else most


def _pools(units: np.ndarray) -> Iterator[tuple[np.ndarray, Units, np.ndarray, np.ndarray]]:
    """Rows of cells of units [N, G, m, c] that have few lists of units and few pairs of lists, with
    these, and the places of each cell's own among them [rows, G] and [rows, G(G − 1)/2]."""
    count, groups, nodes, coordinates = units.shape
    flat = units.reshape(-1, nodes, coordinates)
    ends = flat[:, [0, -1]].reshape(len(flat), -1)
    _, first, inverse = np.unique(ends, axis=0, return_index=True, return_inverse=True)
    which = inverse.reshape(count, groups)
    g, h = np.array(pairs_of(groups), int).reshape(-1, 2).T
    couples = which[:, g] * len(first) + which[:, h]
    for rows in _rows_held(which, couples):
        lists, own = np.unique(which[rows], return_inverse=True)
        pairs, together = np.unique(couples[rows], return_inverse=True)
        room = FEW_HELD if max(len(lists), len(pairs)) <= FEW_HELD else HELD
        places = np.searchsorted(lists, np.stack(np.divmod(pairs, len(first)), axis=1))
        places = np.pad(places, ((0, room - len(pairs)), (0, 0)))
        pool = Units(
            jnp.asarray(_filled(flat[first[lists]], room)),
            jnp.asarray(places),
            jnp.array([len(lists), len(pairs)]),
        )
        yield rows, pool, own.reshape(-1, groups), together.reshape(-1, len(g))


def _rows_held(which: np.ndarray, couples: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of cells, sorted by their lists, that together have no more than HELD lists or pairs."""
    rows: list[int] = []
    lists: set[int] = set()
    pairs: set[int] = set()
    for row in np.lexsort(which.T[::-1]):
        fresh = lists.union(which[row].tolist()), pairs.union(couples[row].tolist())
        if max(map(len, fresh)) > HELD:
            yield np.array(rows)
            rows, fresh = [], (set(which[row].tolist()), set(couples[row].tolist()))
        rows.append(row)
        lists, pairs = fresh
    yield np.array(rows)


def settled_cells(
    latent: CellsLatent, log_density: LogDensity, tolerance: float, cells: Cells
) -> Cells:
    """Cells, made of those given, whose doubts add up to less than the tolerance, relative to the
    integral.

    Raises ValueError for a density that is NaN and where MAX_CELLS are not enough.
    """
    values = _values(latent, cells, log_density)
    while True:
        if np.any(np.isnan(values.log_integral)):
            raise ValueError("the likelihood is NaN or infinite on these data")
        share = np.exp(values.log_integral - np.max(values.log_integral))
        doubt = share[:, None] * values.doubt
        worst = np.max(doubt, axis=1)
        if np.sum(worst) <= tolerance * np.sum(share):
            return cells
        if len(worst) > MAX_CELLS:
            raise ValueError(
                f"{len(worst)} cells leave {np.sum(worst) / np.sum(share):.1g} of the integral in "
                f"doubt: {tolerance} is allowed"
            )
        order = np.argsort(-worst)
        count = int(np.searchsorted(np.cumsum(worst[order]), MARKED * np.sum(worst))) + 1
        marked, kept = order[:count], np.sort(order[count:])
        children = _halved(latent, cells, marked, np.argmax(doubt[marked], axis=1))
        fresh = _values(latent, children, log_density)
        cells = Cells(*(np.concatenate([a[kept], b]) for a, b in zip(cells, children, strict=True)))
        values = Values(*(np.concatenate([a[kept], b]) for a, b in zip(values, fresh, strict=True)))


def first_cells(latent: CellsLatent) -> Cells:
    """Boxes between the singular points of each coordinate and the bulk of its law."""
    edges = [_edges(coordinate) for coordinate in latent.coordinates]
    boxes = list(itertools.product(*(itertools.pairwise(one) for one in edges)))
    tuples = list(itertools.combinations_with_replacement(boxes, latent.num_units))
    bounds = np.array(tuples)
    return _with_multiplicity(bounds[..., 0], bounds[..., 1])


def _edges(coordinate: Coordinate) -> list[float]:
    low, high, scale, singular, _ = coordinate
    bulk = () if scale is None else (-BULK * scale, BULK * scale)
    return sorted({low, high, *(p for p in (*singular, *bulk) if low < p < high)})


def _with_multiplicity(low: np.ndarray, high: np.ndarray) -> Cells:
    """G! orders of the units, less those that only exchange units in equal boxes."""
    units = low.shape[1]
    equal = np.all((low[:, :, None] == low[:, None]) & (high[:, :, None] == high[:, None]), axis=3)
    # ∏_c m_c! of clusters of m_c equal boxes: each box counts those equal to it up to itself.
    alike = np.prod(np.sum(np.tril(equal), axis=2), axis=1)
    return Cells(low, high, math.factorial(units) / alike)


def _halved(latent: CellsLatent, cells: Cells, marked: np.ndarray, axes: np.ndarray) -> Cells:
    """The marked cells, halved along an axis of one unit and of those in a box equal to its own.

    Of m units in equal boxes j = 0 … m lie in the lower half.
    """
    lows, highs = [], []
    for cell, axis in zip(marked, axes, strict=True):
        low, high = cells.low[cell], cells.high[cell]
        unit, coordinate = divmod(int(axis), len(latent.coordinates))
        alike = np.all((low == low[unit]) & (high == high[unit]), axis=1)
        together = np.flatnonzero(alike)
        middle = (low[unit, coordinate] + high[unit, coordinate]) / 2
        for count in range(len(together) + 1):
            new_low, new_high = low.copy(), high.copy()
            new_high[together[:count], coordinate] = middle
            new_low[together[count:], coordinate] = middle
            lows.append(new_low)
            highs.append(new_high)
    return _with_multiplicity(np.array(lows), np.array(highs))


def _values(latent: CellsLatent, cells: Cells, log_density: LogDensity) -> Values:
    """Integrals and doubts of cells, by SEARCH_ORDER nodes along each axis.

    The doubt along an axis is the size of the two highest Legendre coefficients of the integral
    over all other axes.
    """
    dimension = cells.low[0].size
    unit, weights = leggauss(SEARCH_ORDER)
    vander = legvander(unit, SEARCH_ORDER - 1)[:, -2:] * weights[:, None]
    vander = vander / np.sqrt(np.sum(vander**2, axis=0) / np.sum(weights**2))
    logs, doubts = [], []
    for part in cells.parts(LAID_OUT):
        units, log_weights = _grid(latent, part, SEARCH_ORDER)
        terms = log_density(units) + sums_of_all(log_weights)
        peak = np.max(terms, axis=1)
        peak = np.where(np.isfinite(peak), peak, 0.0)
        masses = np.exp(terms - peak[:, None])
        total = np.sum(masses, axis=1)
        table = masses.reshape(-1, *(SEARCH_ORDER,) * dimension)
        parts = []
        for axis in range(dimension):
            others = tuple(other + 1 for other in range(dimension) if other != axis)
            along = np.sum(table, axis=others) / weights
            parts.append(np.linalg.norm(along @ vander, axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs.append(peak + np.log(total))
            doubts.append(np.nan_to_num(np.column_stack(parts) / total[:, None]))
    return Values(np.concatenate(logs), np.concatenate(doubts))


def _grid(latent: CellsLatent, cells: Cells, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes of each unit [N, G, order^c, c] of cells, and log-weights [N, G, order^c] that
    add up to those of combinations."""
    unit, weights = leggauss(order)
    coordinates = len(latent.coordinates)
    places = np.stack(np.meshgrid(*[unit] * coordinates, indexing="ij"), axis=-1)
    half, centre = (cells.high - cells.low) / 2, (cells.high + cells.low) / 2
    nodes = centre[:, :, None] + half[:, :, None] * places.reshape(-1, coordinates)
    one = np.sum(np.meshgrid(*[np.log(weights)] * coordinates, indexing="ij"), axis=0).ravel()
    logs = one + np.sum(np.log(half), axis=2)[:, :, None]
    for place, coordinate in enumerate(latent.coordinates):
        logs += log_density(coordinate, nodes[..., place])
    logs[:, 0] += np.log(cells.multiplicity)[:, None]
    return nodes, logs


def combinations(units: Array) -> Array:
    """All nodes [N·m^G, G·c] that units [N, G, m, c] make, the last unit changing fastest."""
    groups, count = units.shape[1:3]
    which = np.indices((count,) * groups).reshape(groups, -1)
    nodes = jnp.stack([units[:, group, which[group]] for group in range(groups)], axis=2)
    return nodes.reshape(-1, groups * units.shape[3])


def sums_of_all(logs: AnyArray) -> AnyArray:
    """Sums [N, m^G] of one of each of G rows of logs [N, G, m], in the order of combinations."""
    total = logs[:, 0]
    for group in range(1, logs.shape[1]):
        total = (total[:, :, None] + logs[:, group, None]).reshape(len(logs), -1)
    return total


def _log_density(
    structure: Structure, model: Model, pieces: Sequence[Any], beta: float, units: np.ndarray
) -> np.ndarray:
    """Log of the block's evidence [N, m^G] at all combinations of units [N, G, m, c]."""
    found = np.empty((len(units), units.shape[2] ** units.shape[1]))
    for rows, nodes in _some_at_a_time(structure, model, pieces, units):
        statistics = statistics_at(structure, model, pieces, nodes)
        logs = np.asarray(compiled_evidence(statistics, jnp.float64(beta)))
        found[rows] = logs.reshape(-1, found.shape[1])[: len(rows)]
    return found


def _evidence(statistics: BlockStatistics, beta: Array) -> Array:
    return jax.vmap(log_block_evidence, (0, None))(statistics, beta)


compiled_evidence = jit_at_first_call(_evidence)
compiled_combinations = jit_at_first_call(combinations)
