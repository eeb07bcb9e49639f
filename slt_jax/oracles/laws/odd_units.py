"""Exchangeable scalar weights of odd units, on graded panels where they are few."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from slt_jax.oracles.laws.box import normal_coordinate
from slt_jax.oracles.laws.charts import Chart, normal_axis
from slt_jax.oracles.laws.cuts import Cut, normal_cut
from slt_jax.oracles.laws.law import (
    PRIOR_PANEL,
    LatentRule,
    NodeBlock,
    Resolution,
    SharedLaw,
    finest_panel,
)
from slt_jax.oracles.laws.units import UnitsLatent
from slt_jax.oracles.quadrature import Rule, graded_edges, panel_rule

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

MOST_IN_PANELS = 3


@dataclass(frozen=True)
class OddUnitsLatent(SharedLaw):
    """``num_units`` exchangeable scalars b_h ~ N(0, scale²) whose sign the Gaussian block absorbs.

    ``reach`` bounds the |b| beyond which panels neglect the prior mass (in units of ``scale``);
    ``peaks`` are the positive |b| at which the optimum has units.
    """

    num_units: int
    scale: float
    peaks: tuple[float, ...] = ()
    reach: float = 7.0

    @property
    def is_data_dependent(self) -> bool:
        return self.num_units > MOST_IN_PANELS

    @property
    def is_costly(self) -> bool:
        return self.is_data_dependent and self._subdivided.is_costly

    @property
    def _subdivided(self) -> UnitsLatent:
        weight = normal_coordinate(self.scale, self.peaks)
        return UnitsLatent((weight,), self.num_units, odd=True)

    def rules(
        self, posteriors: Sequence["Posterior"], resolutions: Sequence[Resolution]
    ) -> list[Iterable[NodeBlock]]:
        if self.is_data_dependent:
            return self._subdivided.rules(posteriors, resolutions)
        return super().rules(posteriors, resolutions)

    def rule(self, sharpness: tuple[float, ...], resolution: Resolution) -> LatentRule:
        """Lay out 0 < b₁ < … < b_H, each graded to its lower neighbour and to the true units.

        Unordered and unsigned, the region stands for H!·2^H equal ones.
        """
        high, finest = self.reach * self.scale, finest_panel(*sharpness)

        def next_unit(prefix: np.ndarray) -> Rule:
            low = float(prefix[-1]) if len(prefix) else 0.0
            singular = (low, *(p for p in self.peaks if p > low))
            edges = graded_edges(
                low, high, singular, finest, resolution.ratio, PRIOR_PANEL * self.scale
            )
            return panel_rule(edges, resolution.order)

        def extended(prefixes: LatentRule) -> LatentRule:
            rules = [next_unit(prefix) for prefix in prefixes.nodes]
            sizes = [len(rule.nodes) for rule in rules]
            last, weights = (np.concatenate(part) for part in zip(*rules, strict=True))
            return LatentRule(
                np.column_stack([np.repeat(prefixes.nodes, sizes, axis=0), last]),
                np.repeat(prefixes.log_weights, sizes) + np.log(weights),
            )

        rule = LatentRule(np.zeros((1, 0)), np.zeros(1))
        for _ in range(self.num_units):
            rule = extended(rule)
        nodes, log_weights = rule
        symmetry = gammaln(self.num_units + 1) + self.num_units * np.log(2)
        log_prior = -0.5 * (nodes / self.scale) ** 2 - 0.5 * np.log(2 * np.pi * self.scale**2)
        return LatentRule(nodes, log_weights + log_prior.sum(axis=1) + symmetry)

    def cuts(self) -> tuple[Cut, ...]:
        if self.is_data_dependent:
            return self._subdivided.cuts()
        return tuple(normal_cut(j, self.reach, self.scale) for j in range(self.num_units))

    def charts(self, nats: float) -> tuple[Chart, ...]:
        axis = normal_axis(self.scale, self.peaks, nats, half=True)
        return (Chart((axis,), self.num_units, nats=nats),)

    def describe(self) -> str:
        if self.is_data_dependent:
            return self._subdivided.describe()
        return f"graded panels in {self.num_units} ordered input weight" + "s" * (
            self.num_units > 1
        )
