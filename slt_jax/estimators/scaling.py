"""The learning coefficient from the volume of almost optimal parameters."""

import numpy as np
from numpy.typing import ArrayLike

from slt_jax.estimators.estimate import Basis, ErrorSources, Estimate
from slt_jax.validation import Count, check, real_array

MIN_COUNT = 10


def volume_coefficient(losses: ArrayLike, epsilon: ArrayLike, multiplicity: int = 1) -> Estimate:
    """Estimate λ from the growth of V(ε) = φ(K < ε) ~ c ε^λ (log 1/ε)^{m−1} between ε.

        λ̂_k = [log V_k/V_{k+1} − (m − 1) log(log ε_k/log ε_{k+1})]/log(ε_k/ε_{k+1})

    ``losses`` [S] are K(w) ≥ 0 of independent draws from the prior, ``epsilon`` [E] decreases;
    the estimates have shape [E − 1] and independent errors, those of the binomial share of the
    draws below ε_k that are below ε_{k+1}. V has the power only as ε → 0: look at the trend. Raises
    ValueError for K that is NaN or negative, ε that do not decrease or (m > 1) are not below 1, and
    fewer than 10 draws inside the smallest ε or between two.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009).

    >>> losses = np.random.default_rng(0).uniform(size=10**5) ** 2
    >>> bool(abs(volume_coefficient(losses, [0.1, 0.001]).value[0] - 0.5) < 0.05)
    True
    """
    check("multiplicity", multiplicity, Count)
    losses, epsilon = real_array("losses", losses).ravel(), real_array("epsilon", epsilon)
    if not np.all(losses >= 0):
        raise ValueError(f"{np.sum(~(losses >= 0))} losses are NaN or negative; allowed is K ≥ 0")
    largest = 1.0 if multiplicity > 1 else np.inf
    if epsilon.ndim != 1 or epsilon.size < 2 or not np.all(np.diff(epsilon) < 0):
        raise ValueError(f"epsilon = {epsilon.tolist()}: at least 2 that decrease are needed")
    if not (epsilon[-1] > 0 and epsilon[0] < largest):
        raise ValueError(f"epsilon = {epsilon.tolist()}: must lie between 0 and {largest:g}")
    counts = np.searchsorted(np.sort(losses), epsilon)
    inside, outside = counts[1:], counts[:-1] - counts[1:]
    if min(inside.min(), outside.min()) < MIN_COUNT:
        raise ValueError(
            f"{counts.tolist()} of {losses.size} draws lie below epsilon = {epsilon.tolist()}; "
            f"allowed is at least {MIN_COUNT} below the smallest and between two"
        )
    width = -np.diff(np.log(epsilon))
    growth = np.log(counts[:-1] / inside)
    if multiplicity > 1:
        logs = np.log(np.log(1 / epsilon))
        growth += (multiplicity - 1) * np.diff(logs)
    error = np.sqrt(outside / (inside * counts[:-1])) / width
    sources = ErrorSources(within_chains=error)
    freedom = np.asarray(inside - 1, float)
    return Estimate(growth / width, error, freedom, sources, Basis(reference="w0"))
