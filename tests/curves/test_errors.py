"""Errors of data sets: the control variate, prequential prediction, and errors of draws."""

import functools

import jax
import numpy as np
import pytest
import xarray as xr

from slt_jax.curves.errors import (
    QUANTITIES,
    cumulative_loss_gap,
    errors_of_draws,
    exact_errors,
    with_control_variate,
)
from slt_jax.data import simulate, statistics_of
from slt_jax.models.linear import LinearRegression
from slt_jax.oracles.criteria import HeldOut, generalisation_errors, quadrature_points
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.problem import Problem
from slt_jax.statistics import Data
from slt_jax.theory import regular

LINEAR = Problem(
    "linear_1", LinearRegression(input_dim=1), {"w": np.array([0.5])}, regular(1), title="y = wx"
)
NUM_DATA = 12


@functools.cache
def oracle() -> Oracle:
    exact = oracle_for(LINEAR)
    assert exact is not None
    return exact


@functools.cache
def held_out() -> HeldOut:
    return quadrature_points(LINEAR)


@functools.cache
def data_sets(count: int = 10) -> tuple[Data, ...]:
    keys = jax.random.split(jax.random.key(71), count)
    return tuple(jax.tree.map(np.asarray, simulate(LINEAR, key, NUM_DATA)) for key in keys)


@functools.cache
def errors() -> xr.Dataset:
    return exact_errors(oracle(), data_sets(), held_out())


# --- exact errors and their control -------------------------------------------------------------


@pytest.mark.false_alarm(comparisons=1, standard_errors=6)
def test_the_control_has_mean_zero_and_takes_spread_away() -> None:
    """6 standard errors, one comparison."""
    control = errors()["control"].to_numpy()
    standard_error = control.std(ddof=1) / np.sqrt(control.size)
    assert abs(control.mean()) < 6 * standard_error
    plain = errors()["bayes_generalisation_error"].to_numpy()
    spread = with_control_variate("bayes_generalisation_error", plain, control).std()
    assert spread < 0.75 * plain.std()


def test_the_control_is_a_next_datum_less_its_expectation() -> None:
    """LOO is what F_n gains by a datum, on average over which one comes last."""
    data = data_sets()[0]
    rows = np.concatenate([np.ones((1, NUM_DATA)), 1 - np.eye(NUM_DATA)])
    all_statistics = [statistics_of(LINEAR, data, row) for row in rows]
    evidences = oracle().log_evidence(
        jax.tree.map(lambda *leaves: np.stack(leaves), *all_statistics)
    )
    gained = np.mean(evidences.value[1:] - evidences.value[0])
    fewer = Data(data.x[:-1], data.y[:-1])
    expected = generalisation_errors(oracle(), fewer, held_out()).bayes_generalisation_error
    control = float(errors()["control"][0])
    assert control == pytest.approx(gained - float(expected.value), rel=1e-9)


def test_signs_of_the_control() -> None:
    shares = [with_control_variate(name, 0.0, 2.0) for name in QUANTITIES]
    assert shares == [1.0, 1.0, -1.0, -1.0, 0.0]


def test_leaving_one_out_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="n = 1"):
        exact_errors(oracle(), [Data(d.x[:1], d.y[:1]) for d in data_sets()], held_out())


def test_the_prequential_loss_is_the_free_energy() -> None:
    """It is not the loss of one who has seen all data."""
    data = data_sets()[0]
    gap, bound = cumulative_loss_gap(oracle(), data)
    assert gap <= bound < 1e-6
    afterwards = generalisation_errors(oracle(), data, held_out()).bayes_generalisation_error
    assert NUM_DATA * float(afterwards.value) > 100 * bound


# --- errors of draws -----------------------------------------------------------------------------


def posterior_draws(data: Data, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The answer for y = wx + N(0, 1), w ~ N(0, 1), in closed form."""
    precision = 1 + np.sum(data.x**2)
    mean = np.sum(data.x * data.y) / precision
    return mean + rng.normal(size=(*shape, 1)) / np.sqrt(precision)


@pytest.mark.false_alarm(comparisons=15, standard_errors=6, degrees_of_freedom=63)
def test_errors_of_draws_are_the_exact_ones() -> None:
    """From independent draws: first precise, then within 6 standard errors (1e-7), 15 comparisons.

    The data are padded with what would be seen: five more data that are not in the posterior.
    """
    rng = np.random.default_rng(5)
    chosen = data_sets()[:3]
    draws = np.stack([posterior_draws(data, (64, 64), rng) for data in chosen])
    padding = data_sets()[3]
    padded = jax.tree.map(
        lambda *parts: np.stack(parts),
        *(Data(*map(np.concatenate, zip(data, padding, strict=True))) for data in chosen),
    )
    sampled = errors_of_draws(LINEAR, NUM_DATA, padded, draws, held_out())
    for name in QUANTITIES:
        exact = errors()[name].to_numpy()[:3]
        standard_error = sampled[f"{name}_se"].to_numpy()
        assert np.all(standard_error < 0.1 * np.abs(errors()[name]).mean().item())
        assert np.all(np.abs(sampled[name].to_numpy() - exact) < 6 * standard_error)
        others = np.roll(exact, 1)
        assert np.any(np.abs(sampled[name].to_numpy() - others) > 10 * standard_error)
