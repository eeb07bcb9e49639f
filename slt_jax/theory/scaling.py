"""Measurements of (λ, m) from the evidence or the volume at many n, held to theorems."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory

Floats = NDArray[np.float64]

# The rounding of an increment of log Z: smaller residuals tell nothing.
_ROUNDING = 1e-10
# Exact values exclude a multiplicity whose sum of squares is so many times that of another.
_EXCLUDED_RATIO = 1e4
# Nor do they need the next pole where a fit without it comes so near to the best with it.
_SAME_RATIO = 10.0
# With fewer n than this, what is fitted leaves too little over to compare.
_MIN_LATE = 10


class Scaling(NamedTuple):
    """Values of log Z at many n, up to one constant, in total nats.

    ``log_n`` [I] is increasing and equally spaced. ``log_z`` [R, I] is log E exp(−nK), or the log
    of the prior volume of {K < 1/n}, whose exponentials are R independent unbiased estimates; R = 1
    for exact values.
    """

    log_n: Floats
    log_z: Floats


class Measurement(NamedTuple):
    """λ with its standard error at the multiplicity m that fits best, or that was given.

    ``standard_error`` is that of the jackknife over replicates (0 for exact values) and, added in
    squares, the change of λ when the first third of the n is left out, or half the change when the
    next pole is part of the fit, if the values show one and this is larger. ``plausible`` are all
    multiplicities that the values do not exclude.
    """

    learning_coefficient: float
    standard_error: float
    multiplicity: int
    plausible: tuple[int, ...]


class Check(NamedTuple):
    """A theorem beside a measurement at its multiplicity; ``agrees`` is the result of ``check``."""

    theory: Theory
    measured: Measurement
    agrees: bool


def measure(scaling: Scaling, *, multiplicity: int | None = None, largest: int = 4) -> Measurement:
    """Fit log Z = −λ log n + (m − 1) log(log n + c) + constant, c free, and choose m.

    c is the correction of relative order 1/log n that every m > 1 brings. The increments of log Z
    between neighbouring n are fitted by least squares, because those of volumes are nearly
    independent.

    The next pole of the zeta function adds a term of relative order n^{−d}, d the distance of the
    poles. Where n is not yet large a wrong m with its c imitates it, and fits better than the true
    m without it. To compare multiplicities, an^{−d} with a and d > 0 free is therefore added to
    each, and the first third of the n is left out if 10 remain. The misfit is then, of replicates,
    chi-square with the jackknife variance of the increments, and 4 more if m > 1, for its c; of
    exact values, the logarithm of the sum of squares, and log 30 more if m > 1. The least one is
    chosen. Of replicates those within 9 of it are plausible. Of exact values a fit leaves out all
    further poles, which a wrong m can imitate by chance, so that m is excluded only if its
    residuals are a hundred times those of another: in 787 sums of two to nine poles over windows
    between log n = 5 and 60 those of the true m never were. Where some m fits without the next pole
    nearly as well as any does with it, there is no such term to be seen, and fits without it are
    compared.

    ``multiplicity`` is the m at which λ is wanted, or None to choose it, and ``largest`` ≥ 1 the
    largest m that is tried. Raises ValueError for m out of range, fewer than 8 n, n that are not
    equally spaced or log n ≤ 0, and log Z that is not finite.
    """
    log_n, log_z = (np.asarray(x, float) for x in scaling)
    spacing = np.diff(log_n)
    if len(log_n) < 8 or not log_n[0] > 0 or not np.allclose(spacing, spacing[0]):
        raise ValueError(f"log_n={log_n.tolist()}; allowed: 8 or more > 0, equally spaced")
    if log_z.ndim != 2 or log_z.shape[1] != len(log_n) or not np.isfinite(log_z).all():
        raise ValueError(f"log_z of shape {log_z.shape}; allowed: finite, [R, {len(log_n)}]")
    largest = checked_integer("largest", largest, 1)
    mean = logsumexp(log_z, axis=0)
    left_out = _left_out(log_z)
    best, plausible, noise = _compare(log_n, mean, left_out, largest)
    m = best if multiplicity is None else checked_integer("multiplicity", multiplicity, 1)
    late = slice(len(log_n) // 3, None)
    plain, corrected = (_fit(log_n, mean, m, pole) for pole in (False, True))
    drift = plain.coefficient - _fit(log_n[late], mean[late], m).coefficient
    seen = plain.squares - corrected.squares > 9.0 * noise
    neglected = (plain.coefficient - corrected.coefficient) / 2 if seen else 0.0
    jackknife = [_fit(log_n, rest, m).coefficient for rest in left_out]
    variance = (len(log_z) - 1) * np.var(jackknife) if jackknife else 0.0
    error = float(np.sqrt(variance + max(drift**2, neglected**2)))
    return Measurement(plain.coefficient, error, m, plausible)


def _left_out(log_z: Floats) -> Floats:
    """Return the log of the sum without each replicate, [R, I]; nothing if there is only one."""
    replicates = len(log_z)
    if replicates == 1:
        return np.zeros(0)
    return np.array([logsumexp(np.delete(log_z, r, axis=0), axis=0) for r in range(replicates)])


def _compare(
    log_n: Floats, mean: Floats, left_out: Floats, largest: int
) -> tuple[int, tuple[int, ...], float]:
    """Return the best multiplicity, all plausible ones, and the variance of an increment."""
    orders = np.arange(1, largest + 1)
    replicates = max(1, len(left_out))
    late = slice(len(log_n) // 3, None)
    compared = late if len(log_n[late]) >= _MIN_LATE else slice(None)
    without, squares = (
        np.array([_fit(log_n[compared], mean[compared], int(m), pole).squares for m in orders])
        for pole in (False, True)
    )
    if replicates > 1:
        # A mean of exponentials can rest on few of the replicates, as their spread does not say.
        noise = float((replicates - 1) * np.diff(left_out, axis=1).var(axis=0).mean())
        misfits = squares / noise + 4.0 * (orders > 1)
        possible = misfits <= misfits.min() + 9.0
    else:
        noise = _ROUNDING**2
        squares, without = (s + len(log_n) * noise for s in (squares, without))
        chosen = without if without.min() < _SAME_RATIO * squares.min() else squares
        misfits = np.log(chosen) + np.log(30.0) * (orders > 1)
        possible = chosen <= _EXCLUDED_RATIO * chosen.min()
    return int(orders[np.argmin(misfits)]), tuple(int(m) for m in orders[possible]), noise


def check(theory: Theory, scaling: Scaling, *, standard_errors: float = 4.0) -> Check:
    """Hold a theorem to a measurement of its K, at the multiplicity that it claims.

    An exact theorem, or a conjecture, agrees if its m is plausible and its λ within so many
    standard errors (and 1e-6) of the measured one; an upper bound agrees if it is not below the
    measured one by more than that. Raises ValueError as ``measure`` does.
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


