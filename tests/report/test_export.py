"""Runs as ArviZ and pandas take them, with and without ArviZ."""

import importlib
import sys
import types
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from slt_jax.estimators import ErrorSources, Estimate, mean_over_seeds, smoothed_leave_one_out
from slt_jax.report.export import draws_tree, estimates_table, tidy_table, to_arviz

CHAINS, DRAWS, DATA = 2, 50, 3


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"w": (2,), "scale": (), "l": (DATA,)}
    return {name: rng.normal(size=(CHAINS, DRAWS, *shape)) for name, shape in shapes.items()}


def tree() -> xr.DataTree:
    run = arrays()
    posterior = {"w": run["w"], "scale": run["scale"]}
    return draws_tree(posterior, run["l"], {"energy": -run["l"].sum(axis=-1)}, {"n": DATA})


# --- ArviZ ----------------------------------------------------------------------------------


def test_groups_have_the_names_that_arviz_knows() -> None:
    groups = tree()
    assert set(groups.children) == {"posterior", "log_likelihood", "sample_stats"}
    assert groups["posterior/w"].dims == ("chain", "draw", "w_dim_0")
    assert groups["posterior/scale"].dims == ("chain", "draw")
    assert groups["log_likelihood/y"].dims == ("chain", "draw", "y_dim_0")
    np.testing.assert_array_equal(groups["posterior/draw"], np.arange(DRAWS))
    np.testing.assert_array_equal(groups["log_likelihood/y"], arrays()["l"])
    assert groups.attrs == {"n": DATA}
    assert set(draws_tree({"w": arrays()["w"]}).children) == {"posterior"}


class InferenceData:
    """The class that ArviZ 0.23 makes of datasets by group."""

    def __init__(self, attrs: dict[str, Any], **groups: xr.Dataset) -> None:
        self.attrs, self.groups = attrs, groups


@pytest.mark.parametrize(("version", "kind"), [("0.23.4", InferenceData), ("1.3.0", xr.DataTree)])
def test_each_version_gets_its_own(
    version: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    arviz = types.SimpleNamespace(__version__=version, InferenceData=InferenceData)
    monkeypatch.setitem(sys.modules, "arviz", arviz)
    converted = to_arviz(tree())
    assert isinstance(converted, kind)
    assert converted.attrs == {"n": DATA}
    if isinstance(converted, InferenceData):
        assert set(converted.groups) == set(tree().children)
        xr.testing.assert_equal(converted.groups["posterior"], tree()["posterior"].to_dataset())


def test_without_arviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"pip install 'slt_jax\[arviz\]'"):
        to_arviz(tree())


def test_arviz_itself_takes_all_groups() -> None:
    """And sees in them the draws, their axes and what else the run says of itself."""
    arviz, converted = importlib.import_module("arviz"), to_arviz(tree())
    for name, group in tree().children.items():
        xr.testing.assert_equal(converted[name].to_dataset() if isinstance(
            converted, xr.DataTree) else converted[name], group.to_dataset())  # fmt: skip
    assert converted.attrs["n"] == DATA
    summary = arviz.summary(converted)
    assert list(summary.index) == ["w[0]", "w[1]", "scale"]
    assert float(summary["mean"].iloc[2]) == pytest.approx(arrays()["scale"].mean(), abs=6e-4)


def test_arviz_itself_leaves_one_out_alike() -> None:
    """The same expected log density; k̂ from another relative efficiency, so to 0.1 only."""
    log_ratios = 0.3 * arrays()["l"]
    run = draws_tree({"w": arrays()["w"]}, log_ratios)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it doubts the tails of so few draws
        loo = importlib.import_module("arviz").loo(to_arviz(run), pointwise=True)
    own = smoothed_leave_one_out(log_ratios)
    theirs = loo.elpd_loo if hasattr(loo, "elpd_loo") else loo.elpd
    assert float(theirs) == pytest.approx(-DATA * float(own.loss.value), rel=0.01)
    np.testing.assert_allclose(loo.pareto_k, own.pareto_shape, atol=0.1)


@pytest.mark.parametrize(
    ("posterior", "log_likelihood", "words"),
    [
        ({"w": np.zeros((2, 5, 3)), "b": np.zeros((2, 4))}, None, r"\(2, 4\), \(2, 5\)"),
        ({"w": np.zeros(5)}, None, r"\(5,\)"),
        ({"w": np.zeros((2, 5))}, np.zeros((2, 5)), r"shape \(2, 5\)"),
    ],
)
def test_refuses_other_shapes(posterior, log_likelihood, words) -> None:
    with pytest.raises(ValueError, match=words):
        draws_tree(posterior, log_likelihood)


