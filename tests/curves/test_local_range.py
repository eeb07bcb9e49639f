"""The range of γ that is averaged, on scans that are made up, and what speaks against it."""

import numpy as np
import pytest
import xarray as xr

from slt_jax.curves.local_range import Conclusion, Surroundings, around, flat_range

GAMMA = np.array([0.1, 0.3, 1.0, 3.0, 10.0])


def scan(values, error=0.02, bias=0.03, **changes) -> xr.Dataset:
    """λ̂ at each γ and two steps, of which the second has twice the bias and the error."""
    values = np.asarray(values, float)[:, None]
    shape, axes = (values.size, 2), ("gamma", "step_size")
    both = np.array([1.0, 2.0])
    variables = {
        "extrapolated": values + 0 * both,
        "local_learning_coefficient": values + bias * both,
        "discretisation": np.full(shape, bias) * both,
        "extrapolated_se": np.hypot(error, bias) * np.ones(shape) * both,
        "acceptance": np.full(shape, 0.98),
        "r_hat": np.full(shape, 1.01),
        "drift_p_value": np.full(shape, 0.5),
        "settled": np.ones(shape, bool),
    } | changes
    gamma = GAMMA[: values.size]
    return xr.Dataset(
        {name: (axes, value) for name, value in variables.items()},
        coords={"gamma": gamma, "step_size": both},
    )


def test_a_flat_range_is_averaged_with_all_parts_of_the_error() -> None:
    found = flat_range(scan([5.0, 2.02, 2.0, 1.98, 1.0]))
    assert found.reason == ""
    assert found.gamma == (0.3, 3.0)
    assert found.pairs == ((1, 0), (2, 0), (3, 0))
    assert found.value == pytest.approx(2.0)
    assert found.within_chains == pytest.approx(0.02 / np.sqrt(3))
    assert found.discretisation == pytest.approx(0.03)
    assert found.localisation == pytest.approx(0.02)
    parts = (found.within_chains, 0.03, 0.02)
    assert found.standard_error == pytest.approx(np.sqrt(np.sum(np.square(parts))))


def test_a_loss_that_never_changes_has_no_error() -> None:
    found = flat_range(scan(np.zeros(5), error=0.0, bias=0.0))
    assert (found.value, found.standard_error, found.reason) == (0.0, 0.0, "")


def test_no_flat_range_is_said() -> None:
    found = flat_range(scan([8.0, 4.0, 2.0, 1.0, 0.5]))
    assert found.reason == "no decade of gamma gives one value: 8 at gamma = 0.1 and 0.5 at 10"
    assert found.localisation == pytest.approx(3.75)
    # The same values with errors that could explain them are one.
    assert flat_range(scan([8.0, 4.0, 2.0, 1.0, 0.5], error=3.0)).reason == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"settled": np.zeros((5, 2), bool)},
            "chains have not settled (R-hat up to 1.01, p-value of the drift down to 0.5",
        ),
        ({"acceptance": np.full((5, 2), 0.5)}, "steps too long: MALA would accept at most 0.50"),
        ({"local_learning_coefficient": np.full((5, 2), np.nan)}, "energies are not finite"),
    ],
)
def test_runs_that_cannot_be_used(changes, reason) -> None:
    unsettled = {"settled": np.zeros((5, 2), bool)} if "acceptance" not in changes else {}
    found = flat_range(scan(np.full(5, 2.0), **(unsettled | changes)))
    assert found.reason.startswith(reason)
    assert np.isnan(found.value)


def test_gaps_and_narrow_scans_are_no_range() -> None:
    settled = np.ones((5, 2), bool)
    settled[[1, 3]] = False
    found = flat_range(scan(np.full(5, 2.0), settled=settled))
    assert "at gamma = 0.3, 3, and too few gamma are left" in found.reason
    assert found.value == pytest.approx(2.0)
    assert "less than a decade" in flat_range(scan([2.0, 2.0])).reason
    long = np.full((5, 2), 0.98)
    long[3:] = 0.5
    found = flat_range(scan(np.full(5, 2.0), acceptance=long).isel(gamma=[0, 1, 3, 4]))
    assert found.reason.startswith("steps too long: MALA would accept at most 0.50 of them")
    # One step of each that has settled is enough.
    settled[[1, 3], 1] = True
    assert flat_range(scan(np.full(5, 2.0), settled=settled)).pairs[1] == (1, 1)


def test_one_step_size_is_not_enough() -> None:
    one = scan(np.full(5, 2.0)).isel(step_size=[0])
    one["extrapolated_se"][:] = np.nan
    assert flat_range(one).reason == "one step size: nothing shows its bias"


FOUND = flat_range(scan(np.full(5, 2.0)))


@pytest.mark.parametrize(
    ("found", "surroundings", "is_minimum"),
    [
        (FOUND, Surroundings(fall=0.0, gradient=0.0, beta=0.2), True),
        # At the true weights, not those that fit the data: gradients are as large as their noise.
        (FOUND, Surroundings(fall=0.3, gradient=1.2, beta=0.2), True),
        (FOUND, Surroundings(fall=4.0, gradient=1.2, beta=0.2), False),
        # The last step of a training: steep, and next to nothing below.
        (FOUND, Surroundings(fall=0.05, gradient=30.0, beta=0.2), True),
        (FOUND, Surroundings(fall=0.3, gradient=30.0, beta=0.2), False),
        # At a saddle nothing is steep.
        (FOUND, Surroundings(fall=4.0, gradient=0.0, beta=0.2), False),
        (FOUND._replace(value=-2684.0), Surroundings(fall=0.0, gradient=0.0, beta=0.2), False),
        (FOUND._replace(value=np.nan), Surroundings(fall=100.0, gradient=30.0, beta=0.2), False),
    ],
)
def test_a_point_that_is_no_minimum(
    found: Conclusion, surroundings: Surroundings, is_minimum: bool
) -> None:
    concluded = around(found, surroundings)
    assert concluded.is_minimum == is_minimum
    assert ("w* is no minimum" in concluded.reason) != is_minimum
    assert np.isinf(concluded.standard_error) != is_minimum
    if is_minimum:
        total = np.hypot(found.standard_error, surroundings.fall)
        assert concluded.standard_error == pytest.approx(total)
