"""Unrealisable problems: what is computed, the verdict on N6, its figure and the command line."""

import contextlib
import dataclasses
import io
import json
import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import xarray as xr

from experiments import unrealisable
from experiments.unrealisable import verdict as unrealisable_report
from experiments.unrealisable.figure import unrealisable_figure
from experiments.unrealisable.study import check_problem, expectation_at, kind_of, location_curve
from slt_jax.curves.errors import QUANTITIES
from slt_jax.models import named_problems
from slt_jax.report import main as cli
from slt_jax.report import plotting
from slt_jax.run.sweep import Batch

SMOKE = unrealisable.PRESETS["smoke"]
FILES = [f"unrealisable.{kind}" for kind in ("json", "nc", "pdf", "png", "svg")]
SIZES = np.array([10, 1000])


def problem(name: str):
    return named_problems()[name]


def results(bayes: float, gibbs: float, nu: float = 1.0, expected: bool = False) -> xr.Dataset:
    """Errors n⁻¹ times the given with V_n = 2n(G_g − B_g), in the equations of state."""
    noise = np.random.default_rng(1).normal(size=(2, 16))
    noise = 0.01 * (noise - noise.mean(axis=1, keepdims=True))
    apart = gibbs - bayes
    lead = {
        "bayes_generalisation_error": bayes, "gibbs_generalisation_error": gibbs,
        "bayes_training_error": bayes - 2 * apart, "gibbs_training_error": gibbs - 2 * apart,
    }  # fmt: skip
    axes = ("n", "replicate")
    variables: dict = {"exact_functional_variance": (axes, 2 * apart + noise)}
    for name, value in lead.items():
        own = np.roll(noise, name.startswith("gibbs"), axis=1)
        variables[f"exact_{name}"] = (axes, (value + own) / SIZES[:, None])
    variables["exact_control"] = (axes, np.zeros_like(noise))
    error = np.random.default_rng(2).standard_t(7, size=noise.shape)
    for name in QUANTITIES:
        variables[name] = (axes, variables[f"exact_{name}"][1] + 1e-3 * error)
        variables[f"{name}_se"] = (axes, np.full(noise.shape, 1e-3))
        variables[f"exact_{name}_error"] = (axes, np.zeros(noise.shape))
    found = xr.Dataset(variables, coords={"n": SIZES}, attrs={"degrees_of_freedom": 7})
    found = found.assign(
        converged=(axes, np.ones(noise.shape, bool)),
        reason=(axes, np.full(noise.shape, "", dtype=object)),
        regular_fluctuation=nu,
    )
    if expected:
        far = np.array([10.0, 1000.0, 100000.0])
        for name, value in (("bayes", bayes), ("gibbs", gibbs), ("variance", 2 * apart)):
            found[f"expected_{name}"] = ("expected_n", value / far)
            found[f"expected_{name}_error"] = ("expected_n", 1e-9 / far)
        found = found.assign_coords(expected_n=far)
    return found


def judged(**curves: xr.Dataset) -> dict:
    return unrealisable_report.judge({name: problem(name) for name in curves}, curves)


def test_the_verdict_on_errors_of_the_theory() -> None:
    verdict = judged(
        legendre_4_misspecified=results(2.0, 4.8),
        parabola_two_optima=results(-3.0, 1.25, expected=True),
    )
    assert verdict["claims"] == ["N6"]
    assert verdict["N6"]["verdict"] == (
        "holds only up to a factor 1 + ν/λ, and only where renormalisable"
    )
    rows = verdict["N6"]["problems"]
    assert [row["equal"] for row in rows.values()] == [False, False]
    assert [row["same_order"] for row in rows.values()] == [True, False]
    assert all(row["separated_by_variance"] for row in rows.values())
    assert all(all(row["equations_hold"].values()) for row in rows.values())
    assert rows["legendre_4_misspecified"]["last"]["ratio"][0] == pytest.approx(2.4)
    assert rows["parabola_two_optima"]["exponents"]["bayes"] == pytest.approx(1.0)
    assert rows["parabola_two_optima"]["routes_agree"]


def test_the_verdict_changes_with_the_numbers() -> None:
    assert judged(legendre_4_misspecified=results(2.0, 2.002))["N6"]["verdict"] == "holds"
    assert judged(legendre_4_misspecified=results(-2.0, 2.0))["N6"]["verdict"] == "fails"
    curve = results(2.0, 4.8, expected=True)
    curve["exact_functional_variance"] = 1.3 * curve["exact_functional_variance"]
    curve["expected_gibbs"] = 1.1 * curve["expected_gibbs"]
    row = judged(parabola_regular=curve)["N6"]["problems"]["parabola_regular"]
    assert not row["separated_by_variance"]
    assert not any(row["equations_hold"].values())
    assert not row["routes_agree"]


