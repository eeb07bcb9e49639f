"""The integral of one data set, by a rule over the bulk of its prior or wherever the data put it.

A rule that the law of the latent lays out is tried first. Where that does not hold the posterior,
the coordinates of its law are cut into cells as far out as the data ask for: what lies beyond an
interval that holds all but e^−nats of the prior is at most e^−nats times the highest evidence, and
the interval is widened until that is nothing beside the integral.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from slt_jax.oracles.interpolation import NodeErrors
from slt_jax.oracles.laws.charts import Chart
from slt_jax.oracles.laws.cuts import Cut
from slt_jax.oracles.laws.law import NodeBlock, Resolution
from slt_jax.oracles.moments import Posterior, RuleSums, rule_sums
from slt_jax.oracles.quadrature import UnsettledError
from slt_jax.oracles.shards import Points
from slt_jax.oracles.subdivision import MOST_DIMENSIONS, Cells, Values, cell_blocks, cells_of

# Of what a fixed rule leaves out, relative to what it holds, and of nats by which two orders of it
# differ: more, and the posterior is followed to where the data put it.
LOG_LEFT_OUT, MOST_APART = math.log(1e-10), 0.02
# Nats of a bound on interpolation that is looked at more closely.
ROUGH = 1e-6
# Nats by which an answer may be off that is given all the same, with its bound.
HELD = 0.3
OUT_OF_REACH = "the data put the posterior beyond the reach of the exact rule"
FIRST, FARTHEST = 60.0, 1e9
# Nats by which the integrand beyond the cells is less than the integral.
BELOW = 36.0
# In so few dimensions cells settle well enough for what they leave in doubt to be a bound.
FEW, DOUBTFUL = 2, 1e-2
WIDENED = 4.0
# A cell that has less than this of the integral says nothing of where it lies.
SHARE = 1e-14
# Pseudo-data serve units so many times as steep as the steepest that matter.
MARGIN = 3.0

Rules = Sequence[Iterable[NodeBlock]]


class TwoSums(NamedTuple):
    """The sums of one data set by a fine and by a coarse rule."""

    fine: RuleSums
    coarse: RuleSums

    @property
    def apart(self) -> float:
        """The difference of the two free energies, in nats."""
        return float(abs(self.fine.free_energy - self.coarse.free_energy))

    @property
    def is_settled(self) -> bool:
        """True where the rules hold the posterior and see what there is of it."""
        # A likelihood that is NaN is refused later.
        return bool(
            self.fine.log_left_out[0] <= LOG_LEFT_OUT
            and not self.apart > MOST_APART
            and self.fine.doubt <= MOST_APART
        )

    @property
    def is_held(self) -> bool:
        """True where the rules leave out and may be off by little, if not by as little as usual."""
        return bool(
            self.fine.log_left_out[0] <= LOG_LEFT_OUT
            and self.apart <= HELD
            and self.fine.doubt <= HELD
        )


def integrated(
    posterior: Posterior,
    shared: Rules | None,
    resolutions: Sequence[Resolution],
    points: Points | None,
) -> tuple[TwoSums, bool]:
    """Sum over a data set's posterior, and say whether by the rule that its law lays out.

    ``shared`` are the rules that all data sets share, None if each has its own. Where the data put
    the posterior beyond the rule, or narrow it so much that this does not see it, it is followed;
    the rule's sums stand where nothing better is found. Raises UnsettledError if the rule leaves
    out what no other follows.
    """
    fixed = _by_fixed_rule(posterior, shared, resolutions, points)
    if fixed is not None and fixed.is_settled:
        return fixed, True
    log_beyond = 0.0 if fixed is None else float(fixed.fine.log_left_out[0])
    try:
        cells = followed(posterior, resolutions, log_beyond)
    except UnsettledError as error:
        why = str(error)
    else:
        errors = posterior.structure.node_errors(cells.posterior)
        fine, coarse = _sums(cells.posterior, cells.rules, points, errors, cuts=())
        doubt = fine.doubt + cells.in_doubt
        sums = TwoSums(fine._replace(log_left_out=cells.log_left_out, doubt=doubt), coarse)
        if sums.is_held:
            return sums, False
        why = f"followed there, it is in doubt by {max(sums.apart, doubt):.1g} nats"
        if doubt > sums.apart:
            why += ", as the likelihood is interpolated between too few nodes"
    if fixed is not None and fixed.is_held:
        return fixed, False
    raise UnsettledError(f"{OUT_OF_REACH}; {why}")


def _by_fixed_rule(
    posterior: Posterior,
    shared: Rules | None,
    resolutions: Sequence[Resolution],
    points: Points | None,
) -> TwoSums | None:
    """The sums by the rule that the law lays out, None where there is none."""
    structure, law = posterior.structure, posterior.structure.law
    if shared is None:
        errors = structure.node_errors(posterior)
        try:
            rules = law.rules([posterior], resolutions)
            return _sums(posterior, rules, points, errors, law.cuts())
        except UnsettledError:
            return None
    if not shared:
        return None
    rough = structure.node_errors(posterior, rough=True)
    sums = _sums(posterior, shared, points, rough, law.cuts())
    if not sums.fine.doubt > ROUGH:
        return sums
    return _sums(posterior, shared, points, structure.node_errors(posterior), law.cuts())


def _sums(
    posterior: Posterior,
    rules: Rules,
    points: Points | None,
    node_errors: NodeErrors | None,
    cuts: Sequence[Cut],
) -> TwoSums:
    """The sums by each rule; the first looks beyond its cuts."""
    fine, coarse = rules
    return TwoSums(
        rule_sums(posterior, fine, points, cuts, node_errors),
        rule_sums(posterior, coarse, points),
    )


class Followed(NamedTuple):
    """A posterior, and a rule for it per resolution in blocks.

    ``log_left_out`` [3] as in ``RuleSums``; ``in_doubt`` is the share of the integral that the
    cells were left to be in doubt of.
    """

    posterior: Posterior
    rules: Rules
    log_left_out: np.ndarray
    in_doubt: float


def followed(
    posterior: Posterior, resolutions: Sequence[Resolution], log_beyond: float
) -> Followed:
    """Rules for the posterior of one data set, wherever it lies.

    ``log_beyond`` is the log of how much more there is beyond a fixed rule than within, as far as
    is known: the higher, the farther away. Raises UnsettledError for a law that has no chart, where
    cells do not settle, and where it reaches beyond 4·10⁴ prior standard deviations.
    """
    nats = min(max(FIRST, 2 * log_beyond), FARTHEST)
    coarse = resolutions[-1]
    before: Sequence[Cells | None] = ()
    while True:
        charts = posterior.structure.law.charts(nats)
        if not charts or any(chart.dimension > MOST_DIMENSIONS for chart in charts):
            raise UnsettledError("no other rule follows it")
        # Of what they leave in doubt no more than this is allowed, and it is part of the bound.
        allowed = DOUBTFUL if charts[0].dimension <= FEW else 0.0
        starts = before or (None,) * len(charts)
        covers = [
            cells_of(chart, posterior, coarse, start, allowed)
            for chart, start in zip(charts, starts, strict=True)
        ]
        before = ()
        log_z = np.logaddexp.reduce(np.concatenate([values.log_integral for _, values in covers]))
        highest = max(float(np.max(values.highest)) for _, values in covers)
        if highest - log_z + BELOW > nats:
            nats = max(highest - log_z + BELOW, WIDENED * nats)
            if nats > FARTHEST:
                raise UnsettledError(
                    f"it reaches beyond {math.sqrt(2 * FARTHEST):.1g} prior standard deviations"
                )
            continue
        size = _size(covers, log_z)
        if posterior.steepest is None or size > posterior.steepest:
            finer = posterior.reaching(MARGIN * size)
            same = _same(posterior.shards, finer.shards)
            posterior = finer
            if not same:
                before = [cells for cells, _ in covers]
                continue
        break
    rules = [_blocks(charts, posterior, covers, each) for each in resolutions]
    log_left_out = _log_left_out(charts, covers, highest - nats, nats, log_z)
    in_doubt = sum(chart.doubt for chart in charts)
    if charts[0].dimension <= FEW:
        in_doubt += sum(_in_doubt(values, log_z) for _, values in covers)
    return Followed(posterior, rules, log_left_out, in_doubt)


def _log_left_out(
    charts: Sequence[Chart],
    covers: Sequence[tuple[Cells, Values]],
    log_outside: float,
    nats: float,
    log_z: float,
) -> np.ndarray:
    """Bounds [3] on what lies beyond the cells, as in ``RuleSums``."""
    below = max(_log_below(chart, *each) for chart, each in zip(charts, covers, strict=True))
    # Each axis has as much of the prior beyond it.
    outside = log_outside + math.log(max(chart.dimension for chart in charts))
    mass = float(np.logaddexp(outside, below) - log_z)
    # Energies beyond may be as large as what makes up for the prior there.
    return np.asarray(mass + np.arange(3) * math.log(nats))


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Compare two lists of statistics, which must be equal to the last digit."""
    one, other = jax.tree.leaves(some), jax.tree.leaves(others)
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def _size(covers: Sequence[tuple[Cells, Values]], log_z: float) -> float:
    """The largest coordinate that has a share of the integral."""
    size = 0.0
    for cells, values in covers:
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
    posterior: Posterior,
    covers: Sequence[tuple[Cells, Values]],
    resolution: Resolution,
) -> Iterable[NodeBlock]:
    """The blocks of all charts, whose cells are numbered through."""
    counts = itertools.accumulate((len(cells.low) for cells, _ in covers), initial=0)
    return itertools.chain.from_iterable(
        cell_blocks(chart, posterior, cells, resolution.order, first)
        for chart, (cells, _), first in zip(charts, covers, counts, strict=False)
    )
