"""Learning curves: the control, the online loss, sampled against exact, and the verdict."""

import contextlib
import dataclasses
import functools
import io
import json
import os
import sys
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
import xarray as xr
from slt_jax.curves.learning import held_out_points, own_prior_scale, with_prior_scale

from experiments import learning_curves
from experiments.learning_curves import verdict as learning_report
from slt_jax.curves.errors import (
    QUANTITIES,
    cumulative_loss_gap,
    errors_of_draws,
    exact_errors,
    with_control_variate,
)
from slt_jax.data import simulate, statistics_of
from slt_jax.models import named_problems
from slt_jax.models.linear import LinearRegression
from slt_jax.oracles import Oracle, generalisation_errors, oracle_for, quadrature_points
from slt_jax.problem import Problem
from slt_jax.report import main as cli
from slt_jax.report import plotting
from slt_jax.run.sweep import Batch
from slt_jax.statistics import Data
from slt_jax.theory import regular

SMOKE = learning_curves.PRESETS["smoke"]
FILES = [f"learning_curves.{kind}" for kind in ("json", "nc", "pdf", "png", "svg")]
LINEAR = Problem(
    "linear_1",
    LinearRegression(input_dim=1),
    {"w": np.array([0.5])},
    regular(1),
    statistics="y = wx",
)
NUM_DATA = 12


@functools.cache
def oracle() -> Oracle:
    found = oracle_for(LINEAR)
    assert found is not None
    return found


@functools.cache
def data_sets(count: int = 10) -> tuple[Data, ...]:
    keys = jax.random.split(jax.random.key(71), count)
    return tuple(jax.tree.map(np.asarray, simulate(LINEAR, key, NUM_DATA)) for key in keys)


@functools.cache
def errors() -> xr.Dataset:
    return exact_errors(oracle(), data_sets(), quadrature_points(LINEAR))


# --- exact errors and their control -------------------------------------------------------------


def test_the_control_has_mean_zero_and_takes_spread_away() -> None:
    """6 standard errors, one comparison."""
    control = errors()["control"].to_numpy()
    standard_error = control.std(ddof=1) / np.sqrt(control.size)
    assert abs(control.mean()) < 6 * standard_error
    plain = errors()["bayes_generalisation_error"].to_numpy()
    spread = with_control_variate("bayes_generalisation_error", plain, control).std()
    assert spread < 0.75 * plain.std()


def test_the_control_is_a_next_datum_less_its_expectation() -> None:
    """LOO is what F_n gains by a datum, on average over which one comes last."""
    data = data_sets()[0]
    rows = np.concatenate([np.ones((1, NUM_DATA)), 1 - np.eye(NUM_DATA)])
    all_statistics = [statistics_of(LINEAR, data, row) for row in rows]
    evidences = oracle().log_evidence(
        jax.tree.map(lambda *leaves: np.stack(leaves), *all_statistics)
    )
    gained = np.mean(evidences.value[1:] - evidences.value[0])
    fewer = Data(data.x[:-1], data.y[:-1])
    expected = generalisation_errors(oracle(), fewer, held_out()).bayes_generalisation_error
    control = float(errors()["control"][0])
    assert control == pytest.approx(gained - float(expected.value), rel=1e-9)


def test_signs_of_the_control() -> None:
    found = [with_control_variate(name, 0.0, 2.0) for name in QUANTITIES]
    assert found == [1.0, 1.0, -1.0, -1.0, 0.0]


def test_leaving_one_out_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="n = 1"):
        exact_errors(oracle(), [Data(d.x[:1], d.y[:1]) for d in data_sets()], held_out())


def test_the_online_loss_is_the_free_energy() -> None:
    """It is not the loss of one who has seen all data."""
    data = data_sets()[0]
    gap, bound = cumulative_loss_gap(oracle(), data)
    assert gap <= bound < 1e-6
    afterwards = generalisation_errors(oracle(), data, held_out()).bayes_generalisation_error
    assert NUM_DATA * float(afterwards.value) > 100 * bound


def held_out():
    return quadrature_points(LINEAR)


def test_a_small_rule_where_points_would_be_many() -> None:
    """It has the entropy of the truth all the same: Gauss rules are exact for squares."""
    problem = named_problems()["reduced_rank_2_2_1_0"]
    few, many = held_out_points(problem), quadrature_points(problem)
    assert len(few.weights) < 0.1 * len(many.weights)
    assert held_out_points(LINEAR).weights.shape == held_out().weights.shape
    residuals = np.asarray(few.data.y)
    for weights in (few.weights, few.check):
        assert weights.sum() == pytest.approx(1.0)
        assert weights @ residuals**2 == pytest.approx(1.0)


# --- errors of draws -----------------------------------------------------------------------------


