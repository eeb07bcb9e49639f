"""A flax module is the model that the same formula written by hand is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from slt_jax.adapters.flax_module import FlaxClassification, FlaxRegression
from slt_jax.data import simulate, statistics_of
from slt_jax.models.tanh_net import TanhNet
from slt_jax.problem import Problem
from slt_jax.statistics import Data


class Net(linen.Module):
    """Σ_h a_h tanh(b_h x), or as many logits as ``outputs``."""

    width: int
    outputs: int = 1

    @linen.compact
    def __call__(self, x):
        hidden = linen.Dense(self.width, use_bias=False, name="b")(x)
        return linen.Dense(self.outputs, use_bias=False, name="a")(jnp.tanh(hidden))


MODEL = FlaxRegression(module=Net(2), input_shape=(1,), noise=0.5, prior_scale=2.0)
A, B = np.array([0.5, -1.0]), np.array([1.0, 2.0])
PARAMS = {"a/kernel": A[:, None], "b/kernel": B[None, :]}


def test_likelihood_and_prior_are_those_of_the_formula():
    own = TanhNet(hidden_dim=2, noise=0.5, prior_scale=2.0)
    data = simulate(Problem("flax", MODEL, PARAMS), jax.random.key(0), 5)
    with jax.enable_x64(True):
        for x, y in zip(*data, strict=True):
            ours = own.log_likelihood({"a": A, "b": B}, x[0], y)
            assert float(MODEL.log_likelihood(PARAMS, x, y)) == pytest.approx(float(ours))
        ours = own.log_prior({"a": A, "b": B})
        assert float(MODEL.log_prior(PARAMS)) == pytest.approx(float(ours))
    assert MODEL.dimension == 4


def test_equal_modules_make_equal_models():
    twin = FlaxRegression(module=Net(2), input_shape=(1,), noise=0.5, prior_scale=2.0)
    wider = FlaxRegression(module=Net(3), input_shape=(1,), noise=0.5, prior_scale=2.0)
    assert twin == MODEL
    assert hash(MODEL) == hash(twin)
    assert wider != MODEL


@pytest.mark.slow
def test_sums_are_in_the_precision_of_the_parameters():
    problem = Problem("flax", MODEL, PARAMS)
    statistics = statistics_of(problem, simulate(problem, jax.random.key(0), 5))
    moved = {name: leaf + 0.3 for name, leaf in PARAMS.items()}
    with jax.enable_x64(True):
        double = MODEL.log_likelihood_ratio(jax.tree.map(jnp.asarray, moved), statistics)
    single = jax.tree.map(np.float32, (moved, statistics))
    ratio = MODEL.log_likelihood_ratio(*single)
    assert (double.dtype, ratio.dtype) == (np.float64, np.float32)
    assert float(ratio) == pytest.approx(float(double), rel=1e-4)


def test_labels_that_are_no_class_are_refused_and_have_no_likelihood():
    model = FlaxClassification(module=Net(2, outputs=3), input_shape=(1,))
    params = {name: np.zeros(prior.shape()) for name, prior in model.priors().items()}
    problem, x = Problem("classes", model, params), np.ones((2, 1))
    log_likelihood_at_optimum = statistics_of(
        problem, Data(x, np.array([0, 2]))
    ).log_likelihood_at_optimum
    assert float(log_likelihood_at_optimum) == pytest.approx(-2 * np.log(3))
    for label in (-1.0, 3.0, 0.5):
        assert float(model.log_likelihood(params, x[0], label)) == -np.inf
        with pytest.raises(ValueError, match=rf"^y\[1\] is {label}; allowed: Integer"):
            statistics_of(problem, Data(x, np.array([0, label])))


class Scalar(linen.Module):
    """A number where a vector is asked for."""

    @linen.compact
    def __call__(self, x):
        return linen.Dense(1)(x)[0]


@pytest.mark.parametrize("family", [FlaxRegression, FlaxClassification])
def test_modules_of_another_shape_are_refused(family):
    """A scalar, and a batch of inputs, would broadcast against y."""
    with pytest.raises(ValueError, match=r"module returns shape \(\); allowed: one axis"):
        family(module=Scalar(), input_shape=(1,))
    with pytest.raises(ValueError, match=r"module returns shape \(4, 1\); allowed: one axis"):
        family(module=Net(2), input_shape=(4, 1))


@pytest.mark.slow
@pytest.mark.false_alarm(comparisons=1, standard_errors=5)
def test_classes_follow_the_softmax():
    """Frequencies of three classes at one x over 4000 draws, 5 standard errors."""
    logits = np.array([[1.0, 0.0, -1.0], [0.0, 0.5, 0.0]])
    params = {"a/kernel": logits, "b/kernel": np.ones((1, 2))}
    model = FlaxClassification(module=Net(2, outputs=3), input_shape=(1,))
    x = jnp.ones(1)
    log_p = [float(model.log_likelihood(params, x, np.array(float(c)))) for c in range(3)]
    expected = np.exp(np.tanh(1) * logits.sum(axis=0))
    np.testing.assert_allclose(np.exp(log_p), expected / expected.sum(), rtol=1e-5)
    keys = jax.random.split(jax.random.key(1), 4000)
    x, y = jax.jit(jax.vmap(model.simulate, (None, 0)))(params, keys)
    ones = np.mean(np.asarray(y) == 0)
    p = np.exp(np.tanh(np.asarray(x)) * logits.sum(axis=0))
    p = (p / p.sum(axis=1, keepdims=True))[:, 0]
    assert abs(ones - p.mean()) <= 5 * np.sqrt(np.mean(p * (1 - p)) / len(p))
    assert set(np.unique(y)) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (linen.Sequential([linen.Dense(1)]), "must be hashable"),
        (linen.BatchNorm(use_running_average=True), "allowed: params"),
    ],
)
def test_impossible_modules_are_refused(module, message):
    with pytest.raises(ValueError, match=message):
        FlaxRegression(module=module, input_shape=(2,))
