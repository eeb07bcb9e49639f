"""ReLU nets of one hidden layer, trained by Adam on the same designs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from slt_jax.models.shallow_net import ShallowNet

PARAMETERS_PER_UNIT = 3


class Trained(NamedTuple):
    """The test errors ‖f̂ − f‖² [R] of R nets and the mean squares of their residuals [R]."""

    test_error: Array
    training_error: Array


def train(
    width: int, keys: Array, x: Array, y: Array, test_x: Array, test_f: Array, steps: int,
    learning_rate: Array,
) -> Trained:  # fmt: skip
    """Train nets of H units, one for each key, on its data x, y [R, n], and test on x, f [Q].

    Input weights and biases begin as N(0, 1) and output weights as N(0, 1/H).
    """
    model = ShallowNet(hidden_dim=width, activation="relu", biases=True, uniform_input=True)
    return _train(model, keys, x, y, test_x, test_f, jnp.asarray(steps), learning_rate)


def _outputs(model: ShallowNet, params: dict[str, Array], x: Array) -> Array:
    """Evaluate the net at inputs [m] as one array operation over units and data."""
    hidden = model.activate(params["b"] * x[None, :] + params["c"][:, None])
    return (params["a"] @ hidden)[0]


@jax.jit(static_argnames="model")
def _train(
    model: ShallowNet, keys: Array, x: Array, y: Array, test_x: Array, test_f: Array, steps: Array,
    learning_rate: Array,
) -> Trained:  # fmt: skip
    def loss(params: dict[str, Array], x: Array, y: Array) -> Array:
        return jnp.mean((_outputs(model, params, x) - y) ** 2)

    def one(key: Array, x: Array, y: Array) -> Trained:
        names = sorted(model.priors())
        params = {
            name: model.priors()[name].sample(part)
            for name, part in zip(names, jax.random.split(key, len(names)), strict=True)
        }
        params["a"] = params["a"] / jnp.sqrt(model.hidden_dim)
        solver = optax.scale_by_adam()

        def step(i: Array, carry: tuple[dict[str, Array], optax.OptState]) -> tuple[
            dict[str, Array], optax.OptState
        ]:  # fmt: skip
            params, state = carry
            updates, state = solver.update(jax.grad(loss)(params, x, y), state)
            rate = learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * i / steps))
            return jax.tree.map(lambda w, u: w - rate * u, params, updates), state

        params, _ = jax.lax.fori_loop(0, steps, step, (params, solver.init(params)))
        test = jnp.mean((_outputs(model, params, test_x) - test_f) ** 2)
        return Trained(test, loss(params, x, y))

    return jax.vmap(one)(keys, x, y)
