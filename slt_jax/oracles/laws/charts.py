"""Coordinates in which the prior of a latent is a product of laws on the line.

Fixed rules are laid out over the bulk of the prior. A posterior that the data draw out of it is
followed in these coordinates instead: each has a law whose logarithm is accurate however far out,
and knows the interval outside of which there is less than e^−nats of it.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import gammaln

BULK = 2.0
# Held to another rule and to K₀ the logarithm of a tabulated density is right to 2e-11.
TABULATED = 1e-10


class Axis(NamedTuple):
    """A coordinate: the ``edges`` of the first cells along it, and its normalised log density.

    ``log_below`` is the log of the mass that a law of logarithms has below the first edge.
    """

    edges: tuple[float, ...]
    log_density: Callable[[np.ndarray], np.ndarray]
    log_below: float = -math.inf


class Chart(NamedTuple):
    """``num_units`` exchangeable units with the same independent ``axes``.

    ``place`` maps their coordinates [N, unit · axis] to latents [N, l], None if these are the same.
    Of several charts of one law each has the share e^``log_share`` of it, and ``nats`` says that
    all but e^−nats of that lies within the edges.
    """

    axes: tuple[Axis, ...]
    num_units: int = 1
    place: Callable[[Array], Array] | None = None
    log_share: float = 0.0
    nats: float = math.inf

    @property
    def dimension(self) -> int:
        """Number of coordinates of all units."""
        return self.num_units * len(self.axes)

    @property
    def doubt(self) -> float:
        """A bound on what interpolation of the density of products does to log Z, in nats."""
        return TABULATED * sum(axis.log_below > -math.inf for axis in self.axes)


def normal_axis(scale: float, singular: Sequence[float], nats: float, *, half: bool) -> Axis:
    """N(0, scale²), or its modulus; P(|w| > t·scale) ≤ e^{−t²/2}."""
    farthest = max(scale * math.sqrt(2 * nats), 2 * max(map(abs, singular), default=0.0))
    outside = _doubling(BULK * scale, farthest)
    points = {0.0, *outside, *map(float, singular)}
    if not half:
        points |= {-p for p in outside}
    edges = tuple(sorted(p for p in points if p >= 0 or not half))
    return Axis(edges, functools.partial(_log_normal, scale, half))


def _log_normal(scale: float, half: bool, w: np.ndarray) -> np.ndarray:
    constant = math.log(scale * math.sqrt(2 * math.pi)) - (math.log(2) if half else 0.0)
    return -0.5 * (w / scale) ** 2 - constant


def chi_axis(degrees: int, scale: float, nats: float) -> Axis:
    """The length of a vector of N(0, scale²); P(χ_k > √k + t) ≤ e^{−t²/2}."""
    root = math.sqrt(degrees)
    outside = (root + t for t in _doubling(BULK, math.sqrt(2 * nats)))
    edges = tuple(scale * t for t in (0.0, root, *outside))
    return Axis(edges, functools.partial(_log_chi, degrees, scale))


def _log_chi(degrees: int, scale: float, length: np.ndarray) -> np.ndarray:
    return log_chi_density(degrees, length / scale) - math.log(scale)


def log_chi_density(degrees: int, length: np.ndarray) -> np.ndarray:
    """Log density of the length of a standard normal vector of ``degrees`` entries."""
    constant = (degrees / 2 - 1) * np.log(2) + gammaln(degrees / 2)
    return (degrees - 1) * np.log(length) - length**2 / 2 - constant


def _doubling(first: float, last: float) -> list[float]:
    """first, 2·first, … and the last, which is at least the first."""
    count = max(0, math.ceil(math.log2(last / first)))
    return [*(first * 2.0**k for k in range(count)), max(first, last)]


def angle_axis(width: float) -> Axis:
    """A direction, uniform on an interval about 0."""
    edges = tuple(np.linspace(-width / 2, width / 2, 9).tolist())
    return Axis(edges, functools.partial(_log_uniform, width))


def _log_uniform(width: float, value: np.ndarray) -> np.ndarray:
    return np.full(value.shape, -math.log(width))


def from_polar(polar: Array) -> Array:
    """Rows (r cos θ, r sin θ) of rows (r, θ)."""
    length, angle = polar[:, :1], polar[:, 1:]
    return length * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)
