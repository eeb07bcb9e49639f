"""Exchangeable units of the same independent weights, by adaptive subdivision where many."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slt_jax.oracles.laws.box import BoxLatent, Coordinate, coordinate_cuts
from slt_jax.oracles.laws.charts import Chart
from slt_jax.oracles.laws.cuts import Cut
from slt_jax.oracles.laws.law import Law, NodeBlock, Resolution
from slt_jax.oracles.subdivision import cell_blocks, cells_of

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

MOST_IN_PANELS, MOST_CHEAP = 2, 2


@dataclass(frozen=True)
class UnitsLatent(Law):
    """``num_units`` exchangeable units, each of the same independent coordinates, four in all.

    A latent lists the coordinates unit by unit. The ``design`` or ``basis`` of the model takes the
    coordinates of any number of units, and has one entry or column for each. Units that are
    ``odd`` change sign with their coordinates, and the Gaussian block absorbs that. One unit of
    one or two coordinates is integrated on graded panels; else the rule is made of cells where
    the data ask for them, as what is singular need lie on no axis.
    """

    coordinates: tuple[Coordinate, ...]
    num_units: int = 1
    odd: bool = False

    @property
    def is_data_dependent(self) -> bool:
        return self.num_units > 1 or len(self.coordinates) > MOST_IN_PANELS

    @property
    def is_costly(self) -> bool:
        return self.is_data_dependent and self._dimension > MOST_CHEAP

    @property
    def _dimension(self) -> int:
        return self.num_units * len(self.coordinates)

    @property
    def _panels(self) -> BoxLatent:
        return BoxLatent(self.coordinates)

    @property
    def folded(self) -> tuple[Coordinate, ...]:
        """The coordinates of a unit, without the half that its sign makes equal to the other."""
        first, *others = self.coordinates
        return (first._replace(low=0.0) if self.odd else first, *others)

    def rules(
        self, posteriors: Sequence["Posterior"], resolutions: Sequence[Resolution]
    ) -> list[Iterable[NodeBlock]]:
        if not self.is_data_dependent:
            return self._panels.rules(posteriors, resolutions)
        (posterior,), chart = posteriors, self.prior_chart()
        cells, _ = cells_of(chart, posterior, resolutions[-1])
        return [cell_blocks(chart, posterior, cells, each.order) for each in resolutions]

    def prior_chart(self) -> Chart:
        """The chart of units in their coordinates' own intervals, cut at the bulk of each law."""
        return Chart(tuple(each.interval_axis() for each in self.folded), self.num_units)

    def cuts(self) -> tuple[Cut, ...]:
        return coordinate_cuts(self.coordinates * self.num_units)

    def charts(self, nats: float) -> tuple[Chart, ...]:
        if not self.is_data_dependent:
            return self._panels.charts(nats)
        axes = tuple(each.axis(nats) for each in self.folded)
        return (Chart(axes, self.num_units, nats=nats),)

    def describe(self) -> str:
        if not self.is_data_dependent:
            return self._panels.describe()
        plural = "s" if self._dimension > 1 else ""
        return f"adaptive subdivision in {self._dimension} dimension{plural}, laid out by the data"
