"""ReLU against analytic nets: curves by other integrals, n(k) of known curves, every verdict."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.special import logsumexp

import slt_jax
from experiments.relu_analyticity import PRESETS, Config, study
from experiments.relu_analyticity.evidence import ROUNDING, kink_asymptote, without_data
from experiments.relu_analyticity.figure import figure
from experiments.relu_analyticity.nets import Activation, Net, input_rule, one_unit, two_units
from experiments.relu_analyticity.sets import curves_of_sets
from experiments.relu_analyticity.study import Setting, first_above
from experiments.relu_analyticity.verdict import FREE_ENERGY, ONE_UNIT, TWO_UNITS, verdict
from slt_jax.models.shallow_net import ShallowNet, with_teacher
from slt_jax.report.verdict import Finding
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "units", "kink"),
    [("relu", 1, False), ("relu", 1, True), ("softplus", 1, True), ("silu", 1, False),
     ("softplus", 2, False)],
)  # fmt: skip
def test_free_energies_of_a_data_set_by_the_library_s_oracle(
    activation: Activation, units: int, kink: bool
) -> None:
    """The oracle takes the same design as weighted data."""
    n, noise = 100, noise_of(1, 6)
    found = curves_of_sets(Net(activation, 5.0), units, kink, (6, 6), [n], noise)
    x, weights = input_rule(6)
    seen = weights * n > 1e-12
    x, weights = x[seen], weights[seen] * n
    truth = np.maximum(x, 0.0) * kink
    y = truth + noise[0][seen] / np.sqrt(weights)
    net = ShallowNet(hidden_dim=units, activation=activation, sharpness=5.0)
    problem = with_teacher("zero", net, dataclasses.replace(net, hidden_dim=0), {}, "truth 0")
    statistics = slt_jax.statistics_of(problem, Data(x[:, None], y[:, None]), weights)
    oracle = slt_jax.oracle_for(problem)
    assert oracle is not None
    # The oracle's F_n is relative to the loss of f = 0, ours to that of f₀.
    shift = weights @ (y**2 - (y - truth) ** 2) / 2
    expected = shift - float(oracle.log_evidence(statistics).value)
    assert found.free_energy[0, 0] == pytest.approx(expected, abs=2e-5)


@pytest.mark.false_alarm(comparisons=2, standard_errors=6, degrees_of_freedom=255)
def test_the_error_of_the_posterior_mean_is_that_of_the_derivative_on_average() -> None:
    for net in (Net("relu"), Net("softplus", 10.0)):
        curves = curves_of_sets(net, 1, False, (4, 4), [300], noise_of(256, 4))
        gap = (curves.bayes_error - curves.coefficient)[0]
        assert abs(gap.mean()) < 6 * gap.std(ddof=1) / 16
        assert gap.std(ddof=1) > 0.05


def test_noise_does_not_depend_on_the_net() -> None:
    draws = study.normal_draws(jax.random.key(3), (2, 5))
    assert draws.dtype == np.float64
    np.testing.assert_array_equal(draws, study.normal_draws(jax.random.key(3), (2, 5)))


# --- n(k) -------------------------------------------------------------------------------------


def test_the_first_n_above_a_threshold() -> None:
    n = 10.0 ** (np.arange(21) / 2)
    found = first_above(n, 1e-4 * np.sqrt(n), 0.02)
    assert found == pytest.approx(4e4, rel=0.02)
    assert math.isnan(first_above(n, 0 * n, 0.02))
    assert first_above(n, 1 + 0 * n, 0.02) == 1.0
    # What comes back below, or is not known beyond, does not matter.
    gone = np.where(n > 1e6, np.nan, np.where(n > 1e5, 0.0, 1e-4 * np.sqrt(n)))
    assert first_above(n, gone, 0.02) == pytest.approx(4e4, rel=0.05)


def test_interpolation_hardly_moves_the_n_of_a_net() -> None:
    found = []
    for per_decade in (4, 16):
        n = 10.0 ** (np.arange(3 * per_decade + 1) / per_decade + 3)
        curves = (without_data(net, 1, True, 6, n) for net in (Net("softplus", 30.0), Net("relu")))
        smooth, relu = (curve.free_energy for curve in curves)
        found.append(first_above(n, abs(smooth - relu), 0.1))
    assert found[0] == pytest.approx(found[1], rel=0.01)


def test_theory_of_each_net() -> None:
    pairs = {
        (setting.slug, activation): (str(known.learning_coefficient), known.multiplicity)
        for setting in study.SETTINGS
        for activation in ("relu", *SMOOTH)
        if (known := study.known(setting, activation)) is not None
    }
    assert pairs == {
        ("zero_1", "relu"): ("1/2", 2), ("zero_1", "softplus"): ("1/2", 1),
        ("zero_1", "silu"): ("1/2", 2), ("zero_2", "relu"): ("1/2", 1),
        ("zero_2", "softplus"): ("1", 2), ("zero_2", "silu"): ("3/4", 1),
        ("kink_1", "relu"): ("1/2", 1),
    }  # fmt: skip


# --- verdict and figure -----------------------------------------------------------------------


def made_up_curves(
    setting: Setting, net: Net, n: np.ndarray, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """Make F_n and λ(n) that are off by their thresholds at n = 3k^power."""
    known = study.known(setting, "relu")
    assert known is not None
    log_n = np.log(np.maximum(n, 3.0))
    coefficient = float(known.learning_coefficient) - (known.multiplicity - 1) / log_n
    share = np.zeros(n.size) if net.activation == "relu" else n / (3 * net.sharpness**power)
    return log_n / 2 + 0.1 * share, coefficient + 0.05 * share


def made_up(power: float = 3.0, **changes: Any) -> xr.Dataset:
    """Assemble curves that are told apart at n = 3k^power."""
    fields: dict[str, Any] = {"sharpnesses": (10.0, 30.0, 100.0), "set_sizes": (10, 10**5, 10**8)}
    config: Config = dataclasses.replace(SMOKE, **(fields | changes))
    results = {}
    for task in study.tasks(config):
        kind, setting, net = task_parts(task.name)
        n = study.sizes_of(config, setting)
        if kind == "data_sets":
            n = np.array(config.set_sizes, float)
        energy, coefficient = made_up_curves(setting, net, n, power)
        if kind == "without_data":
            flat = n / (n + net.sharpness**8 / 100)
            values = dict(zip(STORED, (energy, coefficient, flat), strict=True))
            axes: Any = "n"
            coordinate = "n"
        else:
            spread = np.resize([-0.1, 0.1, 0.2, -0.2], config.data_sets)
            values = {
                "normalised_free_energy": energy[:, None] + 0 * spread,
                "coefficient_of_set": coefficient[:, None] + 0 * spread,
                "scaled_bayes_excess": coefficient[:, None] + spread,
            }
            axes, coordinate = ("set_n", "replicate"), "set_n"
        bounds = {f"{name}_error": (axes, 1e-6 + 0 * value) for name, value in values.items()}
        data = {name: (axes, value) for name, value in values.items()}
        results[task.name] = xr.Dataset(data | bounds, coords={coordinate: n})
    return study.assemble(config, results)


STORED = ("population_free_energy", "population_coefficient", "flat_mass")


def task_parts(name: str) -> tuple[str, Setting, Net]:
    """Read the kind, the setting and the net from the name of a task."""
    kind, slug, net = name.split(".", 2)
    (setting,) = (each for each in study.SETTINGS if each.slug == slug)
    for each in study.nets([1.0, 10.0, 30.0, 100.0]):
        if study.slug(each) == net:
            return kind, setting, each
    raise AssertionError(name)


def finding(dataset: xr.Dataset) -> Finding:
    return verdict(dataset).findings[0]


def test_the_verdict_knows_the_power_that_was_put_in() -> None:
    dataset = made_up()
    judged = verdict(dataset)
    assert judged.findings[0].outcome == (
        "holds only if n stays below an n(k) that grows as k^3.0 to k^3.0 with the sharpness k of "
        "the smooth net"
    )
    row = judged.numbers["crossovers"][TWO_UNITS]["softplus"][FREE_ENERGY]
    assert row["size"] == pytest.approx([3e3, 81e3, 3e6], rel=0.02)
    assert row["power"] == pytest.approx(3, abs=0.02)
    sets = judged.numbers["sets"][TWO_UNITS]["softplus"][FREE_ENERGY]
    assert (sets["groups"], sets["of"]) == (2, 2)
    assert "agree: within 0.0 standard errors" in judged.statement
    assert judged.numbers["crossovers"][ONE_UNIT]["silu"][FREE_ENERGY]["derived"] == pytest.approx(
        2.681, abs=1e-3
    )
    assert set(figure(dataset, judged)) == {"relu_analyticity"}


def test_the_verdict_changes_with_the_numbers() -> None:
    assert finding(made_up(-0.5)).outcome == "fails"
    assert finding(made_up(30.0)).outcome == "holds"
    assert finding(made_up(sharpnesses=(10.0, 30.0))).outcome == "is undecided"
    off = made_up()
    off["relu_population_coefficient"] = off["relu_population_coefficient"] + 0.05
    assert finding(off).outcome == "fails"


def test_data_sets_that_disagree_or_have_no_crossover_are_told() -> None:
    dataset = made_up()
    dataset["scaled_bayes_excess"] = dataset["scaled_bayes_excess"] + 5.0
    judged = verdict(dataset)
    assert "DISAGREE" in judged.statement
    assert judged.numbers["agreement"]["p_value"] < 0.02
    dataset["set_crossover_size"][:] = np.nan
    assert "is not known; 12 groups have no n(k)" in verdict(dataset).statement


def test_groups_must_divide_the_data_sets() -> None:
    with pytest.raises(ValueError, match=r"^groups = 3: must divide data_sets = 4$"):
        dataclasses.replace(SMOKE, groups=3)


@pytest.mark.parametrize("preset", PRESETS)
def test_tasks_have_names_of_their_own(preset: str) -> None:
    config = PRESETS[preset]
    names = [task.name for task in study.tasks(config)]
    nets = 2 + 2 * (len(config.sharpnesses) + len(config.set_sharpnesses))
    assert len(names) == len(set(names)) == 3 * nets
