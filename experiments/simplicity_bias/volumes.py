"""Prior volumes V(ε) of {K < ε} of chosen functions, exact and by multilevel splitting.

All parameters are uniform on [−1, 1], so that −log₂ V is the number of bits that single out the
parameters of a function up to a divergence ε.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from slt_jax import theory
from slt_jax.theory import Theory

Floats = np.ndarray

HALF = 0.5
# The factors of the coefficients of x⁴, x³, x², x and 1 in the essay's polynomial.
FACTORS = (1, 2, 3, 4, 5)
# The least n with an exact volume: √(2/n) < ½, so that a coefficient ½ stays inside of [0, 1].
LEAST_SIZE = 10
# Nodes of the finer rule; half as many give the bound.
NODES = 160
# The volumes of fewer blocks are interpolated in log ε, below the least ε by so much.
DEPTH = 60.0
STEP = 0.1
INPUT_NODES = 8


class Volumes(NamedTuple):
    """log V at each n, with a bound on its error."""

    value: Floats
    error: Floats


class Target(NamedTuple):
    """A function and the map that is to learn it.

    ``excess`` is K of parameters [N, dimension], ``exact`` gives log V(1/n), None where only the
    theorem is known.
    """

    name: str
    dimension: int
    excess: Callable[[Floats], Floats]
    theory: Theory
    exact: Callable[[Floats], Volumes] | None


def targets() -> tuple[Target, ...]:
    """List the functions: λ with m = 1 first, then higher multiplicities."""
    product = functools.partial(_product_excess, 0.0)
    return (
        Target("wx, w ∈ ℝ³", 3, _square_excess, theory.regular(3), ball_volume),
        Target(
            "w₁w₂x at ½x", 2, functools.partial(_product_excess, HALF), theory.regular(1),
            half_volume,
        ),
        Target(
            "Σ a tanh(bx), H=2, at 0", 4, _tanh_excess, theory.tanh_zero_truth(2), None
        ),
        Target(
            "w₁w₂x at 0", 2, product, theory.monomial([1] * 2),
            functools.partial(product_volume, 2),
        ),
        Target(
            "w₁…w₅x at 0", 5, product, theory.monomial([1] * 5),
            functools.partial(product_volume, 5),
        ),
        Target(
            "essay's map at ½", sum(FACTORS), functools.partial(_essay_excess, 5),
            theory.skalse_polynomial("1"), functools.partial(essay_volume, 5),
        ),
        Target(
            "essay's map at ½x⁴", sum(FACTORS), functools.partial(_essay_excess, 1),
            theory.skalse_polynomial("x^4"), functools.partial(essay_volume, 1),
        ),
    )  # fmt: skip


# --- divergences ------------------------------------------------------------------------------


def _square_excess(w: Floats) -> Floats:
    return np.sum(w**2, axis=1) / 2


def _product_excess(truth: float, w: Floats) -> Floats:
    return (np.prod(w, axis=1) - truth) ** 2 / 2


def _tanh_excess(w: Floats) -> Floats:
    """Average f²/2 over x uniform on [−1, 1], by Gauss's rule."""
    nodes, weights = np.polynomial.legendre.leggauss(INPUT_NODES)
    units = np.tanh(w[:, 2:, None] * nodes)
    return np.sum(w[:, :2, None] * units, axis=1) ** 2 @ weights / 4


def _essay_excess(nonzero: int, w: Floats) -> Floats:
    """Sum half the squared errors of the coefficients; the one of ``nonzero`` factors is ½.

    The features are taken to be orthonormal. λ and m are those of any other inputs, as K is then
    between two multiples of this one.
    """
    total, start = np.zeros(len(w)), 0
    for count in FACTORS:
        product = np.prod(w[:, start : start + count], axis=1)
        total += (product - HALF * (count == nonzero)) ** 2 / 2
        start += count
    return total


# --- exact volumes ----------------------------------------------------------------------------


def _rounded(volume: Floats) -> Volumes:
    """Take the log of volumes that are exact but for rounding."""
    value = np.log(volume)
    return Volumes(value, np.full_like(value, 1e-12))


