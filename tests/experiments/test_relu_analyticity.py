"""ReLU against analytic nets: curves by other integrals, n(k) of known curves, every verdict."""

import functools
import math

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp

import slt_jax
from experiments.relu_analyticity import PRESETS, study
from experiments.relu_analyticity.evidence import ROUNDING, kink_asymptote, without_data
from experiments.relu_analyticity.nets import Activation, Net, input_rule, one_unit, two_units
from experiments.relu_analyticity.sets import curves_of_sets
from slt_jax.statistics import Data

SMOKE = PRESETS["smoke"]
SMOOTH: tuple[Activation, ...] = ("softplus", "silu")


# --- nets and nodes ---------------------------------------------------------------------------


@pytest.mark.parametrize("activation", SMOOTH)
def test_activations_are_within_their_rounding_of_relu(activation: Activation) -> None:
    net, k = Net(activation, 20.0), 20.0
    z = np.linspace(-3, 3, 101)
    assert np.max(np.abs(net.activate(z) - np.maximum(z, 0))) <= math.log(2) / k + 1e-12
    direct = np.log1p(np.exp(k * z)) / k if activation == "softplus" else z / (1 + np.exp(-k * z))
    np.testing.assert_allclose(net.activate(z), direct, atol=1e-12)

    def square(z: float) -> float:
        return float(Net(activation).activate(np.array(z)) - max(z, 0.0)) ** 2

    area, _ = quad(square, -60, 60, points=[0.0], limit=200)
    assert ROUNDING[activation] == pytest.approx(area, rel=1e-8)


def test_the_rule_of_inputs_is_that_of_a_normal() -> None:
    x, weights = input_rule(6)
    for power, moment in ((0, 1.0), (2, 1.0), (4, 3.0)):
        assert weights @ x**power == pytest.approx(moment, rel=1e-7)
    np.testing.assert_array_equal(x, -x[::-1])


def test_nodes_hold_the_prior_and_the_gram_matrix() -> None:
    inputs = input_rule(6)
    for activation in ("relu", *SMOOTH):
        net = Net(activation, 10.0)
        one, two = one_unit(net, True, 6, inputs, 1e6), two_units(net, 6, inputs, 1e6)
        assert np.exp(logsumexp(one.log_weights)) == pytest.approx(1, rel=1e-6)
        assert np.exp(logsumexp(two.log_weights)) == pytest.approx(1, rel=1e-5)
        at = 1234
        units = [net.activate(b * inputs.nodes) for b in two.b[:, at]]
        gram = np.array([[inputs.weights @ (u * v) for v in units] for u in units])
        assert gram[0, 0] == pytest.approx(two.first[at])
        determinant = two.second[at] * two.remainder[at]
        assert determinant == pytest.approx(np.linalg.det(gram), rel=1e-6, abs=1e-14)
    best = np.argmin(np.abs(one_unit(Net("relu"), True, 6, inputs, 1e6).b - 2.0))
    relu = one_unit(Net("relu"), True, 6, inputs, 1e6)
    assert relu.best_weight[best] == pytest.approx(1 / relu.b[best])
    assert relu.remainder[best] < 1e-30
    assert relu.remainder[0] == pytest.approx(0.5)  # b < 0 has nothing of the kink


# --- curves -----------------------------------------------------------------------------------


def test_one_unit_without_data_against_an_adaptive_rule() -> None:
    n, k = 1000.0, 10.0
    found = without_data(Net("relu"), 1, False, 8, [n]).free_energy[0]
    z, _ = quad(lambda b: math.exp(-b * b / 2) / math.sqrt(1 + n * b * b / 2), 0, 9, limit=200)
    assert found == pytest.approx(-math.log(2 * z / math.sqrt(2 * math.pi)), abs=1e-6)
    inputs = input_rule(8)

    def silu(b: float) -> float:
        square = inputs.weights @ Net("silu", k).activate(b * inputs.nodes) ** 2
        return math.exp(-b * b / 2) / math.sqrt(1 + n * float(square))

    z, _ = quad(silu, 0, 9, limit=200)
    found = without_data(Net("silu", k), 1, False, 8, [n]).free_energy[0]
    assert found == pytest.approx(-math.log(2 * z / math.sqrt(2 * math.pi)), abs=1e-6)


@pytest.mark.parametrize(("units", "kink"), [(1, False), (2, False), (1, True)])
def test_coefficients_are_derivatives(units: int, kink: bool) -> None:
    step = 1e-3
    sizes = [1e4 * math.exp(-step), 1e4, 1e4 * math.exp(step)]
    curve = without_data(Net("softplus", 10.0), units, kink, 4, sizes)
    slope = (curve.free_energy[2] - curve.free_energy[0]) / (2 * step)
    assert curve.coefficient[1] == pytest.approx(slope, abs=1e-6)


def test_relu_curves_tend_to_their_theorems() -> None:
    sizes = [1e8, 1e10]
    for setting in study.SETTINGS:
        found = without_data(Net("relu"), setting.units, setting.kink, 6, sizes).coefficient
        known = study.known(setting, "relu")
        assert known is not None
        limit = float(known.learning_coefficient)
        near = limit - (known.multiplicity - 1) / np.log(sizes)
        np.testing.assert_allclose(found, near, atol=0.01)


def test_one_kink_grows_as_derived() -> None:
    n = np.array([1e12, 1e14])
    for activation in SMOOTH:
        net = Net(activation, 10.0)
        found = without_data(net, 1, True, 8, n.tolist()).free_energy
        np.testing.assert_allclose(found / kink_asymptote(net, n), 1, atol=0.03)


# --- data sets --------------------------------------------------------------------------------


def noise_of(data_sets: int, order: int) -> np.ndarray:
    shape = (data_sets, input_rule(order).nodes.size)
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize(("units", "kink"), [(1, False), (2, False), (1, True)])
def test_curves_of_sets_are_derivatives_too(units: int, kink: bool) -> None:
    step, noise = 1e-3, noise_of(2, 4)
    sizes = [1e4 * math.exp(-step), 1e4, 1e4 * math.exp(step)]
    curves = curves_of_sets(Net("silu", 10.0), units, kink, (4, 4), sizes, noise)
    slope = (curves.free_energy[2] - curves.free_energy[0]) / (2 * step)
    np.testing.assert_allclose(curves.coefficient[1], slope, atol=1e-6)
    quiet = curves_of_sets(Net("silu", 10.0), units, kink, (4, 4), sizes, 0 * noise)
    without = without_data(Net("silu", 10.0), units, kink, 4, sizes)
    np.testing.assert_allclose(quiet.free_energy[:, 0], without.free_energy, atol=1e-8)
    np.testing.assert_allclose(quiet.coefficient[:, 0], without.coefficient, atol=1e-8)
