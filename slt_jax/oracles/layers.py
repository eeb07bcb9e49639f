"""Densities of singular values of products of matrices of independent normals, on log grids.

All terms of the sums below are positive, so that the densities have relative accuracy also far in
the tails, where absolute accuracy would not do for a posterior that lives there.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, i0e

STEP = 1 / 4
LOWEST = -60.0
HIGHEST_PER_LAYER = 5.0
RATIOS = (-18.0, 40.0)
NEGLIGIBLE = -90.0


def log_square_density(degrees: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Density of u = log ∏_k χ²_k with independent χ² of ``degrees``, on a grid of step 1/4.

    The squared length of v ↦ W_m…W_1 v for a unit vector v, degrees the widths that it passes.
    Returns (grid [N], density [N]); the trapezoid rule is spectrally accurate. Raises ValueError
    for a degree < 1.
    """
    if not degrees or any(degree < 1 for degree in degrees):
        raise ValueError(f"degrees {tuple(degrees)}: at least one, each ≥ 1")
    grid = STEP * np.arange(round(LOWEST / STEP), round(HIGHEST_PER_LAYER / STEP) + 1)
    first, density = 0.0, np.ones(1)
    for degree in degrees:
        factor = np.exp(degree / 2 * (grid - np.log(2)) - np.exp(grid) / 2 - gammaln(degree / 2))
        density = np.convolve(density, factor) * (STEP if len(density) > 1 else 1.0)
        first += grid[0]
    return first + STEP * np.arange(len(density)), density


class SingularValues(NamedTuple):
    """Density of the two singular values s₁ > s₂ of a matrix on a grid with both steps 1/4.

    ``log_product`` [U] is u = log s₁s₂ and ``log_ratio`` [V] is r = log(s₁/s₂) = log(1 + e^v) for
    v on a uniform grid, in which the trapezoid rule is spectrally accurate; ``density`` [U, V] is
    that of (u, v).
    """

    log_product: np.ndarray
    log_ratio: np.ndarray
    density: np.ndarray


@functools.cache
def singular_values(rows: tuple[int, ...]) -> SingularValues:
    """The density of the singular values of W_m…W_1, W_k of rows[k] rows, W_1 of two columns.

    All entries are standard normal. As the law of W does not change when W is turned, those of
    W·A depend on the singular values of A alone, and the eigenvalues of a Wishart matrix of H
    degrees of freedom with covariance diag(s₁², s₂²) are (Muirhead, *Aspects of Multivariate
    Statistical Theory*, Theorem 3.2.18, ₀F₀ of 2 × 2 matrices being a Bessel function)

        p(u', r' | u, r) = z^H sinh r' e^{−z cosh r cosh r'} I₀(z sinh r sinh r') / Γ(H − 1),

    z = e^{u' − u}: a convolution in u. Raises ValueError for rows < 2.
    """
    if not rows or any(count < 2 for count in rows):
        raise ValueError(f"rows {rows}: at least one, each ≥ 2")
    highest = HIGHEST_PER_LAYER * len(rows)
    u = STEP * np.arange(round(LOWEST / STEP), round(highest / STEP) + 1)
    v = STEP * np.arange(round(RATIOS[0] / STEP), round(RATIOS[1] / STEP) + 1)
    r, slope = np.logaddexp(0, v), 1 / (1 + np.exp(-v))
    start = _kernel(rows[0], u[:, None], r, np.zeros(1))[:, :, 0]
    density = start
    for count in rows[1:]:
        weighted, density = density * (slope * STEP**2), np.zeros_like(start)
        for shift in range(1 - len(u), len(u)):
            kernel = _kernel(count, np.full((1, 1), shift * STEP), r, r)[0]
            if not np.any(kernel):
                continue
            source = weighted[max(0, -shift) : len(u) - max(0, shift)]
            density[max(0, shift) : len(u) + min(0, shift)] += source @ kernel.T
    return SingularValues(u, r, density * slope)


def _kernel(count: int, shift: np.ndarray, after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """p(u + shift, r' | u, r) [shift, r', r]; shift [S, 1], 0 where it is below e^−90."""
    difference = np.abs(after[:, None] - before)
    log_sinh, log_sinh_before = (
        r + np.log(-np.expm1(-2 * np.maximum(r, 1e-300)) / 2) for r in (after, before)
    )
    shift = shift[:, :, None]
    with np.errstate(over="ignore"):
        exponent = count * shift + log_sinh[:, None] - np.exp(shift) * np.cosh(difference)
        exponent = exponent - gammaln(count - 1)
        inner = np.exp(np.minimum(shift + log_sinh[:, None] + log_sinh_before, 600.0))
    return np.where(exponent < NEGLIGIBLE, 0.0, np.exp(exponent) * i0e(inner))
