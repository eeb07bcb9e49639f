"""Errors of a normal location family, exact in expectation over data sets, at any n.

The model is y ~ N(m(w), I) in the plane with w uniform on [−R, R], the truth N(μ, I). A data set
enters through its mean ȳ = μ + ξ/√n alone, ξ ~ N(0, I), and with K(w) = (|m − μ|² − |m₀ − μ|²)/2

    posterior ∝ exp(−nK(w) + √n ξ·m(w)).

Over ξ, Stein's identity turns dE[F_n]/dn into E[G_g] − ½E[tr Var_w m], and E[G_n] is
E[F_{n+1}] − E[F_n]: both errors are integrals of E_w[K] and of tr Var_w m over ξ.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray
from scipy.special import gamma

from slt_jax.oracles.evaluation import SAFETY, Exact
from slt_jax.oracles.quadrature import graded_edges, panel_rule

Floats = NDArray[np.float64]

FAR = 8.5
ROWS = 64
FEW_DATA = 100
ENTROPY = 1 + math.log(2 * math.pi)


class Curve(Protocol):
    """A curve of means m(w) in the plane, |w| ≤ ``reach``, and the truth that it learns."""

    @property
    def reach(self) -> float: ...

    def divergence(self, w: Floats) -> Floats:
        """K(w) ≥ 0, without cancellation where it is small."""
        ...

    def mean(self, w: Floats) -> tuple[Floats, Floats]:
        """m(w), up to a constant."""
        ...

    @property
    def optimal_loss(self) -> float: ...

    @property
    def exponent(self) -> float: ...

    @property
    def amplitude(self) -> float | None: ...

    @property
    def is_mirrored(self) -> bool:
        """True where w → −w changes the sign of the first mean alone."""
        ...


@dataclass(frozen=True)
class ParabolaCurve:
    """m = (w, w²), truth (0, c), |w| ≤ 2: the family of ``models.normal_parabola``.

    Raises ValueError unless c is finite and < 4.5, for an optimum with |w| < 2.
    """

    c: float
    reach: float = 2.0

    def __post_init__(self) -> None:
        if not -math.inf < self.c < 4.5:
            raise ValueError(f"c = {self.c}: must be finite and < 4.5")

    def divergence(self, w: Floats) -> Floats:
        squares = w * w
        if self.c > 0.5:
            return (squares - (self.c - 0.5)) ** 2 / 2
        return squares * (squares + (1 - 2 * self.c)) / 2

    def mean(self, w: Floats) -> tuple[Floats, Floats]:
        return w, w * w

    @property
    def is_mirrored(self) -> bool:
        return True

    @property
    def optimal_loss(self) -> float:
        """L(w₀) in nats per datum."""
        square = max(self.c - 0.5, 0.0)
        return ENTROPY + (square + (square - self.c) ** 2) / 2

    @property
    def exponent(self) -> float:
        """σ of E[G_g] ~ n^{−σ}."""
        return 2 / 3 if self.c == 0.5 else 1.0

    @property
    def amplitude(self) -> float:
        """The factor of n^{−σ} in E[G_g]; λ + tr(IJ⁻¹)/2 but for c = ½."""
        if self.c == 0.5:
            return _contact_amplitude(1, 2)
        square = max(self.c - 0.5, 0.0)
        curvature = 4 * square if square else 1 - 2 * self.c
        return 0.5 + (1 + 4 * square) / (2 * curvature)


@dataclass(frozen=True)
class ContactCurve:
    """m = (wʲ, 1 − √(1 − w²ʲ + w²ᵏ)), truth (0, 1), |w| ≤ 1, with K = w²ᵏ/2 and Var f ~ w²ʲ.

    The curve touches the circle around the truth that is as far away as m(0), the closer the
    larger k. For j = k it is a line, m = (wᵏ, 0), and renormalisable: E[G_g] ~ (λ + ν)/n. For
    j < k the posterior follows the noise, w²ᵏ⁻ʲ ≈ jξ₁/(k√n), so that

        E[G_g] → ½ (j/k)^{2σ} E|ξ₁|^{2σ} n^{−σ},  E[B_g] → −(k/j − 1) E[G_g],  σ = k/(2k − j),

    half of that for even j, since then only ξ₁ > 0 moves w. Raises ValueError unless
    1 ≤ j ≤ k.
    """

    j: int
    k: int
    reach: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.j <= self.k:
            raise ValueError(f"j = {self.j}, k = {self.k}: must be 1 ≤ j ≤ k")

    def divergence(self, w: Floats) -> Floats:
        return _power(w, self.k) ** 2 / 2

    def mean(self, w: Floats) -> tuple[Floats, Floats]:
        first = _power(w, self.j)
        gap = first**2 - _power(w, self.k) ** 2
        return first, gap / (1 + np.sqrt(1 - gap))

    @property
    def is_mirrored(self) -> bool:
        return self.j % 2 == 1

    @property
    def optimal_loss(self) -> float:
        """L(w₀) in nats per datum."""
        return ENTROPY + 0.5

    @property
    def exponent(self) -> float:
        """σ of E[G_g] ~ n^{−σ}."""
        return 1.0 if self.j == self.k else self.k / (2 * self.k - self.j)

    @property
    def amplitude(self) -> float | None:
        """The factor of n^{−σ} in E[G_g], None for j = k > 1, where it has no simple form."""
        if self.j == self.k:
            return 1.0 if self.k == 1 else None
        return _contact_amplitude(self.j, self.k)


def _contact_amplitude(j: int, k: int) -> float:
    power = 2 * k / (2 * k - j)
    moment = 2 ** (power / 2) * gamma((power + 1) / 2) / math.sqrt(math.pi)
    return float((j / k) ** power * moment / (2 if j % 2 else 4))


def _power(w: Floats, exponent: int) -> Floats:
    """wᵉ by products, several times faster than the general power of floats."""
    return functools.reduce(np.multiply, [w] * exponent)


class Resolution(NamedTuple):
    """Gauss orders of panels in ξ₁ and in w, and the step of the trapezoid rule in ξ₂."""

    order: int
    step: float


FINE, COARSE = Resolution(8, 0.34), Resolution(6, 0.46)


class LocationErrors(NamedTuple):
    """E over data sets of B_g, of G_g, and of tr Var_w m (V_n/n to leading order), per datum."""

    bayes: Exact
    gibbs: Exact
    variance: Exact


def expected_errors(curve: Curve, n: float) -> LocationErrors:
    """Errors per datum relative to L(w₀), with bounds, for any real n ≥ 1.

    B_g is the integral of E[G_g] − ½E[tr Var_w m] from n to n + 1 (Gauss–Legendre; the middle
    from n = 100 on, where its error b/4n² is in the bound, for a sum b of powers n^{−s}, s ≤ 2).
    Raises ValueError for n < 1 or not finite.
    """
    if not 1 <= n < math.inf:
        raise ValueError(f"n = {n}: must be finite and ≥ 1")
    gibbs, variance = _both(curve, n)
    few = n < FEW_DATA
    nodes, weights = leggauss(4 if few else 1)
    inside = [_both(curve, n + (1 + node) / 2) for node in nodes]
    parts = [
        g.minus(v.scaled(0.5)).scaled(weight / 2)
        for (g, v), weight in zip(inside, weights, strict=True)
    ]
    bayes = functools.reduce(Exact.plus, parts)
    remainder = 0.0 if few else np.abs(bayes.value) / (4 * n**2)
    return LocationErrors(Exact(bayes.value, bayes.error + remainder), gibbs, variance)


def _both(curve: Curve, n: float) -> tuple[Exact, Exact]:
    fine, coarse = (_expectations(curve, n, resolution) for resolution in (FINE, COARSE))
    bound = SAFETY * np.abs(fine - coarse) + 1e-13 * np.abs(fine)
    return Exact(fine[0], bound[0]), Exact(fine[1], bound[1])


def _expectations(curve: Curve, n: float, resolution: Resolution) -> Floats:
    """E of E_w[K] and of tr Var_w m, shape [2].

    The sign of ξ₁ decides between two optima within |ξ₁| ~ n^{−1/2}: panels are graded to 0.
    """
    low = 0.0 if curve.is_mirrored else -FAR
    edges = graded_edges(low, FAR, (0.0,), 0.25 / math.sqrt(n), 3.0, 1.5)
    first = panel_rule(edges, resolution.order)
    second = np.arange(-math.floor(FAR / resolution.step), FAR / resolution.step) * resolution.step
    xi = np.stack(np.meshgrid(first.nodes, second, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = np.repeat(first.weights, len(second)) * np.exp(-0.5 * np.sum(xi**2, axis=1))
    kept = np.sum(xi**2, axis=1) < FAR**2
    sums = conditional_errors(curve, n, xi[kept], resolution.order)
    return np.asarray(sums @ weights[kept] / weights[kept].sum())


def conditional_errors(curve: Curve, n: float, xi: ArrayLike, order: int = FINE.order) -> Floats:
    """E_w[K] and tr Var_w m of data sets ξ = √n(ȳ − μ) of shape [S, 2]; shape [2, S]."""
    xi = np.asarray(xi, float)
    parts = [_posterior(curve, n, xi[i : i + ROWS], order) for i in range(0, len(xi), ROWS)]
    return np.concatenate(parts, axis=1)


def _posterior(curve: Curve, n: float, xi: Floats, order: int) -> Floats:
    """Panels that grow geometrically from 0, the ends and the maxima at w > 0 and at w < 0."""
    root = math.sqrt(n)

    def log_density(w: Floats) -> Floats:
        first, second = curve.mean(w)
        return -n * curve.divergence(w) + root * (xi[:, :1] * first + xi[:, 1:] * second)

    finest = 0.5 / math.sqrt(n + 1)
    peaks = [_maximum(log_density, sign * curve.reach, finest, len(xi)) for sign in (-1.0, 1.0)]
    end = np.full(len(xi), curve.reach)
    stops = [-end, peaks[0], np.zeros(len(xi)), peaks[1], end]
    count = math.ceil(math.asinh(curve.reach / finest))
    unit = panel_rule(np.linspace(0, 1, count + 1), order)
    nodes, weights = [], []
    for left, right in zip(stops, stops[1:], strict=False):
        half = (right - left)[:, None] / 2
        top = np.arcsinh(half / finest)
        steps = finest * np.sinh(top * unit.nodes)
        measure = finest * top * np.cosh(top * unit.nodes) * unit.weights
        nodes += [left[:, None] + steps, right[:, None] - steps]
        weights += [measure, measure]
    w = np.concatenate(nodes, axis=1)
    log_terms = log_density(w)
    terms = np.concatenate(weights, axis=1) * np.exp(log_terms - log_terms.max(axis=1)[:, None])
    terms /= terms.sum(axis=1)[:, None]
    loss = np.sum(terms * curve.divergence(w), axis=1)
    variance = np.zeros(len(xi))
    for part in curve.mean(w):
        centre = np.sum(terms * part, axis=1)[:, None]
        variance += np.sum(terms * (part - centre) ** 2, axis=1)
    return np.stack([loss, variance])


def _maximum(
    log_density: Callable[[Floats], Floats], far: float, finest: float, rows: int
) -> Floats:
    """The maximum [rows] of a log density between 0 and ``far``, by grids that zoom in."""
    grid = np.concatenate([[0.0], far * np.geomspace(finest / 8, 1, 64)])
    grid = np.broadcast_to(grid, (rows, len(grid)))
    row = np.arange(rows)
    for _ in range(5):
        best = np.argmax(log_density(grid), axis=1)
        low = grid[row, np.maximum(best - 1, 0)]
        high = grid[row, np.minimum(best + 1, grid.shape[1] - 1)]
        grid = np.linspace(low, high, 17, axis=1)
    return grid[:, 8]
