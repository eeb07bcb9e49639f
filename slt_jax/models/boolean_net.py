"""Nets of any depth that classify Boolean vectors, by a logistic or a softmax output."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

from slt_jax import theory
from slt_jax.model import Model, Support, class_log_probability
from slt_jax.problem import Problem
from slt_jax.statistics import Data, Params
from slt_jax.validation import Count, OrMore, Positive


class CountStatistics(NamedTuple):
    """Weighted counts of labelled inputs, all that classification of finitely many inputs needs.

    ``totals`` [2^k] = Σ_i a_i [x_i = x]; ``excess`` [2^k, C] = Σ_i a_i [x_i = x]([y_i = c] −
    P(c | x, w₀)); ``optimum`` = w₀; ``log_likelihood_at_optimum`` = Σ_i a_i ℓ_i(w₀) in total nats.
    """

    totals: Array
    excess: Array
    optimum: Params
    log_likelihood_at_optimum: Array

    @property
    def total_weight(self) -> Array:
        """Σ_i a_i, the number of data when every weight is one."""
        return jnp.sum(self.totals, axis=-1)

    def scaled(self, beta: Array | float) -> "CountStatistics":
        """Every weight multiplied by β."""
        return self._replace(
            totals=beta * self.totals,
            excess=beta * self.excess,
            log_likelihood_at_optimum=beta * self.log_likelihood_at_optimum,
        )


class _Signs(constraints.ParameterFreeConstraint):  # type: ignore[misc] # numpyro has no types
    is_discrete = True

    def __call__(self, x: Any) -> Any:
        return abs(x) == 1

    def __repr__(self) -> str:
        return "−1 or 1"


@dataclass(frozen=True, kw_only=True)
class BooleanNet(Model):
    """P(y = c | x) = softmax_c(W_L σ(…σ(W_1 x + b_1)…) + b_L), x uniform on {−1, 1}^k.

    ``widths`` [L + 1] go from k inputs to C classes, and C = 1 is logistic: P(y = 1 | x) is
    1/(1 + e^{−f}). Layer s is ``W{s}`` [widths[s], widths[s − 1]] and ``b{s}`` [widths[s]], all
    N(0, prior_scale²). Inputs are {0, 1}^k unless ``signed``; y [] is the class as a float. Data
    enter by 2^k·C counts, so the cost of a likelihood does not depend on n: with p₀ = P(c | x, w₀)
    and δ [2^k, C] the differences of the logits to those of w₀,

        Σ a_i(ℓ_i(w) − ℓ_i(w₀)) = Σ_x (Σ_c excess·δ − totals·KL(x)),
        KL(x) = log Σ_c p₀e^δ − Σ_c p₀δ.
    """

    widths: Annotated[tuple[Count, ...], OrMore(2)] = (3, 2, 1)
    activation: Literal["tanh", "relu"] = "tanh"
    signed: bool = True
    prior_scale: Positive = 1.0

    statistics_are_additive: ClassVar[bool] = True

    @property
    def num_classes(self) -> int:
        """C, which is 2 for a logistic output."""
        return max(2, self.widths[-1])

    def priors(self) -> dict[str, dist.Distribution]:
        weight = dist.Normal(0.0, self.prior_scale)
        layers = range(1, len(self.widths))
        matrices = {f"W{s}": weight.expand((self.widths[s], self.widths[s - 1])) for s in layers}
        return matrices | {f"b{s}": weight.expand((self.widths[s],)) for s in layers}

    def support(self) -> Support:
        cube = _Signs() if self.signed else constraints.boolean
        return Support(cube, constraints.integer_interval(0, self.num_classes - 1))

    def inputs(self) -> np.ndarray:
        """All 2^k inputs [2^k, k]; the last coordinate changes fastest."""
        bits = np.indices(self.widths[0] * (2,)).reshape(self.widths[0], -1).T
        return 2.0 * bits - 1 if self.signed else 1.0 * bits

    def logits(self, params: Params, x: Array) -> Array:
        """Logits of all classes, shape [C]; a logistic output is the second of two."""
        sigma = jnp.tanh if self.activation == "tanh" else jax.nn.relu
        hidden = x
        for s in range(1, len(self.widths)):
            before = hidden if s == 1 else sigma(hidden)
            hidden = jnp.einsum("oi,i->o", params[f"W{s}"], before) + params[f"b{s}"]
        return hidden if len(hidden) > 1 else jnp.concatenate([jnp.zeros_like(hidden), hidden])

    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        return class_log_probability(self.logits(params, x), y)

    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        key_x, key_y = jax.random.split(key)
        inputs = jnp.asarray(self.inputs(), jnp.zeros(()).dtype)
        x = inputs[jax.random.randint(key_x, (), 0, len(inputs))]
        y = jax.random.categorical(key_y, self.logits(params, x))
        return x, y.astype(x.dtype)

    def entropy(self, params: Params) -> Array:
        logs = jax.nn.log_softmax(self._table(params))
        return -jnp.mean(jnp.sum(jnp.exp(logs) * logs, axis=1))

    def statistics(self, optimum: Params, data: Data, weights: Array) -> CountStatistics:
        index = (data.x > 0).astype(int) @ (2 ** np.arange(self.widths[0])[::-1])
        logs = jax.nn.log_softmax(self._table(optimum))
        counts = jnp.zeros_like(logs).at[index, data.y.astype(int)].add(weights)
        totals = jnp.sum(counts, axis=1)
        excess = counts - totals[:, None] * jnp.exp(logs)
        return CountStatistics(totals, excess, optimum, jnp.sum(counts * logs))

    def log_likelihood_ratio(self, params: Params, statistics: CountStatistics) -> Array:
        table = self._table(statistics.optimum)
        logs, delta = jax.nn.log_softmax(table), self._table(params) - table
        means = jnp.sum(jnp.exp(logs) * delta, axis=1, keepdims=True)
        spread = delta - means
        # Data that share an input share the rounding of its KL, which must vanish with δ.
        near = jnp.max(jnp.abs(spread), axis=1) < 1
        small = jnp.where(near[:, None], spread, 0.0)
        kl = jnp.where(
            near,
            jnp.log1p(jnp.sum(jnp.exp(logs) * (jnp.expm1(small) - small), axis=1)),
            jax.nn.logsumexp(logs + spread, axis=1),
        )
        return jnp.sum(statistics.excess * spread) - jnp.sum(statistics.totals * kl)

    def _table(self, params: Params) -> Array:
        """Logits of all inputs and classes, shape [2^k, C]."""
        inputs = jnp.asarray(self.inputs(), jnp.result_type(*params.values()))
        return jax.vmap(functools.partial(self.logits, params))(inputs)


def _problem(
    name: str,
    widths: tuple[int, ...],
    title: str,
    known: theory.Theory | None = None,
    **teacher: Sequence[object],
) -> Problem:
    model = BooleanNet(widths=widths)
    optimum = {parameter: np.zeros(prior.shape()) for parameter, prior in model.priors().items()}
    return Problem(
        name,
        model,
        optimum | {parameter: np.array(values, float) for parameter, values in teacher.items()},
        known,
        title=title,
        showcase=False,
    )


def problems() -> tuple[Problem, ...]:
    """A net that computes parity of two inputs, logistic regression, and three classes."""
    return (
        _problem(
            "boolean_parity",
            (2, 2, 1),
            "tanh net on {−1, 1}², noisy parity as truth",
            W1=[[1.0, 1.0], [1.0, 1.0]],
            b1=[1.0, -1.0],
            W2=[[2.0, -2.0]],
            b2=[-1.5],
        ),
        _problem(
            "boolean_logistic",
            (3, 1),
            "logistic regression on {−1, 1}³ (regular)",
            theory.regular(4),
            W1=[[1.0, -1.0, 0.0]],
            b1=[0.5],
        ),
        _problem("boolean_softmax", (2, 2, 3), "tanh net on {−1, 1}², 3 classes, truth uniform"),
    )