def _fit(log_n: Floats, log_z: Floats, m: int, next_pole: bool = False) -> _Fit:
    """Fit the increments by least squares at a given m; c is searched for, λ follows.

    With the next pole, an^{−d} is part of the fit too, and d is searched for.
    """
    # log n + c at the first n, from a tenth of log n to far beyond the last one: with a larger c
    # the logarithm is a straight line, which is m = 1. d from where n^{−d} is nearly a straight
    # line to where it is gone between log n and log n + 1.
    low = np.log([0.1 * log_n[0], 0.5 / (log_n[-1] - log_n[0])])
    high = np.log([2 * log_n[-1], 2.0])
    for _ in range(7):
        shifts, rates = np.linspace(low, high, 40).T
        logarithms = np.diff(np.log(np.exp(shifts)[:, None] + log_n - log_n[0]), axis=1)
        rest = np.diff(log_z) - (m - 1) * logarithms
        slopes = rest.mean(axis=1, keepdims=True)
        rest = rest - slopes
        squares = (rest**2).sum(axis=1)[:, None]
        if next_pole:
            terms = np.diff(np.exp(-np.exp(rates)[:, None] * (log_n - log_n[0])), axis=1)
            means = terms.mean(axis=1, keepdims=True)
            lengths = np.linalg.norm(terms - means, axis=1, keepdims=True)
            terms, offsets = (terms - means) / lengths, means / lengths
            squares = squares - (rest @ terms.T) ** 2
        best = np.unravel_index(np.argmin(squares), squares.shape)
        around = np.array([np.clip(np.array(best) + step, 0, 39) for step in (-1, 1)])
        low, high = (np.array([shifts[row[0]], rates[row[1]]]) for row in around)
    left = rest[best[0]]
    slope = slopes[best[0], 0]
    if next_pole:
        size = left @ terms[best[1]]
        left = left - size * terms[best[1]]
        slope = slope - size * offsets[best[1], 0]
    return _Fit(float(-slope / (log_n[1] - log_n[0])), float(left @ left))
