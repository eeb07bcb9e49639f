"""Exact answers where features are orthonormal: the evidence is a product of 1-D integrals.

With Σ_i φ(x_i)φ(x_i)ᵀ = nI and unit noise the likelihood of f = Σ_k c_k φ_k factorises,

    n(L_n(w) − L_n(w₀)) = Σ_k n δ_k²/2 − √n ξ_k δ_k,      δ_k = c_k − c_k(w₀),  ξ_k ~ N(0, 1),

and if the coefficients are products of disjoint parameters so does the posterior: each integral
is over the push-forward density of one product, at any n. Everything is float64 on the host.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import ArrayLike
from scipy.interpolate import BSpline, make_interp_spline
from scipy.signal import fftconvolve

from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.laws.products import STEP
from slt_jax.oracles.quadrature import Rule, graded_edges, panel_rule

SAFETY = 10.0
ORDER = 12
COARSE_ORDER = 8
RATIO = 2.5
WIDEST = 0.5
LOWEST = -60.0
HERMITE = 40
INTERPOLATION = 1e-10
SPLINE = 7


class Block(NamedTuple):
    """A coefficient c = ∏_j w_j^{p_j} of w_j ~ N(centre, scale²), whose true value is ``target``.

    ``centre`` 0 is the prior of the models; 1 with a small ``scale`` is the localised prior
    exp(−(γ/2)|w − w*|²) around factors that are all 1, of scale 1/√γ.
    """

    exponents: tuple[int, ...]
    target: float = 0.0
    centre: float = 0.0
    scale: float = 1.0


class FactorisedMoments(NamedTuple):
    """F_n(β) − βnL_n(w₀) and E_β[nL_n] − nL_n(w₀) in total nats, each with its error bound."""

    normalised_free_energy: Exact
    excess_energy: Exact


class SignedDensity(NamedTuple):
    """Densities of log|c| on c > 0 and on c < 0 at ``grid`` [N]; together they integrate to 1."""

    grid: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


@functools.cache
def coefficient_density(block: Block) -> SignedDensity:
    """Compute the density of a block's coefficient on a uniform grid of log|c| with step 1/64.

    It is that of ``log_modulus_density`` with the signs kept apart: those of a product of
    parameters with a mean are not a fair coin. Raises ValueError for exponents < 1 and a scale
    not in (0, ∞).
    """
    if not block.exponents or any(p < 1 for p in block.exponents):
        raise ValueError(f"exponents {block.exponents}: at least one, each ≥ 1")
    if not (0 < block.scale < math.inf and math.isfinite(block.centre)):
        raise ValueError(
            f"scale = {block.scale}, centre = {block.centre}: must be positive, finite"
        )
    first, positive, negative = _single(block, block.exponents[0])
    for exponent in block.exponents[1:]:
        offset, plus, minus = _single(block, exponent)
        positive, negative = (
            STEP * (fftconvolve(positive, plus) + fftconvolve(negative, minus)),
            STEP * (fftconvolve(positive, minus) + fftconvolve(negative, plus)),
        )
        first += offset
    grid = STEP * (first + np.arange(len(positive)))
    return SignedDensity(grid, np.maximum(positive, 0.0), np.maximum(negative, 0.0))


def _single(block: Block, exponent: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the first grid index and densities of p·log|w| on w^p > 0 and on w^p < 0."""
    highest = math.log(abs(block.centre) + 11 * block.scale)
    first, last = math.floor(LOWEST * exponent / STEP), math.ceil(highest * exponent / STEP)
    modulus = np.exp(np.arange(first, last + 1) * STEP / exponent)
    height = modulus / (exponent * block.scale * math.sqrt(2 * math.pi))
    plus, minus = (
        height * np.exp(-0.5 * ((sign * modulus - block.centre) / block.scale) ** 2)
        for sign in (1, -1)
    )
    return (first, plus, minus) if exponent % 2 else (first, plus + minus, np.zeros_like(plus))


