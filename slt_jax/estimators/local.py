"""The local learning coefficient: how the loss grows around one point w*."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from slt_jax.estimators.chains import mean_over_chains
from slt_jax.estimators.estimate import Basis, Estimate, Loss

MIN_ACCEPTANCE = 0.9
MAX_ERROR = 3.0


def local_learning_coefficient(
    energies: ArrayLike,
    energy_at_centre: float,
    n: float,
    beta: float | None = None,
    loss: Loss = "full",
) -> Estimate:
    """λ̂(w*) = nβ(E[L_n(w)] − L_n(w*)) of a posterior exp(−nβL_n(w) − (γ/2)|w − w*|²).

    ``energies`` [..., chain, draw] are nL_n(w) and ``energy_at_centre`` nL_n(w*), both relative to
    one reference, total nats; β is 1/log n unless given. A fixed γ is global as n → ∞: see
    ``local_scan``. Raises ValueError for n ≤ 1, β ≤ 0 or fewer than 4 draws.

    Source: Lau, Furman, Wang, Murfet & Wei, The local learning coefficient, AISTATS 2025.
    """
    if not n > 1:
        raise ValueError(f"n = {n}: log n is used, so n must be > 1")
    beta = 1 / np.log(n) if beta is None else beta
    if not beta > 0:
        raise ValueError(f"beta = {beta}: must be positive")
    basis = Basis(float(n), float(beta), "w*", loss)
    return mean_over_chains(np.asarray(energies, float) - energy_at_centre, basis).scaled(beta)


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
    """The local learning coefficient by γ and step size, a table of dimensions (gamma, step_size).

    ``energies`` [γ, ε, chain, draw] and ``acceptance`` [γ, ε, chain] are of runs at every pair, as
    ``sgld`` gives them. Variables: ``local_learning_coefficient``, its ``_se``, the mean
    ``acceptance``, ``step_bias`` (the change from the next smaller step size in units of its
    standard error; NaN for the smallest) and ``reliable``: finite, accepted at least 0.9 of
    the time, and changed by no more than 3 standard errors. Where no range of γ gives one value,
    the point has no scale of its own. Raises ValueError as ``local_learning_coefficient``, and for
    shapes that differ or step sizes that do not increase.
    """
    array = np.asarray(energies, float)
    gamma, step_size = np.asarray(gamma, float), np.asarray(step_size, float)
    accepted = np.asarray(acceptance, float)
    if array.ndim != 4 or array.shape[:2] != (gamma.size, step_size.size):
        raise ValueError(
            f"energies have shape {array.shape}; allowed is [{gamma.size}, {step_size.size}, "
            "chain, draw] for these gamma and step_size"
        )
    if accepted.shape != array.shape[:3]:
        raise ValueError(f"acceptance has shape {accepted.shape}; allowed is {array.shape[:3]}")
    if not np.all(np.diff(step_size) > 0):
        raise ValueError(f"step_size = {step_size.tolist()}: must increase")
    found = local_learning_coefficient(array, energy_at_centre, n, beta, loss)
    error = found.standard_error
    change = np.full(found.value.shape, np.nan)
    change[:, 1:] = np.diff(found.value, axis=1) / np.hypot(error[:, 1:], error[:, :-1])
    accepted = accepted.mean(axis=-1)
    # The smallest step has nothing to be compared with; any other that is NaN is not reliable.
    settled = np.abs(change) <= MAX_ERROR
    settled[:, 0] = True
    reliable = np.isfinite(found.value) & (accepted >= MIN_ACCEPTANCE) & settled
    axes = ("gamma", "step_size")
    return xr.Dataset(
        {
            "local_learning_coefficient": (axes, found.value),
            "local_learning_coefficient_se": (axes, error),
            "acceptance": (axes, accepted),
            "step_bias": (axes, change),
            "reliable": (axes, reliable),
        },
        coords={"gamma": gamma, "step_size": step_size},
        attrs={"n": float(n), "beta": found.basis.beta, "reference": "w*", "loss": loss},
    )
