"""Logarithms of products of lengths of normal vectors, as coordinates of charts."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from slt_jax.oracles.laws.charts import Axis

if TYPE_CHECKING:
    from scipy.interpolate import BSpline

# Of the table of the logarithm of the density.
STEPS = (1 / 4, 1 / 16, 1 / 64)
SPLINE = 5
POINTS = 512
NEGLIGIBLE = 45.0
# A product is at most this near to 0, in nats of its law: nothing depends on it any more.
NEAREST = 60.0

Terms = tuple[tuple[float, int], ...]


def modulus_axis(exponents: tuple[int, ...], scale: float, nats: float) -> Axis:
    """log ∏ |w_j|^{e_j} of independent N(0, scale²)."""
    terms = tuple((exponent / 2, 1) for exponent in sorted(exponents))
    return log_length_axis(terms, sum(exponents) * math.log(scale), nats)


def log_length_axis(terms: Terms, shift: float, nats: float) -> Axis:
    """Σ_j c_j log χ²_{k_j} + shift, of ``terms`` (c_j, k_j)."""
    high = _highest(terms, nats)
    low = -2 * NEAREST * max(c / k for c, k in terms)
    # In steps, so that few tables serve all data.
    spline = _log_length_density(terms, low, 4.0 * math.ceil(high / 4.0))
    edges = (*np.arange(low, 0.0, 4.0).tolist(), *np.arange(0.0, high, 1.0).tolist(), high)
    edges = tuple(e + shift for e in edges)
    return Axis(edges, functools.partial(_shifted, spline, shift), -NEAREST)


def _highest(terms: Terms, nats: float) -> float:
    """An upper limit of Σ c_j log χ²_{k_j} that is exceeded with probability less than e^−nats.

    A length χ_k exceeds √k + t with probability less than e^{−t²/2}, and one of them must.
    """
    farthest = math.sqrt(2 * (nats + math.log(len(terms))))
    return sum(2 * c * math.log(math.sqrt(k) + farthest) for c, k in terms)


def _shifted(spline: BSpline, shift: float, value: np.ndarray) -> np.ndarray:
    return np.asarray(spline(value - shift))


@functools.cache
def _log_length_density(terms: Terms, low: float, high: float) -> BSpline:
    """The log density of Σ_j c_j log χ²_{k_j} on [low, high], by one convolution after another.

    Each is a trapezoid rule over what is left of its integrand, which is analytic and vanishes at
    both ends, so that the logarithm is accurate to rounding also where the density underflows.
    """
    from scipy.interpolate import make_interp_spline

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
