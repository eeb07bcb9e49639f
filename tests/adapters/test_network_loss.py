"""Losses per datum: one net is the same however it is written, and what is ambiguous is refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from slt_jax.adapters.network_loss import batch_of, check_loss, checkpoints_of, mask_of

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 1))
LABELS = np.array([0, 2, 1, 1, 0, 2])
PARAMS = {
    "Dense_0": {"kernel": RNG.normal(size=(2, 3)), "bias": RNG.normal(size=3)},
    "Dense_1": {"kernel": RNG.normal(size=(3, 3)), "bias": RNG.normal(size=3)},
}


class LinenNet(linen.Module):
    """Two layers and tanh."""

    outputs: int = 3

    @linen.compact
    def __call__(self, x):
        hidden = jnp.tanh(linen.Dense(3)(x))
        return linen.Dense(self.outputs)(hidden)


def nnx_net(normalised: bool = False) -> nnx.Sequential:
    """The same net with the same weights, or one with batch norm and dropout between."""
    rngs = nnx.Rngs(0)
    between = [nnx.BatchNorm(3, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)] if normalised else []
    layers = [nnx.Linear(2, 3, rngs=rngs), *between, jnp.tanh, nnx.Linear(3, 3, rngs=rngs)]
    net = nnx.Sequential(*layers)
    for layer, name in ((layers[0], "Dense_0"), (layers[-1], "Dense_1")):
        layer.kernel[...] = jnp.asarray(PARAMS[name]["kernel"])
        layer.bias[...] = jnp.asarray(PARAMS[name]["bias"])
    return net


def function(params, batch):
    """The same net and loss by hand."""
    x, labels = batch
    hidden = jnp.tanh(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    logits = hidden @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
    return jax.nn.logsumexp(logits, axis=1) - logits[jnp.arange(len(x)), labels]


def values(model, params, data=(X, LABELS), loss="cross_entropy", place=0):
    checkpoints = checkpoints_of(model, params, loss)
    batch, n = batch_of(model, data)
    check_loss(checkpoints, batch, n)
    return checkpoints.loss(checkpoints.params[place], checkpoints.others[place], batch)


def test_one_net_has_one_loss() -> None:
    expected = values(function, PARAMS, loss=None)
    assert expected.dtype == jnp.float32
    for model, params in (
        (LinenNet(), PARAMS),
        (LinenNet(), {"params": PARAMS}),
        (linen.Sequential([LinenNet()]), {"params": {"layers_0": PARAMS}}),
        (nnx_net(), None),
        (nnx_net(), nnx_net()),
        (nnx_net(), nnx.state(nnx_net())),
        (nnx_net(), nnx.state(nnx_net(), nnx.Param)),
        (nnx_net(), nnx.to_pure_dict(nnx.state(nnx_net()))),
    ):
        np.testing.assert_allclose(values(model, params), expected, rtol=1e-6)


@pytest.mark.parametrize("targets", [LABELS.tolist(), LABELS.astype(float), LABELS[:, None]])
def test_labels_of_any_type_are_the_same(targets) -> None:
    np.testing.assert_array_equal(
        values(LinenNet(), PARAMS, (X.tolist(), targets)), values(LinenNet(), PARAMS)
    )


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_gaussian_is_a_density(shape) -> None:
    module = linen.Dense(1)
    params = {"kernel": np.ones((2, 1)), "bias": np.zeros(1)}
    found = values(module, params, (X, Y.reshape(shape)), "gaussian")
    expected = (Y[:, 0] - X.sum(axis=1)) ** 2 / 2 + np.log(2 * np.pi) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "params", "loss"),
    [
        (nnx_net, None, "gaussian"),
        (LinenNet, PARAMS, "cross_entropy"),
        (lambda: function, PARAMS, None),
    ],
)
def test_equal_modules_have_equal_losses(model, params, loss) -> None:
    """So that a second call compiles nothing."""
    first, second = (checkpoints_of(model(), params, loss).loss for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


def test_other_variables_stay_and_are_those_of_the_checkpoint() -> None:
    net = nnx_net(normalised=True)
    net.eval()
    other = nnx.clone(net)
    other.layers[1].mean[...] = jnp.full(3, 0.5)
    checkpoints = checkpoints_of(net, [net, other], "cross_entropy")
    assert len(jax.tree.leaves(checkpoints.params[0])) == 6
    assert len(jax.tree.leaves(checkpoints.others[0])) == 2
    batch = batch_of(net, (X, LABELS))[0]
    found = [checkpoints.loss(*pair, batch) for pair in zip(*checkpoints[1:], strict=True)]
    for loss, module in zip(found, (net, other), strict=True):
        logits = jax.nn.log_softmax(module(jnp.asarray(X, jnp.float32)))
        np.testing.assert_allclose(loss, -logits[np.arange(6), LABELS], rtol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01


class LinenBatchNorm(linen.Module):
    """Another collection than params."""

    @linen.compact
    def __call__(self, x):
        return linen.BatchNorm(use_running_average=True)(x)


def test_collections_of_a_linen_module_stay() -> None:
    variables = LinenBatchNorm().init(jax.random.key(0), X)
    checkpoints = checkpoints_of(LinenBatchNorm(), variables, "gaussian")
    assert set(checkpoints.others[0]) == {"batch_stats"}
    values(LinenBatchNorm(), variables, (X, X), "gaussian")


def mean_loss(params, batch):
    return jnp.mean(function(params, batch))


def coupled_loss(params, batch):
    return jnp.broadcast_to(mean_loss(params, batch), len(batch[0]))


def column_loss(params, batch):
    return function(params, batch)[:, None]


def nan_loss(params, batch):
    return jnp.where(batch[1] == 2, jnp.nan, function(params, batch))


DROPPING = nnx.Sequential(nnx.Linear(2, 1, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("model", "params", "data", "loss", "message"),
    [
        (mean_loss, PARAMS, (X, LABELS), None, "one number for a batch: must return one per datum"),
        (coupled_loss, PARAMS, (X, LABELS), None, "depends on the others of its batch"),
        (column_loss, PARAMS, (X, LABELS), None, r"shape \(6, 1\): must return one number per"),
        (nan_loss, PARAMS, (X, LABELS), None, r"loss of datum 1 is nan at params\[0\]"),
        (nnx_net(normalised=True), None, (X, LABELS), "cross_entropy", r"module.eval\(\)"),
        (nnx.Dropout(0.5, rngs=nnx.Rngs(0)), None, (X, X), "gaussian", "hold at least one array"),
        (DROPPING, None, (X, Y), "gaussian", "or on chance"),
        (LinenNet(), PARAMS, (X, LABELS), None, "loss = None: a module needs 'cross_entropy'"),
        (LinenNet(), PARAMS, (X, LABELS), "mse", "loss = 'mse': a module needs"),
        (function, PARAMS, (X, LABELS), "gaussian", "loss is for modules"),
        (LinenNet, PARAMS, (X, LABELS), "gaussian", "model_or_loss = .*LinenNet'>: must be"),
        (3, PARAMS, (X, LABELS), None, "model_or_loss = 3: must be"),
        (LinenNet(), None, (X, LABELS), "gaussian", r"params\[0\] is a NoneType: must be"),
        (nnx_net(), 3, (X, LABELS), "gaussian", r"params\[0\] is a int: must be a state"),
        (nnx_net(), {"a": X}, (X, LABELS), "gaussian", r"params\[0\] has a, which the nnx module"),
        (function, [], (X, LABELS), None, r"params = \[\]: must be at least one"),
        (function, [X, X[:3]], (X, LABELS), None, "a list is a list of checkpoints"),
        (function, {"a": LABELS}, (X, LABELS), None, r"params\['a'\] is int32: must be floats"),
        (function, {}, (X, LABELS), None, "params: must hold at least one array"),
        (LinenNet(), PARAMS, X, "gaussian", r"data is a ndarray: must be a pair"),
        (LinenNet(), PARAMS, (X, LABELS[:4]), "gaussian", "arrays have 4 and 6 rows; must all"),
        (LinenNet(), PARAMS, (X[:2], LABELS[:2]), "gaussian", "have 2 rows; must .* least 3"),
        (LinenNet(), PARAMS, (X, np.array(list("abcdef"))), "gaussian", "array 1 is <U1; must be"),
        (LinenNet(), PARAMS, (X, 1j * Y), "gaussian", "array 1 is complex128; must be real"),
        (LinenNet(), PARAMS, (X, LABELS + 1), "cross_entropy", "targets hold 3: .* from 0 to 2"),
        (LinenNet(), PARAMS, (X, LABELS / 2), "cross_entropy", "targets hold 0.5: must be whole"),
        (LinenNet(), PARAMS, (X, X), "cross_entropy", r"takes outputs \[batch, class\]"),
        (LinenNet(), PARAMS, (X, X), "gaussian", r"of one shape, not \(6, 3\) and \(6, 2\)"),
    ],
)  # fmt: skip
def test_refusals(model, params, data, loss, message) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        values(model, params, data, loss)
    assert "\n" not in str(refusal.value)


def test_states_that_follow_the_training_are_refused() -> None:
    net = nnx_net()
    states = [nnx.state(net)]
    net.layers[0].kernel[...] += 1.0
    states.append(nnx.state(net))
    with pytest.raises(ValueError, match=re.escape("params[0] and params[1] are the same")):
        checkpoints_of(net, states, "gaussian")
    with pytest.raises(ValueError, match=re.escape("params[0] and params[2] are the same")):
        checkpoints_of(net, [net, nnx.clone(net), net], "gaussian")
    clones = [nnx.clone(net)]
    net.layers[0].kernel[...] += 1.0
    checkpoints_of(net, [*clones, nnx.clone(net)], "gaussian")


def test_masks() -> None:
    params = checkpoints_of(function, PARAMS, None).params[0]
    assert mask_of(None, params).all()
    first = mask_of({"Dense_0": True, "Dense_1": False}, params)
    assert (first.sum(), len(first)) == (9, 21)
    column = np.array([[True, False, False]] * 2)
    part = mask_of({"Dense_0": {"kernel": column, "bias": False}, "Dense_1": False}, params)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    np.testing.assert_array_equal(flat[part], np.float32(PARAMS["Dense_0"]["kernel"][:, 0]))
    state = nnx.state(nnx_net(), nnx.Param)
    net = checkpoints_of(nnx_net(), state, "gaussian").params[0]
    assert mask_of(jax.tree.map(lambda _: True, state), net).all()
    for mask, message in (
        (False, "samples no weight"),
        ({"Dense_0": True}, "structure of the weights"),
        ({"Dense_0": 1, "Dense_1": False}, "must be True, False or an array"),
        ({"Dense_0": np.ones(2, bool), "Dense_1": False}, r"of shape \(2,\): must be True"),
    ):
        with pytest.raises(ValueError, match=message):
            mask_of(mask, params)
