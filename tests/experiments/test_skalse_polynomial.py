"""Skalse's polynomial: every route against a closed form or another route, and the verdict."""

import contextlib
import dataclasses
import io
import json
import math
import os
import sys
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.special import k0
from scipy.stats import norm

from experiments import skalse_polynomial
from experiments.skalse_polynomial import (
    coefficients as product_coefficients,
)
from experiments.skalse_polynomial import (
    figure as skalse_figure,
)
from experiments.skalse_polynomial import (
    posterior_mass as regions,
)
from experiments.skalse_polynomial import (
    verdict as skalse_report,
)
from experiments.skalse_polynomial.coefficients import FUNCTIONS, METHODS, TRUTHS
from experiments.skalse_polynomial.factorised import Block, expected_free_energy, factorised_moments
from experiments.skalse_polynomial.regression import (
    decay_rate,
    gibbs,
    log_product_density,
    modulus_prior,
)
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.oracles.laws.products import log_modulus_density
from slt_jax.report import main as cli
from slt_jax.report import plotting
from slt_jax.run.sweep import Batch

SMOKE = skalse_polynomial.PRESETS["smoke"]
FILES = [f"skalse_polynomial.{kind}" for kind in ("json", "nc", "pdf", "png", "svg")]


# --- one-dimensional integrals ----------------------------------------------------------------


def gaussian_free_energy(block: Block, n: float, xi: np.ndarray) -> np.ndarray:
    """−log ∫ N(c; centre, scale²) exp(−nδ²/2 + √n ξδ) dc in closed form, about c = target."""
    precision, away = 1 / block.scale**2, block.centre - block.target
    score = math.sqrt(n) * xi + precision * away
    return 0.5 * (
        np.log((n + precision) / precision) - score**2 / (n + precision) + precision * away**2
    )


@pytest.mark.parametrize("n", [1.0, 1e3, 1e12])
@pytest.mark.parametrize("block", [Block((1,)), Block((1,), 1.0), Block((1,), 1.0, 1.0, 0.1)])
def test_one_parameter_is_gaussian(block: Block, n: float) -> None:
    xi = np.array([[-1.7], [0.0], [2.3]])
    found = factorised_moments([block], n, xi).normalised_free_energy
    expected = gaussian_free_energy(block, n, xi[:, 0])
    assert np.all(np.abs(found.value - expected) <= found.error)
    assert np.all(found.error < 1e-5)


def test_the_expectation_over_data_is_gaussian_too() -> None:
    """E over ξ of the closed form: E ξ² = 1."""
    n = 1e4
    expected = 0.5 * (math.log(1 + n) - (n + 1) / (n + 1) + 1)
    found = expected_free_energy([Block((1,), 1.0)], n)
    assert abs(found.value - expected) <= found.error < 1e-5


@pytest.mark.parametrize("power", [1, 2, 3, 5])
def test_powers_have_their_own_learning_coefficient(power: int) -> None:
    """The next pole is at 3/2p, so that corrections fall as n^{−1/p}."""
    ends = [float(expected_free_energy([Block((power,))], n).value) for n in (1e10, 1e12)]
    slope = (ends[1] - ends[0]) / math.log(100)
    assert slope == pytest.approx(1 / (2 * power), abs=max(1e10 ** (-1 / power), 1e-6))


def test_energies_are_the_derivative_of_the_free_energy() -> None:
    blocks, xi, step = [Block((1, 1)), Block((1, 1, 1), 1.0)], np.array([[0.3, -0.8]]), 1e-4
    up, down = (
        factorised_moments(blocks, 100.0, xi, 0.5 + s).normalised_free_energy.value[0]
        for s in (step, -step)
    )
    energy = factorised_moments(blocks, 100.0, xi, 0.5).excess_energy.value[0]
    assert energy == pytest.approx((up - down) / (2 * step), rel=1e-5)


