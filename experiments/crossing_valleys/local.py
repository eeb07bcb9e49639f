"""Exact λ(n) = −d log Z/d log n = nE[K] near a crossing and on each of its valleys.

λ(n) tends to λ, and where m > 1 it lies below by (m − 1)/(log n + constant), so that m − 1 is read
off two n. The effective dimension is λ over that of one regular direction, ½ for squares and 1 for
absolute values. Boxes reach r from the crossing, and from points at the distance ½ from it.
"""

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, gamma, gammainc

from slt_jax import theory
from slt_jax.oracles.quadrature import panel_rule
from slt_jax.theory import Theory

from .exact import error_integral
from .landscapes import CROSSING_OF_ABS, VALLEY_OF_ABS

Floats = NDArray[np.float64]
Coefficient = Callable[[Floats, float], Floats]

HALF = Fraction(1, 2)
CENTRE = 0.5


class Coefficients(NamedTuple):
    """λ(n) [n] at the crossing, on the wider and on the narrower valley."""

    crossing: Coefficient
    wide: Coefficient
    narrow: Coefficient


class Crossing(NamedTuple):
    """A crossing of two valleys or three, what is known of it, and λ(n) where it is computed.

    ``unit`` is λ of one regular direction. The wide valley has the lower codimension.
    """

    name: str
    dimension: int
    unit: Fraction
    wide: Theory
    narrow: Theory
    at_crossing: Theory
    exact: Coefficients | None = None


def error_ratio(codimension: int, t: Floats) -> Floats:
    """Compute T h′(T) = T^{b−1} erf T, so that −d log h(r²√n)/d log n = −½ T h′/h."""
    return t ** (codimension - 1) * erf(t)


def product_crossing(codimension: int, n: Floats, r: float) -> Floats:
    """Compute λ(n) of x²|v|² within r: b/2 − ½ T^{b−1} erf T/h_b(T) with T = r²√n."""
    t = r**2 * np.sqrt(n)
    return codimension / 2 - error_ratio(codimension, t) / error_integral(codimension, t) / 2


def product_wide(codimension: int, n: Floats, r: float) -> Floats:
    """Compute λ(n) of x²|v|² on the hyperplane x = 0, |x| < r, ½ − r < |v| < ½ + r."""
    near, far = (r * (CENTRE + side * r) * np.sqrt(n) for side in (-1, 1))
    slope = error_ratio(codimension, far) - error_ratio(codimension, near)
    whole = error_integral(codimension, far) - error_integral(codimension, near)
    return codimension / 2 - slope / whole / 2


def product_narrow(codimension: int, n: Floats, r: float) -> Floats:
    """Compute λ(n) of x²|v|² on v = 0, |v| < r, ½ − r < x < ½ + r, by 40 Gauss nodes in x.

    ∫₀^r v^{b−1} exp(−nx²v²) dv = ½γ(b/2, a)(nx²)^{−b/2} with a = nx²r², whose −d log/d log n is
    b/2 − a^{b/2} exp(−a)/γ(b/2, a).
    """
    rule = panel_rule([CENTRE - r, CENTRE + r], 40)
    a = np.multiply.outer(n, (rule.nodes * r) ** 2)
    power = codimension / 2
    incomplete = gamma(power) * gammainc(power, a)
    weights = rule.weights * incomplete / rule.nodes**codimension
    own = power - a**power * np.exp(-a) / incomplete
    return np.asarray(np.sum(weights * own, axis=1) / np.sum(weights, axis=1))


def abs_crossing(n: Floats, r: float) -> Floats:
    """Compute λ(n) of min(|x|,|y|) within r: 2 − a(1 − e^−a)/(a − 1 + e^−a) with a = nr."""
    a = n * r
    return 2 + a * np.expm1(-a) / (a + np.expm1(-a))


def abs_direction(n: Floats, r: float) -> Floats:
    """Compute λ(n) of |x| < r: 1 − a e^−a/(1 − e^−a) with a = nr."""
    a = n * r
    return 1 + a * np.exp(-a) / np.expm1(-a)


