"""The best of several runs, as practice reports it, from all runs that there are."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from slt_jax.estimators.estimate import Floats
from slt_jax.validation import Count, check, real_array


def best_of(scores: ArrayLike, size: int, values: ArrayLike | None = None) -> Floats:
    """Return the mean of ``values`` [..., S] of the run with the least score among ``size`` runs.

    The mean is over all subsets of ``size`` of the S runs, with scores [..., S]: that of rank r is
    the best of C(S − r, size − 1) of the C(S, size) subsets, and runs of equal scores share theirs.
    With ``values`` that are the scores, the default, it is the score that would be reported, and
    with those of an independent test what that is worth; for ``size`` = 1 both are plain means. A
    run whose score is NaN, as of one that diverged, is worse than all others. Over the last axis;
    runs of a data set share it, so that the error is that of ``mean_over_data_sets``. Raises
    ValueError for other shapes, and a size that is not from 1 to S.

    Source: Dodge, Gururangan, Card, Schwartz & Smith, Show your work: improved reporting of
    experimental results, EMNLP 2019, for subsets with replacement.

    >>> best_of([3.0, 1.0, 2.0], 2)  # 1, 1 and 2 of the three pairs
    array(1.33333333)
    """
    from scipy.stats import rankdata  # slow to import

    scores = real_array("scores", scores)
    values = scores if values is None else real_array("values", values)
    check("size", size, Count)
    if scores.ndim == 0 or scores.shape != values.shape:
        raise ValueError(
            f"scores have shape {scores.shape} and values {values.shape}; allowed is [..., run] "
            "of both"
        )
    count = scores.shape[-1]
    if size > count:
        raise ValueError(f"size = {size}: must be ≤ {count}, the number of runs")
    ordered = np.where(np.isnan(scores), np.inf, scores)
    better, up_to = (
        rankdata(ordered, method, axis=-1) - less for method, less in (("min", 1), ("max", 0))
    )
    share = (_none_of(better, count, size) - _none_of(up_to, count, size)) / (up_to - better)
    return np.asarray(np.sum(share * np.where(share > 0, values, 0.0), axis=-1))


def _none_of(taken: Floats, count: int, size: int) -> Floats:
    """Probability C(count − taken, size)/C(count, size) that a subset has none of so many runs."""
    left = np.maximum(count - taken, size)
    logarithm = (
        gammaln(left + 1) - gammaln(left - size + 1)
        - gammaln(count + 1) + gammaln(count - size + 1)
    )  # fmt: skip
    return np.where(count - taken >= size, np.exp(logarithm), 0.0)