@pytest.mark.parametrize(
    ("blocks", "n", "noise", "beta", "words"),
    [
        ([Block(())], 1.0, [[0.0]], 1.0, "exponents"),
        ([Block((1,), scale=0.0)], 1.0, [[0.0]], 1.0, "scale = 0.0"),
        ([Block((1,))], -1.0, [[0.0]], 1.0, "n = -1.0"),
        ([Block((1,))], 1.0, [[0.0]], math.nan, "beta = nan"),
        ([Block((1,))], 1.0, [[0.0, 0.0]], 1.0, "noise of shape"),
        ([Block((1,))], 1.0, [[math.nan]], 1.0, "must be finite"),
    ],
)
def test_moments_refuse(blocks, n, noise, beta, words) -> None:
    with pytest.raises(ValueError, match=words):
        factorised_moments(blocks, n, noise, beta)


# --- densities of products, evidence and mass of one datum -------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_two_routes_to_the_density_of_a_product(count: int) -> None:
    grid, density = log_modulus_density((1,) * count)
    chosen = (grid > -8) & (grid < 2) & (density > 1e-6)
    found = np.exp(log_product_density(count, grid[chosen]))
    np.testing.assert_allclose(found, density[chosen], rtol=1e-7)


def test_the_tail_of_a_long_product() -> None:
    """To leading order P(|c| > 1) costs ``decay_rate`` nats per factor: the slope in the count."""
    near, far = (float(log_product_density(count, np.zeros(1))[0]) for count in (400, 800))
    assert (near - far - 0.5 * math.log(2)) / 400 == pytest.approx(decay_rate(), rel=1e-3)


def test_the_prior_of_a_modulus_has_mass_one() -> None:
    prior = modulus_prior([0, 1, 3, 50])
    np.testing.assert_allclose(np.exp(prior.logs).sum(axis=1), 1.0, atol=1e-9)
    with pytest.raises(ValueError, match="count = -1"):
        modulus_prior([-1])


def test_evidence_of_one_datum() -> None:
    y = np.array([0.0, 1.0, -2.0])
    one = regions.one_datum_evidence((1, 1), (1.0, 0.5), y, 0.3)
    np.testing.assert_allclose(one, norm.pdf(y, scale=math.sqrt(1.25 + 0.09)), rtol=1e-10)
    grid = np.linspace(-60, 60, 2401)
    five = regions.one_datum_evidence((1, 2, 3, 4, 5), np.ones(5), grid, 0.5)
    assert five.sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=1e-3)


def test_mass_of_a_normal_coefficient() -> None:
    """One coefficient: its posterior is normal, and the ellipsoid is an interval."""
    found = regions.mass_near((1,), (1.0,), [[0.5]], 0.2, (1.0,), 1.0, 0.1)
    mean, sd, half = 1 / 1.01, 0.1 / math.sqrt(1.01), 0.2 / math.sqrt(0.5)
    expected = np.diff(norm.cdf([1 - half, 1 + half], mean, sd))[0]
    assert found.value == pytest.approx(expected, rel=1e-9)


