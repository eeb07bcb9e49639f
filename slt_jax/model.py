"""The learning problem: truth, model, prior, and what each tells samplers and oracles.

A model writes the likelihood of ONE datum, as a paper does; ``vmap`` goes above it. Everything
summed over data is a *difference to the optimum* w₀, so that totals of a million data keep their
digits in float32:

    Σ_i a_i (ℓ_i(w) − ℓ_i(w₀)),      ℓ_i(w) = log p(y_i | x_i, w),

with one weight a_i per datum (β for training data, 0 for absent ones).
"""

from __future__ import annotations

import abc
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution, constraints

from slt_jax.structures import Structure
from slt_jax.theory import Theory
from slt_jax.validation import Positive, check_fields, refuse_first

Params = Mapping[str, Any]

SUMMED_AT_ONCE = 16_384


class Data(NamedTuple):
    """Observations: ``x`` of shape [n, ...] and ``y`` of shape [n, ...]."""

    x: Array
    y: Array


class Support(NamedTuple):
    """The values that the entries of x and y may have: constraints of numpyro.

    A constraint of several entries at once, as the simplex, is one of the last axes.
    """

    x: Any = constraints.real
    y: Any = constraints.real


class Summary(Protocol):
    """What a model's likelihood needs of weighted data: a tree of arrays that can be scaled.

    ``reference`` is Σ_i a_i ℓ_i(w₀) in total nats, −nL_n(w₀) when every weight is one.
    """

    @property
    def reference(self) -> Array: ...

    def scaled(self, beta: Array | float) -> Self:
        """The summary of the same data with every weight multiplied by β."""
        ...


class DataSummary(NamedTuple):
    """Weighted data kept as they are, for models without sufficient statistics.

    ``weights`` [n] is 0 for padding; ``origin`` = w₀; ``reference`` = Σ_i a_i ℓ_i(w₀) in total
    nats.
    """

    data: Data
    weights: Array
    origin: Params
    reference: Array

    def scaled(self, beta: Array | float) -> DataSummary:
        """Every weight multiplied by β."""
        return self._replace(weights=beta * self.weights, reference=beta * self.reference)

    @property
    def total_weight(self) -> Array:
        """Σ_i a_i, the number of data when every weight is one."""
        return jnp.sum(self.weights)


class FeatureSummary(NamedTuple):
    """Sufficient statistics of Gaussian regression on p features with q outputs, centred on w₀.

    ``gram`` [p, p] = Σ a_i φ_i φ_iᵀ; ``cross`` [p, q] = Σ a_i φ_i (y_i − f(x_i, w₀))ᵀ;
    ``origin`` [p, q] = c(w₀); ``reference`` = Σ a_i ℓ_i(w₀) in total nats.
    """

    gram: Array
    cross: Array
    origin: Array
    reference: Array

    def scaled(self, beta: Array | float) -> FeatureSummary:
        """Every sum over data multiplied by β."""
        return self._replace(
            gram=beta * self.gram, cross=beta * self.cross, reference=beta * self.reference
        )


