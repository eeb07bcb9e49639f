"""Learning exponents: the studies in small, verdicts that can fail, and the figures."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import xarray as xr

from experiments.learning_exponents import PRESETS, study
from experiments.learning_exponents import figure as drawing
from experiments.learning_exponents import verdict as judging
from slt_jax.oracles.location import ContactCurve, ParabolaCurve

# Nets compile: ``results`` makes their free energies up.
SMALL = dataclasses.replace(
    PRESETS["smoke"], parabolas=(0.5,), widths=(1e2, 1e6),
    net_sizes=(10, 100, 1000, 10000, 100000),
    spectrum_sizes=tuple(round(10 ** (k / 2)) for k in range(15)),
)  # fmt: skip


@functools.cache
def computed() -> dict[str, xr.Dataset]:
    made = {
        task.name: task.compute() for task in study.tasks(SMALL) if task.group not in SMALL.nets
    }
    n = np.array(SMALL.net_sizes, float)
    values = 0.5 * np.log(n)[:, None] * np.array([1.0, 1.01])
    name = "normalised_fixed_design_free_energy"
    made["tanh_1.1"] = xr.Dataset(
        {key: (("large_n", "design"), values) for key in (name, f"{name}_error")},
        coords={"large_n": n},
    )
    return made


def results() -> xr.Dataset:
    return study.assemble(SMALL, computed()).copy(deep=True)


def test_curves_and_factors() -> None:
    curves = study.location_curves(SMALL)
    assert {"parabola 0.5": ParabolaCurve(0.5), "contact 1 1": ContactCurve(1, 1)} == curves
    factors = study.factors(SMALL)
    assert factors["base"].exponent == pytest.approx(1 / 3)
    assert len(set(factors.values())) == len(factors)
    assert {label for labels in judging.PARTS.values() for label in labels} == set(factors)


def test_the_dataset_has_what_the_theory_says() -> None:
    data = results()
    for name, curve in study.location_curves(SMALL).items():
        at = data.sel(curve=name)
        for constant in ("exponent", "amplitude", "optimal_loss"):
            assert float(at[constant]) == getattr(curve, constant)
        last = at.isel(n=-1)
        assert float(last["gibbs"] / last["gibbs_limit"]) == pytest.approx(1.0, abs=0.1)
        assert float(last["bayes_over_gibbs"]) == float(last["bayes"] / last["gibbs"])
    assert float(data["width_exponent"]) == pytest.approx(0.095, abs=1e-3)


@pytest.mark.false_alarm(comparisons=8, standard_errors=6)
def test_measured_curves_are_of_the_exact_one() -> None:
    """6 standard errors of all repeats together, 8 comparisons."""
    data = results()
    for name in data["curve"].to_numpy():
        at = data.sel(curve=name)
        exact = at["gibbs"].sel(n=at["measured_n"].to_numpy()).to_numpy()
        values = at["measured"].to_numpy()
        error = np.sqrt(np.mean(at["measured_se"].to_numpy() ** 2, axis=1) / values.shape[1])
        assert np.all(np.abs(values.mean(axis=1) - exact) < 6 * error)


def test_errors_of_nets_by_hand() -> None:
    """F = c log n has nE[B_g] = c, a local exponent of 1, and none where the mean is no error."""
    data = results()
    np.testing.assert_allclose(data["scaled_bayes_error"].squeeze()[:, 0], 0.5)
    np.testing.assert_allclose(data["net_local_exponent"], 1.0)
    nets = data[["normalised_fixed_design_free_energy"]]
    nets["normalised_fixed_design_free_energy"][:, :, 1] = nets[
        "normalised_fixed_design_free_energy"
    ][:, :, 0]
    local = study.net_errors(nets)["net_local_exponent"].to_numpy().squeeze()
    assert np.isnan(local[0])
    assert np.isfinite(local[1:]).all()


def test_the_verdict_has_all_parts() -> None:
    verdict = judging.verdict(results())
    assert [finding.claim for finding in verdict.findings] == ["N7", "N8", "N9"]
    for finding in verdict.findings:
        assert finding.passage in verdict.statement
    family = verdict.numbers["families"]["contact 1 1"]
    assert family["holds"]
    assert family["late"]["exponent"][0] == pytest.approx(1.0, abs=0.01)
    assert family["wrong_loss"]["-0.5"] < family["ideal"]["exponent"][0]
    assert family["wrong_loss_bias"]["-0.5"] < 0 < family["wrong_loss_bias"]["+0.5"]
    assert family["entropy_for_loss"] < 0.1
    assert verdict.numbers["families"]["parabola 0.5"]["last_bayes_over_gibbs"] < 0
    assert "the family renormalisable" in verdict.findings[0].outcome
    net = verdict.numbers["nets"]["tanh_1, s = 1"]
    assert net["exponent_late"] == pytest.approx(1.0)
    assert net["amplitude"] == pytest.approx(0.5025)
    json.dumps(verdict.as_json(), allow_nan=False)


def test_the_table_has_every_family_factor_width_and_net() -> None:
    verdict = judging.verdict(results())
    first = [line.split("  ")[0] for line in verdict.table.splitlines()]
    titles = [row["title"] for row in verdict.numbers["families"].values()]
    labels = [*verdict.numbers["factors"], *verdict.numbers["widths"], *verdict.numbers["nets"]]
    assert set(first) >= {*titles, *labels}


def test_the_verdict_on_the_form_can_fail() -> None:
    data = results()
    n = data["n"].to_numpy()
    data["gibbs"][1] = data["gibbs"][1] * n**0.2
    families = judging.verdict(data).numbers["families"]
    assert not families["contact 1 1"]["holds"]
    for row in families.values():
        row["holds"] = False
    assert judging.judge_form(families).outcome == "fails"
    for row in families.values():
        row["holds"], row["last_bayes_over_gibbs"] = True, 0.5
    assert judging.judge_form(families).outcome == "holds"


def test_a_family_without_an_amplitude_is_not_crossed() -> None:
    data = results()
    data["amplitude"][1] = np.nan
    numbers = judging.verdict(data).numbers
    assert numbers["families"]["contact 1 1"]["amplitude"] is None
    assert numbers["crossovers"]["crossings"] == []
    assert judging.judge_crossovers(numbers["crossovers"]).outcome == "is undecided"


def test_crossings_of_pure_powers_follow_the_formula() -> None:
    data = results()
    data["gibbs"] = data["gibbs_limit"]
    numbers = judging.crossover_numbers(data)
    assert numbers["formula_decades"]["largest"] < 0.01
    assert numbers["sufficient"] == len(numbers["crossings"])
    assert judging.judge_crossovers(numbers).outcome.startswith("holds only if the logarithm")
    row = numbers["crossings"][0]
    assert row["linear"] > row["formula"]
    assert row["linear_off_decades"] == pytest.approx(
        (row["linear"] - row["measured"]) / np.log(10)
    )
    data["gibbs"][1] = data["gibbs"][1] * 3
    worse = judging.crossover_numbers(data)
    assert worse["formula_decades"]["median"] > 0.5
    assert judging.judge_crossovers(worse).outcome == "fails"


def test_factors_and_widths() -> None:
    data = results()
    factors = judging.factor_numbers(data)
    assert factors["noise × 3"]["moves"] == "c"
    assert factors["alpha × 2"]["moves"] == "σ"
    for row in factors.values():
        assert 0.5 * row["limit"] < row["exponent"] < 2 * row["limit"]
    widths = judging.width_numbers(data)
    assert widths["1e+02"]["half_from"] < 1e5
    assert widths["1e+02"]["last_local"] == pytest.approx(1.0, abs=0.01)


def test_the_verdict_on_factors_follows_what_they_move() -> None:
    numbers = judging.verdict(results()).numbers
    families, factors, widths = (numbers[key] for key in ("families", "factors", "widths"))

    def outcome(*moving: str) -> str:
        rows = {
            label: {**row, "moves": "σ" if label in moving else "c"}
            for label, row in factors.items()
        }
        return judging.judge_factors(families, rows, widths).outcome

    assert outcome(*judging.DATA) == "holds"
    spectral = "prior decay 0.5", "target decay −0.25", "alpha × 2"
    assert outcome(*spectral).startswith("holds only if the architecture does not change")
    assert outcome(*judging.DATA, "prior scale × 3") == "fails"
    assert outcome() == "fails"


def test_the_figures() -> None:
    data = results()
    figures = drawing.figure(data, judging.verdict(data))
    assert set(figures) == {"learning_exponents", "learning_exponents_factors"}
    for figure in figures.values():
        titles = [axis.get_title() for axis in figure.axes]
        assert [title[:3] for title in titles] == [f"({letter})" for letter in "abcdef"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measured_sizes": (10, 20, 100, 1000)}, "measured_sizes [20]: must be among the sizes"),
        ({"parabolas": (0.5,), "contacts": ()}, "at least 2 are needed"),
        ({"widths": (10.0, 100.0)}, "the last must be at least 1000"),
        ({"spectrum_sizes": (1, 2, 3, 4, 5, 6, 7, 100)}, "at least 3 must be from 10^2"),
    ],
)
def test_fields_that_do_not_fit_together(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError) as refused:
        dataclasses.replace(PRESETS["smoke"], **changes)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contacts": ((1, 1), (3, 2))}, "j = 3, k = 2: must be 1 ≤ j ≤ k"),
        ({"nets": ("nope",)}, "problem 'nope': choose from"),
        ({"nets": ("tanh_2_even_truth",)}, "tanh_2_even_truth: needs a realisable"),
    ],
)
def test_studies_that_are_refused_before_any_work(changes: dict[str, object], words: str) -> None:
    config = dataclasses.replace(PRESETS["smoke"], **changes)
    with pytest.raises(ValueError) as refused:
        study.tasks(config)
    assert words in str(refused.value)


@pytest.mark.slow
def test_the_smoke_preset() -> None:
    """Its n end where the last three decades of a parabola still bend, but not its last step."""
    config = PRESETS["smoke"]
    made = {task.name: task.compute() for task in study.tasks(config)}
    verdict = judging.verdict(study.assemble(config, made))
    families = verdict.numbers["families"]
    assert families["contact 1 1"]["holds"]
    assert not families["parabola 0.25"]["holds"]
    assert families["parabola 0.25"]["last_local_exponent"] == pytest.approx(1.0, abs=0.01)
    assert verdict.numbers["nets"]["tanh_1, s = 1"]["amplitude"] > 0
