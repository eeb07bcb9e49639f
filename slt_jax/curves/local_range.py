"""The range of γ over which a local learning coefficient has one value, and its meaning."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import chi2

from slt_jax.estimators.local import MIN_ACCEPTANCE

MIN_RANGE = 9.0  # a decade, with room for rounded numbers
MAX_SPREAD = 0.1  # half the range of λ̂ there, beside its mean
MAX_DIFFERENCE = 1.5  # standard errors between the ends of that range
LEAST_ERROR = 1e-100
MAX_ERRORS = 3.0
MAX_GRADIENT = 4.0  # standard errors
FALSE_ALARM = 1e-3


class Surroundings(NamedTuple):
    """The loss near w*, beside its noise.

    ``fall`` is by how many nats βnL_n falls below βnL_n(w*) at best, and ``gradient`` the norm of
    ∇L_n(w*) in its standard errors.
    """

    fall: float
    gradient: float
    beta: float


class Conclusion(NamedTuple):
    """λ̂ of a checkpoint, the parts of its error, the range [first, last] of γ, and the reason.

    The parts are those of ``ErrorSources``. ``reason`` says all that speaks against the number, and
    is empty where nothing does. ``pairs`` are the indices (γ, step) that were averaged.
    """

    value: float
    within_chains: float
    discretisation: float
    localisation: float
    descent: float
    gamma: tuple[float, float]
    is_minimum: bool
    reason: str
    pairs: tuple[tuple[int, int], ...]

    @property
    def standard_error(self) -> float:
        """The error of all parts; infinite where the number is that of no local minimum."""
        if not self.is_minimum:
            return np.inf
        parts = (self.within_chains, self.discretisation, self.localisation, self.descent)
        return float(np.sqrt(np.sum(np.square(parts))))


def best_steps(scan: xr.Dataset) -> tuple[tuple[int, int], ...]:
    """Choose for each γ the settled step of the smallest error; a γ without any has none.

    ``scan`` is that of ``local_scan``. Steps that MALA accepts less than 0.9 of the time are out.
    """
    usable = scan["settled"] & (scan["acceptance"] >= MIN_ACCEPTANCE)
    errors = np.where(usable, scan["extrapolated_se"], np.nan)
    rows = [row for row in range(len(errors)) if np.any(np.isfinite(errors[row]))]
    return tuple((row, int(np.nanargmin(errors[row]))) for row in rows)


def averaged(scan: xr.Dataset, pairs: tuple[tuple[int, int], ...]) -> Conclusion:
    """Average λ̂ of pairs of γ and step, each weighted with its inverse square error.

    The whole mean bias of the steps is a part of the error, and half the range of λ̂ another: by
    so much it depends on γ.
    """
    rows, steps = np.array(pairs).T

    def of(name: str) -> np.ndarray:
        return np.asarray(scan[name])[rows, steps]

    value, total = of("extrapolated"), of("extrapolated_se")
    bias = of("local_learning_coefficient") - value
    # A loss that does not depend on w has no error at all.
    inverse = 1 / np.maximum(total, LEAST_ERROR) ** 2
    weights = inverse / np.sum(inverse)
    chains = np.sqrt(np.maximum(total**2 - bias**2, 0))
    gamma = np.asarray(scan["gamma"])[rows]
    return Conclusion(
        value=float(weights @ value),
        within_chains=float(np.sqrt(np.sum((weights * chains) ** 2))),
        discretisation=float(abs(weights @ bias)),
        localisation=float(np.ptp(value) / 2),
        descent=0.0,
        gamma=(float(gamma[0]), float(gamma[-1])),
        is_minimum=True,
        reason="",
        pairs=pairs,
    )


def flat_range(scan: xr.Dataset) -> Conclusion:
    """Find the range of γ, a decade or more, over which λ̂ has one value with the smallest error.

    It has one value if it varies by no more than 10 % to either side, or if the smallest and the
    largest λ̂ differ by no more than 1.5 standard errors.
    Without such a range all γ whose chains have settled are averaged, with what they differ by in
    the error, and the reason says so.
    """
    pairs = best_steps(scan)
    if not pairs:
        return _nothing(scan)
    gamma = np.asarray(scan["gamma"])
    wide = [
        averaged(scan, pairs[i : j + 1])
        for i in range(len(pairs))
        for j in range(i + 1, len(pairs))
        if pairs[j][0] - pairs[i][0] == j - i
        and gamma[pairs[j][0]] >= MIN_RANGE * gamma[pairs[i][0]]
    ]
    flat = [range_ for range_ in wide if _is_flat(scan, range_)]
    if flat:
        return min(flat, key=lambda range_: range_.standard_error)
    whole = averaged(scan, pairs)
    if wide:
        ends = [float(scan["extrapolated"][pair]) for pair in (pairs[0], pairs[-1])]
        reason = (
            f"no decade of gamma gives one value: {ends[0]:.3g} at gamma = {whole.gamma[0]:.3g} "
            f"and {ends[1]:.3g} at {whole.gamma[1]:.3g}"
        )
    elif gamma[-1] < MIN_RANGE * gamma[0]:
        reason = (
            "gamma spans less than a decade: nothing shows that the value does not depend on it"
        )
    else:
        lost = np.setdiff1d(np.arange(len(gamma)), [pair[0] for pair in pairs])
        names = ", ".join(f"{gamma[row]:.3g}" for row in lost)
        why = _unsettled(scan.isel(gamma=lost))
        reason = f"{why} at gamma = {names}, and too few gamma are left"
    return whole._replace(reason=reason)


def _is_flat(scan: xr.Dataset, range_: Conclusion) -> bool:
    """Say if the smallest and the largest λ̂ of a range are about the same, or may be by chance."""
    values, errors = (
        np.array([float(scan[name][pair]) for pair in range_.pairs])
        for name in ("extrapolated", "extrapolated_se")
    )
    ends = [int(values.argmin()), int(values.argmax())]
    noise = MAX_DIFFERENCE * float(np.hypot(*errors[ends]))
    return bool(np.ptp(values) <= max(2 * MAX_SPREAD * abs(range_.value), noise))


def _nothing(scan: xr.Dataset) -> Conclusion:
    gamma = np.asarray(scan["gamma"])
    ends = (float(gamma[0]), float(gamma[-1]))
    nan = float("nan")
    return Conclusion(nan, nan, nan, nan, nan, ends, True, _unsettled(scan), ())


def _unsettled(scan: xr.Dataset) -> str:
    """Say what the steps lack that are not used."""
    if scan.sizes["step_size"] < 2:
        return "one step size: nothing shows its bias"
    if not np.any(np.isfinite(scan["local_learning_coefficient"])):
        return "energies are not finite"
    if not np.any(scan["acceptance"] >= MIN_ACCEPTANCE):
        most = float(scan["acceptance"].max())
        return f"steps too long: MALA would accept at most {most:.2f} of them, below 0.9"
    mixing, drift = float(scan["r_hat"].max()), float(scan["drift_p_value"].min())
    return (
        f"chains have not settled (R-hat up to {mixing:.2f}, p-value of the drift down to "
        f"{drift:.1g}; longer num_warmup, num_draws or thinning)"
    )


def around(conclusion: Conclusion, surroundings: Surroundings) -> Conclusion:
    """Add what the loss near w* says: it is no minimum if the loss falls there, noise aside.

    It is none if λ̂ is negative by 3 standard errors, or if the loss falls by 3 of them and more
    than it would at the true weights w₀: if the gradient is more than 4 of its standard errors, or
    n(L_n(w*) − L_n) beyond the law χ²/2 with 2λ degrees of freedom that it has there, to which λ̂
    and the fall add up. What the loss falls by is a part of the error.
    """
    value = conclusion.value
    noise = MAX_ERRORS * conclusion.standard_error
    fall, gradient, beta = surroundings
    # Without chains that have settled the only λ̂ is the fall.
    known, noise = (0.0, 1.0) if np.isnan(value) else (value, noise)
    freedom = 2 * max(known + fall, 0.5)
    by_chance = float(chi2.isf(FALSE_ALARM, freedom)) / 2
    falls = fall > noise and (gradient > MAX_GRADIENT or fall / beta > by_chance)
    is_minimum = not (falls or known < -noise)
    reasons = [conclusion.reason] if conclusion.reason else []
    if not is_minimum:
        reasons = [
            f"w* is no minimum: beta n L_n falls by {fall:.3g} nats nearby, and the gradient is "
            f"{gradient:.3g} of its standard errors",
            *reasons,
        ]
    return conclusion._replace(descent=fall, is_minimum=bool(is_minimum), reason="; ".join(reasons))
