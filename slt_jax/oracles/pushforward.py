"""Density of log|∏ w_j^{p_j}| for independent normal w_j, to near machine precision."""

import functools
import math

import numpy as np
from scipy.signal import fftconvolve

STEP = 1 / 64
# Logarithms of the least and the largest parameter, in its standard deviations.
LOWEST, HIGHEST = -45.0, 2.4


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
        density = fftconvolve(density, factor) * STEP
        first += offset
    grid = STEP * (first + np.arange(len(density))) + sum(exponents) * np.log(scale)
    return grid, np.maximum(density, 0.0)


def _single(exponent: int) -> tuple[int, np.ndarray]:
    """First grid index and density of p·log|w| for one standard normal."""
    first, last = int(LOWEST * exponent / STEP), int(np.ceil(HIGHEST * exponent / STEP))
    s = np.arange(first, last + 1) * STEP / exponent
    return first, np.sqrt(2 / np.pi) * np.exp(s - np.exp(2 * s) / 2) / exponent
