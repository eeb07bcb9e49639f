"""λ̂ of a small net along its training on scikit-learn's digits, as a user would ask for it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax import Array

from slt_jax.curves.digits import DigitNet, shuffled_digits
from slt_jax.inference.local_coefficient import (
    LocalLearningCoefficient,
    local_learning_coefficient,
)

from . import Config

LEARNING_RATE = 0.003
# The default's draws are 100 of 20 steps after 1000: these keep the proportion.
DRAWS = 50


def losses(net: DigitNet, weights: Any, images: Array, labels: Array) -> Array:
    """Return the cross-entropy of each image, shape [n]."""
    logits: Any = net.apply(weights, images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


@functools.partial(jax.jit, static_argnums=0)
def _trained(
    net: DigitNet, weights: Any, state: Any, images: Array, labels: Array, steps: Array
) -> Any:
    optimiser = optax.adam(LEARNING_RATE)

    def step(_: int, carry: Any) -> Any:
        weights, state = carry
        slope = jax.grad(lambda w: jnp.mean(losses(net, w, images, labels)))(weights)
        updates, state = optimiser.update(slope, state)
        return optax.apply_updates(weights, updates), state

    return jax.lax.fori_loop(0, steps, step, (weights, state))


def along_training(config: Config, key: Array) -> xr.Dataset:
    """Train by Adam on all images and estimate λ̂ at each checkpoint, [dynamics, training_step].

    ``train_loss`` and ``test_error`` [training_step] are nats per image and the share of other
    images that is misclassified, NaN without others; λ̂ and its error are infinite where w* is no
    minimum, and ``digit_converged`` says which of them stand.
    """
    data_key, init_key, *run_keys = jax.random.split(key, 2 + len(config.dynamics))
    images, labels = shuffled_digits(data_key)
    (x, other_x), (y, other_y) = (jnp.split(each, [config.digits]) for each in (images, labels))
    net = DigitNet(config.hidden)
    weights = net.init(init_key, x[:1])
    state = optax.adam(LEARNING_RATE).init(weights)
    checkpoints, loss, error, done = [], [], [], 0
    for steps in config.training_steps:
        weights, state = _trained(net, weights, state, x, y, jnp.asarray(steps - done))
        done = steps
        checkpoints.append(weights)
        loss.append(float(jnp.mean(losses(net, weights, x, y))))
        logits: Any = net.apply(weights, other_x)
        wrong = jnp.argmax(logits, axis=1) != other_y
        error.append(float(jnp.mean(wrong)) if len(other_y) else np.nan)
    found = [
        local_learning_coefficient(
            net, checkpoints, (x, y), loss="cross_entropy", key=run_key, dynamics=dynamics,
            num_warmup=config.digit_warmup, num_draws=DRAWS,
            thinning=max(1, 2 * config.digit_warmup // DRAWS),
        )
        for dynamics, run_key in zip(config.dynamics, run_keys, strict=True)
    ]  # fmt: skip
    return _tabulated(config, found, loss, error)


def _tabulated(
    config: Config, found: list[LocalLearningCoefficient], loss: list[float], error: list[float]
) -> xr.Dataset:
    axes = ("dynamics", "training_step")

    def of(name: str) -> tuple[tuple[str, str], np.ndarray]:
        return axes, np.stack([each.table[name].to_numpy() for each in found])

    return xr.Dataset(
        {
            "digit_coefficient": of("local_learning_coefficient"),
            "digit_coefficient_se": of("local_learning_coefficient_se"),
            "digit_converged": of("converged"),
            "digit_minimum": of("is_minimum"),
            "digit_reason": of("reason"),
            "digit_r_hat": of("r_hat"),
            "digit_fall": of("fall"),
            "digit_dimension": found[0].dimension,
            "train_loss": ("training_step", loss),
            "test_error": ("training_step", error),
        },
        coords={"dynamics": list(config.dynamics), "training_step": list(config.training_steps)},
    )
