"""Data sets are nested, independent of the grid they are asked for on, and checked on the way in.

Sums over the same data in another order of chunks agree to RTOL: rounding of some 10⁴ float64
terms, 1e-12 of the sum of their sizes at most, and the statistics compared are such sums.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from slt_jax.data import (
    CHUNK,
    fixed_design_statistics,
    refuse_unheld_data,
    refuse_unheld_statistics,
    scaled,
    simulate,
    statistics_along_n,
    statistics_of,
    validate_data,
)
from slt_jax.model import Model
from slt_jax.models.linear import LinearRegression
from slt_jax.models.reduced_rank import ReducedRankRegression
from slt_jax.models.tanh_net import TanhNet
from slt_jax.problem import Problem
from slt_jax.run.compilation import CompilationCounter
from slt_jax.run.precision import in_float64
from slt_jax.statistics import Data

RTOL = 1e-12
LONG = 9000
KEY = jax.random.key(11)


class Coin(Model):
    """y = 0 or 1 with log-odds w + x: a model without sufficient statistics."""

    def priors(self):
        return {"w": dist.Normal(0.0, 1.0)}

    def log_likelihood(self, params, x, y):
        return -jax.nn.softplus((1 - 2 * y) * (params["w"] + x))

    def simulate(self, params, key):
        key_x, key_y = jax.random.split(key)
        x = jax.random.normal(key_x, ())
        return x, jax.random.bernoulli(key_y, jax.nn.sigmoid(params["w"] + x)).astype(x.dtype)


LINEAR = Problem("linear", LinearRegression(input_dim=2), {"w": np.array([0.5, -1.0])})
TANH = Problem("tanh", TanhNet(hidden_dim=1), {"a": np.ones(1), "b": np.ones(1)})
REDUCED_RANK = Problem(
    "reduced_rank",
    ReducedRankRegression(input_dim=3, output_dim=2, hidden_dim=1),
    {"A": np.ones((1, 3)), "B": np.ones((2, 1))},
)
COIN = Problem("coin", Coin(), {"w": np.array(0.2)})
PROBLEMS = (LINEAR, TANH, COIN)
ADDITIVE = (LINEAR, pytest.param(REDUCED_RANK, marks=pytest.mark.slow))


@functools.cache
def long_data(problem: Problem, replicate: int) -> Data:
    """LONG data of one replicate, as ``statistics_along_n`` numbers them."""
    return simulate(problem, jax.random.fold_in(KEY, replicate), LONG)


@functools.cache
def short_data(problem: Problem, replicate: int = 0) -> Data:
    """The first 8 of the same."""
    return simulate(problem, jax.random.fold_in(KEY, replicate), 8)


def beginning(data: Data, n: int) -> Data:
    return Data(np.asarray(data.x)[:n], np.asarray(data.y)[:n])


def assert_same(actual, expected, rtol: float = RTOL) -> None:
    """Equal trees up to ``rtol`` of the largest entry of each array."""
    for one, other in zip(actual, expected, strict=True):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert a.shape == b.shape
            atol = rtol * np.max(np.abs(b), initial=1.0)
            np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def replicate_of(statistics, r: int):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[r], statistics)


# --- nesting ---------------------------------------------------------------------------------


def test_data_sets_are_nested():
    """n data are the first n of n + 1, bit by bit; a later start gives the later ones."""
    longer = simulate(LINEAR, KEY, 8)
    assert_same(simulate(LINEAR, KEY, 7), beginning(longer, 7), rtol=0)
    assert_same(simulate(LINEAR, KEY, 7, 1), Data(*(part[1:] for part in longer)), rtol=0)
    assert len(longer.x) == len(longer.y) == 8


def test_data_are_float64_and_differ():
    data = long_data(LINEAR, 0)
    assert data.x.dtype == data.y.dtype == np.float64
    assert len(np.unique(data.y)) == LONG
    assert not np.intersect1d(data.y, long_data(LINEAR, 1).y).size
    assert not np.array_equal(data.y[:8], simulate(LINEAR, jax.random.key(12), 8).y)


@pytest.mark.parametrize("problem", ADDITIVE, ids=lambda p: p.name)
def test_statistics_along_n_are_those_of_the_data(problem):
    """On both sides of a chunk's end, and with a chunk cut in two by the grid."""
    sizes = (3, CHUNK - 1, CHUNK, CHUNK + 1, LONG)
    along = statistics_along_n(problem, KEY, 2, sizes)
    for r in range(2):
        data = long_data(problem, r)
        for n, stacked in zip(sizes, along, strict=True):
            weights = (np.arange(LONG) < n).astype(float)
            assert_same(replicate_of(stacked, r), statistics_of(problem, data, weights))


