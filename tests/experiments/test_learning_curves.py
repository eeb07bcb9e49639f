"""Learning curves: what is asked for and refused, the verdict of made curves, and its figure."""

import numpy as np
import pytest
import xarray as xr

from experiments.learning_curves import PRESETS, Config, study
from experiments.learning_curves.figure import figure
from experiments.learning_curves.verdict import described_from, verdict
from slt_jax.curves.comparison import along_problems
from slt_jax.curves.errors import QUANTITIES, with_control_variate
from slt_jax.models import named_problems
from slt_jax.models.linear import LinearRegression
from slt_jax.problem import Problem
from slt_jax.report.verdict import Verdict
from slt_jax.run.sweep import run_tasks
from slt_jax.theory import regular

LINEAR = Problem(
    "linear_1", LinearRegression(input_dim=1), {"w": np.array([0.5])}, regular(1), title="y = wx"
)


# --- what is asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tanh_2_even_truth", "mixture_2_fixed", "reduced_rank_4_3_2_1"])
def test_problems_without_all_that_is_needed(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        study.own_prior_scale(named_problems()[name])


def test_fields_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prior_problems .*nope.*: must be among the problems"):
        Config(prior_problems=("nope",))
    with pytest.raises(ValueError, match="prior_scales .*: at most 6"):
        Config(prior_scales=tuple(range(1, 8)))


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_of_the_presets(preset: str) -> None:
    """Each prior but the own only where it is asked for, and every task of a problem's group."""
    config = PRESETS[preset]
    tasks = study.tasks(config)
    for name in config.problems:
        priors = [task.name for task in tasks if task.name.startswith(f"{name}.prior.")]
        own = study.own_prior_scale(named_problems()[name])
        others = config.prior_scales if name in config.changed_priors else ()
        assert len(priors) == len({own, *others})
    assert {task.group for task in tasks} == set(config.problems)


# --- the verdict ---------------------------------------------------------------------------------

SIZES = np.array([10, 100, 1000])
LARGE_SIZES = np.array([100, 1000, 10000, 100000, 1000000])


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
    free_energy = (
        0.5 * np.log(LARGE_SIZES)[:, None] + np.array([0.0, 1e-3]) * np.log(LARGE_SIZES)[:, None]
    )
    variables["normalised_fixed_design_free_energy"] = (
        ("prior_scale", "large_n", "design"),
        np.stack([free_energy, free_energy + late * np.log(LARGE_SIZES)[:, None]]),
    )
    curve = xr.Dataset(
        variables,
        coords={"n": SIZES, "large_n": LARGE_SIZES, "prior_scale": [1.0, 3.0]},
        attrs={"degrees_of_freedom": 7, "sampler": "smc"},
    )
    return curve.assign(
        converged=(axes, np.ones(noise.shape, bool)),
        reason=(axes, np.full(noise.shape, "", dtype=object)),
        own_prior_scale=1.0,
        prequential_gap=1e-9,
        prequential_gap_error=1e-8,
    )


def dataset_of(curve: xr.Dataset) -> xr.Dataset:
    return along_problems([LINEAR], [curve])


def judged(curve: xr.Dataset) -> Verdict:
    return verdict(dataset_of(curve))


def test_the_verdict_on_curves_of_the_theory() -> None:
    judgement = judged(results())
    assert [finding.claim for finding in judgement.findings] == ["N3", "E14"]
    assert [finding.outcome for finding in judgement.findings] == ["holds", "holds"]
    row = judgement.numbers["problems"]["linear_1"]
    assert all(row["equations_hold"].values())
    for name, value in (("bayes_generalisation_error", 0.5), ("gibbs_generalisation_error", 1.0)):
        mean, standard_error = (row["errors"][name][key][-1] for key in ("value", "standard_error"))
        assert abs(mean - value) < 4 * standard_error
        assert standard_error < 0.01, "the control has not been added"
    assert list(row["limits"].values()) == pytest.approx([0.5, 1.0, -0.5, 0.0], abs=0.01)
    assert {len(nu["value"]) for nu in row["singular_fluctuation"].values()} == {3}
    assert row["priors"]["3"]["from_n"] < 1000
    assert "linear_1" in judgement.table


@pytest.mark.parametrize(
    "spoil",
    [
        lambda curve: curve["exact_gibbs_generalisation_error"].data.__iadd__(0.3 / 1000),
        lambda curve: curve["exact_functional_variance"].data.__imul__(1.2),
        lambda curve: curve["exact_bayes_training_error"].data.__isub__(0.2 / 1000),
        lambda curve: curve["exact_control"].data.__iadd__(0.02),
        lambda curve: curve["normalised_fixed_design_free_energy"].data.__imul__(1.1),
    ],
)
def test_the_verdict_on_limits_can_fail(spoil) -> None:
    curve = results()
    spoil(curve)
    limits, _ = judged(curve).findings
    assert limits.outcome == "fails"


def test_the_verdict_on_limits_names_the_problems_that_pass() -> None:
    spoilt = results()
    spoilt["exact_functional_variance"] *= 1.2
    other = Problem("other", LINEAR.model, LINEAR.optimum, LINEAR.theory, title="y = wx again")
    limits, _ = verdict(along_problems([LINEAR, other], [results(), spoilt])).findings
    assert limits.outcome == "holds only if the problem is linear_1"
    assert "beyond error for other" in limits.why


def test_the_verdict_on_priors_can_fail() -> None:
    one, both = results(late=0.2), results(late=0.2)
    both["normalised_fixed_design_free_energy"] *= 1.5
    _, partly = judged(one).findings
    assert partly.outcome == "holds only if n may exceed 1e+06 for 1 of 2 priors"
    assert judged(one).numbers["problems"]["linear_1"]["priors"]["3"]["from_n"] is None
    _, never = judged(both).findings
    assert never.outcome == "fails up to n = 1e+06"


def test_unconverged_jobs_are_counted_and_not_compared() -> None:
    curve = results()
    curve["converged"][0, :3] = False
    row = judged(curve).numbers["problems"]["linear_1"]
    assert (row["not_converged"], row["jobs"]) == (3, 96)
    assert row["calibration"]["functional_variance"]["comparisons"] == 93


def test_where_a_description_begins() -> None:
    n = np.array([1.0, 2.0, 4.0, 8.0])
    assert described_from(n, np.array([0.3, 0.1, -0.3, 0.1]), 0.2) == 8.0
    assert described_from(n, np.zeros(4), 0.2) == 1.0
    assert described_from(n, np.array([0.0, 0.0, 0.0, np.nan]), 0.2) is None


# --- the figure and a run ------------------------------------------------------------------------


def test_the_figure_marks_jobs_that_have_not_converged() -> None:
    curve = results()
    curve["converged"][0, 0] = False
    dataset = dataset_of(curve)
    drawing = figure(dataset, verdict(dataset))["learning_curves"]
    words = {
        text.get_text()
        for axis in drawing.axes
        if axis.get_legend()
        for text in axis.get_legend().get_texts()
    }
    assert "some jobs not converged" in words
    assert "prior $N(0, 3^2)$" in words


@pytest.mark.slow
def test_the_smoke_preset() -> None:
    config = PRESETS["smoke"]
    judgement = verdict(study.assemble(config, run_tasks(study.tasks(config))))
    row = judgement.numbers["problems"]["monomial_1_1"]
    assert row["limit_holds"]
    assert row["prequential_gap"] <= row["prequential_gap_error"]
    assert row["not_converged"] == 0
    assert row["priors"]["3"]["from_n"] is not None
