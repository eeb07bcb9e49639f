"""Skalse's polynomial: every route against a closed form or another route, and the verdict."""

import dataclasses
import math

import chex
import jax
import numpy as np
import pytest
import xarray as xr
from scipy.special import k0
from scipy.stats import norm

from experiments.skalse_polynomial import PRESETS, study
from experiments.skalse_polynomial.factorised import Block, expected_free_energy, factorised_moments
from experiments.skalse_polynomial.figure import LEARNT, figure
from experiments.skalse_polynomial.posterior_mass import (
    ROUTES,
    mass_near,
    near,
    one_datum_evidence,
)
from experiments.skalse_polynomial.regression import (
    decay_rate,
    gibbs,
    log_product_density,
    modulus_prior,
    scaled_up,
)
from experiments.skalse_polynomial.truths import FUNCTIONS, TRUTHS, gram, of_truth, targets
from experiments.skalse_polynomial.verdict import HIGHEST, _is_least, judge_one_datum, verdict
from slt_jax.data import statistics_along_n
from slt_jax.models import named_problems
from slt_jax.oracles.laws.products import log_modulus_density
from slt_jax.report.verdict import Verdict
from slt_jax.run.sweep import run_tasks

SMOKE = PRESETS["smoke"]


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
    one = one_datum_evidence((1, 1), (1.0, 0.5), y, 0.3)
    np.testing.assert_allclose(one, norm.pdf(y, scale=math.sqrt(1.25 + 0.09)), rtol=1e-10)
    grid = np.linspace(-60, 60, 2401)
    five = one_datum_evidence((1, 2, 3, 4, 5), np.ones(5), grid, 0.5)
    assert five.sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=1e-3)


def test_mass_of_a_normal_coefficient() -> None:
    """One coefficient: its posterior is normal, and the ellipsoid is an interval."""
    found = mass_near((1,), (1.0,), [[0.5]], 0.2, (1.0,), 1.0, 0.1)
    mean, sd, half = 1 / 1.01, 0.1 / math.sqrt(1.01), 0.2 / math.sqrt(0.5)
    expected = np.diff(norm.cdf([1 - half, 1 + half], mean, sd))[0]
    assert found.value == pytest.approx(expected, rel=1e-9)


def test_mass_against_a_double_integral() -> None:
    """A single parameter and a product of two, on a disc: K₀ is the density of the product."""
    found = mass_near((1, 2), (0.0, 1.0), np.eye(2), 0.5, (1.0, 1.0), 1.0, 0.5, 30)
    edges = np.linspace(-0.5, 0.5, 2002)
    shift = (edges[1:] + edges[:-1]) / 2
    a, b = shift[:, None], 1 + shift[None, :]
    joint = norm.pdf(a) * k0(b) / np.pi * np.exp(-2 * (1 - a - b) ** 2) / math.sqrt(np.pi / 2)
    inside = a**2 + (b - 1) ** 2 < 0.25
    total = joint[inside].sum() * (edges[1] - edges[0]) ** 2
    evidence = one_datum_evidence((1, 2), (1.0, 1.0), 1.0, 0.5)
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
        "factors": (1, 2), "centre": (0.0, 1.0), "metric": np.eye(2), "radius": 0.1,
        "features": (1.0, 1.0), "y": 1.0, "noise": 0.5,
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        mass_near(**(given | change))


def test_near_counts_what_lies_in_the_ellipsoid() -> None:
    draws = np.stack([targets(truth) for truth in TRUTHS])
    distance = math.sqrt(1 / 9 - 2 / 7 + 1 / 5)  # of x⁴ and x²
    for radius, count in ((0.9 * distance, 1), (1.01 * distance, 2), (10.0, 6)):
        inside = near(draws, targets("x^4"), gram(), radius)
        assert inside.sum() == count


# --- scaled up --------------------------------------------------------------------------------


@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_gibbs_against_the_exact_posterior_mean_of_one_datum() -> None:
    """E[f | y] = y + σ² ∂ log p(y)/∂y exactly; five standard errors, one comparison."""
    config = dataclasses.replace(SMOKE, scaled_chains=16, sweeps=200)
    found = scaled_up(config, jax.random.key(0), degree=10, noise=0.3, pattern="essay")
    assert float(found["sampled_mean_se"]) < 0.005
    miss = float(found["sampled_mean"] - found["exact_mean"])
    assert abs(miss) < 5 * float(found["sampled_mean_se"])
    assert found["scaled_converged"].all()
    assert (found["prediction_error"] > 0).all()


def test_gibbs_refuses() -> None:
    prior, keys = modulus_prior([1, 2]), jax.random.split(jax.random.key(0), (1, 1))
    x, y = np.ones((1, 3, 2)), np.ones((1, 3))
    with pytest.raises(ValueError, match="noise = 0"):
        gibbs(prior, x, y, np.ones((4, 2)), 0.0, keys, 1, 1)
    with pytest.raises(ValueError, match="shapes"):
        gibbs(prior, x, y, np.ones((4, 3)), 0.1, keys, 1, 1)


