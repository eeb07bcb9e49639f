"""Crossing valleys: closed forms against other integrals, samplers, and verdicts that can fail."""

import dataclasses
import functools
import itertools
import math

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import dblquad, quad
from scipy.special import erf

from experiments.crossing_valleys import PRESETS, study
from experiments.crossing_valleys.exact import (
    TEN,
    closed_form,
    closed_form_mass,
    codimension_mass,
    equilibrium_exit_time,
    error_integral,
    limiting_share,
    log_size_of_share,
    quadrature_mass,
    ten_dimensional_mass,
)
from experiments.crossing_valleys.figure import figure
from experiments.crossing_valleys.landscapes import ENERGIES, FORMULAS, Landscape, landscapes
from experiments.crossing_valleys.local import crossings, orders_above_one
from experiments.crossing_valleys.verdict import verdict
from experiments.crossing_valleys.walk import exit_times, folded
from slt_jax import theory

SMOKE = PRESETS["smoke"]
ALL = landscapes((10.0, 1000.0))


def brute_mass(landscape: Landscape, n: float, r: float) -> float:
    """Z(r)/Z(1) in the octant y < x by an adaptive rule."""

    def integral(reach: float) -> float:
        def density(y: float, x: float) -> float:
            return float(np.exp(-n * landscape.energy(x, y, np)))

        return float(dblquad(density, 0, reach, 0, lambda x: x, epsabs=1e-11, epsrel=1e-9)[0])

    return integral(r) / integral(1.0)


# --- masses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("landscape", ALL, ids=lambda at: at.slug)
def test_quadrature_is_right_within_its_bound(landscape: Landscape) -> None:
    found = quadrature_mass(landscape, (20,), (0.05, 0.3), 12)
    for value, error, r in zip(found.value[0], found.error[0], (0.05, 0.3), strict=True):
        assert error < 1e-7
        assert value == pytest.approx(brute_mass(landscape, 20, r), abs=error + 1e-8)


@pytest.mark.parametrize("kind", ["min_abs", "min_squares", "product"])
def test_closed_forms_agree_with_quadrature_at_all_n(kind: str) -> None:
    sizes, radii = (1, 1000, 10**6, 10**12), (0.01, 0.1)
    landscape = next(at for at in ALL if at.kind == kind)
    found = quadrature_mass(landscape, sizes, radii, 12)
    for n, value, error in zip(sizes, *found, strict=True):
        exact = closed_form_mass(kind, n, radii)
        assert exact is not None
        assert np.all(np.abs(value - exact.value) <= error + exact.error)
        assert np.all(exact.error < 1e-9)
        # and the bound is no alibi: a mass that is off by a millionth is outside of it
        assert np.all(1e-6 * value > error + exact.error)


def test_no_closed_form_of_smoothings() -> None:
    assert closed_form("softmin", 10.0, 0.1) is None
    assert closed_form_mass("kept_cross", 10.0, 0.1) is None


@pytest.mark.parametrize("codimension", [1, 2, 3])
def test_error_integrals(codimension: int) -> None:
    for limit in (1e-3, 1.0, 5.999999, 6.0, 20.0):
        expected, _ = quad(lambda t: t ** (codimension - 2) * erf(t), 0, limit, epsrel=1e-12)
        assert error_integral(codimension, limit) == pytest.approx(expected, rel=1e-10)


def test_a_smoothing_that_fills_the_valleys_is_zero_at_the_origin_alone() -> None:
    softmin = Landscape("softmin", 10.0)
    assert softmin.energy(0.0, 0.0, np) == 0
    assert softmin.energy(0.0, 0.5, np) > 1e-3
    assert softmin.energy(1e-9, 1e-9, np) == pytest.approx(1e-18, rel=1e-6)
    assert softmin.at_valley() is None
    assert set(FORMULAS) == set(ENERGIES)


