"""A rule for powers of normal parameters that are coefficients themselves, laid out by the data.

Given sufficient statistics the likelihood of the coefficients c is Gaussian, and their prior, of
c_j = θ_j^{p_j}, is smooth in θ. So the coefficients are taken one after the other, each on equal
steps of θ_j over the part of its axis that the Gaussian conditional on those before it reaches.
The trapezoid rule is spectrally accurate on each, at zero as well as far from it.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from slt_jax.model import Collapse, PowersLatent
from slt_jax.oracles.latents import LatentRule, Resolution

PRIOR_REACH = 8.5
STEPS = 6.8
REACH = 0.85
BULK = 1.5


class LatentGaussian(NamedTuple):
    """−½ cᵀΛc + bᵀc: the log-likelihood of the latent coefficients, a Gaussian block integrated
    out; ``precision`` [l, l] = Λ and ``linear`` [l] = b, at β."""

    precision: np.ndarray
    linear: np.ndarray


def latent_gaussian(
    collapse: Collapse, noise: float, summary: Any, beta: float, count: int
) -> LatentGaussian:
    """The Gaussian of ``count`` latents that enter c(w) linearly, with a basis that is constant."""
    assert collapse.offset is not None
    zero = jnp.zeros(count)
    basis = collapse.scale * np.asarray(collapse.basis(zero), float)
    columns = [np.asarray(collapse.offset(unit), float)[:, 0] for unit in jnp.eye(count)]
    places = np.column_stack(columns)
    gram = beta / noise**2 * np.asarray(summary.gram)
    score = beta / noise**2 * np.asarray(summary.cross)[:, 0] + gram @ summary.origin[:, 0]
    inner = np.eye(basis.shape[1]) + basis.T @ gram @ basis
    gain = np.linalg.solve(inner, basis.T @ gram)
    precision = places.T @ (gram - gram @ basis @ gain) @ places
    linear = places.T @ (score - gain.T @ (basis.T @ score))
    return LatentGaussian((precision + precision.T) / 2, linear)


def powers_rule(
    latent: PowersLatent, likelihood: LatentGaussian, resolution: Resolution
) -> LatentRule:
    """Nodes c [N, l] and log-weights of the prior where the likelihood is not negligible.

    A step is a fraction of the narrowest width of the conditional of a coefficient given all the
    others, and its reach that given those before it, each of them set by the resolution's order.
    """
    powers, spread = latent.exponents, STEPS / resolution.order
    reach, farthest = REACH * resolution.order, PRIOR_REACH * latent.scale
    # So wide that it matters where the data determine nothing, and the prior's reach does.
    ridge = np.diag([farthest ** (-2 * p) for p in powers])
    covariance = np.linalg.inv(likelihood.precision + ridge)
    centre, factor = covariance @ likelihood.linear, np.linalg.cholesky(covariance)
    alone = 1 / np.sqrt(np.diag(likelihood.precision + ridge))
    scores, nodes, logs = np.zeros((1, 0)), np.zeros((1, 0)), np.zeros(1)
    for j, power in enumerate(powers):
        mean, width = centre[j] + scores @ factor[j, :j], factor[j, j]
        low, high = _interval(power, mean, width, reach)
        low, high = (np.clip(_root(c, power), -farthest, farthest) for c in (low, high))
        bulk = np.minimum(np.abs(mean) + BULK * width, farthest**power)
        step = spread * np.minimum(alone[j] / (power * bulk ** (1 - 1 / power)), latent.scale)
        counts = np.ceil((high - low) / step).astype(int)
        before = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        size = ((high - low) / np.maximum(counts, 1))[before]
        theta = low[before] + (place + 0.5) * size
        coefficient = theta**power
        score = (coefficient - mean[before]) / width
        scores = np.column_stack([scores[before], score])
        squares = np.sum(scores**2, axis=1)
        keep = squares <= np.min(squares) + reach**2
        sides = 1 if power % 2 else 2
        prior = -0.5 * (theta / latent.scale) ** 2 + np.log(
            sides * size / (latent.scale * np.sqrt(2 * np.pi))
        )
        scores, logs = scores[keep], (logs[before] + prior)[keep]
        nodes = np.column_stack([nodes[before], coefficient])[keep]
    return LatentRule(nodes, logs)


def _interval(
    power: int, mean: np.ndarray, width: float, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where a power has a Gaussian density within e^{−reach²/2} of its largest."""
    far = reach * width
    if power % 2:
        return mean - far, mean + far
    behind = np.minimum(mean, 0.0)
    return np.maximum(mean - far, 0.0), np.maximum(mean, 0.0) + behind + np.hypot(behind, far)


def _root(value: np.ndarray, power: int) -> np.ndarray:
    return np.sign(value) * np.abs(value) ** (1 / power)
