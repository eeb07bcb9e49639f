"""Coordinates in which the prior of a latent is a product of laws on the line.

Fixed rules are laid out over the bulk of the prior. A posterior that the data draw out of it is
followed in these coordinates instead: each has a law whose logarithm is accurate however far out,
and knows the interval outside of which there is less than e^−nats of it.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.interpolate import BSpline, make_interp_spline
from scipy.special import gammaln

from slt_jax.oracles.latents import log_chi_density, log_density
from slt_jax.oracles.structures import (
    BoxLatent,
    CellsLatent,
    Coordinate,
    HalvesLatent,
    KinksLatent,
    Latent,
    LayersLatent,
    MatrixLatent,
    PowerLatent,
    PowersLatent,
    ProductLatent,
    UnitsLatent,
)

BULK = 2.0
MOST_DIMENSIONS = 4
# Of the law of a product, in its logarithm.
STEPS = (1 / 4, 1 / 16, 1 / 64)
SPLINE = 5
POINTS = 512
NEGLIGIBLE = 45.0
# Held to another rule and to K₀ the logarithm of that density is right to 2e-11.
TABULATED = 1e-10
# A product is at most this near to 0, in nats of its law: nothing depends on it any more.
NEAREST = 60.0


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


def prior_chart(latent: CellsLatent) -> Chart:
    """The chart of units in their coordinates' own intervals, cut at the bulk of each law."""
    axes = tuple(_interval_axis(coordinate) for coordinate in latent.coordinates)
    return Chart(axes, latent.num_units)


def charts_of(latent: Latent, nats: float) -> tuple[Chart, ...]:
    """Charts of all of the prior of a latent but for e^−``nats`` of it.

    They are empty for a law that has none, or more than four coordinates.
    """
    charts = _charts(latent, nats)
    return charts if all(chart.dimension <= MOST_DIMENSIONS for chart in charts) else ()


def _charts(latent: Latent, nats: float) -> tuple[Chart, ...]:
    match latent:
        case UnitsLatent(num_units, scale, peaks):
            return (Chart((_normal_axis(scale, peaks, nats, half=True),), num_units, nats=nats),)
        case BoxLatent(coordinates):
            return (Chart(tuple(_axis(c, nats) for c in coordinates), nats=nats),)
        case CellsLatent(coordinates, num_units):
            return (Chart(tuple(_axis(c, nats) for c in coordinates), num_units, nats=nats),)
        case PowersLatent(exponents, scale):
            axes = tuple(_normal_axis(scale, (), nats, half=p % 2 == 0) for p in exponents)
            return (Chart(axes, place=functools.partial(_to_powers, exponents), nats=nats),)
        case ProductLatent(exponents, scale):
            axes = tuple(_modulus_axis(each, scale, nats) for each in exponents)
            return (Chart(axes, place=jnp.exp, nats=nats),)
        case PowerLatent(exponents, scale):
            axis = _modulus_axis(exponents, scale, nats)
            if all(exponent % 2 == 0 for exponent in exponents):
                return (Chart((axis,), place=jnp.exp, nats=nats),)
            both = (jnp.exp, _minus_exp)
            return tuple(Chart((axis,), 1, place, -math.log(2), nats) for place in both)
        case HalvesLatent(num_units, scale):
            return tuple(_halves_chart(k, num_units, scale, nats) for k in range(num_units + 1))
        case MatrixLatent(rows, columns, scale):
            return (_matrix_chart(rows, columns, scale, nats),)
        case KinksLatent(_, scale):
            axes = (_chi_axis(2, scale, nats), _angle_axis(2 * math.pi))
            return (Chart(axes, place=_from_polar, nats=nats),)
        case LayersLatent(rows, columns, scale) if 1 in (columns, *rows):
            return (_bottleneck_chart(rows, columns, scale, nats),)
    return ()


def _axis(coordinate: Coordinate, nats: float) -> Axis:
    if coordinate.scale is None:
        return _interval_axis(coordinate)
    half = coordinate.low == 0
    return _normal_axis(coordinate.scale, coordinate.singular, nats, half=half)


def _interval_axis(coordinate: Coordinate) -> Axis:
    """Cells between the singular points of a coordinate and the bulk of its law."""
    low, high, scale, singular, _ = coordinate
    bulk = () if scale is None else (-BULK * scale, BULK * scale)
    edges = sorted({low, high, *(p for p in (*singular, *bulk) if low < p < high)})
    return Axis(tuple(edges), functools.partial(log_density, coordinate))


