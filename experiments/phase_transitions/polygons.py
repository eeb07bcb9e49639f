"""The toy model of superposition: its loss, its phases, and the local evidence of its polygons.

Six features x = t e_i, t ~ U[0, 1], i uniform, go through two hidden dimensions,
f(x) = relu(WᵀWx + b), W [2, 6], and come back as y = x without noise; the model has noise 1, so
that nL_n(w) = Σ ‖x − f(x)‖²/2. All 18 parameters are N(0, 1).

Source: Chen, Lau, Mendel, Wei and Murfet, Dynamical versus Bayesian phase transitions in a toy
model of superposition, arXiv:2310.06301 (2023), whose loss has no factor 1/2.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax import theory
from slt_jax.models.superposition import BEST_SHAPES
from slt_jax.run.precision import in_float64

FEATURES = 6
DIMENSION = 3 * FEATURES
# The mean of a feature is the best constant answer to it.
POSITIVE_BIAS = 1 / (2 * FEATURES)
# A bias at which a feature of zero weights is off for certain; its value does not matter.
OFF_BIAS = -1.0
# Panels of the angle and of the radius of the weights of a feature that is off.
OFF_NODES = 400
DIFFERENCE = 1e-5


class Moments(NamedTuple):
    """Sums of t⁰, t¹, t² over the data of each feature i: up to a value, and all of them.

    ``below`` [3, 6, G + 1] at t = g/G, linear between; ``total`` [3, 6].
    """

    below: Array
    total: Array


def uniform_moments(upper: Array) -> Array:
    """Return ∫₀^upper t^p dt / 6, p = 0, 1, 2 [3, ...]: the moments of the population."""
    return jnp.stack([upper, upper**2 / 2, upper**3 / 3]) / FEATURES


def table_moments(upper: Array, below: Array) -> Array:
    """Interpolate sums over data ``below`` [3, 6, G + 1] up to ``upper`` [6, j] of each feature."""
    cells = below.shape[-1] - 1
    place = upper * cells
    cell = jnp.minimum(place.astype(int), cells - 1)
    left = jnp.take_along_axis(below, cell[None], axis=-1)
    right = jnp.take_along_axis(below, cell[None] + 1, axis=-1)
    return left + (place - cell) * (right - left)


def loss_of_moments(w: Array, moments: Moments | None) -> Array:
    """Return Σ ‖x − f(x)‖²/2 of data, or L(w) of the population where ``moments`` is None.

    Each output is linear in t up to its kink or beyond it, so that three moments of the active
    side give it exactly. At the kink the output is 0, and where it is has no gradient.
    """
    weights, bias = w[: 2 * FEATURES].reshape(2, FEATURES), w[2 * FEATURES :]
    # [input i, output j]
    slope = weights.T @ weights
    offset = jnp.broadcast_to(bias, slope.shape)
    safe = jnp.where(jnp.abs(slope) < 1e-20, 1e-20, slope)
    kink = jax.lax.stop_gradient(jnp.clip(-offset / safe, 0.0, 1.0))
    if moments is None:
        below, total = uniform_moments(kink), uniform_moments(jnp.ones(FEATURES, w.dtype))
    else:
        below, total = table_moments(kink, moments.below), moments.total
    active = jnp.where(safe > 0, total[:, :, None] - below, below)
    squares = slope**2 * active[2] + 2 * slope * offset * active[1] + offset**2 * active[0]
    products = slope * active[2] + offset * active[1]
    return (jnp.sum(squares) + jnp.sum(total[2])) / 2 - jnp.trace(products)


def vertices(w: Array) -> Array:
    """Tell which of the six columns of W are vertices of their convex hull, as booleans [6].

    An ordered pair of columns is an edge where all others lie to the left of it, and every vertex
    begins one edge.
    """
    x, y = w[: 2 * FEATURES].reshape(2, FEATURES)
    cross = x[:, None] * y - y[:, None] * x
    turn = cross[:, :, None] + cross[None] - cross[:, None, :]
    same = np.eye(FEATURES, dtype=bool)
    on_edge = same[:, None, :] | same[None]
    is_edge = jnp.all((turn > 0) | on_edge, axis=-1) & ~same
    return jnp.any(is_edge, axis=1)


def num_vertices(w: Array) -> Array:
    """Count the vertices of the convex hull of the columns of W, 3 to 6."""
    return jnp.sum(vertices(w))


class Polygon(NamedTuple):
    """A regular polygon of ``sides`` columns; of the others ``positive`` have a positive bias."""

    sides: int
    positive: int

    @property
    def name(self) -> str:
        """The notation of the literature, such as 5⁺ for a pentagon with one positive bias."""
        inside = FEATURES - self.sides
        signs = "⁺" * self.positive + "⁻" * (inside - self.positive)
        return f"{self.sides}{signs}"

    @property
    def parameters(self) -> np.ndarray:
        """The parameters [18] of one of them, whose vertices are the first columns."""
        length, bias = BEST_SHAPES[self.sides]
        angles = 2 * np.pi * np.arange(self.sides) / self.sides
        weights = np.zeros((2, FEATURES))
        weights[:, : self.sides] = length * np.stack([np.cos(angles), np.sin(angles)])
        inside = FEATURES - self.sides
        signs = np.arange(inside) < self.positive
        biases = [np.full(self.sides, bias), np.where(signs, POSITIVE_BIAS, OFF_BIAS)]
        return np.concatenate([weights.ravel(), *biases])

    @property
    def learning_coefficient(self) -> float:
        """Return λ: that of the polygon, and 3/2 in place of what an inner feature has when off.

        A feature that is off costs nothing beside a polygon whose biases are negative, and 1 beside
        the square, whose biases are 0; one of a positive bias is regular in all its three
        parameters.
        """
        known = theory.superposition_polygon(FEATURES, self.sides).learning_coefficient
        of_off = 1.0 if self.sides == 4 else 0.0
        return float(known) + (1.5 - of_off) * self.positive


POLYGONS = (
    Polygon(4, 0), Polygon(4, 1), Polygon(4, 2), Polygon(5, 0), Polygon(5, 1), Polygon(6, 0),
)  # fmt: skip


@in_float64
def loss_at(polygon: Polygon) -> float:
    """Return L at the polygon, nats per datum."""
    return float(loss_of_moments(jnp.asarray(polygon.parameters), None))


@in_float64
def local_constant(polygon: Polygon) -> float:
    """Return C of the local evidence log Z = −nL − λ log n + C + o(1), in nats; NaN for squares.

    The polygon can be rotated and its columns exchanged, which makes c!/(k (c−k)!) circles of the
    length 2π‖W‖, times the choice of positive biases. Across a circle the loss is quadratic in the
    regular parameters; a feature that is off brings the prior mass of where it stays off. At a
    square the loss is not twice differentiable, and no such constant is known.
    """
    if polygon.sides == 4:
        return math.nan
    w = jnp.asarray(polygon.parameters)
    off = np.arange(FEATURES) >= polygon.sides + polygon.positive
    regular = np.flatnonzero(~np.tile(off, 3))
    hessian = np.asarray(_hessian(w))
    curvatures = np.linalg.eigvalsh(hessian[np.ix_(regular, regular)])
    # The least of them is that of the rotation.
    across = curvatures[1:]
    inside = FEATURES - polygon.sides
    circles = math.factorial(FEATURES) / (polygon.sides * math.factorial(inside))
    circles *= math.comb(inside, polygon.positive)
    length = 2 * math.pi * float(np.linalg.norm(polygon.parameters[: 2 * FEATURES]))
    values = polygon.parameters[regular]
    log_prior = -float(values @ values) / 2 - len(values) / 2 * math.log(2 * math.pi)
    gaussian = sum(math.log(2 * math.pi / each) for each in across) / 2
    return (
        math.log(circles * length)
        + log_prior
        + gaussian
        + off.sum() * math.log(off_mass(*BEST_SHAPES[polygon.sides], polygon.sides))
    )


@jax.jit
def _hessian(w: Array) -> Array:
    """Differentiate the gradient of L by central differences, exact to about 10⁻⁹.

    Where a kink is has no gradient, which the first derivative does not need; a second automatic
    derivative would miss that the kinks move.
    """
    steps = DIFFERENCE * jnp.eye(DIMENSION)
    gradients = jax.vmap(jax.grad(lambda at: loss_of_moments(at, None)))
    up, down = jnp.split(gradients(jnp.concatenate([w + steps, w - steps])), 2)
    slopes = (up - down) / (2 * DIFFERENCE)
    return (slopes + slopes.T) / 2


def off_mass(length: float, bias: float, sides: int) -> float:
    """Return the prior mass of the weights v and the bias of a feature that is off at a polygon.

    With W_j its columns, W_j·v ≤ −b keeps every output of the polygon as it is when the feature is
    on, and the feature's bias ≤ −max(W_j·v, ‖v‖², 0) keeps its own output at 0 throughout. Gauss
    and Legendre's rule in polar coordinates of one of the equal sectors that are bisected by a
    column.
    """
    from scipy.special import ndtr

    nodes, weights = np.polynomial.legendre.leggauss(OFF_NODES)
    angle = np.pi / sides * nodes[:, None]
    edge = -bias / (length * np.cos(angle))
    radius = edge * (1 + nodes) / 2
    needed = np.maximum(length * radius * np.cos(angle), radius**2)
    density = radius * np.exp(-(radius**2) / 2) / (2 * np.pi) * ndtr(-needed)
    inner = (density * edge / 2) @ weights
    return float(sides * np.pi / sides * (inner @ weights))


class Phase(NamedTuple):
    """A region of parameters: so many vertices of the hull, and for five the sign of a bias."""

    name: str
    vertices: int


PHASES = (Phase("3", 3), Phase("4", 4), Phase("5⁻", 5), Phase("5⁺", 5), Phase("6", 6))
# The polygon at which a phase is lowest; those of 3 and 4 vertices are lowest on their borders.
PEAKS = {"5⁻": Polygon(5, 0), "5⁺": Polygon(5, 1), "6": Polygon(6, 0)}


def phase_of(w: Array) -> Array:
    """Return the index in ``PHASES`` of the phase of w [18]."""
    hull = vertices(w)
    count = jnp.sum(hull)
    is_positive = jnp.any(~hull & (w[2 * FEATURES :] > 0))
    return jnp.where(count == 5, 2 + is_positive, jnp.where(count == 6, 4, count - 3))
