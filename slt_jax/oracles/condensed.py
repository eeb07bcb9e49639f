"""Many data as few: pseudo-data with the same sums of all functions that are smooth.

Of an input x nothing enters but sums Σ a_i g(x_i) and Σ a_i y_i g(x_i) with g a product of two
units, and of a y without input Σ a_i g(y_i) with g a log-likelihood: analytic in a strip about the
real axis. On a panel as long as the strip is wide such a g is, to rounding, the polynomial that
interpolates it at NODES Gauss nodes ξ_j, so that A_j = Σ a_i ℓ_j(x_i) and Y_j = Σ a_i y_i ℓ_j(x_i),
with ℓ_j those of Lagrange, stand for the data of the panel (Trefethen, *Approximation Theory and
Approximation Practice*, Theorem 8.2). In more dimensions panels are cubes, and the ℓ_j products.
"""

import jax.numpy as jnp
import numpy as np
from numpy.polynomial.legendre import leggauss, legvander

from slt_jax.statistics import Data

# 2.4^−32 is 6e-13 for weights at the end of their reach, and less than rounding for those near 0.
NODES = 32
EPSILON = float(np.finfo(float).eps)


def condensed(data: Data, weights: np.ndarray, strip: float) -> tuple[Data, np.ndarray]:
    """Data and weights, some negative, with the same sums as n weighted data.

    What is condensed is x, or y where x has no entries, of d numbers; ``strip`` is the half-width
    of the strip in which functions of each are analytic. Panels that hold no more than NODES^d data
    keep them.
    """
    x, y = (np.asarray(part).reshape(len(weights), -1) for part in data)
    places, carried = (x, y) if x.size else (y, x)
    panel = np.floor(places / (2 * strip))
    order = np.lexsort((*places.T, *panel.T))
    starts = np.any(np.diff(panel[order], axis=0) != 0, axis=1)
    parts = []
    for rows in np.split(order, 1 + np.flatnonzero(starts)):
        one = (places[rows], carried[rows], weights[rows])
        parts.append(one if len(rows) <= NODES ** places.shape[1] else _interpolated(*one, strip))
    places, carried, masses = map(np.concatenate, zip(*parts, strict=True))
    fewer = (places, carried) if x.size else (carried, places)
    reshaped = (
        jnp.asarray(values).reshape(len(masses), *np.shape(part)[1:])
        for values, part in zip(fewer, data, strict=True)
    )
    return Data(*reshaped), masses


def _interpolated(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, strip: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes [NODES^d, d], Y_j/A_j [NODES^d, q] and A_j [NODES^d] of the data of one panel."""
    dimension = x.shape[1]
    centre = (2 * np.floor(x[0] / (2 * strip)) + 1) * strip
    places, quadrature = leggauss(NODES)
    # ℓ_j = w_j Σ_k (k + ½) P_k(ξ_j) P_k, as Gauss quadrature is exact for P_k P_l.
    degrees = np.arange(NODES) + 0.5
    sums = _moments((x - centre) / strip, np.column_stack([weights, weights[:, None] * y]))
    for _ in range(dimension):
        flat = sums.reshape(NODES, -1)
        flat = quadrature[:, None] * (legvander(places, NODES - 1) @ (degrees[:, None] * flat))
        # The next axis comes first; after all of them each is back in its place.
        sums = np.moveaxis(flat.reshape(sums.shape), 0, dimension - 1)
    sums = sums.reshape(NODES**dimension, -1)
    masses, products = sums[:, 0], sums[:, 1:]
    least = EPSILON * np.max(np.abs(masses))
    masses = np.where(np.abs(masses) < least, least, masses)
    nodes = np.stack(np.meshgrid(*[places] * dimension, indexing="ij"), axis=-1)
    return centre + strip * nodes.reshape(-1, dimension), products / masses[:, None], masses


def _moments(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Σ_i P_k(x_i1) P_l(x_i2) … v_i [NODES, …, c] of values [n, c]."""
    *others, last = (legvander(column, NODES - 1) for column in x.T)
    rows = values
    for polynomials in reversed(others):
        rows = (polynomials[:, :, None] * rows[:, None]).reshape(len(x), -1)
    found = (last.T @ rows).reshape(*[NODES] * x.shape[1], -1)
    return np.moveaxis(found, 0, x.shape[1] - 1)
