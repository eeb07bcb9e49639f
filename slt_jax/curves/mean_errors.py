"""Mean errors of a curve's data sets, ν by five routes, and when a difference is negligible."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import estimate_in, sampled_sizes
from slt_jax.curves.errors import QUANTITIES, with_control_variate
from slt_jax.estimators import (
    Estimate,
    bayes_fluctuation,
    gibbs_fluctuation,
    mean_over_data_sets,
    variance_fluctuation,
)

MAX_Z_SCORE = 4.0
MAX_RELATIVE_ERROR = 0.05


def is_negligible(value: float, standard_error: float, scale: float) -> bool:
    """Say if a difference is 0 within 4 standard errors or within 5 % of a positive ``scale``.

    The second allows for what is of higher order in 1/n, which an exact mean resolves.
    """
    return bool(abs(value) <= max(MAX_Z_SCORE * standard_error, MAX_RELATIVE_ERROR * scale))


def exact_errors_of(curve: xr.Dataset) -> list[np.ndarray]:
    """Return the exact ``QUANTITIES`` [n, replicate], per datum, with their control variate."""
    control = curve["exact_control"].to_numpy()
    return [
        with_control_variate(name, curve[f"exact_{name}"].to_numpy(), control)
        for name in QUANTITIES
    ]


def exact_mean(curve: xr.Dataset, name: str) -> Estimate:
    """Average n·error, or V_n, one of the exact ``QUANTITIES``, over data sets at each n."""
    values = exact_errors_of(curve)[QUANTITIES.index(name)]
    return mean_over_data_sets(values).scaled(_scale(curve, name))


def sampled_mean(curve: xr.Dataset, name: str) -> Estimate:
    """Average n·error, or V_n, one of the sampled ``QUANTITIES``, at each n that was sampled.

    Sampled values have the control of their own data set, which is exact, so that they differ
    from the exact ones by Monte Carlo alone.
    """
    at = curve.sel(n=sampled_sizes(curve))
    errors = estimate_in(at, name)
    value = with_control_variate(name, errors.value, at["exact_control"].to_numpy())
    return mean_over_data_sets(errors._replace(value=value)).scaled(_scale(at, name))


def _scale(curve: xr.Dataset, name: str) -> np.ndarray:
    n = curve["n"].to_numpy().astype(float)
    return np.ones(n.size) if name == "functional_variance" else n


def singular_fluctuations(curve: xr.Dataset) -> dict[str, Estimate]:
    """Estimate ν [n] by five routes; that they agree is what the equations of state say.

    ``variance`` is V_n/2, ``bayes`` n(B_g − B_t)/2, ``gibbs`` n(G_g − B_g), ``training``
    n(G_t − B_t) and ``gibbs_difference`` n(G_g − G_t)/2, each a mean over data sets.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009).
    """
    at_each_n = [
        {
            "variance": variance_fluctuation(variance, 1.0),
            "bayes": bayes_fluctuation(b_g, b_t, n),
            "gibbs": gibbs_fluctuation(g_g, b_g, n),
            "training": gibbs_fluctuation(g_t, b_t, n),
            "gibbs_difference": bayes_fluctuation(g_g, g_t, n),
        }
        for n, b_g, g_g, b_t, g_t, variance in zip(
            curve["n"].to_numpy(), *exact_errors_of(curve), strict=True
        )
    ]
    return {route: stacked([routes[route] for routes in at_each_n]) for route in at_each_n[0]}


def stacked(estimates: Sequence[Estimate]) -> Estimate:
    """Make one estimate [N] of N scalar ones that have the same degrees of freedom."""
    return Estimate(
        np.array([float(estimate.value) for estimate in estimates]),
        np.array([float(estimate.standard_error) for estimate in estimates]),
        estimates[0].degrees_of_freedom,
    )


def as_columns(estimate: Estimate) -> dict[str, list[float]]:
    """Return an estimate [N] as lists: ``value``, ``standard_error``, ``half_width`` of 95 %."""
    return {
        "value": np.asarray(estimate.value).tolist(),
        "standard_error": np.asarray(estimate.standard_error).tolist(),
        "half_width": estimate.half_width().tolist(),
    }