def ball_volume(n: Floats) -> Volumes:
    """Return that of |w|²/2 in three dimensions, (4π/3)(2/n)^{3/2}/8."""
    return _rounded(4 * np.pi / 3 * (2 / n) ** 1.5 / 8)


def _below(count: int, size: Floats) -> Floats:
    """Return P(|w₁…w_k| < s) = s Σ_{j<k} (−log s)^j/j!, for 0 < s ≤ 1."""
    depth = -np.log(size)
    return np.asarray(size * sum(depth**j / math.factorial(j) for j in range(count)))


def product_volume(count: int, n: Floats) -> Volumes:
    """Return that of (w₁…w_k)²/2."""
    return _rounded(_below(count, np.sqrt(2 / n)))


def half_volume(n: Floats) -> Volumes:
    """Return that of (w₁w₂ − ½)²/2."""
    return _rounded(_around_half(2, np.sqrt(2 / n)))


def essay_volume(nonzero: int, n: Floats) -> Volumes:
    """Return that of the essay's map at one coefficient ½, by integrals over one block at a time.

    V of j blocks is ∫ V of j − 1 blocks (ε − u²/2) f(u) du with f the density of the next product's
    error. The bound is the difference to half the nodes and twice the step, which has less than
    half of the digits.
    """
    fine, coarse = (_block_by_block(nonzero, np.log(n), NODES // k, STEP * k) for k in (1, 2))
    return Volumes(fine, np.abs(fine - coarse) + 1e-12)


def _block_by_block(nonzero: int, log_n: Floats, nodes: int, step: float) -> Floats:
    """Compute log V at −log ε = ``log_n``, with splines of V in log ε between the blocks."""
    if log_n.min() < math.log(LEAST_SIZE) - 1e-9:
        raise ValueError(f"n = {math.exp(log_n.min()):g}: must be at least {LEAST_SIZE}")
    angle, weight = _double_exponential(nodes)
    grid = np.arange(-log_n.max() - DEPTH, -math.log(LEAST_SIZE) + step, step)
    order = [nonzero, *(count for count in FACTORS if count != nonzero)]
    size = np.sqrt(2 * np.exp(grid))
    # The density of the product that is ½ has no singularity within reach, the others' one at 0.
    values = np.log(_around_half(nonzero, size))
    for count in order[1:]:
        values = values + _log_share(count, grid, values, angle, weight)
    return np.asarray(CubicSpline(grid, values)(-log_n))


def _log_share(count: int, grid: Floats, values: Floats, angle: Floats, weight: Floats) -> Floats:
    """Compute the log of V with another product of mean 0 over V without it, at all of the grid."""
    spline = CubicSpline(grid, values)
    inner = grid[:, None] + 2 * np.log(np.cos(angle))
    # V is a power of ε below the grid, to its accuracy.
    beyond = np.minimum(inner - grid[0], 0.0) * float(spline(grid[0], 1))
    ratio = np.exp(spline(np.maximum(inner, grid[0])) + beyond - values[:, None])
    width = np.sqrt(2) * np.exp(grid / 2)[:, None]
    density = (-np.log(width * np.sin(angle))) ** (count - 1) / (2 * math.factorial(count - 1))
    return np.asarray(np.log(2 * (ratio * density * width * np.cos(angle)) @ weight))


def _around_half(count: int, size: Floats) -> Floats:
    """Return P(|w₁…w_k − ½| < s) for s < ½, by Gauss's rule.

    The density of the product is (−log p)^{k−1}/(2(k−1)!).
    """
    nodes, weights = np.polynomial.legendre.leggauss(60)
    p = HALF + size[:, None] * nodes
    density = (-np.log(p)) ** (count - 1) / (2 * math.factorial(count - 1))
    return np.asarray(size * (density @ weights))


def _double_exponential(nodes: int) -> tuple[Floats, Floats]:
    """Return angles in (0, π/2) and weights that fall off at both ends, where integrands do not.

    Source: Takahasi & Mori, Double exponential formulas for numerical integration (1974).
    """
    t, step = np.linspace(-3.0, 3.0, nodes, retstep=True)
    s = np.pi / 2 * np.sinh(t)
    angle = np.pi / 4 * (1 + np.tanh(s))
    return angle, np.pi / 4 * np.pi / 2 * np.cosh(t) / np.cosh(s) ** 2 * step