def test_statistics_of_a_model_without_statistics_are_padded():
    sizes = (1, 4, 8)
    along = statistics_along_n(COIN, KEY, 2, sizes)
    for r in range(2):
        data = short_data(COIN, r)
        for n, stacked in zip(sizes, along, strict=True):
            padded = replicate_of(stacked, r)
            assert_same(padded.data, data, rtol=0)
            np.testing.assert_array_equal(padded.weights, np.arange(8) < n)
            expected = statistics_of(COIN, data, np.arange(8) < n)
            assert_same(padded, expected)
            with jax.enable_x64(True):
                np.testing.assert_allclose(
                    padded.log_likelihood_at_optimum, expected.log_likelihood_at_optimum, rtol=RTOL
                )


def test_statistics_do_not_depend_on_the_grid():
    """Grids that share some n and cut the chunks elsewhere agree there."""
    one = statistics_along_n(LINEAR, KEY, 2, (10, 5000, LONG))
    other = statistics_along_n(LINEAR, KEY, 2, (1, 10, 11, 300, LONG))
    assert_same([one[0], one[2]], [other[1], other[4]])


def test_statistics_do_not_depend_on_the_number_of_replicates():
    few = statistics_along_n(LINEAR, KEY, 2, (5000,))[0]
    many = statistics_along_n(LINEAR, KEY, 3, (5000,))[0]
    for r in range(2):
        assert_same(replicate_of(few, r), replicate_of(many, r))


def test_replicates_differ():
    gram = statistics_along_n(LINEAR, KEY, 3, (5,))[0].gram
    assert gram.shape == (3, 2, 2)
    assert len(np.unique(gram[:, 0, 0])) == 3


def test_a_learning_curve_compiles_once():
    model = LinearRegression(input_dim=2, noise=0.9)
    problem = Problem("once", model, {"w": np.array([0.5, -1.0])})
    with CompilationCounter() as counter:
        statistics_along_n(problem, KEY, 2, (1, 17, 4096, 5000, 12_345))
    assert counter.counts["_statistics_of_chunk"] == 1


# --- weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_weights_count_data(problem):
    """Weight 0 is absence, weight 2 is a datum seen twice; the statistics say so."""
    data = beginning(short_data(problem), 6)
    weights = np.array([1.0, 0.0, 2.0, 0.0, 1.0, 0.0])
    repeated = Data(*(np.asarray(part)[[0, 2, 2, 4]] for part in data))
    one, other = statistics_of(problem, data, weights), statistics_of(problem, repeated)
    if problem.model.statistics_are_additive:
        assert_same(one, other)
    w = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.3, problem.optimum)
    with jax.enable_x64(True):
        ratio = problem.model.log_likelihood_ratio
        np.testing.assert_allclose(ratio(w, one), ratio(w, other), rtol=RTOL)
        np.testing.assert_allclose(
            one.log_likelihood_at_optimum, other.log_likelihood_at_optimum, rtol=RTOL
        )


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_weights_are_one_by_default(problem):
    data = beginning(short_data(problem), 6)
    assert_same(statistics_of(problem, data), statistics_of(problem, data, np.ones(6)), rtol=0)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_scaled_multiplies_every_weight(problem):
    data = beginning(short_data(problem), 6)
    weights = np.linspace(0, 2, 6)
    with jax.enable_x64(True):
        cooled = scaled(statistics_of(problem, data, weights), 0.3)
    assert_same(cooled, statistics_of(problem, data, 0.3 * weights))


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_statistics_are_used_outside_float64(problem):
    """Statistics can be scaled and read where 64-bit types are switched off."""
    statistics = statistics_of(problem, beginning(short_data(problem), 6))
    assert np.isfinite(float(statistics.log_likelihood_at_optimum))
    assert float(scaled(statistics, 0.5).log_likelihood_at_optimum) == pytest.approx(
        float(statistics.log_likelihood_at_optimum) / 2
    )


def test_integers_and_lists_are_data():
    integers = Data(np.array([[1, 2], [0, 1]]), [[1], [0]])
    floats = Data(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[1.0], [0.0]]))
    assert_same(
        statistics_of(LINEAR, integers, [1, 2]), statistics_of(LINEAR, floats, np.array([1.0, 2]))
    )


# --- refusals --------------------------------------------------------------------------------

X, Y = np.zeros((3, 2)), np.zeros((3, 1))


def spoiled(values: np.ndarray, value: float) -> np.ndarray:
    """The same array with ``value`` at index [1, 0]."""
    changed = values.copy()
    changed[1, 0] = value
    return changed


