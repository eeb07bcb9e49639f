"""SGD beside posteriors: densities and moments against other routes, and every verdict."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest, multivariate_normal, norm

import slt_jax as slt
from experiments.sgd_posterior import BLOCK, PRESETS, boolean
from experiments.sgd_posterior.boolean import (
    LENGTH,
    completions,
    functions_of,
    net,
    place_in,
    problem_of,
    targets,
)
from experiments.sgd_posterior.ensembles import (
    REFERENCE,
    endpoints_of,
    growth_at_zero,
    settings_of,
    share_at_zero,
)
from experiments.sgd_posterior.families import family_of, fitted
from experiments.sgd_posterior.figure import figure
from experiments.sgd_posterior.measures import chi_square, compared, z_scores
from experiments.sgd_posterior.moments import (
    Moments,
    best_fit,
    limiting_divergence,
    predicted_beta,
    sgd_moments,
    sigma_points,
)
from experiments.sgd_posterior.numbers import fisher
from experiments.sgd_posterior.verdict import verdict
from slt_jax.models.linear import LinearRegression
from slt_jax.models.monomial import MonomialRegression
from slt_jax.models.tanh_net import TanhNet

NAMES = ("linear_3", "monomial_1_1", "tanh_1")


@functools.cache
def problem(name: str, scale: float = 1.0) -> slt.Problem:
    model = {
        "linear_3": LinearRegression(prior_scale=scale),
        "monomial_1_1": MonomialRegression(prior_scale=scale),
        "tanh_1": TanhNet(hidden_dim=1, prior_scale=scale),
    }[name]
    return dataclasses.replace(slt.named_problems()[name], model=model)


def data(name: str, n: int = 20) -> slt.Data:
    return slt.simulate(slt.named_problems()[name], jax.random.key(1), n)


# --- posteriors -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_normalisers_are_those_of_the_oracle(name: str) -> None:
    """At another β and prior width than the problem's own."""
    scale, beta, given = 0.7, 0.4, data(name)
    family = family_of(name, given)
    posterior = slt.exact(problem(name, scale), given, beta)
    y = np.asarray(given.y, float)
    at_zero = beta * float(np.sum(y**2) / 2 + y.size * np.log(2 * np.pi) / 2)
    expected = -float(posterior.free_energy.value) + at_zero
    assert family.log_normaliser(beta, scale) == pytest.approx(expected, abs=1e-6)


def test_the_density_of_a_slope_is_one() -> None:
    family = family_of("monomial_1_1", data("monomial_1_1"))
    u = np.concatenate([-np.geomspace(20, 1e-12, 40000), np.geomspace(1e-12, 20, 40000)])
    density = np.exp(family.log_density(np.stack([u, np.ones_like(u)], 1), 0.3, 1.5))
    assert np.trapezoid(density, u) == pytest.approx(1.0, abs=1e-4)


