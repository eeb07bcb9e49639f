"""A product of Gaussian matrices that enters through AᵀA, by its singular values and an angle.

The densities of singular values are on log grids. All terms of their sums are positive, so that
they have relative accuracy also far in the tails, where absolute accuracy would not do for a
posterior that lives there.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import gammaln, i0e

from slt_jax.oracles.laws.charts import Chart, angle_axis, from_polar
from slt_jax.oracles.laws.cuts import Cut, cut, factors_per, log_chi_tail
from slt_jax.oracles.laws.law import LatentRule, Resolution, SharedLaw, finest_panel
from slt_jax.oracles.laws.lengths import angle_rule, row_rule, turned_rule
from slt_jax.oracles.laws.log_lengths import log_length_axis
from slt_jax.oracles.quadrature import Rule

STEP = 1 / 4
LOWEST = -60.0
HIGHEST_PER_LAYER = 5.0
RATIOS = (-18.0, 40.0)
NEGLIGIBLE = -90.0
# Nodes that weigh less than this, times the least evidence of a curvature, are left out.
LOG_LEAST = -37.0


@dataclass(frozen=True)
class LayersLatent(SharedLaw):
    """A product W_m…W_1 of N(0, scale²) matrices that enters through AᵀA only, as ``MatrixLatent``.

    ``rows`` [m] are those of W_1 to W_m, and W_1 has ``columns``.
    """

    rows: tuple[int, ...]
    columns: int
    scale: float = 1.0
    direction: tuple[float, ...] = ()

    def rule(self, sharpness: tuple[float, ...], resolution: Resolution) -> LatentRule:
        """Apply trapezoid rules to the logarithms of lengths or singular values, and the angle's.

        What is left out weighs less than 10⁻¹⁶ of the least evidence that this curvature allows.
        """
        (curvature,), scale = sharpness, self.scale ** len(self.rows)
        precision = curvature * scale**2
        finest, stride = finest_panel(precision), resolution.trapezoid // 2
        least = np.exp(LOG_LEAST - 2 * np.log1p(precision))
        if self._is_bottleneck:
            grid, density = log_square_density(self._widths or [1])
            weights = density[::stride] * STEP * stride
            keep = weights > least
            radial = Rule(np.exp(grid[::stride][keep] / 2), weights[keep])
            if self.columns == 1:
                return LatentRule(scale * radial.nodes[:, None], np.log(radial.weights))
            return row_rule(radial, angle_rule(self.direction, finest, resolution), scale)
        u, r, density = singular_values(self.rows)
        weights = density[::stride, ::stride] * (STEP * stride) ** 2
        keep = weights > least
        half_sum, half_difference = np.meshgrid(u[::stride] / 2, r[::stride] / 2, indexing="ij")
        large, small = (np.exp(half_sum + sign * half_difference)[keep] for sign in (1, -1))
        pairs, angle = (
            np.column_stack([large, small]),
            angle_rule(self.direction, finest, resolution),
        )
        return turned_rule(pairs, np.log(weights[keep]), angle, scale)

    def cuts(self) -> tuple[Cut, ...]:
        """Cut where each squared length is e^HIGHEST_PER_LAYER, which one must exceed beyond."""
        longest = math.exp(HIGHEST_PER_LAYER / 2)
        lengths = longest * factors_per(len(self.rows))
        log_tails = math.log(len(self.rows)) + log_chi_tail(self.columns * max(self.rows), lengths)
        radius = (longest * self.scale) ** len(self.rows)
        columns = [tuple(range(self.columns))]
        if not self._is_bottleneck:
            columns.append(tuple(range(self.columns, 2 * self.columns)))
        return tuple(cut(row, radius, log_tails) for row in columns)

    def charts(self, nats: float) -> tuple[Chart, ...]:
        """Chart a product of rank one by its length, and its direction if it has two columns."""
        if not self._is_bottleneck:
            return ()
        terms = tuple((0.5, degrees) for degrees in sorted(self._widths)) or ((0.5, 1),)
        length = log_length_axis(terms, len(self.rows) * math.log(self.scale), nats)
        if self.columns == 1:
            return (Chart((length,), place=jnp.exp, nats=nats),)
        return (Chart((length, angle_axis(math.pi)), place=_to_row, nats=nats),)

    def describe(self) -> str:
        shape = f"{self.rows[-1]} × {self.columns} product of {len(self.rows)} matrices"
        values = "length" if self._is_bottleneck else "singular values"
        return f"{values} and directions of a {shape}"

    @property
    def _is_bottleneck(self) -> bool:
        """True if a layer has width one, so that the product has rank one."""
        return 1 in (self.columns, *self.rows)

    @property
    def _widths(self) -> list[int]:
        """The widths that a vector passes, but for one that is 1."""
        widths = [self.columns, *self.rows]
        widths.remove(1)
        return widths


def _to_row(polar: Array) -> Array:
    return from_polar(polar.at[:, 0].set(jnp.exp(polar[:, 0])))


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
