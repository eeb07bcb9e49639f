"""Closed-form integral over the Gaussian block of a model, given the rest of its parameters.

A model without a block has one of no parameters: the same formulae hold, and its likelihood at
the node is all that is left of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from slt_jax.model import FeatureRegression, Model, Regression
from slt_jax.oracles.structures import Collapse, Direct, LinearBlock, Structure
from slt_jax.statistics import Data, Params, RegressionStatistics, WeightedData

UNROLLED_BLOCK = 6


class BlockStatistics(NamedTuple):
    """What the data say about the block at one latent value, at β = 1; sums over data.

    ``precision`` [k, k] = (s²/σ²) BᵀMB; ``score`` [k, q] = (s/σ²) Bᵀ(U − Mδ₀) with
    δ₀ = offset − c(w₀); ``energy`` = (1/2σ²) tr δ₀ᵀ(Mδ₀ − 2U), in total nats.
    """

    precision: Array
    score: Array
    energy: Array


def total_weight(statistics: Any) -> float:
    """Σ_i a_i of statistics; of sufficient statistics, what stands for it in their curvature."""
    if isinstance(statistics, RegressionStatistics):
        return float(np.trace(statistics.gram))
    return float(np.sum(statistics.weights))


def node_statistics(
    structure: Structure, model: Model, latent: Array, statistics: Any
) -> BlockStatistics:
    """Statistics of statistics at one latent value [l]; those of several statistics add up."""
    if isinstance(structure, Direct):
        gain = model.log_likelihood_ratio(structure.params(latent), statistics)
        return BlockStatistics(jnp.zeros((0, 0)), jnp.zeros((0, 1)), -gain)
    if isinstance(structure, Collapse):
        assert isinstance(model, FeatureRegression)
        return block_statistics(structure, model.noise, latent, statistics)
    assert isinstance(model, Regression)
    if structure.sums is not None:
        gram, cross, squares = structure.sums(latent, statistics)
        return BlockStatistics(
            precision=(structure.scale / model.noise) ** 2 * gram,
            score=structure.scale / model.noise**2 * cross,
            energy=squares / (2 * model.noise**2),
        )
    x, y = statistics.data
    design = structure.scale / model.noise * jax.vmap(structure.design, (None, 0))(latent, x)
    weighted = statistics.weights[:, None] * design
    score = weighted.T @ y / model.noise
    return BlockStatistics(weighted.T @ design, score, _block_energy(model, statistics))


def _block_energy(model: Regression, statistics: WeightedData) -> Array:
    """The energy of a block of zeros, at which the model is zero, relative to w₀."""
    x, y = statistics.data
    optimal = jax.vmap(model.predict, (None, 0))(statistics.optimum, x)
    squares = jnp.sum(y**2 - (y - optimal) ** 2, axis=1)
    return statistics.weights @ squares / (2 * model.noise**2)


class Units(NamedTuple):
    """Units that are seen once however many nodes they are part of.

    ``values`` [P, m, c] of P lists of m units; ``pairs`` [Q, 2] of lists whose products are asked.
    Of both there may be fewer than there is room for: ``counts`` [2].
    """

    values: Array
    pairs: Array
    counts: Array


class UnitSums(NamedTuple):
    """Sums over data of the designs d of units, at β = 1.

    ``squares`` [P, m] of d², ``score`` [P, m, q] of d·y/σ and ``products`` [Q, m, m] of d_i d_j
    with i of the first list of a pair and j of the second; ``energy`` as in BlockStatistics.
    """

    squares: Array
    score: Array
    products: Array
    energy: Array


def unit_sums(
    structure: LinearBlock,
    model: Regression,
    steps: tuple[int, int],
    units: Units,
    statistics: WeightedData,
) -> UnitSums:
    """Sums of one statistics at lists of units and at pairs of lists, so many of each at a time.

    Those of several statistics add up.
    """
    (x, y), weights = statistics.data, statistics.weights
    over_units = jax.vmap(jax.vmap(structure.design, (0, None)), (0, None))
    over_data = jax.vmap(over_units, (None, 0), out_axes=2)

    def of_lists(values: Array) -> tuple[Array, Array, Array]:
        design = structure.scale / model.noise * over_data(values, x)[..., 0]
        weighted = weights * design
        score = jnp.einsum("pin,nq->piq", weighted, y) / model.noise
        return design, jnp.sum(weighted * design, axis=2), score

    def of_pairs(pairs: Array) -> Array:
        return (weights * designs[pairs[:, 0]]) @ jnp.swapaxes(designs[pairs[:, 1]], 1, 2)

    designs, squares, score = _in_steps(of_lists, units.values, steps[0], units.counts[0])
    products = _in_steps(of_pairs, units.pairs, steps[1], units.counts[1])
    return UnitSums(squares, score, products, _block_energy(model, statistics))


def _in_steps(function: Callable[[Array], Any], rows: Array, step: int, count: Array) -> Any:
    """A function of the first ``count`` rows, of ``step`` at a time; zeros for what lies beyond."""
    step = min(step, len(rows))

    def taken(place: Array | int, found: Any) -> Any:
        start = step * place
        fresh = function(jax.lax.dynamic_slice_in_dim(rows, start, step))
        write = jax.lax.dynamic_update_slice_in_dim
        return jax.tree.map(lambda leaf, new: write(leaf, new, start, 0), found, fresh)

    shapes = jax.eval_shape(function, rows[:step])
    zeros = jax.tree.map(lambda s: jnp.zeros((len(rows), *s.shape[1:]), s.dtype), shapes)
    return jax.lax.fori_loop(0, -(-count // step), taken, zeros)


def combined(sums: UnitSums, lists: Array, pairs: Array) -> BlockStatistics:
    """``node_statistics`` at all combinations of a unit of each of G lists, leading axis [m^G].

    ``lists`` [G] and ``pairs`` [G(G − 1)/2], in the order of ``pairs_of``, are places in the sums.
    The design at a node is that of its units one by one, so that the data are seen by pairs of
    units and not by each node.
    """
    groups, count = len(lists), sums.squares.shape[1]
    which = jnp.indices((count,) * groups).reshape(groups, -1)
    precision = jnp.zeros((which.shape[1], groups, groups))
    for g in range(groups):
        precision = precision.at[:, g, g].set(sums.squares[lists[g]][which[g]])
    for place, (g, h) in enumerate(pairs_of(groups)):
        both = sums.products[pairs[place]][which[g], which[h]]
        precision = precision.at[:, g, h].set(both).at[:, h, g].set(both)
    return BlockStatistics(
        precision=precision,
        score=jnp.moveaxis(sums.score[lists[:, None], which], 1, 0),
        energy=jnp.full(which.shape[1], sums.energy),
    )


def pairs_of(groups: int) -> list[tuple[int, int]]:
    """The pairs (g, h) with h < g."""
    return [(g, h) for g in range(groups) for h in range(g)]


def block_statistics(
    collapse: Collapse, noise: float, latent: Array, statistics: RegressionStatistics
) -> BlockStatistics:
    """Reduce statistics of p features to the k block parameters at one latent value [l]."""
    basis = collapse.basis(latent)
    delta = _offset(collapse, latent, statistics.optimum)
    gram_delta = statistics.gram @ delta
    return BlockStatistics(
        precision=(collapse.scale / noise) ** 2 * (basis.T @ statistics.gram @ basis),
        score=collapse.scale / noise**2 * (basis.T @ (statistics.cross - gram_delta)),
        energy=jnp.sum(delta * (gram_delta - 2 * statistics.cross)) / (2 * noise**2),
    )


def unit_gram(collapse: Collapse, noise: float, beta: float, gram: ArrayLike) -> np.ndarray:
    """β(s/σ)²M [p, p]: total nats per square of coefficients in units of the block's scale."""
    return beta * (collapse.scale / noise) ** 2 * np.asarray(gram)


