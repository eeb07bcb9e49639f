"""Reading a curve, on curves whose answers are known."""

from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
import xarray as xr

from slt_jax.curves.comparison import (
    against_asymptote,
    along_problems,
    best_free_energy,
    calibration_of,
    convergence_of,
    coverage_note,
    curves_of,
    estimate_in,
)
from slt_jax.curves.config import SAMPLER_NAMES, SamplerName
from slt_jax.curves.sampled_curve import CHAIN_SAMPLERS
from slt_jax.models.linear import LinearRegression
from slt_jax.problem import Problem
from slt_jax.theory import Theory

SIZES = [10, 100, 1000]
REPLICATES = 4


def test_a_sampler_that_can_be_asked_for_has_settings_and_a_name() -> None:
    assert set(get_args(SamplerName)) == set(SAMPLER_NAMES) == {"smc", *CHAIN_SAMPLERS}


def example_theory(multiplicity: int = 1) -> Theory:
    return Theory(Fraction(3, 4), multiplicity, "exact", "a test")


def of_theory(curve: xr.Dataset, multiplicity: int = 1) -> xr.Dataset:
    return curve.assign(multiplicity=multiplicity)


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
    n, found = best_free_energy(curve(normalised_free_energy=values))
    np.testing.assert_array_equal(n, [10, 1000])
    assert found.shape == (2, REPLICATES)


@pytest.mark.parametrize("multiplicity", [1, 2])
def test_slope_of_a_curve_on_its_asymptote(multiplicity: int) -> None:
    """λ from n = 100 on, whatever happens before and whatever the constant of a data set."""
    logs = np.log(SIZES)
    values = (0.75 * logs - (multiplicity - 1) * np.log(logs))[:, None] + np.array([0, 1, -2, 5.0])
    values[0] -= 6.0
    found = against_asymptote(of_theory(curve(exact_normalised_free_energy=values), multiplicity))
    assert found["slope"] == pytest.approx(0.75)
    assert found["slope_se"] == pytest.approx(0, abs=1e-12)
    assert "increments" not in found


def test_slope_error_by_hand() -> None:
    """Slopes λ + (0, 1, 2, 3)."""
    values = (0.75 + np.arange(4.0)) * np.log(SIZES)[:, None]
    found = against_asymptote(of_theory(curve(normalised_free_energy=values)))
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
    found = against_asymptote(of_theory(curve(normalised_free_energy=1.0).merge(gaps)))
    assert found["increments"] == [
        {"from_n": 10, "gap": 0.5, "gap_se": 0.2},
        {"from_n": 100, "gap": -0.1, "gap_se": 0.0},
    ]


def test_one_size_has_no_slope() -> None:
    small = curve(normalised_free_energy=1.0).isel(n=[1])
    assert against_asymptote(of_theory(small)) == {}


# --- several problems -----------------------------------------------------------------------


def test_curves_of_several_problems_in_one_dataset() -> None:
    """A variable that a problem does not have is not there, and what is known of it is."""
    known = Problem("known", LinearRegression(), {}, example_theory(2), title="with a theorem")
    other = Problem("other", LinearRegression(), {}, title="without")
    first = curve(normalised_free_energy=1.0, exact_normalised_free_energy=2.0)
    second = curve(normalised_free_energy=3.0)
    dataset = along_problems([known, other], [first, second])
    assert dataset["title"].to_numpy().tolist() == ["with a theorem", "without"]
    assert dataset["exact_learning_coefficient"].to_numpy().tolist() == ["3/4", ""]
    assert dataset["multiplicity"].to_numpy().tolist() == [2, 0]
    logs = np.log(SIZES)
    np.testing.assert_allclose(dataset["asymptote"][0], 0.75 * logs - np.log(logs))
    curves = curves_of(dataset)
    assert list(curves) == ["known", "other"]
    assert "exact_normalised_free_energy" in curves["known"]
    assert not {"exact_normalised_free_energy", "asymptote", "learning_coefficient"} & set(
        curves["other"]
    )
    assert curves["other"].attrs["degrees_of_freedom"] == 7
    np.testing.assert_array_equal(curves["other"]["normalised_free_energy"], 3.0)


def test_unconverged_jobs_are_counted_where_there_were_any() -> None:
    converged = np.array([[True] * 4, [True, False, False, True], [False] * 4])
    reasons = np.where(converged, "", "seeds disagree").astype(object)
    reasons[2] = "not sampled"
    made = curve(converged=converged).assign(reason=(("n", "replicate"), reasons))
    assert convergence_of(made) == {"jobs": 8, "not_converged": 2}
    row = {**convergence_of(made), "calibration": {}}
    assert coverage_note({"a": row, "b": row}) == "4 of 16 jobs did not converge."
    compared = {"comparisons": 10, "coverage_95": 0.9}
    both = coverage_note({"a": row | {"calibration": {"x": compared, "y": compared}}})
    assert "cover the exact ones in 90.0% of 20 comparisons; 2 of 8 jobs" in both
