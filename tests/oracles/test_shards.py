"""Pseudo-data: the same sums as all data, the same answers, and no more of them at any n."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.data import simulate, statistics_of
from slt_jax.models.normal_mixture import NormalMixture
from slt_jax.models.shallow_net import REACH_IN_PLANE, SINGULARITY, Activation, ShallowNet
from slt_jax.oracles.laws.cuts import REACH
from slt_jax.oracles.oracle import oracle_for
from slt_jax.oracles.shards import NODES, moment_matched, shards_of
from slt_jax.oracles.structures import LinearBlock
from slt_jax.problem import Problem
from slt_jax.run.precision import in_float64
from slt_jax.statistics import Data


def at_zero(model) -> Problem:
    return Problem("zero", model, {key: np.zeros(p.shape()) for key, p in model.priors().items()})


def drawn(n: int, input_dim: int = 1) -> tuple[Data, np.ndarray]:
    """Inputs [n, input_dim], two outputs and weights."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, input_dim)), rng.standard_normal((n, 2))
    return Data(jnp.asarray(x), jnp.asarray(y)), rng.uniform(0.5, 1.5, n)


@pytest.mark.parametrize("activation", SINGULARITY)
@in_float64
def test_sums_of_pairs_of_units_are_the_same(activation: Activation):
    """Σ a u(x)v(x) and Σ a y u(x) of units up to the end of their reach, to 1e-12 of Σ a|u||v|."""
    model = ShallowNet(activation=activation)
    data, weights = drawn(20_000)
    fewer, masses = moment_matched(data, weights, SINGULARITY[activation] / REACH)
    slopes = np.linspace(-REACH, REACH, 12)

    def sums(data: Data, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, y = map(np.asarray, data)
        units = np.asarray(model.activate(jnp.asarray(x * slopes + 0.3 * slopes[::-1])))
        weighted = weights[:, None] * units
        return weighted.T @ units, weighted.T @ y, np.abs(weighted).T @ np.abs(units)

    gram, cross, size = sums(data, weights)
    found_gram, found_cross, _ = sums(fewer, masses)
    assert np.max(np.abs(found_gram - gram) / size) < 1e-12
    assert np.max(np.abs(found_cross - cross)) < 1e-12 * np.max(size)
    np.testing.assert_allclose(np.sum(masses), np.sum(weights), rtol=1e-13)


@pytest.mark.parametrize(("weight", "most"), [(REACH_IN_PLANE, 1e-13), (6.0, 1e-9)])
@in_float64
def test_sums_in_the_plane_are_the_same(weight: float, most: float):
    """They agree to 1e-13 of n up to the reach; the digits lost beyond are as few as told."""
    data, weights = drawn(50_000, input_dim=2)
    fewer, masses = moment_matched(data, weights, SINGULARITY["tanh"] / REACH_IN_PLANE)
    assert len(masses) < len(weights) / 2
    angles = np.linspace(0, np.pi, 7)
    directions = weight * np.stack([np.cos(angles), np.sin(angles)])

    def sums(data: Data, weights: np.ndarray) -> np.ndarray:
        units = np.tanh(np.asarray(data.x) @ directions)
        return (weights[:, None] * units).T @ np.column_stack([units, data.y])

    assert np.max(np.abs(sums(fewer, masses) - sums(data, weights))) < most * len(weights)


@in_float64
def test_as_many_pseudo_data_at_any_n():
    strip = np.pi / 2 / REACH
    assert all(len(moment_matched(*drawn(n), strip)[1]) < 1000 for n in (2000, 200_000))


@in_float64
def test_few_data_are_kept():
    data, weights = drawn(NODES)
    kept, masses = moment_matched(data, weights, strip=100.0)
    order = np.argsort(np.asarray(data.x)[:, 0])
    np.testing.assert_array_equal(kept.x, np.asarray(data.x)[order])
    np.testing.assert_array_equal(kept.y, np.asarray(data.y)[order])
    np.testing.assert_array_equal(masses, weights[order])


@pytest.mark.parametrize(
    ("model", "n"),
    [
        (ShallowNet(hidden_dim=1, biases=True), 600),
        pytest.param(NormalMixture(first_mean_fixed=True), 300, marks=pytest.mark.slow),
        pytest.param(
            ShallowNet(hidden_dim=1, input_dim=2, uniform_input=True), 3000, marks=pytest.mark.slow
        ),
    ],
    ids=["unit", "mixture", "plane"],
)
def test_answers_are_those_of_all_data(model, n):
    problem = at_zero(model)
    oracle = oracle_for(problem, 1)
    without = {"strip": None} | (
        {"odd": False} if isinstance(oracle.structure, LinearBlock) else {}
    )
    of_all = oracle._replace(structure=dataclasses.replace(oracle.structure, **without))
    statistics = statistics_of(problem, simulate(problem, jax.random.key(95), n))
    assert len(shards_of(statistics, oracle.structure)) < len(
        shards_of(statistics, of_all.structure)
    )
    for one, two in zip(oracle.moments(statistics), of_all.moments(statistics), strict=True):
        assert abs(one.value - two.value) < 1e-9
        assert one.error == pytest.approx(two.error, rel=1e-3)