def posterior_draws(data: Data, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Of y = wx + N(0, 1), w ~ N(0, 1), in closed form."""
    precision = 1 + np.sum(data.x**2)
    mean = np.sum(data.x * data.y) / precision
    return mean + rng.normal(size=(*shape, 1)) / np.sqrt(precision)


def test_errors_of_draws_are_the_exact_ones() -> None:
    """From independent draws: first precise, then within 6 standard errors (1e-7), 15 comparisons.

    The data are padded with what would be seen: five more data that are not in the posterior.
    """
    rng = np.random.default_rng(5)
    chosen = data_sets()[:3]
    draws = np.stack([posterior_draws(data, (64, 64), rng) for data in chosen])
    padding = data_sets()[3]
    padded = jax.tree.map(
        lambda *parts: np.stack(parts),
        *(Data(*map(np.concatenate, zip(data, padding, strict=True))) for data in chosen),
    )
    found = errors_of_draws(LINEAR, NUM_DATA, padded, draws, held_out())
    for name in QUANTITIES:
        exact = errors()[name].to_numpy()[:3]
        standard_error = found[f"{name}_se"].to_numpy()
        assert np.all(standard_error < 0.1 * np.abs(errors()[name]).mean().item())
        assert np.all(np.abs(found[name].to_numpy() - exact) < 6 * standard_error)
        others = np.roll(exact, 1)
        assert np.any(np.abs(found[name].to_numpy() - others) > 10 * standard_error)


# --- priors --------------------------------------------------------------------------------------


def test_a_problem_with_another_prior() -> None:
    changed = with_prior_scale(LINEAR, 3.0)
    assert own_prior_scale(LINEAR) == 1.0
    assert own_prior_scale(changed) == 3.0
    assert changed.optimum is LINEAR.optimum


@pytest.mark.parametrize("name", ["tanh_2_even_truth", "mixture_2_fixed", "reduced_rank_4_3_2_1"])
def test_problems_without_all_that_is_needed(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        own_prior_scale(named_problems()[name])


# --- the verdict ---------------------------------------------------------------------------------

SIZES = np.array([10, 100, 1000])
FAR = np.array([100, 1000, 10000, 100000, 1000000])


def results(nu: float = 0.5, late: float = 0.0) -> xr.Dataset:
    """What a run would make of a problem with λ = ½: errors in the ratios of the theory.

    Each data set has a fluctuation of its own that the control takes away; the prior of scale 3
    makes F_n grow by ``late`` more, per unit of log n.
    """
    noise = np.random.default_rng(1).normal(size=(len(SIZES), 32))
    noise -= noise.mean(axis=1, keepdims=True)
    fluctuation = 0.3 * noise
    rest = 0.01 * np.roll(noise, 1, axis=1)
    lead = {
        "bayes_generalisation_error": 0.5, "gibbs_generalisation_error": 0.5 + nu,
        "bayes_training_error": 0.5 - 2 * nu, "gibbs_training_error": 0.5 - nu,
    }  # fmt: skip
    axes = ("n", "replicate")
    variables: dict = {"exact_functional_variance": (axes, 2 * nu + rest)}
    for name, value in lead.items():
        sign = with_control_variate(name, 0.0, 2.0)
        variables[f"exact_{name}"] = (axes, (value + rest + sign * fluctuation) / SIZES[:, None])
    variables["exact_control"] = (axes, -2 * fluctuation / SIZES[:, None])
    error = np.random.default_rng(2).standard_t(7, size=noise.shape)
    for name in QUANTITIES:
        variables[name] = (axes, variables[f"exact_{name}"][1] + 1e-3 * error)
        variables[f"{name}_se"] = (axes, np.full(noise.shape, 1e-3))
        variables[f"exact_{name}_error"] = (axes, np.zeros(noise.shape))
    growth = 0.5 * np.log(FAR)[:, None] + np.array([0.0, 1e-3]) * np.log(FAR)[:, None]
    variables["growth"] = (
        ("prior_scale", "far_n", "design"),
        np.stack([growth, growth + late * np.log(FAR)[:, None]]),
    )
    found = xr.Dataset(
        variables,
        coords={"n": SIZES, "far_n": FAR, "prior_scale": [1.0, 3.0]},
        attrs={"degrees_of_freedom": 7},
    )
    return found.assign(
        converged=(axes, np.ones(noise.shape, bool)),
        reason=(axes, np.full(noise.shape, "", dtype=object)),
        own_prior_scale=1.0,
        online_gap=1e-9,
        online_bound=1e-8,
    )


def judged(curve: xr.Dataset) -> dict:
    return learning_report.judge({"linear_1": LINEAR}, {"linear_1": curve})


def test_the_verdict_on_curves_of_the_theory() -> None:
    verdict = judged(results())
    assert verdict["claims"] == ["N3", "E14"]
    assert verdict["N3"]["verdict"] == "holds"
    row = verdict["N3"]["problems"]["linear_1"]
    assert all(row["equations_hold"].values())
    for name, value in (("bayes_generalisation_error", 0.5), ("gibbs_generalisation_error", 1.0)):
        mean, standard_error = row["errors"][name][-1]
        assert abs(mean - value) < 4 * standard_error
        assert standard_error < 0.01, "the control has not been added"
    assert {len(found) for found in row["singular_fluctuation"].values()} == {3}
    assert verdict["E14"]["verdict"].startswith("holds for every prior")
    assert verdict["E14"]["problems"]["linear_1"]["priors"]["3"]["from_n"] < 1000


@pytest.mark.parametrize(
    "spoil",
    [
        lambda curve: curve["exact_gibbs_generalisation_error"].data.__iadd__(0.3 / 1000),
        lambda curve: curve["exact_functional_variance"].data.__imul__(1.2),
        lambda curve: curve["exact_bayes_training_error"].data.__isub__(0.2 / 1000),
        lambda curve: curve["exact_control"].data.__iadd__(0.02),
        lambda curve: curve["growth"].data.__imul__(1.1),
    ],
)
def test_the_verdict_on_n3_can_fail(spoil) -> None:
    curve = results()
    spoil(curve)
    verdict = judged(curve)["N3"]
    assert verdict["verdict"] == "fails"
    assert verdict["statement"].startswith("fails")


def test_the_verdict_on_priors_can_fail() -> None:
    one, both = results(late=0.2), results(late=0.2)
    both["growth"] = 1.5 * both["growth"]
    assert judged(one)["E14"]["verdict"].startswith("holds only for 1 of 2 priors")
    assert judged(both)["E14"]["verdict"].startswith("fails up to")
    assert judged(one)["E14"]["problems"]["linear_1"]["priors"]["3"]["from_n"] is None


def test_unconverged_jobs_are_counted_and_not_compared() -> None:
    curve = results()
    curve["converged"][0, :3] = False
    row = judged(curve)["N3"]["problems"]["linear_1"]
    assert (row["not_converged"], row["jobs"]) == (3, 96)
    assert row["calibration"]["functional_variance"]["comparisons"] == 93


def test_where_a_description_begins() -> None:
    n = np.array([1.0, 2.0, 4.0, 8.0])
    begins = learning_report.described_from
    assert begins(n, np.array([0.3, 0.1, -0.3, 0.1]), 0.2) == 8.0
    assert begins(n, np.zeros(4), 0.2) == 1.0
    assert begins(n, np.array([0.0, 0.0, 0.0, np.nan]), 0.2) is None


# --- the command line ----------------------------------------------------------------------------


def command(*arguments: object) -> tuple[int, str, str]:
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["learning_curves", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            learning_curves.main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return status, out.getvalue(), err.getvalue()


def test_results_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but computing and saving figures, of which ``test_the_smoke_preset`` is."""
    curve, figures = results(), []
    curve["converged"][0, 0] = False
    monkeypatch.setattr(learning_curves, "learning_batches", lambda *_: [Batch("made", xr.Dataset)])
    monkeypatch.setattr(learning_curves, "assemble_learning", lambda *_: curve)
    monkeypatch.setattr(plotting, "save_figure", lambda figure, *_: figures.append(figure))
    status, out, err = command("--preset", "smoke", "--out", tmp_path / "results")
    assert status == 0, err
    verdict = json.loads((tmp_path / "results" / "learning_curves.json").read_text("utf-8"))
    assert set(verdict) == {"claims", "N3", "E14", "statement", "provenance"}
    assert verdict["statement"] in out
    (figure,) = figures
    words = {
        text.get_text()
        for axis in figure.axes
        if axis.get_legend()
        for text in axis.get_legend().get_texts()
    }
    assert "some jobs not converged" in words


@pytest.mark.slow
def test_the_smoke_preset(tmp_path: Path) -> None:
    folder, figures = tmp_path / "results", tmp_path / "figures"
    status, out, err = command("--preset", "smoke", "--out", folder, "--figures-dir", figures)
    assert status == 0, err
    verdict = json.loads((folder / "learning_curves.json").read_text("utf-8"))
    assert set(os.listdir(folder)) - {"batches"} == set(FILES)
    assert set(os.listdir(figures)) == set(FILES) - {"learning_curves.nc"}
    assert verdict["statement"] in out
    row = verdict["N3"]["problems"]["monomial_1_1"]
    assert row["limit_holds"]
    assert row["online_gap"] <= row["online_bound"]
    assert row["not_converged"] == 0
    assert verdict["E14"]["problems"]["monomial_1_1"]["priors"]["3"]["from_n"] is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--preset nope", "preset 'nope'"),
        ("--problems nope", "problem 'nope': choose from"),
        ("--problems mixture_2_fixed --prior-problems", "mixture_2_fixed: a learning curve needs"),
        ("--prior-problems linear_3", "prior_problems linear_3: must be among the problems"),
        ("--exact-sizes 40 10", "exact_sizes = (40, 10): must increase"),
        ("--sample-sizes 20", "sample_sizes [20]: must be among the exact_sizes"),
        ("--far-sizes 10 100", "far_sizes = (10, 100): at least 3"),
        ("--prior-scales 0", "prior_scales = (0.0,): must be positive"),
        ("--prior-scales 1 2 3 4 5 6 7", "7 prior_scales: at most 6"),
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
    for name, config in learning_curves.PRESETS.items():
        assert config.preset == name
        plans = {p: learning_curves.plan_of(config, p) for p in learning_curves.choose(config)}
        for problem, plan in plans.items():
            assert bool(plan.prior_scales) == (problem in config.prior_problems)
        assert dataclasses.replace(config, seed=1) != config
