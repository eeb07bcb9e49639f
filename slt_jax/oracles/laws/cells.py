"""Independent coordinates about whose posterior nothing is known: cells follow each data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slt_jax.oracles.laws.box import Coordinate
from slt_jax.oracles.laws.charts import Chart
from slt_jax.oracles.laws.cuts import Cut
from slt_jax.oracles.laws.law import Law, NodeBlock, Resolution
from slt_jax.oracles.quadrature import UnsettledError

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior


@dataclass(frozen=True)
class CellsLatent(Law):
    """Independent coordinates, at most two, of a likelihood of which no singular set is known.

    No rule is laid out beforehand: the cells that follow a posterior are halved, from small β on,
    until what they leave in doubt is small, and it is a part of the bound.
    """

    coordinates: tuple[Coordinate, ...]

    @property
    def is_data_dependent(self) -> bool:
        return True

    def rules(
        self, posteriors: Sequence["Posterior"], resolutions: Sequence[Resolution]
    ) -> list[Iterable[NodeBlock]]:
        del posteriors, resolutions
        raise UnsettledError("nothing is known of where the posterior lies")

    def cuts(self) -> tuple[Cut, ...]:
        return ()

    def charts(self, nats: float) -> tuple[Chart, ...]:
        return (Chart(tuple(each.axis(nats) for each in self.coordinates), nats=nats),)

    def describe(self) -> str:
        dimension = len(self.coordinates)
        return f"adaptive cells in {dimension} dimension{'s' if dimension > 1 else ''}"
