"""Double descent: closed forms against other integrals, exact monomials, verdicts that can fail."""

import dataclasses
import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.stats import multivariate_normal

from experiments.double_descent import PRESETS, study
from experiments.double_descent.blocks import inner, thin_qr, times
from experiments.double_descent.exact import (
    bayes,
    best_ridge,
    counted_directions,
    decompose,
    errors,
    free_energy,
    minimum_norm,
    ridge,
    rotated,
)
from experiments.double_descent.extended import minimum_norm_monomials
from experiments.double_descent.features import (
    FAMILIES,
    Family,
    end_rule,
    features,
    isometry,
    moments,
    scaling,
)
from experiments.double_descent.figure import figure
from experiments.double_descent.net import train
from experiments.double_descent.summary import crossings, gains, median_interval
from experiments.double_descent.targets import TARGETS, values
from experiments.double_descent.verdict import verdict
from slt_jax.oracles.quadrature import panel_rule

SMOKE = PRESETS["smoke"]
# Panels that end where the step is, and resolve twenty functions of any family.
RULE = panel_rule(np.linspace(-1, 1, 41), 12)
each_family = pytest.mark.parametrize("family", FAMILIES)


@functools.cache
def inputs() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (3, 6))


def brute(family: Family, scale: float, count: int, penalty: float) -> tuple[np.ndarray, ...]:
    """Matrices that map y of each design to predictions at the nodes of RULE, by inversion."""
    weights = scaling(family, scale, count)
    phi = features(family, inputs(), count) * weights
    test = features(family, RULE.nodes, count) * weights
    if penalty == 0:
        return tuple(test @ np.linalg.pinv(each) for each in phi)
    kernels = [each @ each.T + penalty * np.eye(6) for each in phi]
    return tuple(
        test @ each.T @ np.linalg.inv(kernel) for each, kernel in zip(phi, kernels, strict=True)
    )


# --- features and functions -------------------------------------------------------------------


def test_functions_have_mean_square_one() -> None:
    np.testing.assert_allclose(values(RULE.nodes) ** 2 @ RULE.weights / 2, 1.0, atol=1e-9)


@each_family
def test_moments_and_inner_products(family: Family) -> None:
    phi = features(family, RULE.nodes, 20)
    expected = (values(RULE.nodes) * RULE.weights / 2) @ phi
    np.testing.assert_allclose(moments(family, 20), expected, atol=1e-8)
    coefficients = np.random.default_rng(1).normal(size=(2, 20, 3))
    vectors = isometry(family, coefficients)
    curves = phi @ coefficients
    np.testing.assert_allclose(
        np.swapaxes(vectors, 1, 2) @ vectors,
        np.swapaxes(curves, 1, 2) @ (curves * RULE.weights[:, None] / 2),
        rtol=1e-9, atol=1e-11,
    )  # fmt: skip


def test_the_rule_at_the_ends_holds_powers_of_any_degree() -> None:
    rule = end_rule()
    for k in (0, 2, 60, 1000, 10000):
        assert rule.weights @ rule.nodes**k == pytest.approx(1 / (k + 1), rel=1e-9)


# --- closed forms -----------------------------------------------------------------------------


@each_family
@pytest.mark.parametrize("count", [4, 6, 15])
def test_errors_are_those_of_the_matrices(family: Family, count: int) -> None:
    x, noises, penalty = inputs(), (0.1, 0.5), 0.03
    at = decompose(family, 0.7, features(family, x, count), moments(family, count))
    truth = rotated(at, values(x))
    for filters, by_hand in (
        (minimum_norm(at), brute(family, 0.7, count, 0.0)),
        (ridge(at, penalty), brute(family, 0.7, count, penalty)),
    ):
        found = errors(at, filters, truth, noises)
        for i, matrix in enumerate(by_hand):
            bias = (values(x[i]) @ matrix.T - values(RULE.nodes)) ** 2 @ RULE.weights / 2
            variance = np.sum(matrix**2, axis=1) @ RULE.weights / 2
            expected = bias[:, None] + variance * np.square(noises)
            np.testing.assert_allclose(found[i], expected, rtol=1e-5, atol=1e-7)


def test_tall_matrices_are_factorised_block_by_block() -> None:
    for height in (20, 128, 129, 1000):
        matrices = np.random.default_rng(3).normal(size=(2, height, 5))
        basis, triangle = thin_qr(matrices)
        np.testing.assert_allclose(basis @ triangle, matrices, atol=1e-12)
        product = np.swapaxes(basis, 1, 2) @ basis
        np.testing.assert_allclose(product, np.stack([np.eye(5)] * 2), atol=1e-13)


