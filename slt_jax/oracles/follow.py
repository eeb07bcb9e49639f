"""A posterior that the data draw out of the bulk of its prior, followed to where they put it.

The coordinates of its law are cut into cells as far out as the data ask for: what lies beyond an
interval that holds all but e^−nats of the prior is at most e^−nats times the highest evidence, and
the interval is widened until that is nothing beside the integral.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from slt_jax.model import Model
from slt_jax.oracles.cells import Cells, Values, cell_blocks, cells_of
from slt_jax.oracles.charts import Chart, charts_of
from slt_jax.oracles.latents import Resolution
from slt_jax.oracles.moments import NodeBlock
from slt_jax.oracles.quadrature import UnsettledError
from slt_jax.oracles.structures import Structure

FIRST, FARTHEST = 60.0, 1e9
# Nats by which the integrand beyond the cells is less than the integral.
BELOW = 36.0
# In so few dimensions cells settle well enough for what they leave in doubt to be a bound.
FEW, DOUBTFUL = 2, 1e-2
WIDENED = 4.0
# A cell that has less than this of the integral says nothing of where it lies.
SHARE = 1e-14
# Data are condensed for units so many times as steep as the steepest that matter.
MARGIN = 3.0

PiecesAt = Callable[[float | None], Sequence[Any]]


class Followed(NamedTuple):
    """Statistics of the data that add up, and a rule per resolution in blocks.

    ``log_left_out`` [3] as in ``RuleSums``; ``in_doubt`` is the share of the integral that the
    cells were left to be in doubt of. The statistics serve latents up to ``steepest``.
    """

    pieces: Sequence[Any]
    rules: Sequence[Iterable[NodeBlock]]
    log_left_out: np.ndarray
    in_doubt: float
    steepest: float | None


def followed(
    structure: Structure,
    model: Model,
    pieces_at: PiecesAt,
    beta: float,
    resolutions: Sequence[Resolution],
    log_beyond: float,
) -> Followed:
    """Rules for the posterior at β of one data set, wherever it lies.

    ``pieces_at`` makes the statistics for latents up to a size, or up to the size that the prior
    suggests. ``log_beyond`` is the log of how much more there is beyond a fixed rule than within,
    as far as is known: the higher, the farther away. Raises UnsettledError for a law that has no
    chart, where cells do not settle, and where it reaches beyond 4·10⁴ prior standard deviations.
    """
    nats, steepest = min(max(FIRST, 2 * log_beyond), FARTHEST), None
    pieces, coarse = pieces_at(None), resolutions[-1]
    before: Sequence[Cells | None] = ()
    while True:
        charts = charts_of(structure.latent, nats)
        if not charts:
            raise UnsettledError("no other rule follows it")
        # Of what they leave in doubt no more than this is allowed, and it is part of the bound.
        allowed = DOUBTFUL if charts[0].dimension <= FEW else 0.0
        starts = before or (None,) * len(charts)
        found = [
            cells_of(chart, structure, model, pieces, beta, coarse, start, allowed)
            for chart, start in zip(charts, starts, strict=True)
        ]
        before = ()
        log_z = np.logaddexp.reduce(np.concatenate([values.log_integral for _, values in found]))
        highest = max(float(np.max(values.highest)) for _, values in found)
        if highest - log_z + BELOW > nats:
            nats = max(highest - log_z + BELOW, WIDENED * nats)
            if nats > FARTHEST:
                raise UnsettledError(
                    f"it reaches beyond {math.sqrt(2 * FARTHEST):.1g} prior standard deviations"
                )
            continue
        size = _size(found, log_z)
        if steepest is None or size > steepest:
            steepest = MARGIN * size
            finer = pieces_at(steepest)
            if not _same(pieces, finer):
                pieces, before = finer, [cells for cells, _ in found]
                continue
        break
    below = max(_log_below(chart, *each) for chart, each in zip(charts, found, strict=True))
    # Each axis has as much of the prior beyond it.
    outside = highest - nats + math.log(max(chart.dimension for chart in charts))
    mass = float(np.logaddexp(outside, below) - log_z)
    # Energies beyond may be as large as what makes up for the prior there.
    log_left_out = mass + np.arange(3) * math.log(nats)
    rules = [_blocks(charts, structure, model, pieces, found, each) for each in resolutions]
    in_doubt = sum(chart.doubt for chart in charts)
    if charts[0].dimension <= FEW:
        in_doubt += sum(_in_doubt(values, log_z) for _, values in found)
    return Followed(pieces, rules, log_left_out, in_doubt, steepest)


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Compare two lists of statistics, which must be equal to the last digit."""
    one, other = jax.tree.leaves(some), jax.tree.leaves(others)
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def _size(found: Sequence[tuple[Cells, Values]], log_z: float) -> float:
    """The largest coordinate that has a share of the integral."""
    size = 0.0
    for cells, values in found:
        kept = values.log_integral > log_z + math.log(SHARE)
        ends = np.maximum(np.abs(cells.low), np.abs(cells.high))[kept]
        size = max(size, float(np.max(ends, initial=0.0)))
    return size


def _in_doubt(values: Values, log_z: float) -> float:
    share = np.exp(values.log_integral - log_z)
    return float(np.sum(share * np.max(values.doubt, axis=1)))


def _log_below(chart: Chart, cells: Cells, values: Values) -> float:
    """The log of what lies below the first edges of axes, by the evidence in the first cells."""
    lowest = cells.low == np.array([axis.edges[0] for axis in chart.axes])
    masses = np.where(lowest, [axis.log_below for axis in chart.axes], -np.inf)
    return float(np.max(values.highest + np.max(masses, axis=(1, 2))))


def _blocks(
    charts: Sequence[Chart],
    structure: Structure,
    model: Model,
    pieces: Sequence[Any],
    found: Sequence[tuple[Cells, Values]],
    resolution: Resolution,
) -> Iterable[NodeBlock]:
    """The blocks of all charts, whose cells are numbered through."""
    counts = itertools.accumulate((len(cells.low) for cells, _ in found), initial=0)
    return itertools.chain.from_iterable(
        cell_blocks(chart, structure, model, pieces, cells, resolution.order, first)
        for chart, (cells, _), first in zip(charts, found, counts, strict=False)
    )
