"""Sorted sums of a one-input ReLU net where pieces are empty, kinks coincide or lie outside."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax import theory
from slt_jax.data import scaled, simulate, statistics_along_n, statistics_of
from slt_jax.models.relu_net import BiasedReluNet, ReluNet, with_teacher
from slt_jax.problem import Problem
from slt_jax.statistics import Data

MODEL = BiasedReluNet(hidden_dim=2, noise=0.5)
TEACHER = with_teacher("teacher", MODEL, None, "", a=(1.0, -0.5), b=(1.0, -2.0), c=(-0.5, 0.5))
RNG = np.random.default_rng(0)
# Unsorted, and tied in threes.
X = np.repeat(RNG.standard_normal(20), 3)[RNG.permutation(60)]
DATA = Data(X, RNG.standard_normal((60, 1)))
WEIGHTS = RNG.uniform(0, 2, 60) * (RNG.uniform(size=60) < 0.8)


@functools.partial(jax.jit, static_argnums=0)
def own(model: BiasedReluNet, params, statistics):
    return jax.value_and_grad(model.log_likelihood_ratio)(params, statistics)


@functools.partial(jax.jit, static_argnums=0)
def plain(model: BiasedReluNet, params, optimum, data, weights):
    def total(w):
        over_data = jax.vmap(model.log_likelihood, (None, 0, 0))
        return weights @ (over_data(w, *data) - over_data(optimum, *data))

    return jax.value_and_grad(total)(params)


def both(params, problem: Problem = TEACHER, data: Data = DATA, weights=WEIGHTS):
    """Ratio and gradient by sorted sums, and by visiting every datum, in float64."""
    params = {name: np.asarray(values, float) for name, values in params.items()}
    statistics = statistics_of(problem, data, weights)
    with jax.enable_x64(True):
        optimum = jax.tree.map(jnp.asarray, dict(problem.optimum))
        results = (
            own(problem.model, params, statistics),
            plain(problem.model, params, optimum, data, weights),
        )
    return jax.tree.map(np.asarray, results)


@pytest.mark.parametrize(
    ("b", "c"),
    [
        pytest.param((0, 0), (0.7, -0.7), id="no slope"),
        pytest.param((0, 0), (0, 0), id="dead"),
        pytest.param((0, -1), (0, 0.3), id="one dead"),
        pytest.param((2, 2), (1, 1), id="one kink twice"),
        pytest.param((2, -4), (1, -2), id="one kink from both sides"),
        pytest.param((1, -2), (-0.5, 0.5), id="kinks of the teacher"),
        pytest.param((-1, 2), (0.5, -0.5), id="kinks of the teacher, turned"),
        pytest.param((1, -1), (100, -100), id="kinks on the left of all data"),
        pytest.param((1, -1), (-100, 100), id="kinks on the right of all data"),
        pytest.param((1e-200, -1e-200), (1, 1), id="kinks too far to be numbers"),
        pytest.param((50, -50), (10, -10), id="steep"),
    ],
)
def test_any_kinks(b, c):
    (ratio, slope), (expected, expected_slope) = both({"a": (0.8, -1.3), "b": b, "c": c})
    np.testing.assert_allclose(ratio, expected, rtol=1e-12, atol=1e-12)
    for name, values in slope.items():
        np.testing.assert_allclose(values, expected_slope[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_kinks_at_data(sign):
    """Every datum as a kink: the net is the same, and the derivative one of its two."""
    for x in np.unique(X):
        at, left, right = (
            {"a": (0.8, -1.3), "b": (sign, 0.7), "c": (-sign * t, 0.2)}
            for t in (x, x - 1e-9, x + 1e-9)
        )
        (ratio, slope), (expected, _) = both(at)
        np.testing.assert_allclose(ratio, expected, rtol=1e-12, atol=1e-12)
        sides = [both(beside)[1][1] for beside in (left, right)]
        errors = [max(np.max(np.abs(slope[name] - side[name])) for name in slope) for side in sides]
        assert min(errors) < 1e-6


def test_order_of_the_data_does_not_matter():
    params = {"a": np.ones(2), "b": np.array([1.0, -0.4]), "c": np.array([0.1, 0.2])}
    order = np.argsort(X)
    (one, _), _ = both(params)
    (other, _), _ = both(params, data=Data(*(part[order] for part in DATA)), weights=WEIGHTS[order])
    assert one == pytest.approx(other, rel=1e-13)


def test_not_a_number_is_not_hidden():
    """A parameter that is no number must not switch its unit off."""
    for name in "abc":
        params = {"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)}
        params[name] = np.array([np.nan, 1.0])
        (ratio, _), _ = both(params)
        assert np.isnan(ratio)


def test_scaled_multiplies_every_weight():
    params = {"a": np.ones(2), "b": np.array([1.0, -0.4]), "c": np.array([0.1, 0.2])}
    statistics = statistics_of(TEACHER, DATA, WEIGHTS)
    cooled, expected = scaled(statistics, 0.3), statistics_of(TEACHER, DATA, 0.3 * WEIGHTS)
    np.testing.assert_allclose(
        cooled.log_likelihood_at_optimum, expected.log_likelihood_at_optimum, rtol=1e-13
    )
    with jax.enable_x64(True):
        pair = [np.asarray(own(MODEL, params, each)[0]) for each in (cooled, expected)]
    np.testing.assert_allclose(*pair, rtol=1e-12)


@pytest.mark.slow
def test_statistics_along_n_are_those_of_the_first_data():
    sizes = (1, 4, 9)
    params = {"a": np.ones(2), "b": np.array([1.0, -0.4]), "c": np.array([0.1, 0.2])}
    along = statistics_along_n(TEACHER, jax.random.key(1), 2, sizes)
    for r in range(2):
        data = simulate(TEACHER, jax.random.fold_in(jax.random.key(1), r), 9)
        for n, stacked in zip(sizes, along, strict=True):
            one = jax.tree.map(lambda leaf, r=r: leaf[r], stacked)
            with jax.enable_x64(True):
                ratio = np.asarray(own(MODEL, params, one)[0])
            (_, _), (expected, _) = both(
                params, data=data, weights=(np.arange(9) < n).astype(float)
            )
            np.testing.assert_allclose(ratio, expected, rtol=1e-12)


def test_split_sums_survive_the_cast_to_float32():
    """The leading parts are float32 numbers, and the remainders less than their last bit."""
    leading, rest = np.moveaxis(statistics_of(TEACHER, DATA).moments, 1, 0)
    np.testing.assert_array_equal(leading, leading.astype(np.float32))
    assert np.all(np.abs(rest) <= np.spacing(np.abs(leading).astype(np.float32)))
    np.testing.assert_allclose((leading + rest)[-1, 0], len(X), rtol=1e-15)


def test_without_biases_two_features_are_the_net():
    """f at 101 inputs by features and coefficients, and by units of either sign."""
    model = ReluNet(hidden_dim=3)
    params = {"a": np.array([1.0, -2.0, 0.5]), "b": np.array([1.5, -0.5, 0.0])}
    x = np.linspace(-2, 2, 101)
    with jax.enable_x64(True):
        linear = np.asarray(jax.vmap(model.features)(x) @ model.coefficients(params))
    expected = np.maximum(np.outer(x, params["b"]), 0) @ params["a"]
    np.testing.assert_allclose(linear[:, 0], expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("model", [ReluNet(), BiasedReluNet()])
@pytest.mark.parametrize("uniform", [False, True])
def test_inputs(model, uniform):
    model = type(model)(uniform_input=uniform)
    x = np.asarray(jax.vmap(model.sample_input)(jax.random.split(jax.random.key(2), 1000)))
    assert (np.max(np.abs(x)) < 1) == uniform
    assert np.min(x) < -0.9
    assert np.max(x) > 0.9


def test_teacher_fills_the_first_units():
    problem = with_teacher(
        "one", BiasedReluNet(hidden_dim=3), theory.regular(1), "", a=[2], b=[1], c=[0.5]
    )
    assert not problem.showcase
    expected = {"a": [2, 0, 0], "b": [1, 0, 0], "c": [0.5, 0, 0]}
    for name, values in expected.items():
        np.testing.assert_array_equal(problem.optimum[name], values)
    zero = with_teacher("none", ReluNet(hidden_dim=2), None, "").optimum
    assert all(np.all(leaf == 0) for leaf in zero.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": [1.0], "b": [1.0, 2.0]},
        {"a": [1.0] * 3, "b": [1.0] * 3},
        {"a": [1.0], "b": [1.0], "c": [0.0]},
    ],
)
def test_impossible_teachers_are_refused(wrong):
    with pytest.raises(ValueError, match="a, b must be of one length, at most 2"):
        with_teacher("wrong", ReluNet(hidden_dim=2), None, "", **wrong)