def test_the_density_of_a_linear_function_is_that_of_scipy() -> None:
    given = data("linear_3")
    x, y = np.asarray(given.x, float), np.asarray(given.y, float)[:, 0]
    covariance = np.linalg.inv(0.5 * x.T @ x + np.eye(3) / 4)
    w = np.random.default_rng(0).normal(size=(4, 3))
    expected = multivariate_normal(covariance @ (0.5 * x.T @ y), covariance).logpdf(w)
    np.testing.assert_allclose(family_of("linear_3", given).log_density(w, 0.5, 2.0), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.false_alarm(comparisons=2, probability=1e-7)
def test_draws_have_the_density(name: str) -> None:
    """Draws of w, of the slope u and of b are held to distribution functions from the density."""
    family = family_of(name, data(name))
    w = family.draw(np.random.default_rng(0), 4000, 0.8, 0.9)
    if name == "linear_3":
        mean, spread = w.mean(axis=0), w.std(axis=0)
        scaled = (w - mean) / spread
        density = family.log_density(w, 0.8, 0.9) - multivariate_normal(
            mean, np.cov(w.T)
        ).logpdf(w)  # fmt: skip
        assert np.abs(density).mean() < 0.1
        assert kstest(scaled[:, 0], norm.cdf).pvalue > 1e-7
        return
    # Towards 0, where the density of a slope has a pole.
    grid = 6 * np.sinh(np.linspace(-16, 16, 4000)) / np.sinh(16)
    if name == "monomial_1_1":
        at, drawn = np.stack([grid, np.ones_like(grid)], 1), w[:, 0] * w[:, 1]
        mass = np.exp(family.log_density(at, 0.8, 0.9))
    else:
        a, grid = np.linspace(-6, 6, 161), np.linspace(-6, 6, 201)
        pairs = np.stack(np.meshgrid(a, grid), -1)
        mass = np.exp(family.log_density(pairs.reshape(-1, 2), 0.8, 0.9)).reshape(-1, a.size)
        mass, drawn = mass.sum(axis=1), w[:, 1]
    below = np.concatenate([[0.0], np.cumsum((mass[1:] + mass[:-1]) / 2 * np.diff(grid))])
    assert kstest(drawn, lambda z: np.interp(z, grid, below / below[-1])).pvalue > 1e-7


@pytest.mark.false_alarm(comparisons=2, probability=1e-8)
def test_a_fit_finds_the_posterior_that_draws_are_of() -> None:
    family = family_of("linear_3", data("linear_3"))
    fit = fitted(family, family.draw(np.random.default_rng(3), 20000, 0.5, 0.6))
    assert not fit.at_edge
    assert fit.beta == pytest.approx(0.5, rel=0.15)
    assert fit.scale == pytest.approx(0.6, rel=0.15)


def test_a_point_has_no_likeliest_temperature() -> None:
    family = family_of("linear_3", data("linear_3"))
    given = data("linear_3")
    x, y = np.asarray(given.x, float), np.asarray(given.y, float)[:, 0]
    at = np.linalg.lstsq(x, y)[0]
    assert fitted(family, np.tile(at, (10, 1))).at_edge


# --- exact moments of SGD ---------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_moments_are_those_of_all_orders_of_batches(momentum: float) -> None:
    """Three steps of three data, one at a time, from starts with the right moments."""
    rng = np.random.default_rng(0)
    x, y, rate = rng.normal(size=(3, 2)), rng.normal(size=3), 0.3
    start = sigma_points(Moments(np.zeros(2), 0.25 * np.eye(2)))
    ends = []
    for order in np.ndindex(3, 3, 3):
        w, trace = start.copy(), np.zeros_like(start)
        for i in order:
            trace = momentum * trace + np.outer(w @ x[i] - y[i], x[i])
            w = w - rate * trace
        ends.append(w)
    w = np.concatenate(ends)
    found = sgd_moments(x, y, rate, 1, 3, momentum, 0.5)
    np.testing.assert_allclose(found.mean, w.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(w.T, bias=True), atol=1e-12)


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=12, standard_errors=6)
def test_trained_ensembles_have_these_moments() -> None:
    """Endpoints of the trainer, of batches of one and of three, with momentum and without."""
    given = data("linear_3")
    x, y = np.asarray(given.x, float), np.asarray(given.y, float)[:, 0]
    every = settings_of(20, 2)
    chosen = [every[REFERENCE], every["momentum"]]
    chosen = [each._replace(batch_size=3, steps=30) for each in chosen]
    ends, diverged = endpoints_of(
        slt.named_problems()["linear_3"], [given], chosen, jax.random.key(2), 2000
    )
    assert not diverged.any()
    for w, each in zip(ends[:, 0], chosen, strict=True):
        exact = sgd_moments(x, y, each.step_size, 3, 30, each.momentum)
        off = (w.mean(axis=0) - exact.mean) / (w.std(axis=0) / np.sqrt(2000))
        squares = (w - exact.mean) ** 2
        spread = squares.std(axis=0) / np.sqrt(2000)
        assert np.abs(off).max() < 6
        assert np.abs((squares.mean(axis=0) - np.diag(exact.covariance)) / spread).max() < 6