def square_direction(n: Floats, r: float) -> Floats:
    """Compute λ(n) of K = x², |x| < r: ½ − T exp(−T²)/(√π erf T) with T = r√n."""
    t = r * np.sqrt(n)
    return 0.5 - t * np.exp(-(t**2)) / (math.sqrt(math.pi) * erf(t))


def with_directions(first: Coefficient, direction: Coefficient, count: int) -> Coefficient:
    """Return λ(n) of K plus ``count`` independent directions, whose λ(n) add."""
    return lambda n, r: first(n, r) + count * direction(n, r)


def of_product(codimension: int) -> Coefficients:
    """Return λ(n) of x²|v|² with v in ``codimension`` dimensions."""
    functions = (product_crossing, product_wide, product_narrow)
    return Coefficients(*(functools.partial(each, codimension) for each in functions))


def summed(first: Coefficients, direction: Coefficient, count: int) -> Coefficients:
    """Return λ(n) of a crossing with ``count`` more directions."""
    return Coefficients(*(with_directions(each, direction, count) for each in first))


OF_ABS = Coefficients(abs_crossing, abs_direction, abs_direction)
MORE = 8
EIGHT_SQUARES = theory.regular(MORE)
EIGHT_ABS = theory.sum_of(*[VALLEY_OF_ABS] * MORE)


def crossings() -> list[Crossing]:
    """List the crossings: what is in the plane, in ten dimensions, and where codimensions differ.

    The two last ones are not transversal crossings of two valleys; their λ is that of weighted
    homogeneous polynomials, the sum of the weights over twice the degree of the factors' product,
    where no factor's own λ is smaller.
    """
    one, plane = theory.regular(1), theory.monomial((1, 1))
    squares = "x²y²+z₁²+…+z₈²"
    absolute = "min(|x|,|y|)+|z₁|+…+|z₈|"
    ten_one, ten_cross = theory.sum_of(one, EIGHT_SQUARES), theory.sum_of(plane, EIGHT_SQUARES)
    ten_abs, ten_abs_cross = (
        theory.sum_of(each, EIGHT_ABS) for each in (VALLEY_OF_ABS, CROSSING_OF_ABS)
    )
    in_space = [
        Crossing(
            name, 1 + b, HALF, one, theory.regular(b),
            theory.product_of(one, theory.regular(b)), of_product(b),
        )
        for b, name in ((2, "x²(y²+z²)"), (3, "x²(y²+z²+u²)"))
    ]  # fmt: skip
    touching = Theory(Fraction(3, 8), 1, "exact", "weights (1, 2) and degree 4: 3/(2·4)")
    three = Theory(Fraction(1, 3), 1, "exact", "weights (1, 1) and degree 3: 2/(2·3)")
    return [
        Crossing(
            "min(|x|,|y|)", 2, Fraction(1), VALLEY_OF_ABS, VALLEY_OF_ABS, CROSSING_OF_ABS, OF_ABS
        ),
        Crossing("x²y²", 2, HALF, one, one, plane, of_product(1)),
        Crossing(
            absolute, 10, Fraction(1), ten_abs, ten_abs, ten_abs_cross,
            summed(OF_ABS, abs_direction, MORE),
        ),
        Crossing(
            squares, 10, HALF, ten_one, ten_one, ten_cross,
            summed(of_product(1), square_direction, MORE),
        ),
        *in_space,
        Crossing("y²(y−x²)², which touch", 2, HALF, one, one, touching),
        Crossing("x²y²(x+y)², three valleys", 2, HALF, one, one, three),
    ]  # fmt: skip


def orders_above_one(coefficients: Floats, n: Floats, limit: Floats) -> Floats:
    """Read m − 1 off λ(n) at two n, last axis, where λ − λ(n) = (m − 1)/(log n + constant).

    The product of both gaps over their difference, times log(n₂/n₁); 0 where λ is reached.
    """
    first, last = np.moveaxis(limit[..., None] - coefficients, -1, 0)
    moved = first - last
    step = float(np.log(n[1] / n[0]))
    settled = np.maximum(np.abs(first), np.abs(last)) < 1e-12
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(settled, 0.0, first * last / moved * step)
