"""Expected test errors and evidences in closed form, given the inputs.

With features φ_k(x) k^−s, data y_i = f(x_i) + noise and Φ = U S Vᵀ [n, p] all estimators here are

    f̂ = Σ_i g(S_i) (Uᵀy)_i B_i,    B_i(x) = Σ_k V_ki k^−s φ_k(x),

where g = 1/S of least squares and of minimum norm, S/(S² + λ) of ridge, and λ = σ²/(βτ²) of the
posterior mean at β with the prior N(0, τ²). With G_ij = E[B_i B_j] and c_i = E[B_i f] over x, and
E[f²] = 1, the error over x and noise is

    E‖f̂ − f‖² = 1 − 2cᵀa + aᵀGa + σ² Σ g² G_ii,    a = g Uᵀf(X),

and with v_i = σ² + τ²S_i² the free energy is F_n = ½Σ log 2πv_i + ½Σ (Uᵀy)_i²/v_i.

Singular vectors come from Φ itself and not from ΦΦᵀ, whose condition is the square. Everything is
float64 on the host.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import inner, thin_qr, times
from .features import Family, isometry, scaling

Floats = NDArray[np.float64]


class Decomposition(NamedTuple):
    """The matrices of D designs: S [D, n], Uᵀ [D, n, n], G [D, n, n] and c [D, target, n].

    Directions beyond the p-th have S = 0 and B = 0.
    """

    singular_values: Floats
    rotation: Floats
    gram: Floats
    projection: Floats
    rank: int

    @property
    def condition(self) -> Floats:
        """The condition number of Φ [D]."""
        smallest = self.singular_values[:, self.rank - 1]
        return np.asarray(self.singular_values[:, 0] / np.maximum(smallest, np.finfo(float).tiny))


def decompose(family: Family, scale: float, phi: Floats, moments: Floats) -> Decomposition:
    """Decompose features φ_k(x_i) ``phi`` [D, n, p] with moments E[φ_k f] [target, p]."""
    n, count = phi.shape[-2:]
    weights = scaling(family, scale, count)
    scaled = phi * weights
    if count > n:
        basis, triangle = thin_qr(np.swapaxes(scaled, -1, -2))
        u, s, turn = np.linalg.svd(np.swapaxes(triangle, -1, -2))
        directions = times(basis, np.swapaxes(turn, -1, -2))
    else:
        u, s, right = np.linalg.svd(scaled, full_matrices=True)
        directions = np.swapaxes(right, -1, -2)
        s = np.pad(s, [(0, 0), (0, n - count)])
        directions = np.pad(directions, [(0, 0), (0, 0), (0, n - count)])
    functions = weights[:, None] * directions
    vectors = isometry(family, functions)
    gram = inner(vectors, vectors)
    return Decomposition(
        s, np.swapaxes(u, -1, -2), gram, inner(moments.T, functions), min(n, count)
    )


def rotated(at: Decomposition, values: Floats) -> Floats:
    """Rotate values at the inputs, Uᵀf of f [D, ..., n]."""
    return np.asarray(np.einsum("dij,d...j->d...i", at.rotation, values))


def minimum_norm(at: Decomposition, cutoff: float = 0.0) -> Floats:
    """Return g = 1/S [D, n], and 0 of singular values up to ``cutoff`` times the largest."""
    s = at.singular_values
    inside = (np.arange(s.shape[-1]) < at.rank) & (s > cutoff * s[:, :1])
    return np.where(inside, 1 / np.where(inside, s, 1.0), 0.0)


def ridge(at: Decomposition, penalty: ArrayLike) -> Floats:
    """Return g = S/(S² + λ) [..., D, n] at penalties λ > 0 [...]."""
    s = at.singular_values
    return np.asarray(s / (s**2 + np.asarray(penalty, float)[..., None, None]))


def bias_and_variance(at: Decomposition, filters: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Compute E‖E f̂ − f‖² [..., D, target], and the variance over σ² [..., D].

    ``filters`` are g [..., D, n] and ``truth`` is Uᵀf [D, target, n].
    """
    a = filters[..., None, :] * truth
    linear = np.sum(at.projection * a, axis=-1)
    bias = 1 - 2 * linear + np.sum((a @ at.gram) * a, axis=-1)
    diagonal = np.diagonal(at.gram, axis1=-2, axis2=-1)
    return bias, np.sum(filters**2 * diagonal, axis=-1)


def errors(at: Decomposition, filters: Floats, truth: Floats, noises: ArrayLike) -> Floats:
    """Compute the expected test error E‖f̂ − f‖² [..., D, target, noise]."""
    bias, variance = bias_and_variance(at, filters, truth)
    return np.asarray(bias[..., None] + variance[..., None, None] * np.asarray(noises, float) ** 2)


def best_ridge(at: Decomposition, truth: Floats, noises: ArrayLike, penalties: Floats) -> Floats:
    """Return the least error of ridge over the penalties, shape [D, target, noise]."""
    return np.asarray(errors(at, ridge(at, penalties), truth, noises).min(axis=0))


def bayes(
    at: Decomposition, truth: Floats, noises: ArrayLike, prior_scale: float, beta: float = 1.0
) -> Floats:
    """Compute the error of the posterior mean at β, with the noise known [D, target, noise]."""
    parts = [
        errors(at, ridge(at, noise**2 / (beta * prior_scale**2)), truth, [noise])
        for noise in np.asarray(noises, float)
    ]
    return np.concatenate(parts, axis=-1)


def counted_directions(at: Decomposition, noise: float, prior_scale: float, beta: float) -> Floats:
    """Compute ½ Σ κ/(1 + κ) with κ = βτ²S²/σ² [D], half the directions that data determine.

    It is β(E_β[nL_n] − min nL_n) but for the pull of the prior, tends to min(p, n)/2 as β → ∞ and
    to p/2 = λ as n → ∞.
    """
    kappa = beta * (prior_scale * at.singular_values / noise) ** 2
    return np.asarray(0.5 * np.sum(kappa / (1 + kappa), axis=-1))


def free_energy(at: Decomposition, squares: Floats, noise: float, prior_scale: float) -> Floats:
    """Compute F_n in nats of (Uᵀy)² or its expectation [D, ..., n], shape [D, ...]."""
    variance = noise**2 + (prior_scale * at.singular_values) ** 2
    shape = (variance.shape[0], *[1] * (squares.ndim - 2), variance.shape[-1])
    normaliser = np.sum(np.log(2 * math.pi * variance), axis=-1)
    return np.asarray(
        0.5 * normaliser.reshape(shape[:-1])
        + 0.5 * np.sum(squares / variance.reshape(shape), axis=-1)
    )
