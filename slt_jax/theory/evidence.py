"""The evidence E exp(−nK) by quadrature, for n far beyond any data set."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.scaling import Floats, Scaling
from slt_jax.validation import real_array


def log_evidence(
    excess: Callable[[Floats], Floats], dim: int, log_n: ArrayLike, *, step: float = 0.25
) -> Scaling:
    """Integrate log E exp(−nK) for w standard normal in 1 to 3 dimensions; the values are exact.

    The trapezoidal rule in log|w_j| lets nodes condense towards the coordinate planes, in each
    orthant. It converges exponentially if K is analytic in the log|w_j|, which it is when the set
    {K = 0} lies in coordinate planes; log n is limited by the least |w_j|, e^{−60}. A set that runs
    elsewhere is missed, so the rule with every second node is compared with the whole: where it
    converges, the error is about the square of the difference.

    ``excess`` is K, which maps [N, d] to [N]; ``log_n`` [I]; ``step`` is that of log|w_j|. Returns
    log Z of shape [1, I] in total nats. Raises ValueError for a ``dim`` that is not 1, 2 or 3, for
    NaN, and where log Z differs by more than 0.01 between twice the step and the step.

    Source: Trefethen and Weideman, The exponentially convergent trapezoidal rule, SIAM Review 56
    (2014) 385-458.
    """
    d = checked_integer("dim", dim, 1)
    if d > 3:
        raise ValueError(f"dim={d}; allowed: 1 to 3, above which volume_scaling samples")
    levels = real_array("log_n", log_n)
    index = np.arange(np.floor(-60 / step), np.ceil(2.5 / step))
    nodes = np.stack(np.meshgrid(*[index] * d, indexing="ij"), axis=-1).reshape(-1, d)
    log_w = step * nodes
    log_density = (log_w - np.exp(2 * log_w) / 2).sum(axis=1)
    coarse = np.flatnonzero(np.all(nodes % 2 == 0, axis=1))
    sums: list[Floats] = []
    kept: Floats | None = None
    for bits in np.ndindex(*[2] * d):
        k = excess((1 - 2 * np.array(bits)) * np.exp(log_w))
        if np.isnan(k).any():
            raise ValueError("excess returned nan; allowed: numbers ≥ 0 and inf")
        # Most K are even in some w_j, and three dimensions have 8 orthants.
        if kept is None or not np.array_equal(k, kept):
            kept = k
            sums.append(np.array([_log_sums(log_density - np.exp(x) * k, coarse) for x in levels]))
        else:
            sums.append(sums[-1])
    fine_sum, coarse_sum = logsumexp(sums, axis=0).T
    change = np.abs(fine_sum - coarse_sum - d * np.log(2)).max()
    if not change <= 0.01:
        raise ValueError(
            f"step={step}: twice the step changes log Z by {change:.1e}; allowed: 0.01"
        )
    normalisation = d * (np.log(step) - np.log(2 * np.pi) / 2)
    return Scaling(levels, fine_sum[None, :] + normalisation)


def _log_sums(terms: Floats, subset: NDArray[np.intp]) -> tuple[float, float]:
    """Return log Σ exp(terms) over all and over a subset; −∞ where all underflow."""
    largest = terms.max()
    weights = np.exp(terms - largest)
    with np.errstate(divide="ignore"):
        parts = largest + np.log([weights.sum(), weights[subset].sum()])
    return float(parts[0]), float(parts[1])
