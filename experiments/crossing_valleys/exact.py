"""Exact integrals Z(r) = ∫ exp(−nK) over 0 ≤ x, y ≤ r, in closed form and by quadrature.

K is even in x and y, so that the posterior mass within r of the crossing, max(|x|, |y|) < r, is
Z(r)/Z(1). With the push-forward of K on the quadrant Z is a one-dimensional integral:

    min(|x|,|y|) = t has the density 2(r − t):  Z = 2[a − 1 + exp(−a)]/n², a = nr,
    min(x²,y²) = t² likewise:  Z = r√(π/n) erf(r√n) − [1 − exp(−nr²)]/n,
    x²|v|², v in b dimensions:  Z = ∫₀^r v^{b−1} dv ∫₀^r exp(−nx²v²) dx
                                  = ½√(π/n) (r√n)^{1−b} h_b(r²√n),

with h_b(T) = ∫₀^T t^{b−2} erf t dt.

Everything is float64 on the host.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.quadrature import graded_edges, panel_rule

from .landscapes import Landscape

Floats = NDArray[np.float64]

ROUNDING = 1e-13
SAFETY = 10.0
# Beyond T = 6 what is missing of erf T = 1 is below 3e-17.
LARGE = 6.0
UNIT_NODES, UNIT_WEIGHTS = np.polynomial.legendre.leggauss(40)
EULER = float(np.euler_gamma)
# The least x and y/x of the quadrature, as −log.
DEEPEST, NARROWEST = 32.0, 64.0
FEWER = 4


def error_integral(codimension: int, limit: ArrayLike) -> Floats:
    """Compute h_b(T) = ∫₀^T t^{b−2} erf(t) dt of b = 1, 2 or 3, of the shape of ``limit`` T ≥ 0.

    By parts, with erf → 1: log(2T) + γ/2, T − 1/√π and T²/2 − 1/4 beyond T = 6, and below by 40
    Gauss–Legendre nodes, which hold an entire function to rounding there.

    >>> error_integral(2, [0.0, 10.0]).round(6).tolist()
    [0.0, 9.43581]
    """
    t = np.asarray(limit, float)
    small = np.minimum(t, LARGE)[..., None]
    nodes = small * (UNIT_NODES + 1) / 2
    inner = np.sum(UNIT_WEIGHTS * nodes ** (codimension - 2) * erf(nodes), axis=-1)
    large = np.maximum(t, LARGE)
    outer = {
        1: np.log(2 * large) + EULER / 2,
        2: large - 1 / math.sqrt(math.pi),
        3: large**2 / 2 - 1 / 4,
    }[codimension]
    return np.where(t < LARGE, inner * small[..., 0] / 2, outer)


def closed_form(kind: str, n: float, r: ArrayLike) -> Floats | None:
    """Compute Z(r) of min(|x|,|y|), min(x²,y²) or x²y² in closed form; None for the others."""
    r = np.asarray(r, float)
    root = math.sqrt(n)
    match kind:
        case "min_abs":
            return np.asarray(2 * (n * r + np.expm1(-n * r)) / n**2)
        case "min_squares":
            whole = r * math.sqrt(math.pi) / root * erf(r * root)
            return np.asarray(whole + np.expm1(-n * r**2) / n)
        case "product":
            return math.sqrt(math.pi) / (2 * root) * error_integral(1, r**2 * root)
    return None


def closed_form_mass(kind: str, n: float, radii: ArrayLike) -> Exact | None:
    """Compute the posterior mass within each of the ``radii``, bounded by rounding, or None.

    a − 1 + exp(−a) loses 1/a of its digits where a = nr is small.
    """
    inner, whole = closed_form(kind, n, radii), closed_form(kind, n, 1.0)
    if inner is None or whole is None:
        return None
    mass = inner / whole
    lost = 1 + 1 / (n * np.asarray(radii, float))
    return Exact(mass, ROUNDING * lost * mass)


def codimension_mass(codimension: int, n: float, radii: ArrayLike) -> Exact:
    """Compute the mass of x²|v|² within r, |x| < r and |v| < r, with v in 1, 2 or 3 dimensions.

    It tends to r^{b−1}: the density on the hyperplane x = 0 is proportional to 1/|v|, which can be
    integrated from b = 2 on.
    """
    r, root = np.asarray(radii, float), math.sqrt(n)
    ratio = error_integral(codimension, r**2 * root) / error_integral(codimension, root)
    mass = r ** (1 - codimension) * ratio
    return Exact(mass, 10 * ROUNDING * mass)


def direction_mass(kind: str, n: float, r: float) -> float:
    """Compute the posterior mass of |z| < r for K = |z| ("abs") or z² on |z| ≤ 1."""
    if kind == "abs":
        return float(np.expm1(-n * r) / np.expm1(-n))
    return float(erf(r * math.sqrt(n)) / erf(math.sqrt(n)))


def ten_dimensional_mass(name: str, n: float, r: float) -> float:
    """Compute the mass within r of the origin with eight more directions, one of ``TEN``.

    exp(−nK) factorises: it is the mass in the plane, of one valley y = anything or of two, times
    the mass of a direction to the eighth power.
    """
    kind, valleys = TEN[name]
    direction = direction_mass(kind, n, r)
    if valleys == 1:
        return float(r * direction**9)
    whole = closed_form_mass("min_abs" if kind == "abs" else "product", n, r)
    return float(whole.value * direction**8) if whole else math.nan


TEN: dict[str, tuple[str, int]] = {
    "|x|+Σ|z|": ("abs", 1),
    "min(|x|,|y|)+Σ|z|": ("abs", 2),
    "x²+Σz²": ("squares", 1),
    "x²y²+Σz²": ("squares", 2),
}
"""Losses in ten dimensions, z₁ to z₈ being the others: the direction's loss, and the valleys."""


