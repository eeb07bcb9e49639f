"""Ranks of truths that were drawn from the prior among draws of their posteriors."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from slt_jax.estimators.estimate import Floats
from slt_jax.validation import real_array

ORDERS = 4


class RankUniformity(NamedTuple):
    """The distance of the ranks of R truths from uniform.

    ``shift`` and ``spread`` are the means over truths of the first two orthonormal polynomials of
    the rank, 0 ± 1/√R for a calibrated sampler: draws that are too small have a positive shift,
    those that are too narrow a positive spread. ``p_value`` is of all four orders.
    """

    p_value: float
    shift: float
    spread: float


def rank_uniformity(draws: ArrayLike, truth: ArrayLike) -> RankUniformity:
    """Test that the ranks of ``truth`` [R] among ``draws`` [R, L] are uniform.

    It is Neyman's smooth test

        Σ_{k=1}^{4} (R^{−1/2} Σ_r h_k(rank_r))² ~ χ²_4

    for h_k the orthonormal polynomials on 0 … L. If w is drawn from the prior and data from w, w
    and L independent draws of the posterior are exchangeable, and so are their values of any
    function of parameters and data. Where draws equal the truth, h_k is averaged over the ranks
    that it might have, which makes p-values too large. A draw that is NaN counts as larger than
    the truth. Raises ValueError for other shapes, fewer than 2 draws and truths that are not
    finite.

    Source: Talts, Betancourt, Simpson, Vehtari & Gelman, arXiv:1804.06788 (2018); Neyman,
    Skandinavisk Aktuarietidskrift 20 (1937).

    >>> rng = np.random.default_rng(0)
    >>> rank_uniformity(rng.normal(size=(500, 20)), rng.normal(size=500)).p_value > 0.001
    True
    """
    draws, truth = real_array("draws", draws), real_array("truth", truth)
    if draws.ndim != 2 or truth.shape != draws.shape[:1] or draws.shape[1] < 2:
        raise ValueError(
            f"draws have shape {draws.shape} and truths {truth.shape}; allowed is "
            "[truth, draw] with at least 2 draws and [truth]"
        )
    if not np.isfinite(truth).all():
        raise ValueError(f"{np.sum(~np.isfinite(truth))} truths are not finite")
    lowest = np.sum(draws < truth[:, None], axis=1)
    highest = lowest + np.sum(draws == truth[:, None], axis=1)
    sums = np.cumsum(np.pad(_polynomials(draws.shape[1]), ((1, 0), (0, 0))), axis=0)
    over_ties = (sums[highest + 1] - sums[lowest]) / (highest + 1 - lowest)[:, None]
    means = over_ties.mean(axis=0)
    statistic = len(truth) * np.sum(means**2)
    return RankUniformity(
        p_value=float(chdtrc(len(means), statistic)),
        shift=float(means[0]),
        spread=float(means[1]),
    )


def _polynomials(largest: int) -> Floats:
    """Return h_1 … h_4 at the ranks 0 … L, orthonormal under the uniform law: [L + 1, 4]."""
    ranks = np.linspace(-1, 1, largest + 1)
    powers = np.vander(ranks, min(ORDERS, largest) + 1, increasing=True)
    basis, triangle = np.linalg.qr(powers)
    return np.asarray((basis * np.sign(np.diag(triangle)) * np.sqrt(largest + 1))[:, 1:])
