"""Leave-one-out losses by Pareto-smoothed importance sampling.

Source: Vehtari, Simpson, Gelman, Yao & Gabry, Pareto smoothed importance sampling, Journal of
Machine Learning Research 25 (2024); Zhang & Stephens, A new and efficient estimation method for
the generalized Pareto distribution, Technometrics 51 (2009).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from slt_jax.estimators.chains import delta_method
from slt_jax.estimators.diagnostics import effective_sample_size
from slt_jax.estimators.estimate import Basis, Estimate, Floats, Reference
from slt_jax.validation import NonNegative, check, checked, real_array

MAX_PARETO_SHAPE = 0.7
MIN_TAIL = 5


class LeaveOneOut(NamedTuple):
    """The leave-one-out loss per datum, and how far its weights can be relied on.

    ``pointwise`` [n] are −log E_w^{∖i}[p(z_i|w)], whose mean is ``loss``; ``pareto_shape`` [n] is
    k̂ of each datum's weights, and ``unreliable`` [n] where it exceeds 0.7 or is not a number.
    """

    loss: Estimate
    pointwise: Floats
    pareto_shape: Floats
    unreliable: NDArray[np.bool_]


class SmoothedWeights(NamedTuple):
    """Normalised log weights [S], with the shape k̂ of their tail.

    k̂ is ∞ where the tail is too short to be fitted and −∞ where all weights are equal.
    """

    log_weights: Floats
    pareto_shape: float


def smoothed_leave_one_out(
    log_ratios: ArrayLike, beta: float = 1.0, reference: Reference | None = "w0"
) -> LeaveOneOut:
    """Estimate the leave-one-out loss per datum by smoothed importance weights p_i^{−β}.

    It is −(1/n) Σ_i log E_w^{∖i}[p(z_i|w)], without datum i in the posterior. ``log_ratios``
    [chain, draw, datum] are ℓ_i(w) − ℓ_i(w₀) of posterior draws at β. Each datum's largest weights
    are replaced by quantiles of the generalised Pareto distribution that fits them. Raises
    ValueError for other shapes, fewer than 4 draws and draws that are not finite.
    """
    beta = checked("beta", beta, NonNegative)
    check("reference", reference, Reference | None)
    array = real_array("log_ratios", log_ratios)
    if array.ndim != 3 or array.shape[-1] < 1:
        raise ValueError(f"draws have shape {array.shape}; allowed is [chain, draw, datum]")
    if not np.isfinite(array).all():
        raise ValueError(f"{np.sum(~np.isfinite(array))} draws are not finite")
    chains, length, count = array.shape
    draws = array.reshape(-1, count)
    efficiency = effective_sample_size(np.exp(array - array.max(axis=(0, 1)))) / len(draws)
    pointwise, shapes, influence = np.empty(count), np.empty(count), np.zeros(len(draws))
    for i in range(count):
        weights = smoothed_weights(-beta * draws[:, i], float(efficiency[i]))
        terms = weights.log_weights + draws[:, i]
        pointwise[i], shapes[i] = -logsumexp(terms), weights.pareto_shape
        influence -= np.exp(terms + pointwise[i]) - np.exp(weights.log_weights)
    by_chain = influence.reshape(1, chains, length) * len(draws) / count
    basis = Basis(n=count, beta=beta, reference=reference)
    loss = delta_method(pointwise.mean(), by_chain, basis)
    return LeaveOneOut(loss, pointwise, shapes, ~(shapes <= MAX_PARETO_SHAPE))


def smoothed_weights(log_weights: ArrayLike, relative_efficiency: float = 1.0) -> SmoothedWeights:
    """Smooth the tail of importance weights [S], normalised to sum 1, in logarithms.

    The M = min(S/5, 3√(S/r)) largest, rounded up, with the draws' relative efficiency r = ESS/S,
    become quantiles (z − ½)/M of the fitted distribution, truncated at the largest raw weight.
    """
    raw = real_array("log_weights", log_weights)
    smooth = raw - raw.max()
    tail_size = int(np.ceil(min(len(raw) / 5, 3 * np.sqrt(len(raw) / relative_efficiency))))
    order = np.argsort(smooth, kind="stable")
    cutoff = smooth[order[-tail_size - 1]]
    tail = order[smooth[order] > cutoff]
    shape = np.inf if smooth.min() < 0 else -np.inf
    if len(tail) >= MIN_TAIL:
        shape, scale = pareto_fit(np.exp(smooth[tail]) - np.exp(cutoff))
        probabilities = (np.arange(len(tail)) + 0.5) / len(tail)
        quantiles = scale * np.expm1(-shape * np.log1p(-probabilities)) / shape
        smooth[tail] = np.minimum(np.log(quantiles + np.exp(cutoff)), 0.0)
    return SmoothedWeights(smooth - logsumexp(smooth), float(shape))


def pareto_fit(excesses: ArrayLike) -> tuple[float, float]:
    """Fit the shape k̂ and scale σ̂ of a generalised Pareto distribution to excesses.

    ``excesses`` [M] > 0 increase. The fit is Zhang and Stephens's posterior mean of θ = −k/σ under
    their empirical prior, and k̂ shrunk towards ½ as if by 10 more observations (Vehtari et al.
    2024).
    """
    x = real_array("excesses", excesses)
    size = len(x)
    grid = 30 + int(np.sqrt(size))
    quartile = x[int(size / 4 + 0.5) - 1]
    theta = 1 / x[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quartile)
    shapes = np.mean(np.log1p(-theta[:, None] * x), axis=1)
    profile = size * (np.log(-theta / shapes) - shapes - 1)
    best = float(np.sum(theta * np.exp(profile - logsumexp(profile))))
    shape = float(np.mean(np.log1p(-best * x)))
    return (size * shape + 10 * 0.5) / (size + 10), -shape / best
