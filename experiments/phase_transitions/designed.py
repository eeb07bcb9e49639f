"""The designed model: an accurate regular phase and a coarse singular one, in closed form.

y ~ N(0, I) in R^d. The model is N(μ, I), with prior mass ½ each in two phases. In the accurate
one μ = a, uniform in [−1, 1]^d, so that L = L(w₀), λ = d/2, m = 1. In the coarse one
μ = (w₁w₂, δ, 0, …), w uniform in [−1, 1]², so that L = L(w₀) + δ²/2, λ = 1/2, m = 2.
"""

import math

import numpy as np
from scipy.special import digamma, erf, gammaln, log_ndtr, ndtr

COARSE_COEFFICIENT, COARSE_MULTIPLICITY = 0.5, 2
# Terms of a Poisson mixture with mean t²/2, which is below 40 for |t| < 9.
TERMS = 160


def log_evidence_of_accurate(n: np.ndarray, dimension: int) -> np.ndarray:
    """Return log ∫ φ exp(−nK) of the population's accurate phase."""
    return np.asarray(dimension * np.log(np.sqrt(np.pi / (2 * n)) * erf(np.sqrt(n / 2))))


def log_evidence_of_coarse(n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log ∫ φ exp(−n(w₁w₂)²/2) over [−1, 1]², and a bound on its error.

    √(π/8n) (log n + γ + log 2), up to what lies beyond |w₁w₂| = 1, at most exp(−n/2)/n².
    """
    value = np.sqrt(np.pi / (8 * n)) * (np.log(n) + np.euler_gamma + math.log(2))
    return np.log(value), np.exp(-n / 2) / n**2 / value


def expected_log(t: np.ndarray) -> np.ndarray:
    """Return E log|t + N(0, 1)|: a Poisson mixture of digamma functions.

    (t + N)² is noncentral χ², a mixture of χ² with 1 + 2j degrees of freedom, j ~ Poisson(t²/2).
    """
    half = np.square(np.asarray(t, float)) / 2
    total = np.zeros_like(half)
    safe = np.maximum(half, 1e-300)
    for j in range(TERMS):
        total += np.exp(j * np.log(safe) - safe - gammaln(j + 1)) * digamma(j + 0.5)
    return (total + math.log(2)) / 2


def advantage_of_data(n: np.ndarray, t: np.ndarray, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Return log Z of the accurate phase minus that of the coarse one, and a bound on its error.

    ``t`` [..., n, d] are √n times the means of the first n data; ``offset`` is ΔL = δ²/2. The
    coarse integral over x = √n w₁w₂ has density (½ log n − log|x|)/(2√n) up to |x| = √n; the
    bound is of what the closed form takes from beyond.
    """
    root = np.sqrt(n)
    inside = np.log(ndtr(root[:, None] - t) - ndtr(-root[:, None] - t))
    constant = np.log(np.sqrt(2 * np.pi) / (2 * root))
    accurate = np.sum(constant[:, None] + t**2 / 2 + inside, axis=-1)
    first = t[..., 0]
    brackets = np.maximum(np.log(n) / 2 - expected_log(first), 1e-300)
    shift = math.sqrt(2 * offset)
    coarse = constant + first**2 / 2 + np.log(brackets) - n * offset + root * shift * t[..., 1]
    # log(x/√n) ≤ x/√n − 1 beyond the box, on either side.
    beyond = sum(
        np.exp(-((root - s) ** 2) / 2) / np.sqrt(2 * np.pi) - (root - s) * np.exp(
            log_ndtr(-(root - s))
        )
        for s in (first, -first)
    )  # fmt: skip
    return accurate - coarse, np.asarray(beyond) / root / brackets


def nested_means(rng: np.random.Generator, n: np.ndarray, count: int, dimension: int) -> np.ndarray:
    """Draw √n times the means of the first n data of ``count`` data sets, [count, n, d]."""
    steps = np.diff(n, prepend=0.0)
    noise = rng.standard_normal((count, len(n), dimension)) * np.sqrt(steps)[:, None]
    return np.asarray(noise.cumsum(axis=1) / np.sqrt(n)[:, None])


def gaps(dimension: int) -> tuple[float, float, float, float]:
    """Return Δλ, Δm, Δc of the population's evidences, and what data add to Δc on average.

    Accurate: c = (d/2) log(π/2) of log Z; coarse: ½ log(π/8). On average over data sets each
    regular direction that a phase fits gains ½ nat.
    """
    coefficient = dimension / 2 - COARSE_COEFFICIENT
    constant = dimension / 2 * math.log(math.pi / 2) - math.log(math.pi / 8) / 2
    return coefficient, COARSE_MULTIPLICITY - 1.0, constant, (dimension - 1) / 2