@pytest.mark.parametrize(
    ("data", "named", "allowed"),
    [
        (Data(spoiled(X, np.nan), Y), "x[1, 0] is nan", "finite"),
        (Data(X, spoiled(Y, np.inf)), "y[1, 0] is inf", "finite"),
        (Data(X, spoiled(Y, -np.inf)), "y[1, 0] is -inf", "finite"),
        (Data(np.zeros((3, 4)), Y), "x has shape (3, 4)", "(n, 2)"),
        (Data(np.zeros(3), Y), "x has shape (3,)", "(n, 2)"),
        (Data(0.0, Y), "x has shape ()", "(n, 2)"),
        (Data(X, np.zeros(3)), "y has shape (3,)", "(n, 1)"),
        (Data(X, np.zeros((3, 2))), "y has shape (3, 2)", "(n, 1)"),
        (Data(X, np.zeros((2, 1))), "x has 3 data and y has 2", "agree"),
    ],
)
def test_bad_data_are_refused(data, named, allowed):
    for check in (validate_data, statistics_of):
        with pytest.raises(ValueError) as error:
            check(LINEAR, data)
        assert named in str(error.value)
        assert allowed in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", ["x", "y"])
@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda v: np.ma.array(v, mask=spoiled(np.zeros_like(v), 1.0)), "[1, 0] is --; masked"),
        (lambda v: spoiled(v.astype(complex), 2 + 1j), "[1, 0] is (2+1j); allowed: real"),
        (lambda v: v.astype(str), ": array of type <U32; allowed: real"),
        (lambda v: spoiled(v.astype(object), None), ": array of type object; allowed: real"),
        (lambda v: v.astype("datetime64[s]"), ": array of type datetime64[s]; allowed: real"),
    ],
)
def test_data_that_are_no_real_numbers_are_refused(part, spoil, named):
    """A mask, an imaginary part or a date would be lost in float64."""
    data = Data(X, Y)._replace(**{part: spoil(getattr(Data(X, Y), part))})
    for check in (validate_data, statistics_of):
        with pytest.raises(ValueError) as error:
            check(LINEAR, data)
        assert f"{part}{named}" in str(error.value)


def test_a_mask_of_nothing_and_an_imaginary_part_of_zero_lose_nothing():
    data = Data(np.ma.array(X, mask=False), (Y + 1).astype(complex))
    assert_same(statistics_of(LINEAR, data), statistics_of(LINEAR, Data(X, Y + 1)), rtol=0)


def test_data_without_a_likelihood_at_the_optimum_are_refused():
    class Bounded(Coin):
        """No datum with y = 1 is possible."""

        def log_likelihood(self, params, x, y):
            return jnp.where(y > 0.5, -jnp.inf, 0.0)

    problem = Problem("bounded", Bounded(), COIN.optimum)
    statistics_of(problem, Data(np.zeros(2), np.zeros(2)))
    with pytest.raises(ValueError, match="at the optimum of bounded is -inf; must be finite"):
        statistics_of(problem, Data(np.zeros(2), np.array([0.0, 1.0])))


def test_shapes_of_scalar_data_are_named():
    with pytest.raises(ValueError) as error:
        validate_data(COIN, Data(np.zeros((3, 1)), np.zeros(3)))
    assert "x has shape (3, 1)" in str(error.value)
    assert "(n,)" in str(error.value)


@pytest.mark.parametrize(
    ("weights", "named", "allowed"),
    [
        (np.ones(2), "(2,)", "(3,)"),
        (np.ones((3, 1)), "(3, 1)", "(3,)"),
        (np.float64(1.0), "()", "(3,)"),
        (np.array([1.0, np.nan, 1.0]), "nan", "finite"),
        (np.array([1.0, np.inf, 1.0]), "weights[1] is inf", "finite"),
        (np.array([1.0, 1j, 1.0]), "weights[1] is 1j", "real"),
        (np.ma.array(np.ones(3), mask=[False, False, True]), "weights[2] is --", "masked"),
    ],
)
def test_bad_weights_are_refused(weights, named, allowed):
    with pytest.raises(ValueError) as error:
        statistics_of(LINEAR, Data(X, Y), weights)
    assert named in str(error.value)
    assert allowed in str(error.value)


@pytest.mark.parametrize("n", [0, -3, 2.5, True])
def test_empty_data_sets_are_refused(n):
    with pytest.raises(ValueError) as error:
        simulate(LINEAR, KEY, n)
    assert f"n = {n}: must be an integer from 1 to {2**32}" in str(error.value)