def _normal_axis(scale: float, singular: Sequence[float], nats: float, *, half: bool) -> Axis:
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


def _chi_axis(degrees: int, scale: float, nats: float) -> Axis:
    """The length of a vector of N(0, scale²); P(χ_k > √k + t) ≤ e^{−t²/2}."""
    root = math.sqrt(degrees)
    outside = (root + t for t in _doubling(BULK, math.sqrt(2 * nats)))
    edges = tuple(scale * t for t in (0.0, root, *outside))
    return Axis(edges, functools.partial(_log_chi, degrees, scale))


def _log_chi(degrees: int, scale: float, length: np.ndarray) -> np.ndarray:
    return log_chi_density(degrees, length / scale) - math.log(scale)


def _doubling(first: float, last: float) -> list[float]:
    """first, 2·first, … and the last, which is at least the first."""
    count = max(0, math.ceil(math.log2(last / first)))
    return [*(first * 2.0**k for k in range(count)), max(first, last)]


def _to_powers(exponents: tuple[int, ...], theta: Array) -> Array:
    return jnp.stack([theta[:, j] ** p for j, p in enumerate(exponents)], axis=1)


def _minus_exp(log_modulus: Array) -> Array:
    return -jnp.exp(log_modulus)


def _halves_chart(positive: int, num_units: int, scale: float, nats: float) -> Chart:
    """The k positive of H units, which have probability C(H, k)/2^H."""
    negative = num_units - positive
    axes = tuple(_chi_axis(k, scale, nats) for k in (positive, negative) if k)
    log_share = math.log(math.comb(num_units, positive)) - num_units * math.log(2)
    place = functools.partial(_to_halves, bool(positive), bool(negative))
    return Chart(axes, 1, place, log_share, nats)


def _to_halves(positive: bool, negative: bool, lengths: Array) -> Array:
    if positive and negative:
        return lengths
    zero = jnp.zeros_like(lengths)
    return jnp.concatenate([lengths, zero] if positive else [zero, lengths], axis=1)


def _matrix_chart(rows: int, columns: int, scale: float, nats: float) -> Chart:
    """The triangular root of AᵀA, whose entries are independent.

    Source: Muirhead, *Aspects of Multivariate Statistical Theory*, Theorem 3.2.14 (Bartlett).
    """
    off_diagonal = _normal_axis(scale, (), nats, half=False)
    if columns == 1:
        return Chart((_chi_axis(rows, scale, nats),), nats=nats)
    if rows == 1:
        # The likelihood does not depend on the sign of the row.
        return Chart((_normal_axis(scale, (), nats, half=True), off_diagonal), nats=nats)
    axes = (_chi_axis(rows, scale, nats), off_diagonal, _chi_axis(rows - 1, scale, nats))
    return Chart(axes, place=_to_triangle, nats=nats)


def _to_triangle(entries: Array) -> Array:
    first, between, second = entries.T
    return jnp.stack([first, between, jnp.zeros_like(first), second], axis=1)


def _bottleneck_chart(rows: tuple[int, ...], columns: int, scale: float, nats: float) -> Chart:
    """A product of matrices of rank one: its length, and its direction if it has two columns."""
    widths = [columns, *rows]
    widths.remove(1)
    terms = tuple((0.5, degrees) for degrees in sorted(widths)) or ((0.5, 1),)
    length = _log_length_axis(terms, len(rows) * math.log(scale), nats)
    if columns == 1:
        return Chart((length,), place=jnp.exp, nats=nats)
    return Chart((length, _angle_axis(math.pi)), place=_to_row, nats=nats)


def _angle_axis(width: float) -> Axis:
    """A direction, uniform on an interval about 0."""
    edges = tuple(np.linspace(-width / 2, width / 2, 9).tolist())
    return Axis(edges, functools.partial(_log_uniform, width))


def _log_uniform(width: float, value: np.ndarray) -> np.ndarray:
    return np.full(value.shape, -math.log(width))


def _to_row(polar: Array) -> Array:
    return _from_polar(polar.at[:, 0].set(jnp.exp(polar[:, 0])))


def _from_polar(polar: Array) -> Array:
    length, angle = polar[:, :1], polar[:, 1:]
    return length * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)