# --- the verdict ------------------------------------------------------------------------------


def raw_results() -> xr.Dataset:
    """A dataset such as a run makes, where x⁴ is preferred and noise decides what is learnt."""
    large = np.array(SMOKE.large_sizes)
    orders = np.array([11, 7, 8, 9, 10, 11])
    curve = 2.5 * np.log(large) - (orders[:, None] - 1) * np.log(np.log(large))
    jitter = np.array([-0.01, 0.01])
    fixed = curve[..., None] + jitter + np.array([0.0, 0.0, 0.0, 0.0, 0.0, -0.5])[:, None, None]
    power = np.array([137, 185, 173, 161, 149, 137])[:, None] / 120 * np.log(large)
    flat = ("truth", "gamma")
    mass = np.array([0.01, 0.03, 0.05, 0.1, 0.3])
    cell = ("datum_noise", "route")
    scaled = ("degree", "noise", "pattern", "scaled_replicate")
    errors = np.array([[0.01, 0.02], [1.0, 0.4]])[None, :, :, None] * np.ones(2)
    local, name = "local_learning_coefficient", "normalised_free_energy"
    return xr.Dataset(
        {
            name: (("truth", "n", "replicate"), fixed[:, :2]),
            f"fixed_design_{name}": (("truth", "large_n", "replicate"), fixed),
            f"power_{name}": (("truth", "large_n"), power),
            "route_gap": (("truth", "large_n"), np.zeros_like(power)),
            "route_bound": (("truth", "large_n"), np.ones_like(power)),
            local: (flat, np.full((6, 1), 1.01)),
            f"{local}_se": (flat, np.full((6, 1), 0.01)),
            f"exact_{local}": (flat, np.ones((6, 1))),
            "local_size": ("truth", np.full(6, 1000)),
            "sgld_acceptance": (flat, np.full((6, 1), 0.99)),
            f"large_n_{local}": ((*flat, "large_n"), np.full((6, 1, len(large)), 2.0)),
            "posterior_mass": ((*cell, "function", "radius"), np.tile(mass[:, None], (1, 3, 1, 1))),
            "posterior_mass_error": ((*cell, "function", "radius"), np.full((1, 3, 5, 1), 1e-3)),
            "posterior_mass_converged": (cell, np.ones((1, 3), bool)),
            "posterior_mass_reason": (cell, np.full((1, 3), "", dtype=object)),
            "density_at_one": (("datum_noise", "function"), mass[None]),
            "density_near_zero": (("datum_noise", "function", "radius"), np.ones((1, 5, 1))),
            "prediction_error": (scaled, errors),
            "scaled_converged": (scaled, np.ones(errors.shape, bool)),
            "points": (scaled[:3], np.ones((1, 2, 2), int)),
            "degrees_per_datum": 10,
        },
        coords={
            "truth": list(TRUTHS), "n": [100, 1000], "large_n": large, "gamma": [100.0],
            "datum_noise": [0.1], "route": list(ROUTES), "function": list(FUNCTIONS),
            "radius": [0.2], "degree": [10], "noise": [0.1, 1.0],
            "pattern": ["essay", "ascending"], "scaled_replicate": [0, 1],
        },
    )  # fmt: skip


def judged(raw: xr.Dataset) -> Verdict:
    return verdict(study.with_theory(raw))


def outcomes(judgement: Verdict) -> dict[str, str]:
    return {finding.claim: finding.outcome for finding in judgement.findings}


def test_the_verdict_parts_the_conclusion_from_its_reason() -> None:
    judgement = judged(raw_results())
    assert outcomes(judgement) == {
        "E1": "holds only if the multiplicity m takes the place of λ",
        "E2": "holds only if the prior's density takes the place of λ",
        "E3": "holds only if the noise is large",
    }
    truths, datum = judgement.numbers["truths"], judgement.numbers["one_datum"]
    assert (truths["conclusion_holds"], truths["reason_holds"]) == (True, False)
    assert truths["reason_holds_for_powers"]
    assert truths["truths"]["x^4"]["slope"] == pytest.approx(2.5)
    assert truths["gain"] == pytest.approx(truths["gain_of_orders"])
    assert (truths["local_agrees"], truths["routes_agree"]) == (True, True)
    assert datum["conclusion_holds"]
    assert datum["largest_unexplained"] == {"0.2": pytest.approx(0.0, abs=1e-12)}
    scaled = judgement.numbers["scaled_up"]
    assert scaled["noise_threshold"] == pytest.approx((0.1 / 6 / decay_rate()) ** 0.5)
    assert "DISAGREE" not in judgement.statement


