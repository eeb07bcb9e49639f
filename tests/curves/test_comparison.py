"""Reading a curve, on curves whose answers are known."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import xarray as xr

from slt_jax.curves.comparison import (
    against_asymptote,
    best_free_energy,
    calibration_of,
    curve_table,
    estimate_in,
)
from slt_jax.models.linear import LinearRegression
from slt_jax.problem import Problem
from slt_jax.theory import Theory

SIZES = [10, 100, 1000]
REPLICATES = 4


def example_theory(multiplicity: int = 1) -> Theory:
    return Theory(Fraction(3, 4), multiplicity, "exact", "a test")


def curve(freedom: int = 7, **variables: Any) -> xr.Dataset:
    """Values broadcast to [n, replicate]."""
    shape = (len(SIZES), REPLICATES)
    return xr.Dataset(
        {
            name: (("n", "replicate"), np.broadcast_to(np.asarray(value), shape).copy())
            for name, value in variables.items()
        },
        coords={"n": SIZES},
        attrs={"degrees_of_freedom": freedom},
    )


def test_estimate_in() -> None:
    found = estimate_in(curve(normalised_wbic=2.0, normalised_wbic_se=0.5), "normalised_wbic")
    np.testing.assert_array_equal(found.value, np.full((3, REPLICATES), 2.0))
    np.testing.assert_array_equal(found.standard_error, np.full((3, REPLICATES), 0.5))
    assert found.degrees_of_freedom == 7


# --- calibration ----------------------------------------------------------------------------

COMPARABLE = {
    "normalised_free_energy": 3.0,
    "normalised_free_energy_se": 1.0,
    "normalised_free_energy_ti": 1.5,
    "normalised_free_energy_ti_se": 0.5,
    "exact_normalised_free_energy": 1.0,
    "exact_normalised_free_energy_error": 1e-9,
    "normalised_wbic": 0.0,
    "normalised_wbic_se": 1.0,
    "converged": True,
}


def test_calibration_pairs_each_estimate_with_its_exact_value() -> None:
    """Both routes to F_n have the one exact value; WBIC here has none."""
    names = ("normalised_free_energy", "normalised_free_energy_ti", "normalised_wbic")
    found = calibration_of(curve(**COMPARABLE), names)
    assert set(found) == {"normalised_free_energy", "normalised_free_energy_ti"}
    assert found["normalised_free_energy"]["largest"] == 2
    assert found["normalised_free_energy_ti"]["largest"] == 1
    for calibration in found.values():
        assert calibration["comparisons"] == 12
    # t₇: 68 % within 1.08 and 95 % within 2.36.
    assert (
        found["normalised_free_energy"]["coverage_68"],
        found["normalised_free_energy"]["coverage_95"],
    ) == (0, 1)
    assert found["normalised_free_energy_ti"]["coverage_68"] == 1


def test_calibration_uses_converged_jobs_only() -> None:
    """Those that did not may be NaN, as are those that were not sampled."""
    converged = np.ones((3, REPLICATES), bool)
    converged[2] = converged[0, 1] = False
    values = np.where(converged, 3.0, np.nan)
    changed = {"normalised_free_energy": values, "converged": converged}
    found = calibration_of(curve(**COMPARABLE | changed), ("normalised_free_energy",))
    assert found["normalised_free_energy"]["comparisons"] == 7


@pytest.mark.parametrize(
    ("freedom", "converged"), [(1, True), (2, True), (7, False)], ids=["t1", "t2", "none"]
)
def test_calibration_of_what_cannot_be_compared(freedom: int, converged: bool) -> None:
    made = curve(freedom, **COMPARABLE | {"converged": converged})
    assert calibration_of(made, ("normalised_free_energy", "normalised_wbic")) == {}


# --- asymptote ------------------------------------------------------------------------------


def test_best_free_energy_prefers_the_exact_one() -> None:
    n, values = best_free_energy(
        curve(normalised_free_energy=3.0, exact_normalised_free_energy=1.0)
    )
    np.testing.assert_array_equal(n, SIZES)
    np.testing.assert_array_equal(values, 1.0)
    n, values = best_free_energy(curve(normalised_free_energy=3.0))
    np.testing.assert_array_equal(values, 3.0)


def test_best_free_energy_leaves_out_incomplete_sizes() -> None:
    values = np.ones((3, REPLICATES))
    values[1, 2] = np.nan
    n, found = best_free_energy(curve(free_energy=values))
    np.testing.assert_array_equal(n, [10, 1000])
    assert found.shape == (2, REPLICATES)


@pytest.mark.parametrize("multiplicity", [1, 2])
def test_slope_of_a_curve_on_its_asymptote(multiplicity: int) -> None:
    """λ from n = 100 on, whatever happens before and whatever the constant of a data set."""
    logs = np.log(SIZES)
    values = (0.75 * logs - (multiplicity - 1) * np.log(logs))[:, None] + np.array([0, 1, -2, 5.0])
    values[0] -= 6.0
    found = against_asymptote(curve(exact_free_energy=values), example_theory(multiplicity))
    assert found["slope"] == pytest.approx(0.75)
    assert found["slope_se"] == pytest.approx(0, abs=1e-12)
    assert "increments" not in found


def test_slope_error_by_hand() -> None:
    """Slopes λ + (0, 1, 2, 3)."""
    values = (0.75 + np.arange(4.0)) * np.log(SIZES)[:, None]
    found = against_asymptote(curve(free_energy=values), example_theory())
    assert found["slope"] == pytest.approx(0.75 + 1.5)
    assert found["slope_se"] == pytest.approx(np.sqrt(5 / 3) / 2)


def test_increments_are_those_of_the_curve() -> None:
    gaps = xr.Dataset(
        {
            "increment_gap": ("decade_from", [0.5, -0.1]),
            "increment_gap_se": ("decade_from", [0.2, 0]),
        },
        coords={"decade_from": [10, 100]},
    )
    found = against_asymptote(curve(normalised_free_energy=1.0).merge(gaps), example_theory())
    assert found["increments"] == [
        {"from_n": 10, "gap": 0.5, "gap_se": 0.2},
        {"from_n": 100, "gap": -0.1, "gap_se": 0.0},
    ]


def test_one_size_has_no_slope() -> None:
    small = curve(normalised_free_energy=1.0).isel(n=[1])
    assert against_asymptote(small, example_theory()) == {}


# --- table ----------------------------------------------------------------------------------


def test_table_by_hand() -> None:
    """Means over data sets; the error of a mean of 4 is half that of each; ``!`` counts jobs."""
    names = (
        "normalised_free_energy",
        "normalised_free_energy_se",
        "normalised_wbic",
        "normalised_wbic_se",
        "lambda_wbic",
        "lambda_wbic_se",
    )
    sampled = dict.fromkeys(names, np.array([[1.0], [2.0], [np.nan]]))
    converged = np.array([[True] * 4, [True, False, False, True], [False] * 4])
    made = curve(**sampled, exact_free_energy=[[1.0], [2.5], [3.25]], converged=converged)
    problem = Problem("example", LinearRegression(), {}, example_theory(2))
    other = Problem("no oracle, no theory", LinearRegression(), {})
    curves = {problem.name: made, other.name: made.drop_vars("exact_normalised_free_energy")}
    head, first, second, third, *rest = curve_table([problem, other], curves).splitlines()
    assert head.split()[0] == "problem"
    errors = "1.000 ± 0.500 1.000 ± 0.500 1.000 ± 0.000"
    assert " ".join(first.split()) == f"example 10 1.000 {errors} 3/4 2"
    assert second.endswith("3/4   2  ! 2 of 4")
    assert " ".join(third.split()) == "example 1000 3.250 3/4 2"
    assert len(rest) == 3
    assert "–" in rest[0]
    assert "3/4" not in "".join(rest)