@dataclass(frozen=True, kw_only=True)
class Model(abc.ABC):
    """A parametric conditional density p(y | x, w) with its prior φ(w).

    Subclasses are frozen dataclasses whose fields are hyperparameters, so that a model is a
    hashable constant to a compiled function while data, n and β are arguments of it. Raises
    ValueError for a field that is not of its type or outside the bounds that its annotation
    declares in the terms of ``slt_jax/validation.py``.
    """

    summary_is_additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)

    @abc.abstractmethod
    def priors(self) -> dict[str, Distribution]:
        """Independent prior of each named parameter array, supported on the whole real space."""

    @abc.abstractmethod
    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        """ℓ(w) = log p(y | x, w) of one datum, in nats."""

    @abc.abstractmethod
    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        """Draw one datum (x, y) from q(x) p(y | x, w)."""

    def support(self) -> Support:
        """The values that x and y may take, all real numbers by default: other data are refused.

        A model that would read a datum as another one, or has no density for it, says so here.
        """
        return Support()

    def check_support(self, data: Data) -> None:
        """Raise ValueError for data outside the support, with the first entry that is.

        ``data`` are finite NumPy arrays of the shapes that the model simulates, with axis n first.
        """
        for name, part, constraint in zip(data._fields, data, self.support(), strict=True):
            if constraint is not constraints.real:
                values = np.asarray(part)
                refuse_first(name, values, constraint(values), f"allowed: {constraint}")

    def exact(self, optimum: Params) -> Structure | None:
        """The structure by which an oracle integrates this model, or None if it has none."""
        del optimum
        return None

    def entropy(self, params: Params) -> Array | None:
        """S = −E log p(y | x, w) under q(x) p(y | x, w), nats per datum; None where unknown."""
        del params
        return None

    def sample_prior(self, key: Array) -> dict[str, Array]:
        """One draw of all parameters from the prior."""
        priors = self.priors()
        keys = jax.random.split(key, len(priors))
        return {
            name: prior.sample(k) for (name, prior), k in zip(priors.items(), keys, strict=True)
        }

    def log_prior(self, params: Params) -> Array:
        """log φ(w), normalised, in nats."""
        return jnp.sum(
            jnp.stack(
                [jnp.sum(prior.log_prob(params[name])) for name, prior in self.priors().items()]
            )
        )

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return sum(int(jnp.prod(jnp.array(p.shape()))) for p in self.priors().values())

    def summarise(self, optimum: Params, data: Data, weights: Array) -> Summary:
        """What the likelihood needs of weighted data; here the data themselves."""

        def term(datum: Data) -> Array:
            return self.log_likelihood(optimum, datum.x, datum.y)

        terms = jax.lax.map(term, data, batch_size=SUMMED_AT_ONCE)
        return DataSummary(data, weights, optimum, jnp.sum(weights * terms))

    def log_likelihood_ratio(self, params: Params, summary: Any) -> Array:
        """Σ_i a_i (ℓ_i(w) − ℓ_i(w₀)) = −n(L_n(w) − L_n(w₀)) at unit weights, in total nats.

        More than SUMMED_AT_ONCE data are summed chunk by chunk, and the values on the way are
        computed again for the gradient, so that the memory of neither grows with n.
        """
        over_data = jax.vmap(self.log_likelihood, (None, 0, 0))

        # The terms at w₀ are computed anew in the sampler's precision: rounding that all data
        # share, as of log 2π in float32, is then the same on both sides and cancels.
        def of_part(data: Data, weights: Array) -> Array:
            gains = over_data(params, data.x, data.y) - over_data(summary.origin, data.x, data.y)
            return jnp.sum(weights * gains)

        # Parts are sliced where they lie: data reshaped to chunks would be copied.
        def part(start: Array | int, size: int) -> Array:
            take = functools.partial(
                jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size
            )
            return of_part(*jax.tree.map(take, (summary.data, summary.weights)))

        def add(total: Array, start: Array) -> tuple[Array, None]:
            return total + part(start, SUMMED_AT_ONCE), None

        size = len(summary.weights)
        if size <= SUMMED_AT_ONCE:
            return of_part(summary.data, summary.weights)
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
    """y = f(x, w) + N(0, noise² I), with y of shape [q]."""

    noise: Positive = 1.0

    @abc.abstractmethod
    def predict(self, params: Params, x: Array) -> Array:
        """Regression function f(x, w), shape [q]."""

    @abc.abstractmethod
    def sample_input(self, key: Array) -> Array:
        """One draw of x from q(x)."""

    def input_distribution(self) -> Distribution | None:
        """q(x) with its independent and equal components, or None if it has no such form."""
        return None

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
    """

    summary_is_additive: ClassVar[bool] = True

    @abc.abstractmethod
    def features(self, x: Array) -> Array:
        """φ(x), shape [p]."""

    @abc.abstractmethod
    def coefficients(self, params: Params) -> Array:
        """c(w), shape [p, q]."""

    def predict(self, params: Params, x: Array) -> Array:
        return self.features(x) @ self.coefficients(params)

    def summarise(self, optimum: Params, data: Data, weights: Array) -> FeatureSummary:
        features = jax.vmap(self.features)(data.x)
        residuals = data.y - jax.vmap(self.predict, (None, 0))(optimum, data.x)
        weighted = weights[:, None] * features
        terms = jax.vmap(self.log_likelihood, (None, 0, 0))(optimum, data.x, data.y)
        return FeatureSummary(
            gram=weighted.T @ features,
            cross=weighted.T @ residuals,
            origin=self.coefficients(optimum),
            reference=jnp.sum(weights * terms),
        )

    def log_likelihood_ratio(self, params: Params, summary: FeatureSummary) -> Array:
        delta = self.coefficients(params) - summary.origin
        # As sums of products rather than matrix products: batches of tiny ones run faster fused.
        curved = jnp.einsum("pr,rq->pq", summary.gram, delta)
        total = jnp.einsum("pq,pq->", delta, curved - 2 * summary.cross)
        return -0.5 * total / self.noise**2


@dataclass(frozen=True)
class MethodOf:
    """A model's method of a latent, equal for equal models; bound methods compare by identity."""

    model: Model
    name: str

    def __call__(self, *arguments: Any) -> Any:
        return getattr(self.model, self.name)(*arguments)


