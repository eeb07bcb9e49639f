"""Tests of whether two samples have one law: the energy distance, and what a classifier can tell.

A sample is an array [draw, point], such as the values of functions at fixed inputs: what is
compared are laws on functions. Draws must be independent: neighbours in a chain are alike, and
p-values would be too small.
"""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from slt_jax.estimators.estimate import Floats, mean_over_seeds
from slt_jax.validation import AtLeast, Size, check, real_array, refuse_first

Permutations = Annotated[int, AtLeast(19)]
LABELLINGS_AT_ONCE = 256
# The ridge of the linear classifier, in units of the mean variance of a feature.
RELATIVE_RIDGE = 1e-3


class TwoSampleTest(NamedTuple):
    """A statistic that grows with the difference of two laws, and its law where there is none.

    ``p_value`` is the share of the observed and all permuted labellings whose statistic is at least
    as large: at most uniform for samples of one law, whatever it is. ``null_mean`` and
    ``null_standard_deviation`` are those of the permuted statistics, and ``standard_error`` is of
    ``value`` over new samples.
    """

    value: float
    standard_error: float
    p_value: float
    null_mean: float
    null_standard_deviation: float


def energy_distance(
    x: ArrayLike, y: ArrayLike, *, permutations: int = 999, seed: int = 0
) -> TwoSampleTest:
    """Estimate 2E|X − Y| − E|X − X'| − E|Y − Y'| of samples x [m, point] and y [n, point].

    It is 0 for equal laws and positive for all others. |·| is the root of the mean square over
    points, so that the value has the units of the draws. The value is the unbiased U-statistic,
    which is negative for half of all pairs of samples of one law: two halves of a sample are the
    floor. The standard error is the jackknife's, right where the laws differ; where they do not,
    the statistic is degenerate and ``null_standard_deviation`` is its error. Costs (m + n)²
    distances, and as many products for a permutation. Raises ValueError for samples of other shapes
    or fewer than 2 draws.

    Source: Székely & Rizzo, Energy statistics: a class of statistics based on distances, Journal of
    Statistical Planning and Inference 143 (2013).

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 100, 3))
    >>> energy_distance(x, y).p_value > 0.01, energy_distance(x, y + 1).p_value
    (True, 0.001)
    """
    x, y, both = _samples(x, y, permutations, seed)
    distances = _distances(both)
    m, n = len(x), len(y)
    rows, total = distances.sum(axis=1), distances.sum()

    def statistic(is_x: Floats) -> Floats:
        # Sums within x, between, and within y, of labellings [P, m + n].
        within = np.sum((is_x @ distances) * is_x, axis=1)
        touched = is_x @ rows
        beyond = total - 2 * touched + within
        return 2 * (touched - within) / (m * n) - within / (m * (m - 1)) - beyond / (n * (n - 1))

    result = _permuted(statistic, np.repeat([1.0, 0.0], [m, n]), permutations, seed)
    return result._replace(standard_error=_jackknife_error(distances, m, n))


def classifier_two_sample(
    x: ArrayLike,
    y: ArrayLike,
    *,
    classifier: Literal["neighbours", "linear"] = "neighbours",
    neighbours: int = 5,
    permutations: int = 999,
    seed: int = 0,
) -> TwoSampleTest:
    """Estimate how well a classifier tells draws of x [m, point] from those of y [n, point].

    The value is the balanced accuracy, the mean of the shares of both samples that are told right
    when each draw is left out in turn: ½ for equal laws. "neighbours" takes the side of the
    majority of the nearest ``neighbours`` draws, in which each sample weighs alike, and sees any
    difference; "linear" fits the labels by least squares with a small ridge, on the draws and their
    squares, and sees means and variances, which in many dimensions it does with fewer draws. Both
    are linear in the labels, so that permuting them refits nothing. The standard error is the
    binomial one. Raises ValueError as ``energy_distance``, and for ``neighbours`` that are not
    fewer than the draws.

    Source: Lopez-Paz & Oquab, Revisiting classifier two-sample tests, ICLR 2017; Schilling, JASA 81
    (1986), of nearest neighbours.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 100, 3))
    >>> test = classifier_two_sample(x, y + 2)
    >>> test.value > 0.9, test.p_value
    (True, 0.001)
    """
    x, y, both = _samples(x, y, permutations, seed)
    check("classifier", classifier, Literal["neighbours", "linear"])
    check("neighbours", neighbours, Annotated[int, AtLeast(1)])
    if neighbours >= len(both):
        raise ValueError(f"neighbours = {neighbours}: must be < {len(both)}, the number of draws")
    m, n = len(x), len(y)
    # Of draws that are equal, the order decides which are the nearest: it must not know the labels.
    order = np.random.default_rng([seed, 1]).permutation(m + n)
    both, observed = both[order], np.repeat([1.0, 0.0], [m, n])[order]
    smoother = _nearest(both, neighbours) if classifier == "neighbours" else _least_squares(both)

    def statistic(is_x: Floats) -> Floats:
        # Each sample weighs one half, whatever its size.
        labels = is_x / m - (1 - is_x) / n
        votes = labels @ smoother.T
        right = np.where(votes == 0, 0.5, np.sign(votes) == np.sign(labels))
        return np.sum(right * np.abs(labels), axis=1) / 2

    result = _permuted(statistic, observed, permutations, seed)
    spread = max(result.value * (1 - result.value), 1 / (m + n))
    error = np.sqrt(spread * (1 / m + 1 / n)) / 2
    return result._replace(standard_error=float(error))


