"""Independent coordinates on intervals, by a tensor product of graded panels."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtr

from slt_jax.oracles.laws.charts import BULK, Axis, Chart, normal_axis
from slt_jax.oracles.laws.cuts import REACH, Cut, normal_cut
from slt_jax.oracles.laws.law import (
    PRIOR_PANEL,
    LatentRule,
    Resolution,
    SharedLaw,
    in_steps,
    tensor_rule,
    unit_gram,
)
from slt_jax.oracles.quadrature import Rule, graded_edges, panel_rule

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

# Of the panels of a coordinate that is alone, in those next to a singular point.
ALONE = 6.0
MAX_PANELS = 20_000


class Coordinate(NamedTuple):
    """A scalar on [low, high]: N(0, scale²), or uniform where ``scale`` is None.

    A normal law is cut to the interval: all of it but rounding must be there, or, where the
    Gaussian block absorbs the sign, the half above 0. ``singular`` are the points that the set of
    optima lies at, and n^−``rate`` the order of the narrowest structure of the posterior next to
    them.
    """

    low: float
    high: float
    scale: float | None = None
    singular: tuple[float, ...] = (0.0,)
    rate: float = 0.5

    def log_density(self, value: np.ndarray) -> np.ndarray:
        """Log density of the law, cut to the interval."""
        if self.scale is None:
            return np.full(value.shape, -np.log(self.high - self.low))
        inside = ndtr(self.high / self.scale) - ndtr(self.low / self.scale)
        constant = np.log(self.scale * np.sqrt(2 * np.pi) * inside)
        return np.asarray(-0.5 * (value / self.scale) ** 2 - constant)

    def interval_axis(self) -> Axis:
        """Cells between the singular points and the bulk of the law, on the interval alone."""
        bulk = () if self.scale is None else (-BULK * self.scale, BULK * self.scale)
        inner = (p for p in (*self.singular, *bulk) if self.low < p < self.high)
        edges = sorted({self.low, self.high, *inner})
        return Axis(tuple(edges), functools.partial(_log_density, self))

    def axis(self, nats: float) -> Axis:
        """An axis of all of the law but for e^−``nats`` of it."""
        if self.scale is None:
            return self.interval_axis()
        return normal_axis(self.scale, self.singular, nats, half=self.low == 0)


def _log_density(coordinate: Coordinate, value: np.ndarray) -> np.ndarray:
    return coordinate.log_density(value)


def normal_coordinate(
    scale: float, singular: Iterable[float] = (0.0,), *, rate: float = 0.5
) -> Coordinate:
    """A coordinate of law N(0, scale²) that may be singular at 0 too."""
    reach = REACH * scale
    points = sorted({0.0, *map(float, singular)})
    return Coordinate(-reach, reach, scale, tuple(points), rate)


def coordinate_cuts(coordinates: Sequence[Coordinate]) -> tuple[Cut, ...]:
    """The ends of normal coordinates; there is nothing beyond those of uniform ones."""
    return tuple(
        normal_cut(j, each.high / each.scale, each.scale)
        for j, each in enumerate(coordinates)
        if each.scale is not None
    )


@dataclass(frozen=True)
class BoxLatent(SharedLaw):
    """Independent coordinates, at most three, along which the set of optima lies.

    ``information`` bounds the total nats per datum and squared distance to that set.
    """

    coordinates: tuple[Coordinate, ...]
    information: float = 1.0

    def sharpness(self, posteriors: Sequence["Posterior"]) -> tuple[float, ...]:
        return in_steps(np.array([np.trace(unit_gram(posteriors)) * self.information]))

    def rule(self, sharpness: tuple[float, ...], resolution: Resolution) -> LatentRule:
        """Panels along each coordinate, graded towards its own singular points.

        A coordinate that is alone has panels that resolve a regular peak wherever data put it.
        """
        (curvature,), rules = sharpness, []
        for coordinate in self.coordinates:
            low, high, scale, singular, rate = coordinate
            finest = 0.5 * (curvature + 1.0) ** -rate
            widest = np.inf if scale is None else PRIOR_PANEL * scale
            if len(self.coordinates) == 1:
                widest = min(widest, max(ALONE * finest, (high - low) / MAX_PANELS))
            edges = graded_edges(low, high, singular, finest, resolution.ratio, widest)
            nodes, weights = panel_rule(edges, resolution.order)
            rules.append(Rule(nodes, weights * np.exp(coordinate.log_density(nodes))))
        return tensor_rule(rules)

    def cuts(self) -> tuple[Cut, ...]:
        return coordinate_cuts(self.coordinates)

    def charts(self, nats: float) -> tuple[Chart, ...]:
        return (Chart(tuple(each.axis(nats) for each in self.coordinates), nats=nats),)

    def describe(self) -> str:
        dimension = len(self.coordinates)
        return f"graded panels in {dimension} dimension{'s' if dimension > 1 else ''}"
