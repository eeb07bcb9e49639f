"""Unrealisable problems: what is computed of which, the verdict of made curves, and its figure."""

import numpy as np
import pytest
import xarray as xr

from experiments.unrealisable import PRESETS, Config, study
from experiments.unrealisable.figure import figure
from experiments.unrealisable.verdict import ratio_of_means, verdict
from slt_jax.curves.comparison import along_problems
from slt_jax.curves.errors import QUANTITIES
from slt_jax.models import named_problems
from slt_jax.problem import Problem
from slt_jax.run.sweep import run_tasks

SIZES = np.array([10, 1000])


def problem(name: str) -> Problem:
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
    curve = xr.Dataset(
        variables, coords={"n": SIZES}, attrs={"degrees_of_freedom": 7, "sampler": "smc"}
    )
    curve = curve.assign(
        converged=(axes, np.ones(noise.shape, bool)),
        reason=(axes, np.full(noise.shape, "", dtype=object)),
        regular_fluctuation=nu,
    )
    if expected:
        sizes = np.array([10.0, 1000.0, 100000.0])
        for name, value in (("bayes", bayes), ("gibbs", gibbs), ("variance", 2 * apart)):
            curve[f"expected_{name}"] = ("expected_n", value / sizes)
            curve[f"expected_{name}_error"] = ("expected_n", 1e-9 / sizes)
        curve = curve.assign_coords(expected_n=sizes)
    return curve


def dataset_of(**curves: xr.Dataset) -> xr.Dataset:
    kinds = {
        name: study.kind_of(problem(name), bool(np.isfinite(curve["regular_fluctuation"])))
        for name, curve in curves.items()
    }
    parts = [curve.assign(kind=kinds[name]) for name, curve in curves.items()]
    return along_problems([problem(name) for name in curves], parts)


def judged(**curves: xr.Dataset) -> tuple[str, dict]:
    """The outcome and the numbers of each problem."""
    judgement = verdict(dataset_of(**curves))
    (finding,) = judgement.findings
    assert finding.claim == "N6"
    return finding.outcome, dict(judgement.numbers["problems"])


# --- the verdict ---------------------------------------------------------------------------------


def test_the_verdict_on_errors_of_the_theory() -> None:
    outcome, rows = judged(
        legendre_4_misspecified=results(2.0, 4.8),
        parabola_two_optima=results(-3.0, 1.25, expected=True),
    )
    assert outcome == (
        "holds only if a factor 1 + ν/λ does not count, and only where renormalisable"
    )
    assert [row["equal"] for row in rows.values()] == [False, False]
    assert [row["same_order"] for row in rows.values()] == [True, False]
    assert all(row["separated_by_variance"] for row in rows.values())
    assert all(all(row["equations_hold"].values()) for row in rows.values())
    assert rows["legendre_4_misspecified"]["last"]["ratio"][0] == pytest.approx(2.4)
    assert rows["parabola_two_optima"]["exponents"]["bayes"] == pytest.approx(1.0)
    assert rows["parabola_two_optima"]["routes_agree"]


def test_the_verdict_changes_with_the_numbers() -> None:
    assert judged(legendre_4_misspecified=results(2.0, 2.002))[0] == "holds"
    assert judged(legendre_4_misspecified=results(-2.0, 2.0))[0] == "fails"
    curve = results(2.0, 4.8, expected=True)
    curve["exact_functional_variance"] = 1.3 * curve["exact_functional_variance"]
    curve["expected_gibbs"] = 1.1 * curve["expected_gibbs"]
    row = judged(parabola_regular=curve)[1]["parabola_regular"]
    assert not row["separated_by_variance"]
    assert not any(row["equations_hold"].values())
    assert not row["routes_agree"]
    (finding,) = verdict(dataset_of(parabola_regular=curve)).findings
    assert "do not hold within error for parabola_regular" in finding.why
    assert "DISAGREE for parabola_regular" in finding.why


