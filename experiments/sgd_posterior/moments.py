"""The exact mean and covariance of SGD on linear regression, at any step.

With z = (w, trace, 1) a step on a batch B is linear, z ← T_B z, and T_B is the mean of T_i over
the batch. As batches are independent of one another and of z,

    E[z zᵀ] ← T̄ E[z zᵀ] T̄ᵀ + f (1/n) Σ_i (T_i − T̄) E[z zᵀ] (T_i − T̄)ᵀ,  f = (n − b)/(b(n − 1)),

which is one matrix on E[z zᵀ], to be raised to the number of steps.

Source of the continuous limit that is compared with it: Mandt, Hoffman & Blei, Stochastic gradient
descent as approximate Bayesian inference, JMLR 18 (2017), section 3.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .families import Fit, fitted, linear

Floats = NDArray[np.float64]


class Moments(NamedTuple):
    """Mean [d] and covariance [d, d] of the weights."""

    mean: Floats
    covariance: Floats


def sgd_moments(
    x: Floats,
    y: Floats,
    step_size: float,
    batch_size: int,
    steps: int,
    momentum: float = 0.0,
    initial_scale: float = 1.0,
) -> Moments:
    """Compute the moments after ``steps`` independent batches of data x [n, d], y [n].

    Runs start at N(0, initial_scale² I), with no trace.
    """
    n, d = x.shape
    batch_size = min(batch_size, n)
    each = np.zeros((n, 2 * d + 1, 2 * d + 1))
    squares, targets = np.einsum("ni,nj->nij", x, x), x * y[:, None]
    for row, factor in ((0, -step_size), (d, 1.0)):
        each[:, row : row + d, :d] = factor * squares
        each[:, row : row + d, d : 2 * d] = factor * momentum * np.eye(d)
        each[:, row : row + d, -1] = -factor * targets
    each[:, :d, :d] += np.eye(d)
    each[:, -1, -1] = 1.0
    mean = each.mean(axis=0)
    share = (n - batch_size) / (batch_size * max(n - 1, 1))
    off = each - mean
    size = 2 * d + 1
    spread = np.einsum("nij,nkl->ikjl", off, off).reshape(size**2, size**2) / n
    second = np.zeros((size, size))
    second[:d, :d] = initial_scale**2 * np.eye(d)
    second[-1, -1] = 1.0
    power = np.linalg.matrix_power(np.kron(mean, mean) + share * spread, steps)
    second = (power @ second.ravel()).reshape(size, size)
    first = second[:d, -1]
    return Moments(first, second[:d, :d] - np.outer(first, first))


def sigma_points(moments: Moments) -> Floats:
    """Return 2d points whose mean and covariance are exactly these, of equal weight."""
    d = len(moments.mean)
    columns = np.linalg.cholesky(moments.covariance).T * math.sqrt(d)
    return np.concatenate([moments.mean + columns, moments.mean - columns])


def best_fit(x: Floats, y: Floats, moments: Moments) -> tuple[Fit, float]:
    """Fit (β, s) to exact moments, and compute how far SGD is from that posterior, in nats.

    The likelihood of a Gaussian depends on the moments alone. The divergence KL(SGD ‖ posterior) is
    that of a Gaussian SGD; what it lacks in being one is added to it.
    """
    family, points = linear(x, y), sigma_points(moments)
    fit = fitted(family, points)
    d = len(moments.mean)
    entropy = (d * math.log(2 * math.pi * math.e) + np.linalg.slogdet(moments.covariance)[1]) / 2
    cross = -np.mean(family.log_density(points, fit.beta, fit.scale))
    return fit, float(cross - entropy)


def predicted_beta(n: int, step_size: float, batch_size: int, momentum: float = 0.0) -> float:
    """Return β of the posterior that SGD is in Mandt's limit, if inputs are white.

    With curvature A and gradient covariance C the law of small steps is N(ŵ, Σ) with
    AΣ + ΣA = (η/b')C, b' = b(n − 1)/(n − b) and η over 1 − momentum. A true model with unit noise
    has C = A, so that Σ = (η/2b')I; the posterior has A⁻¹/(nβ). Both agree where A = I, at
    β = 2b'/(nη), and for no β where A is no multiple of I. It is ∞ for all data in a batch.
    """
    if batch_size >= n:
        return math.inf
    return 2 * batch_size * (n - 1) / (n - batch_size) * (1 - momentum) / (n * step_size)


def limiting_divergence(variances: Floats) -> float:
    """Return the KL that is left as n → ∞ with A = diag(``variances``) and C = A, in nats.

    min_β KL(N(0, cI) ‖ N(0, A⁻¹/(nβ))) = (d/2)(log mean a − mean log a).
    """
    a = np.asarray(variances, float)
    return float(a.size / 2 * (np.log(a.mean()) - np.log(a).mean()))