@pytest.mark.parametrize("start", [-1, 0.5])
def test_data_before_the_first_are_refused(start):
    with pytest.raises(ValueError, match=f"start = {start}: must be an integer from 0"):
        simulate(LINEAR, KEY, 3, start)


@in_float64
def test_data_beyond_the_last_would_repeat_the_first_and_are_refused():
    keys = [jax.random.fold_in(KEY, jnp.asarray(i)) for i in (1, 2**32 + 1)]
    assert jnp.array_equal(*map(jax.random.key_data, keys))
    assert simulate(LINEAR, KEY, 1, 2**32 - 1).y.shape == (1, 1)
    with pytest.raises(ValueError, match=f"start = {2**32 - 1}: must be an integer from 0 to"):
        simulate(LINEAR, KEY, 2, 2**32 - 1)
    with pytest.raises(ValueError, match=rf"= {2**32 + 1}: must be an integer from 1"):
        statistics_along_n(LINEAR, KEY, 1, [2**32 + 1])


def test_data_that_no_memory_holds_are_refused_before_they_are_drawn():
    words = r"n = 4294967296: 999 data sets of coin would take \d+\.\d GiB; must fit into"
    with pytest.raises(ValueError, match=words):
        statistics_along_n(COIN, KEY, 999, [10, 2**32])
    refuse_unheld_statistics(LINEAR, 9, [10, 2**32])
    with pytest.raises(ValueError, match=r"4294967296: 999 data sets of linear would take"):
        refuse_unheld_data(LINEAR, 999, 2**32)


@pytest.mark.parametrize("sizes", [(10, 2.5), (0,), (-1, 10), (10.0,), (True,)])
def test_bad_sizes_of_a_design_are_refused(sizes):
    with pytest.raises(ValueError, match=r"sample_sizes\[.\] = .*: must be an integer"):
        fixed_design_statistics(LINEAR, KEY, 2, sizes)


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ((), "sample_sizes = (): must be one or more numbers that increase"),
        ((0, 5), "sample_sizes[0] = 0: must be an integer from 1 to 4294967296"),
        ((-1,), "sample_sizes[0] = -1: must be an integer from 1 to 4294967296"),
        ((5, 5), "sample_sizes[1] = 5: must be > 5, the one before"),
        ((3, 10, 7), "sample_sizes[2] = 7: must be > 10, the one before"),
        ((2.5, 10), "sample_sizes[0] = 2.5: must be an integer from 1 to 4294967296"),
        ((2.0, 10), "sample_sizes[0] = 2.0: must be an integer from 1 to 4294967296"),
        (10, "sample_sizes = 10: must be one or more numbers that increase"),
    ],
)
@pytest.mark.parametrize("problem", [LINEAR, COIN], ids=lambda p: p.name)
def test_bad_sample_sizes_are_refused(problem, sizes, named):
    with pytest.raises(ValueError) as error:
        statistics_along_n(problem, KEY, 2, sizes)
    assert named == str(error.value)


# --- precision -------------------------------------------------------------------------------


def switched_on() -> bool:
    return jnp.zeros(()).dtype == jnp.float64


def test_float64_is_switched_off_after_a_call():
    data = beginning(short_data(LINEAR), 3)
    results = (data, statistics_of(LINEAR, data), statistics_along_n(LINEAR, KEY, 2, (10,))[0])
    assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(results))
    assert not switched_on()


def test_float64_is_switched_off_after_an_exception():
    for call in (
        lambda: simulate(LINEAR, KEY, 0),
        lambda: statistics_of(LINEAR, Data(X, Y), np.ones(2)),
        lambda: statistics_along_n(LINEAR, KEY, 2, ()),
    ):
        with pytest.raises(ValueError):
            call()
        assert not switched_on()


def test_float64_stays_on_where_it_was():
    with jax.enable_x64(True):
        assert in_float64(switched_on)()
        assert switched_on()
    assert not switched_on()


def test_in_float64_keeps_name_and_arguments():
    @in_float64
    def described(a, *, b):
        """Docstring."""
        return a, b, switched_on()

    assert described(1, b=2) == (1, 2, True)
    assert (described.__name__, described.__doc__) == ("described", "Docstring.")


def test_an_optimum_of_plain_numbers_is_one_of_arrays():
    plain = dataclasses.replace(COIN, optimum={"w": 0.25})
    arrays = dataclasses.replace(COIN, optimum={"w": np.array(0.25)})
    for of in (
        lambda problem: statistics_along_n(problem, KEY, 2, [3, 5]),
        lambda problem: statistics_of(problem, simulate(COIN, KEY, 5)),
    ):
        assert jax.tree.all(jax.tree.map(np.array_equal, of(plain), of(arrays)))