def test_products_block_by_block() -> None:
    tall, other = np.random.default_rng(4).normal(size=(2, 3, 1000, 40))
    np.testing.assert_allclose(inner(tall, other), np.swapaxes(tall, 1, 2) @ other, atol=1e-10)
    np.testing.assert_allclose(inner(tall[0], other)[1], tall[0].T @ other[1], atol=1e-10)
    np.testing.assert_allclose(times(tall, other[:, :40]), tall @ other[:, :40], atol=1e-10)


def test_bayes_is_ridge_and_tends_to_minimum_norm() -> None:
    x = inputs()
    at = decompose("Fourier", 1.0, features("Fourier", x, 15), moments("Fourier", 15))
    truth = rotated(at, values(x))
    posterior = bayes(at, truth, [0.1, 0.5], 2.0)
    expected = errors(at, ridge(at, 0.25 / 4), truth, [0.5])[..., 0]
    np.testing.assert_allclose(posterior[..., 1], expected)
    limit = errors(at, minimum_norm(at), truth, [0.1])
    np.testing.assert_allclose(bayes(at, truth, [0.1], 2.0, 1e14), limit, rtol=1e-6)
    best = best_ridge(at, truth, [0.1, 0.5], study.PENALTIES)
    assert np.all(best[..., 0] <= limit[..., 0] * (1 + 1e-9))
    for beta, count in ((1e14, 3.0), (1e-14, 0.0)):
        np.testing.assert_allclose(counted_directions(at, 0.1, 2.0, beta), count, atol=1e-6)


@pytest.mark.parametrize("count", [4, 15])
def test_the_evidence_is_a_normal_density(count: int) -> None:
    x, sigma, tau = inputs(), 0.3, 0.7
    phi = features("Legendre", x, count)
    at = decompose("Legendre", 0.5, phi, moments("Legendre", count))
    y = np.random.default_rng(2).normal(size=(3, 2, 6))
    found = free_energy(at, rotated(at, y) ** 2, sigma, tau)
    for i, scaled in enumerate(phi * scaling("Legendre", 0.5, count)):
        law = multivariate_normal(np.zeros(6), sigma**2 * np.eye(6) + tau**2 * scaled @ scaled.T)
        np.testing.assert_allclose(found[i], -law.logpdf(y[i]), rtol=1e-9)
    # and in expectation over noise
    f = values(x)
    mean = free_energy(at, rotated(at, f) ** 2 + sigma**2, sigma, tau)
    scaled = phi[0] * scaling("Legendre", 0.5, count)
    inverse = np.linalg.inv(sigma**2 * np.eye(6) + tau**2 * scaled @ scaled.T)
    expected = free_energy(at, 0 * f**2, sigma, tau)[0] + 0.5 * (
        np.einsum("ti,ij,tj->t", f[0], inverse, f[0]) + sigma**2 * np.trace(inverse)
    )
    np.testing.assert_allclose(mean[0], expected, rtol=1e-9)


def test_interpolants_do_not_depend_on_the_basis_of_their_span() -> None:
    x = inputs()
    found = []
    for family in FAMILIES[:4]:
        at = decompose(family, 1.0, features(family, x, 6), moments(family, 6))
        found.append(errors(at, minimum_norm(at), rotated(at, values(x)), [0.1]))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-5)


