"""A number with its standard error, what the error is made of, and what the number rests on."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, ndtr, stdtr, stdtrit

from slt_jax.validation import Probability, check, check_kind, real_array

Floats = NDArray[np.float64]
Reference = Literal["w0", "mle", "mode", "w*"]
Loss = Literal["full", "minibatch"]


@dataclass(frozen=True)
class Basis:
    """The setting of an estimate, with None where it does not matter.

    ``n`` data (several for a slope), inverse temperature ``beta`` (several likewise), the
    ``reference`` point whose loss was subtracted (w₀, the maximum-likelihood estimate, a posterior
    mode or the centre w* of a local posterior), and the ``loss`` that was sampled: of all data or
    of minibatches.
    """

    n: float | tuple[float, ...] | None = None
    beta: float | tuple[float, ...] | None = None
    reference: Reference | None = None
    loss: Loss = "full"


class ErrorSources(NamedTuple):
    """Parts of a standard error whose squares add up to its square; None is not measured.

    ``within_chains`` is Monte-Carlo error by the autocorrelation inside chains,
    ``between_chains`` what independent chains or runs disagree by beyond it (all of it where
    the inside of runs was not looked at), ``between_data_sets`` the spread over data sets beyond
    Monte-Carlo error, ``held_out_data`` that of finitely many held-out data, ``discretisation`` an
    estimate from a rule with half the nodes or from another step. Of local learning coefficients
    ``localisation`` is half their range over γ, and ``descent`` by how much βnL_n falls near w*.
    """

    within_chains: Floats | None = None
    between_chains: Floats | None = None
    between_data_sets: Floats | None = None
    held_out_data: Floats | None = None
    discretisation: Floats | None = None
    localisation: Floats | None = None
    descent: Floats | None = None


class Estimate(NamedTuple):
    """A value with its standard error, float64 arrays of one shape.

    ``degrees_of_freedom`` belong to the standard error: (value − truth)/standard_error is
    Student-t distributed with that many, so a 95 % interval from 8 seeds is ±2.36 errors wide,
    not ±1.96. ``sources`` say what the error is made of, and ``basis`` what was estimated.

    >>> from slt_jax.estimators import mean_over_seeds
    >>> mean = mean_over_seeds([1.0, 1.2, 0.9, 1.1])
    >>> print(mean)  # with one standard error
    1.050 ± 0.065
    >>> f"{mean.value:.2f} ± {mean.half_width(0.95):.2f}"
    '1.05 ± 0.21'
    """

    value: Floats
    standard_error: Floats
    degrees_of_freedom: float | Floats
    sources: ErrorSources = ErrorSources()
    basis: Basis = Basis()

    def __str__(self) -> str:
        if np.ndim(self.value):
            return repr(self)
        return " ± ".join(digits_of(float(self.value), float(self.standard_error)))

    def half_width(self, coverage: float = 0.95) -> Floats:
        """Return the half-width of the two-sided interval that covers with this probability.

        >>> round(float(mean_over_seeds([1.0, 2.0, 3.0]).half_width()), 2)
        2.48
        """
        check("coverage", coverage, Probability)
        quantile = stdtrit(self.degrees_of_freedom, 0.5 + coverage / 2)
        return np.asarray(quantile * self.standard_error)

    def scaled(self, factor: ArrayLike) -> "Estimate":
        """Return the estimate of factor × the quantity."""
        factor = real_array("factor", factor)
        size = np.abs(factor)
        return self._replace(
            value=self.value * factor,
            standard_error=self.standard_error * size,
            sources=jax.tree.map(lambda error: error * size, self.sources),
        )

    def with_part(self, name: str, error: ArrayLike, degrees_of_freedom: float) -> "Estimate":
        """Add an independent source of error, a field of ``ErrorSources``.

        Squares add, and degrees of freedom combine by Welch–Satterthwaite.
        """
        error = real_array("error", error)
        part = Estimate(self.value, np.broadcast_to(error, self.value.shape), degrees_of_freedom)
        return self.plus(part)._replace(
            value=self.value,
            sources=self.sources._replace(**{name: error}),
            basis=self.basis,
        )

    def plus(self, other: "Estimate") -> "Estimate":
        """Add two independent estimates, with no record of what the error of the sum is made of.

        Squares add, and degrees of freedom combine by Welch–Satterthwaite.
        """
        squares = np.stack([self.standard_error**2, other.standard_error**2])
        total = squares.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            freedom = total**2 / (
                squares[0] ** 2 / self.degrees_of_freedom
                + squares[1] ** 2 / other.degrees_of_freedom
            )
        freedom = np.where(total > 0, freedom, self.degrees_of_freedom)
        return Estimate(self.value + other.value, np.sqrt(total), freedom)


def digits_of(value: float, error: float) -> tuple[str, str]:
    """Write a value to the second digit of its error, and the error.

    >>> digits_of(2.17773, 0.0123)
    ('2.178', '0.012')
    """
    if not math.isfinite(error):
        return f"{value:.6g}", f"{error:g}"
    decimals = 8 if error == 0 else min(max(1 - math.floor(math.log10(error)), 0), 8)
    return f"{value:.{decimals}f}", f"{error:.1e}" if error < 1e-8 else f"{error:.{decimals}f}"


def in_standard_errors(difference: ArrayLike, error: ArrayLike) -> Floats:
    """Return differences in units of their standard errors: 0 where there is neither of both.

    An error of 0 belongs to what never varies, as energies of a likelihood that does not depend on
    w: such values agree if they are the same, and are infinitely many errors apart if not.
    """
    difference, error = np.broadcast_arrays(
        real_array("difference", difference), real_array("error", error)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((difference == 0) & (error == 0), 0.0, difference / error)


def p_value_of_largest(
    largest: float | None, compared: int, degrees_of_freedom: float = math.inf
) -> float:
    """Return a p-value of the largest |t| among so many that are ``compared``, by Bonferroni.

    That of a single one, of both sides, times their number, and 1 at most; 1 where nothing is
    compared, and NaN of NaN. The t may depend on each other in any way.

    >>> p_value_of_largest(0.0, 3), round(p_value_of_largest(4.0, 100), 4)
    (1.0, 0.0063)
    """
    if largest is None or not compared:
        return 1.0
    tail = ndtr(-largest) if math.isinf(degrees_of_freedom) else stdtr(degrees_of_freedom, -largest)
    return float(np.minimum(1.0, 2 * compared * tail))


def mean_over_seeds(draws: ArrayLike) -> Estimate:
    """Average over independent sampler runs on the same data.

    ``draws`` [..., S] → mean and sd/√S, S − 1 degrees of freedom. Raises ValueError for S < 2.

    >>> estimate = mean_over_seeds([1.0, 2.0, 3.0])
    >>> float(estimate.value), round(float(estimate.standard_error), 3)
    (2.0, 0.577)
    """
    draws = real_array("draws", draws)
    seeds = draws.shape[-1] if draws.ndim else 1
    if seeds < 2:
        raise ValueError(f"{seeds} seed: a standard error needs at least 2 independent runs")
    error = np.asarray(draws.std(axis=-1, ddof=1) / np.sqrt(seeds))
    return Estimate(draws.mean(axis=-1), error, seeds - 1, ErrorSources(between_chains=error))


def log_mean_over_seeds(log_draws: ArrayLike) -> Estimate:
    """Return log (1/S) Σ_s exp(l_s) over independent sampler runs on the same data.

    The l_s are ``log_draws`` [..., S], of any size. The standard error is the standard deviation of
    the log of a mean of S log-normal values, √log(1 + (exp(s²) − 1)/S) with the variance s² of the
    l_s, and S − 1 degrees of freedom. For s² ≪ 1 that is s/√S. The delta method's sd(Z)/(Z̄√S) is
    too small where the largest of the exp(l_s) makes up the mean: it never exceeds 1. Raises
    ValueError for S < 2.

    Source: Fenton, The sum of log-normal probability distributions in scatter transmission
    systems, IRE Transactions on Communications Systems 8 (1960).

    >>> round(float(np.exp(log_mean_over_seeds(np.log([1.0, 2.0, 3.0])).value)), 6)
    2.0
    """
    log_draws = real_array("log_draws", log_draws)
    error = mean_over_seeds(log_draws).standard_error
    seeds = log_draws.shape[-1]
    square = error**2 * seeds
    # log(1 + (exp(s²) − 1)/S), where exp(s²) may be beyond all numbers.
    error = np.sqrt(square + np.log1p((1 - 1 / seeds) * np.expm1(-square)))
    value = logsumexp(log_draws, axis=-1) - np.log(seeds)
    return Estimate(value, error, seeds - 1, ErrorSources(between_chains=error))


def mean_over_data_sets(values: ArrayLike | Estimate) -> Estimate:
    """Average over data sets, with the spread between data sets as the error.

    ``values`` [..., R] → mean and sd/√R, R − 1 degrees of freedom; Monte-Carlo error inside the
    values is part of that spread. Estimates [..., R] have their own parts of the error averaged,
    and ``between_data_sets`` is what the spread exceeds them by; where it does not, theirs is the
    error. Raises ValueError for R < 2.

    >>> estimate = mean_over_data_sets([1.0, 2.0, 6.0])
    >>> float(estimate.value), float(estimate.degrees_of_freedom)
    (3.0, 2.0)
    """
    sampled = values if isinstance(values, Estimate) else None
    array = sampled.value if sampled else real_array("values", values)
    count = array.shape[-1] if array.ndim else 0
    if count < 2:
        raise ValueError(f"{count} data set: an error between data sets needs ≥ 2")
    spread = np.asarray(array.std(axis=-1, ddof=1) / np.sqrt(count))
    if sampled is None:
        sources = ErrorSources(between_data_sets=spread)
        return Estimate(array.mean(axis=-1), spread, count - 1, sources)
    inside = monte_carlo_mean(sampled)
    excess = np.sqrt(np.maximum(spread**2 - inside.standard_error**2, 0))
    return inside._replace(
        standard_error=np.hypot(inside.standard_error, excess),
        degrees_of_freedom=np.where(excess > 0, count - 1, inside.degrees_of_freedom),
        sources=inside.sources._replace(between_data_sets=excess),
    )


def monte_carlo_mean(estimates: Estimate) -> Estimate:
    """Average independent estimates over their last axis, with their own errors only.

    Standard error √(Σ se²)/R with the Welch–Satterthwaite degrees of freedom
    ν(Σ se²)²/Σ se⁴, which are ν·R for equal errors and ν if one dominates.
    """
    check_kind("estimates", estimates, Estimate, "an Estimate")
    count = estimates.value.shape[-1]
    squares = estimates.standard_error**2
    total = squares.sum(axis=-1)
    freedom = np.broadcast_to(estimates.degrees_of_freedom, squares.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        equivalent = total**2 / np.sum(squares**2 / freedom, axis=-1)
    return estimates._replace(
        value=estimates.value.mean(axis=-1),
        standard_error=np.sqrt(total) / count,
        degrees_of_freedom=np.where(total > 0, equivalent, freedom.sum(axis=-1)),
        sources=jax.tree.map(
            lambda error: np.sqrt(np.sum(error**2, axis=-1)) / count, estimates.sources
        ),
    )
