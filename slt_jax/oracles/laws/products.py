"""Products of powers of normal parameters, by the density of the logarithm of their modulus."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import log_ndtr

from slt_jax.oracles.laws.charts import Chart
from slt_jax.oracles.laws.cuts import Cut, cut, factors_per
from slt_jax.oracles.laws.law import (
    LatentRule,
    Resolution,
    SharedLaw,
    in_steps,
    tensor_rule,
    unit_gram,
)
from slt_jax.oracles.laws.log_lengths import modulus_axis
from slt_jax.oracles.quadrature import Rule, gauss_rule

if TYPE_CHECKING:
    from slt_jax.oracles.moments import Posterior

CURVATURES = 4
STEP = 1 / 64
# Logarithms of the least and the largest parameter, in its standard deviations.
LOWEST, HIGHEST = -45.0, 2.4


class Sharpness(NamedTuple):
    """Curvature of the coefficients that products multiply, in total nats per square of each.

    ``alone`` and ``adapted``, when all the others are free to adapt; ``targets`` are the true
    moduli of the coefficients, in units of the Gaussian factor's scale.
    """

    alone: tuple[float, ...]
    adapted: tuple[float, ...]
    targets: tuple[float, ...]


@dataclass(frozen=True)
class ProductLatent(SharedLaw):
    """Latent l is |∏_j w_{lj}^{e_lj}| of independent N(0, scale²) parameters, given by exponents.

    Each multiplies one entry of the Gaussian block, which absorbs the sign; the last latents
    belong to the last features.
    """

    exponents: tuple[tuple[int, ...], ...]
    scale: float = 1.0

    def sharpness(self, posteriors: Sequence["Posterior"]) -> Sharpness:
        gram, first = unit_gram(posteriors), posteriors[0]
        last = slice(-len(self.exponents), None)
        optimum = np.asarray(first.shards[0].optimum)
        targets = np.abs(optimum)[last, 0] / first.structure.scale
        with_prior = gram + np.eye(len(gram))
        return Sharpness(
            in_steps(np.diag(with_prior)[last]),
            in_steps(1 / np.diag(np.linalg.inv(with_prior))[last]),
            tuple(targets.tolist()),
        )

    def rule(self, sharpness: Sharpness, resolution: Resolution) -> LatentRule:
        """Lay out a tensor product of Gauss rules, each of a latent's own approximate posterior.

        With its Gaussian factor collapsed, a coefficient s·a of true value c and curvature γ has
        evidence (1+γs²)^{−1/2} exp(−γc²/2(1+γs²)). Correlated features leave a coefficient some
        curvature between ``adapted`` and ``alone``; the mean evidence over that range, times the
        density of s, is the measure of the rule, and z = s²/(s² + 1/γ) the variable in which the
        rest of the integrand is nearly polynomial.
        """
        rules = []
        for exponents, alone, adapted, target in zip(self.exponents, *sharpness, strict=True):
            curvatures = np.geomspace(adapted, alone, CURVATURES)[:, None]
            grid, density = log_modulus_density(exponents, self.scale)
            squared = np.exp(2 * grid)
            rule = gauss_rule(
                squared / (squared + 1 / adapted),
                density * STEP * _coefficient_evidence(squared, curvatures, target),
                resolution.gauss,
            )
            squared_nodes = rule.nodes / (1 - rule.nodes) / adapted
            evidence = _coefficient_evidence(squared_nodes, curvatures, target)
            rules.append(Rule(np.sqrt(squared_nodes), rule.weights / evidence))
        return tensor_rule(rules)

    def cuts(self) -> tuple[Cut, ...]:
        return tuple(_product_cut(j, each, self.scale) for j, each in enumerate(self.exponents))

    def charts(self, nats: float) -> tuple[Chart, ...]:
        axes = tuple(modulus_axis(each, self.scale, nats) for each in self.exponents)
        return (Chart(axes, place=jnp.exp, nats=nats),)

    def describe(self) -> str:
        count = len(self.exponents)
        return f"Gauss rule of {count} pushed-forward product{'s' if count > 1 else ''}"


@dataclass(frozen=True)
class PowerLatent(SharedLaw):
    """The product ∏_j w_j^{e_j} with its sign; where no block multiplies it, the truth is 0."""

    exponents: tuple[int, ...]
    scale: float = 1.0

    def rule(self, sharpness: tuple[float, ...], resolution: Resolution) -> LatentRule:
        """Apply the trapezoid rule in τ = log|t|, spectrally accurate, to both signs of t."""
        del sharpness
        grid, density = log_modulus_density(self.exponents, self.scale)
        stride = resolution.trapezoid
        keep = density[::stride] > np.finfo(float).tiny
        moduli = np.exp(grid[::stride][keep])[:, None]
        log_weights = np.log(density[::stride][keep] * STEP * stride)
        if self._is_even:
            return LatentRule(moduli, log_weights)
        return LatentRule(np.concatenate([moduli, -moduli]), np.tile(log_weights - np.log(2), 2))

    def cuts(self) -> tuple[Cut, ...]:
        return (_product_cut(0, self.exponents, self.scale),)

    def charts(self, nats: float) -> tuple[Chart, ...]:
        axis = modulus_axis(self.exponents, self.scale, nats)
        if self._is_even:
            return (Chart((axis,), place=jnp.exp, nats=nats),)
        both = (jnp.exp, _minus_exp)
        return tuple(Chart((axis,), 1, place, -math.log(2), nats) for place in both)

    def describe(self) -> str:
        return "push-forward of a product"

    @property
    def _is_even(self) -> bool:
        return all(exponent % 2 == 0 for exponent in self.exponents)


def _coefficient_evidence(squared: np.ndarray, gammas: np.ndarray, target: float) -> np.ndarray:
    damping = 1 + gammas * squared
    return np.mean(np.exp(-0.5 * gammas * target**2 / damping) / np.sqrt(damping), axis=0)


def _minus_exp(log_modulus: Array) -> Array:
    return -jnp.exp(log_modulus)


def _product_cut(column: int, exponents: tuple[int, ...], scale: float) -> Cut:
    """A product is cut where each factor is e^HIGHEST, and one of them must exceed that."""
    total = sum(exponents)
    lengths = math.exp(HIGHEST) * factors_per(total)
    log_tails = math.log(2 * len(exponents)) + log_ndtr(-lengths)
    return cut((column,), math.exp(total * HIGHEST) * scale**total, log_tails)


@functools.cache
def log_modulus_density(
    exponents: tuple[int, ...], scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Density of τ = log|∏_j w_j^{p_j}|, w_j ~ N(0, scale²), on a uniform grid of step 1/64.

    log|w| has density (2/√2π) e^{s} exp(−e^{2s}/2) for unit scale; sums of independent terms
    convolve, and the trapezoid rule is spectrally accurate for such analytic densities.
    Returns (grid [N], density [N]) with Σ density·step = 1 up to the truncated left tail,
    which lies below exp(−45) in modulus. Raises ValueError for an exponent < 1, and for a scale
    that is not in (0, ∞).
    """
    if not exponents or any(p < 1 for p in exponents):
        raise ValueError(f"exponents {exponents}: at least one, each ≥ 1")
    if not 0 < scale < math.inf:
        raise ValueError(f"scale = {scale}: must be positive and finite")
    first, density = _single(exponents[0])
    for exponent in exponents[1:]:
        offset, factor = _single(exponent)
        density = _convolved(density, factor) * STEP
        first += offset
    grid = STEP * (first + np.arange(len(density))) + sum(exponents) * np.log(scale)
    return grid, np.maximum(density, 0.0)


def _convolved(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """As ``scipy.signal.fftconvolve``, whose room takes as long to import as JAX."""
    length = len(first) + len(second) - 1
    size = next_fast_len(length, real=True)
    return np.asarray(irfft(rfft(first, size) * rfft(second, size), size)[:length])


def _single(exponent: int) -> tuple[int, np.ndarray]:
    """First grid index and density of p·log|w| for one standard normal."""
    first, last = int(LOWEST * exponent / STEP), int(np.ceil(HIGHEST * exponent / STEP))
    s = np.arange(first, last + 1) * STEP / exponent
    return first, np.sqrt(2 / np.pi) * np.exp(s - np.exp(2 * s) / 2) / exponent