def _offset(collapse: Collapse, latent: Array, origin: Array) -> Array:
    """δ₀ = offset − c(w₀), shape [p, q]."""
    return -origin if collapse.offset is None else collapse.offset(latent) - origin


def log_block_evidence(reduced: BlockStatistics, beta: Array) -> Array:
    """log ∫ N(a; 0, I) exp(β Σ_i(ℓ_i(a) − ℓ_i(w₀))) da in total nats, for the q output columns.

        −(q/2) log|I + βP| + (β²/2) tr hᵀ(I + βP)⁻¹h − β·energy

    with P the precision and h the score.
    """
    size, outputs = reduced.score.shape
    matrix = jnp.eye(size, dtype=reduced.score.dtype) + beta * reduced.precision
    scaled_score = beta * reduced.score
    if size <= UNROLLED_BLOCK:
        log_det, quadratic = _eliminate(matrix, scaled_score)
    else:
        factor = jnp.linalg.cholesky(matrix)
        log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))
        white = jax.scipy.linalg.solve_triangular(factor, scaled_score, lower=True)
        quadratic = jnp.sum(white**2)
    return -0.5 * outputs * log_det + 0.5 * quadratic - beta * reduced.energy


def _eliminate(matrix: Array, score: Array) -> tuple[Array, Array]:
    """log|A| and tr hᵀA⁻¹h by Gaussian elimination on scalars.

    Under ``vmap`` a LAPACK factorisation of millions of tiny matrices runs one by one; scalar
    code becomes one vectorised loop over them.
    """
    size, outputs = score.shape
    rows = [[matrix[i, j] for j in range(size)] for i in range(size)]
    right = [[score[i, c] for c in range(outputs)] for i in range(size)]
    log_det = jnp.zeros((), matrix.dtype)
    quadratic = jnp.zeros((), matrix.dtype)
    for k in range(size):
        pivot = rows[k][k]
        log_det = log_det + jnp.log(pivot)
        for c in range(outputs):
            quadratic = quadratic + right[k][c] ** 2 / pivot
        for i in range(k + 1, size):
            ratio = rows[i][k] / pivot
            for j in range(i, size):
                rows[i][j] = rows[i][j] - ratio * rows[k][j]
                rows[j][i] = rows[i][j]
            for c in range(outputs):
                right[i][c] = right[i][c] - ratio * right[k][c]
    return log_det, quadratic


