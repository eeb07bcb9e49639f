"""The protocol of laws of the remaining parameters, and the quadrature rules that they lay out.

A law is the prior of a *latent*: the parameters, or functions of them, that are left when the
Gaussian block of a model has been integrated out. It knows how it is integrated, where its rule
ends and in which coordinates a posterior far out of the bulk is followed.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.oracles.laws.charts import Chart
from slt_jax.oracles.laws.cuts import Cut
from slt_jax.oracles.quadrature import Rule

if TYPE_CHECKING:
    from slt_jax.oracles.block import BlockStatistics
    from slt_jax.oracles.moments import Posterior

BLOCK, FEW = 2048, 32
ACCELERATED = 16
# In prior standard deviations.
PRIOR_PANEL = 1.8


class Resolution(NamedTuple):
    """The fineness of rules: Gauss order of a product, order and ratio of graded panels, points of
    a periodic rule, stride of a trapezoid rule."""

    gauss: int
    order: int
    ratio: float
    periodic: int
    trapezoid: int

    def coarser(self) -> Resolution:
        """A resolution to measure the error of this one by: lower orders on the *same* panels.

        On other panels the two errors are alike in size and may cancel in the difference.
        """
        return Resolution(
            gauss=self.gauss - 4,
            order=self.order - 2,
            ratio=self.ratio,
            periodic=2 * self.periodic // 3,
            trapezoid=2 * self.trapezoid,
        )


RESOLUTIONS = {
    1: Resolution(gauss=12, order=6, ratio=4.0, periodic=36, trapezoid=8),
    2: Resolution(gauss=17, order=8, ratio=3.0, periodic=52, trapezoid=4),
    3: Resolution(gauss=24, order=10, ratio=2.5, periodic=76, trapezoid=2),
}


class LatentRule(NamedTuple):
    """∫ f(latent) dφ ≈ Σ exp(log_weight) f(node): nodes [N, l], log_weights [N]."""

    nodes: np.ndarray
    log_weights: np.ndarray


class Factors(Protocol):
    """Parts that nodes are combinations of, so that the data need to be seen by the parts alone."""

    def statistics(self, posterior: Posterior) -> BlockStatistics:
        """Statistics of the block at all nodes, leading axis [N]."""
        ...


class NodeBlock(NamedTuple):
    """Nodes [N, l] of a rule with the logarithms [N] of their weights.

    Nodes that are combinations of some ``factors`` have these too. In a rule made of cells,
    ``cells`` [C] says which ones have the nodes, N/C each, or −1 where there are no more cells.
    """

    nodes: Array
    log_weights: Array
    factors: Factors | None = None
    cells: np.ndarray | None = None

    def statistics(self, posterior: Posterior) -> BlockStatistics:
        """Statistics of the block at the nodes, leading axis [N]."""
        if self.factors is None:
            return posterior.statistics_at(self.nodes)
        return self.factors.statistics(posterior)


class Law(abc.ABC):
    """The prior of a latent, a value that is hashable and equal to another with equal fields."""

    @property
    def is_data_dependent(self) -> bool:
        """True if each data set needs a rule of its own."""
        return False

    @property
    def is_costly(self) -> bool:
        """True if one data set takes many seconds, so that an oracle is made on request only."""
        return False

    @abc.abstractmethod
    def rules(
        self, posteriors: Sequence[Posterior], resolutions: Sequence[Resolution]
    ) -> list[Iterable[NodeBlock]]:
        """Lay out one quadrature rule per resolution, in blocks, for posteriors that share it.

        A law that is data-dependent is asked with one posterior at a time. The resolutions differ
        in their orders alone. Raises UnsettledError where no rule of a size that time and memory
        allow holds the integral.
        """

    @abc.abstractmethod
    def cuts(self) -> tuple[Cut, ...]:
        """The ends of the rules, and the prior mass beyond them."""

    @abc.abstractmethod
    def charts(self, nats: float) -> tuple[Chart, ...]:
        """Charts of all of the prior but for e^−``nats`` of it; empty where there are none."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Say in words how the law is integrated; empty where nothing is left to integrate."""


class SharedLaw(Law):
    """A law whose rule needs the mean sharpness of the posteriors alone, so that they share it."""

    def sharpness(self, posteriors: Sequence[Posterior]) -> Hashable:
        """The curvature of the posteriors in total nats, in steps, or what else the rule needs."""
        return in_steps(np.array([np.trace(unit_gram(posteriors))]))

    @abc.abstractmethod
    def rule(self, sharpness: Any, resolution: Resolution) -> LatentRule:
        """Nodes and log-weights of the prior, refined where posteriors as sharp have structure."""

    def rules(
        self, posteriors: Sequence[Posterior], resolutions: Sequence[Resolution]
    ) -> list[Iterable[NodeBlock]]:
        sharpness = self.sharpness(posteriors)
        return [node_blocks(_cached_rule(self, sharpness, each)) for each in resolutions]


@functools.lru_cache(maxsize=64)
def _cached_rule(law: SharedLaw, sharpness: Hashable, resolution: Resolution) -> LatentRule:
    return law.rule(sharpness, resolution)


def unit_gram(posteriors: Sequence[Posterior]) -> np.ndarray:
    """The mean curvature [p, p] of posteriors in coefficients in units of the block's scale."""
    return posteriors[0].structure.unit_gram(posteriors)


def in_steps(values: np.ndarray) -> tuple[float, ...]:
    """Positive numbers rounded to steps of 2 %, so that rules are reused."""
    return tuple(np.exp(0.02 * np.round(np.log(values + 1e-3) / 0.02)).tolist())


def finest_panel(curvature: float) -> float:
    """The width of the panel next to a singular point, half a standard deviation there."""
    return float(0.5 / np.sqrt(curvature + 1.0))


def tensor_rule(rules: Sequence[Rule]) -> LatentRule:
    """All combinations of the nodes of some rules, the last changing fastest."""
    nodes = np.stack([g.ravel() for g in np.meshgrid(*[r.nodes for r in rules], indexing="ij")])
    with np.errstate(divide="ignore"):  # a weight far in the tails may have underflowed to 0
        logs = functools.reduce(np.add.outer, [np.log(r.weights) for r in rules])
    return LatentRule(nodes.T, np.ravel(logs))


def at_once(count: int) -> int:
    """The number of rows to take at a time on this device, ``count`` on a processor."""
    return count if jax.default_backend() == "cpu" else ACCELERATED * count


def node_blocks(rule: LatentRule) -> list[NodeBlock]:
    """The rule in blocks of BLOCK nodes, or in one of FEW where that holds them all."""
    size = FEW if len(rule.log_weights) <= FEW else at_once(BLOCK)
    count = -len(rule.log_weights) % size
    nodes = np.pad(rule.nodes, ((0, count), (0, 0)), mode="edge")
    log_weights = np.pad(rule.log_weights, (0, count), constant_values=-np.inf)
    return [
        NodeBlock(jnp.asarray(nodes[here]), jnp.asarray(log_weights[here]))
        for here in (slice(start, start + size) for start in range(0, len(nodes), size))
    ]
