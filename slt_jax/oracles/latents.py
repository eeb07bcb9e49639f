"""Quadrature of the prior over what is left when the Gaussian block has been integrated out.

Every rule places its nodes where the posterior at a given curvature (n/σ² per unit feature)
has structure: near zero, near coincidences of units, near the optimum.
"""

import functools
from typing import NamedTuple

import numpy as np
from scipy.special import comb, gammaln, ndtr

from slt_jax.oracles import layers
from slt_jax.oracles.pushforward import STEP, log_modulus_density
from slt_jax.oracles.quadrature import Rule, gauss_rule, graded_edges, panel_rule
from slt_jax.oracles.structures import (
    BoxLatent,
    CellsLatent,
    Coordinate,
    HalvesLatent,
    KinksLatent,
    Latent,
    LayersLatent,
    MatrixLatent,
    NoLatent,
    PowerLatent,
    PowersLatent,
    ProductLatent,
    UnitsLatent,
)


class Resolution(NamedTuple):
    """How fine a rule is: Gauss order of a product, and order and ratio of graded panels,
    points of a periodic rule, stride of a trapezoid rule."""

    gauss: int
    order: int
    ratio: float
    periodic: int
    trapezoid: int


CURVATURES = 4
PRIOR_PANEL = 1.8
# Beyond the square root of its degrees of freedom a length has 1e-14 of its law or less.
LENGTH_REACH = 8.0
ALONE = 6.0
LEAST = -37.0
MAX_PANELS = 20_000
RESOLUTIONS = {
    1: Resolution(gauss=12, order=6, ratio=4.0, periodic=36, trapezoid=8),
    2: Resolution(gauss=17, order=8, ratio=3.0, periodic=52, trapezoid=4),
    3: Resolution(gauss=24, order=10, ratio=2.5, periodic=76, trapezoid=2),
}


def coarser(resolution: Resolution) -> Resolution:
    """A rule to measure the error of ``resolution`` by: lower orders on the *same* panels.

    On other panels the two errors are alike in size and may cancel in the difference.
    """
    return Resolution(
        gauss=resolution.gauss - 4,
        order=resolution.order - 2,
        ratio=resolution.ratio,
        periodic=2 * resolution.periodic // 3,
        trapezoid=2 * resolution.trapezoid,
    )


class LatentRule(NamedTuple):
    """∫ f(latent) dφ ≈ Σ exp(log_weight) f(node): nodes [N, l], log_weights [N]."""

    nodes: np.ndarray
    log_weights: np.ndarray


class Curvature(NamedTuple):
    """Total nats per squared coefficient: alone, and when all the others are free to adapt.

    One entry per product latent, the coefficient that it multiplies; else one for the whole.
    """

    alone: tuple[float, ...]
    adapted: tuple[float, ...]


def latent_rule(
    latent: Latent, curvature: Curvature, targets: tuple[float, ...], resolution: Resolution
) -> LatentRule:
    """Nodes and log-weights of the prior of ``latent`` at a resolution.

    ``curvature`` sets the finest scale; ``targets`` are the true moduli of the coefficients
    that product latents multiply, in units of the Gaussian factor's scale.
    """
    match latent:
        case NoLatent():
            return LatentRule(np.zeros((1, 0)), np.zeros(1))
        case ProductLatent():
            return _product_rule(latent, curvature, targets, resolution)
        case PowerLatent():
            return _power_rule(latent, resolution)
        case UnitsLatent():
            return _units_rule(latent, curvature.alone[0], resolution)
        case MatrixLatent():
            return _matrix_rule(latent, curvature.alone[0], resolution)
        case LayersLatent():
            return _layers_rule(latent, curvature.alone[0], resolution)
        case HalvesLatent():
            return _halves_rule(latent, curvature.alone[0], resolution)
        case PowersLatent() | CellsLatent() | KinksLatent():
            raise ValueError(f"{latent} has a rule for each data set: slt_jax.oracles.adapted")
        case BoxLatent():
            return _box_rule(latent, curvature.alone[0], resolution)


def _tensor(rules: list[Rule]) -> LatentRule:
    nodes = np.stack([g.ravel() for g in np.meshgrid(*[r.nodes for r in rules], indexing="ij")])
    with np.errstate(divide="ignore"):  # a weight far in the tails may have underflowed to 0
        logs = functools.reduce(np.add.outer, [np.log(r.weights) for r in rules])
    return LatentRule(nodes.T, np.ravel(logs))