class BlockPosterior(NamedTuple):
    """N(mean, rootᵀroot) of each column of the block in units of its prior, at one node.

    ``root`` [k, k] with rootᵀroot = (I + βP)⁻¹ and ``mean`` [k, q] = β(I + βP)⁻¹h.
    """

    root: Array
    mean: Array


def block_posterior(reduced: BlockStatistics, beta: Array) -> BlockPosterior:
    """The posterior of the block under ``reduced`` at β."""
    identity = jnp.eye(len(reduced.score), dtype=reduced.score.dtype)
    if not len(identity):
        return BlockPosterior(identity, reduced.score)
    factor = jnp.linalg.cholesky(identity + beta * reduced.precision)
    root = jax.scipy.linalg.solve_triangular(factor, identity, lower=True)
    return BlockPosterior(root, root.T @ (root @ (beta * reduced.score)))


class DatumLaw(NamedTuple):
    """The law of g = ℓ_j(w) − ℓ_j(w₀) under the posterior of the block at each node, nats.

    Under a Gaussian block g = gain − ½ Σ_c (d_c + √ρ ξ_c)² with q standard normal ξ_c:
    ``gain`` [n, 1] is ½ Σ_c of the squared residuals at w₀, ``distance`` [n, node] = Σ_c d_c² and
    ``spread`` [n, node] = ρ, all in units of the noise. Without a block g = gain [n, node].
    """

    gain: Array
    distance: Array
    spread: Array
    outputs: int

    def cumulant(self, shift: Array) -> Array:
        """log E exp(tg) [n, node] at t = ``shift`` [n]; NaN where 1 + tρ ≤ 0 and it is infinite.

        t·gain − (q/2) log(1 + tρ) − (t/2)·distance/(1 + tρ)
        """
        t = shift[:, None]
        damping = 1 + t * self.spread
        squares = self.outputs * jnp.log(damping) + t * self.distance / damping
        return t * self.gain - 0.5 * squares

    def mean(self) -> Array:
        """E g, the first derivative of the cumulant at 0."""
        return self.gain - 0.5 * (self.distance + self.outputs * self.spread)

    def variance(self) -> Array:
        """Var g, the second derivative of the cumulant at 0."""
        return self.spread * (self.distance + 0.5 * self.outputs * self.spread)


