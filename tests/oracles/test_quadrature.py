"""The one-dimensional rules integrate what they promise to, and panels shrink where they must."""

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from slt_jax.oracles.quadrature import gauss_rule, graded_edges, panel_rule


@pytest.mark.parametrize("order", [1, 2, 5, 9])
def test_panel_rule_is_exact_for_polynomials(order):
    """On every panel up to degree 2·order − 1, and no further; 1e-13 is rounding."""
    edges = np.array([-1.0, -0.9, 0.3, 2.0])
    rule = panel_rule(edges, order)
    assert rule.nodes.shape == rule.weights.shape == (3 * order,)
    for degree in range(2 * order):
        panels = (rule.weights * rule.nodes**degree).reshape(3, order).sum(axis=1)
        expected = np.diff(edges ** (degree + 1)) / (degree + 1)
        np.testing.assert_allclose(panels, expected, rtol=1e-12, atol=1e-13)
    beyond = np.sum(rule.weights * rule.nodes ** (2 * order))
    assert abs(beyond - np.sum(np.diff(edges ** (2 * order + 1))) / (2 * order + 1)) > 1e-9


def test_panel_rule_keeps_nodes_inside_and_weights_positive():
    edges = np.array([0.0, 1e-8, 1e-3, 7.0])
    nodes = panel_rule(edges, 6).nodes.reshape(3, 6)
    assert np.all(np.diff(nodes.ravel()) > 0)
    assert np.all((nodes > edges[:-1, None]) & (nodes < edges[1:, None]))
    assert np.all(panel_rule(edges, 6).weights > 0)


def test_panel_rule_converges_on_a_graded_singularity():
    """∫₀¹ dx/(x + 10⁻⁶), whose scale is a millionth of the interval, to 1e-10 with 190 nodes."""
    rule = panel_rule(graded_edges(0.0, 1.0, (0.0,), 1e-6, 2.2), 10)
    assert len(rule.nodes) <= 190
    expected = np.log1p(1e6)
    assert np.sum(rule.weights / (rule.nodes + 1e-6)) == pytest.approx(expected, rel=1e-10)


def random_gradings(count: int):
    """Intervals, singular points (inside, on the ends, outside), finest widths and ratios."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        low, high = np.sort(rng.uniform(-5, 10, 2))
        candidates = [low, high, *rng.uniform(low, high, 2), low - 1, high + 1]
        chosen = rng.choice(candidates, rng.integers(0, 5), replace=False)
        finest = (high - low) * 10 ** rng.uniform(-6, 0.5)
        yield low, high, tuple(chosen), finest, rng.uniform(1.5, 5)


def test_graded_edges_cover_the_interval():
    """Increasing from low to high through every singular point inside, and none outside."""
    for low, high, singular, finest, ratio in random_gradings(200):
        edges = graded_edges(low, high, singular, finest, ratio)
        assert edges[0] == low
        assert edges[-1] == high
        assert np.all(np.diff(edges) > 0)
        assert all(point in edges for point in singular if low <= point <= high)


def test_graded_edges_shrink_towards_singular_points():
    """A panel that touches one is at most finest·√ratio wide, any other a multiple of its distance.

    Distances grow by ``ratio``, the last by up to ratio^{3/2}, so that width/distance is at most
    ratio^{3/2} − 1. The 1e-9 is rounding of the edges.
    """
    for low, high, singular, finest, ratio in random_gradings(200):
        inside = np.array([point for point in singular if low <= point <= high])
        edges = graded_edges(low, high, singular, finest, ratio)
        if not len(inside):
            np.testing.assert_array_equal(edges, [low, high])
            continue
        distances = np.min(np.abs(edges[:, None] - inside), axis=1)
        for left, right, near in zip(
            edges, edges[1:], np.minimum(distances[1:], distances[:-1]), strict=False
        ):
            allowed = finest * np.sqrt(ratio) if near == 0 else (ratio**1.5 - 1) * near
            assert right - left <= allowed * (1 + 1e-9)


def test_graded_edges_are_no_wider_than_asked():
    """Cutting wide panels keeps the edges that were there."""
    for low, high, singular, finest, ratio in random_gradings(50):
        widest = (high - low) / 7
        free = graded_edges(low, high, singular, finest, ratio)
        cut = graded_edges(low, high, singular, finest, ratio, widest)
        assert np.all(np.diff(cut) <= widest * (1 + 1e-9))
        assert np.all(np.diff(cut) > 0)
        assert np.all(np.isin(free, cut))


def test_graded_edges_are_few():
    """Logarithmically many: halving the finest width a thousandfold adds ten panels at ratio 2."""
    counts = [len(graded_edges(0.0, 1.0, (0.0,), 2.0**-k, 2.0)) for k in (10, 20, 30)]
    assert np.diff(counts).tolist() == [10, 10]


@pytest.mark.parametrize("order", [1, 2, 8, 24])
def test_gauss_rule_of_a_uniform_measure(order):
    """60 Gauss–Legendre points have the moments of the uniform measure that orders ≤ 24 need."""
    rule = gauss_rule(*leggauss(60), order)
    nodes, weights = leggauss(order)
    np.testing.assert_allclose(rule.nodes, nodes, atol=1e-13)
    np.testing.assert_allclose(rule.weights, weights, rtol=1e-12)


@pytest.mark.parametrize("order", [2, 8, 17])
def test_gauss_rule_of_a_normal_density(order):
    """On a grid of step 0.05 the trapezoid rule integrates normal moments to rounding.

    Far nodes have weights down to 1e-13 of the total, hence an absolute tolerance for these.
    """
    grid = np.arange(-14, 14.001, 0.05)
    rule = gauss_rule(grid, 0.05 * np.exp(-(grid**2) / 2), order)
    nodes, weights = hermegauss(order)
    np.testing.assert_allclose(rule.nodes, nodes, atol=1e-11)
    np.testing.assert_allclose(rule.weights, weights, atol=1e-13)


def test_gauss_rule_is_exact_for_the_discrete_measure():
    """Degree 2·order − 1 on an irregular measure that has masses of zero as well."""
    rng = np.random.default_rng(1)
    positions, masses = rng.uniform(0, 1, 30), rng.exponential(size=30)
    masses[::4] = 0.0
    rule = gauss_rule(positions, masses, 5)
    for degree in range(10):
        expected = np.sum(masses * positions**degree)
        assert np.sum(rule.weights * rule.nodes**degree) == pytest.approx(expected, rel=1e-13)


def test_gauss_rule_may_use_every_mass():
    """A rule of as many nodes as masses gives the measure back."""
    positions, masses = np.array([0.1, 0.5, 0.6, 2.0]), np.array([1.0, 2.0, 0.5, 3.0])
    rule = gauss_rule(positions, masses, 4)
    np.testing.assert_allclose(rule.nodes, positions, rtol=1e-12)
    np.testing.assert_allclose(rule.weights, masses, rtol=1e-12)


def test_gauss_rule_refuses_too_few_masses():
    with pytest.raises(ValueError) as error:
        gauss_rule(np.arange(5.0), np.array([1.0, 0.0, 1.0, 0.0, 1.0]), 4)
    assert "3 masses" in str(error.value)
    assert "order 4" in str(error.value)