class RadialGrid(NamedTuple):
    """Nodes of the square's octant y ≤ x: K [S, T], weights [S, T] and x [S]."""

    energy: Floats
    weights: Floats
    x: Floats


def radial_grid(landscape: Landscape, radii: Sequence[float], order: int) -> RadialGrid:
    """Lay out a rule in x = exp(−s), y = x exp(−t), whose panels end at each radius.

    Z(r) = 2∫∫ xy exp(−nK) ds dt over s > −log r, t > 0: in these coordinates powers of x and y are
    equally smooth at all scales, and a crease at x = y lies on the rim, towards which panels of t
    shrink as far as 1/k.
    """
    ends = np.unique([0.0, *(-math.log(r) for r in radii), DEEPEST])
    edges = np.concatenate(
        [np.linspace(a, b, 2 + int(2 * (b - a)))[:-1] for a, b in zip(ends, ends[1:], strict=False)]
    )
    s = panel_rule([*edges, DEEPEST], order)
    finest = min(0.5, 0.2 / landscape.sharpness)
    t = panel_rule(graded_edges(0.0, NARROWEST, (0.0,), finest, 2.0, 0.5), order)
    x = np.exp(-s.nodes)
    y = np.multiply.outer(x, np.exp(-t.nodes))
    energy = landscape.energy(np.broadcast_to(x[:, None], y.shape), y, np)
    return RadialGrid(energy, 2 * np.outer(s.weights * x, t.weights) * y, x)


def quadrature_mass(
    landscape: Landscape, sizes: Sequence[int], radii: Sequence[float], nodes: int
) -> Exact:
    """Compute the posterior mass within each radius at each n, shape [n, radius].

    The bound is ten times the difference to a rule of four ``nodes`` fewer, and what the rule
    leaves out: the areas below x = e^−32 and below y = e^−64 x, over Z(1).
    """
    fine, coarse = (
        _masses(radial_grid(landscape, radii, order), sizes, radii)
        for order in (nodes, nodes - FEWER)
    )
    left_out = 2 * (math.exp(-2 * DEEPEST) + math.exp(-NARROWEST)) / fine[1]
    error = SAFETY * np.abs(fine[0] - coarse[0]) + left_out[:, None] + ROUNDING
    return Exact(fine[0], error)


