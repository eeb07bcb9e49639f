"""The exact prior probability of the constant functions of a perceptron."""

import math
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from .maps import INPUTS

REACH = 9.0  # standard deviations of a weight
NODES = 64
POINTS = 4000


class Exact(NamedTuple):
    """A number with a bound on its error."""

    value: float
    error: float


def constant_probability(weight_scale: float, bias_scale: float) -> Exact:
    """Compute the probability that a perceptron on {0, 1}⁷ is 0 on all inputs.

    It is if b + Σ_i max(w_i, 0) < 0 with w_i ~ N(0, σ_w²/7) and b ~ N(0, σ_b²). One weight at a
    time is integrated out, g_{i+1}(y) = g_i(y)/2 + ∫_0^∞ φ(u) g_i(y + u) du with g_0(y) =
    P(b < −σ_w y/√7). The bound is the difference to half as many nodes and points.
    """
    ratio = weight_scale / (math.sqrt(INPUTS) * bias_scale)
    fine, coarse = (_integrated(ratio, NODES // k, POINTS // k) for k in (1, 2))
    return Exact(fine, abs(fine - coarse) + 1e-12)


def _integrated(ratio: float, nodes: int, points: int) -> float:
    u, weight = np.polynomial.legendre.leggauss(nodes)
    u = REACH * (u + 1) / 2
    weight = weight * REACH / 2 * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    # Where all of g is below rounding nothing is left to integrate.
    y = np.linspace(0.0, REACH * max(1.0, 1 / ratio) + INPUTS * REACH, points)
    g = ndtr(-ratio * y)
    for _ in range(INPUTS):
        spline = CubicSpline(y, g)
        g = g / 2 + spline(np.minimum(y[:, None] + u, y[-1])) @ weight
    return float(g[0])
