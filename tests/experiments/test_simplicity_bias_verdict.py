"""Simplicity bias: verdicts and figures of made-up datasets."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import xarray as xr

from experiments.simplicity_bias import PRESETS, study
from experiments.simplicity_bias.counting import wilson
from experiments.simplicity_bias.figure import figure
from experiments.simplicity_bias.maps import (
    Map,
    maps,
)
from experiments.simplicity_bias.priors import COMPLEXITIES, DEEPEST_BIT
from experiments.simplicity_bias.verdict import verdict
from experiments.simplicity_bias.volumes import targets

SMOKE = PRESETS["smoke"]
REPEATS, DRAWS = 2, 2**16


def made_up_prior(at: Map, constant: int, likeliest: list[int]) -> xr.Dataset:
    """Make a prior with so many draws of the likeliest functions of K = 7, 17.5, …, 28 bits."""
    count = np.zeros(COMPLEXITIES.size)
    count[[0, 3, 4, 5, 6]] = [constant, *likeliest]
    low, high = wilson(count, 2 * DRAWS, 1.96)
    least, most = wilson(count, 2 * DRAWS, 5.0)
    seen = count >= 10
    table = np.zeros((COMPLEXITIES.size, DEEPEST_BIT), int)
    table[seen, np.floor(-np.log2(count[seen] / 2 / DRAWS)).astype(int)] = 1
    share = np.tile(count / max(count.sum(), 1.0), (REPEATS, 1))
    exact = {"perceptron": 0.18, "table": 2.0**-128}.get(at.name, np.nan)
    axes = ("repeat", "complexity")
    return xr.Dataset(
        {
            "function_count": (("complexity", "bit"), table),
            "best_probability": ("complexity", np.where(seen, count / 2 / DRAWS, np.nan)),
            "best_low": ("complexity", np.where(seen, low, np.nan)),
            "best_high": ("complexity", np.where(seen, high, np.nan)),
            "best_least": ("complexity", np.where(seen, least, 0.0)),
            "best_most": ("complexity", most),
            "draw_share": (axes, share),
            "resolved_share": ("repeat", [0.5, 0.6]),
            "best_by_repeat": (axes, np.tile(np.where(seen, count / 2 / DRAWS, np.nan), (2, 1))),
            "occupied": (("repeat", "complexity", "bit"), np.stack([table, table])),
            "constant_share": ("repeat", [0.17, 0.18]),
            "exact_constant": exact,
            "exact_constant_error": 0.0,
            "distinct": 100,
            "max_complexity": 160.0,
        },
        coords={"complexity": COMPLEXITIES, "bit": np.arange(DEEPEST_BIT)},
    )


def made_up_digits(width: int) -> xr.Dataset:
    axes, gammas = ("label", "training"), [1.0, 10.0]
    values = np.array([[[30.0, 20.0], [32.0, 21.0]], [[90.0, 70.0], [95.0, 72.0]]])
    return xr.Dataset(
        {
            "train_error": (axes, np.zeros((2, 2))),
            "test_error": (axes, [[0.05, 0.07], [0.89, 0.92]]),
            "train_loss": (axes, np.full((2, 2), 0.01)),
            "lambda_hat": (axes, values[..., 0]),
            "lambda_hat_se": (axes, np.ones((2, 2))),
            "settled": (axes, [[True, True], [True, False]]),
            "reason": (axes, np.array([["", ""], ["", "no decade"]], dtype=object)),
            "lambda_by_gamma": ((*axes, "gamma"), values),
            "settled_by_gamma": ((*axes, "gamma"), np.ones((2, 2, 2), bool)),
            "num_weights": 75 * width + 10,
        },
        coords={"label": ["true", "random"], "training": [0, 1], "gamma": gammas},
    )


def results() -> dict[str, xr.Dataset]:
    """Make volumes that agree with the exact ones, and all else up."""
    made: dict[str, xr.Dataset] = {}
    for at in maps():
        unbiased = at.name in ("table", "tanh net, wide prior")
        made[f"prior.{at.slug}"] = made_up_prior(
            at, 0 if unbiased else 30000, [0, 0, 0, 0] if unbiased else [60, 40, 20, 10]
        )
    for i, target in enumerate(targets()):
        found = study.volume_of(SMOKE, jax.random.key(0), target)
        if target.exact is not None:
            found["bits"] = found["exact_bits"] + found["bits_se"]
        made[f"volume.{i}"] = found.assign(volume_runs=12)
    for width in SMOKE.widths:
        made[f"digits.{width}"] = made_up_digits(width)
    return made


@functools.cache
def assembled() -> xr.Dataset:
    return study.assemble(SMOKE, results())


def dataset() -> xr.Dataset:
    return assembled().copy(deep=True)


def outcomes(data: xr.Dataset) -> list[str]:
    return [finding.outcome for finding in verdict(data).findings]


def test_the_verdict() -> None:
    judged = verdict(dataset())
    assert [finding.claim for finding in judged.findings] == ["E10", "E11", "E13"]
    first, second, third = outcomes(dataset())
    assert first == "holds"
    assert second.startswith("holds only if m = 1 and no other pole is near")
    assert third == "holds"
    for finding in judged.findings:
        assert sum(finding.why.count(end) for end in (". ", "! ", "? ")) <= 2
    assert "λ̂ tells them apart" in judged.statement
    assert "2 of 2 (true) and 1 of 2 (random)" in judged.statement
    row = judged.numbers["priors"]["rows"]["table"]
    # K = 7 alone has a line above what 2¹⁷ draws resolve ten times, with a = 128/160.
    assert (row["gap"], row["gap_se"], row["gap_is_bound"]) == (pytest.approx(122.4), 0.0, False)


def test_the_verdict_on_simplicity_changes_with_the_numbers() -> None:
    data = dataset()
    for name in ("best_probability", "best_least"):
        data[name].loc[{"map": "π ⊕ perceptron", "complexity": 150.5}] = 0.2
    assert outcomes(data)[0].startswith("holds only if K is the true complexity")
    assert "π ⊕ perceptron" in verdict(data).findings[0].why
    data = dataset()
    data["best_by_repeat"].loc[{"map": "ReLU net"}] /= 64
    assert outcomes(data)[0].startswith("holds only if K is the true complexity")
    assert "no constant is in sight, for: ReLU net. " in verdict(data).findings[0].why
    data = dataset().sel(map=["perceptron", "polynomial"])
    data["bound_slope"][:] = data["bound_slope"][0]
    assert outcomes(data)[0] == "fails"
    data = dataset()
    data["best_probability"][:] = np.nan
    assert outcomes(data)[0] == "is undecided"


def test_the_verdict_on_bits_changes_with_the_numbers() -> None:
    data = dataset()
    data["exact_growth"] = data["growth"] = data["learning_coefficient"]
    assert outcomes(data)[1] == "holds"
    data = dataset()
    data["far_growth"][:] = 0.1
    assert outcomes(data)[1] == "fails"
    data = dataset()
    data["bits"] = data["exact_bits"] + 1000 * data["bits_se"]
    assert outcomes(data)[1] == "is undecided"
    assert "which is TOO FAR" in verdict(data).statement


def test_the_verdict_on_digits_changes_with_the_numbers() -> None:
    data = dataset()
    data["train_error"].loc[{"label": "random"}] = 0.3
    assert outcomes(data)[2] == "fails"
    data = dataset()
    data["test_error"].loc[{"label": "true"}] = 0.5
    assert outcomes(data)[2] == "fails"
    data = dataset()
    data["train_error"].loc[{"label": "true"}] = 0.3
    assert outcomes(data)[2] == "is undecided"
    data = dataset()
    data["lambda_by_gamma"].loc[{"label": "random"}] = 30.0
    assert "does not everywhere tell" in verdict(data).statement


@pytest.mark.slow
def test_figures_mark_what_has_not_settled() -> None:
    data = dataset()
    data["settled_by_gamma"].loc[{"label": "true"}] = False
    drawn = figure(data, verdict(data))
    assert set(drawn) == {"simplicity_bias", "simplicity_bias_parameters"}
    panel = drawn["simplicity_bias_parameters"].axes[5]
    crosses = [line for line in panel.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert sum(len(line.get_xdata()) for line in crosses) == 2
    assert len(drawn["simplicity_bias"].axes) == 6


def test_batches_are_of_whole_blocks() -> None:
    with pytest.raises(ValueError, match="^batch_draws = 1000: must be a multiple of 512$"):
        dataclasses.replace(SMOKE, batch_draws=1000)


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_have_names_of_their_own(preset: str) -> None:
    config = PRESETS[preset]
    names = [task.name for task in study.tasks(config)]
    assert len(names) == len(set(names)) == len(maps()) + len(targets()) + len(config.widths)
