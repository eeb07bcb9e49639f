"""Exact free energies and λ(n) from collapsed nodes, with the noise of data sets or without."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, zeta

from .nets import Floats, Net, OneUnit, TwoUnits, input_rule, one_unit, two_units

# ∫(σ₁(z) − relu(z))² dz; that of softplus is 2∫log²(1 + e^{−t}), of SiLU 2∫t²/(1 + e^t)², t > 0.
ROUNDING = {"softplus": zeta(3) / 2, "silu": 3 * zeta(3) - np.pi**2 / 3}


class Noise(NamedTuple):
    """Projections [D, N] of the noise of D data sets on two functions that a node knows.

    They are the unit and the residual of ``OneUnit``, or the units of ``TwoUnits``.
    """

    first: Floats
    second: Floats


class Term(NamedTuple):
    """The log of a node's share of the evidence, and its derivative in log n."""

    value: Floats
    slope: Floats


def one_unit_term(nodes: OneUnit, n: float, noise: Noise | None = None) -> Term:
    """Integrate the output weight of one unit at n data.

    With D = 1 + nE[σ²], R the remainder, ξ the noise on σ and ζ that on the residual it is
    −½log D − ½nR − √nζ + (½nξ² − √nαξ − ½α²nE[σ²])/D. Without ``noise`` ξ = ζ = 0, which is the
    evidence of e^{−nK}.
    """
    root, signal = np.sqrt(n), n * nodes.square
    size, share = 1 + signal, signal / (1 + signal)
    fixed = -np.log(size) / 2 - n * nodes.remainder / 2 - nodes.best_weight**2 * share / 2
    growth = -share / 2 - n * nodes.remainder / 2 - nodes.best_weight**2 * share / size / 2
    if noise is None:
        return Term(fixed, growth)
    square, cross = n * noise.first**2 / size / 2, root * noise.first * nodes.best_weight / size
    value = fixed + square - cross - root * noise.second
    slope = growth + square * (1 - share) - cross * (0.5 - share) - root * noise.second / 2
    return Term(value, slope)


def two_units_term(nodes: TwoUnits, n: float, noise: Noise | None = None) -> Term:
    """Integrate the output weights of two units at n data, the truth being 0.

    With D = det(I + nG) it is −½log D + ½nξᵀ(I + nG)⁻¹ξ, where ξ = ``noise`` is that on the units.
    """
    determinant = nodes.second * nodes.remainder
    trace = n * (nodes.first + nodes.second)
    size = 1 + trace + n**2 * determinant
    growth = (trace + 2 * n**2 * determinant) / size
    value = -np.log(size) / 2
    if noise is None:
        return Term(value, -growth / 2)
    apart = noise.first - nodes.slope * noise.second
    linear = n / 2 / size * (noise.first**2 + noise.second**2)
    quadratic = nodes.second * apart**2 + nodes.remainder * noise.second**2
    quadratic *= n**2 / 2 / size
    pull = linear + quadratic
    return Term(value + pull, quadratic + pull * (1 - growth) - growth / 2)


def term_of(nodes: OneUnit | TwoUnits, n: float, noise: Noise | None = None) -> Term:
    """Integrate the output weights at n data."""
    if isinstance(nodes, OneUnit):
        return one_unit_term(nodes, n, noise)
    return two_units_term(nodes, n, noise)


class Curve(NamedTuple):
    """Quantities along n without data: −log ∫φe^{−nK}, nE[K], and the mass of |b_h| < 1/k."""

    free_energy: Floats
    coefficient: Floats
    flat_mass: Floats


def laid_out(
    net: Net, units: int, kink: bool, orders: tuple[int, int], sizes: Sequence[float] | Floats
) -> OneUnit | TwoUnits:
    """Lay out nodes for all n, by rules of b and of x of these ``orders``."""
    inputs, largest = input_rule(orders[1]), float(max(sizes))
    if units == 1:
        return one_unit(net, kink, orders[0], inputs, largest)
    return two_units(net, orders[0], inputs, largest)


def without_data(
    net: Net, units: int, kink: bool, order: int, sizes: Sequence[float] | Floats
) -> Curve:
    """Compute the curve of a net without data."""
    nodes = laid_out(net, units, kink, (order, order), sizes)
    flat = np.abs(nodes.b).reshape(units, -1).max(axis=0) < 1 / net.sharpness
    rows = []
    for n in sizes:
        term = term_of(nodes, n)
        logs = nodes.log_weights + term.value
        total = logsumexp(logs)
        share = np.exp(logs - total)
        rows.append((-total, -share @ term.slope, share[flat].sum()))
    return Curve(*np.array(rows).T)


def kink_asymptote(net: Net, n: Floats) -> Floats:
    """Return the leading order (5/6)(3φ(0)Cn/(2k³))^{2/5} of F_n of one kink by a smooth unit."""
    per_datum = ROUNDING[net.activation] / np.sqrt(2 * np.pi) / (2 * net.sharpness**3)
    return 5 / 6 * (3 * per_datum * n) ** 0.4
