"""Splits of a model's parameters into a Gaussian block and the latent rest.

The block is integrated out in closed form, given the latent; the law of the latent says how that
is integrated. The functions themselves (``basis``, ``offset``, ``design``, …) are methods of the
model, so that structures are plain values: hashable, and equal for equal models.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.model import FeatureRegression, Model, Regression
from slt_jax.oracles.block import BlockPosterior, BlockStatistics, DatumFit
from slt_jax.oracles.interpolation import (
    NodeErrors,
    Strip,
    density_errors,
    design_errors,
    feature_errors,
)
from slt_jax.oracles.laws.law import Law
from slt_jax.oracles.shards import moment_matched
from slt_jax.statistics import Data, Params, RegressionStatistics, WeightedData

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Structure(abc.ABC, Generic[M]):
    """A split of the parameters of a model of type M, with the ``law`` of the latent.

    The entries of the block, if there is one, are independent N(0, scale²).
    """

    law: Law
    scale: float = 1.0

    @abc.abstractmethod
    def node_statistics(self, model: M, latent: Array, statistics: Any) -> BlockStatistics:
        """Statistics of the block at one latent [l]; those of several shards add up."""

    @abc.abstractmethod
    def datum_fit(
        self, model: M, optimum: Params, nodes: Array, posterior: BlockPosterior, data: Data
    ) -> DatumFit:
        """The fit of each of n data at nodes [node, l], given the posteriors of the block there."""

    @abc.abstractmethod
    def unit_gram(self, posteriors: Sequence[Posterior]) -> np.ndarray:
        """The mean curvature [p, p] of posteriors in total nats per square of a coefficient.

        Coefficients are in units of the block's scale. Without features it is [1, 1], the number
        of data times β.
        """

    @abc.abstractmethod
    def information(self, posterior: Posterior) -> float:
        """Data at a noise of one, per square of the block's scale; 0 where none is known."""

    @abc.abstractmethod
    def node_errors(self, posterior: Posterior, *, rough: bool = False) -> NodeErrors | None:
        """Bounds on errors of the evidence at nodes, None where nothing is interpolated.

        ``rough`` bounds cost little.
        """

    def fewer(
        self, data: Data, weights: np.ndarray, steepest: float | None
    ) -> tuple[Data, np.ndarray]:
        """Weighted data that stand for those given at latents up to ``steepest``."""
        del steepest
        return data, weights

    @property
    def sees_units(self) -> bool:
        """True where the design of a node is that of its units one by one."""
        return False

    def describe(self) -> str:
        """Say in words how log Z is integrated."""
        rest = self.law.describe()
        return "Gaussian block in closed form" + (rest and f", {rest}")


@dataclass(frozen=True)
class Collapse(Structure[FeatureRegression]):
    """Exact structure c(w) = offset(latent) + basis(latent) @ block, block ~ N(0, scale²) i.i.d.

    The block is integrated out in closed form and the latent by quadrature. ``basis`` maps a
    latent [l] to [p, k] (k may be 0) and ``offset`` to [p, q].
    """

    def node_statistics(
        self, model: FeatureRegression, latent: Array, statistics: RegressionStatistics
    ) -> BlockStatistics:
        """Reduce statistics of p features to the k block parameters."""
        basis = model.basis(latent)
        delta = _offset(model, latent, statistics.optimum)
        gram_delta = statistics.gram @ delta
        noise = model.noise
        return BlockStatistics(
            precision=(self.scale / noise) ** 2 * (basis.T @ statistics.gram @ basis),
            score=self.scale / noise**2 * (basis.T @ (statistics.cross - gram_delta)),
            energy=jnp.sum(delta * (gram_delta - 2 * statistics.cross)) / (2 * noise**2),
        )

    def datum_fit(
        self,
        model: FeatureRegression,
        optimum: Params,
        nodes: Array,
        posterior: BlockPosterior,
        data: Data,
    ) -> DatumFit:
        # Nodes come last and one axis at a time: as batches of tiny products the same takes four
        # times as long.
        features = jax.vmap(model.features)(data.x) / model.noise
        at_optimum = model.coefficients(optimum)
        basis = self.scale * jax.vmap(model.basis)(nodes)
        offset = jax.vmap(lambda node: _offset(model, node, at_optimum))(nodes)
        centres = jnp.einsum("bpk,bkq->qpb", basis, posterior.mean)
        centres += jnp.einsum("bpq->qpb", offset)
        axes = jnp.einsum("bpk,bjk->jpb", basis, posterior.root)
        fits = [features @ centre for centre in centres]
        return _datum_fit(model, optimum, data, fits, [features @ axis for axis in axes])

    def unit_gram(self, posteriors: Sequence[Posterior]) -> np.ndarray:
        mean = np.mean([np.asarray(each.shards[0].gram) for each in posteriors], axis=0)
        first = posteriors[0]
        return np.asarray(first.beta * (self.scale / first.model.noise) ** 2 * mean)

    def information(self, posterior: Posterior) -> float:
        return posterior.size * (self.scale / posterior.model.noise) ** 2

    def node_errors(self, posterior: Posterior, *, rough: bool = False) -> NodeErrors | None:
        interpolation = posterior.model.interpolation()
        if interpolation is None:
            return None
        return feature_errors(posterior, interpolation, rough=rough)