def test_small_steps_on_white_inputs_are_a_posterior_and_on_others_are_none() -> None:
    """On a design with XᵀX/n = A and residuals that make C = A, at 1/n of the step."""
    for scales, limit in (
        ((1.0, 1.0), 0.0),
        ((0.5, 2.0), limiting_divergence(np.array([0.25, 4.0]))),
    ):
        signs = np.array([(a, b, r) for a in (-1, 1) for b in (-1, 1) for r in (-1, 1)], float)
        x = signs[:, :2] * np.array(scales)
        y = x @ [0.5, -0.5] + signs[:, 2]
        moments = sgd_moments(x, y, 1e-4, 1, 400000)
        fit, divergence = best_fit(x, y, moments)
        assert divergence == pytest.approx(limit, abs=5e-3)
        if not limit:
            assert fit.beta == pytest.approx(predicted_beta(8, 1e-4, 1), rel=0.02)


def test_all_data_stopped_early_are_a_tempered_posterior() -> None:
    """With A = aI and r = 1 − ηa the prior width is r^{t/2} and nβa = r^{−2t} − r^{−t}."""
    x = np.array([(a, b) for a in (-1, 1) for b in (-1, 1)], float)
    y = x @ [0.3, -0.2] + np.array([1, -1, -1, 1])
    fit, divergence = best_fit(x, y, sgd_moments(x, y, 0.1, 4, 5))
    assert divergence == pytest.approx(0.0, abs=1e-6)
    assert fit.scale == pytest.approx(0.9**2.5, rel=1e-2)
    assert fit.beta == pytest.approx((0.9**-10 - 0.9**-5) / 4, rel=1e-2)


