"""The local learning coefficient, the growth of the loss around one point w*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slt_jax.estimators.chains import mean_over_chains
from slt_jax.estimators.diagnostics import drift_p_value, r_hat
from slt_jax.estimators.estimate import Basis, Estimate, Floats, Loss, in_standard_errors
from slt_jax.run.quantities import labelled
from slt_jax.validation import (
    Above,
    NonNegative,
    Number,
    Positive,
    check,
    checked,
    increasing,
    real_array,
)

if TYPE_CHECKING:
    import xarray as xr

MIN_ACCEPTANCE = 0.9
MAX_ERROR = 3.0
# Half a chain is then worth at least five independent draws.
MAX_R_HAT = 1.1
MIN_DRIFT_P_VALUE = 1e-3


def local_learning_coefficient(
    energies: ArrayLike,
    energy_at_centre: float,
    n: float,
    beta: float | None = None,
    loss: Loss = "full",
) -> Estimate:
    """Estimate λ(w*) by λ̂ = nβ(E[L_n(w)] − L_n(w*)) around w*.

    The expectation is over exp(−nβL_n(w) − (γ/2)|w − w*|²).

    ``energies`` [..., chain, draw] are nL_n(w) and ``energy_at_centre`` nL_n(w*), both relative to
    one reference, total nats; β is 1/log n unless given. A fixed γ is global as n → ∞: see
    ``local_scan``. Raises ValueError for n ≤ 1, β ≤ 0 or fewer than 4 draws.

    Source: Lau, Furman, Wang, Murfet & Wei, The local learning coefficient, AISTATS 2025.

    >>> energies = [[1.0, 2.0, 3.0, 2.0, 1.0, 3.0]]
    >>> float(local_learning_coefficient(energies, energy_at_centre=1.0, n=10, beta=0.5).value)
    0.5
    """
    n = checked("n", n, Annotated[float, Above(1)])
    beta = 1 / np.log(n) if beta is None else checked("beta", beta, Positive)
    energy_at_centre = checked("energy_at_centre", energy_at_centre, Number)
    check("loss", loss, Loss)
    basis = Basis(float(n), float(beta), "w*", loss)
    return mean_over_chains(real_array("energies", energies) - energy_at_centre, basis).scaled(beta)


def local_scan(
    energies: ArrayLike,
    energy_at_centre: float,
    n: float,
    gamma: ArrayLike,
    step_size: ArrayLike,
    acceptance: ArrayLike,
    beta: float | None = None,
    loss: Loss = "full",
) -> xr.Dataset:
    """Tabulate the local learning coefficient by γ and step size, (gamma, step_size).

    ``energies`` [γ, ε, chain, draw] and ``acceptance`` [γ, ε, chain] are of runs at every pair, as
    ``sgld`` gives them. Chains have *settled* if their split R̂ is at most 1.1 and the difference
    between their halves has a p-value of at least 1e-3: those that start at w* and have hardly left
    it are accepted always. The bias of a step is (λ̂(ε) − λ̂(ε′)) ε/(ε − ε′), as it is linear in ε,
    with ε′ the next smaller step whose chains have settled, or else the next larger one.

    Variables: ``local_learning_coefficient``; ``discretisation``, the size of the bias; ``_se``,
    the standard error that contains it; the mean ``acceptance``; ``r_hat`` and ``drift_p_value``;
    ``step_bias``, the bias in units of its standard error, NaN where there is no other step to
    compare with; ``extrapolated``, λ̂ without its bias, with the standard error ``_se`` that still
    contains the whole size of it, both NaN where there is no other step; ``settled``; and
    ``reliable``: the chains have settled and are accepted at least 0.9 of the time, and the bias
    is known and at most 3 of its standard errors or of those of λ̂ without it.
    One chain or one step is never reliable, as nothing shows a drift or a bias. Where no range of γ
    gives one value, the point has no scale of its own. Raises ValueError as
    ``local_learning_coefficient``, for shapes that differ, for γ that are negative or not finite,
    and for step sizes that are not positive and finite or do not increase.
    """
    import xarray as xr

    array, accepted = real_array("energies", energies), real_array("acceptance", acceptance)
    gamma, step_size = real_array("gamma", gamma), real_array("step_size", step_size)
    _check_scan(array, accepted, gamma, step_size)
    estimate = local_learning_coefficient(array, energy_at_centre, n, beta, loss)
    by_pair = np.moveaxis(array, (2, 3), (0, 1))
    mixing, drift = r_hat(by_pair), drift_p_value(by_pair)
    # Written so that NaN fails.
    settled = np.isfinite(estimate.value) & (mixing <= MAX_R_HAT) & (drift >= MIN_DRIFT_P_VALUE)
    bias, bias_error, unbiased_error = _bias_of_steps(estimate, step_size, settled)
    unbiased = np.abs(bias) <= MAX_ERROR * np.maximum(bias_error, estimate.standard_error)
    accepted = accepted.mean(axis=-1)
    total = estimate.with_part("discretisation", np.abs(bias), np.inf).standard_error
    axes = ("gamma", "step_size")
    scan = xr.Dataset(
        {
            "local_learning_coefficient": (axes, estimate.value),
            "local_learning_coefficient_se": (
                axes,
                np.where(np.isnan(bias), estimate.standard_error, total),
            ),
            "discretisation": (axes, np.abs(bias)),
            "acceptance": (axes, accepted),
            "r_hat": (axes, mixing),
            "drift_p_value": (axes, drift),
            "step_bias": (axes, in_standard_errors(bias, bias_error)),
            "extrapolated": (axes, estimate.value - bias),
            "extrapolated_se": (axes, np.hypot(unbiased_error, bias)),
            "settled": (axes, settled),
            "reliable": (axes, settled & (accepted >= MIN_ACCEPTANCE) & unbiased),
        },
        coords={"gamma": gamma, "step_size": step_size},
        attrs={"n": float(n), "beta": estimate.basis.beta, "reference": "w*", "loss": loss},
    )
    return labelled(scan)


def _check_scan(energies: Floats, acceptance: Floats, gamma: Floats, step_size: Floats) -> None:
    if energies.ndim != 4 or energies.shape[:2] != (gamma.size, step_size.size):
        raise ValueError(
            f"energies have shape {energies.shape}; allowed is [{gamma.size}, {step_size.size}, "
            "chain, draw] for these gamma and step_size"
        )
    if acceptance.shape != energies.shape[:3]:
        raise ValueError(
            f"acceptance has shape {acceptance.shape}; allowed is {energies.shape[:3]}"
        )
    for i, value in enumerate(gamma):
        check(f"gamma[{i}]", value, NonNegative)
    increasing("step_size", step_size, Positive)


def _bias_of_steps(
    estimate: Estimate, step_size: Floats, settled: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """Estimate the bias of each step [γ, ε], its standard error and that of λ̂ without it.

    All are NaN without another step.
    """
    other = np.array([_compared_with(row) for row in settled])
    value, error = estimate.value, estimate.standard_error
    against, its_error = (
        np.take_along_axis(a, np.maximum(other, 0), axis=1) for a in (value, error)
    )
    factor = step_size / (step_size - np.where(other < 0, np.nan, step_size[other]))
    bias = (value - against) * factor
    bias_error = np.hypot(error, its_error) * np.abs(factor)
    return bias, bias_error, np.hypot((1 - factor) * error, factor * its_error)


def _compared_with(settled: NDArray[np.bool_]) -> list[int]:
    """Choose for each step the next smaller one that has settled, or else larger; −1 for none."""
    others = np.flatnonzero(settled)
    chosen = []
    for i in range(len(settled)):
        smaller, larger = others[others < i], others[others > i]
        chosen.append(int(smaller[-1] if smaller.size else larger[0] if larger.size else -1))
    return chosen