def test_mass_against_a_double_integral() -> None:
    """A single parameter and a product of two, on a disc: K₀ is the density of the product."""
    found = regions.mass_near((1, 2), (0.0, 1.0), np.eye(2), 0.5, (1.0, 1.0), 1.0, 0.5, 30)
    edges = np.linspace(-0.5, 0.5, 2002)
    shift = (edges[1:] + edges[:-1]) / 2
    a, b = shift[:, None], 1 + shift[None, :]
    joint = norm.pdf(a) * k0(b) / np.pi * np.exp(-2 * (1 - a - b) ** 2) / math.sqrt(np.pi / 2)
    inside = a**2 + (b - 1) ** 2 < 0.25
    total = joint[inside].sum() * (edges[1] - edges[0]) ** 2
    evidence = regions.one_datum_evidence((1, 2), (1.0, 1.0), 1.0, 0.5)
    assert found.value == pytest.approx(total / evidence, rel=2e-4)
    assert abs(found.value - total / evidence) <= found.error + 2e-4 * found.value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"factors": (2, 1)}, "factors"),
        ({"radius": 0.0}, "radius = 0.0"),
        ({"noise": -1.0}, "noise = -1.0"),
        ({"nodes": 7}, "nodes = 7"),
    ],
)
def test_mass_refuses(change, words) -> None:
    given = {
        "factors": (1, 2), "centre": (0.0, 1.0), "gram": np.eye(2), "radius": 0.1,
        "features": (1.0, 1.0), "y": 1.0, "noise": 0.5,
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        regions.mass_near(**(given | change))


def test_near_counts_what_lies_in_the_ellipsoid() -> None:
    gram = product_coefficients.gram()
    draws = np.stack([product_coefficients.targets(truth) for truth in TRUTHS])
    distance = math.sqrt(1 / 9 - 2 / 7 + 1 / 5)  # of x⁴ and x²
    for radius, count in ((0.9 * distance, 1), (1.01 * distance, 2), (10.0, 6)):
        inside = regions.near(draws, product_coefficients.targets("x^4"), gram, radius)
        assert inside.sum() == count


# --- scaled up --------------------------------------------------------------------------------


def test_gibbs_against_the_exact_posterior_mean_of_one_datum() -> None:
    """E[f | y] = y + σ² ∂ log p(y)/∂y exactly; five standard errors, one comparison."""
    found = product_coefficients.scaled_up(
        degree=10, noise=0.3, ascending=False, key=jax.random.key(0), points_per_degree=0.1,
        data_sets=2, num_chains=16, num_warmup=20, num_draws=200,
    )  # fmt: skip
    assert float(found["sampled_mean_se"]) < 0.005
    miss = float(found["sampled_mean"] - found["exact_mean"])
    assert abs(miss) < 5 * float(found["sampled_mean_se"])
    assert found["converged"].all()
    assert (found["prediction_error"] > 0).all()


def test_gibbs_refuses() -> None:
    prior, keys = modulus_prior([1, 2]), jax.random.split(jax.random.key(0), (1, 1))
    x, y = np.ones((1, 3, 2)), np.ones((1, 3))
    with pytest.raises(ValueError, match="noise = 0"):
        gibbs(prior, x, y, np.ones((4, 2)), 0.0, keys, 1, 1)
    with pytest.raises(ValueError, match="shapes"):
        gibbs(prior, x, y, np.ones((4, 3)), 0.1, keys, 1, 1)


# --- the verdict ------------------------------------------------------------------------------


def results() -> xr.Dataset:
    """A dataset such as a run makes, where x⁴ is preferred and noise decides what is learnt."""
    far = np.array(SMOKE.far_sizes)
    orders = np.array([11, 7, 8, 9, 10, 11])
    curve = 2.5 * np.log(far) - (orders[:, None] - 1) * np.log(np.log(far))
    jitter = np.array([-0.01, 0.01])
    designed = curve[..., None] + jitter + np.array([0.0, 0.0, 0.0, 0.0, 0.0, -0.5])[:, None, None]
    power = np.array([137, 185, 173, 161, 149, 137])[:, None] / 120 * np.log(far)
    flat = ("truth", "gamma")
    mass = np.array([0.01, 0.03, 0.05, 0.1, 0.3])
    cell = ("datum_noise", "route")
    scaled = ("degree", "noise", "pattern", "scaled_replicate")
    errors = np.array([[0.01, 0.02], [1.0, 0.4]])[None, :, :, None] * np.ones(2)
    return xr.Dataset(
        {
            "free_energy": (("truth", "n", "replicate"), designed[:, :2]),
            "designed": (("truth", "far_n", "replicate"), designed),
            "power": (("truth", "far_n"), power),
            "route_gap": (("truth", "far_n"), np.zeros_like(power)),
            "route_bound": (("truth", "far_n"), np.ones_like(power)),
            "local": (flat, np.full((6, 1), 1.01)),
            "local_se": (flat, np.full((6, 1), 0.01)),
            "exact_local": (flat, np.ones((6, 1))),
            "local_size": ("truth", np.full(6, 1000)),
            "acceptance": (flat, np.full((6, 1), 0.99)),
            "far_local": (("truth", "gamma", "far_n"), np.full((6, 1, len(far)), 2.0)),
            "mass": ((*cell, "function", "radius"), np.tile(mass[:, None], (1, 3, 1, 1))),
            "mass_error": ((*cell, "function", "radius"), np.full((1, 3, 5, 1), 1e-3)),
            "mass_converged": (cell, np.ones((1, 3), bool)),
            "reason": (cell, np.full((1, 3), "", dtype=object)),
            "density_at_one": (("datum_noise", "function"), mass[None]),
            "density_near_zero": (("datum_noise", "function", "radius"), np.ones((1, 5, 1))),
            "prediction_error": (scaled, errors),
            "scaled_converged": (scaled, np.ones(errors.shape, bool)),
        },
        coords={
            "truth": list(TRUTHS), "n": [100, 1000], "far_n": far, "gamma": [100.0],
            "datum_noise": [0.1], "route": list(METHODS), "function": list(FUNCTIONS),
            "radius": [0.2], "degree": [10], "noise": [0.1, 1.0],
            "pattern": ["essay", "ascending"],
        },
    )  # fmt: skip


def test_the_verdict_parts_the_conclusion_from_its_reason() -> None:
    verdict = skalse_report.judge(results())
    assert verdict["claims"] == ["E1", "E2", "E3"]
    first = verdict["E1"]
    assert (first["conclusion_holds"], first["reason_holds"]) == (True, False)
    assert first["reason_holds_for_powers"]
    assert first["truths"]["x^4"]["slope"] == pytest.approx(2.5)
    assert first["gain"] == pytest.approx(first["gain_of_orders"])
    assert (first["local_agrees"], first["routes_agree"]) == (True, True)
    assert verdict["E2"]["conclusion_holds"]
    assert verdict["E2"]["largest_unexplained"] == {"0.2": pytest.approx(0.0, abs=1e-12)}
    assert verdict["E3"]["holds"] == "holds only if the noise is large"
    assert "the reason fails" in verdict["statement"].lower()


def test_the_verdict_changes_with_the_numbers() -> None:
    data = results()
    data["designed"][-1] += 5.0
    data["exact_local"][0] = 2.0
    data["route_gap"][0, 0] = 2.0
    data["mass"][:, :, 0] = 0.5
    data["reason"][0, 1] = "R-hat 1.3 is above 1.05"
    data["mass_converged"][0, 1] = False
    verdict = skalse_report.judge(data)
    assert not verdict["E1"]["conclusion_holds"]
    assert not verdict["E1"]["local_agrees"]
    assert not verdict["E1"]["routes_agree"]
    assert "the conclusion fails" in verdict["E1"]["statement"]
    assert "DISAGREES" in verdict["E1"]["statement"]
    assert not verdict["E2"]["conclusion_holds"]
    assert verdict["E2"]["largest_unexplained"]["0.2"] > 1
    assert verdict["E2"]["not_converged"] == ["NUTS at noise 0.1: R-hat 1.3 is above 1.05"]


@pytest.mark.parametrize(
    ("errors", "word"),
    [((0.01, 0.01), "fails"), ((1.0, 1.0), "holds"), ((0.5, 0.05), "is undecided")],
)
def test_the_verdict_on_scaling(errors, word) -> None:
    data = results()
    data["prediction_error"][0, :, 0] = np.array(errors)[:, None]
    assert skalse_report.judge_scaling(data)["holds"] == word


# --- the command line -------------------------------------------------------------------------


def command(*arguments: object) -> tuple[int, str, str]:
    out, err, status = io.StringIO(), io.StringIO(), 0
    argv = ["skalse_polynomial", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            skalse_polynomial.main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return status, out.getvalue(), err.getvalue()


def assert_written(folder: Path, figures: Path) -> dict:
    assert set(os.listdir(folder)) - {"batches"} == set(FILES)
    assert set(os.listdir(figures)) == set(FILES) - {"skalse_polynomial.nc"}
    verdict = json.loads((folder / "skalse_polynomial.json").read_text("utf-8"))
    assert set(verdict) == {"claims", "E1", "E2", "E3", "statement", "provenance"}
    return verdict


def test_results_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the computation itself, of which ``test_the_smoke_preset`` is."""
    batch = Batch("made", results)
    monkeypatch.setattr(skalse_polynomial, "batches_of", lambda config: {"made": [batch]})
    monkeypatch.setattr(skalse_polynomial, "assemble", lambda config, found: found["made"])
    monkeypatch.setattr(skalse_figure, "figure", lambda dataset: plotting.Figure())
    folder, figures = tmp_path / "results", tmp_path / "figures"
    status, out, err = command("--preset", "smoke", "--out", folder, "--figures-dir", figures)
    assert status == 0, err
    verdict = assert_written(folder, figures)
    assert verdict["statement"] in out


def test_the_figure_marks_chains_that_have_not_mixed() -> None:
    data = results()
    data["scaled_converged"][0, 1, 0, 0] = False
    axes = skalse_figure.figure(data).axes
    assert [axis.get_title()[:3] for axis in axes] == [f"({letter})" for letter in "abcdef"]
    crosses = [line for line in axes[-1].lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crosses] == [0, 0, 1, 0]


@pytest.mark.slow
def test_truths_share_inputs_and_noise() -> None:
    """The statistics of truth 0 at another truth are those of data simulated from it."""
    problems, key = named_problems(), jax.random.key(0)
    zero, other = (
        statistics_along_n(problems[name], key, 2, [50])[0] for name in ("skalse_0", "skalse_x2")
    )
    for one, two in zip(product_coefficients.of_truth(zero, "x^2"), other, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_the_smoke_preset(tmp_path: Path) -> None:
    folder, figures = tmp_path / "results", tmp_path / "figures"
    status, out, err = command("--preset", "smoke", "--out", folder, "--figures-dir", figures)
    assert status == 0, err
    verdict = assert_written(folder, figures)
    assert verdict["statement"] in out
    assert verdict["E1"]["routes_agree"]
    assert verdict["E1"]["conclusion_holds"]
    assert verdict["E2"]["conclusion_holds"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--preset nope", "preset 'nope'"),
        ("--sample-sizes 100 10", "sample_sizes = (100, 10): must be positive and increase"),
        ("--far-sizes 10 100 1000", "far_sizes = (10, 100, 1000): at least 4"),
        ("--radii 0", "radii = (0.0,)"),
        ("--gammas nan", "gammas = (nan,)"),
        ("--degrees 15", "degrees = (15,): must be multiples of 10"),
        ("--noises 0", "noises = (0.0,)"),
        ("--datum-noises inf", "datum_noises = (inf,)"),
        ("--step-size nan", "step_size = nan"),
        ("--quadrature-nodes 7", "quadrature_nodes = 7: must be ≥ 8"),
        ("--data-sets 1", "data_sets = 1"),
        ("--chains 1", "chains = 1"),
        ("--sweeps 3", "sweeps = 3"),
        ("--oracle-level 4", "oracle_refinement = 4"),
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
    for name, config in skalse_polynomial.PRESETS.items():
        assert config.preset == name
        skalse_polynomial.check(config)
        groups = skalse_polynomial.batches_of(config)
        names = [batch.name for group in groups.values() for batch in group]
        assert len(set(names)) == len(names)
        assert dataclasses.replace(config, seed=1) != config