def test_the_verdict_changes_with_the_numbers() -> None:
    raw = raw_results()
    raw["fixed_design_normalised_free_energy"][-1] += 5.0
    raw["exact_local_learning_coefficient"][0] = 2.0
    raw["route_gap"][0, 0] = 2.0
    raw["posterior_mass"][:, :, 0] = 0.5
    raw["posterior_mass_reason"][0, 1] = "R-hat 1.3 is above 1.05"
    raw["posterior_mass_converged"][0, 1] = False
    judgement = judged(raw)
    truths, datum = judgement.numbers["truths"], judgement.numbers["one_datum"]
    assert not truths["conclusion_holds"]
    assert not truths["local_agrees"]
    assert not truths["routes_agree"]
    assert outcomes(judgement)["E1"] == outcomes(judgement)["E2"] == "fails"
    assert judgement.statement.count("DISAGREE") == 2
    assert not datum["conclusion_holds"]
    assert datum["largest_unexplained"]["0.2"] > 1
    assert datum["not_converged"] == ["NUTS at noise 0.1: R-hat 1.3 is above 1.05"]
    assert datum["not_converged"][0] in judgement.statement


def test_the_claims_hold_where_the_coefficient_is_the_reason() -> None:
    dataset = study.with_theory(raw_results())
    dataset["learning_coefficient"][-1] = 2.0
    dataset["datum_learning_coefficient"][-1] = 0.25
    held = outcomes(verdict(dataset))
    assert held["E1"] == held["E2"] == "holds"


def test_some_pairs_of_noise_and_radius_are_a_condition() -> None:
    numbers = dict(judged(raw_results()).numbers["one_datum"])
    masses = next(iter(numbers["masses"].values()))
    numbers["masses"] = {"one": masses, "other": masses | {"conclusion_holds": False}}
    assert judge_one_datum(numbers).outcome == (
        "holds only if noise and radius suit (1 of 2 pairs) and the prior's density takes the "
        "place of λ"
    )


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [((0.01, 0.01), "fails"), ((1.0, 1.0), "holds"), ((0.5, 0.05), "is undecided")],
)
def test_the_verdict_on_scaling(errors, outcome) -> None:
    raw = raw_results()
    raw["prediction_error"][0, :, 0] = np.array(errors)[:, None]
    assert outcomes(judged(raw))["E3"] == outcome
    assert outcome in LEARNT


def test_the_mean_of_one_datum_is_held_to_the_exact_one() -> None:
    raw = raw_results()
    cells = ("degree", "noise", "pattern")
    for name, value in (("sampled_mean", 1.3), ("exact_mean", 1.0), ("sampled_mean_se", 0.1)):
        raw[name] = (cells, np.full((1, 2, 2), value))
    judgement = judged(raw)
    assert judgement.numbers["scaled_up"]["one_datum_deviation"] == pytest.approx(3.0)
    assert "the mean given one datum within 3.0" in judgement.statement


@pytest.mark.parametrize(
    ("coefficients", "least"), [((1, 2, 3), True), ((2, 1, 3), False), ((1, 1, 1), False)]
)
def test_the_least_coefficient_is_below_all_others(
    coefficients: tuple[int, ...], least: bool
) -> None:
    functions = [HIGHEST, "one", "other"]
    values = xr.DataArray(list(coefficients), dims="truth", coords={"truth": functions})
    assert _is_least(values, functions) == least


# --- figure, configuration and a run ----------------------------------------------------------


def test_the_figure_says_what_is_least_and_marks_chains_that_have_not_mixed() -> None:
    raw = raw_results()
    for word, crosses in (("has", []), ("does not have", [1])):
        dataset = study.with_theory(raw)
        axes = figure(dataset, verdict(dataset))["skalse_polynomial"].axes
        assert len({axis.get_title() for axis in axes}) == len(axes) == 6
        assert f"$x^4$ {word} the least free energy" in axes[0].get_title()
        marked = [line for line in axes[-1].lines if line.get_marker() == "x"]
        assert [len(line.get_xdata()) for line in marked] == crosses
        raw["fixed_design_normalised_free_energy"][-1] += 5.0
        raw["scaled_converged"][0, 1, 0, 0] = False


def test_tasks_of_presets_have_names_of_their_own() -> None:
    for config in PRESETS.values():
        names = [task.name for task in study.tasks(config)]
        assert len(set(names)) == len(names)


def test_degrees_are_whole_multiples_of_data() -> None:
    with pytest.raises(ValueError, match=r"degrees = \(15,\): must be multiples of 10"):
        dataclasses.replace(SMOKE, degrees=(15,))
    with pytest.raises(ValueError, match="degrees_per_datum = 0"):
        dataclasses.replace(SMOKE, degrees_per_datum=0)


@pytest.mark.slow
def test_truths_share_inputs_and_noise() -> None:
    """The statistics of truth 0 at another truth are those of data simulated from it."""
    problems, key = named_problems(), jax.random.key(0)
    zero, other = (
        statistics_along_n(problems[name], key, 2, [50])[0] for name in ("skalse_0", "skalse_x2")
    )
    chex.assert_trees_all_close(of_truth(zero, "x^2"), other, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_the_smoke_preset() -> None:
    dataset = study.assemble(SMOKE, run_tasks(study.tasks(SMOKE)))
    numbers = verdict(dataset).numbers
    assert numbers["truths"]["routes_agree"]
    assert numbers["truths"]["conclusion_holds"]
    assert numbers["one_datum"]["conclusion_holds"]