def test_mass_of_other_codimensions_tends_to_a_power_of_r() -> None:
    for b in (2, 3):
        assert codimension_mass(b, 1e12, 0.1).value == pytest.approx(0.1 ** (b - 1), rel=1e-3)
    product = closed_form_mass("product", 1e4, 0.1)
    assert product is not None
    assert codimension_mass(1, 1e4, 0.1).value == pytest.approx(float(product.value), rel=1e-12)


def test_eight_more_directions_change_no_limit() -> None:
    assert {name: round(ten_dimensional_mass(name, 1e12, 0.1), 3) for name in TEN} == {
        "|x|+Σ|z|": 0.1, "min(|x|,|y|)+Σ|z|": 0.1, "x²+Σz²": 0.1, "x²y²+Σz²": 0.689,
    }  # fmt: skip


@pytest.mark.parametrize("landscape", [ALL[2], ALL[3], ALL[-1]], ids=lambda at: at.slug)
def test_leading_order_and_the_n_of_a_share(landscape: Landscape) -> None:
    exact = quadrature_mass(landscape, (10**12,), (0.1,), 12).value[0, 0]
    assert limiting_share(landscape, math.log(1e12), 0.1) == pytest.approx(exact, abs=1e-6)
    for share in (0.5, 0.9):
        log_n = log_size_of_share(landscape, share, 0.1) * math.log(10)
        assert limiting_share(landscape, log_n, 0.1) == pytest.approx(share, abs=1e-10)


# --- λ(n) -------------------------------------------------------------------------------------


def test_local_coefficients_are_derivatives() -> None:
    """At the crossings of the plane they are central differences of −log Z in log n."""
    by_name = {each.name: each for each in crossings()}
    for name, kind in (("min(|x|,|y|)", "min_abs"), ("x²y²", "product")):
        exact = by_name[name].exact
        assert exact is not None
        for n in (100.0, 1e4, 1e8):
            above, below = (closed_form(kind, n * factor, 0.1) for factor in (1.001, 1 / 1.001))
            slope = -np.log(above / below) / (2 * math.log(1.001))
            assert exact.crossing(np.array([n]), 0.1)[0] == pytest.approx(slope, abs=1e-5)


def test_the_narrow_valley_against_an_adaptive_rule() -> None:
    n, r = 300.0, 0.1
    (space,) = [each for each in crossings() if each.name == "x²(y²+z²+u²)"]
    assert space.exact is not None

    def mean(power: int) -> float:
        return float(
            dblquad(
                lambda v, x: v**2 * (n * x**2 * v**2) ** power * math.exp(-n * x**2 * v**2),
                0.5 - r, 0.5 + r, 0, r,
            )[0]
        )  # fmt: skip

    expected = mean(1) / mean(0)
    assert space.exact.narrow(np.array([n]), r)[0] == pytest.approx(expected, rel=1e-6)


def test_every_coefficient_tends_to_its_theorem() -> None:
    n = np.array([1e10, 1e12])
    for each in crossings():
        if each.exact is None:
            continue
        places = zip(each.exact, (each.at_crossing, each.wide, each.narrow), strict=True)
        for curve, known in places:
            values, limit = curve(n, 0.1), np.asarray(float(known.learning_coefficient))
            assert abs(values[1] - limit) < 0.06
            orders = orders_above_one(values, n, limit)
            assert orders == pytest.approx(known.multiplicity - 1, abs=2e-3), each.name


def test_orders_above_one_of_a_known_approach() -> None:
    n = np.array([1e3, 1e5])
    for order in (1, 3):
        values = 0.5 - order / (np.log(n) + 7)
        assert orders_above_one(values, n, np.asarray(0.5)) == pytest.approx(order)
    assert orders_above_one(np.array([0.5, 0.5]), n, np.asarray(0.5)) == 0


