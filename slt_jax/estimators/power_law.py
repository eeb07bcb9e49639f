"""Joint fits of L₀ + c n^{−σ} to a learning curve, with profile-likelihood intervals."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv

from slt_jax.validation import Number, Probability, check, checked, real_array, refuse_first

Floats = NDArray[np.float64]

EXPONENTS = (0.01, 3.0)
GRID = 601
MAX_ZOOMS = 12


class Interval(NamedTuple):
    """A value with the ends of its interval; an end is infinite where the data set none."""

    value: float
    low: float
    high: float

    def holds(self, truth: float) -> bool:
        """True if the interval covers a number."""
        return self.low <= truth <= self.high


class PowerLaw(NamedTuple):
    """The fit of L₀ + c n^{−σ}: ``asymptote`` L₀, ``amplitude`` c and ``exponent`` σ.

    ``chi_square`` is that of the best fit, with ``degrees_of_freedom``.
    """

    asymptote: Interval
    amplitude: Interval
    exponent: Interval
    chi_square: float
    degrees_of_freedom: int


class _Profile(NamedTuple):
    """The least χ² at each σ [G], and L₀ and c there with their errors at that σ."""

    exponent: Floats
    chi_square: Floats
    asymptote: Floats
    asymptote_error: Floats
    amplitude: Floats
    amplitude_error: Floats


def fit_power_law(
    n: ArrayLike,
    loss: ArrayLike,
    standard_error: ArrayLike,
    asymptote: float | None = None,
    coverage: float = 0.95,
) -> PowerLaw:
    """Fit (L₀, c, σ) to independent ``loss`` [N] at sizes ``n`` [N] by weighted least squares.

    At every σ the fit of (L₀, c) is linear, so that σ alone is searched, on grids that zoom in on
    0.01 … 3. The interval of a parameter is where its profile χ² exceeds the least by no more than
    the quantile of χ²₁; with L₀(σ) ± s(σ) and the excess Δ(σ), that of L₀ is the union over σ of
    L₀(σ) ± s(σ)√(q − Δ(σ)), and that of c alike. An ``asymptote`` that is given is subtracted and
    not fitted: if it is wrong, σ is biased, and its interval does not say so. Raises ValueError
    for fewer sizes than parameters, values that are not finite, n or errors that are not positive,
    equal n, and a coverage outside (0, 1).

    >>> n = np.array([10.0, 30.0, 100.0, 300.0, 1000.0])
    >>> fit = fit_power_law(n, 1 + 2 / n, 0.01 / n)
    >>> round(fit.exponent.value, 3), fit.exponent.holds(1.0)
    (1.0, True)
    """
    n, loss = real_array("n", n), real_array("loss", loss)
    errors = real_array("standard_error", standard_error)
    if asymptote is not None:
        asymptote = checked("asymptote", asymptote, Number)
    parameters = 3 if asymptote is None else 2
    if not n.shape == loss.shape == errors.shape or n.ndim != 1 or n.size < parameters:
        raise ValueError(
            f"n, loss and standard_error of shapes {n.shape}, {loss.shape}, {errors.shape}: "
            f"must be one and the same [N], N ≥ {parameters}"
        )
    for name, part in (("n", n), ("loss", loss), ("standard_error", errors)):
        refuse_first(name, part, np.isfinite(part), "must be finite")
    if not np.all(n > 0) or len(set(n.tolist())) < n.size:
        raise ValueError(f"n = {n.tolist()}: must be positive and different")
    if not np.all(errors > 0):
        raise ValueError(f"standard_error = {errors.tolist()}: must be positive")
    check("coverage", coverage, Probability)
    quantile = 2 * float(gammaincinv(0.5, coverage))
    low, high = EXPONENTS
    for _ in range(MAX_ZOOMS):
        grid = np.linspace(low, high, GRID)
        profile = _profile(n, loss, errors, asymptote, grid)
        near = np.flatnonzero(profile.chi_square - profile.chi_square.min() <= 2 * quantile)
        first, last = max(near[0] - 1, 0), min(near[-1] + 1, GRID - 1)
        if last - first > GRID // 4:
            break
        low, high = grid[first], grid[last]
    return _intervals(profile, quantile, n.size - parameters, asymptote)


def _profile(
    n: Floats, loss: Floats, errors: Floats, asymptote: float | None, exponent: Floats
) -> _Profile:
    centre = np.exp(np.mean(np.log(n)))
    powers = (n / centre) ** -exponent[:, None]
    weights = errors**-2
    if asymptote is None:
        mean_power = powers @ weights / weights.sum()
        mean_loss = loss @ weights / weights.sum()
        rest = powers - mean_power[:, None]
        spread = rest**2 @ weights
        slope = (rest * (loss - mean_loss)) @ weights / spread
        level = mean_loss - slope * mean_power
        level_error = np.sqrt(1 / weights.sum() + mean_power**2 / spread)
    else:
        spread = powers**2 @ weights
        slope = (powers * (loss - asymptote)) @ weights / spread
        level = np.full(exponent.size, asymptote)
        level_error = np.zeros(exponent.size)
    misfit = loss - level[:, None] - slope[:, None] * powers
    scale = centre**exponent
    return _Profile(
        exponent,
        misfit**2 @ weights,
        level,
        level_error,
        slope * scale,
        scale / np.sqrt(spread),
    )


def _intervals(
    profile: _Profile, quantile: float, freedom: int, asymptote: float | None
) -> PowerLaw:
    best = int(np.argmin(profile.chi_square))
    room = quantile - (profile.chi_square - profile.chi_square[best])
    inside = np.flatnonzero(room >= 0)
    # An interval that reaches an end of the searched exponents is open there.
    open_ends = (
        inside[0] == 0 and profile.exponent[0] <= EXPONENTS[0],
        inside[-1] == len(room) - 1 and profile.exponent[-1] >= EXPONENTS[1],
    )
    at_best = _vertex(profile, best)
    exponent = Interval(
        at_best,
        -np.inf if open_ends[0] else _crossing(profile.exponent, room, int(inside[0]), -1),
        np.inf if open_ends[1] else _crossing(profile.exponent, room, int(inside[-1]), 1),
    )
    reach = np.sqrt(room[inside])

    def union(values: Floats, at_fixed: Floats, opens: tuple[bool, bool]) -> Interval:
        low = np.min(values[inside] - at_fixed[inside] * reach)
        high = np.max(values[inside] + at_fixed[inside] * reach)
        return Interval(
            float(np.interp(at_best, profile.exponent, values)),
            -np.inf if opens[0] else float(low),
            np.inf if opens[1] else float(high),
        )

    if asymptote is None:
        level = union(profile.asymptote, profile.asymptote_error, (open_ends[0], False))
    else:
        level = Interval(asymptote, asymptote, asymptote)
    amplitude = union(profile.amplitude, profile.amplitude_error, (False, any(open_ends)))
    return PowerLaw(level, amplitude, exponent, float(profile.chi_square[best]), freedom)


def _vertex(profile: _Profile, best: int) -> float:
    """Return σ of the least χ², by the parabola through the least on the grid and neighbours."""
    if not 0 < best < len(profile.exponent) - 1:
        return float(profile.exponent[best])
    before, least, after = profile.chi_square[best - 1 : best + 2]
    bend = before + after - 2 * least
    shift = (before - after) / (2 * bend) if bend > 0 else 0.0
    return float(profile.exponent[best] + shift * (profile.exponent[1] - profile.exponent[0]))


def _crossing(exponent: Floats, room: Floats, last: int, step: int) -> float:
    """Interpolate linearly to where the room runs out beside the ``last`` point that has some."""
    beyond = last + step
    if not 0 <= beyond < len(room):
        return float(exponent[last])
    share = room[last] / (room[last] - room[beyond])
    return float(exponent[last] + share * (exponent[beyond] - exponent[last]))


def local_exponents(n: ArrayLike, error: ArrayLike) -> tuple[Floats, Floats]:
    """Return −Δ log error/Δ log n between neighbouring sizes, at their geometric means.

    ``error`` [..., N] > 0 at increasing ``n`` [N]; exponents [..., N − 1]. Raises ValueError for
    errors that are not positive: those below that of w₀ have no logarithm.

    >>> local_exponents([10, 1000], [1.0, 0.01])[1].round(6).tolist()
    [1.0]
    """
    n, error = real_array("n", n), real_array("error", error)
    if not np.all(error > 0):
        raise ValueError(f"error = {error.min():g}: must be positive to have a power of n")
    if n.ndim != 1 or n.size < 2 or not np.all(np.diff(n) > 0):
        raise ValueError(f"n = {n.tolist()}: at least 2 that increase are needed")
    slope = -np.diff(np.log(error), axis=-1) / np.diff(np.log(n))
    return np.sqrt(n[1:] * n[:-1]), slope
