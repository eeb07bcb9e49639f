"""Families of functions on [−1, 1], their inner products over x ~ U[−1, 1], and their moments."""

import functools
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, next_fast_len

from slt_jax.oracles.quadrature import Rule, panel_rule

from .blocks import inner
from .targets import TARGETS

Floats = NDArray[np.float64]
Family = Literal["monomial", "Chebyshev", "Legendre", "normalised Legendre", "Fourier"]
FAMILIES: tuple[Family, ...] = (
    "monomial", "Chebyshev", "Legendre", "normalised Legendre", "Fourier",
)  # fmt: skip
POLYNOMIALS = FAMILIES[:4]
# Nodes of a panel, and panels towards ±1, which resolve powers of x of any degree.
ORDER, FINEST, RATIO = 20, 8, 4.0
# Features at a time when moments are integrated.
CHUNK = 2000


def frequencies(family: Family, count: int) -> Floats:
    """Return k of the first p functions: the degree, or the frequency of sine and cosine."""
    index = np.arange(count)
    return np.asarray((index + 1) // 2 if family == "Fourier" else index, float)


def scaling(family: Family, scale: float, count: int) -> Floats:
    """Return k^−s of the first p functions, and 1 of the constant."""
    return np.maximum(frequencies(family, count), 1.0) ** -scale


def features(family: Family, x: Floats, count: int) -> Floats:
    """Evaluate the first p functions at x [...], shape [..., p].

    Monomials x^k, Chebyshev T_k, Legendre P_k, √(2k+1) P_k, which are orthonormal, and
    1, √2 cos πkx, √2 sin πkx, which are too.
    """
    k = frequencies(family, count)
    match family:
        case "Chebyshev":
            return np.cos(k * np.arccos(x)[..., None])
        case "Fourier":
            phase = math.pi * k * x[..., None]
            both = np.where(np.arange(count) % 2 == 1, np.cos(phase), np.sin(phase))
            both *= math.sqrt(2)
            both[..., 0] = 1.0
            return np.asarray(both)
    columns = np.empty((count, *x.shape))
    here, after = np.ones_like(x), x.astype(float)
    for degree in range(count):
        columns[degree] = here
        if family == "monomial":
            here = here * x
        else:
            here, after = after, ((2 * degree + 3) * x * after - (degree + 1) * here) / (degree + 2)
    if family == "normalised Legendre":
        columns *= norms(count).reshape(-1, *[1] * x.ndim)
    return np.moveaxis(columns, 0, -1)


def norms(count: int) -> Floats:
    """Return √(2k+1), by which P_k is multiplied to be orthonormal."""
    return np.asarray(np.sqrt(2 * np.arange(count) + 1.0))


def isometry(family: Family, coefficients: Floats) -> Floats:
    """Map coefficients [..., p, m] of functions to vectors [..., q, m] of the same inner products.

    The inner product of g and h is E[g(x)h(x)]. Orthonormal families stay as they are; of
    Chebyshev functions it is the values at Fejér's nodes, 2p or more, by a cosine transform; of
    monomials those at ``end_rule``.
    """
    count = coefficients.shape[-2]
    match family:
        case "Legendre":
            return np.asarray(coefficients / norms(count)[:, None])
        case "Chebyshev":
            size = next_fast_len(2 * count)
            k = np.arange(size)
            even = np.where(k % 2 == 0, 1.0 / np.where(k % 2 == 0, 1.0 - k**2.0, 1.0), 0.0)
            weights = dct(even, type=3) / size
            halved = np.concatenate([coefficients[..., :1, :], coefficients[..., 1:, :] / 2], -2)
            return np.asarray(dct(halved, type=3, n=size, axis=-2) * np.sqrt(weights)[:, None])
        case "monomial":
            rule = end_rule()
            weighted = features(family, rule.nodes, count) * np.sqrt(rule.weights)[:, None]
            return inner(weighted.T, coefficients)
    return coefficients


@functools.cache
def end_rule(order: int = ORDER) -> Rule:
    """Lay out a rule for means over x ~ U[−1, 1] whose panels shrink fourfold towards both ends."""
    inner = 1 - RATIO ** -np.arange(FINEST)
    edges = np.concatenate([inner, [1.0]])
    rule = panel_rule(edges, order)
    return Rule(
        np.concatenate([-rule.nodes[::-1], rule.nodes]),
        np.concatenate([rule.weights[::-1], rule.weights]) / 2,
    )


@functools.cache
def moments(family: Family, count: int) -> Floats:
    """Integrate E[φ_k f] of all functions f to be learnt, shape [target, p].

    By panels in θ, x = cos θ, each shorter than one and a half oscillations of the fastest feature.
    """
    half = np.linspace(0.0, math.pi / 2, max(32, count // 8) + 1)
    rule = panel_rule(np.concatenate([half[:-1], math.pi - half[::-1]]), ORDER)
    x = np.cos(rule.nodes)
    weights = rule.weights * np.sin(rule.nodes) / 2
    total = np.zeros((len(TARGETS), count))
    for start in range(0, x.size, CHUNK):
        part = slice(start, start + CHUNK)
        weighted = np.stack([f(x[part]) for f in TARGETS.values()]) * weights[part]
        total += inner(weighted.T, features(family, x[part], count))
    return total