def datum_law(
    structure: Structure,
    model: Model,
    optimum: Params,
    nodes: Array,
    posterior: BlockPosterior,
    data: Data,
) -> DatumLaw:
    """How each of n data fits at nodes [node, l] and the posteriors of the block there."""
    if isinstance(structure, Direct):
        gains = _gains(structure, model, optimum, nodes, data)
        return DatumLaw(gains, jnp.zeros_like(gains), jnp.zeros_like(gains), 0)
    assert isinstance(model, Regression)
    residuals = (data.y - jax.vmap(model.predict, (None, 0))(optimum, data.x)) / model.noise
    fits, axes = _fits(structure, model, optimum, nodes, posterior, data)
    zero = jnp.zeros((len(data.y), len(nodes)))
    return DatumLaw(
        gain=0.5 * jnp.sum(residuals**2, axis=1, keepdims=True),
        distance=sum(((residuals[:, c, None] - fit) ** 2 for c, fit in enumerate(fits)), zero),
        spread=sum((axis**2 for axis in axes), zero),
        outputs=residuals.shape[1],
    )


def _fits(
    structure: Collapse | LinearBlock,
    model: Regression,
    optimum: Params,
    nodes: Array,
    posterior: BlockPosterior,
    data: Data,
) -> tuple[list[Array], list[Array]]:
    """E f − f(w₀) of each output, and the k axes of Cov f of any, in units of the noise: [n, node].

    Nodes come last and one axis at a time: as batches of tiny products the same takes four
    times as long.
    """
    if isinstance(structure, LinearBlock):
        over_data = jax.vmap(jax.vmap(structure.design, (0, None)), (None, 0))
        design = structure.scale / model.noise * jnp.moveaxis(over_data(nodes, data.x), 2, 0)
        optimal = jax.vmap(model.predict, (None, 0))(optimum, data.x) / model.noise
        mean, root = jnp.moveaxis(posterior.mean, 0, 2), jnp.moveaxis(posterior.root, 0, 2)
        outputs, size = optimal.shape[1], len(design)
        fits = [
            sum((design[k] * mean[k, c] for k in range(size)), -optimal[:, c, None])
            for c in range(outputs)
        ]
        zero = jnp.zeros_like(design[0])
        return fits, [sum((design[k] * root[j, k] for k in range(size)), zero) for j in range(size)]
    assert isinstance(model, FeatureRegression)
    features = jax.vmap(model.features)(data.x) / model.noise
    origin = model.coefficients(optimum)
    basis = structure.scale * jax.vmap(structure.basis)(nodes)
    offset = jax.vmap(lambda node: _offset(structure, node, origin))(nodes)
    centres = jnp.einsum("bpk,bkq->qpb", basis, posterior.mean) + jnp.einsum("bpq->qpb", offset)
    axes = jnp.einsum("bpk,bjk->jpb", basis, posterior.root)
    return [features @ centre for centre in centres], [features @ axis for axis in axes]


def _gains(direct: Direct, model: Model, optimum: Params, nodes: Array, data: Data) -> Array:
    """ℓ_j(w) − ℓ_j(w₀), shape [n, node]."""
    params = jax.vmap(direct.params)(nodes)
    over_nodes = jax.vmap(model.log_likelihood, (0, None, None))
    at_nodes = jax.vmap(over_nodes, (None, 0, 0))(params, *data)
    return at_nodes - jax.vmap(model.log_likelihood, (None, 0, 0))(optimum, *data)[:, None]
