"""Inputs, the counts that stand for data, and a likelihood that large logits do not break."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slt_jax.data import statistics_along_n, statistics_of, validate_data
from slt_jax.models import named_problems
from slt_jax.models.boolean_net import BooleanNet
from slt_jax.problem import Problem
from slt_jax.statistics import Data


@pytest.mark.parametrize("signed", [True, False])
def test_inputs_are_all_vectors(signed):
    inputs = BooleanNet(widths=(3, 1), signed=signed).inputs()
    low = -1.0 if signed else 0.0
    expected = list(itertools.product((low, 1.0), repeat=3))
    np.testing.assert_array_equal(inputs, expected)


def test_the_parity_problem_is_parity():
    """y = 1 is the likelier class where an odd number of inputs is −1."""
    problem = named_problems()["boolean_parity"]
    inputs = problem.model.inputs()
    with jax.enable_x64(True):
        logits = jax.vmap(problem.model.logits, (None, 0))(problem.optimum, inputs)
    np.testing.assert_array_equal(np.asarray(logits)[:, 1] > 0, inputs.prod(axis=1) < 0)


@functools.partial(jax.jit, static_argnums=0)
def ratio_and_sum(model: BooleanNet, w, optimum, data, statistics):
    over_data = jax.vmap(model.log_likelihood, (None, 0, 0))
    ratio, slope = jax.value_and_grad(model.log_likelihood_ratio)(w, statistics)
    return ratio, slope, jnp.sum(over_data(w, *data) - over_data(optimum, *data))


@pytest.mark.parametrize("widths", [(2, 2, 3), pytest.param((2, 1), marks=pytest.mark.slow)])
def test_counts_are_the_sum_over_data(widths):
    """At logits that differ by little and by thousands, in float64."""
    model = BooleanNet(widths=widths, signed=False, activation="relu")
    rng = np.random.default_rng(0)
    optimum, step = (
        {name: rng.standard_normal(prior.shape()) for name, prior in model.priors().items()}
        for _ in range(2)
    )
    problem = Problem("net", model, optimum)
    chosen = model.inputs()[rng.integers(len(model.inputs()), size=50)]
    data = Data(chosen, rng.integers(model.num_classes, size=50).astype(float))
    for scale in (1e-3, 1.0, 1e3):
        w = {name: leaf + scale * step[name] for name, leaf in optimum.items()}
        with jax.enable_x64(True):
            ratio, slope, total = ratio_and_sum(
                model, w, optimum, data, statistics_of(problem, data)
            )
        assert float(ratio) == pytest.approx(float(total), rel=1e-10, abs=1e-12)
        assert all(np.all(np.isfinite(leaf)) for leaf in slope.values())


@pytest.mark.slow
def test_counts_add_up_along_n():
    problem = named_problems()["boolean_softmax"]
    along = statistics_along_n(problem, jax.random.key(2), 2, (10, 5000))
    for n, statistics in zip((10, 5000), along, strict=True):
        np.testing.assert_allclose(statistics.total_weight, n)
        np.testing.assert_allclose(statistics.excess.sum(axis=2), 0, atol=1e-9)


def boolean_data(x, y):
    return Data(np.array(x, float), np.array(y, float))


SIGNED, BITS = [[1, -1], [-1, -1]], [[1, 0], [0, 0]]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
def test_other_data_are_refused_and_have_no_likelihood(signed, outputs):
    """Labels are 0 … C − 1 and nothing else: −1 is not the last class and 0.7 not 0."""
    model = BooleanNet(widths=(2, outputs), signed=signed)
    zero = {name: np.zeros(prior.shape()) for name, prior in model.priors().items()}
    problem = Problem("net", model, zero)
    x, other = (SIGNED, BITS) if signed else (BITS, SIGNED)
    classes = max(2, outputs)
    each = statistics_of(problem, boolean_data(x, [0, classes - 1])).log_likelihood_at_optimum
    assert float(each) == pytest.approx(-2 * np.log(classes))
    for label in (-1, classes, 0.7, -0.5):
        assert float(model.log_likelihood(zero, np.array(x[0], float), label)) == -np.inf
        for ask in (statistics_of, validate_data):
            with pytest.raises(ValueError, match=rf"^y\[1\] is {float(label)}; allowed: Integer"):
                ask(problem, boolean_data(x, [0, label]))
    for place, spoiled in ((r"\d, \d", other), ("1, 0", [x[0], [3, x[0][1]]])):
        with pytest.raises(ValueError, match=rf"^x\[{place}\] is .*; allowed: "):
            statistics_of(problem, boolean_data(spoiled, [0, 1]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (3,)}, "2 or more"),
        ({"widths": (3, 0)}, "≥ 1"),
        ({"activation": "elu"}, "elu"),
    ],
)
def test_impossible_models_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        BooleanNet(**fields)
