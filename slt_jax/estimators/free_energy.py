"""Free energy from a tempered path: by the evidence, and by thermodynamic integration."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slt_jax.estimators.estimate import Estimate, log_mean_over_seeds, mean_over_seeds
from slt_jax.validation import real_array


def free_energy_from_evidence(log_evidence: ArrayLike) -> Estimate:
    """Estimate F = −log Z by minus the log of the mean of unbiased Ẑ, in total nats.

    ``log_evidence`` [..., S] from S independent runs → −log (1/S) Σ_s Z_s with the error of
    ``log_mean_over_seeds``, S − 1 degrees of freedom. NaN where any run is NaN. Raises
    ValueError for S < 2.

    >>> round(float(free_energy_from_evidence(np.log([0.5, 1.5])).value), 6) + 0.0
    0.0
    """
    return log_mean_over_seeds(log_evidence).scaled(-1.0)


def integrate_path(
    beta: ArrayLike, mean_energy: ArrayLike, energy_variance: ArrayLike, first_log_weight: ArrayLike
) -> NDArray[np.float64]:
    """Integrate ∫₀¹ E_β[nL_n] dβ along one path, in total nats.

    From β₁ on the integral is E_1(1 − β₁) + ∫ g d log β with g = β(E_β − E_1), so that a constant
    in nL_n is integrated exactly, by the trapezoid rule with the end-point correction
    (h²/12)(g′₀ − g′₁) of every panel, where dg/d log β = g − β²Var, because dE/dβ = −Var. On
    [0, β₁], where E_β is unbounded in scale, it is minus the log mean weight of the prior draws.
    Shapes [..., T] with NaN after the end of a path; the result has shape [...] and is NaN where
    the path holds NaN before its end or does not reach 1.

    >>> float(integrate_path([0.5, 1.0], [3.0, 3.0], [0.0, 0.0], first_log_weight=-1.5))
    3.0
    """
    beta, energy = real_array("beta", beta), real_array("mean_energy", mean_energy)
    variance = real_array("energy_variance", energy_variance)
    if beta.ndim < 1 or np.any(beta < 0):
        raise ValueError(f"beta of shape {beta.shape}: must be a path [..., T] of numbers ≥ 0")
    end = np.maximum(np.isfinite(beta).sum(axis=-1, keepdims=True) - 1, 0)
    last = np.take_along_axis(energy, end, -1)
    # A lost run has energies that are not finite, or β = 0: its NaN is the answer.
    with np.errstate(divide="ignore", invalid="ignore"):
        g = beta * (energy - last)
        slope = g - beta**2 * variance
        width = np.diff(np.log(beta), axis=-1)
        panels = width / 2 * (g[..., 1:] + g[..., :-1])
        panels += width**2 / 12 * (slope[..., :-1] - slope[..., 1:])
    inside = np.isfinite(beta[..., 1:])
    total = np.sum(np.where(inside, panels, 0.0), axis=-1)
    total -= real_array("first_log_weight", first_log_weight)
    with np.errstate(invalid="ignore"):
        total += np.squeeze(last * (1 - beta[..., :1]), -1)
    complete = np.isclose(np.nanmax(beta, axis=-1, initial=0.0), 1.0)
    return np.asarray(np.where(complete, total, np.nan))


def thermodynamic_integration(
    beta: ArrayLike, mean_energy: ArrayLike, energy_variance: ArrayLike, first_log_weight: ArrayLike
) -> Estimate:
    """Estimate F by the mean over seeds of ``integrate_path``, in total nats.

    Arguments are [..., S, T] and [..., S]. All seeds share the error of the rule, which their
    spread does not show:
    ``discretisation`` is |I − I′|/15 with the mean I′ of the rule on every second temperature.

    >>> beta, energy = [[0.5, 0.7, 1.0]] * 2, [[3.0, 3.0, 3.0]] * 2
    >>> float(thermodynamic_integration(beta, energy, np.zeros((2, 3)), [-1.5, -1.5]).value)
    3.0
    """
    estimate = mean_over_seeds(integrate_path(beta, mean_energy, energy_variance, first_log_weight))
    every_second = _every_second(beta, mean_energy, energy_variance)
    coarse = integrate_path(*every_second, first_log_weight).mean(axis=-1)
    return estimate.with_part("discretisation", np.abs(estimate.value - coarse) / 15, np.inf)


def _every_second(
    beta: ArrayLike, mean_energy: ArrayLike, energy_variance: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thin paths [..., T] to the first node and every second one back from the last, NaN after."""
    beta, energy, variance = np.broadcast_arrays(beta, mean_energy, energy_variance)
    length = np.isfinite(beta).sum(axis=-1, keepdims=True)
    index = np.arange(beta.shape[-1])
    kept = (index == 0) | ((length - 1 - index) % 2 == 0)
    order = np.argsort(~kept | (index >= length), axis=-1, kind="stable")

    def thin(path: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.take_along_axis(np.where(kept, path, np.nan), order, -1)

    return thin(beta), thin(energy), thin(variance)
