"""Closed-form integral over the Gaussian block of a model, given the rest of its parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.model import Collapse, FeatureSummary

UNROLLED_BLOCK = 6


class BlockStatistics(NamedTuple):
    """What the data say about the block at one latent value, at β = 1.

    ``precision`` [k, k] = (s²/σ²) BᵀMB; ``score`` [k, q] = (s/σ²) Bᵀ(U − Mδ₀) with
    δ₀ = offset − c(w₀); ``energy`` = (1/2σ²) tr δ₀ᵀ(Mδ₀ − 2U), in total nats.
    """

    precision: Array
    score: Array
    energy: Array


def block_statistics(
    collapse: Collapse, noise: float, latent: Array, summary: FeatureSummary
) -> BlockStatistics:
    """Reduce a summary of p features to the k block parameters at one latent value [l]."""
    basis = collapse.basis(latent)
    delta = -summary.origin
    if collapse.offset is not None:
        delta = delta + collapse.offset(latent)
    gram_delta = summary.gram @ delta
    return BlockStatistics(
        precision=(collapse.scale / noise) ** 2 * (basis.T @ summary.gram @ basis),
        score=collapse.scale / noise**2 * (basis.T @ (summary.cross - gram_delta)),
        energy=jnp.sum(delta * (gram_delta - 2 * summary.cross)) / (2 * noise**2),
    )


def log_block_evidence(statistics: BlockStatistics, beta: Array) -> Array:
    """log ∫ N(a; 0, I) exp(β Σ_i(ℓ_i(a) − ℓ_i(w₀))) da in total nats, for the q output columns.

        −(q/2) log|I + βP| + (β²/2) tr hᵀ(I + βP)⁻¹h − β·energy

    with P the precision and h the score.
    """
    size, outputs = statistics.score.shape
    matrix = jnp.eye(size, dtype=statistics.score.dtype) + beta * statistics.precision
    scaled_score = beta * statistics.score
    if size <= UNROLLED_BLOCK:
        log_det, quadratic = _eliminate(matrix, scaled_score)
    else:
        factor = jnp.linalg.cholesky(matrix)
        log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))
        white = jax.scipy.linalg.solve_triangular(factor, scaled_score, lower=True)
        quadratic = jnp.sum(white**2)
    return -0.5 * outputs * log_det + 0.5 * quadratic - beta * statistics.energy


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
