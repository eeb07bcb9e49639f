"""Models: the density of one datum and the prior of its parameters.

A model writes the likelihood of ONE datum, as a paper does; ``vmap`` goes above it. Sums over data
are *differences to the optimum* w₀, so that totals of a million data keep their digits in float32:

    Σ_i a_i (ℓ_i(w) − ℓ_i(w₀)),      ℓ_i(w) = log p(y_i | x_i, w),

with one weight a_i per datum (β for training data, 0 for absent ones).
"""

from __future__ import annotations

import abc
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution, constraints

from slt_jax.priors import coordinate_shapes, visited
from slt_jax.statistics import (
    Data,
    Params,
    RegressionStatistics,
    Statistics,
    WeightedData,
    quadratic_form,
)
from slt_jax.validation import Positive, check_fields, refuse_first

if TYPE_CHECKING:
    from slt_jax.oracles.interpolation import Interpolation
    from slt_jax.oracles.structures import Structure

SUMMED_AT_ONCE = 16_384


class Support(NamedTuple):
    """The values that the entries of x and y may have: constraints of numpyro.

    A constraint of several entries at once, as the simplex, is one of the last axes.
    """

    x: Any = constraints.real
    y: Any = constraints.real


@dataclass(frozen=True, kw_only=True)
class Model(abc.ABC):
    """A parametric conditional density p(y | x, w) with its prior φ(w).

    Subclasses are frozen dataclasses whose fields are hyperparameters, so that a model is a
    hashable constant to a compiled function while data, n and β are arguments of it. Raises
    ValueError for a field that is not of its type or outside the bounds that its annotation
    declares in the terms of ``slt_jax/validation.py``.

    >>> from dataclasses import dataclass
    >>> import jax, numpyro.distributions as dist
    >>> from slt_jax import Model
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Location(Model):  # y ~ Cauchy(w), no input
    ...     def priors(self):
    ...         return {"w": dist.Normal()}
    ...     def log_likelihood(self, params, x, y):
    ...         return dist.Cauchy(params["w"]).log_prob(y)
    ...     def simulate(self, params, key):
    ...         return jax.numpy.zeros(0), dist.Cauchy(params["w"]).sample(key)
    >>> Location().dimension
    1
    """

    statistics_are_additive: ClassVar[bool] = False

    @property
    def knows_shapes(self) -> bool:
        """True if ``example_datum`` says which shapes x and y have; else any data say it."""
        return True

    def __post_init__(self) -> None:
        check_fields(self)

    @abc.abstractmethod
    def priors(self) -> dict[str, Distribution]:
        """Return the priors of the parameter arrays by name: any continuous distributions.

        One that depends on other parameters is a function of those that are named before it:
        ``{"tau": dist.HalfNormal(), "w": lambda params: dist.Normal(0.0, params["tau"])}``.
        """

    @abc.abstractmethod
    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        """ℓ(w) = log p(y | x, w) of one datum, in nats."""

    def log_likelihoods(self, params: Params, data: Data) -> Array:
        """ℓ_i(w) [n] of all data, in nats: ``log_likelihood`` of each, which others must equal."""
        return jax.vmap(self.log_likelihood, (None, 0, 0))(params, *data)

    @abc.abstractmethod
    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        """Draw one datum (x, y) from q(x) p(y | x, w)."""

    def example_datum(self, params: Params, key: Array) -> tuple[Array, Array]:
        """Return one datum (x, y) of the shapes that all data have, whatever its values."""
        return self.simulate(params, key)

    def looking_at(self, data: Data) -> Model:
        """Return the model that knows the first of some data, where it has to know one."""
        del data
        return self

    def support(self) -> Support:
        """Return the values that x and y may take; other data are refused.

        The default is all real numbers. A model that would read a datum as another one, or has no
        density for it, says so here.
        """
        return Support()

    def check_support(self, data: Data) -> None:
        """Raise ValueError for data outside the support, naming the first such entry.

        ``data`` are finite NumPy arrays of the shapes that the model simulates, with axis n first.
        """
        for name, part, constraint in zip(data._fields, data, self.support(), strict=True):
            if constraint is not constraints.real:
                values = np.asarray(part)
                refuse_first(name, values, constraint(values), f"allowed: {constraint}")

    def exact(self, optimum: Params) -> Structure[Any] | None:
        """The structure by which an oracle integrates this model, or None if it has none.

        Which of the methods below, as functions of the latent, the model has to have depends on
        the structure.
        """
        del optimum
        return None

    def from_latent(self, latent: Array) -> Params:
        """The parameters at a latent [l], for ``Direct``."""
        raise NotImplementedError(f"{type(self).__name__} has no parameters of a latent")

    def entropy(self, params: Params) -> Array | None:
        """S = −E log p(y | x, w) under q(x) p(y | x, w), nats per datum; None where unknown."""
        del params
        return None

    def sample_prior(self, key: Array) -> dict[str, Array]:
        """Draw all parameters from the prior."""
        priors = self.priors()
        keys = iter(jax.random.split(key, len(priors)))
        return visited(priors, lambda _, prior: prior.sample(next(keys)))

    def log_prior(self, params: Params) -> Array:
        """log φ(w), normalised, in nats: the density of the parameters themselves."""
        terms = []

        def value_of(name: str, prior: Distribution) -> Array:
            terms.append(jnp.sum(prior.log_prob(params[name])))
            return params[name]

        visited(self.priors(), value_of)
        return jnp.sum(jnp.stack(terms))

    @property
    def dimension(self) -> int:
        """Number of parameters d, in real coordinates: a simplex of k entries has k − 1."""
        return sum(map(math.prod, coordinate_shapes(self.priors()).values()))

    def statistics(self, optimum: Params, data: Data, weights: Array) -> Statistics:
        """Reduce weighted data to all that the likelihood needs; here, to the data themselves."""

        def term(datum: Data) -> Array:
            return self.log_likelihood(optimum, datum.x, datum.y)

        terms = jax.lax.map(term, data, batch_size=SUMMED_AT_ONCE)
        return WeightedData(data, weights, optimum, jnp.sum(weights * terms))

    def log_likelihood_ratio(self, params: Params, statistics: Any) -> Array:
        """Σ_i a_i (ℓ_i(w) − ℓ_i(w₀)) = −n(L_n(w) − L_n(w₀)) at unit weights, in total nats.

        More than SUMMED_AT_ONCE data are summed chunk by chunk, and the values on the way are
        computed again for the gradient, so that the memory of neither grows with n.
        """

        # The terms at w₀ are computed anew in the sampler's precision: rounding that all data
        # share, as of log 2π in float32, is then the same on both sides and cancels.
        def of_part(data: Data, weights: Array) -> Array:
            at_optimum = self.log_likelihoods(statistics.optimum, data)
            gains = self.log_likelihoods(params, data) - at_optimum
            return jnp.sum(weights * gains)

        # Parts are sliced where they lie: data reshaped to chunks would be copied.
        def part(start: Array | int, size: int) -> Array:
            take = functools.partial(
                jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size
            )
            return of_part(*jax.tree.map(take, (statistics.data, statistics.weights)))

        def add(total: Array, start: Array) -> tuple[Array, None]:
            return total + part(start, SUMMED_AT_ONCE), None

        size = len(statistics.weights)
        if size <= SUMMED_AT_ONCE:
            return of_part(statistics.data, statistics.weights)
        beginning = (size - 1) % SUMMED_AT_ONCE + 1
        starts = jnp.arange(beginning, size, SUMMED_AT_ONCE)
        add_again = jax.checkpoint(add, prevent_cse=False)
        return jax.lax.scan(add_again, part(0, beginning), starts)[0]


