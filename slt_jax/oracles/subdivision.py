"""Adaptive subdivision: cells that are halved where the posterior of a data set asks for it.

In four dimensions the posterior lies along sets that no tensor product of panels follows: one unit
at the true one and the other anywhere, two units that are equal, or one that is dead. So the space
is cut into boxes, and the axis of a box along which the integrand is least like a polynomial is
halved until what is left out is small (Berntsen, Espelid & Genz, ACM Trans. Math. Softw. 17, 1991,
choose so). Units are exchangeable: of boxes that are permutations of one another one is kept.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial.legendre import leggauss, legvander

from slt_jax.oracles.laws.charts import Chart
from slt_jax.oracles.laws.law import NodeBlock, Resolution, at_once
from slt_jax.oracles.moments import Posterior
from slt_jax.oracles.quadrature import UnsettledError
from slt_jax.oracles.unit_sums import Combinations, Units, pairs_of, sums_at
from slt_jax.run.compilation import jit_at_first_call

MOST_DIMENSIONS = 4
# In three and four dimensions, by the ratio of a resolution, which one of lower order shares.
SEARCH_ORDER = 4
TOLERANCES = {4.0: 0.2, 3.0: 0.15, 2.5: 0.1}
# In one or two, where the search has the order of the coarser rule.
FINE_TOLERANCE = 1e-5
MARKED = 0.8
MAX_CELLS, MOST_FOLLOWED = 200_000, 60_000
# A cell is at most so many times as wide as one beside it that has more than so much of the largest
# share: nodes see nothing of a peak that reaches over the edge of a wide cell.
GRADING, HOLDS = 4.0, 1e-3
MOST_HOLDING, TOGETHER = 2048, 1_000_000
# Information, in data at a noise of one, whose posterior is wide, and the ratio of the β of those
# that come before a narrow one.
WIDE, BETA_RATIO = 30.0, 4.0
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
        """Yield the boxes, ``size`` at a time."""
        for start in range(0, len(self.low), size):
            yield Cells(*(values[start : start + size] for values in self))


class Values(NamedTuple):
    """Integrals of cells: their logarithms [N], the share of each that is in doubt along each axis
    [N, dimension], and the highest [N] of the log evidences at its nodes."""

    log_integral: np.ndarray
    doubt: np.ndarray
    highest: np.ndarray


def cells_of(
    chart: Chart,
    posterior: Posterior,
    coarse: Resolution,
    cells: Cells | None = None,
    allowed: float = 0.0,
) -> tuple[Cells, Values]:
    """Cells for the posterior at β of a data set, whatever the order of the rule in them.

    They are halved at small β first, as nodes see nothing of a peak that is much narrower than
    their distance, but see one half as wide as the one that they were laid out for. Where ``cells``
    are given that nearly serve, they are halved at β alone; ``allowed`` is as in ``settled_cells``.
    Raises UnsettledError as that does; the tolerance is that of ``coarse``, the lowest resolution
    that is to serve.
    """

    def evidence(at: float) -> LogDensity:
        return functools.partial(_log_density, chart, posterior._replace(beta=at))

    beta = posterior.beta
    order, tolerance = SEARCH_ORDER, TOLERANCES[coarse.ratio]
    if chart.dimension == MOST_DIMENSIONS - 1:
        # An axis less makes so many fewer cells that they may settle ten times as much.
        tolerance /= 10
    elif chart.dimension < MOST_DIMENSIONS - 1:
        order, tolerance = coarse.order, FINE_TOLERANCE
    if cells is not None:
        return settled_cells(chart, evidence(beta), tolerance, cells, order, allowed)
    cells = first_cells(chart)
    logs = evidence(beta)(_grid(chart, cells, order)[0])
    finite = logs[np.isfinite(logs)]
    contrast = float(np.ptp(finite)) if finite.size else 0.0
    information = beta * posterior.structure.information(posterior)
    for lower in _increasing_betas(beta, max(information, contrast)):
        cells, values = settled_cells(chart, evidence(lower), tolerance, cells, order, allowed)
    return cells, values


def _increasing_betas(beta: float, information: float) -> list[float]:
    """The β to settle cells at, one after the other, up to the one of the posterior.

    ``information`` are nats by which its density may differ between nodes.
    """
    steps = max(0, math.ceil(math.log(max(information, 1.0) / WIDE) / math.log(BETA_RATIO)))
    return [beta * BETA_RATIO**-step for step in range(steps, -1, -1)]


def cell_blocks(
    chart: Chart, posterior: Posterior, cells: Cells, order: int, first: int = 0
) -> Iterator[NodeBlock]:
    """Blocks of all nodes of some cells at a time, of a rule of an order or, in more than two
    dimensions, of two less. Cells are numbered from ``first`` on."""
    order = order - 2 if chart.dimension > 2 else order
    for number, part in enumerate(cells.parts(LAID_OUT)):
        units, logs = _grid(chart, part, order)
        size = _cells_at_once(units)
        for rows, own, factors in _some_at_a_time(chart, posterior, units):
            short = ((0, size - len(rows)), (0, 0), (0, 0))
            each = np.pad(logs[rows], short, constant_values=-np.inf)
            log_weights = sums_of_all(jnp.asarray(each)).ravel()
            places = first + number * LAID_OUT + rows
            places = np.pad(places, short[0], constant_values=-1)
            yield NodeBlock(_nodes_of(chart, own), log_weights, factors, places)


def _some_at_a_time(
    chart: Chart, posterior: Posterior, units: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, Combinations | None]]:
    """Rows of cells of units [N, G, m, c], with these units, and the sums over data that serve
    their nodes, if the data are not seen by nodes.

    The units are of one number of cells, the last of which is repeated where they are fewer.
    """
    size = _cells_at_once(units)
    if chart.num_units == 1 or not posterior.structure.sees_units:
        for rows in _cut(np.arange(len(units)), size):
            yield rows, _filled(units[rows], size), None
        return
    for held, pool, lists, pairs in _pools(units):
        sums = sums_at(posterior, pool)
        for here in _cut(np.arange(len(held)), size):
            places = (jnp.asarray(_filled(each[here], size)) for each in (lists, pairs))
            yield held[here], _filled(units[held[here]], size), Combinations(sums, *places)


def _nodes_of(chart: Chart, units: np.ndarray) -> Array:
    """Latents at all combinations of units [N, G, m, c]."""
    if chart.num_units == 1:
        nodes = jnp.asarray(units.reshape(-1, units.shape[-1]))
    else:
        nodes = compiled_combinations(jnp.asarray(units))
    return nodes if chart.place is None else chart.place(nodes)


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return np.split(rows, np.arange(size, len(rows), size))


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    return np.pad(rows, ((0, size - len(rows)), *((0, 0),) * (rows.ndim - 1)), mode="edge")


def _cells_at_once(units: np.ndarray) -> int:
    """The number of cells to lay out at a time: one of two, so that two programs are compiled."""
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
    chart: Chart,
    log_density: LogDensity,
    tolerance: float,
    cells: Cells,
    order: int = SEARCH_ORDER,
    allowed: float = 0.0,
) -> tuple[Cells, Values]:
    """Cells, made of those given, whose doubts add up to less than the tolerance, relative to the
    integral, or if as many as time allows do not settle it, to no more than is ``allowed``.

    Raises ValueError for a density that is NaN, and UnsettledError where MAX_CELLS are not enough,
    or MOST_FOLLOWED beyond the bulk of a prior.
    """
    values = _values(chart, cells, log_density, order)
    most = MAX_CELLS if chart.nats == math.inf else MOST_FOLLOWED
    while True:
        if np.any(np.isnan(values.log_integral)):
            raise ValueError("the likelihood is NaN or infinite on these data")
        share = np.exp(values.log_integral - np.max(values.log_integral))
        doubt = share[:, None] * values.doubt
        worst = np.max(doubt, axis=1)
        settled = np.sum(worst) <= tolerance * np.sum(share)
        marked, axes = _beside_narrow(cells, share) if settled else _doubtful(doubt)
        if not len(marked):
            return cells, values
        if len(worst) > most:
            if np.sum(worst) <= allowed * np.sum(share):
                return cells, values
            raise UnsettledError(
                f"{len(worst)} cells leave {np.sum(worst) / np.sum(share):.1g} of the integral in "
                f"doubt: {tolerance} is allowed"
            )
        kept = np.setdiff1d(np.arange(len(worst)), marked)
        children = _halved(chart, cells, marked, axes)
        fresh = _values(chart, children, log_density, order)
        cells = Cells(*(np.concatenate([a[kept], b]) for a, b in zip(cells, children, strict=True)))
        values = Values(*(np.concatenate([a[kept], b]) for a, b in zip(values, fresh, strict=True)))


def _doubtful(doubt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells that have most of the doubts [N, dimension], and the axis of most doubt of each."""
    worst = np.max(doubt, axis=1)
    order = np.argsort(-worst)
    count = int(np.searchsorted(np.cumsum(worst[order]), MARKED * np.sum(worst))) + 1
    return order[:count], np.argmax(doubt[order[:count]], axis=1)