@dataclass(frozen=True)
class LinearBlock(Structure[Regression]):
    """Exact structure f(x, w) = blockᵀ design(latent, x), block [k, q] ~ N(0, scale²) i.i.d.

    For a regression that is linear in some parameters without fixed features: the block is
    integrated out in closed form at a cost of n for each value of the latent. ``design`` maps a
    latent [l] and one x to [k]. With ``has_sums`` the model's statistics are not the data, and its
    ``design_sums`` has the sums over them. Where x is few numbers, ``strip`` says where the design
    is analytic in each. ``odd``: the design at −x is minus that at x, and so is the optimum.
    """

    has_sums: bool = False
    strip: Strip | None = None
    odd: bool = False

    def node_statistics(self, model: Regression, latent: Array, statistics: Any) -> BlockStatistics:
        if self.has_sums:
            gram, cross, squares = model.design_sums(latent, statistics)
            return BlockStatistics(
                precision=(self.scale / model.noise) ** 2 * gram,
                score=self.scale / model.noise**2 * cross,
                energy=squares / (2 * model.noise**2),
            )
        x, y = statistics.data
        design = self.scale / model.noise * jax.vmap(model.design, (None, 0))(latent, x)
        weighted = statistics.weights[:, None] * design
        score = weighted.T @ y / model.noise
        return BlockStatistics(weighted.T @ design, score, block_energy(model, statistics))

    def datum_fit(
        self,
        model: Regression,
        optimum: Params,
        nodes: Array,
        posterior: BlockPosterior,
        data: Data,
    ) -> DatumFit:
        over_data = jax.vmap(jax.vmap(model.design, (0, None)), (None, 0))
        design = self.scale / model.noise * jnp.moveaxis(over_data(nodes, data.x), 2, 0)
        optimal = jax.vmap(model.predict, (None, 0))(optimum, data.x) / model.noise
        mean, root = jnp.moveaxis(posterior.mean, 0, 2), jnp.moveaxis(posterior.root, 0, 2)
        outputs, size = optimal.shape[1], len(design)
        fits = [
            sum((design[k] * mean[k, c] for k in range(size)), -optimal[:, c, None])
            for c in range(outputs)
        ]
        zero = jnp.zeros_like(design[0])
        axes = [sum((design[k] * root[j, k] for k in range(size)), zero) for j in range(size)]
        return _datum_fit(model, optimum, data, fits, axes)

    def unit_gram(self, posteriors: Sequence[Posterior]) -> np.ndarray:
        return _number_of_data(posteriors)

    def information(self, posterior: Posterior) -> float:
        return posterior.size * (self.scale / posterior.model.noise) ** 2

    def node_errors(self, posterior: Posterior, *, rough: bool = False) -> NodeErrors | None:
        if self.strip is None or not posterior.is_moment_matched:
            return None
        off = functools.partial(self.strip.error, posterior.steepest)
        return design_errors(posterior, off, rough=rough)

    def fewer(
        self, data: Data, weights: np.ndarray, steepest: float | None
    ) -> tuple[Data, np.ndarray]:
        if self.odd:
            data = _folded(data)
        if self.strip is None:
            return data, weights
        return moment_matched(data, weights, self.strip.half_width(steepest))

    @property
    def sees_units(self) -> bool:
        return not self.has_sums