def test_the_singularity_attracts_large_steps_and_not_small_ones() -> None:
    """SGD from nearby by hand, at twice and half the step at which the rate is 0."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40))
    given = slt.Data(jnp.asarray(x[:, None]), jnp.asarray(y[:, None]))
    base = settings_of(40, 2)[REFERENCE]
    critical = 2 * np.abs(np.mean(x * y)) / np.mean((x * y) ** 2)
    small, large = (base._replace(step_size=f * critical) for f in (0.3, 3.0))
    assert growth_at_zero(given, small) > 0 > growth_at_zero(given, large)
    assert np.isnan(growth_at_zero(given, base._replace(batch_size=2)))
    for settings in (small, large):
        w = np.tile([1e-30, 1e-30 * np.sign(np.mean(x * y))], (500, 1))
        for row in rng.integers(40, size=(400, 500)):
            residual = (y[row] - w[:, 0] * w[:, 1] * x[row]) * x[row]
            w = w + settings.step_size * residual[:, None] * w[:, ::-1]
        grown = np.log(np.abs(w).sum(axis=1) / 2e-30).mean() / 400
        assert grown == pytest.approx(growth_at_zero(given, settings), rel=0.2)
    assert share_at_zero(np.array([[1e-3, 1e-3], [1.0, 1.0]]), 100) == 0.5


# --- Boolean functions ------------------------------------------------------------------------


def test_functions_of_a_net_are_its_signs() -> None:
    model = net(3)
    w = np.random.default_rng(0).normal(size=(5, model.dimension)).astype(np.float32)
    ones = slt.Data(jnp.asarray(model.inputs()), jnp.ones(LENGTH))
    terms = (
        np.exp(slt.curves.predictions.pointwise_log_likelihood(problem_of(model), ones, w)) > 0.5
    )
    expected = terms @ (2 ** np.arange(LENGTH - 1, -1, -1))
    assert np.asarray(functions_of(model, jnp.asarray(w))).tolist() == expected.tolist()


def test_completions_have_the_labels_and_nothing_else_is_among_them() -> None:
    target, rows = targets()[1], np.array([0, 3, 5, 8, 9, 15])
    every = completions(target, rows)
    bits = (every[:, None] >> np.arange(LENGTH - 1, -1, -1)) & 1
    assert every.size == np.unique(every).size == 2**10
    assert np.all(np.diff(every) > 0)
    assert np.all(bits[:, rows] == target.values[rows])
    assert place_in(every[[5, 0]], every).tolist() == [5, 0]
    assert place_in(np.array([every[3] ^ 2**15]), every).tolist() == [-1]


def test_equal_counts_agree_in_every_way() -> None:
    counts = np.array([1000, 500, 250, 125, 100, 90, 80, 70, 60, 3])
    found = compared(counts, 10 * counts)
    assert found.correlation == pytest.approx(1.0, abs=1e-3)
    assert found.slope == pytest.approx(1.0, abs=0.02)
    assert (found.within_two, found.num_functions) == (1.0, 9)
    assert found.total_variation == pytest.approx(0.0, abs=1e-12)
    assert found.p_value > 0.99
    assert np.abs(z_scores(counts, 10 * counts)).max() < 1e-9


def test_other_counts_are_told_apart() -> None:
    counts = np.array([1000, 500, 250, 125, 100, 90, 80, 70])
    steeper = np.round(counts**1.5 / 10).astype(int)
    found = compared(steeper, 1000 * counts)
    assert found.slope == pytest.approx(1.5, abs=0.05)
    assert found.p_value < 1e-10
    assert found.slope_low < 1.5 < found.slope_high
    assert chi_square(counts, counts[::-1]) < 1e-10
    assert np.isnan(compared(counts[:3], counts[:3]).slope)
    assert compared(0 * counts, counts).num_functions == 0


# --- verdicts ---------------------------------------------------------------------------------


def made_up(
    p: float | np.ndarray = 0.5,
    correlation: float = 0.98,
    function_p: float = 0.5,
    permutations: int = 499,
) -> xr.Dataset:
    """Make a dataset on which all tests have one p-value, or those given [problem]."""  # fmt: skip
    setting, net_setting = list(settings_of(50, 20)), list(boolean.settings_of(0.1, 10))
    shape, many = (3, len(setting), 4), (3, len(net_setting))
    p_values = np.broadcast_to(np.reshape(p, (-1, 1, 1)), shape)
    axes, rows = ("problem", "setting", "replicate"), ("target", "net_setting")
    both = {key: (axes, p_values) for key in ("energy_p", "classifier_p")}
    ends = {
        key: (axes, np.full(shape, value) + 0.01 * np.arange(4))
        for key, value in {
            "beta": 1.0, "prior_width": 1.0, "coefficient": 0.02, "own_coefficient": 0.1,
            "floor": 0.001, "accuracy": 0.6, "floor_accuracy": 0.5, "exact_beta": 1.0,
            "exact_prior_width": 1.0, "exact_divergence": 0.1, "growth": -0.01,
            "at_zero": 0.3, "own_at_zero": 0.05,
        }.items()
    }  # fmt: skip
    curves = {
        f"{key}{end}": (("problem", "n"), np.full((3, 2), 1.0))
        for key in ("sgd_error", "gibbs_error", "bayes_error", "sgd_exact_error", "sgd_excess")
        for end in ("", "_se")
    }
    functions = {
        key: (rows, np.full(many, value))
        for key, value in {
            "correlation": correlation, "correlation_low": correlation - 0.01,
            "correlation_high": correlation + 0.01, "slope": 1.1, "slope_low": 1.0,
            "slope_high": 1.2, "within_two": 0.97, "total_variation": 0.1,
            "total_variation_floor": 0.05, "p_value": function_p, "accepted": 0.1,
            "right_at_start": 0.1, "mean_steps": 20.0, "num_functions": 9, "unfinished": 0,
        }.items()
    }  # fmt: skip
    counts = np.broadcast_to(np.array([400, 300, 200, 100]), (*many, 4))
    return xr.Dataset(
        both | ends | curves | functions
        | {
            "trained_count": ((*rows, "completion"), counts),
            "drawn_count": ((*rows, "completion"), counts[..., [1, 0, 2, 3]]),
            "truth_table": (("target", "completion"), np.full((3, 4), "0101")),
            "predicted_beta": (("problem", "setting"), np.ones(shape[:2])),
            "at_edge": (axes, np.zeros(shape)), "diverged": (axes, np.zeros(shape)),
            "learning_coefficient": ("problem", [1.5, 0.5, 0.5]),
            "divergence": (("design", "exact_n"), [[0.1, 0.01], [0.9, 0.8]]),
            "divergence_se": (("design", "exact_n"), np.full((2, 2), 0.01)),
            "divergence_limit": ("design", [0.0, 0.84]),
            "curve_diverged": (("problem", "n"), np.zeros((3, 2))),
            "endpoint_n": 50, "tested": 500, "least_p": 1 / (permutations + 1),
        },
        coords={
            "problem": list(NAMES), "setting": setting, "n": [30, 100],
            "design": ["deviations 1, 1, 1", "deviations ½, 1, 2"], "exact_n": [30, 100],
            "target": [each.name for each in targets()], "net_setting": net_setting,
            "completion": np.arange(4),
        },
    )  # fmt: skip


def outcomes(dataset: xr.Dataset) -> dict[str, str]:
    return {finding.claim: finding.outcome for finding in verdict(dataset).findings}


def test_posteriors_hold_fail_or_hold_only_for_some() -> None:
    assert outcomes(made_up())["N5"] == "holds"
    assert outcomes(made_up(0.002))["N5"] == "fails"
    some = outcomes(made_up(np.array([0.5, 0.002, 0.002])))["N5"]
    assert "data sets do not refute, and then for 11 of 33: linear_3 (reference, " in some
    assert "tanh_1" not in some
    assert outcomes(made_up(permutations=19))["N5"] == "is undecided"
    assert outcomes(made_up(np.nan))["N5"] == "is undecided"


def test_drawing_nets_holds_fails_or_holds_as_a_correlation() -> None:
    assert outcomes(made_up())["E12"] == "holds"
    read = outcomes(made_up(function_p=1e-9))["E12"]
    assert read.startswith("holds only if it is read as a correlation")
    assert "not for" not in read
    assert outcomes(made_up(correlation=0.5, function_p=1e-9))["E12"] == "fails"
    assert outcomes(made_up(correlation=np.nan))["E12"] == "is undecided"
    mixed = made_up(function_p=1e-9)
    mixed["correlation_high"][1, 2] = 0.8
    assert outcomes(mixed)["E12"].endswith(", and not for if x₁ then x₂ else x₃ (all labels)")


def test_a_verdict_names_functions_and_what_diverged() -> None:
    dataset = made_up()
    dataset["diverged"][1, 3] = 0.25
    dataset["unfinished"][0, 0] = 7
    dataset["at_zero"][0] = np.nan
    dataset["growth"][1:, 1:] = 0.01
    dataset["growth"][2] = 0.01
    said = verdict(dataset).statement
    assert "Diverged in part: monomial_1_1 (batch 10)" in said
    assert "given up: 7" in said
    assert "is 1.01 and 1.01 (linear_3), " in said
    assert "of 88 singular cases" in said
    assert "negative in 1, " in said
    assert "is 0.30 there, at most 0.33 elsewhere" in said
    assert "Learning x₁ ⊕ x₂, SGD finds 0101 too often" in said


def test_a_figure_is_drawn_of_what_is_missing_too() -> None:
    dataset = made_up()
    for name in ("beta", "coefficient", "exact_beta", "correlation"):
        dataset[name] = dataset[name].where(dataset[name] > 1e9)
    assert set(figure(dataset, verdict(dataset))) == {"sgd_posterior"}


def test_p_values_are_joined() -> None:
    assert fisher(np.array([0.3])) == pytest.approx(0.3)
    assert fisher(np.array([1.0, 1.0])) == 1.0
    assert np.isnan(fisher(np.array([np.nan, 0.1])))


def test_draws_that_do_not_fill_batches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^prior_draws = 50001: must be a multiple of 50000$"):
        dataclasses.replace(PRESETS["smoke"], prior_draws=BLOCK + 1)
