"""Universality: λ(n) against other integrals and theorems, orders, and verdicts that can fail."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad

from experiments.universality import PRESETS, Config, conjugate, nets, pairs, pool, ranks, study
from experiments.universality.figure import figure
from experiments.universality.verdict import verdict

DESIGN = pool.design_of(32)
RNG = np.random.default_rng(0)
VALUES = np.stack([0 * DESIGN.x, pool.legendre(DESIGN.x, 4)[:, 4], np.abs(DESIGN.x)])
N, SCALE = 100.0, 2.0


# --- the pool ---------------------------------------------------------------------------------


def test_targets_have_mean_square_one_and_names_of_their_own() -> None:
    drawn = pool.pool_of(Config())
    assert len(drawn.names) == len(set(drawn.names)) == len(drawn.values) >= 20
    sizes = pool.design_of(32).rms(drawn.values)
    assert sizes[0] == 0
    np.testing.assert_allclose(sizes[1:], 1.0)
    for i, (origin, (b, c, a)) in drawn.units.items():
        again = pool.activation(origin, np.outer(DESIGN.x, b) + c) @ a
        np.testing.assert_allclose(again, drawn.values[i], atol=1e-12)


def test_draws_of_the_pool_do_not_depend_on_how_many_there_are() -> None:
    few, many = (pool.pool_of(Config(prior_targets=count)) for count in (1, 3))
    for name, values in zip(few.names, few.values, strict=True):
        np.testing.assert_array_equal(values, many.values[many.names.index(name)])


def test_legendre_polynomials_are_orthonormal_on_the_design() -> None:
    basis = pool.legendre(DESIGN.x, 4)
    gram = basis.T @ (DESIGN.weight[:, None] * basis)
    np.testing.assert_allclose(gram, np.eye(5), atol=1e-13)


# --- exact λ(n) -------------------------------------------------------------------------------


def test_one_factor_is_linear_regression() -> None:
    """Products and powers of one parameter each have the closed form of features."""
    features = pool.legendre(DESIGN.x, 4)
    beyond = 0.5 * N * conjugate.best_error(features, VALUES, DESIGN) ** 2
    expected = conjugate.fixed_features(features, VALUES, DESIGN, N, SCALE) - beyond
    for tied in (True, False):
        law = conjugate.Coefficients((1,) * 5, tied)
        found = conjugate.factorised(law, VALUES, DESIGN, N, SCALE)
        np.testing.assert_allclose(found.value, expected, atol=1e-10)


def test_a_linear_block_against_the_density_of_the_data() -> None:
    """log Z is a Gaussian density of y, and λ(n) its slope in log n at the same noise."""
    features, noise = pool.monomials(DESIGN.x, 3), RNG.standard_normal((2, 32))

    def log_evidence(n: float) -> np.ndarray:
        root = np.sqrt(n * DESIGN.weight)
        phi = SCALE * root[:, None] * features
        covariance = np.eye(32) + phi @ phi.T
        y = VALUES[:, None] * root + noise
        distance = np.einsum("tzi,ij,tzj->tz", y, np.linalg.inv(covariance), y)
        return -0.5 * (np.linalg.slogdet(covariance)[1] + distance)

    block = conjugate.linear_block(features, VALUES, noise, DESIGN, N, SCALE)
    np.testing.assert_allclose(block.log_evidence, log_evidence(N), rtol=1e-10)
    step = 1e-4
    slope = (log_evidence(N * np.exp(step)) - log_evidence(N * np.exp(-step))) / (2 * step)
    # Relative to nL_n(f*) = |z|²/2, which n does not change.
    np.testing.assert_allclose(block.coefficient, -slope, rtol=1e-6, atol=1e-6)


@pytest.mark.false_alarm(comparisons=3, standard_errors=6.5, degrees_of_freedom=1999)
def test_the_closed_form_of_features_is_the_mean_over_noise() -> None:
    noise = np.random.default_rng(1).standard_normal((2000, 32))
    features = pool.fourier(DESIGN.x, 2)
    both = [
        conjugate.linear_block(features, VALUES, z, DESIGN, N, SCALE).coefficient
        for z in (noise, -noise)
    ]
    mean = np.mean(both, axis=0)
    exact = conjugate.fixed_features(features, VALUES, DESIGN, N, SCALE)
    error = mean.std(axis=1, ddof=1) / np.sqrt(2000)
    assert np.all(error < 0.02)
    assert np.all(np.abs(mean.mean(axis=1) - exact) < 6.5 * error)


@pytest.mark.parametrize("tied", [True, False])
def test_priors_of_coefficients(tied: bool) -> None:
    """Moments of |c| = |θ|³ or |θ₁θ₂θ₃|, and all of the mass."""
    logs, masses = conjugate.Coefficients((3,), tied).log_masses(0, SCALE, 0.02)
    weight = 2 * np.exp(masses)
    assert weight.sum() == pytest.approx(1.0, abs=1e-12)
    absolute = [2 * quad(lambda t, k=k: t**k * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi), 0, 40)[0]
                for k in (1, 3)]  # fmt: skip
    expected = SCALE**3 * (absolute[1] if tied else absolute[0] ** 3)
    assert weight @ np.exp(logs) == pytest.approx(expected, rel=1e-9)


def test_a_power_against_an_adaptive_rule() -> None:
    """One coefficient θ² sgn θ, at one noise after the other."""
    true, n = 0.7, 20.0
    z, weight = np.polynomial.hermite_e.hermegauss(conjugate.HERMITE_NODES)

    def mean(noise: float) -> float:
        def part(theta: float, power: int) -> float:
            c = np.sign(theta) * theta**2 - true
            gain = -n * c**2 / 2 + np.sqrt(n) * noise * c - theta**2 / (2 * SCALE**2)
            return float((n * c**2 / 2 - np.sqrt(n) * noise * c / 2) ** power * np.exp(gain))

        top, bottom = (
            quad(part, -5, 5, (power,), points=(0.0,), epsabs=0, epsrel=1e-10, limit=200)[0]
            for power in (1, 0)
        )
        return top / bottom

    near = np.abs(z) < 5  # the others have no weight
    expected = sum(w * mean(noise) for noise, w in zip(z[near], weight[near], strict=True))
    law = conjugate.Coefficients((2,), tied=True)
    found = conjugate._one_coefficient(*law.log_masses(0, SCALE, 0.01), true, n)
    assert found == pytest.approx(expected / weight.sum(), abs=1e-5)


def test_powers_tend_to_the_theorem() -> None:
    """λ(n) of a power is within 0.01 of λ at n = 10⁴, for a constant and for the zero function."""
    values = np.stack([0 * DESIGN.x, np.ones(32)])
    found = conjugate.factorised(conjugate.POWERS, values, DESIGN, 1e4, SCALE)
    assert np.all(found.error < 1e-6)
    limit = 1 / 10 + 1 / 8 + 1 / 6 + 1 / 4 + 1 / 2
    np.testing.assert_allclose(found.value, [limit, limit + 0.4], atol=0.01)


def test_an_unknown_number_of_features_tends_to_half_of_those_needed() -> None:
    features = pool.legendre(DESIGN.x, 4)
    values = np.stack([np.ones(32), features[:, 2]])
    noise = RNG.standard_normal((50, 32))
    both = np.concatenate([noise, -noise])
    found = conjugate.unknown_number(features, (1, 2, 3, 4, 5), values, both, DESIGN, 1e8, SCALE)
    np.testing.assert_allclose(found.mean(axis=1), [0.5, 1.5], atol=0.01)


def test_limits_of_the_pool() -> None:
    config = PRESETS["smoke"]
    design, drawn = pool.design_of(config.nodes), pool.pool_of(config)
    place = {name: i for i, name in enumerate(drawn.names)}
    shown = ("1", "x", "P₂", "P₃", "P₄", "1+x", "|x|")
    expected = {
        "products": [2.5] * 6,
        "monomials": [3.5] * 6,
        "powers": [37 / 24, 91 / 60, 59 / 40, 167 / 120, 137 / 120, 23 / 12],
        "powers reversed": [137 / 120, 167 / 120, 59 / 40, 91 / 60, 37 / 24, 167 / 120 + 0],
        "monomials, any degree": [0.5, 1.0, 1.5, 2.0, 2.5, 1.0],
    }
    expected["powers reversed"][5] = 137 / 120 + 0.25
    for name, values in expected.items():
        far = conjugate.best_error(study._features(config, name, design), drawn.values, design)
        found = study._limits(config, name, design, drawn, far)[[place[each] for each in shown]]
        np.testing.assert_allclose(found[:6], values, rtol=1e-12)
        assert np.isnan(found[6])


# --- nets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tanh", "ReLU"])
def test_a_net_of_given_hidden_weights_is_a_linear_block(name: str) -> None:
    noise, drawn = RNG.standard_normal((2, 32)), SCALE * RNG.standard_normal((2, 2, 4))
    root = np.sqrt(N * DESIGN.weight)
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, (SCALE * root, DESIGN.x, VALUES * root, noise))
        block_of = jax.jit(nets._block, static_argnums=0)
        found = [np.asarray(each) for each in block_of(name, jnp.asarray(drawn), *arrays)]
    for k in range(4):
        b, c = drawn[..., k]
        hidden = pool.activation(name, np.outer(DESIGN.x, b) + c)
        features = np.column_stack([hidden, np.ones(32)])
        for place, sign in enumerate((1, -1)):
            block = conjugate.linear_block(features, VALUES, sign * noise, DESIGN, N, SCALE)
            for mine, expected in zip(found, block, strict=True):
                np.testing.assert_allclose(mine[place, ..., k], expected, rtol=1e-9, atol=1e-9)


def test_repeats_are_pooled_as_one_run() -> None:
    logs, coefficients = RNG.standard_normal((2, 3, 50))
    parts = nets.Moments(
        np.log(np.exp(logs).mean(axis=1)),
        np.log(np.exp(2 * logs).mean(axis=1)),
        np.sum(np.exp(logs) * coefficients, axis=1) / np.exp(logs).sum(axis=1),
    )
    found, weight = nets.pooled(parts), np.exp(logs)
    assert found.log_weight == pytest.approx(np.log(weight.mean()))
    assert found.log_square == pytest.approx(np.log((weight**2).mean()))
    assert found.coefficient == pytest.approx(np.sum(weight * coefficients) / weight.sum())


def test_the_best_net_is_found_where_it_is_known() -> None:
    hat = np.maximum(1 - 2 * np.abs(DESIGN.x), 0)
    assert nets.best_error("ReLU", hat, DESIGN, 4, 10, 1e-6, (0,)) < 1e-6
    steep = np.tanh(3 * DESIGN.x)
    assert nets.best_error("tanh", steep, DESIGN, 2, 10, 1e-6, (0,)) < 1e-6
    # Two ReLU units and a constant are three straight pieces at most.
    assert nets.best_error("ReLU", np.sin(np.pi * DESIGN.x), DESIGN, 2, 3, 1e-6, (0,)) > 0.1


# --- orders -----------------------------------------------------------------------------------


def exactly(*values: float) -> ranks.Sampled:
    return ranks.Sampled.exactly(np.array(values), np.zeros(len(values)))


def test_rank_correlations() -> None:
    assert ranks.ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0.0, 2.5, 1.0]
    rising = np.arange(8.0)
    assert ranks.spearman(rising, np.exp(rising)) == pytest.approx(1.0)
    assert ranks.spearman(rising, -rising) == pytest.approx(-1.0)
    assert np.isnan(ranks.spearman(rising, np.ones(8)))
    # 1 − 6·Σd²/(n(n² − 1)) with Σd² = 2
    swapped = rising[[1, 0, *range(2, 8)]]
    assert ranks.spearman(rising, swapped) == pytest.approx(1 - 12 / 504)


def test_intervals_hold_the_errors_of_values() -> None:
    rng = np.random.default_rng(0)
    exact = ranks.correlation(exactly(*range(10)), exactly(*range(10)), 200, rng)
    assert (exact.rho, exact.low, exact.high, exact.common) == (1.0, 1.0, 1.0, 10)
    vague = exactly(*range(10))._replace(other_se=np.full(10, 20.0), degrees_of_freedom=9)
    found = ranks.correlation(exactly(*range(10)), vague, 200, rng)
    assert found.rho == 1.0
    assert found.low < 0.0
    few = ranks.correlation(exactly(1, 2, 3), exactly(1, 2, 3), 200, rng)
    assert np.isnan(few.rho)
    assert few.common == 3


def test_a_reversal_is_as_large_as_the_smaller_difference() -> None:
    one, other = exactly(0, 1, 2, 5), exactly(0, 3, 2.6, 4)
    found = ranks.clearest_reversal(one, other, 0.1, 1e-3)
    assert (found.first, found.second) == (2, 1)
    assert found.size == pytest.approx(0.4)
    assert ranks.clearest_reversal(one, one, 0.1, 1e-3).first == -1
    assert ranks.clearest_reversal(one, other, 0.5, 1e-3).first == -1
    bounded = other._replace(bound=np.full(4, 0.2))
    assert ranks.clearest_reversal(one, bounded, 0.1, 1e-3).first == -1
    vague = other._replace(other_se=np.full(4, 0.2), degrees_of_freedom=20)
    assert ranks.clearest_reversal(one, vague, 0.1, 1e-3).first == -1
    # Noises that the targets share do not blur their difference.
    shared = other._replace(by_noise=np.add.outer(other.value, RNG.standard_normal(12)))
    assert ranks.clearest_reversal(one, shared, 0.1, 1e-3).first == 2
    own = other._replace(by_noise=other.value[:, None] + RNG.standard_normal((4, 12)))
    assert ranks.clearest_reversal(one, own, 0.1, 1e-3).first == -1


def test_a_monotone_map_explains_what_it_saw() -> None:
    rising = np.arange(10.0)
    assert ranks.monotone_map(rising, rising**3).after == pytest.approx(1.0)
    assert ranks.monotone_map(rising, rising).ahead > 0.95
    jumping = np.where(rising % 2 == 0, 1.0, -1.0)
    found = ranks.monotone_map(rising, jumping)
    assert found.ahead < 0.0 <= found.after < 0.2
    assert np.isnan(ranks.monotone_map(rising, np.ones(10)).after)


# --- the verdict ------------------------------------------------------------------------------


@functools.cache
def made(kind: str) -> xr.Dataset:
    """A made-up study: "same" order in all classes, λ by theorem "against", or λ(n) "reversed"."""
    count, classes, sizes = 8, study.CLASSES, (30, 100)
    targets = ["1", "x", "P₂", "P₃", "P₄", "a", "b", "c"]
    value = np.tile(np.arange(1.0, count + 1), (2, len(classes), 1))
    limits = np.full((len(classes), count), np.nan)
    limits[5:8, :5] = np.arange(5)
    if kind == "against":
        limits[5] = 4 - limits[5]
    if kind == "reversed":
        value[:, 1, :2] = value[:, 1, [1, 0]]
    counted = np.ones(value.shape, bool)
    known = [[ranks.Sampled.exactly(row, 0 * row) for row in of_n] for of_n in value]
    axes = ("n", "model_class", "target")
    dataset = xr.Dataset(
        {
            "coefficient": (axes, value),
            "coefficient_se": (axes, np.full(value.shape, 0.01)),
            "counted": (axes, counted),
            "approximation_error": (axes[1:], np.zeros(value.shape[1:])),
            "allowed_error": ("n", 0.1 / np.sqrt(np.array(sizes, float))),
            "limit": (axes[1:], limits),
            "limit_is_constant": ("model_class", [c in study.CONSTANT for c in classes]),
            **{
                name: (("net", "target"), np.full((2, count), entry))
                for name, entry in (
                    ("one_unit", 1.02), ("one_unit_se", 0.01), ("exact_one_unit", 1.0),
                    ("exact_one_unit_error", 1e-6),
                )
            },
        },
        coords={"n": list(sizes), "model_class": list(classes), "target": targets,
                "net": list(study.NETS)},
    )  # fmt: skip
    found = pairs.compared(0, 20, classes, targets, sizes, known, counted)
    return xr.merge([dataset, found, pairs.by_theorem(classes, targets, limits)])


def outcome(dataset: xr.Dataset) -> str:
    return verdict(dataset).findings[0].outcome


def test_the_same_order_in_all_classes_is_universality() -> None:
    judged = verdict(made("same"))
    assert judged.findings[0].outcome == "holds"
    assert judged.numbers["pairs"]["last"]["pairs"] == 15
    assert judged.numbers["limits"]["clearest"] is None
    assert "no two targets are surely in opposite order" in judged.statement
    assert "[1.00, 1.00], order all targets alike but for errors" in judged.statement
    assert "up to 2.0 standard errors in 16 cells, as it should" in judged.statement
    assert "\nλ(100) of" in f"\n{judged.table}"


def test_one_reversal_by_theorem_or_by_numbers_is_against_it() -> None:
    against = verdict(made("against"))
    assert against.findings[0].outcome == "fails"
    words = "by theorem λ of 1 and of P₄ is 4 > 0 in polynomials with powers as coefficients, and 0"
    assert words in against.statement
    judged = verdict(made("reversed"))
    assert judged.findings[0].outcome == "fails"
    assert "λ(100) of x and of 1 is 2.00 ± 0.01 > 1.00 ± 0.01 in tanh nets, and 1.00" in (
        judged.statement
    )


def test_too_few_common_targets_decide_nothing() -> None:
    data = made("same").copy(deep=True)
    for name in ("rank_correlation", "rank_correlation_low", "rank_correlation_high"):
        data[name].loc[{"n": 100, "model_class": "tanh", "other_class": "ReLU"}] = np.nan
    assert outcome(data) == "is undecided"
    data["rank_correlation"][:] = np.nan
    judged = verdict(data)
    assert judged.findings[0].outcome == "is undecided"
    assert "Spearman" not in judged.findings[0].why
    data = made("same").copy(deep=True)
    data["rank_correlation_low"].loc[{"n": 100, "model_class": "tanh"}] = 0.5
    assert outcome(data) == "is undecided"


def test_cells_that_do_not_count_and_a_sampler_that_is_off_are_told() -> None:
    data = made("same").copy(deep=True)
    data["approximation_error"].loc[{"model_class": "ReLU", "target": "a"}] = 1.0
    for target in ("a", "b"):
        data["counted"].loc[{"model_class": "ReLU", "target": target}] = False
    data["one_unit"].loc[{"net": "tanh", "target": "x"}] = 1.2
    statement = verdict(data).statement
    assert "At n = 100 70 of 72 cells count: in 1 the best member" in statement
    assert "in 1 too few draws are effective" in statement
    assert "20.0 standard errors in 16 cells, which is TOO MUCH" in statement


@pytest.mark.parametrize("kind", ["against", "reversed"])
def test_the_figure_says_what_was_found(kind: str) -> None:
    drawn = figure(made(kind), verdict(made(kind)))["universality"]
    assert len(drawn.axes) == 6
    words = [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert ("in opposite order" in words) == (kind == "reversed")


# --- the study --------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_have_names_of_their_own(preset: str) -> None:
    config = PRESETS[preset]
    names = [task.name for task in study.tasks(config)]
    assert len(names) == len(set(names)) == 5 + 2 * len(config.sizes) * config.repeats


def test_nets_that_interpolate_are_refused() -> None:
    with pytest.raises(ValueError, match="^relu_units = 11: nodes = 32 must be at least three"):
        Config(relu_units=11)


def test_noises_do_not_depend_on_how_many_there_are() -> None:
    config = PRESETS["smoke"]
    few, many = (study.noises(config, study.NET_NOISE, count) for count in (3, 5))
    np.testing.assert_array_equal(few, many[:3])


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=50, standard_errors=7.5, degrees_of_freedom=7)
def test_nets_of_one_unit_against_their_integral() -> None:
    config = dataclasses.replace(PRESETS["smoke"], draws=study.CALIBRATION_DRAWS)
    for net in study.NETS:
        found = study.calibration(config, net)
        error = found["exact_one_unit_error"]
        known = error < 1e-3
        assert known.sum() >= 10
        gap = np.abs(found["one_unit"] - found["exact_one_unit"]) - error
        assert np.all((gap < 7.5 * found["one_unit_se"])[known])
        assert np.all(found["one_unit_se"][known] < 0.1)