@functools.cache
def _splines(block: Block) -> tuple[BSpline, BSpline]:
    """Return the densities on c > 0 and c < 0 as functions of log|c|."""
    density = coefficient_density(block)
    kept = density.grid >= LOWEST
    # A localised density is only a few steps of the grid wide: the splines are of high order.
    positive, negative = (
        make_interp_spline(density.grid[kept], values[kept], k=SPLINE)
        for values in (density.positive, density.negative)
    )
    return positive, negative


def block_rule(block: Block, curvature: float, order: int) -> Rule:
    """Return nodes c and weights of ∫ f(c) p(c) dc, graded to the target's width 1/√curvature.

    Panels of ``order`` nodes in log|c|, where the density is analytic also at c = 0.
    """
    splines = _splines(block)
    low, high = splines[0].t[[0, -1]]
    nodes, weights = [], []
    for sign, spline in zip((1.0, -1.0), splines, strict=True):
        peak = (math.log(abs(block.target)),) if sign * block.target > 0 else ()
        finest = 0.5 / math.sqrt(curvature + 1) / max(abs(block.target), 1e-3)
        narrow = min(WIDEST, block.scale) if block.centre else WIDEST
        log_modulus = panel_rule(graded_edges(low, high, peak, finest, RATIO, narrow), order)
        nodes.append(sign * np.exp(log_modulus.nodes))
        weights.append(log_modulus.weights * np.maximum(spline(log_modulus.nodes), 0.0))
    return Rule(np.concatenate(nodes), np.concatenate(weights))


def factorised_moments(
    blocks: Sequence[Block], n: float, noise: ArrayLike, beta: float = 1.0
) -> FactorisedMoments:
    """Compute F_n(β) and E_β[nL_n] relative to w₀ of R data sets with standard noise ξ [R, K].

    One column of ``noise`` per block; zeros give −log ∫ φ exp(−βnK). The error bound is ten times
    the difference to a rule of lower order on the same panels. Raises ValueError for n or β that
    are negative or not finite, and for noise of another shape or not finite.
    """
    xi = np.asarray(noise, float)
    if not (0 <= n < math.inf and 0 <= beta < math.inf):
        raise ValueError(f"n = {n}, beta = {beta}: must be finite and ≥ 0")
    if xi.ndim != 2 or xi.shape[1] != len(blocks) or not np.all(np.isfinite(xi)):
        raise ValueError(f"noise of shape {xi.shape}: must be finite, [R, {len(blocks)}]")
    fine, coarse = (
        np.sum([_block_moments(b, n, xi[:, k], beta, order) for k, b in enumerate(blocks)], axis=0)
        for order in (ORDER, COARSE_ORDER)
    )
    error = SAFETY * np.abs(fine - coarse) + INTERPOLATION * (1 + np.abs(fine))
    return FactorisedMoments(*map(Exact, fine, error))


def _block_moments(block: Block, n: float, xi: np.ndarray, beta: float, order: int) -> np.ndarray:
    """Compute −log Z and the mean energy of one block, shape [2, R]."""
    rule = block_rule(block, beta * n, order)
    delta = rule.nodes - block.target
    energy = n * delta**2 / 2 - math.sqrt(n) * np.multiply.outer(xi, delta)
    lowest = energy.min(axis=1, keepdims=True)
    terms = rule.weights * np.exp(-beta * (energy - lowest))
    total = terms.sum(axis=1)
    free = beta * lowest[:, 0] - np.log(total)
    return np.stack([free, np.sum(terms * energy, axis=1) / total])


def expected_free_energy(blocks: Sequence[Block], n: float) -> Exact:
    """Compute E[F_n − nL_n(w₀)] over data sets of size n, in nats, by Gauss–Hermite over each ξ_k.

    No Monte Carlo: the expectation of a sum over blocks is a sum of expectations. Raises
    ValueError as ``factorised_moments`` does.
    """
    xi, weights = hermegauss(HERMITE)
    parts = [factorised_moments([block], n, xi[:, None]).normalised_free_energy for block in blocks]
    share = weights / weights.sum()
    value, error = (sum(share @ part[i] for part in parts) for i in range(2))
    return Exact(np.asarray(value), np.asarray(error))