def _samples(
    x: ArrayLike, y: ArrayLike, permutations: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Two samples and both together, checked."""
    check("permutations", permutations, Permutations)
    check("seed", seed, Size)
    samples = {}
    for name, values in (("x", x), ("y", y)):
        array = real_array(name, values)
        if array.ndim != 2 or len(array) < 2:
            raise ValueError(f"{name} has shape {array.shape}; allowed is [draw, point], 2 or more")
        refuse_first(name, array, np.isfinite(array), "draws must be finite")
        samples[name] = array
    if samples["x"].shape[1] != samples["y"].shape[1]:
        raise ValueError(
            f"x has {samples['x'].shape[1]} points and y has {samples['y'].shape[1]}; they must be "
            "the same"
        )
    return samples["x"], samples["y"], np.concatenate(list(samples.values()))


def _permuted(
    statistic: Callable[[Floats], Floats], observed: Floats, permutations: int, seed: int
) -> TwoSampleTest:
    """Compare a statistic of labellings [P, m + n], 1 for x, with those of random ones."""
    rng = np.random.default_rng(seed)
    value = float(statistic(observed[None])[0])
    null = []
    for start in range(0, permutations, LABELLINGS_AT_ONCE):
        count = min(LABELLINGS_AT_ONCE, permutations - start)
        null.append(statistic(rng.permuted(np.tile(observed, (count, 1)), axis=1)))
    values = np.concatenate(null)
    # Labellings that are the same split may differ by rounding.
    rounding = 1e-12 * max(abs(value), float(np.abs(values).max()))
    as_large = 1 + np.sum(values >= value - rounding)
    return TwoSampleTest(
        value=value,
        standard_error=np.nan,
        p_value=float(as_large / (permutations + 1)),
        null_mean=float(values.mean()),
        null_standard_deviation=float(values.std(ddof=1)),
    )


def _distances(draws: Floats) -> Floats:
    """Root mean square differences over points between all draws [N, point], shape [N, N]."""
    centred = draws - draws.mean(axis=0)
    squares = np.sum(centred**2, axis=1)
    products = squares[:, None] + squares - 2 * centred @ centred.T
    np.fill_diagonal(products, 0.0)
    return np.sqrt(np.maximum(products, 0.0) / max(draws.shape[1], 1))


def _jackknife_error(distances: Floats, m: int, n: int) -> float:
    """Error of the energy distance from the influence of each draw, of x and of y apart."""
    within_x, within_y = distances[:m, :m].sum(axis=1), distances[m:, m:].sum(axis=1)
    from_x, from_y = distances[:m, m:].mean(axis=1), distances[:m, m:].mean(axis=0)
    of_x = 2 * (from_x - within_x / (m - 1))
    of_y = 2 * (from_y - within_y / (n - 1))
    error = mean_over_seeds(of_x).plus(mean_over_seeds(of_y)).standard_error
    return float(error)


def _nearest(draws: Floats, neighbours: int) -> Floats:
    """Matrix [N, N] of 1 where the second draw is among the neighbours of the first."""
    distances = _distances(draws)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, neighbours - 1, axis=1)[:, :neighbours]
    adjacency = np.zeros_like(distances)
    np.put_along_axis(adjacency, nearest, 1.0, axis=1)
    return adjacency


def _least_squares(draws: Floats) -> Floats:
    """Matrix [N, N] from labels to the ridge regression of each without its own.

    (ŷ_i − H_ii y_i)/(1 − H_ii) with the hat matrix H of the features, which are the draws in units
    of their deviation and the squares of these. Both are centred, as the labels are, and have no
    intercept: without a draw that would be on the other side of it.
    """
    centred = draws - draws.mean(axis=0)
    spread = centred.std(axis=0)
    scaled = centred / np.where(spread > 0, spread, 1.0)
    features = np.concatenate([scaled, scaled**2 - np.mean(scaled**2, axis=0)], axis=1)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    squares = singular**2
    ridge = RELATIVE_RIDGE * max(squares.sum() / max(features.shape[1], 1), np.finfo(float).tiny)
    hat = (left * (squares / (squares + ridge))) @ left.T
    own = np.diag(hat).copy()
    np.fill_diagonal(hat, 0.0)
    return hat / np.maximum(1 - own, np.finfo(float).eps)[:, None]
