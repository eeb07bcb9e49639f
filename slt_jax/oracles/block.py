"""The algebra of a Gaussian block of parameters that is integrated out in closed form.

A model without a block has one of no parameters: the same formulae hold, and its likelihood at
the node is all that is left of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

UNROLLED_BLOCK = 6


class BlockStatistics(NamedTuple):
    """Sums over data that determine the posterior of the block at one latent, at β = 1.

    ``precision`` [k, k] = (s²/σ²) BᵀMB; ``score`` [k, q] = (s/σ²) Bᵀ(U − Mδ₀) with
    δ₀ = offset − c(w₀); ``energy`` = (1/2σ²) tr δ₀ᵀ(Mδ₀ − 2U), in total nats.
    """

    precision: Array
    score: Array
    energy: Array


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


class DatumFit(NamedTuple):
    """The distribution of g = ℓ_j(w) − ℓ_j(w₀) under the block's posterior at each node, in nats.

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
