"""Any flax.linen module as a model: a regression function, or the logits of classes."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from flax import linen
from jax import Array
from numpyro.distributions import constraints

from slt_jax.model import Model, Regression, Support, class_log_probability
from slt_jax.statistics import Params
from slt_jax.validation import Count, Positive


@dataclass(frozen=True, kw_only=True)
class FlaxModel(Model):
    """The common part of models of a module: x ~ N(0, I), and all weights N(0, prior_scale²).

    A parameter is named by its path, as "Dense_0/kernel". The module is called on one input of
    ``input_shape``, without a batch axis. ``slt_jax.adapters.priors.with_priors`` sets other
    priors, and a subclass with its own ``sample_input`` another q(x). Raises ValueError for a
    module that cannot be hashed (one that holds a list; use a tuple), for one with variables that
    are not parameters, such as running means, and for one whose output is not a vector.
    """

    module: linen.Module
    input_shape: tuple[Count, ...]
    prior_scale: Positive = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            hash(self.module)
        except TypeError as error:
            raise ValueError(f"module = {self.module}: must be hashable") from error
        others = sorted(set(self._variables()) - {"params"})
        if others:
            raise ValueError(f"module has variables in {', '.join(others)}; allowed: params")
        if len(self._output_shape()) != 1:
            raise ValueError(f"module returns shape {self._output_shape()}; allowed: one axis")

    def priors(self) -> dict[str, dist.Distribution]:
        weight = dist.Normal(0.0, self.prior_scale)
        leaves = jax.tree.leaves_with_path(self._variables()["params"])
        return {_name(path): weight.expand(leaf.shape) for path, leaf in leaves}

    def sample_input(self, key: Array) -> Array:
        """Draw x from q(x)."""
        return jax.random.normal(key, self.input_shape)

    def input_distribution(self) -> dist.Distribution:
        """Return q(x)."""
        return dist.Normal(0.0, 1.0).expand(self.input_shape)

    def output(self, params: Params, x: Array) -> Array:
        """Apply the module to one input."""
        nested = jax.tree.map_with_path(
            lambda path, _: params[_name(path)], self._variables()["params"]
        )
        return jnp.asarray(self.module.apply({"params": nested}, x))

    def _output_shape(self) -> tuple[int, ...]:
        def output(key: Array) -> Array:
            return self.output(self.sample_prior(key), self.sample_input(key))

        return jax.eval_shape(output, jax.random.key(0)).shape

    def _variables(self) -> Any:
        def variables(key: Array) -> Any:
            return self.module.init(key, jnp.zeros(self.input_shape))

        return jax.eval_shape(variables, jax.random.key(0))


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


@dataclass(frozen=True, kw_only=True)
class FlaxRegression(FlaxModel, Regression):
    """y = module(x) + N(0, noise² I); the module's output has shape [q]."""

    def predict(self, params: Params, x: Array) -> Array:
        return self.output(params, x)


@dataclass(frozen=True, kw_only=True)
class FlaxClassification(FlaxModel):
    """P(y = c | x) = softmax_c(module(x)) with logits [C]; y [] is the class as a float."""

    def support(self) -> Support:
        return Support(y=constraints.integer_interval(0, self._output_shape()[0] - 1))

    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        return class_log_probability(self.output(params, x), y)

    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        key_x, key_y = jax.random.split(key)
        x = self.sample_input(key_x)
        return x, jax.random.categorical(key_y, self.output(params, x)).astype(float)
