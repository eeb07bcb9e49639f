"""Learning curves in one call: sampled beside exact on the same data, resumed, refused, drawn."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr

import slt_jax as slt
from slt_jax.curves.sampled_curve import CHAIN_SAMPLERS

LINEAR = slt.named_problems()["linear_3"]
SIZES, SETS, SEEDS, K = (10, 40), 2, 16, 9.5
SMC = slt.SMCSettings(num_chains=16, chain_length=8)
CHAINS = CHAIN_SAMPLERS | {"nuts": slt.NUTSSettings(num_warmup=200, num_draws=100)}
QUANTITIES = {
    "normalised_free_energy": 0.3,
    "normalised_wbic": 0.6,
    "lambda_wbic": 0.3,
    "bayes_generalisation_error": 0.02,
    "gibbs_generalisation_error": 0.05,
    "functional_variance": 0.5,
}


def curve_of(problem: slt.Problem = LINEAR, **changes: Any) -> xr.Dataset:
    arguments: dict[str, Any] = {
        "n": SIZES, "key": jax.random.key(0), "data_sets": SETS, "sampler": SMC, "seeds": SEEDS,
    }  # fmt: skip
    return slt.learning_curve(problem, **(arguments | changes))


@functools.cache
def curve() -> xr.Dataset:
    return curve_of()


@pytest.mark.false_alarm(comparisons=6 * 4, standard_errors=K, degrees_of_freedom=SEEDS - 1)
def test_sampled_curves_are_the_exact_ones() -> None:
    assert dict(curve().sizes) == {"n": 2, "replicate": SETS}
    for name, largest in QUANTITIES.items():
        error = curve()[f"{name}_se"]
        assert ((error > 0) & (error < largest)).all(), name
        assert (abs(curve()[name] - curve()[f"exact_{name}"]) < K * error).all(), name
    assert curve()["converged"].all()
    assert float(curve()["learning_coefficient"]) == 1.5


def test_every_variable_has_a_long_name_and_units() -> None:
    for name, variable in curve().variables.items():
        assert variable.attrs.keys() >= {"long_name", "units"}, name


def test_data_sets_are_nested_in_n() -> None:
    longer = curve_of(n=(10, 40, 50))
    exact = "exact_normalised_free_energy"
    assert np.array_equal(longer[exact].sel(n=[10, 40]), curve()[exact])


def test_a_curve_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = curve_of(folder=tmp_path)
    saved = sorted(path.name for path in (tmp_path / "tasks").glob("*.nc"))
    assert len(saved) == len(SIZES)
    (tmp_path / "tasks" / saved[0]).unlink()
    xr.testing.assert_identical(curve_of(folder=tmp_path), first)
    with pytest.raises(ValueError, match="seeds"):
        curve_of(folder=tmp_path, seeds=SEEDS + 1)


def test_the_figure_has_three_panels() -> None:
    axes = slt.plot_learning_curve(curve()).axes
    assert [axis.get_ylabel() for axis in axes] == [
        r"$F_n - nL_n(w_0)$  [nats]",
        r"$\hat\lambda = (\mathrm{WBIC} - nL_n(w_0))/\log n$",
        r"$n\,\times$ generalisation error  [nats]",
    ]
    labels = axes[0].get_legend_handles_labels()[1]
    assert {"$F_n$ exact", "$F_n$ sampled", "WBIC exact"} < set(labels)
    assert "not all converged" not in labels
    spoilt = curve().assign(converged=curve()["converged"] & (curve()["n"] > 10))
    assert (
        "not all converged"
        in slt.plot_learning_curve(spoilt).axes[0].get_legend_handles_labels()[1]
    )
    with pytest.raises(ValueError, match="curve: has no normalised_free_energy; must be a dataset"):
        slt.plot_learning_curve(xr.Dataset())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": (10, 5)}, r"n\[1\] = 5: must be > 10, the one before"),
        ({"n": (2, 5)}, r"n\[0\] = 2: must be an integer from 3 to"),
        (
            {"n": (10, 2**32), "data_sets": 999},
            r"n = 4294967296: 999 data sets of linear_3 would take \d+",
        ),
        ({"n": ()}, r"n = \(\)"),
        ({"n": (10.5,)}, r"n\[0\] = 10\.5: must be an integer"),
        ({"data_sets": 1}, "data_sets = 1"),
        ({"held_out": 0}, "held_out = 0"),
        ({"step_size": -1.0}, r"step_size = -1\.0"),
        ({"sampler": slt.SMCSettings}, "sampler = <class"),
        ({"key": 0}, "key = 0: must be one key"),
        ({"problem": "linear_3"}, "problem = 'linear_3': must be a Problem"),
    ],
)
def test_wrong_input_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        curve_of(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", CHAINS.values(), ids=CHAINS)
def test_every_sampler_draws_the_exact_curve(sampler: Any) -> None:
    sampled = curve_of(sampler=sampler)
    for name in QUANTITIES:
        error = sampled[f"{name}_se"]
        assert (abs(sampled[name] - sampled[f"exact_{name}"]) < K * error).all(), name


@pytest.mark.slow
def test_a_truth_without_quadrature_is_simulated() -> None:
    relu = slt.named_problems()["relu_1"]
    few, many = (curve_of(relu, n=(50,), held_out=size) for size in (100, 10_000))
    name = "bayes_generalisation_error"
    assert f"exact_{name}" not in few
    assert float(few[f"{name}_se"].mean()) > 3 * float(many[f"{name}_se"].mean())