def _masses(
    grid: RadialGrid, sizes: Sequence[int], radii: Sequence[float]
) -> tuple[Floats, Floats]:
    """Compute masses [n, radius] and Z(1) [n]."""
    inside = grid.x[None, :] < np.asarray(radii)[:, None]
    mass, whole = np.empty((len(sizes), len(radii))), np.empty(len(sizes))
    for i, n in enumerate(sizes):
        by_x = np.sum(grid.weights * np.exp(-n * grid.energy), axis=1)
        whole[i] = by_x.sum()
        mass[i] = inside @ by_x / whole[i]
    return mass, whole


def limiting_share(landscape: Landscape, log_n: ArrayLike, r: float) -> Floats:
    """Compute the mass within r to leading order in n, of x²y² and the kept cross, of any log n.

    With c = 1/k the valley's width at y is that of exp(−nx²y²/(y² + c)), and the core is that of
    knx²y²; joined where both hold, Z(r) ≈ ½√(π/n) [√c L + 2g(r)] with
    L = ½ log(64nc) + γ/2 and g(r) = √(r² + c) − √c − √c arsinh(√c/r). For x²y² it is
    ½√(π/n) [½ log(4nr⁴) + γ/2]. What is missing falls as a power of 1/n.
    """
    log_n = np.asarray(log_n, float)
    if landscape.kind == "product":
        whole = (math.log(4) + log_n + EULER) / 2
        return np.asarray(1 + 2 * math.log(r) / whole)
    root = math.sqrt(1 / landscape.sharpness)
    core = root * (math.log(64 * root**2) + log_n + EULER) / 2
    return np.asarray((core + 2 * _arm(root, r)) / (core + 2 * _arm(root, 1.0)))


def log_size_of_share(landscape: Landscape, share: float, r: float) -> float:
    """Return log₁₀ of the n at which ``limiting_share`` is ``share``, in closed form."""
    if landscape.kind == "product":
        log_n = 4 * math.log(1 / r) / (1 - share) - EULER - math.log(4)
    else:
        root = math.sqrt(1 / landscape.sharpness)
        core = 2 * (share * _arm(root, 1.0) - _arm(root, r)) / (1 - share)
        log_n = 2 * core / root - EULER - math.log(64 * root**2)
    return log_n / math.log(10)


def _arm(root: float, r: float) -> float:
    """Compute g(r) of ``limiting_share`` with √c = ``root``."""
    return math.hypot(r, root) - root - root * math.asinh(root / r)


def equilibrium_exit_time(kind: str, n: float, r: float) -> float:
    """Compute the mean time to leave the square of half side r from its centre, in closed form.

    A random walk of variance dt per coordinate that is in equilibrium across the valleys diffuses
    along s = max(|x|, |y|) with the density Z'(s), and then leaves after 2∫₀^r Z(s)/Z'(s) ds. For
    min(|x|,|y|) that is r² as n → ∞; for x²y² it is ∫₀^{r²√n} h₁/erf dT/(2√n), about
    r²[¼ log(4nr⁴) + γ/4 − ½]. As n → 0 the walk is free and not in equilibrium across: 0.50 r²
    instead of the exact 0.59 r².
    """
    edges = np.concatenate([[0.0], np.geomspace(1e-8, 1.0, 60)])
    if kind == "min_abs":
        rule = panel_rule(r * edges, 10)
        a = n * rule.nodes
        # (a − 1 + e^−a)/(1 − e^−a), a/2 where it is small.
        ratio = np.where(a < 1e-4, a / 2, a / -np.expm1(-a) - 1)
        return float(2 * rule.weights @ ratio / n)
    rule = panel_rule(r**2 * math.sqrt(n) * edges, 10)
    ratio = error_integral(1, rule.nodes) / erf(rule.nodes)
    return float(rule.weights @ ratio / (2 * math.sqrt(n)))
