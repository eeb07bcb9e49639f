"""Measuring (lambda, m) from the evidence or the volume at many n, and holding it to a theorem."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory

Floats = NDArray[np.float64]

# Of an increment of log Z: smaller residuals tell nothing.
_ROUNDING = 1e-10


class Scaling(NamedTuple):
    """log Z at many n, up to one constant, in total nats.

    log_n: increasing and equally spaced, [I]. log_z: E exp(-nK) or the prior volume of {K < 1/n},
    [R, I], whose exponentials are R independent unbiased estimates; R = 1 for exact values.
    """

    log_n: Floats
    log_z: Floats


class Measurement(NamedTuple):
    """lambda with its standard error at the multiplicity m that fits best, or that was given.

    standard_error: that of the jackknife over replicates (0 for exact values) and the change of
    lambda when the first third of the n is left out, added in squares. plausible: all
    multiplicities that the values do not exclude.
    """

    learning_coefficient: float
    standard_error: float
    multiplicity: int
    plausible: tuple[int, ...]


class Check(NamedTuple):
    """A theorem beside a measurement at its multiplicity; `agrees` is the verdict of `check`."""

    theory: Theory
    measured: Measurement
    agrees: bool


def measure(scaling: Scaling, *, multiplicity: int | None = None, largest: int = 4) -> Measurement:
    """Fit log Z = -lambda log n + (m - 1) log(log n + c) + constant, c free, and choose m.

    c is the correction of relative order 1/log n that every m > 1 brings. The increments of log Z
    between neighbouring n are fitted by least squares, because those of volumes are nearly
    independent. The misfit of each m is, of replicates, chi-square with the variance of the
    increments over the replicates, and 4 more if m > 1, for its c; of exact values, the logarithm
    of the sum of squares, and log 30 more if m > 1, which can mimic what the fit leaves out. The
    least one is chosen. Plausible are those within 9 of it for replicates, and it alone for exact
    values.

    multiplicity: None to choose m, or the m at which lambda is wanted. largest: the largest m that
    is tried, >= 1. Raises ValueError for m out of range, fewer than 8 n, n that are not equally
    spaced or log n <= 0, and log Z that is not finite.
    """
    log_n, log_z = (np.asarray(x, float) for x in scaling)
    spacing = np.diff(log_n)
    if len(log_n) < 8 or not log_n[0] > 0 or not np.allclose(spacing, spacing[0]):
        raise ValueError(f"log_n={log_n.tolist()}; allowed: 8 or more > 0, equally spaced")
    if log_z.ndim != 2 or log_z.shape[1] != len(log_n) or not np.isfinite(log_z).all():
        raise ValueError(f"log_z of shape {log_z.shape}; allowed: finite, [R, {len(log_n)}]")
    orders = np.arange(1, checked_integer("largest", largest, 1) + 1)
    replicates = len(log_z)
    mean = logsumexp(log_z, axis=0)
    squares = np.array([_fit(log_n, mean, int(m)).squares for m in orders])
    if replicates > 1:
        noise = np.diff(log_z, axis=1).var(axis=0, ddof=1).mean() / replicates
        misfits, tolerance = squares / noise + 4.0 * (orders > 1), 9.0
    else:
        squares += len(log_n) * _ROUNDING**2
        misfits, tolerance = np.log(squares) + np.log(30.0) * (orders > 1), 0.0
    plausible = tuple(int(m) for m in orders[misfits <= misfits.min() + tolerance])
    if multiplicity is None:
        m = int(orders[np.argmin(misfits)])
    else:
        m = checked_integer("multiplicity", multiplicity, 1)
    late = slice(len(log_n) // 3, None)
    coefficient = _fit(log_n, mean, m).coefficient
    drift = coefficient - _fit(log_n[late], mean[late], m).coefficient
    jackknife = [
        _fit(log_n, logsumexp(np.delete(log_z, r, axis=0), axis=0), m).coefficient
        for r in range(replicates if replicates > 1 else 0)
    ]
    variance = (replicates - 1) * np.var(jackknife) if jackknife else 0.0
    return Measurement(coefficient, float(np.sqrt(variance + drift**2)), m, plausible)


def check(theory: Theory, scaling: Scaling, *, standard_errors: float = 4.0) -> Check:
    """Hold a theorem to a measurement of its K, at the multiplicity that it claims.

    lambda is measured at the multiplicity that is claimed. An exact theorem, or a conjecture,
    agrees if its m is plausible and its lambda within so many standard errors (and 1e-6) of the
    measured one; an upper bound if it is not below the measured one by more than that. Raises
    ValueError as `measure` does.
    """
    m = theory.multiplicity
    measured = measure(scaling, multiplicity=m, largest=max(4, m + 1))
    excess = measured.learning_coefficient - float(theory.learning_coefficient)
    allowed = standard_errors * measured.standard_error + 1e-6
    if theory.kind == "upper bound":
        return Check(theory, measured, excess <= allowed)
    return Check(theory, measured, abs(excess) <= allowed and m in measured.plausible)


class _Fit(NamedTuple):
    coefficient: float
    squares: float


def _fit(log_n: Floats, log_z: Floats, m: int) -> _Fit:
    """Least squares of the increments at a given m; c is searched for, lambda follows."""
    # log n + c at the first n, from a tenth of log n to far beyond the last one: with a larger c
    # the logarithm is a straight line, which is m = 1.
    low, high = np.log(0.1 * log_n[0]), np.log(2 * log_n[-1])
    for _ in range(7):
        trials = np.linspace(low, high, 40)
        logarithms = np.diff(np.log(np.exp(trials)[:, None] + log_n - log_n[0]), axis=1)
        rest = np.diff(log_z) - (m - 1) * logarithms
        slopes = rest.mean(axis=1, keepdims=True)
        squares = ((rest - slopes) ** 2).sum(axis=1)
        best = int(np.argmin(squares))
        low, high = trials[max(best - 1, 0)], trials[min(best + 1, len(trials) - 1)]
    return _Fit(float(-slopes[best, 0] / (log_n[1] - log_n[0])), float(squares[best]))
