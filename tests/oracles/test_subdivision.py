"""Adaptive subdivision: exchange of units, other routes to the same integrals, refusals."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.data import simulate, statistics_of
from slt_jax.models.shallow_net import ShallowNet
from slt_jax.models.tanh_net import TanhNet
from slt_jax.oracles import integration, subdivision
from slt_jax.oracles.criteria import training_criteria
from slt_jax.oracles.evaluation import Evaluation
from slt_jax.oracles.laws.box import Coordinate
from slt_jax.oracles.laws.law import RESOLUTIONS
from slt_jax.oracles.laws.units import UnitsLatent
from slt_jax.oracles.moments import Posterior, RuleSums, rule_sums
from slt_jax.oracles.oracle import oracle_for
from slt_jax.oracles.shards import shards_of
from slt_jax.problem import Problem
from slt_jax.run.precision import in_float64
from slt_jax.statistics import Data

AXIS = Coordinate(-8.5, 8.5, 1.0)
BIASED = ShallowNet(hidden_dim=2, activation="silu", biases=True)


def at_zero(name: str, model) -> Problem:
    return Problem(name, model, {key: np.zeros(p.shape()) for key, p in model.priors().items()})


def data_of(problem: Problem, n: int, seed: int = 81) -> Data:
    return Data(*map(np.asarray, simulate(problem, jax.random.key(seed), n)))


def nodes_of(units: np.ndarray) -> np.ndarray:
    """``subdivision.combinations`` of any number of cells, without a program for each number."""
    groups, count = units.shape[1:3]
    which = np.indices((count,) * groups).reshape(groups, -1)
    nodes = np.stack([units[:, group, which[group]] for group in range(groups)], axis=2)
    return nodes.reshape(-1, groups * units.shape[3])


def test_combinations_are_of_one_unit_of_each_list_the_last_changing_fastest():
    units = np.random.default_rng(3).standard_normal((3, 2, 4, 2)).astype(np.float32)
    found = np.asarray(subdivision.combinations(units))
    np.testing.assert_array_equal(found, nodes_of(units))
    np.testing.assert_array_equal(found[1], [*units[0, 0, 0], *units[0, 1, 1]])


def combined(units: np.ndarray, per_pair) -> np.ndarray:
    """A sum over pairs of units at all their combinations, [cell, m^G]."""
    count, groups, _, coordinates = units.shape
    nodes = nodes_of(units).reshape(count, -1, groups, coordinates)
    pairs = [(g, h) for g in range(groups) for h in range(g)]
    return sum(per_pair(nodes[:, :, g] - nodes[:, :, h]) for g, h in pairs)


@pytest.mark.parametrize(("coordinates", "num_units"), [(1, 2), (2, 2), (1, 3)])
def test_cells_are_all_of_the_space_but_for_the_order_of_units(coordinates, num_units):
    """Units attract one another: the cells of all their orders fill the box, and no more."""
    law = UnitsLatent((AXIS,) * coordinates, num_units)

    def attraction(units):
        return combined(units, lambda gap: -20 * np.sum(gap**2, axis=-1))

    chart = law.prior_chart()
    boxes, _ = subdivision.settled_cells(chart, attraction, 0.3, subdivision.first_cells(chart))
    volumes = np.prod(boxes.high - boxes.low, axis=(1, 2))
    np.testing.assert_allclose(volumes @ boxes.multiplicity, 17.0 ** (coordinates * num_units))
    points = np.random.default_rng(0).uniform(-3, 3, (500, num_units, coordinates))
    held = np.zeros(len(points))
    for order in np.array(list(np.ndindex((num_units,) * num_units))):
        if len(set(order)) == num_units:
            at = points[:, None, order]
            inside = np.all((boxes.low <= at) & (at < boxes.high), axis=(2, 3))
            held += inside @ (boxes.multiplicity / np.prod(np.arange(1, num_units + 1)))
    np.testing.assert_allclose(held, 1.0)


@pytest.mark.parametrize(
    ("hidden_dim", "n"), [(2, 60), pytest.param(3, 12, marks=pytest.mark.slow)]
)
def test_agrees_with_ordered_units_on_graded_panels(hidden_dim, n):
    """tanh units by cells and all data, and by panels and sufficient statistics."""
    graded = at_zero("graded", TanhNet(hidden_dim=hidden_dim))
    in_cells = at_zero("cells", ShallowNet(hidden_dim=hidden_dim, uniform_input=True))
    data = data_of(graded, n)
    one = oracle_for(in_cells, 2, costly=True).moments(
        statistics_of(in_cells, Data(data.x[:, None], data.y)), 0.7
    )
    two = oracle_for(graded, 1).moments(statistics_of(graded, data), 0.7)
    for exact, expected in zip(one, two, strict=True):
        assert abs(exact.value - expected.value) <= exact.error + expected.error
        assert exact.error < 0.02


def test_peaks_that_no_node_of_a_wide_cell_sees_are_found(monkeypatch):
    """Two of equal mass and width 10⁻³: cells for β = 1 alone are halved towards one of them."""
    chart, n = UnitsLatent((AXIS,) * 2).prior_chart(), 1e6
    peaks = np.array([[0.71, -1.3], [-1.3, 0.71]])

    def log_density(chart, posterior, units):
        nodes = nodes_of(units)
        first, second = (
            -posterior.beta * n / 2 * np.sum((nodes - peak) ** 2, axis=1) for peak in peaks
        )
        return np.logaddexp(first, second).reshape(len(units), -1)

    structure = SimpleNamespace(information=lambda posterior: n)
    posterior = Posterior(structure, None, [], 1.0)
    at_one = functools.partial(log_density, None, posterior)

    def log_integral(cells: subdivision.Cells) -> float:
        return np.logaddexp.reduce(subdivision._values(chart, cells, at_one).log_integral)

    monkeypatch.setattr(subdivision, "_log_density", log_density)
    with jax.enable_x64(True):
        by_steps = log_integral(subdivision.cells_of(chart, posterior, RESOLUTIONS[1])[0])
        first = subdivision.first_cells(chart)
        missed = log_integral(subdivision.settled_cells(chart, at_one, 0.002, first)[0])
    exact = np.log(2 / n) - 0.5 * np.sum(peaks[0] ** 2)
    assert abs(by_steps - exact) < 1e-3
    assert missed < exact - 0.6


@in_float64
def test_sums_by_units_are_those_of_nodes():
    """Data, in pieces, seen by units and by each combination of units."""
    problem = at_zero("pairs", BIASED)
    oracle = oracle_for(problem, 1, costly=True)
    shards = shards_of(statistics_of(problem, data_of(problem, 300)), oracle.structure)
    assert len(shards) > 1
    posterior = Posterior(oracle.structure, problem.model, shards, 1.0)
    lists = np.random.default_rng(0).standard_normal((9, 5, 2))
    places = np.random.default_rng(1).integers(0, 9, (80, 2))
    chart = oracle.structure.law.prior_chart()
    seen = list(subdivision._some_at_a_time(chart, posterior, lists[places]))
    assert sorted(np.concatenate([rows for rows, *_ in seen])) == list(range(80))
    assert len(seen) > 1
    for rows, units, combinations in seen:
        np.testing.assert_array_equal(units[: len(rows)], lists[places[rows]])
        by_nodes = posterior.statistics_at(subdivision.combinations(jnp.asarray(units)))
        for one, two in zip(combinations.statistics(posterior), by_nodes, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
@in_float64
def test_parts_of_the_integral_are_those_of_the_cells():
    """They are by the rule of the search, in the order of cells, of which a block has few."""
    problem = at_zero("pairs", BIASED)
    structure = oracle_for(problem, 1, costly=True).structure
    shards = shards_of(statistics_of(problem, data_of(problem, 40)), structure)
    posterior, chart = Posterior(structure, problem.model, shards, 0.8), structure.law.prior_chart()
    cells, _ = subdivision.cells_of(chart, posterior, RESOLUTIONS[1])
    density = functools.partial(subdivision._log_density, chart, posterior)
    expected = subdivision._values(chart, cells, density).log_integral
    order = subdivision.SEARCH_ORDER + 2
    sums = rule_sums(posterior, subdivision.cell_blocks(chart, posterior, cells, order))
    assert len(expected) > subdivision.CELLS_AT_ONCE
    np.testing.assert_allclose(sums.log_masses, expected, atol=1e-9)
    np.testing.assert_allclose(sums.free_energy, -np.logaddexp.reduce(expected), rtol=1e-12)


def test_cells_that_make_up_for_one_another_leave_a_doubt():
    """Two rules of the same F, E and Var, but a tenth of the integral in another cell."""
    moments = (np.float64(2.0), np.float64(3.0), np.float64(4.0), *np.zeros((3, 0)))
    one, two = (RuleSums(*moments, np.log(shares) - 2.0) for shares in ([0.5, 0.5], [0.6, 0.4]))
    none = np.zeros(1)
    exact = Evaluation.of([one], [two], none, none, none, 1.0).moments()
    np.testing.assert_allclose([each.error[0] for each in exact], np.array([1, 2, 4]) * 3 * 0.2)


def test_what_lies_beyond_a_rule_is_in_its_bounds():
    """1e-3 of the mass, with its first and second moments, moves E and Var about the mean of 3."""
    beyond = np.log([1e-3, 2e-3, 4e-3])
    moments = (np.float64(2.0), np.float64(3.0), np.float64(4.0), *np.zeros((3, 0)))
    sums, none = RuleSums(*moments, np.zeros(0), beyond), np.zeros(1)
    exact = Evaluation.of([sums], [sums], none, none, none, 1.0).moments()
    expected = [1e-3, 2e-3 + 3e-3, 2 * (4e-3 + 9e-3)]
    np.testing.assert_allclose([each.error[0] for each in exact], expected)


@pytest.mark.slow
def test_criteria_agree_with_ordered_units():
    """Criteria at each datum see the nodes one by one, and not by units."""
    graded, in_cells = (
        at_zero("graded", TanhNet()),
        at_zero("cells", ShallowNet(uniform_input=True)),
    )
    data = data_of(graded, 10)
    one = training_criteria(oracle_for(in_cells), Data(data.x[:, None], data.y))
    two = training_criteria(oracle_for(graded), data)
    for exact, expected in zip(one[:8], two[:8], strict=True):
        assert abs(exact.value - expected.value) <= exact.error + expected.error


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_four_dimensions_agree_with_draws_from_the_prior():
    """Two units with biases at n = 4: within 5 standard errors of 2·10⁵ draws, false alarm 6e-7."""
    problem = at_zero("biased", BIASED)
    data = data_of(problem, 4)
    exact = oracle_for(problem, 1, costly=True).moments(statistics_of(problem, data))
    exact = exact.normalised_free_energy

    origin, given = jax.tree.map(jnp.float32, (problem.optimum, data))

    @jax.jit
    @jax.vmap
    def weight(key):
        draw = BIASED.sample_prior(key)
        over_data = jax.vmap(BIASED.log_likelihood, (None, 0, 0))
        return jnp.exp(jnp.sum(over_data(draw, *given) - over_data(origin, *given)))

    weights = np.asarray(weight(jax.random.split(jax.random.key(82), 200_000)), float)
    error = np.std(weights) / np.mean(weights) / np.sqrt(len(weights))
    assert error < 0.01
    assert abs(np.log(np.mean(weights)) + exact.value) < 5 * error + exact.error


def test_what_takes_long_is_there_for_who_asks():
    problem = at_zero("biased", BIASED)
    assert oracle_for(problem) is None
    assert oracle_for(problem, costly=True) is not None
    assert oracle_for(at_zero("two", ShallowNet())) is not None
    assert oracle_for(at_zero("five", ShallowNet(hidden_dim=5)), costly=True) is None
    assert oracle_for(at_zero("four odd", TanhNet(hidden_dim=4)), costly=True) is not None
    assert oracle_for(at_zero("five odd", TanhNet(hidden_dim=5)), costly=True) is None


def test_more_cells_than_time_allows_are_refused(monkeypatch):
    monkeypatch.setattr(subdivision, "MAX_CELLS", 5)
    monkeypatch.setattr(subdivision, "MOST_FOLLOWED", 5)
    monkeypatch.setattr(integration, "DOUBTFUL", 0.0)
    problem = at_zero("two", ShallowNet())
    with pytest.raises(ValueError, match=r"cells leave .* in doubt: 1e-05 is allowed"):
        oracle_for(problem).moments(statistics_of(problem, data_of(problem, 10)))


def test_a_density_that_is_not_a_number_is_refused():
    chart = UnitsLatent((AXIS,), 2).prior_chart()
    with pytest.raises(ValueError, match="NaN"):
        subdivision.settled_cells(
            chart,
            lambda units: np.full((len(units), 16), np.nan),
            0.1,
            subdivision.first_cells(chart),
        )