@dataclass(frozen=True)
class Direct(Structure[Model]):
    """Exact structure without a Gaussian block: all parameters are a function of the latent.

    ``from_latent`` maps a latent [l] to the parameters w, and may be any change of variables under
    which the prior of w is the law of the latent. Where a datum is one number y, ``strip`` says
    where its log-likelihood is analytic in y.
    """

    strip: Strip | None = None

    def node_statistics(self, model: Model, latent: Array, statistics: Any) -> BlockStatistics:
        gain = model.log_likelihood_ratio(model.from_latent(latent), statistics)
        return BlockStatistics(jnp.zeros((0, 0)), jnp.zeros((0, 1)), -gain)

    def datum_fit(
        self, model: Model, optimum: Params, nodes: Array, posterior: BlockPosterior, data: Data
    ) -> DatumFit:
        del posterior
        params = jax.vmap(model.from_latent)(nodes)
        over_nodes = jax.vmap(model.log_likelihood, (0, None, None))
        at_nodes = jax.vmap(over_nodes, (None, 0, 0))(params, *data)
        at_optimum = jax.vmap(model.log_likelihood, (None, 0, 0))(optimum, *data)
        gains = at_nodes - at_optimum[:, None]
        return DatumFit(gains, jnp.zeros_like(gains), jnp.zeros_like(gains), 0)

    def unit_gram(self, posteriors: Sequence[Posterior]) -> np.ndarray:
        return _number_of_data(posteriors)

    def information(self, posterior: Posterior) -> float:
        del posterior
        return 0.0

    def node_errors(self, posterior: Posterior, *, rough: bool = False) -> NodeErrors | None:
        del rough
        if self.strip is None or not posterior.is_moment_matched:
            return None
        off = functools.partial(self.strip.error, posterior.steepest)
        return density_errors(posterior, off)

    def fewer(
        self, data: Data, weights: np.ndarray, steepest: float | None
    ) -> tuple[Data, np.ndarray]:
        if self.strip is None:
            return data, weights
        return moment_matched(data, weights, self.strip.half_width(steepest))

    def describe(self) -> str:
        return self.law.describe()


def _offset(model: FeatureRegression, latent: Array, at_optimum: Array) -> Array:
    """δ₀ = offset − c(w₀), shape [p, q]."""
    offset = model.offset(latent)
    return -at_optimum if offset is None else offset - at_optimum


def block_energy(model: Regression, statistics: WeightedData) -> Array:
    """The energy of a block of zeros, at which the model is zero, relative to w₀."""
    x, y = statistics.data
    optimal = jax.vmap(model.predict, (None, 0))(statistics.optimum, x)
    squares = jnp.sum(y**2 - (y - optimal) ** 2, axis=1)
    return statistics.weights @ squares / (2 * model.noise**2)


def _datum_fit(
    model: Regression, optimum: Params, data: Data, fits: list[Array], axes: list[Array]
) -> DatumFit:
    """The fit of data by E f − f(w₀) of each output and k axes of Cov f, [n, node] in units of the
    noise."""
    residuals = (data.y - jax.vmap(model.predict, (None, 0))(optimum, data.x)) / model.noise
    zero = jnp.zeros((len(data.y), fits[0].shape[1]))
    return DatumFit(
        gain=0.5 * jnp.sum(residuals**2, axis=1, keepdims=True),
        distance=sum(((residuals[:, c, None] - fit) ** 2 for c, fit in enumerate(fits)), zero),
        spread=sum((axis**2 for axis in axes), zero),
        outputs=residuals.shape[1],
    )


def _number_of_data(posteriors: Sequence[Posterior]) -> np.ndarray:
    size = np.mean([each.size for each in posteriors])
    return np.array([[posteriors[0].beta * size]])


def _folded(data: Data) -> Data:
    """The data (−x, −y) for those (x, y) that have a negative first entry of x."""
    sign = np.where(data.x[:, :1] < 0, -1.0, 1.0)
    return jax.tree.map(lambda leaf: sign * leaf, data)
