"""Rank correlations of λ(n) between classes: intervals, reversals, and what a monotone map says."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import stdtr

from slt_jax.estimators import Estimate, mean_over_seeds

from .pool import Floats

# Fewer common targets say nothing about an order.
MIN_COMMON = 6
COVERAGE = (2.5, 97.5)


class Sampled(NamedTuple):
    """λ(n) of T targets in one class with all that is known of its error.

    ``value`` [T]; ``by_noise`` [T, P], the same for each of P noises that targets share, or [T, 0];
    ``other_se`` [T], the standard error that is independent between targets, with its degrees of
    freedom; and ``bound`` [T] of what is exact.
    """

    value: Floats
    by_noise: Floats
    other_se: Floats
    degrees_of_freedom: float
    bound: Floats

    @classmethod
    def exactly(cls, value: Floats, bound: Floats) -> "Sampled":
        """Return values [T] that have a bound and no other error."""
        return cls(value, np.zeros((len(value), 0)), np.zeros(len(value)), np.inf, bound)

    def kept(self, chosen: Floats) -> "Sampled":
        """Return the chosen targets."""
        return self._replace(
            value=self.value[chosen],
            by_noise=self.by_noise[chosen],
            other_se=self.other_se[chosen],
            bound=self.bound[chosen],
        )

    def resampled(self, noises: Floats, rng: np.random.Generator) -> Floats:
        """Return λ(n) [bootstrap, T] with noises [bootstrap, P] drawn again, and other errors."""
        count = len(noises)
        values = self.value + self.other_se * rng.standard_normal((count, len(self.value)))
        if self.by_noise.shape[1]:
            values += self.by_noise[:, noises].mean(axis=-1).T - self.by_noise.mean(axis=-1)
        return np.asarray(values)

    def differences(self) -> Estimate:
        """Return λ(n) of one target less that of another [T, T]."""
        square = self.other_se[:, None] ** 2 + self.other_se**2
        apart = self.value[:, None] - self.value
        other = Estimate(apart, np.sqrt(square), self.degrees_of_freedom)
        if not self.by_noise.shape[1]:
            return other
        between = mean_over_seeds(self.by_noise[:, None] - self.by_noise)
        freedom = self.by_noise.shape[1] - 1
        return other.with_part("between_data_sets", between.standard_error, freedom)


class Correlation(NamedTuple):
    """Spearman's ρ over the common targets, its 95 % interval, and their number."""

    rho: float
    low: float
    high: float
    common: int


class Reversal(NamedTuple):
    """Two targets that two classes order in opposite ways.

    ``size`` is the smaller of both differences of λ(n), ``p_value`` that of the less certain one
    over all pairs of targets (Bonferroni); NaN and −1 where there is none.
    """

    size: float
    p_value: float
    first: int
    second: int


class MonotoneMap(NamedTuple):
    """The share of the variance of λ(n) in one class that a monotone function of another explains.

    ``after`` is that of the function that fits best, and ``ahead`` of functions that are fitted
    without the target that they predict.
    """

    after: float
    ahead: float


def ranks(values: Floats) -> Floats:
    """Return the ranks of values [..., T], the mean of them where values are equal."""
    below = np.sum(values[..., None, :] < values[..., :, None], axis=-1)
    same = np.sum(values[..., None, :] == values[..., :, None], axis=-1)
    return np.asarray(below + (same - 1) / 2)


def spearman(first: Floats, second: Floats) -> Floats:
    """Return ρ [...] of values [..., T]; NaN where one of them is constant."""
    a, b = (ranks(each) for each in (first, second))
    a, b = (each - each.mean(axis=-1, keepdims=True) for each in (a, b))
    size = np.sqrt(np.sum(a**2, axis=-1) * np.sum(b**2, axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sum(a * b, axis=-1) / np.where(size > 0, size, np.nan))


def correlation(
    first: Sampled, second: Sampled, bootstraps: int, rng: np.random.Generator
) -> Correlation:
    """Compute ρ with the interval of a bootstrap over targets, noises and other errors."""
    common = len(first.value)
    if common < MIN_COMMON:
        return Correlation(np.nan, np.nan, np.nan, common)
    shared = max(first.by_noise.shape[1], second.by_noise.shape[1], 1)
    noises = rng.integers(shared, size=(bootstraps, shared))
    targets = rng.integers(common, size=(bootstraps, common))
    again = [
        np.take_along_axis(each.resampled(noises, rng), targets, axis=1) for each in (first, second)
    ]
    low, high = np.nanpercentile(spearman(*again), COVERAGE)
    return Correlation(float(spearman(first.value, second.value)), float(low), float(high), common)


def clearest_reversal(first: Sampled, second: Sampled, smallest: float, level: float) -> Reversal:
    """Find the pair of targets with the largest reversal that is certain at a level.

    Both differences must be ``smallest`` or more, beyond the bounds of what is exact.
    """
    nothing = Reversal(np.nan, np.nan, -1, -1)
    common = len(first.value)
    if common < 2:
        return nothing
    sizes, p_values = [], []
    for each, sign in ((first, 1.0), (second, -1.0)):
        difference = each.differences()
        error = difference.standard_error
        size = sign * difference.value - each.bound[:, None] - each.bound
        with np.errstate(invalid="ignore", divide="ignore"):
            p = stdtr(difference.degrees_of_freedom, -size / error)
        p_values.append(np.where(error > 0, p, np.where(size > 0, 0.0, 1.0)))
        sizes.append(size)
    size = np.minimum(*sizes)
    p_value = np.minimum(np.maximum(*p_values) * common * (common - 1), 1.0)
    size = np.where((p_value <= level) & (size >= smallest), size, -np.inf)
    i, j = np.unravel_index(np.argmax(size), size.shape)
    if not np.isfinite(size[i, j]):
        return nothing
    return Reversal(float(size[i, j]), float(p_value[i, j]), int(i), int(j))


def monotone_map(first: Floats, second: Floats) -> MonotoneMap:
    """Explain the second by an increasing function of the first, fitted after the fact and before.

    Between the values that it was fitted to, the function is a straight line.
    """
    spread = float(np.sum((second - second.mean()) ** 2))
    if len(first) < MIN_COMMON or spread == 0:
        return MonotoneMap(np.nan, np.nan)
    fitted = _increasing(first, second, first)
    ahead = np.array([
        _increasing(np.delete(first, i), np.delete(second, i), first[i : i + 1])[0]
        for i in range(len(first))
    ])  # fmt: skip
    return MonotoneMap(*(float(1 - np.sum((second - f) ** 2) / spread) for f in (fitted, ahead)))


def _increasing(x: Floats, y: Floats, at: Floats) -> Floats:
    order = np.argsort(x, kind="stable")
    return np.interp(at, x[order], isotonic_regression(y[order]).x)