def _beside_narrow(cells: Cells, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells that are much wider than one beside them that holds something, and along which axis."""
    count, units, coordinates = cells.low.shape
    holding = np.argsort(-share)[:MOST_HOLDING]
    holding = holding[share[holding] > HOLDS * np.max(share)]
    widths = cells.high - cells.low
    widest = np.zeros_like(widths)
    step = max(1, TOGETHER // widths.size)
    axes = [(slice(None), *place) for place in np.ndindex(units, coordinates)]
    for order in itertools.permutations(range(units)):
        for start in range(0, len(holding), step):
            rows = holding[start : start + step]
            low, high = (bounds[rows][:, list(order)] for bounds in cells[:2])
            width = high - low
            beside = np.ones((len(rows), count), bool)
            # An axis at a time: reductions over short last axes are ten times slower.
            for axis in axes:
                beside &= cells.low[axis] <= (high + width)[axis][:, None]
                beside &= cells.high[axis] >= (low - width)[axis][:, None]
            for axis in axes:
                narrowest = np.min(np.where(beside, width[axis][:, None], np.inf), axis=0)
                widest[axis] = np.maximum(widest[axis], widths[axis] / narrowest)
    flat = widest.reshape(count, -1)
    marked = np.flatnonzero(np.max(flat, axis=1) > GRADING)
    return marked, np.argmax(flat[marked], axis=1)


def first_cells(chart: Chart) -> Cells:
    """Boxes between the edges of each axis."""
    boxes = list(itertools.product(*(itertools.pairwise(axis.edges) for axis in chart.axes)))
    tuples = list(itertools.combinations_with_replacement(boxes, chart.num_units))
    bounds = np.array(tuples)
    return _with_multiplicity(bounds[..., 0], bounds[..., 1])


def _with_multiplicity(low: np.ndarray, high: np.ndarray) -> Cells:
    """G! orders of the units, less those that only exchange units in equal boxes."""
    units = low.shape[1]
    equal = np.all((low[:, :, None] == low[:, None]) & (high[:, :, None] == high[:, None]), axis=3)
    # ∏_c m_c! of clusters of m_c equal boxes: each box counts those equal to it up to itself.
    alike = np.prod(np.sum(np.tril(equal), axis=2), axis=1)
    return Cells(low, high, math.factorial(units) / alike)


def _halved(chart: Chart, cells: Cells, marked: np.ndarray, axes: np.ndarray) -> Cells:
    """The marked cells, halved along an axis of one unit and of those in a box equal to its own.

    Of m units in equal boxes j = 0 … m lie in the lower half.
    """
    lows, highs = [], []
    for cell, axis in zip(marked, axes, strict=True):
        low, high = cells.low[cell], cells.high[cell]
        unit, coordinate = divmod(int(axis), len(chart.axes))
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


def _values(
    chart: Chart, cells: Cells, log_density: LogDensity, order: int = SEARCH_ORDER
) -> Values:
    """Integrals and doubts of cells, by ``order`` nodes along each axis.

    The doubt along an axis is the size of the two highest Legendre coefficients of the integral
    over all other axes.
    """
    dimension = cells.low[0].size
    unit, weights = leggauss(order)
    vander = legvander(unit, order - 1)[:, -2:] * weights[:, None]
    vander = vander / np.sqrt(np.sum(vander**2, axis=0) / np.sum(weights**2))
    logs, doubts, highest = [], [], []
    for part in cells.parts(LAID_OUT):
        units, log_weights = _grid(chart, part, order)
        evidences = log_density(units)
        highest.append(np.max(evidences, axis=1))
        terms = evidences + sums_of_all(log_weights)
        peak = np.max(terms, axis=1)
        peak = np.where(np.isfinite(peak), peak, 0.0)
        masses = np.exp(terms - peak[:, None])
        total = np.sum(masses, axis=1)
        table = masses.reshape(-1, *(order,) * dimension)
        parts = []
        for axis in range(dimension):
            others = tuple(other + 1 for other in range(dimension) if other != axis)
            along = np.sum(table, axis=others) / weights
            parts.append(np.linalg.norm(along @ vander, axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs.append(peak + np.log(total))
            doubts.append(np.nan_to_num(np.column_stack(parts) / total[:, None]))
    return Values(*map(np.concatenate, (logs, doubts, highest)))


def _grid(chart: Chart, cells: Cells, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes of each unit [N, G, order^c, c] of cells, and log-weights [N, G, order^c] that
    add up to those of combinations."""
    unit, weights = leggauss(order)
    coordinates = len(chart.axes)
    places = np.stack(np.meshgrid(*[unit] * coordinates, indexing="ij"), axis=-1)
    half, centre = (cells.high - cells.low) / 2, (cells.high + cells.low) / 2
    nodes = centre[:, :, None] + half[:, :, None] * places.reshape(-1, coordinates)
    one = np.sum(np.meshgrid(*[np.log(weights)] * coordinates, indexing="ij"), axis=0).ravel()
    logs = one + np.sum(np.log(half), axis=2)[:, :, None]
    for place, axis in enumerate(chart.axes):
        logs += axis.log_density(nodes[..., place])
    logs[:, 0] += np.log(cells.multiplicity)[:, None] + chart.log_share
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


def _log_density(chart: Chart, posterior: Posterior, units: np.ndarray) -> np.ndarray:
    """Log of the block's evidence [N, m^G] at all combinations of units [N, G, m, c]."""
    logs = np.empty((len(units), units.shape[2] ** units.shape[1]))
    for rows, own, factors in _some_at_a_time(chart, posterior, units):
        if factors is None:
            at_nodes = posterior.statistics_at(_nodes_of(chart, own))
        else:
            at_nodes = factors.statistics(posterior)
        evidences = posterior.log_evidence(at_nodes)
        logs[rows] = evidences.reshape(-1, logs.shape[1])[: len(rows)]
    return logs


compiled_combinations = jit_at_first_call(combinations)
