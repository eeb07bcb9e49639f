"""Nets, exact answers and verdict of the experiment on λ̂ at scale."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.llc_at_scale import PRESETS, spaced, study
from experiments.llc_at_scale.bias import METHODS, exact_coefficient
from experiments.llc_at_scale.figure import figure
from experiments.llc_at_scale.nets import Net, random_net, target_of
from experiments.llc_at_scale.verdict import verdict

SMOKE = PRESETS["smoke"]
NET = Net((4, 3, 5), (2.0, 0.5))


# --- nets -------------------------------------------------------------------------------------


def test_layers_of_the_centre_multiply_to_the_truth() -> None:
    first, second = NET.true_layers()
    np.testing.assert_allclose(second @ first, NET.truth(), atol=1e-6)
    singular = np.linalg.svd(np.asarray(NET.truth()), compute_uv=False)
    np.testing.assert_allclose(singular, [2.0, 0.5, 0.0, 0.0], atol=1e-6)
    # Each layer alone has the rank of the product: no true parameter is more singular.
    assert [np.linalg.matrix_rank(layer) for layer in (first, second)] == [2, 2]
    assert (NET.dimension, NET.depth, NET.rank) == (27, 2, 2)
    assert float(NET.theory.learning_coefficient) == 8.0


def test_the_loss_is_that_of_exact_second_moments() -> None:
    """½ E|Mx − Cx|² over x ~ N(0, I), as a mean over the points ±√d e_j."""
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=layer.shape) for layer in NET.true_layers()]
    w = jnp.asarray(np.concatenate([layer.ravel() for layer in layers]), jnp.float32)
    off = layers[1] @ layers[0] - np.asarray(NET.truth())
    points = 2.0 * np.concatenate([np.eye(4), -np.eye(4)])
    loss = np.mean(np.sum((points @ off.T) ** 2, axis=1)) / 2
    target = target_of(NET.widths)
    assert -target.log_likelihood(w, NET.truth()) == pytest.approx(loss, rel=1e-5)
    assert target.log_likelihood(NET.centre(), NET.truth()) == pytest.approx(0.0, abs=1e-10)


def test_random_nets_have_about_the_size_that_was_asked_for() -> None:
    for i, size in enumerate((100, 3000, 10**6)):
        net = random_net((0, 1, i), size)
        assert net == random_net((0, 1, i), size)
        assert net != random_net((1, 1, i), size)
        assert 0.7 < net.dimension / size < 1.4
        assert 2 <= net.depth <= 5
        assert 0 <= net.rank <= min(net.widths)
        assert all(0.5 <= s <= 2 for s in net.singular_values)
    assert spaced(100, 100_000, 4) == (100, 1000, 10_000, 100_000)


def test_chains_and_work_by_size() -> None:
    sizes = [Net((w, w, w), ()) for w in (5, 50, 100, 1000)]
    assert [net.num_chains for net in sizes] == [32, 8, 4, 2]
    assert sizes[2].work == pytest.approx(6 * 4 * 100**3 + 1e7)


def test_exact_coefficients_tend_to_the_theorem() -> None:
    net = study.SOLVED[0]
    values = [float(exact_coefficient(net, beta).value) for beta in (1e1, 1e3, 1e7)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(float(net.theory.learning_coefficient), abs=0.01)
    with pytest.raises(ValueError, match="must be one that an oracle solves"):
        exact_coefficient(Net((2, 3, 3), (1.0,)), 10.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_have_names_of_their_own(preset: str) -> None:
    config = PRESETS[preset]
    names = [task.name for task in study.tasks(config)]
    nets = len(config.held_out_sizes) + len(config.large_sizes)
    scanned = len(config.tuning_sizes) * len(config.localisations)
    assert len(names) == len(set(names)) == 2 + config.solved_nets + nets + scanned


# --- verdict and figure -----------------------------------------------------------------------


def of_net(net: Net, off: float, half: float) -> xr.Dataset:
    """A result that is off by a share of λ, with a half-width in that unit."""
    exact = float(net.theory.learning_coefficient)
    se = half * exact / 1.96
    numbers = {
        "estimate": (1 + off) * exact, "estimate_se": se, "sampling": se / 2, "beyond": se / 2,
        "bending": se / 2, "settling": 0.0, "log_term": se / 2, "last_estimate": 0.9 * exact,
        "last_estimate_se": se / 10, "last_beta": 1e6, "start_gap": 0.3, "step_correction": 0.02,
        "num_rungs": 5, "steps": 10_000, "work": net.dimension / 10.0, "num_chains": 4,
        "converged": True, "reason": "",
    }  # fmt: skip
    return xr.Dataset(numbers, attrs={"wall_seconds": 4.0})


@functools.cache
def made_up() -> xr.Dataset:
    """32 nets that are off by 1 % with intervals of 3 %, and all else in good order."""
    config = dataclasses.replace(
        SMOKE, held_out_sizes=spaced(100, 100_000, 32), localisations=(0.25, 1.0), solved_nets=1
    )
    streams = {"held_out": study.HELD_OUT, "large": study.LARGE}
    results = {
        f"{name}.{i:03d}": of_net(random_net((0, stream, i), size), 0.01, 0.03)
        for name, stream in streams.items()
        for i, size in enumerate(getattr(config, f"{name}_sizes"))
    }
    for j, half in enumerate((0.05, 0.03)):
        results[f"tuning.000.{j}"] = of_net(random_net((0, study.TUNING, 0), 100), 0.0, half)
    results["oracle.0"] = xr.Dataset(
        {
            "solved_estimate": ("beta", [1.9, 2.3]), "solved_estimate_se": ("beta", [0.1, 0.1]),
            "solved_exact": ("beta", [2.0, 2.3]), "solved_exact_error": ("beta", [0.0, 0.0]),
            "solved_settled": ("beta", [True, True]),
        },
        coords={"beta": [10.0, 100.0]},
    )  # fmt: skip
    pairs, shape = ("scheme", "step_share"), (len(METHODS), 2)
    results["bias"] = xr.Dataset(
        {
            "biased_coefficient": (pairs, np.full(shape, 2.4)),
            "biased_coefficient_se": (pairs, np.full(shape, 0.02)),
            "reference_coefficient": 2.3, "reference_coefficient_se": 0.02, "bias_exact": 2.3,
            "bias_exact_error": 0.0,
        },
        coords={"scheme": list(METHODS), "step_share": [0.1, 0.4]},
    )  # fmt: skip
    pairs = ("dynamics", "training_step")
    reasons = np.array([["chains have not settled (…)", ""]], dtype=object)
    results["digits"] = xr.Dataset(
        {
            "digit_coefficient": (pairs, [[20.0, 25.0]]),
            "digit_coefficient_se": (pairs, [[np.inf, 2.0]]),
            "digit_converged": (pairs, [[False, True]]), "digit_minimum": (pairs, [[False, True]]),
            "digit_reason": (pairs, reasons), "digit_r_hat": (pairs, [[1.4, 1.0]]),
            "digit_fall": (pairs, [[9.0, 0.1]]), "digit_dimension": 160,
            "train_loss": ("training_step", [1.0, 0.1]), "test_error": ("training_step", [0.5, 0.1])
        },
        coords={"dynamics": ["underdamped"], "training_step": [10, 100]},
    )  # fmt: skip
    return study.assemble(config, results)


def dataset() -> xr.Dataset:
    return made_up().copy(deep=True)


def outcome(data: xr.Dataset) -> str:
    (finding,) = verdict(data).findings
    assert sum(finding.why.count(end) for end in (". ", "! ", "? ")) <= 2
    return finding.outcome


def test_the_claim_fails_where_intervals_hold() -> None:
    judged = verdict(dataset())
    (finding,) = judged.findings
    assert finding.outcome.startswith("fails, read as: no rule that sees its chains alone")
    assert "cover the exact λ of 32 of 32 held-out nets" in finding.why
    assert "covers 0 of 32" in finding.why
    assert judged.numbers["held_out"]["median_error"] == pytest.approx(0.01)
    assert judged.numbers["held_out"]["exponent"] == pytest.approx(0.0, abs=1e-6)
    assert "smallest at γ = 1 times the largest width, the one that was used" in judged.statement
    assert "agree with it at the same nβ" in judged.statement


def test_the_claim_holds_where_intervals_miss_or_say_nothing() -> None:
    data = dataset()
    data["estimate"][:4] = 2 * data["exact_estimate"][:4]
    assert outcome(data).startswith("holds")
    data = dataset()
    data["estimate"] = 1.06 * data["exact_estimate"]
    data["estimate_se"] = data["exact_estimate"] / 20
    assert outcome(data).startswith("holds")
    data = dataset()
    data["estimate_se"] = 10 * data["estimate_se"]
    assert outcome(data).startswith("holds")
    data["estimate_se"][:] = np.inf
    assert outcome(data).startswith("holds")


def test_nets_that_did_not_converge_are_not_covered() -> None:
    data = dataset()
    data["converged"][:4] = False
    data["reason"] = data["reason"].astype(object)
    data["reason"][:4] = "chains diverged"
    judged = verdict(data)
    assert judged.findings[0].outcome.startswith("holds")
    assert "Not converged, and counted as not covered: " in judged.statement
    drawn = figure(data, judged)["llc_at_scale"]
    words = [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert "not converged" in words


def test_few_nets_decide_nothing() -> None:
    assert outcome(dataset().isel(net=slice(29))) == "is undecided"


def test_what_is_off_is_told() -> None:
    data = dataset()
    data["solved_estimate"] = data["solved_estimate"] + 1
    data["chosen_localisation"] = 0.25
    data["biased_coefficient"][0, 1] = np.nan
    judged = verdict(data)
    assert "DISAGREE with it at the same nβ" in judged.statement
    assert "NOT the 0.25 that was used" in judged.statement
    assert "SGLD has the bias +4.35 ± 0.87 % at 0.1 of the longest stable step; it diverges" in (
        judged.statement
    )
    assert figure(data, judged)["llc_at_scale"].axes
