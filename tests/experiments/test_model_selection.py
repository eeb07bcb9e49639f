"""Model selection: exact posteriors against oracles, rankings by hand, and every outcome."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.stats import kendalltau

import slt_jax as slt
from experiments.model_selection import PRESETS, Config
from experiments.model_selection.families import (
    TRAINING,
    Sample,
    families,
    features,
    latents,
    points,
    sample,
)
from experiments.model_selection.figure import figure
from experiments.model_selection.luck import Luck, crossing, draw_luck
from experiments.model_selection.posterior import _factor, _inverse, outputs, posteriors
from experiments.model_selection.ranking import (
    PROTOCOLS,
    pairs,
    protocol_scores,
    regret,
    signs,
    tau,
)
from experiments.model_selection.study import (
    CRITERIA,
    LUCK_TESTS,
    REFERENCES,
    SOURCES,
    order_of_runs,
    run_counts,
)
from experiments.model_selection.verdict import kind_of, outcome_of_runs, verdict
from slt_jax.curves.held_out import held_out_points
from slt_jax.model import Regression
from slt_jax.models.polynomial import PolynomialRegression
from slt_jax.problem import Problem, Truth
from slt_jax.statistics import Data

CONFIG = dataclasses.replace(Config(), log_latents=12)


# --- posteriors -------------------------------------------------------------------------------


def of_family(name: str) -> tuple[tuple[Regression, ...], Sample]:
    (family,) = families(dataclasses.replace(CONFIG, families=(name,)))
    return family.models, sample(family, 0, TRAINING, 2, 30)


def exact(problem: Problem, data: Data) -> dict[str, float]:
    oracle = slt.oracle_for(problem)
    assert oracle is not None
    training = slt.training_criteria(oracle, data)
    at_truth = -np.asarray(truth_log_likelihoods(problem, data)).sum()
    offset = float(at_truth)
    errors = slt.generalisation_errors(oracle, data, slt.quadrature_points(problem))
    beyond = problem.divergence or 0.0
    return {
        "free_energy": float(training.free_energy.value) - offset,
        "wbic": float(slt.wbic(oracle, data).value) - offset,
        "waic": float(training.waic.value) - offset / len(data.y),
        "loo": float(training.loo.value) - offset / len(data.y),
        "bayes_error": float(errors.bayes_generalisation_error.value) + beyond,
        "gibbs_error": float(errors.gibbs_generalisation_error.value) + beyond,
    }


def truth_log_likelihoods(problem: Problem, data: Data) -> jax.Array:
    truth = problem.true_density
    with jax.enable_x64(True):
        return truth.model.log_likelihoods(dict(truth.params), data)


def test_polynomials_agree_with_the_oracle() -> None:
    """The truth is in the model, and the data begin a longer data set."""
    model = PolynomialRegression(functions="legendre", powers=(1, 1, 1, 1))
    (family,) = families(dataclasses.replace(CONFIG, families=("degrees",)))
    data = sample(family, 0, TRAINING, 2, 30)
    found, _ = posteriors(model, latents(model, CONFIG), data, points(family), [(0.5, 20)], 0, 4)
    theta = np.array([0.2, 0.7, 0.4, 0.8]) / np.sqrt(2 * np.arange(4) + 1)
    theta *= 2 / np.sqrt(np.sum(theta**2))
    problem = Problem("cubic", model, {"theta": theta}, truth=Truth(model, {"theta": theta}),
                      divergence=0.0)  # fmt: skip
    y = 2 * data.truth[1, :20] + data.noise[1, :20]
    expected = exact(problem, Data(data.x[1, :20, 0], y))
    for name, value in expected.items():
        assert found[name][0, 1] == pytest.approx(value, abs=2e-6), name
        assert found[f"{name}_se"][0, 1] == 0


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, probability=1e-9)
@pytest.mark.parametrize("name", ["ranks", "widths"])
def test_quasi_random_latents_agree_with_the_oracle(name: str) -> None:
    (family,) = families(dataclasses.replace(CONFIG, families=(name,)))
    model = family.models[1]
    data = sample(family, 0, TRAINING, 1, 30)
    found, _ = posteriors(model, latents(model, CONFIG), data, points(family), [(1.0, 30)], 0, 4)
    if name == "ranks":
        optimum = {"A": np.eye(2), "B": np.diag([1.0, 0.3]) * np.sqrt(2 / 1.09)}
    else:
        x = np.linspace(0, 1, 20001)
        norm = np.sqrt(np.trapezoid((2 * np.tanh(2 * x) - 2 * np.tanh(0.5 * x)) ** 2, x))
        optimum = {"a": np.array([[2.0, -2.0]]) / norm, "b": np.array([[2.0], [0.5]])}
    problem = Problem(name, model, optimum)
    given = Data(data.x[0], data.truth[0] + data.noise[0])
    oracle = slt.oracle_for(problem)
    assert oracle is not None
    evidence = oracle.log_evidence(slt.statistics_of(problem, given))
    assert found["free_energy"][0, 0] == pytest.approx(-float(evidence.value), abs=0.02)
    training = slt.training_criteria(oracle, given)
    assert found["waic"][0, 0] == pytest.approx(float(training.waic_error.value), abs=2e-3)
    assert found["loo"][0, 0] == pytest.approx(float(training.loo_error.value), abs=2e-3)
    errors = slt.generalisation_errors(oracle, given, held_out_points(problem))
    for part, value in (
        ("bayes_error", errors.bayes_generalisation_error.value),
        ("gibbs_error", errors.gibbs_generalisation_error.value),
    ):
        assert found[part][0, 0] == pytest.approx(float(value), rel=0.02), part
    assert found["free_energy_se"][0, 0] < 0.01


@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_draws_of_the_posterior_have_its_loss() -> None:
    models, data = of_family("degrees")
    (family,) = families(dataclasses.replace(CONFIG, families=("degrees",)))
    at, model = points(family), models[3]
    found, draws = posteriors(model, latents(model, CONFIG), data, at, [(0.5, 20)], 0, 2000)
    gap = outputs(model, draws, 1, at.x) - 2 * at.truth
    losses = np.sum(gap**2, axis=-1)[0] @ at.weights / 2
    error = losses.std(ddof=1) / math.sqrt(len(losses))
    assert abs(losses.mean() - found["gibbs_error"][0, 1]) < 6 * error
    assert error < 0.1 * found["gibbs_error"][0, 1]


def test_factors_written_out_are_those_of_lapack() -> None:
    root = np.random.default_rng(0).normal(size=(7, 5, 5))
    matrix = root @ np.swapaxes(root, 1, 2) + np.eye(5)
    with jax.enable_x64(True):
        factor = np.asarray(_factor(jax.numpy.asarray(matrix)))
        inverse = np.asarray(_inverse(jax.numpy.asarray(factor)))
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrix), atol=1e-12)
    np.testing.assert_allclose(inverse @ factor, np.broadcast_to(np.eye(5), (7, 5, 5)), atol=1e-12)


def test_truths_are_of_unit_size_and_data_are_nested() -> None:
    for family in families(CONFIG):
        at = points(family)
        size = at.weights @ np.sum(at.truth**2, axis=-1) / at.truth.shape[1]
        assert size == pytest.approx(1.0, abs=1e-3), family.name
        few, many = (sample(family, 1, TRAINING, 2, n) for n in (5, 9))
        assert all(np.array_equal(a, b[:, :5]) for a, b in zip(few, many, strict=True))


def test_features_make_the_model() -> None:
    (family,) = families(dataclasses.replace(CONFIG, families=("activations",)))
    model = family.models[1]
    latent = np.arange(6.0)[None] - 2
    x = np.array([[0.3], [-0.7]])
    params = {"a": np.array([[1.0, 2.0, 3.0]]), "b": latent[:, :3].T, "c": latent[0, 3:]}
    expected = [float(model.predict(params, each)[0]) for each in x]
    found = np.asarray(features(model, latent, x))[0] @ params["a"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# --- rankings ---------------------------------------------------------------------------------


def test_tau_is_kendalls_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        score, loss = rng.normal(size=6), rng.integers(0, 4, size=6).astype(float)
        expected = kendalltau(score, loss).statistic
        assert tau(score, signs(loss)) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(tau(np.arange(3.0), np.zeros(3)))


def test_ties_by_the_tolerance_and_infinite_losses() -> None:
    assert signs(np.array([1.0, 1.05, 2.0]), 0.1).tolist() == [0, -1, -1]
    assert pairs(np.array([np.inf, np.inf, 1.0]))[0] == 0
    assert signs(np.array([np.inf, np.inf, 1.0])).tolist() == [0, 1, 1]


def test_protocols_by_hand() -> None:
    test, validation = np.array([4.0, 2.0, 1.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0, 0.0, 0.0])
    scores = protocol_scores(test, validation, 2)
    assert {name: scores[name].tolist() for name in PROTOCOLS} == {
        "mean": [3.0, 3.0], "best": [2.0, 1.0], "validated": [4.0, 5.0],
    }  # fmt: skip


def test_regret_and_the_order_of_runs() -> None:
    assert regret(np.array([[3.0, 1.0], [1.0, 3.0]]), np.array([0.5, 0.7])).round(9).tolist() == [
        0.2, 0.0,
    ]  # fmt: skip
    losses = np.zeros((1, 1, 4, 2)) + np.array([0.0, 0.5])
    assert order_of_runs(losses, np.full((1, 1, 1), 20.0)).tolist() == [[[-1.0]]]
    assert order_of_runs(losses / 1000, np.full((1, 1, 1), 20.0)).tolist() == [[[0.0]]]
    assert run_counts(16) == (1, 2, 4, 8, 16)
    assert run_counts(7) == (1, 2, 4)


# --- luck -------------------------------------------------------------------------------------


def test_the_crossing_is_that_of_the_regular_theory() -> None:
    n, d = 100.0, np.array([4.0, 9.0])
    each = np.repeat((d / n)[:, None], 3, axis=1)
    made = Luck(np.zeros(0), np.zeros(0), each, each / 2)
    expected = np.array(LUCK_TESTS) * (2 + 3) ** 2 / (2 * n) / np.log(10)
    np.testing.assert_allclose(crossing(made, LUCK_TESTS), expected, rtol=1e-12)


def test_the_mean_of_lucky_runs_is_steady_and_the_best_is_not() -> None:
    luck = draw_luck(0, 40, (10, 100), (1, 64))
    assert np.all(luck.best <= luck.mean)
    np.testing.assert_allclose(luck.best[..., 0], luck.mean[..., 0])
    assert luck.gibbs[1].mean() > luck.gibbs[0].mean()


# --- verdicts ---------------------------------------------------------------------------------


def made(
    mean: float = 0.6, best: float = 0.3, drawn: float = 0.3, wbic: float = 0.95, own: float = 0.0
) -> xr.Dataset:
    """Make a dataset of 12 data sets whose τ are these, give or take a little."""
    rng = np.random.default_rng(1)
    sizes, counts, cells, replicates = (20, 1000), (1, 4), 2, 12

    def near(shape: tuple[int, ...]) -> np.ndarray:
        return 0.02 * rng.standard_normal(shape)

    axes = ("family", "cell", "replicate")
    shape = (2, cells, replicates)
    run_tau = near((2, 4, 3, 2, 2, *shape))
    run_tau[0, :, 0] += mean
    run_tau[0, 3, 0] += own
    run_tau[:, :, 1] += best
    run_tau[1, :, 0] += drawn
    taus = 0.5 + near((len(REFERENCES), len(CRITERIA), *shape))
    taus[2, 0], taus[2, 1] = 1.0, wbic + near(shape)
    luck = ("luck_protocol", "luck_test", "luck_run")
    run_axes = ("source", "protocol", "run_count", "test_size", *axes)
    misled = np.array([[[0.4, 0.2]] * 2, [[0.4, 0.8]] * 2])
    return xr.Dataset(
        {
            "tau": (("reference", "criterion", *axes), taus),
            "regret": (("criterion", *axes), np.abs(near((len(CRITERIA), *shape)))),
            "ties": (("reference", *axes), np.zeros((len(REFERENCES), *shape))),
            "converged": (axes, np.ones(shape, bool)),
            "num_diverged": (axes, np.zeros(shape, int)),
            "scatter": (("source", *axes), np.ones((2, *shape))),
            "run_tau": (("source", "run_reference", *run_axes[1:]), run_tau),
            "run_regret": (run_axes, np.abs(near((2, 3, 2, 2, *shape)))),
            "misled": (luck, misled),
            "misled_se": (luck, np.full((2, 2, 2), 0.01)),
            "log_crossing": ("luck_test", [0.5, 1.0]),
            "luck_gibbs": ("luck_model", [0.04, 0.1]),
            "title": ("family", ["degrees", "widths"]),
            "noise": ("cell", [0.7, 2.0]),
            "sample_size": ("cell", [20, 20]),
        },
        coords={
            "reference": list(REFERENCES), "run_reference": [*REFERENCES, "loss of runs"],
            "criterion": list(CRITERIA), "protocol": list(PROTOCOLS), "source": list(SOURCES),
            "run_count": list(counts), "test_size": list(sizes), "cell": [0, 1],
            "family": ["degrees", "widths"], "luck_protocol": ["mean", "best"],
            "luck_test": [10, 20], "luck_run": [1, 4], "luck_model": ["degree 3", "degree 8"],
        },
    )  # fmt: skip


def outcomes(dataset: xr.Dataset) -> dict[str, str]:
    return {finding.claim: finding.outcome for finding in verdict(dataset).findings}


def test_every_outcome_of_protocols() -> None:
    assert outcomes(made())["N4"] == "holds"
    assert outcomes(made(mean=0.3))["N4"] == "fails"
    assert outcomes(made(mean=0.1))["N4"] == "fails"
    only = "holds only if runs are draws of the posterior and the test set has T = 20, 1000 data"
    assert outcomes(made(mean=0.3, drawn=0.6))["N4"].startswith(only)
    assert outcomes(made().isel(replicate=slice(4)))["N4"] == "is undecided"
    of_kinds = functools.partial(outcome_of_runs, sizes=(20, 1000))
    themselves = "holds only if G_g is the mean true loss of the runs themselves; of SGD and the"
    both = outcomes(made(mean=0.3, drawn=0.6, own=0.3))["N4"]
    assert both == f"{themselves} G_g of the posterior it fails"
    open_ = of_kinds(
        {"SGD": ("unresolved", "equal"), "posterior": ("better", "better")}, ("better", "better")
    )
    assert open_ == f"{themselves} G_g of the posterior it is undecided"
    none = ("equal", "equal")
    mixed = of_kinds({"SGD": ("better", "equal"), "posterior": none}, none)
    assert mixed == "holds only if the test set has T = 20 data, of 20, 1000"
    unresolved = of_kinds({"SGD": ("unresolved", "equal"), "posterior": ("better", "better")}, none)
    assert unresolved == "is undecided"


def test_every_outcome_of_criteria() -> None:
    assert outcomes(made())["N2"] == "holds"
    assert outcomes(made(wbic=0.5))["N2"] == "fails"
    assert outcomes(made(wbic=0.8))["N2"] == "is undecided"
    worst = made(wbic=0.8)
    worst["tau"].loc[{"criterion": "WBIC", "reference": "F_n", "family": "widths"}] -= 0.5
    assert outcomes(worst)["N2"] == "fails"
    assert outcomes(made().isel(replicate=slice(4)))["N2"] == "is undecided"
    part = made()
    part["tau"].loc[{"criterion": "WBIC", "reference": "F_n", "family": "widths"}] -= 0.5
    assert outcomes(part)["N2"] == "holds only if the family is degrees, of degrees, widths"


def test_kinds_of_differences() -> None:
    def kind(value: float, half_width: float, data_sets: int = 20) -> str:
        return kind_of({"value": value, "half_width": half_width, "data_sets": data_sets})

    assert (kind(0.1, 0.05), kind(-0.1, 0.05)) == ("better", "worse")
    assert (kind(0.01, 0.03), kind(0.01, 0.1)) == ("equal", "unresolved")
    assert kind(0.5, 0.1, 4) == "unresolved"


def test_what_is_missing_is_told_and_drawn() -> None:
    dataset = made()
    dataset["tau"][:, 5] = np.nan
    dataset["converged"][0, 0, 0] = False
    judged = verdict(dataset)
    assert "1 of 48 data sets" in judged.notes[-1]
    assert judged.numbers["criteria"]["tau"]["F_n"]["sBIC"]["value"] is None
    assert "from s = 10^0.5 at T = 10 (seen from 4)" in judged.notes[3]
    assert set(figure(dataset, judged)) == {"model_selection"}


def test_presets_differ() -> None:
    assert PRESETS["paper"].data_sets > PRESETS["laptop"].data_sets > PRESETS["smoke"].data_sets