def _modulus_axis(exponents: tuple[int, ...], scale: float, nats: float) -> Axis:
    """log ∏ |w_j|^{e_j} of independent N(0, scale²)."""
    terms = tuple((exponent / 2, 1) for exponent in sorted(exponents))
    return _log_length_axis(terms, sum(exponents) * math.log(scale), nats)


def _log_length_axis(terms: tuple[tuple[float, int], ...], shift: float, nats: float) -> Axis:
    """Σ_j c_j log χ²_{k_j} + shift, of ``terms`` (c_j, k_j)."""
    high = _highest(terms, nats)
    low = -2 * NEAREST * max(c / k for c, k in terms)
    # In steps, so that few tables serve all data.
    spline = _log_length_density(terms, low, 4.0 * math.ceil(high / 4.0))
    edges = (*np.arange(low, 0.0, 4.0).tolist(), *np.arange(0.0, high, 1.0).tolist(), high)
    edges = tuple(e + shift for e in edges)
    return Axis(edges, functools.partial(_shifted, spline, shift), -NEAREST)


def _highest(terms: tuple[tuple[float, int], ...], nats: float) -> float:
    """An upper limit of Σ c_j log χ²_{k_j} that is exceeded with probability less than e^−nats.

    A length χ_k exceeds √k + t with probability less than e^{−t²/2}, and one of them must.
    """
    farthest = math.sqrt(2 * (nats + math.log(len(terms))))
    return sum(2 * c * math.log(math.sqrt(k) + farthest) for c, k in terms)


def _shifted(spline: BSpline, shift: float, value: np.ndarray) -> np.ndarray:
    return np.asarray(spline(value - shift))


@functools.cache
def _log_length_density(terms: tuple[tuple[float, int], ...], low: float, high: float) -> BSpline:
    """The log density of Σ_j c_j log χ²_{k_j} on [low, high], by one convolution after another.

    Each is a trapezoid rule over what is left of its integrand, which is analytic and vanishes at
    both ends, so that the logarithm is accurate to rounding also where the density underflows.
    """
    ends = (low, -8.0, 0.0, high)
    pairs = zip(itertools.pairwise(ends), STEPS, strict=True)
    grid = np.append(np.concatenate([np.arange(*pair, step) for pair, step in pairs]), high)
    first, *others = terms
    density = make_interp_spline(grid, _log_of_one(first, grid), k=SPLINE)
    for term in others:
        density = make_interp_spline(grid, _convolved(density, term, grid), k=SPLINE)
    return density


def _log_of_one(term: tuple[float, int], value: np.ndarray) -> np.ndarray:
    """Log density of c log χ²_k."""
    coefficient, degrees = term
    u = value / coefficient
    constant = gammaln(degrees / 2) + degrees / 2 * math.log(2) + math.log(coefficient)
    return degrees / 2 * u - np.exp(u) / 2 - constant


def _convolved(density: BSpline, term: tuple[float, int], grid: np.ndarray) -> np.ndarray:
    """log ∫ p(value − s) q(s) ds at each value of the grid, q the density of ``term``."""
    unit = np.linspace(0.0, 1.0, POINTS)

    def log_terms(s: np.ndarray) -> np.ndarray:
        rest = grid[:, None] - s
        inside = (rest >= grid[0]) & (rest <= grid[-1])
        return np.where(inside, density(rest) + _log_of_one(term, s), -np.inf)

    low, high = np.full(len(grid), grid[0]), np.full(len(grid), grid[-1])
    # What is not negligible is closed in on: it may be a thousandth of the whole.
    for _ in range(4):
        s = low[:, None] + (high - low)[:, None] * unit
        logs = log_terms(s)
        kept = logs > np.max(logs, axis=1, keepdims=True) - NEGLIGIBLE
        first = np.maximum(np.argmax(kept, axis=1) - 1, 0)
        last = np.minimum(POINTS - np.argmax(kept[:, ::-1], axis=1), POINTS - 1)
        rows = np.arange(len(grid))
        low, high = s[rows, first], s[rows, last]
    s = low[:, None] + (high - low)[:, None] * unit
    logs = log_terms(s)
    peak = np.max(logs, axis=1)
    return peak + np.log(np.sum(np.exp(logs - peak[:, None]), axis=1) * (high - low) / (POINTS - 1))