def _product_rule(
    latent: ProductLatent,
    curvature: Curvature,
    targets: tuple[float, ...],
    resolution: Resolution,
) -> LatentRule:
    """Tensor product of Gauss rules, each of the latent's own approximate posterior.

    With its Gaussian factor collapsed, a coefficient s·a of true value c and curvature γ has
    evidence (1+γs²)^{−1/2} exp(−γc²/2(1+γs²)). Correlated features leave a coefficient some
    curvature between ``adapted`` and ``alone``; the mean evidence over that range, times the
    density of s, is the measure of the rule, and z = s²/(s² + 1/γ) the variable in which the
    rest of the integrand is nearly polynomial.
    """
    rules = []
    for exponents, alone, adapted, target in zip(
        latent.exponents, curvature.alone, curvature.adapted, targets, strict=True
    ):
        curvatures = np.geomspace(adapted, alone, CURVATURES)[:, None]

        grid, density = log_modulus_density(exponents, latent.scale)
        squared = np.exp(2 * grid)
        rule = gauss_rule(
            squared / (squared + 1 / adapted),
            density * STEP * _coefficient_evidence(squared, curvatures, target),
            resolution.gauss,
        )
        squared_nodes = rule.nodes / (1 - rule.nodes) / adapted
        rules.append(
            Rule(
                np.sqrt(squared_nodes),
                rule.weights / _coefficient_evidence(squared_nodes, curvatures, target),
            )
        )
    return _tensor(rules)


def _coefficient_evidence(squared: np.ndarray, gammas: np.ndarray, target: float) -> np.ndarray:
    damping = 1 + gammas * squared
    return np.mean(np.exp(-0.5 * gammas * target**2 / damping) / np.sqrt(damping), axis=0)


def _power_rule(latent: PowerLatent, resolution: Resolution) -> LatentRule:
    """Trapezoid rule in τ = log|t|, spectrally accurate, for both signs of t if it has any."""
    grid, density = log_modulus_density(latent.exponents, latent.scale)
    stride = resolution.trapezoid
    keep = density[::stride] > np.finfo(float).tiny
    moduli = np.exp(grid[::stride][keep])[:, None]
    log_weights = np.log(density[::stride][keep] * STEP * stride)
    if all(exponent % 2 == 0 for exponent in latent.exponents):
        return LatentRule(moduli, log_weights)
    return LatentRule(np.concatenate([moduli, -moduli]), np.tile(log_weights - np.log(2), 2))


def _units_rule(latent: UnitsLatent, curvature: float, resolution: Resolution) -> LatentRule:
    """0 < b₁ < … < b_H, each graded towards its lower neighbour and towards the true units.

    Unordered and unsigned, the cell stands for H!·2^H equal ones.
    """
    high = latent.reach * latent.scale
    finest = 0.5 / np.sqrt(curvature + 1.0)

    def next_unit(prefix: np.ndarray) -> Rule:
        low = float(prefix[-1]) if len(prefix) else 0.0
        singular = (low, *(p for p in latent.peaks if p > low))
        edges = graded_edges(
            low, high, singular, finest, resolution.ratio, PRIOR_PANEL * latent.scale
        )
        return panel_rule(edges, resolution.order)

    def extended(prefixes: LatentRule) -> LatentRule:
        rules = [next_unit(prefix) for prefix in prefixes.nodes]
        sizes = [len(rule.nodes) for rule in rules]
        last, weights = (np.concatenate(part) for part in zip(*rules, strict=True))
        return LatentRule(
            np.column_stack([np.repeat(prefixes.nodes, sizes, axis=0), last]),
            np.repeat(prefixes.log_weights, sizes) + np.log(weights),
        )

    rule = LatentRule(np.zeros((1, 0)), np.zeros(1))
    for _ in range(latent.num_units):
        rule = extended(rule)
    nodes, log_weights = rule
    symmetry = gammaln(latent.num_units + 1) + latent.num_units * np.log(2)
    log_prior = -0.5 * (nodes / latent.scale) ** 2 - 0.5 * np.log(2 * np.pi * latent.scale**2)
    return LatentRule(nodes, log_weights + log_prior.sum(axis=1) + symmetry)


