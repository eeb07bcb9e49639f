"""Posteriors at any β and prior width with exact densities in function space, and exact draws.

y = f(x, w) + N(0, 1) and w ~ N(0, s²I). Densities are those of the function, up to a factor that
depends on the problem alone: of w for linear regression; of the slope u = w₁w₂ of y = w₁w₂x, whose
prior is K₀(|u|/s²)/(πs²); and of w for y = a tanh(bx), where ±w are one function and no others.
Everything is float64 on the host.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import k0e

from slt_jax.oracles.quadrature import panel_rule
from slt_jax.statistics import Data

Floats = NDArray[np.float64]

# Nodes of log-spaced panels of |b| or |u − û|; the integrands are analytic in the logarithm.
NODES = 12
DEEPEST, FARTHEST, PANELS = 1e-9, 1e4, 64
GRID = 4001


class Family(NamedTuple):
    """One problem with one data set, whose posteriors have any β and prior width s.

    ``log_normaliser`` maps (β, s) to log Z of the likelihood relative to that of f = 0;
    ``log_density`` maps (w [K, d], β, s) to log of the normalised density of the function [K];
    ``draw`` maps (generator, count, β, s) to independent draws w [count, d].
    """

    log_normaliser: Callable[[float, float], float]
    log_density: Callable[[Floats, float, float], Floats]
    draw: Callable[[np.random.Generator, int, float, float], Floats]


def family_of(name: str, data: Data) -> Family:
    """Return the posteriors of "linear_3", "monomial_1_1" or "tanh_1" given data."""
    x = np.asarray(data.x, float).reshape(len(data.y), -1)
    y = np.asarray(data.y, float).reshape(-1)
    return {"linear_3": linear, "monomial_1_1": product, "tanh_1": tanh_unit}[name](x, y)


def linear(x: Floats, y: Floats) -> Family:
    """Return the conjugate posteriors of y = w·x: precision βXᵀX + I/s²."""
    gram, moment, d = x.T @ x, x.T @ y, x.shape[1]

    def parts(beta: float, scale: float) -> tuple[Floats, Floats]:
        precision = beta * gram + np.eye(d) / scale**2
        return precision, np.asarray(np.linalg.solve(precision, beta * moment), float)

    def log_normaliser(beta: float, scale: float) -> float:
        precision, mean = parts(beta, scale)
        log_det = np.linalg.slogdet(precision * scale**2)[1]
        return float(beta * moment @ mean - log_det) / 2

    def log_density(w: Floats, beta: float, scale: float) -> Floats:
        precision, mean = parts(beta, scale)
        off = w - mean
        log_det = np.linalg.slogdet(precision / (2 * math.pi))[1]
        return np.asarray(log_det - np.einsum("ki,ij,kj->k", off, precision, off)) / 2

    def draw(rng: np.random.Generator, count: int, beta: float, scale: float) -> Floats:
        precision, mean = parts(beta, scale)
        lower = np.linalg.cholesky(precision)
        return np.asarray(mean + np.linalg.solve(lower.T, rng.normal(size=(d, count))).T)

    return Family(log_normaliser, log_density, draw)


def _log_gain(beta: float, scale: float, square: Floats, moment: Floats) -> Floats:
    """Compute log ∫ N(a; 0, s²) exp(β(aT − a²S/2)) da at S = ``square`` and T = ``moment``."""
    spread = 1 + beta * scale**2 * square
    return (beta * scale * moment) ** 2 / (2 * spread) - np.log(spread) / 2


class _Collapsed(NamedTuple):
    """The law of y = a g(b, x): b by quadrature, and a given b, which is normal.

    ``sums`` maps b [N] to S = Σg² and T = Σgy; S is even in b and T odd.
    """

    sums: Callable[[Floats], tuple[Floats, Floats]]
    nodes: Floats
    weights: Floats
    square: Floats
    moment: Floats

    @classmethod
    def of(cls, sums: Callable[[Floats], tuple[Floats, Floats]]) -> "_Collapsed":
        rule = panel_rule(np.concatenate([[0.0], np.geomspace(DEEPEST, FARTHEST, PANELS)]), NODES)
        return cls(sums, rule.nodes, rule.weights, *sums(rule.nodes))

    def log_normaliser(self, beta: float, scale: float) -> float:
        """Integrate over b > 0, twice: the integrand is even."""
        log_prior = -((self.nodes / scale) ** 2) / 2 - math.log(scale * math.sqrt(2 * math.pi))
        terms = log_prior + _log_gain(beta, scale, self.square, self.moment)
        largest = terms.max()
        return float(largest + math.log(2 * self.weights @ np.exp(terms - largest)))

    def draw(self, rng: np.random.Generator, count: int, beta: float, scale: float) -> Floats:
        """Draw |b| by its distribution function in log b, its sign, and a given b."""
        b = scale * np.geomspace(DEEPEST, 10.0, GRID)
        log_mass = -((b / scale) ** 2) / 2 + np.log(b) + _log_gain(beta, scale, *self.sums(b))
        drawn = np.exp(_by_inversion(rng, count, np.log(b), log_mass))
        drawn *= rng.choice([-1.0, 1.0], size=count)
        square, moment = self.sums(drawn)
        variance = 1 / (beta * square + 1 / scale**2)
        mean = variance * beta * moment
        return np.stack([mean + np.sqrt(variance) * rng.normal(size=count), drawn], axis=1)


def _by_inversion(rng: np.random.Generator, count: int, at: Floats, log_mass: Floats) -> Floats:
    """Draw from a density given by its logarithm on a fine grid, linear between its points."""
    density = np.exp(log_mass - log_mass.max())
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(at))])
    return np.interp(rng.uniform(size=count) * mass[-1], mass, at)


def product(x: Floats, y: Floats) -> Family:
    """Return the posteriors of y = w₁w₂x in terms of the slope u = w₁w₂.

    The density is K₀(|u|/s²)/(πs²) exp(β(uT − u²S/2))/Z(β, s) with S = Σx² and T = Σxy.
    """
    square, moment = float(x[:, 0] @ x[:, 0]), float(x[:, 0] @ y)
    collapsed = _Collapsed.of(lambda b: (b**2 * square, b * moment))

    def log_density(w: Floats, beta: float, scale: float) -> Floats:
        u = w[:, 0] * w[:, 1]
        # A slope of exactly 0, at which the density has a pole, is told apart by no test.
        far = np.maximum(np.abs(u), np.finfo(float).tiny) / scale**2
        log_prior = np.log(k0e(far)) - far - math.log(math.pi * scale**2)
        gain = beta * (u * moment - u**2 * square / 2)
        return np.asarray(log_prior + gain - collapsed.log_normaliser(beta, scale))

    return Family(collapsed.log_normaliser, log_density, collapsed.draw)


def tanh_unit(x: Floats, y: Floats) -> Family:
    """Return the posteriors of y = a tanh(bx), in terms of w = (a, b), or −w, which is the same."""

    def sums(b: Floats) -> tuple[Floats, Floats]:
        features = np.tanh(np.multiply.outer(b, x[:, 0]))
        return np.sum(features**2, axis=-1), features @ y

    collapsed = _Collapsed.of(sums)

    def log_density(w: Floats, beta: float, scale: float) -> Floats:
        square, moment = sums(w[:, 1])
        gain = beta * (w[:, 0] * moment - w[:, 0] ** 2 * square / 2)
        log_prior = -np.sum((w / scale) ** 2, axis=1) / 2 - math.log(2 * math.pi * scale**2)
        return np.asarray(log_prior + gain - collapsed.log_normaliser(beta, scale))

    return Family(collapsed.log_normaliser, log_density, collapsed.draw)


class Fit(NamedTuple):
    """The likeliest β and prior width of endpoints, and whether there is none in the box.

    A width at the upper edge is a flat prior, and no such failure.
    """

    beta: float
    scale: float
    at_edge: bool


# Beyond these no data of this experiment tell posteriors apart from their limits.
LOG_BETAS, LOG_SCALES = (math.log(1e-4), math.log(1e6)), (math.log(1e-3), math.log(1e2))
BOX = (LOG_BETAS, LOG_SCALES)
EDGE = 1e-3
# The size of the first simplex is that of the grid's cells.
SIMPLEX = np.array([[0.0, 0.0], [-0.8, 0.3], [0.3, -0.8]])
STARTS = 3


def fitted(family: Family, w: Floats) -> Fit:
    """Fit (β, s) to endpoints w [K, d] by maximum likelihood in function space.

    Nelder and Mead's simplex in (log β, log s), from each of the best three of a coarse grid.
    """
    from scipy.optimize import minimize  # slow to import

    def cost(at: Floats) -> float:
        return -float(np.mean(family.log_density(w, *np.exp(at))))

    grid = [np.array([u, v]) for u in np.linspace(*LOG_BETAS, 15) for v in np.linspace(-5, 4, 10)]
    ends = []
    for start in sorted(grid, key=cost)[:STARTS]:
        simplex = np.clip(start + SIMPLEX, *np.transpose(BOX))
        options: dict[str, Any] = {
            "xatol": 1e-5, "fatol": 1e-9, "maxiter": 400, "initial_simplex": simplex,
        }  # fmt: skip
        ends.append(minimize(cost, start, method="Nelder-Mead", bounds=BOX, options=options))
    best = min(ends, key=lambda end: float(end.fun)).x
    (low, high), (narrow, _) = BOX
    edge = bool(min(best[0] - low, high - best[0], best[1] - narrow) < EDGE)
    return Fit(float(np.exp(best[0])), float(np.exp(best[1])), edge)
