"""Nets without biases on x ~ N(0, 1), and the quadratic forms that their evidence is made of."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from slt_jax.oracles.quadrature import Rule, graded_edges, panel_rule

Floats = NDArray[np.float64]
Activation = Literal["relu", "silu", "softplus"]

# Of panels that grow geometrically away from a point at which an integrand may vary on any scale.
RATIO = 4.0
RATIO_OF_INPUTS = 3.0
# Widest panel, in prior scales; a kink holds b to 0.45 of one.
WIDEST = 1.0
# Inputs beyond have a density below 1e-22; at the smallest ones even k = 1000 and b = 1000 are
# linear.
LARGEST_INPUT, SMALLEST_INPUT = 10.0, 1e-7
# Input weights beyond have a prior density of e^−40.
LARGEST_WEIGHT = 9.0
# Input weights below this over √n are one panel, as n of them change no integrand.
SMALLEST = 1e-3
# Rounding leaves five digits of the difference of two units whose weights have this relative gap.
SMALLEST_GAP = 1e-11


@dataclass(frozen=True)
class Net:
    """f(x) = Σ_h a_h σ_k(b_h x) with σ_k(z) = σ(kz)/k; relu is the same at every k."""

    activation: Activation
    sharpness: float = 1.0

    def activate(self, z: Floats) -> Floats:
        """Return σ_k(z), elementwise."""
        if self.activation == "relu":
            return np.maximum(z, 0.0)
        if self.activation == "silu":
            return z * expit(self.sharpness * z)
        k = self.sharpness
        return np.maximum(z, 0.0) + np.log1p(np.exp(-k * np.abs(z))) / k


def input_rule(order: int) -> Rule:
    """Return the rule of E over x ~ N(0, 1), symmetric and graded towards the kink at 0."""
    edges = graded_edges(0.0, LARGEST_INPUT, [0.0], SMALLEST_INPUT, RATIO_OF_INPUTS, WIDEST)
    nodes, weights = panel_rule(edges, order)
    weights = weights * np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    return Rule(np.append(-nodes[::-1], nodes), np.append(weights[::-1], weights))


class OneUnit(NamedTuple):
    """Nodes b [N] of one unit, with what they know of a truth f₀.

    ``log_weights`` [N] are those of the prior of b. The best fit of f₀ is ασ, α = E[f₀σ]/E[σ²],
    with ``square`` E[σ²], ``best_weight`` α and ``remainder`` E[(f₀ − ασ)²], each [N]; ``unit``
    and ``residual`` [N, X] are √(weight of x) times σ and f₀ − ασ.
    """

    b: Floats
    log_weights: Floats
    square: Floats
    best_weight: Floats
    remainder: Floats
    unit: Floats
    residual: Floats


def largest_weight(net: Net, kink: bool, n: float) -> float:
    """Return where the nodes of b end: beyond the prior, and twice as far as a kink draws b.

    nK ~ n/(k³b³) and b²/2 of the prior balance at b ~ (n/k³)^{1/5}.
    """
    drawn = (n / net.sharpness**3) ** 0.2 if kink and net.activation != "relu" else 0.0
    return float(LARGEST_WEIGHT + 2 * drawn)


def one_unit(net: Net, kink: bool, order: int, inputs: Rule, n: float) -> OneUnit:
    """Lay out the nodes of one unit for up to n data; f₀ is relu with ``kink`` and else 0."""
    largest, smallest = largest_weight(net, kink, n), SMALLEST / np.sqrt(n)
    edges = graded_edges(0.0, largest, [0.0], smallest, RATIO, WIDEST)
    nodes, weights = panel_rule(edges, order)
    b, weights = np.append(-nodes[::-1], nodes), np.append(weights[::-1], weights)
    log_weights = np.log(weights) - b**2 / 2 - np.log(2 * np.pi) / 2
    root = np.sqrt(inputs.weights)
    unit = root * net.activate(b[:, None] * inputs.nodes)
    target = root * np.maximum(inputs.nodes, 0.0) * kink
    square = np.einsum("bx,bx->b", unit, unit)
    best = unit @ target / square
    residual = target - best[:, None] * unit
    remainder = np.einsum("bx,bx->b", residual, residual)
    return OneUnit(b, log_weights, square, best, remainder, unit, residual)


class TwoUnits(NamedTuple):
    """Nodes (b₁, b₂) [N] with |b₁| < b₂ of two units; the truth is 0.

    ``log_weights`` [N] are those of the prior, four times as other orders and signs are mirror
    images. Of the Gram matrix G of σ(b₁x), σ(b₂x) there are ``first`` G₁₁, ``second`` G₂₂,
    ``slope`` ρ = G₁₂/G₂₂ and ``remainder`` E[(σ(b₁x) − ρσ(b₂x))²], so that det G = G₂₂·remainder
    without cancellation. ``units`` are √(weight of x) times σ(b₁x) [N, X] and σ(b₂x) [N₂, X], and
    ``place`` [N] is the row of the latter.
    """

    b: Floats
    log_weights: Floats
    first: Floats
    second: Floats
    slope: Floats
    remainder: Floats
    units: tuple[Floats, Floats]
    place: NDArray[np.intp]


def two_units(net: Net, order: int, inputs: Rule, n: float) -> TwoUnits:
    """Lay out the nodes of two units for up to n data.

    b₂ is graded towards 0, and b₁/b₂ towards 0 and 1.
    """
    smallest = SMALLEST / np.sqrt(n)
    large = panel_rule(graded_edges(0.0, LARGEST_WEIGHT, [0.0], smallest, RATIO, WIDEST), order)
    gap = max(smallest, SMALLEST_GAP)
    ratio = panel_rule(graded_edges(-1.0, 1.0, [0.0, 1.0], gap, RATIO), order)
    place = np.repeat(np.arange(large.nodes.size), ratio.nodes.size)
    b2 = large.nodes[place]
    b1 = (large.nodes[:, None] * ratio.nodes).ravel()
    log_weights = np.log((large.weights * large.nodes)[:, None] * ratio.weights).ravel()
    log_weights += np.log(4 / (2 * np.pi)) - (b1**2 + b2**2) / 2
    root = np.sqrt(inputs.weights)
    upper = root * net.activate(large.nodes[:, None] * inputs.nodes)
    lower = root * net.activate(b1[:, None] * inputs.nodes)
    second = np.einsum("bx,bx->b", upper, upper)[place]
    by_large = lower.reshape(large.nodes.size, ratio.nodes.size, -1)
    cross = np.einsum("brx,bx->br", by_large, upper).ravel()
    slope = cross / second
    rest = by_large - slope.reshape(by_large.shape[:2])[..., None] * upper[:, None]
    remainder = np.einsum("brx,brx->br", rest, rest).ravel()
    first = np.einsum("bx,bx->b", lower, lower)
    return TwoUnits(
        np.stack([b1, b2]), log_weights, first, second, slope, remainder, (lower, upper), place
    )