def class_log_probability(logits: Array, y: Array) -> Array:
    """log softmax_y(logits) of the class y [], a float, and −∞ where that is none of 0 … C − 1."""
    is_class = constraints.integer_interval(0, len(logits) - 1)(y)
    return jnp.where(is_class, jax.nn.log_softmax(logits)[jnp.asarray(y).astype(int)], -jnp.inf)


@dataclass(frozen=True, kw_only=True)
class Regression(Model):
    """y = f(x, w) + N(0, noise² I), with y of shape [q].

    >>> from dataclasses import dataclass
    >>> import jax, numpyro.distributions as dist
    >>> from slt_jax import Regression
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Sine(Regression):
    ...     def priors(self):
    ...         return {"w": dist.Normal()}
    ...     def sample_input(self, key):
    ...         return jax.random.normal(key, ())
    ...     def predict(self, params, x):
    ...         return jax.numpy.sin(params["w"] * x)[None]
    >>> x, y = Sine(noise=0.1).simulate({"w": 2.0}, jax.random.key(0))
    >>> y.shape
    (1,)
    """

    noise: Positive = 1.0

    @abc.abstractmethod
    def predict(self, params: Params, x: Array) -> Array:
        """Regression function f(x, w), shape [q]."""

    @abc.abstractmethod
    def sample_input(self, key: Array) -> Array:
        """Draw x from q(x)."""

    def input_distribution(self) -> Distribution | None:
        """Return q(x) if its components are independent and equal, else None."""
        return None

    def design(self, latent: Array, x: Array) -> Array:
        """The factors [k] of the block at a latent [l] and one x, for ``LinearBlock``."""
        raise NotImplementedError(f"{type(self).__name__} has no design of a latent")

    def design_sums(self, latent: Array, statistics: Any) -> tuple[Array, Array, Array]:
        """Sums over data at a latent, for ``LinearBlock`` of statistics that are not the data.

        Σ a_i d_i d_iᵀ [k, k], Σ a_i d_i y_iᵀ [k, q] and Σ a_i (|y_i|² − |y_i − f(x_i, w₀)|²), with
        d_i the design at x_i.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sums over data")

    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        residual = (y - self.predict(params, x)) / self.noise
        return -0.5 * jnp.sum(residual**2 + jnp.log(2 * jnp.pi * self.noise**2))

    def entropy(self, params: Params) -> Array | None:
        inputs = jax.eval_shape(self.sample_input, jax.random.key(0))
        outputs = jax.eval_shape(self.predict, params, inputs).size
        return 0.5 * outputs * (1 + jnp.log(2 * jnp.pi * self.noise**2))

    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        key_x, key_y = jax.random.split(key)
        x = self.sample_input(key_x)
        mean = self.predict(params, x)
        return x, mean + self.noise * jax.random.normal(key_y, mean.shape, mean.dtype)


@dataclass(frozen=True, kw_only=True)
class FeatureRegression(Regression):
    """f(x, w) = c(w)ᵀφ(x): the cost of a likelihood does not depend on n.

        Σ a_i(ℓ_i(w) − ℓ_i(w₀)) = −(1/2σ²) tr δᵀ(Mδ − 2U),   δ = c(w) − c(w₀)

    with M = Σ a φφᵀ [p, p] and U = Σ a φ(y − f₀)ᵀ [p, q].

    >>> from dataclasses import dataclass
    >>> import jax, numpyro.distributions as dist
    >>> from slt_jax import FeatureRegression
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Cubic(FeatureRegression):  # f(x, w) = w³x
    ...     def priors(self):
    ...         return {"w": dist.Normal()}
    ...     def sample_input(self, key):
    ...         return jax.random.normal(key, (1,))
    ...     def features(self, x):
    ...         return x
    ...     def coefficients(self, params):
    ...         return params["w"].reshape(1, 1) ** 3
    >>> Cubic().predict({"w": jax.numpy.array(2.0)}, jax.numpy.array([0.5])).tolist()
    [4.0]
    """

    statistics_are_additive: ClassVar[bool] = True

    @abc.abstractmethod
    def features(self, x: Array) -> Array:
        """φ(x), shape [p]."""

    @abc.abstractmethod
    def coefficients(self, params: Params) -> Array:
        """c(w), shape [p, q]."""

    def basis(self, latent: Array) -> Array:
        """The matrix [p, k] that multiplies the block at a latent [l], for ``Collapse``."""
        raise NotImplementedError(f"{type(self).__name__} has no basis of a latent")

    def offset(self, latent: Array) -> Array | None:
        """The coefficients [p, q] of a block of zeros at a latent, None where they are zero."""
        del latent
        return None

    def interpolation(self) -> Interpolation | None:
        """Errors of the columns of ``basis`` where the features interpolate; None for no errors."""
        return None

    def predict(self, params: Params, x: Array) -> Array:
        return self.features(x) @ self.coefficients(params)

    def statistics(self, optimum: Params, data: Data, weights: Array) -> RegressionStatistics:
        features = jax.vmap(self.features)(data.x)
        residuals = data.y - jax.vmap(self.predict, (None, 0))(optimum, data.x)
        weighted = weights[:, None] * features
        terms = jax.vmap(self.log_likelihood, (None, 0, 0))(optimum, data.x, data.y)
        return RegressionStatistics(
            gram=weighted.T @ features,
            cross=weighted.T @ residuals,
            optimum=self.coefficients(optimum),
            log_likelihood_at_optimum=jnp.sum(weights * terms),
        )

    def log_likelihood_ratio(self, params: Params, statistics: RegressionStatistics) -> Array:
        delta = self.coefficients(params) - statistics.optimum
        cross = statistics.cross
        if delta.shape[1] == 1:  # a trailing axis of length one is slow in a batch
            delta, cross = delta[:, 0], cross[:, 0]
        return -0.5 * quadratic_form(delta, statistics.gram, cross) / self.noise**2