@dataclass(frozen=True)
class Truth:
    """The density that data are drawn from: a model at fixed parameters."""

    model: Model
    params: Params

    def simulate(self, key: Array) -> tuple[Array, Array]:
        """One datum."""
        return self.model.simulate(self.params, key)

    def entropy(self) -> float | None:
        """S of q(y|x) in nats per datum, None where unknown."""
        with jax.enable_x64(True):
            params = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), dict(self.params))
            entropy = jax.jit(self.model.entropy)(params)
            return None if entropy is None else float(entropy)


@dataclass(frozen=True, eq=False)
class Problem:
    """Watanabe's triplet with what is known about it.

    ``optimum`` is a minimiser w₀ of L in the model; ``truth`` defaults to the model at the
    optimum, which makes the problem realisable. ``theory`` is None where (λ, m) is unknown, and
    where its asymptote of F_n does not hold. Experiments that name no problems take those with
    ``showcase``. ``divergence`` is L(w₀) − S ≥ 0, the relative entropy from the truth to the
    model at w₀ in nats per datum, of a problem that is not realisable; None where it is unknown.
    ``optimal_set`` maps a key to one draw from W₀ = {w : L(w) = L(w₀)}, not necessarily from all
    of it, and is None where W₀ is unknown.
    """

    name: str
    model: Model
    optimum: Params
    theory: Theory | None = None
    truth: Truth | None = None
    summary: str = ""
    showcase: bool = True
    divergence: float | None = None
    optimal_set: Callable[[Array], Params] | None = None

    @property
    def realisable(self) -> bool:
        """Whether the truth lies in the model by construction."""
        return self.truth is None

    @property
    def entropy(self) -> float | None:
        """S of q(y|x) in nats per datum, None where unknown."""
        return self._true_density.entropy()

    @property
    def optimal_loss(self) -> float | None:
        """L(w₀) = S + divergence in nats per datum, S if realisable, None where unknown."""
        entropy = self.entropy
        divergence = 0.0 if self.realisable else self.divergence
        return None if entropy is None or divergence is None else entropy + divergence

    def simulate(self, key: Array) -> tuple[Array, Array]:
        """One datum from the truth."""
        return self._true_density.simulate(key)

    @property
    def _true_density(self) -> Truth:
        return self.truth or Truth(self.model, self.optimum)


def discover_problems() -> dict[str, Problem]:
    """All named problems, found by importing every file in ``slt_jax.models``.

    A file takes part by defining ``problems() -> tuple[Problem, ...]``. Raises ValueError if two
    problems share a name.
    """
    return dict(_discovered())


@functools.cache
def _discovered() -> dict[str, Problem]:
    """Found once, so that a problem is one constant to compiled functions."""
    package = importlib.import_module("slt_jax.models")
    found: dict[str, Problem] = {}
    for module_info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        module = importlib.import_module(f"slt_jax.models.{module_info.name}")
        for problem in module.problems():
            if problem.name in found:
                raise ValueError(f"two problems are called {problem.name!r}; names must be unique")
            found[problem.name] = problem
    return found