# --- tables ---------------------------------------------------------------------------------


def test_draws_become_rows() -> None:
    table = tidy_table(tree()["posterior"].to_dataset())
    assert list(table.columns) == ["chain", "draw", "w[0]", "w[1]", "scale"]
    assert len(table) == CHAINS * DRAWS
    row = table[(table["chain"] == 1) & (table["draw"] == 7)].iloc[0]
    assert row["w[1]"] == arrays()["w"][1, 7, 1]
    assert row["scale"] == arrays()["scale"][1, 7]


def test_curves_become_rows() -> None:
    curve = xr.Dataset(
        {
            "free_energy": (("replicate", "n"), np.arange(6.0).reshape(2, 3)),
            "moments": (("n", "replicate", "order"), np.arange(12.0).reshape(3, 2, 2)),
        },
        coords={"n": [10, 100, 1000], "order": [1, 2], "log10_n": ("n", [1.0, 2.0, 3.0])},
    )
    table = tidy_table(curve, rows=("n", "replicate"))
    assert list(table.columns) == ["n", "replicate", "free_energy", "moments[0]", "moments[1]"]
    assert table["n"].tolist() == [10, 10, 100, 100, 1000, 1000]
    assert table["free_energy"].tolist() == [0, 3, 1, 4, 2, 5]
    assert table["moments[1]"].tolist() == [1, 3, 5, 7, 9, 11]


def mixed() -> xr.Dataset:
    """Variables of different dimensions, as the files of experiments have them."""
    return xr.Dataset(
        {
            "title": ("problem", ["one", "other"]),
            "free_energy": (("problem", "n"), np.arange(6.0).reshape(2, 3)),
            "wbic": (("n", "problem"), np.arange(6.0).reshape(3, 2)),
            "gap": (("problem", "decade"), np.arange(4.0).reshape(2, 2)),
            "elsewhere": ("width", [1.0, 2.0]),
            "seed": 7,
        },
        coords={"problem": ["a", "b"], "n": [10, 100, 1000]},
    )


def test_what_lacks_a_row_is_repeated_and_what_has_none_is_left_out() -> None:
    table = tidy_table(mixed())
    assert list(table.columns) == [
        "problem", "n", "title", "free_energy", "wbic", "gap[0]", "gap[1]", "seed",
    ]  # fmt: skip
    assert table["problem"].tolist() == ["a"] * 3 + ["b"] * 3
    assert table["title"].tolist() == ["one"] * 3 + ["other"] * 3
    assert table["free_energy"].tolist() == [0, 1, 2, 3, 4, 5]
    assert table["wbic"].tolist() == [0, 2, 4, 1, 3, 5]
    assert table["gap[1]"].tolist() == [1] * 3 + [3] * 3
    assert table["seed"].tolist() == [7] * 6
    by_width = tidy_table(mixed(), rows=("width",))
    assert by_width.to_dict("list") == {"width": [0, 1], "elsewhere": [1.0, 2.0], "seed": [7, 7]}


def test_tables_of_single_numbers_have_one_row() -> None:
    assert tidy_table(xr.Dataset({"a": 1.0, "b": 2.0})).to_dict("list") == {"a": [1.0], "b": [2.0]}


def test_tables_refuse_what_is_no_row() -> None:
    with pytest.raises(ValueError, match=r"no dimensions \['x'\]"):
        tidy_table(mixed(), rows=("n", "x"))


def test_estimates_become_rows_with_their_parts() -> None:
    parts = ErrorSources(within_chains=np.array([3.0]), between_chains=np.array([4.0]))
    one = Estimate(np.array([10.0]), np.array([5.0]), 7, parts)
    table = estimates_table({"waic": one, "seeds": mean_over_seeds([1.0, 3.0])})
    assert isinstance(table, pd.DataFrame)
    first, second = table.to_dict("records")
    assert first["index"] == (0,)
    assert (first["within_chains"], first["between_chains"]) == (3, 4)
    assert np.isnan(first["between_data_sets"])
    assert first["high"] - first["value"] == pytest.approx(2.3646 * 5, abs=1e-3)
    assert first["value"] - first["low"] == pytest.approx(first["high"] - first["value"])
    assert (second["name"], second["index"], second["value"]) == ("seeds", (), 2)
    assert second["between_chains"] == pytest.approx(1)
    assert second["loss"] == "full"
