"""Exact λ(n) of two units: slope changes in closed form, breakpoints by graded panels.

λ(n) = nE[K] under φ exp(−nK), which is d(−log Z)/d log n, at the population's loss
K = ∫₀¹ (f − f₀)² dx/2σ². Given the breakpoints K is a quadratic form in the slope changes, whose
prior is normal. What is left is an integral over two breakpoints: panels shrink towards the true
ones, and those of the second breakpoint also towards the first, by which a ridge of width
1/√n along equal breakpoints is seen at every n.

Everything is float64 on the host.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.quadrature import Rule, graded_edges, panel_rule

from .nets import NOISE, PRIOR_SCALE, Floats, Level, Net

SAFETY = 10.0
FEWER = 2
# Digits of nK that its differences lose: n times the rounding of K in nats.
ROUNDING = 1e-16 / NOISE**2
# Of a segment between two breakpoints, the width of the panels at its ends.
FINEST, RATIO = 1e-6, 4.0
ROWS = 64


class Pairs(NamedTuple):
    """Nodes of both breakpoints: log weights [N], and what K needs there.

    With the functions e₀ = relu(x − t₂) and e₁ = relu(x − t₁) − relu(x − t₂), whose coefficients
    are s₁ + s₂ and s₁, less those of the prior's mean, and the misfit ψ of the prior's mean:
    ``gram`` [3, N] of ⟨e₀, e₀⟩, ⟨e₀, e₁⟩, ⟨e₁, e₁⟩, ``cross`` [2, N] of ⟨e, ψ⟩, ``square`` [N] of
    ⟨ψ, ψ⟩, each per datum and over σ².
    """

    log_weights: Floats
    gram: Floats
    cross: Floats
    square: Floats


Products = Callable[[Floats, Floats, Net], tuple[Floats, Floats, Floats]]


def segmented(ends: Floats, unit: Rule) -> Rule:
    """Lay a rule of [0, 1] on every segment between sorted ``ends`` [..., E], nodes [..., N]."""
    length = np.diff(ends)[..., None]
    nodes = ends[..., :-1, None] + length * unit.nodes
    shape = (*ends.shape[:-1], -1)
    return Rule(nodes.reshape(shape), (length * unit.weights).reshape(shape))


def breakpoints(net: Net, order: int) -> tuple[Floats, Floats, Floats]:
    """Return both breakpoints [N, M] and the weights [N, M] of a rule on their boxes."""
    unit = panel_rule(graded_edges(0.0, 1.0, (0.0, 1.0), FINEST, RATIO), order)
    true = net.kinks

    def ends(h: int, inner: Floats) -> Floats:
        low, high = net.low[h], net.high[h]
        edges = [np.full((*inner.shape[:-1], 1), low), np.clip(inner, low, high)]
        return np.sort(np.concatenate([*edges, np.full_like(edges[0], high)], axis=-1), axis=-1)

    first = segmented(ends(0, true), unit)
    towards = np.stack([*np.broadcast_arrays(*true[:, None], first.nodes)], axis=-1)
    second = segmented(ends(1, towards), unit)
    t1 = np.broadcast_to(first.nodes[:, None], second.nodes.shape)
    return t1, second.nodes, first.weights[:, None] * second.weights


def population_products(t1: Floats, t2: Floats, net: Net) -> tuple[Floats, Floats, Floats]:
    """Integrate the products of e₀, e₁ and ψ on x ~ U[0, 1], piece by piece; see ``Pairs``.

    All three are lines between the sorted breakpoints, and zero before the first of them. No
    digits are lost where breakpoints nearly agree, as they would be from moments.
    """
    knots = np.stack([t1, t2, *(np.full_like(t1, kink) for kink in net.kinks), np.ones_like(t1)])
    knots.sort(axis=0)
    ramp = [np.maximum(knots - t, 0) for t in (t1, t2, *net.kinks)]
    e0, e1 = ramp[1], ramp[0] - ramp[1]
    misfit = sum(
        slope * (unit - true) + (slope - true_slope) * true
        for slope, true_slope, unit, true in zip(
            net.slopes, net.true_slopes, ramp[:2], ramp[2:], strict=True
        )
    )
    lengths = np.diff(knots, axis=0) / (6 * NOISE**2)

    def product(u: Floats, v: Floats) -> Floats:
        whole = 2 * (u[:-1] * v[:-1] + u[1:] * v[1:]) + u[:-1] * v[1:] + u[1:] * v[:-1]
        return np.asarray(np.sum(lengths * whole, axis=0))

    gram = np.stack([product(e0, e0), product(e0, e1), product(e1, e1)])
    return gram, np.stack([product(e0, misfit), product(e1, misfit)]), product(misfit, misfit)


def pairs(net: Net, order: int, products: Products = population_products) -> Pairs:
    """Lay out the rule of a net of two units, ``order`` nodes on a panel."""
    t1, t2, weights = breakpoints(net, order)
    parts = [
        products(t1[rows], t2[rows], net)
        for rows in (slice(start, start + ROWS) for start in range(0, len(t1), ROWS))
    ]
    gram, cross, square = (np.concatenate(part, axis=-2) for part in zip(*parts, strict=True))
    keep = weights.ravel() > 0
    flat = [values.reshape(*values.shape[:-2], -1)[..., keep] for values in (gram, cross, square)]
    return Pairs(np.log(weights.ravel()[keep]), *flat)


def log_densities(at: Pairs, n: float) -> tuple[Floats, Floats]:
    """Return log ∫ φ(s) exp(−nK) ds [N] and the mean nK [N] at each pair of breakpoints.

    The prior of (s₁ + s₂, s₁) has the precision ((1, −1), (−1, 2))/PRIOR_SCALE².
    """
    precision = PRIOR_SCALE**-2
    prior = precision * np.array([1.0, -1.0, 2.0])
    m00, m01, m11 = n * at.gram + prior[:, None]
    b0, b1 = n * at.cross
    determinant = m00 * m11 - m01**2
    mean0, mean1 = (m01 * b1 - m11 * b0) / determinant, (m01 * b0 - m00 * b1) / determinant
    log_value = -0.5 * (n * at.square + b0 * mean0 + b1 * mean1)
    log_value -= 0.5 * np.log(determinant / precision**2)
    g00, g01, g11 = at.gram
    at_mean = at.square + 2 * (at.cross[0] * mean0 + at.cross[1] * mean1)
    at_mean += g00 * mean0**2 + 2 * g01 * mean0 * mean1 + g11 * mean1**2
    spread = 2 - (prior[0] * m11 - 2 * prior[1] * m01 + prior[2] * m00) / determinant
    return log_value, 0.5 * (n * at_mean + spread)


def _coefficients(at: Pairs, sizes: Sequence[float]) -> Floats:
    """Compute λ(n) [n] by one rule."""
    values = []
    for n in sizes:
        log_value, energy = log_densities(at, n)
        log_mass = log_value + at.log_weights
        mass = np.exp(log_mass - log_mass.max())
        values.append(mass @ energy / mass.sum())
    return np.array(values)


class Curve:
    """λ(n) of a net of two units, by rules that are laid out once.

    Its bound is ten times the difference to a rule of two nodes fewer on each panel, and rounding.
    """

    def __init__(self, net: Net, order: int) -> None:
        self.fine, self.coarse = (pairs(net, each) for each in (order, order - FEWER))

    def at(self, sizes: Sequence[float]) -> Exact:
        """Compute λ(n) [n] at the ``sizes``."""
        fine, coarse = (_coefficients(each, sizes) for each in (self.fine, self.coarse))
        rounding = ROUNDING * np.asarray(sizes, float)
        return Exact(fine, SAFETY * np.abs(fine - coarse) + rounding)


class Crossover(NamedTuple):
    """An n and the bound on its logarithm; NaN where none was passed."""

    n: float
    log_error: float


def crossover(
    closed: Curve, apart: Curve, sizes: Sequence[float], excess: Exact, level: Level
) -> Crossover:
    """Find the n at which λ(n) with a gap exceeds that of a ``closed`` one by a level.

    ``excess`` is their difference at the ``sizes``. The interval where it passes is looked at again
    at nine n, between which log n is interpolated linearly; what that may miss, the difference to
    every other one of them, is part of the bound, and so is that of λ(n) over its slope.
    """
    above = excess.value > level.excess
    ups = np.flatnonzero(above[1:] & ~above[:-1])
    if not len(ups) or (level.last and not above[-1]):
        return Crossover(math.nan, math.nan)
    start = ups[-1 if level.last else 0]
    window = np.geomspace(sizes[start], sizes[start + 1], 9)
    here, there = (curve.at(window.tolist()) for curve in (apart, closed))
    gain, error, logs = here.value - there.value, here.error + there.error, np.log(window)
    fine, coarse = (float(np.interp(level.excess, gain[::k], logs[::k])) for k in (1, 2))
    slope = (gain[-1] - gain[0]) / (logs[-1] - logs[0])
    return Crossover(math.exp(fine), abs(fine - coarse) + float(error.max()) / slope)
