"""Nets that learn handwritten digits with true and with random labels, and λ̂ of what they learn."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax import Array

from slt_jax.curves.digits import CLASSES, DigitNet, shuffled_digits
from slt_jax.estimators.local import MIN_ACCEPTANCE
from slt_jax.inference.local_coefficient import local_learning_coefficient

from . import Config

LABELS = ("true", "random")


class Digits(NamedTuple):
    """Images [n, 64] in [−½, ½] and labels to learn from, and those of the test.

    ``labels`` [n, 1 + trainings] are the true ones and random ones for each training.
    """

    images: Array
    labels: Array
    test_images: Array
    test_labels: Array


def logits(width: int, weights: Any, images: Array) -> Array:
    """Return the ten logits of each image, shape [n, 10]."""
    outputs: Any = DigitNet(width).apply(weights, images)
    return outputs


def digits(config: Config, key: Array) -> Digits:
    """Load scikit-learn's digits, split at random, and draw random labels."""
    order_key, label_key = jax.random.split(key)
    images, labels = shuffled_digits(order_key)
    n = config.train_size
    drawn = jax.random.randint(label_key, (n, config.trainings), 0, CLASSES)
    return Digits(
        images[:n], jnp.concatenate([labels[:n, None], drawn], axis=1), images[n:], labels[n:]
    )


def losses(width: int, smoothing: float, params: Any, batch: tuple[Array, Array]) -> Array:
    """Return the cross-entropy of each datum, shape [n], with a share of its label spread evenly.

    ``params`` are the weights and the column of the labels, as a number.
    """
    weights, column = params
    images, labels = batch
    target = jax.nn.one_hot(labels[:, column.astype(int)], CLASSES)
    target = (1 - smoothing) * target + smoothing / CLASSES
    return -jnp.sum(target * jax.nn.log_softmax(logits(width, weights, images)), axis=1)


@functools.partial(jax.jit, static_argnames=("width", "steps"))
def trained(
    width: int, steps: int, settings: Array, keys: Array, columns: Array, data: Digits
) -> Any:
    """Train nets from ``keys`` on the ``columns`` of the labels, by Adam on all data.

    ``settings`` are the smoothing and the learning rate.
    """
    smoothing, rate = settings
    batch = (data.images, data.labels)
    optimiser = optax.adam(lambda step: rate * (1 + jnp.cos(jnp.pi * step / steps)) / 2)

    def train(key: Array, column: Array) -> Any:
        weights = DigitNet(width).init(key, data.images[:1])

        def step(state: Any, _: None) -> tuple[Any, None]:
            weights, memory = state
            slope = jax.grad(lambda w: jnp.mean(losses(width, smoothing, (w, column), batch)))
            change, memory = optimiser.update(slope(weights), memory, weights)
            return (optax.apply_updates(weights, change), memory), None

        state = (weights, optimiser.init(weights))
        (weights, _), _ = jax.lax.scan(step, state, None, length=steps)
        return weights

    return jax.vmap(train)(keys, columns)


def learnt_digits(config: Config, key: Array, width: int) -> xr.Dataset:
    """Train nets of one width with true and random labels, and estimate λ̂ around them.

    ``train_error`` and ``test_error`` [label, training] are shares of digits, the latter of true
    labels; ``train_loss`` is above that of the best possible outputs. ``lambda_hat`` [label,
    training] is that of the range of γ where it has one value, with its error, ``settled`` where
    there is one, else with the ``reason``; ``lambda_by_gamma`` [label, training, gamma] is that at
    each γ, ``settled_by_gamma`` where its chains are.
    """
    data_key, train_key, chain_key = jax.random.split(key, 3)
    data = digits(config, data_key)
    count = config.trainings
    columns = jnp.concatenate([jnp.zeros(count), jnp.arange(1.0, count + 1)])
    settings = jnp.asarray([config.smoothing, config.learning_rate])
    keys = jax.random.split(train_key, 2 * count)
    weights = trained(width, config.training_steps, settings, keys, columns, data)
    loss = functools.partial(losses, width, config.smoothing)
    checkpoints = [
        (jax.tree.map(lambda leaf, i=i: leaf[i], weights), columns[i]) for i in range(2 * count)
    ]
    batch = (data.images, data.labels)
    found = local_learning_coefficient(
        loss, checkpoints, batch, key=chain_key, mask=(True, False), gamma=config.gammas,
        num_chains=config.chains, num_warmup=config.warmup, num_draws=config.chain_draws,
        thinning=config.thinning,
    )  # fmt: skip
    by_gamma, has_settled = _at_each_gamma(found.scan)
    table = found.table
    floor = _least_loss(config.smoothing)
    errors = [_errors(width, weights, column, data) for weights, column in checkpoints]

    def shaped(values: Any) -> np.ndarray:
        array = np.asarray(values)
        return array.reshape(len(LABELS), count, *array.shape[1:])

    axes = ("label", "training")
    return xr.Dataset(
        {
            "train_error": (axes, shaped([train for train, _ in errors])),
            "test_error": (axes, shaped([test for _, test in errors])),
            "train_loss": (axes, shaped(table["loss"] - floor)),
            "lambda_hat": (axes, shaped(table["local_learning_coefficient"])),
            "lambda_hat_se": (axes, shaped(table["local_learning_coefficient_se"])),
            "settled": (axes, shaped(table["converged"])),
            "reason": (axes, shaped(table["reason"].to_numpy().astype(object))),
            "lambda_by_gamma": (
                (*axes, "gamma"), shaped(by_gamma),
            ),
            "settled_by_gamma": ((*axes, "gamma"), shaped(has_settled)),
            "num_weights": found.dimension,
        },
        coords={
            "label": list(LABELS), "training": np.arange(count), "gamma": list(config.gammas),
        },
    )  # fmt: skip


def _at_each_gamma(scan: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Take λ̂ [checkpoint, gamma] of the longest step that MALA would accept, and if it settled.

    Its chains mix best, and its bias is small.
    """
    axes = ("checkpoint", "localisation", "step")
    accepted = scan["acceptance"].transpose(*axes).to_numpy() >= MIN_ACCEPTANCE
    last = accepted.shape[-1] - 1 - accepted[..., ::-1].argmax(axis=-1)
    taken = np.where(accepted.any(axis=-1), last, 0)[..., None]
    value, settled = (
        np.take_along_axis(scan[name].transpose(*axes).to_numpy(), taken, axis=-1)[..., 0]
        for name in ("local_learning_coefficient", "settled")
    )
    return value, settled & accepted.any(axis=-1)


def _least_loss(smoothing: float) -> float:
    """Return the entropy of a label with a share of it spread over all classes, in nats."""
    other = smoothing / CLASSES
    top = 1 - smoothing + other
    return float(-top * np.log(top) - (CLASSES - 1) * other * np.log(other))


def _errors(width: int, weights: Any, column: Array, data: Digits) -> tuple[float, float]:
    """Return the shares of digits that a net gets wrong, of those it has learnt and of the test."""

    def wrong(images: Array, labels: Array) -> float:
        guess = jnp.argmax(logits(width, weights, images), axis=1)
        return float(jnp.mean(guess != labels))

    learnt = data.labels[:, int(column)]
    return wrong(data.images, learnt), wrong(data.test_images, data.test_labels)