def test_sizes_that_were_not_computed_do_not_count() -> None:
    """Of location families exact errors may be computed at fewer n than of other problems."""
    alone = results(-3.0, 1.25, expected=True).isel(n=[0])
    fewer = alone.reindex(n=SIZES, fill_value=study.NOT_COMPUTED)
    both = {"legendre_4_misspecified": results(2.0, 4.8), "parabola_two_optima": fewer}
    _, rows = judged(**both)
    assert (
        rows["parabola_two_optima"] == judged(parabola_two_optima=alone)[1]["parabola_two_optima"]
    )
    assert rows["legendre_4_misspecified"]["sizes"] == SIZES.tolist()
    dataset = dataset_of(**both)
    assert list(figure(dataset, verdict(dataset))) == ["unrealisable"]


def test_an_expectation_at_one_size_has_no_exponent() -> None:
    curve = results(-3.0, 1.25, expected=True).isel(expected_n=[0])
    _, rows = judged(parabola_two_optima=curve)
    assert rows["parabola_two_optima"]["exponents"] == {"bayes": None, "gibbs": None}


def test_the_figure_marks_negative_errors_and_jobs_that_have_not_converged() -> None:
    curves = {
        "legendre_4_misspecified": results(2.0, 4.8),
        "parabola_two_optima": results(-3.0, 1.25, expected=True),
    }
    curves["legendre_4_misspecified"]["converged"][0, 0] = False
    dataset = dataset_of(**curves)
    drawing = figure(dataset, verdict(dataset))["unrealisable"]
    words = [
        text.get_text()
        for axis in drawing.axes
        if axis.get_legend()
        for text in axis.get_legend().get_texts()
    ]
    assert "some jobs not converged" in words
    assert any(word.startswith("negative error") for word in words)
    assert "NOT renormalisable" in drawing.axes[1].get_title()


def test_the_error_of_a_ratio_is_of_pairs() -> None:
    """None if one is three times the other, and that of a mean if the divisor never varies."""
    below = np.random.default_rng(3).uniform(1, 2, (2, 20))
    ratio = ratio_of_means(3 * below, below)
    np.testing.assert_allclose(ratio.value, 3, rtol=1e-12)
    np.testing.assert_allclose(ratio.standard_error, 0, atol=1e-12)
    mean = ratio_of_means(below, np.full_like(below, 2.0))
    np.testing.assert_allclose(mean.standard_error, below.std(axis=1, ddof=1) / 2 / np.sqrt(20))


# --- what is computed ----------------------------------------------------------------------------


def test_kinds_of_problems() -> None:
    assert study.kind_of(problem("legendre_4_misspecified"), regular=True) == "regular"
    assert study.kind_of(problem("tanh_2_even_truth"), regular=False) == "singular"
    assert study.kind_of(problem("parabola_critical"), regular=False) == "not renormalisable"


def test_location_families_are_known_by_their_truth() -> None:
    family = study.location_curve(problem("parabola_two_optima"))
    assert family is not None
    assert family.c == 1.0
    assert study.location_curve(problem("tanh_2_even_truth")) is None
    at = study.expectation_at(family, 30)
    assert float(at["expected_bayes"]) < 0 < float(at["expected_gibbs"])


@pytest.mark.parametrize(
    ("name", "words"), [("linear_3", "is realisable"), ("superposition_5", "needs an exact oracle")]
)
def test_problems_without_all_that_is_needed(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        study.tasks(Config(problems=(name,)))


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_of_the_presets(preset: str) -> None:
    """Data sets of a location family have exact errors where they are sampled, and only there."""
    config = PRESETS[preset]
    names = [task.name for task in study.tasks(config)]
    for name in config.problems:
        located = study.location_curve(problem(name)) is not None
        exact = [task for task in names if task.startswith(f"{name}.exact.")]
        expected = [task for task in names if task.startswith(f"{name}.expected.")]
        assert len(exact) == len(config.sample_sizes if located else config.exact_sizes)
        assert len(expected) == (len(config.expected_sizes) if located else 0)


@pytest.mark.slow
def test_the_smoke_preset() -> None:
    config = PRESETS["smoke"]
    judgement = verdict(study.assemble(config, run_tasks(study.tasks(config))))
    row = judgement.numbers["problems"]["parabola_two_optima"]
    assert row["last"]["bayes"][0] < 0 < row["last"]["gibbs"][0]
    assert row["routes_agree"]
