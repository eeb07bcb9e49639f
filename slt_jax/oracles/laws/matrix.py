"""A Gaussian matrix that enters through AᵀA, by its singular values and an angle."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import gammaln

from slt_jax.oracles.laws.charts import Chart, chi_axis, normal_axis
from slt_jax.oracles.laws.cuts import FACTORS, LENGTH_REACH, Cut, cut, length_cut, log_chi_tail
from slt_jax.oracles.laws.law import PRIOR_PANEL, LatentRule, Resolution, SharedLaw, finest_panel
from slt_jax.oracles.laws.lengths import angle_rule, chi_rule, row_rule, turned_rule
from slt_jax.oracles.quadrature import graded_edges, panel_rule


def single_direction(linear_map: np.ndarray) -> tuple[float, ...]:
    """Row space of a map [output, input] of rank one, as a unit vector; empty for other ranks."""
    _, singular_values, rows = np.linalg.svd(np.asarray(linear_map, float))
    rank = int(np.sum(singular_values > 1e-6 * max(1.0, singular_values[0])))
    return tuple(float(v) for v in rows[0]) if rank == 1 else ()


@dataclass(frozen=True)
class MatrixLatent(SharedLaw):
    """A rows × columns matrix A of N(0, scale²) entries that enters through AᵀA only.

    ``direction`` is the row space of the optimum (columns of length ``columns``), empty if the
    truth is zero: the posterior is peaked around it.
    """

    rows: int
    columns: int
    scale: float = 1.0
    direction: tuple[float, ...] = ()

    def rule(self, sharpness: tuple[float, ...], resolution: Resolution) -> LatentRule:
        """Lay out singular values and right singular directions of a matrix with ≤ 2 columns.

        Nodes are a root R of AᵀA, flattened: one row r(cos θ, sin θ), or diag(s₁, s₂) times a
        rotation.
        """
        (curvature,) = sharpness
        finest = finest_panel(curvature * self.scale**2)
        if self.columns == 1:
            radial = chi_rule(self.rows, finest, resolution)
            return LatentRule(self.scale * radial.nodes[:, None], np.log(radial.weights))
        angle = angle_rule(self.direction, finest, resolution)
        if self.rows == 1:
            return row_rule(chi_rule(self.columns, finest, resolution), angle, self.scale)
        return turned_rule(*self._singular_values(finest, resolution), angle, self.scale)

    def _singular_values(
        self, finest: float, resolution: Resolution
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pairs s₁ > s₂ [N, 2] in units of the scale, and their log-weights [N].

        Their density is (s₁s₂)^{H−2} (s₁² − s₂²) e^{−(s₁²+s₂²)/2} / Γ(H−1) (Muirhead, *Aspects of
        Multivariate Statistical Theory*, Theorem 3.2.17).
        """
        high = np.sqrt(self.rows) + LENGTH_REACH
        large = panel_rule(
            graded_edges(0.0, high, (0.0,), finest, resolution.ratio, PRIOR_PANEL), resolution.order
        )
        pairs, log_weights = [], []
        for s1, w1 in zip(large.nodes, large.weights, strict=True):
            edges = graded_edges(0.0, s1, (0.0,), finest, resolution.ratio, PRIOR_PANEL)
            small = panel_rule(edges, resolution.order)
            log_density = (
                (self.rows - 2) * np.log(s1 * small.nodes)
                + np.log(s1**2 - small.nodes**2)
                - (s1**2 + small.nodes**2) / 2
            )
            pairs.append(np.column_stack([np.full(len(small.nodes), s1), small.nodes]))
            log_weights.append(np.log(w1 * small.weights) + log_density)
        return np.concatenate(pairs), np.concatenate(log_weights) - gammaln(self.rows - 1)

    def cuts(self) -> tuple[Cut, ...]:
        if 1 in (self.rows, self.columns):
            degrees = max(self.rows, self.columns)
            return (length_cut(tuple(range(self.columns)), degrees, self.scale),)
        radius = math.sqrt(self.rows) + LENGTH_REACH
        log_tails = log_chi_tail(2 * self.rows, radius * np.array(FACTORS))
        return tuple(cut(row, radius * self.scale, log_tails) for row in ((0, 1), (2, 3)))

    def charts(self, nats: float) -> tuple[Chart, ...]:
        """Chart the triangular root of AᵀA, whose entries are independent.

        Source: Muirhead, *Aspects of Multivariate Statistical Theory*, Theorem 3.2.14 (Bartlett).
        """
        off_diagonal = normal_axis(self.scale, (), nats, half=False)
        if self.columns == 1:
            return (Chart((chi_axis(self.rows, self.scale, nats),), nats=nats),)
        if self.rows == 1:
            # The likelihood does not depend on the sign of the row.
            first = normal_axis(self.scale, (), nats, half=True)
            return (Chart((first, off_diagonal), nats=nats),)
        first, second = (chi_axis(k, self.scale, nats) for k in (self.rows, self.rows - 1))
        return (Chart((first, off_diagonal, second), place=_to_triangle, nats=nats),)

    def describe(self) -> str:
        return f"singular values and directions of a {self.rows} × {self.columns} matrix"


def _to_triangle(entries: Array) -> Array:
    first, between, second = entries.T
    return jnp.stack([first, between, jnp.zeros_like(first), second], axis=1)