def test_touching_valleys_and_three_of_them_by_newton_polygons() -> None:
    others = {each.name: each.at_crossing for each in crossings() if each.exact is None}
    touching = theory.newton_polyhedron([(0, 4), (2, 3), (4, 2)], nondegenerate=False)
    three = theory.newton_polyhedron([(4, 2), (3, 3), (2, 4)], nondegenerate=False)
    found = [each.learning_coefficient for each in others.values()]
    assert found == [touching.learning_coefficient, three.learning_coefficient]


# --- walks ------------------------------------------------------------------------------------


def test_times_in_equilibrium_have_their_limits() -> None:
    assert equilibrium_exit_time("min_abs", 1e9, 0.1) == pytest.approx(0.01, rel=1e-6)
    assert equilibrium_exit_time("product", 1e-6, 0.1) == pytest.approx(0.005, rel=1e-3)
    n, r = 1e14, 0.1
    expected = r**2 * (math.log(4 * n * r**4) / 4 + np.euler_gamma / 4 - 0.5)
    assert equilibrium_exit_time("product", n, r) == pytest.approx(expected, rel=1e-4)


def test_positions_are_mirrored_at_the_walls() -> None:
    w = np.array([0.3, 1.2, -1.2, 2.9, 3.1, 5.0])
    np.testing.assert_allclose(folded(w), [0.3, 0.8, -0.8, -0.9, -0.9, 1.0], atol=1e-12)


@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_a_free_walk_leaves_the_square_on_time() -> None:
    """After 0.5894 r² with no loss, and later by the overshoot of a step beyond r."""
    r, step = 0.1, 0.002
    walks = exit_times(Landscape("product"), jax.random.key(0), 0.0, r, step, 600, 10**5)
    assert walks.left.all()
    error = walks.times.std() / math.sqrt(600)
    overshoot = (1 + 0.5826 * step / r) ** 2
    assert abs(walks.times.mean() - 0.5894 * overshoot * r**2) < 6 * error
    given_up = exit_times(Landscape("product"), jax.random.key(0), 0.0, r, step, 600, 100)
    assert not given_up.left.any()


# --- verdict and figure -----------------------------------------------------------------------


@functools.cache
def computed() -> dict[str, xr.Dataset]:
    """The exact results of the smoke preset, and made-up samples that agree with them."""
    results = {task.name: task.compute() for task in study.tasks(SMOKE) if task.group == "exact"}
    pairs = ("sampler", "sampled_n")
    for kind in ("min_abs", "kept_cross_10", "softmin_10", "product"):
        exact = float(results[f"exact.{kind}"]["posterior_mass"].sel(n=100)[-1])
        results[f"sampled.{kind}"] = xr.Dataset(
            {
                "sampled_mass": (pairs, [[exact + 0.01], [exact - 0.02]]),
                "sampled_mass_se": (pairs, [[0.01], [0.01]]),
                "num_runs": 16,
                "acceptance": (pairs, [[0.5], [0.99]]),
                "converged": (pairs, [[True], [True]]),
                "reason": (pairs, np.array([[""], [""]], dtype=object)),
            },
            coords={"sampler": list(study.SAMPLERS), "sampled_n": [100]},
        )
    for kind in study.LEAVING:
        results[f"exit.{kind}"] = xr.Dataset(
            {
                "exit_time": ("exit_n", [0.9]), "exit_time_se": ("exit_n", [0.1]),
                "exit_unfinished": ("exit_n", [0.0]), "exit_closed_form": ("exit_n", [0.95]),
                "equilibrium_exit_time": ("n", [0.5, 0.6, 0.9]),
            },
            coords={"exit_n": [10 if kind == "min_abs" else 100], "n": [100.0, 1e4, 1e6]},
        )  # fmt: skip
    return results


def dataset() -> xr.Dataset:
    return study.assemble(SMOKE, computed()).copy(deep=True)


def outcomes(data: xr.Dataset) -> list[str]:
    return [finding.outcome for finding in verdict(data).findings]