# --- extended precision -----------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_exact_monomials_agree_where_double_precision_suffices(scale: float) -> None:
    x, sizes = inputs()[:1], [7, 12]
    found = minimum_norm_monomials(x[0], sizes, scale, 40)
    for i, count in enumerate(sizes):
        at = decompose(
            "monomial", scale, features("monomial", x, count), moments("monomial", count)
        )
        expected = errors(at, minimum_norm(at), rotated(at, values(x)), [0.0, 1.0])[0]
        np.testing.assert_allclose(found.bias[i], expected[:, 0], rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(found.variance[i], expected[0, 1] - expected[0, 0], rtol=1e-5)
        assert found.bound[i] < 1e-20


def test_exact_monomials_keep_their_bound() -> None:
    """Against rational arithmetic at inputs so close that double precision has no digit left."""
    x = np.array([0.5, 0.5 + 2.0**-30, -0.25, 0.125])
    few, many = (minimum_norm_monomials(x, [5], 0.0, digits) for digits in (34, 60))
    off = abs(few.variance[0] / many.variance[0] - 1)
    assert off <= few.bound[0] + 1e-15
    rational = [Fraction(float(each)) for each in x]
    gram = [[powers(a * b) for b in rational] for a in rational]
    node = Fraction(float(end_rule().nodes[3]))
    row = solved(gram, [powers(node * a) for a in rational])
    assert many.variance[0] > float(end_rule().weights[3] * sum(each**2 for each in row))


def powers(t: Fraction) -> Fraction:
    return sum((t**k for k in range(5)), Fraction(0))


def solved(gram: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Solve a linear system by elimination in rational numbers."""
    rows = [[*row, value] for row, value in zip(gram, right, strict=True)]
    for i in range(len(rows)):
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[-1] for row in rows]


# --- summaries --------------------------------------------------------------------------------


def test_medians_have_intervals_that_cover() -> None:
    values_of_one = np.arange(20.0)[:, None]
    found = median_interval(np.concatenate([values_of_one, np.full((20, 1), np.nan)], axis=1))
    # P(fewer than six of twenty below the median) = 0.0207: from the sixth to the fifteenth.
    assert [part[0] for part in found] == [9.5, 5.0, 14.0]
    assert all(np.isnan(part[1]) for part in found)
    some = values_of_one.copy()
    some[10:] = np.nan
    assert [part[0] for part in median_interval(some)] == [4.5, 1.0, 8.0]


def test_crossings_of_known_gains() -> None:
    scales = np.array([0.0, 1.0, 2.0, 4.0])
    gain = np.array([
        [1.0, -1.0, -1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [-1.0, -2.0, 2.0, 3.0],
        [1.0, np.nan, -1.0, np.nan],
    ])  # fmt: skip
    expected = [[0.5, 3.0], [np.nan, np.nan], [0.0, 1.5], [1.0, 2.0]]
    np.testing.assert_allclose(crossings(scales, gain), expected)


def test_gains_compare_the_last_with_the_best() -> None:
    below = np.array([[[1.0, 2.0, 3.0], [10.0, 10.0, 10.0]]])
    assert gains(below, np.array([[20.0, 2.0, 200.0]]))[0] == pytest.approx(1.0)


# --- nets -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_net_fits_its_data_and_each_by_its_own_key() -> None:
    x = jnp.asarray(inputs()[:2], jnp.float32)
    y, grid = jnp.abs(x), jnp.linspace(-1, 1, 50)
    keys = jax.random.split(jax.random.key(0), 2)
    rate = jnp.asarray(0.01)
    both = train(30, keys, x, y, grid, jnp.abs(grid), 1500, rate)
    assert np.all(np.asarray(both.training_error) < 1e-3)
    assert np.all(np.asarray(both.test_error) < 0.1)


# --- verdict and figure -----------------------------------------------------------------------


@functools.cache
def computed() -> dict[str, xr.Dataset]:
    """All results of the smoke preset but nets, which are made up."""
    results = {
        task.name: task.compute() for task in study.tasks(SMOKE) if not task.name.startswith("net")
    }
    for width, error in zip(SMOKE.net_widths, (0.5, 0.05), strict=True):
        results[f"net.{width}"] = xr.Dataset(
            {
                "net_error": ("repeat", error * np.linspace(0.8, 1.2, 6)),
                "net_training_error": ("repeat", np.full(6, 1e-5)),
            }
        )
    return results


@functools.cache
def assembled() -> xr.Dataset:
    return study.assemble(SMOKE, computed())


def dataset() -> xr.Dataset:
    """The results with a peak that so few data and designs do not have in every family."""
    data = assembled().copy(deep=True)
    place = {"estimator": "minimum norm", "parameters": SMOKE.sample_size}
    data["test_error"].loc[place] *= 100.0
    data["test_error"].loc[{**place, "family": "monomial"}] /= 100.0
    return data


def outcomes(data: xr.Dataset) -> list[str]:
    return [finding.outcome for finding in verdict(data).findings]


def test_the_verdict() -> None:
    judged = verdict(dataset())
    assert [finding.claim for finding in judged.findings] == ["E4", "E15"]
    first, second = outcomes(dataset())
    assert first.startswith(
        "holds only if the polynomial is one of Chebyshev, Legendre, normalised Legendre or "
        "Fourier functions, and ends below the best p < n only if"
    )
    assert second == "fails for double descent"
    for finding in judged.findings:
        assert sum(finding.why.count(end) for end in (". ", "! ", "? ")) <= 2
    assert judged.numbers["descending"] == [
        "Chebyshev",
        "Legendre",
        "normalised Legendre",
        "Fourier",
    ]
    assert "of those with more parameters than data, not all have interpolated at none" in (
        judged.statement
    )


def norm(data: xr.Dataset) -> xr.DataArray:
    return data["test_error"].sel(estimator="minimum norm")


def test_no_descent_at_all_fails_and_one_that_always_pays_holds() -> None:
    data = dataset()
    flat = norm(data).isel(parameters=0)
    data["test_error"].loc[{"estimator": "minimum norm"}] = flat.broadcast_like(norm(data))
    assert outcomes(data) == ["fails", "is undecided for double descent"]
    data = dataset()
    helped = {"estimator": "minimum norm"}
    data["helped_share"].loc[helped] = 1.0
    data["helping_scale"].loc[{**helped, "end": "from"}] = float(data["scale"][0])
    data["helping_scale"].loc[{**helped, "end": "to"}] = float(data["scale"][-1])
    last = norm(data).sel(family="normalised Legendre")
    data["test_error"].loc[{**helped, "family": "monomial"}] = last
    assert outcomes(data)[0] == "holds"


def test_a_descent_that_never_pays_and_too_few_designs() -> None:
    data = dataset()
    data["helped_share"][:] = 0.5
    assert outcomes(data)[0].endswith("though it nowhere ends below the best p < n")
    assert "More parameters pay for s from … to: none" in verdict(data).statement
    data["num_designs"] = 5
    assert outcomes(data) == ["is undecided", "is undecided for double descent"]


def test_a_peak_of_bayes_or_a_barrier_in_the_evidence_would_account_for_it() -> None:
    data = dataset()
    place = {"estimator": "Bayes", "family": "Fourier", "parameters": SMOKE.sample_size}
    data["test_error"].loc[place] = 100.0
    assert outcomes(data)[1] == "holds for double descent"
    data = dataset()
    data["barrier_high"].loc[{"family": "Fourier"}] = 4.0
    assert outcomes(data)[1] == "holds for double descent"


def test_marks_and_titles_follow_the_verdict() -> None:
    data = dataset()
    data["net_interpolating"][:] = 0.5
    data["helped_share"][:] = 0.0
    data["barrier_high"][:] = 4.0
    judged = verdict(data)
    assert "not all have interpolated at 60" in judged.statement
    assert judged.table.splitlines()[-1].endswith("0.50 !")
    drawn = figure(data, judged)["double_descent"]
    titles = [axis.get_title() for axis in drawn.axes]
    assert titles[1].endswith("at no $s$")
    assert titles[4].startswith("(e) The evidence along $p$")
    labels = drawn.axes[3].get_legend_handles_labels()[1]
    assert "not all interpolate, $p>n$" in labels


def test_what_is_not_resolved_is_left_out() -> None:
    results = dict(computed())
    name = "fit.Chebyshev.2"
    results[name] = results[name].copy(deep=True)
    results[name]["condition"][:] = 1e17
    data = study.assemble(SMOKE, results)
    one = norm(data).sel(family="Chebyshev", scale=2.0)
    assert one.sel(parameters=[25, 60]).isnull().all()
    assert one.sel(parameters=[4, 10]).notnull().all()
    total = 2 * 3 * (len(FAMILIES) - 1)
    assert f"holds {total - 2} of the {total} minimum norms" in verdict(data).statement


# --- configuration and tasks ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parameter_sizes": (2, 4, 8)}, "parameter_sizes = (2, 4, 8): must hold sample_size = 10"),
        ({"parameter_sizes": (2, 4, 10)}, "and numbers on both sides"),
        ({"shown_scale": 0.5}, "shown_scale = 0.5: must be among the scales (0.0, 1.0, 2.0)"),
        ({"exact_scales": (0.0, 0.25)}, "exact_scales = 0.25: must be among the scales"),
        ({"betas": (2.0, 3.0)}, "betas = (2.0, 3.0): must begin with 1"),
        ({"exact_designs": 9}, "exact_designs = 9: must be ≤ designs = 8"),
        ({"net_repeats": 9}, "net_repeats = 9: must be ≤ designs = 8"),
    ],
)
def test_fields_that_do_not_fit_together(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        dataclasses.replace(SMOKE, **changes)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_have_names_of_their_own(preset: str) -> None:
    names = [task.name for task in study.tasks(PRESETS[preset])]
    assert len(names) == len(set(names))


def test_designs_depend_on_their_index_alone() -> None:
    many = dataclasses.replace(SMOKE, designs=12, noise_draws=3)
    np.testing.assert_array_equal(study.designs(many)[:8], study.designs(SMOKE))
    np.testing.assert_array_equal(study.noise_draws(many)[:8, :2], study.noise_draws(SMOKE))
    assert len(TARGETS) == 3
