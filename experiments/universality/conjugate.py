"""λ(n) in closed form: linear blocks, and coefficients that are products or powers.

Every class learns y = f* + noise on a fixed design with n weight_j data at each input x_j. With
K the loss above that of f*, ξ the noise's Gaussian process and n free to be any number,

    λ(n) = dE[F_n − nL_n(f*)]/d log n = E_noise E_w[nK(w) − ½√n ξ(w)],

which is also ½n E‖f̄ − f*‖² for the posterior mean f̄ and noise 1 (Guo, Shamai & Verdú, Mutual
information and minimum mean-square error in Gaussian channels, 2005): bias² plus variance.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from slt_jax.oracles.evaluation import Exact

from .pool import FACTORS, TOP_DEGREE, Design, Floats, legendre

HERMITE_NODES = 32
# Spacing of log|c| and of its halves, in units of the posterior's width where c is of order 1.
FINEST, COARSEST = 0.2, 0.02
# A coefficient so much smaller than its resolution 1/√n is zero to the likelihood.
NEGLIGIBLE = 1e-7
FARTHEST = 13.0


class Block(NamedTuple):
    """Log evidence and λ(n) of one noise, [T, noise] each, with all weights integrated out."""

    log_evidence: Floats
    coefficient: Floats


def linear_block(
    features: Floats, values: Floats, noise: Floats, design: Design, n: float, scale: float
) -> Block:
    """Integrate out the N(0, scale²) weights of features [J, k] for targets [T, J].

    ``noise`` [noise, J] is standard normal. With Φ and f* in units of 1/√(n·weight), y = f* + z,
    A = I + ΦᵀΦ and m = A⁻¹Φᵀy, log Z = −½ log|A| − ½|y|² + ½mᵀΦᵀy and

        E_w[nK − ½√n ξ] = ½(k − tr A⁻¹ − |m|² − mᵀΦᵀf* + f*ᵀy).
    """
    root = np.sqrt(n * design.weight)
    phi = scale * root[:, None] * features
    matrix = np.eye(phi.shape[1]) + phi.T @ phi
    targets = values * root
    y = targets[:, None] + noise
    score, own = y @ phi, targets @ phi
    mean = np.linalg.solve(matrix, np.moveaxis(score, -1, 0).reshape(len(matrix), -1))
    mean = np.moveaxis(mean.reshape(len(matrix), *score.shape[:2]), 0, -1)
    evidence = -0.5 * np.linalg.slogdet(matrix)[1] + 0.5 * (
        np.sum(mean * score, axis=-1) - np.sum(y**2, axis=-1)
    )
    known = len(matrix) - np.trace(np.linalg.inv(matrix))
    coefficient = 0.5 * (
        known
        - np.sum(mean * (mean + own[:, None]), axis=-1)
        + np.sum(targets[:, None] * y, axis=-1)
    )
    return Block(evidence, coefficient)


def fixed_features(
    features: Floats, values: Floats, design: Design, n: float, scale: float
) -> Floats:
    """Compute λ(n) [T] of features of a given number, relative to f*, in closed form.

    ½Σ_i [(nμ_i)² + n g_i²]/(1 + nμ_i)² over the eigenvectors of the prior's covariance of f at the
    inputs, with eigenvalues μ_i and the components g_i of f*; those of μ_i = 0 are what no member
    of the class fits.
    """
    root = np.sqrt(design.weight)
    vectors, singular, _ = np.linalg.svd(scale * root[:, None] * features, full_matrices=True)
    eigenvalues = np.zeros(len(root))
    eigenvalues[: len(singular)] = singular**2
    components = (values * root) @ vectors
    variance = (n * eigenvalues) ** 2
    return np.asarray(
        0.5 * np.sum((variance + n * components**2) / (1 + n * eigenvalues) ** 2, axis=-1)
    )


def unknown_number(
    features: Floats,
    numbers: tuple[int, ...],
    values: Floats,
    noise: Floats,
    design: Design,
    n: float,
    scale: float,
) -> Floats:
    """Compute λ(n) [T, noise], relative to f*, of features whose number is a parameter too.

    The first ``numbers`` of features are equally likely a priori; λ is half of the least number
    with which the target can be written.
    """
    blocks = [linear_block(features[:, :k], values, noise, design, n, scale) for k in numbers]
    evidence = np.stack([block.log_evidence for block in blocks])
    share = np.exp(evidence - logsumexp(evidence, axis=0))
    return np.asarray(np.sum(share * np.stack([b.coefficient for b in blocks]), axis=0))


def best_error(features: Floats, values: Floats, design: Design) -> Floats:
    """Return the root mean square [T] of what no weights of the features fit."""
    root = np.sqrt(design.weight)
    basis, _ = np.linalg.qr(root[:, None] * features)
    weighted = values * root
    rest = weighted - (weighted @ basis) @ basis.T
    return np.asarray(np.linalg.norm(rest, axis=-1))


class Coefficients(NamedTuple):
    """The law of coefficients: products of independent factors, or powers of one parameter each.

    ``exponents`` p of degrees 0 … 4; c = θ₁⋯θ_p, or sgn(θ)|θ|^p where they are ``tied``.
    """

    exponents: tuple[int, ...]
    tied: bool

    def log_masses(self, index: int, scale: float, spacing: float) -> tuple[Floats, Floats]:
        """Return log|c| on a grid, and the log prior masses of these values of either sign."""
        p = self.exponents[index]
        if self.tied:
            logs = np.arange(-36.0 * p, p * np.log(9 * scale) + 1.0, spacing)
            return logs, _log_normal_density(logs / p, scale) + np.log(spacing / (2 * p))
        step = np.arange(-45.0, np.log(9 * scale), spacing)
        one = np.exp(_log_normal_density(step, scale)) * spacing
        masses, start = one, step[0]
        for _ in range(p - 1):
            masses, start = np.convolve(masses, one), start + step[0]
        logs = start + spacing * np.arange(len(masses))
        with np.errstate(divide="ignore"):
            return logs, np.log(masses / 2)


def _log_normal_density(t: Floats, scale: float) -> Floats:
    """Evaluate the log density of t = log|θ| for θ ~ N(0, scale²)."""
    return np.asarray(0.5 * np.log(2 / np.pi) - 0.5 * np.exp(2 * t) / scale**2 + t - np.log(scale))


def factorised(law: Coefficients, values: Floats, design: Design, n: float, scale: float) -> Exact:
    """Compute λ(n) [T] of a polynomial in Legendre polynomials, relative to its own best fit.

    They are orthonormal on the design, so that K and the noise fall into one term for each
    coefficient; the expectation over noise is a Gauss–Hermite sum. The error is what half the
    spacing changes, three times.
    """
    best = values @ (design.weight[:, None] * legendre(design.x, TOP_DEGREE))
    largest = max(1.0, float(np.max(np.abs(best))))
    spacing = min(COARSEST, FINEST / (np.sqrt(n) * largest))
    coarse, fine = (_factorised(law, best, n, scale, h) for h in (spacing, spacing / 2))
    return Exact(fine, 3 * np.abs(fine - coarse) + 1e-12)


def _factorised(law: Coefficients, best: Floats, n: float, scale: float, spacing: float) -> Floats:
    total = np.zeros(len(best))
    for index in range(len(law.exponents)):
        masses = law.log_masses(index, scale, spacing)
        # Targets share coefficients that vanish.
        different, place = np.unique(np.round(best[:, index], 13), return_inverse=True)
        total += np.array([_one_coefficient(*masses, c, n) for c in different])[place]
    return total


def _one_coefficient(logs: Floats, log_masses: Floats, true: float, n: float) -> float:
    """Compute E_z E_c[½n(c − c₀)² − ½√n z(c − c₀)] of one coefficient, c₀ = ``true``."""
    small = logs < np.log(NEGLIGIBLE / np.sqrt(n))
    near = ~small & (logs < np.log(abs(true) + FARTHEST / np.sqrt(n)))
    size, of_size = np.exp(logs[near]), log_masses[near]
    at_zero = np.log(2) + logsumexp(log_masses[small])
    c = np.concatenate([-size, [0.0], size]) - true
    prior = np.concatenate([of_size, [at_zero], of_size])
    z, weight = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
    distance = np.sqrt(n) * c[:, None]
    posterior = prior[:, None] - 0.5 * distance**2 + distance * z
    posterior = np.exp(posterior - posterior.max(axis=0))
    mean = np.sum(posterior * (0.5 * distance**2 - 0.5 * distance * z), axis=0)
    return float((mean / posterior.sum(axis=0)) @ weight / weight.sum())


PRODUCTS = Coefficients(FACTORS, tied=False)
POWERS = Coefficients(FACTORS, tied=True)
REVERSED_POWERS = Coefficients(FACTORS[::-1], tied=True)