def test_kinds_of_problems() -> None:
    regular, singular = results(1.0, 2.0), results(1.0, 2.0, nu=np.nan)
    assert kind_of(problem("legendre_4_misspecified"), regular) == "regular"
    assert kind_of(problem("tanh_2_even_truth"), singular) == "singular"
    assert kind_of(problem("parabola_critical"), singular) == "not renormalisable"


def test_location_families_are_known_by_their_truth() -> None:
    found = location_curve(problem("parabola_two_optima"))
    assert found is not None
    assert found.c == 1.0
    assert location_curve(problem("tanh_2_even_truth")) is None
    at = expectation_at(found, 30)
    assert float(at["expected_bayes"]) < 0 < float(at["expected_gibbs"])


@pytest.mark.parametrize(
    ("name", "words"), [("linear_3", "is realisable"), ("superposition_5", "no exact oracle")]
)
def test_problems_without_all_that_is_needed(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_problem(problem(name))


def test_the_figure_marks_negative_errors_and_jobs_that_have_not_converged() -> None:
    curves = {
        "legendre_4_misspecified": results(2.0, 4.8),
        "parabola_two_optima": results(-3.0, 1.25, expected=True),
    }
    curves["legendre_4_misspecified"]["converged"][0, 0] = False
    figure = unrealisable_figure({name: problem(name) for name in curves}, curves)
    words = [
        text.get_text()
        for axis in figure.axes
        if axis.get_legend()
        for text in axis.get_legend().get_texts()
    ]
    assert "some jobs not converged" in words
    assert any(word.startswith("negative error") for word in words)
    assert "NOT renormalisable" in figure.axes[1].get_title()


# --- the command line ----------------------------------------------------------------------------


def command(*arguments: object) -> tuple[int, str, str]:
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["unrealisable", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            unrealisable.main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return status, out.getvalue(), err.getvalue()


def test_results_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but computing and saving figures, of which ``test_the_smoke_preset`` is."""
    curve = results(-3.0, 1.25, expected=True)
    monkeypatch.setattr(
        unrealisable, "unrealisable_batches", lambda *_: [Batch("made", xr.Dataset)]
    )
    monkeypatch.setattr(unrealisable, "assemble_unrealisable", lambda *_: curve)
    monkeypatch.setattr(plotting, "save_figure", lambda *_: None)
    status, out, err = command("--preset", "smoke", "--out", tmp_path / "results")
    assert status == 0, err
    verdict = json.loads((tmp_path / "results" / "unrealisable.json").read_text("utf-8"))
    assert set(verdict) == {"claims", "N6", "statement", "provenance"}
    assert verdict["statement"] in out


@pytest.mark.slow
def test_the_smoke_preset(tmp_path: Path) -> None:
    folder, figures = tmp_path / "results", tmp_path / "figures"
    status, out, err = command("--preset", "smoke", "--out", folder, "--figures-dir", figures)
    assert status == 0, err
    verdict = json.loads((folder / "unrealisable.json").read_text("utf-8"))
    assert set(os.listdir(folder)) - {"batches"} == set(FILES)
    assert set(os.listdir(figures)) == set(FILES) - {"unrealisable.nc"}
    assert verdict["statement"] in out
    row = verdict["N6"]["problems"]["parabola_two_optima"]
    assert row["last"]["bayes"][0] < 0 < row["last"]["gibbs"][0]
    assert row["routes_agree"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--preset nope", "preset 'nope'"),
        ("--problems nope", "problem 'nope': choose from"),
        ("--problems linear_3", "linear_3: is realisable"),
        ("--exact-sizes 40 10", "exact_sizes = (40, 10): must increase"),
        ("--sample-sizes 20", "sample_sizes [20]: must be among the exact_sizes"),
        ("--expected-sizes 0", "expected_sizes = (0,): must increase from at least 1"),
        ("--data-sets 1", "data_sets = 1: must be ≥ 2"),
        ("--oracle-level 4", "oracle_refinement = 4: must be 1 to 3"),
        ("--step-size inf", "step_size = inf: must be positive and finite"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: str, words: str, tmp_path: Path) -> None:
    preset = () if "--preset" in arguments else ("--preset", "smoke")
    with mock.patch.object(cli, "run_batches", None):
        status, out, err = command(*preset, "--out", tmp_path / "r", *arguments.split())
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err
    assert not (tmp_path / "r").exists()


def test_presets_are_runnable() -> None:
    for name, config in unrealisable.PRESETS.items():
        assert config.preset == name
        for chosen in unrealisable.choose(config).values():
            plan = unrealisable.plan_of(config, chosen)
            assert set(config.sample_sizes) <= set(plan.exact_sizes)
        assert dataclasses.replace(config, seed=1) != config
