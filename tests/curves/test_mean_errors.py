"""Mean errors: n times them, the control variate in all, and ν̂ by five routes."""

import numpy as np
import pytest
import xarray as xr

from slt_jax.curves.errors import QUANTITIES, with_control_variate
from slt_jax.curves.mean_errors import (
    as_columns,
    exact_mean,
    is_negligible,
    sampled_mean,
    singular_fluctuations,
)

SIZES = np.array([10, 100])
LAMBDA, NU = 0.5, 0.4
LIMITS = dict(zip(QUANTITIES, (LAMBDA, LAMBDA + NU, LAMBDA - 2 * NU, LAMBDA - NU), strict=False))


def curve() -> xr.Dataset:
    """Errors in the ratios of the theory, with a spread that their control takes away."""
    axes = ("n", "replicate")
    noise = np.random.default_rng(1).normal(size=(2, 8))
    control = (noise - noise.mean(axis=1, keepdims=True)) / SIZES[:, None]
    variables: dict = {"exact_control": (axes, control)}
    for name in QUANTITIES:
        values = np.full_like(noise, 2 * NU)
        if name in LIMITS:
            values = LIMITS[name] / SIZES[:, None] - with_control_variate(name, 0.0, control)
        variables[f"exact_{name}"] = variables[name] = (axes, values)
        variables[f"{name}_se"] = (axes, np.full_like(noise, 0.01))
    reason = np.array([[""] * 8, ["not sampled"] * 8])
    return xr.Dataset(
        variables | {"reason": (axes, reason)}, {"n": SIZES}, {"degrees_of_freedom": 7}
    )


@pytest.mark.parametrize("name", QUANTITIES)
def test_means_are_scaled_by_n_and_lose_the_spread_of_the_control(name: str) -> None:
    exact, sampled = exact_mean(curve(), name), sampled_mean(curve(), name)
    limit = LIMITS.get(name, 2 * NU)
    assert exact.value == pytest.approx([limit, limit])
    assert exact.standard_error == pytest.approx([0, 0], abs=1e-12)
    assert sampled.value == pytest.approx([limit])
    scale = 1 if name == "functional_variance" else SIZES[0]
    assert sampled.standard_error == pytest.approx([0.01 * scale / np.sqrt(8)])


def test_all_routes_to_the_singular_fluctuation() -> None:
    routes = singular_fluctuations(curve())
    assert list(routes) == ["variance", "bayes", "gibbs", "training", "gibbs_difference"]
    for estimate in routes.values():
        assert estimate.value == pytest.approx([NU, NU])


def test_what_is_negligible() -> None:
    assert is_negligible(-3.9, 1.0, 0.0)
    assert not is_negligible(4.1, 1.0, 0.0)
    assert is_negligible(0.049, 0.0, 1.0)
    assert not is_negligible(-0.051, 0.0, 1.0)


def test_columns_for_json() -> None:
    columns = as_columns(sampled_mean(curve(), "functional_variance"))
    assert list(columns) == ["value", "standard_error", "half_width"]
    assert columns["half_width"][0] > 1.96 * columns["standard_error"][0]