def test_the_verdict() -> None:
    judged = verdict(dataset())
    assert [finding.claim for finding in judged.findings] == ["E5", "E6"]
    first, second = outcomes(dataset())
    assert first.startswith("holds only if, in its second half, n grows without end")
    assert second.startswith("holds only if the valleys' codimensions differ by two")
    assert judged.numbers["sampled"]["largest_z_score"] == pytest.approx(2.0)
    for finding in judged.findings:
        assert sum(finding.why.count(end) for end in (". ", "! ", "? ")) <= 2
    assert "8 of 8 sampled posteriors converged" in judged.statement
    assert "agree within their bounds" in judged.statement


def spoilt(name: str, value: float, **at: object) -> xr.Dataset:
    data = dataset()
    data[name].loc[at] = value
    return data


def test_the_verdict_on_masses_changes_with_the_numbers() -> None:
    assert outcomes(spoilt("posterior_mass", 0.9, landscape="min(|x|,|y|)"))[0] == "fails"
    kept = "x²y²/(x²+y²+1/k), k=10"
    assert outcomes(spoilt("posterior_mass", 0.9, landscape=kept))[0] == "holds"
    regular = "softmin(x²,y²), k=10"
    assert outcomes(spoilt("posterior_mass", 0.2, landscape=regular))[0] == "is undecided"
    apart = verdict(spoilt("route_gap", 2.0, landscape="x²y²")).statement
    assert "DISAGREE within their bounds" in apart


def test_the_verdict_on_dimensions_changes_with_the_numbers() -> None:
    data = dataset()
    data["local_limit"].loc[{"place": "crossing"}] = (
        data["local_limit"].sel(place="narrow valley") - 2 * data["direction_coefficient"]
    )
    assert outcomes(data)[1] == "holds"
    data = dataset().isel(crossing=[0, 1, 2, 3, 6, 7])
    assert outcomes(data)[1] == "fails"


def test_samples_that_are_off_or_not_converged_are_told() -> None:
    off = verdict(spoilt("sampled_mass", 0.9, sampler="SGLD"))
    assert "which is TOO FAR" in off.statement
    assert off.numbers["sampled"]["p_value"] < 1e-6
    data = spoilt("converged", False, sampler="SGLD")
    judged = verdict(data)
    assert "4 of 8 sampled posteriors converged" in judged.statement
    assert judged.numbers["sampled"]["largest_z_score"] == pytest.approx(1.0)
    data["exit_unfinished"][:] = 3.0
    drawn = figure(data, judged)["crossing_valleys"]
    for panel, words in (
        (2, "not converged, or biased by the step"),
        (3, "some walks were given up"),
    ):
        assert words in [text.get_text() for text in drawn.axes[panel].get_legend().get_texts()]


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_have_names_of_their_own(preset: str) -> None:
    names = [task.name for task in study.tasks(PRESETS[preset])]
    assert len(names) == len(set(names)) == len(landscapes(PRESETS[preset].sharpnesses)) + 7


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=8, standard_errors=6.5, degrees_of_freedom=31)
def test_samplers_against_exact_masses() -> None:
    config = dataclasses.replace(
        SMOKE, sampled_sizes=(10,), repeats=32, chains=8, warmup=10000, draws=400, thinning=200
    )
    tasks = {task.name: task for task in study.tasks(config)}
    for landscape in study.sampled_landscapes(config.sharpnesses):
        found = tasks[f"sampled.{landscape.slug}"].compute()
        exact = quadrature_mass(landscape, (10,), config.radii, 12).value[0, 0]
        assert bool(found["converged"].all()), found["reason"].to_numpy()
        score = (found["sampled_mass"] - exact) / found["sampled_mass_se"]
        assert np.all(np.abs(score) < 6.5), landscape.name


def test_losses_are_even_and_symmetric() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 50))
    for landscape, (a, b) in itertools.product(ALL, ((-x, y), (y, x))):
        expected = landscape.energy(x, y, np)
        assert np.all(expected >= 0)
        np.testing.assert_allclose(landscape.energy(a, b, np), expected, rtol=1e-12, atol=1e-15)