def _matrix_rule(latent: MatrixLatent, curvature: float, resolution: Resolution) -> LatentRule:
    """Singular values and right singular directions of a Gaussian matrix with ≤ 2 columns.

    Nodes are a root R of AᵀA, flattened: one row r(cos θ, sin θ), or diag(s₁, s₂) times a
    rotation. The density of (s₁ > s₂) is (s₁s₂)^{H−2} (s₁² − s₂²) e^{−(s₁²+s₂²)/2} / Γ(H−1)
    (Muirhead, *Aspects of Multivariate Statistical Theory*, Theorem 3.2.17).
    """
    high = np.sqrt(latent.rows) + LENGTH_REACH
    finest = 0.5 / np.sqrt(curvature * latent.scale**2 + 1.0)
    if latent.columns == 1 or latent.rows == 1:
        radial = chi_rule(max(latent.rows, latent.columns), finest, resolution)
        if latent.columns == 1:
            return LatentRule(latent.scale * radial.nodes[:, None], np.log(radial.weights))
        return _directed(radial, latent, finest, resolution)
    return _two_column_rule(latent, high, finest, resolution)


def _directed(
    radial: Rule, latent: MatrixLatent | LayersLatent, finest: float, resolution: Resolution
) -> LatentRule:
    """A row of two entries: its length in units of the scale, and any direction."""
    both = _tensor([radial, _angle_rule(latent, finest, resolution)])
    r, angle = both.nodes.T
    nodes = latent.scale * r[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return LatentRule(nodes, both.log_weights)


def _layers_rule(latent: LayersLatent, curvature: float, resolution: Resolution) -> LatentRule:
    """Trapezoid rules in the logarithms of lengths or singular values, and the angle's own rule.

    What is left out weighs less than 10⁻¹⁶ of the least evidence that this curvature allows.
    """
    scale = latent.scale ** len(latent.rows)
    whole = latent._replace(scale=scale)
    precision = curvature * scale**2
    finest, stride = 0.5 / np.sqrt(precision + 1.0), resolution.trapezoid // 2
    least = np.exp(LEAST - 2 * np.log1p(precision))
    widths = [latent.columns, *latent.rows]
    if 1 in widths:
        widths.remove(1)
        grid, density = layers.log_square_density(widths or [1])
        weights = density[::stride] * layers.STEP * stride
        keep = weights > least
        radial = Rule(np.exp(grid[::stride][keep] / 2), weights[keep])
        if latent.columns == 1:
            return LatentRule(scale * radial.nodes[:, None], np.log(radial.weights))
        return _directed(radial, whole, finest, resolution)
    u, r, density = layers.singular_values(latent.rows)
    weights = density[::stride, ::stride] * (layers.STEP * stride) ** 2
    keep = weights > least
    half_sum, half_difference = np.meshgrid(u[::stride] / 2, r[::stride] / 2, indexing="ij")
    large, small = (np.exp(half_sum + sign * half_difference)[keep] for sign in (1, -1))
    pairs = np.column_stack([large, small])
    return _turned(pairs, np.log(weights[keep]), whole, finest, resolution)


def chi_rule(degrees: int, finest: float, resolution: Resolution) -> Rule:
    """Length of a standard normal vector of ``degrees`` entries, graded towards 0."""
    high = np.sqrt(degrees) + LENGTH_REACH
    edges = graded_edges(0.0, high, (0.0,), finest, resolution.ratio, PRIOR_PANEL)
    rule = panel_rule(edges, resolution.order)
    return Rule(rule.nodes, rule.weights * np.exp(log_chi_density(degrees, rule.nodes)))


def log_chi_density(degrees: int, length: np.ndarray) -> np.ndarray:
    """Log density of the length of a standard normal vector of ``degrees`` entries."""
    constant = (degrees / 2 - 1) * np.log(2) + gammaln(degrees / 2)
    return (degrees - 1) * np.log(length) - length**2 / 2 - constant


def _halves_rule(latent: HalvesLatent, curvature: float, resolution: Resolution) -> LatentRule:
    """k of H units are positive with probability C(H, k)/2^H; the roots are χ_k and χ_{H−k}."""
    finest = 0.5 / np.sqrt(curvature * latent.scale**2 + 1.0)
    none = Rule(np.zeros(1), np.ones(1))
    lengths = [none] + [chi_rule(k, finest, resolution) for k in range(1, latent.num_units + 1)]
    parts = [_tensor([lengths[k], lengths[-1 - k]]) for k in range(latent.num_units + 1)]
    shares = [np.log(comb(latent.num_units, k)) for k in range(latent.num_units + 1)]
    logs = [part.log_weights + share for part, share in zip(parts, shares, strict=True)]
    return LatentRule(
        latent.scale * np.concatenate([part.nodes for part in parts]),
        np.concatenate(logs) - latent.num_units * np.log(2),
    )


def _two_column_rule(
    latent: MatrixLatent, high: float, finest: float, resolution: Resolution
) -> LatentRule:
    large = panel_rule(
        graded_edges(0.0, high, (0.0,), finest, resolution.ratio, PRIOR_PANEL), resolution.order
    )
    pairs, log_weights = [], []
    for s1, w1 in zip(large.nodes, large.weights, strict=True):
        edges = graded_edges(0.0, s1, (0.0,), finest, resolution.ratio, PRIOR_PANEL)
        small = panel_rule(edges, resolution.order)
        log_density = (
            (latent.rows - 2) * np.log(s1 * small.nodes)
            + np.log(s1**2 - small.nodes**2)
            - (s1**2 + small.nodes**2) / 2
        )
        pairs.append(np.column_stack([np.full(len(small.nodes), s1), small.nodes]))
        log_weights.append(np.log(w1 * small.weights) + log_density)
    logs = np.concatenate(log_weights) - gammaln(latent.rows - 1)
    return _turned(np.concatenate(pairs), logs, latent, finest, resolution)


def _turned(
    values: np.ndarray,
    logs: np.ndarray,
    latent: MatrixLatent | LayersLatent,
    finest: float,
    resolution: Resolution,
) -> LatentRule:
    """diag(s₁, s₂) [N, 2] with their log-weights, in units of the scale, times any rotation."""
    angle = _angle_rule(latent, finest, resolution)
    count = len(angle.nodes)
    s = np.repeat(values, count, axis=0) * latent.scale
    theta = np.tile(angle.nodes, len(values))
    rotation = np.column_stack([np.cos(theta), np.sin(theta), -np.sin(theta), np.cos(theta)])
    nodes = rotation * np.repeat(s, 2, axis=1)
    return LatentRule(nodes, np.repeat(logs, count) + np.tile(np.log(angle.weights), len(values)))


def _angle_rule(latent: MatrixLatent | LayersLatent, finest: float, resolution: Resolution) -> Rule:
    """Uniform distribution on [0, π), graded towards the direction of the optimum."""
    if not latent.direction:
        count = resolution.periodic
        return Rule(np.pi * np.arange(count) / count, np.full(count, 1 / count))
    centre = float(np.arctan2(latent.direction[1], latent.direction[0]))
    edges = graded_edges(
        centre - np.pi / 2, centre + np.pi / 2, (centre,), finest, resolution.ratio
    )
    rule = panel_rule(edges, resolution.order)
    return Rule(rule.nodes, rule.weights / np.pi)


def _box_rule(latent: BoxLatent, curvature: float, resolution: Resolution) -> LatentRule:
    """Tensor product of panels, each coordinate graded towards its own singular points.

    A coordinate that is alone has panels that resolve a regular peak wherever data put it.
    """
    rules = []
    for coordinate in latent.coordinates:
        low, high, scale, singular, rate = coordinate
        finest = 0.5 * (curvature + 1.0) ** -rate
        widest = np.inf if scale is None else PRIOR_PANEL * scale
        if len(latent.coordinates) == 1:
            widest = min(widest, max(ALONE * finest, (high - low) / MAX_PANELS))
        edges = graded_edges(low, high, singular, finest, resolution.ratio, widest)
        nodes, weights = panel_rule(edges, resolution.order)
        rules.append(Rule(nodes, weights * np.exp(log_density(coordinate, nodes))))
    return _tensor(rules)


def log_density(coordinate: Coordinate, value: np.ndarray) -> np.ndarray:
    """Log density of a coordinate's law, cut to its interval."""
    low, high, scale, _, _ = coordinate
    if scale is None:
        return np.full(value.shape, -np.log(high - low))
    inside = ndtr(high / scale) - ndtr(low / scale)
    return -0.5 * (value / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi) * inside)
