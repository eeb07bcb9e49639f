"""One-input ReLU nets with one hidden layer: f(x) = Σ_h a_h relu(b_h x + c_h)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from slt_jax import theory
from slt_jax.model import FeatureRegression, Regression
from slt_jax.oracles.laws.box import normal_coordinate
from slt_jax.oracles.laws.breakpoints import BreakpointsLatent
from slt_jax.oracles.laws.halves import HalvesLatent
from slt_jax.oracles.laws.units import UnitsLatent
from slt_jax.oracles.structures import Collapse, LinearBlock
from slt_jax.problem import Problem
from slt_jax.statistics import Data, Params
from slt_jax.validation import Positive, Size


@dataclass(frozen=True, kw_only=True)
class ReluNet(FeatureRegression):
    """A ReLU net without biases, which is a function of two slopes.

    f(x) = Σ_{h≤H} a_h relu(b_h x), all parameters N(0, prior_scale²).
    relu(bx) = relu(b) relu(x) + relu(−b) relu(−x), so f is linear in two features at any H.
    x ~ N(0, 1), or U[−1, 1] with ``uniform_input``.
    """

    hidden_dim: Size = 1
    prior_scale: Positive = 1.0
    uniform_input: bool = False

    def priors(self) -> dict[str, dist.Distribution]:
        weight = dist.Normal(0.0, self.prior_scale).expand((self.hidden_dim,))
        return {"a": weight, "b": weight}

    def sample_input(self, key: Array) -> Array:
        return _sample_input(key, self.uniform_input)

    def features(self, x: Array) -> Array:
        return _halves(x)

    def coefficients(self, params: Params) -> Array:
        return jnp.sum(params["a"] * _halves(params["b"]), axis=1, keepdims=True)

    def predict(self, params: Params, x: Array) -> Array:
        return jnp.sum(params["a"] * jax.nn.relu(params["b"] * x), keepdims=True)

    def exact(self, optimum: Params) -> Collapse:
        """Given b, the two coefficients are independent normals: any H is two dimensions."""
        return Collapse(HalvesLatent(self.hidden_dim, self.prior_scale), self.prior_scale)

    def basis(self, latent: Array) -> Array:
        return jnp.diag(latent)


def _halves(values: Array) -> Array:
    """Stack relu(v) and relu(−v) on a new first axis."""
    return jax.nn.relu(jnp.stack([values, -values]))


def _sample_input(key: Array, uniform: bool) -> Array:
    if uniform:
        return jax.random.uniform(key, (), minval=-1.0, maxval=1.0)
    return jax.random.normal(key, ())


class SortedStatistics(NamedTuple):
    """Weighted data on one input, sorted, as sums over the first k of them for every k.

    ``x`` [n]; ``moments`` [n + 1, 2, 5] = Σ_{i<k} a_i (1, x_i, x_i², r_i, x_i r_i) with
    r_i = y_i − f(x_i, w₀), each as a float32 number and the remainder, to be multiplied by
    ``beta``; ``optimum`` = w₀; ``log_likelihood_at_optimum`` = Σ a_i ℓ_i(w₀) in total nats.
    """

    x: Array
    moments: Array
    optimum: Params
    beta: Array
    log_likelihood_at_optimum: Array

    @property
    def weights(self) -> Array:
        """The weights a_i [n] of the sorted data, 0 for padding."""
        return self.beta * jnp.diff(jnp.sum(self.moments[:, :, 0], axis=1))

    def between(self, low: Array, high: Array) -> Array:
        """Return sums [..., 5] over the sorted data from ``low`` up to ``high``, or 0."""
        highest = self.moments[jnp.maximum(low, high)]
        return self.beta * (highest - self.moments[low]).sum(axis=-2)

    def scaled(self, beta: Array | float) -> "SortedStatistics":
        """Multiply every weight by β, without touching sums whose parts would be rounded."""
        return self._replace(
            beta=beta * self.beta, log_likelihood_at_optimum=beta * self.log_likelihood_at_optimum
        )


@dataclass(frozen=True, kw_only=True)
class BiasedReluNet(Regression):
    """A ReLU net with biases, whose likelihood is a sum over few pieces of sorted data.

    f(x) = Σ_{h≤H} a_h relu(b_h x + c_h), all parameters N(0, prior_scale²).
    δ = f(·, w) − f(·, w₀) is a line αx + γ between breakpoints, at most 2H of them, so that

        Σ a_i(ℓ_i(w) − ℓ_i(w₀)) = −(1/2σ²) Σ_pieces Σ_i a_i (δ_i² − 2δ_i r_i)

    needs only the moments of ``SortedStatistics`` on each piece, which are differences of sums
    over the beginning of sorted data: O(H log n + H²) for a likelihood and its gradient.
    x ~ N(0, 1), or U[−1, 1] with ``uniform_input``.
    """

    hidden_dim: Size = 2
    prior_scale: Positive = 1.0
    uniform_input: bool = False

    def priors(self) -> dict[str, dist.Distribution]:
        weight = dist.Normal(0.0, self.prior_scale).expand((self.hidden_dim,))
        return {"a": weight, "b": weight, "c": weight}

    def sample_input(self, key: Array) -> Array:
        return _sample_input(key, self.uniform_input)

    def predict(self, params: Params, x: Array) -> Array:
        hidden = jax.nn.relu(params["b"] * x + params["c"])
        return jnp.sum(params["a"] * hidden, keepdims=True)

    def exact(self, optimum: Params) -> LinearBlock | None:
        """Outputs are collapsed; what is left of one unit are its length and angle, and of two
        their weights."""
        a, b, c = (np.asarray(optimum[name], float) for name in "abc")
        law: BreakpointsLatent | UnitsLatent
        if self.hidden_dim == 1:
            true = np.arctan2(c, b)[a * np.hypot(b, c) != 0]
            angles = tuple(map(float, true))
            law = BreakpointsLatent(bias=True, scale=self.prior_scale, angles=angles)
        elif self.hidden_dim == 2:
            coordinates = tuple(normal_coordinate(self.prior_scale, true) for true in (b, c))
            law = UnitsLatent(coordinates, num_units=2)
        else:
            return None
        return LinearBlock(law, self.prior_scale, has_sums=True)

    def design(self, latent: Array, x: Array) -> Array:
        b, c = latent.reshape(-1, 2).T
        return jax.nn.relu(b * x + c)

    def design_sums(
        self, latent: Array, statistics: SortedStatistics
    ) -> tuple[Array, Array, Array]:
        """A pair of units is a product of two lines where both are active."""
        b, c = latent.reshape(-1, 2).T
        units = _Units.of(b, c, statistics)
        a, b, c = (statistics.optimum[name] for name in "abc")
        true = _Units.of(b, c, statistics)
        cross = jnp.sum(units.products(true, statistics) * a, axis=1) + units.residuals(statistics)
        squares = jnp.sum(true.products(true, statistics) * jnp.outer(a, a))
        squares += 2 * jnp.sum(a * true.residuals(statistics))
        return units.products(units, statistics), cross[:, None], squares

    def statistics(self, optimum: Params, data: Data, weights: Array) -> SortedStatistics:
        order = jnp.argsort(data.x)
        x, y, weights = data.x[order], data.y[order], weights[order]
        residuals = (y - jax.vmap(self.predict, (None, 0))(optimum, x))[:, 0]
        terms = jax.vmap(self.log_likelihood, (None, 0, 0))(optimum, x, y)
        rows = jnp.stack([jnp.ones_like(x), x, x**2, residuals, x * residuals])
        sums = jnp.pad(jnp.cumsum(weights * rows, axis=1), ((0, 0), (1, 0))).T
        # Float32 sums of a million data would round a piece's share of them to 0.1; with the
        # remainder apart, the difference of two sums is good to seven digits of itself.
        rounded = sums.astype(jnp.float32).astype(sums.dtype)
        return SortedStatistics(
            x=x,
            moments=jnp.stack([rounded, sums - rounded], axis=1),
            optimum=optimum,
            beta=jnp.ones((), sums.dtype),
            log_likelihood_at_optimum=jnp.sum(weights * terms),
        )

    def log_likelihood_ratio(self, params: Params, statistics: SortedStatistics) -> Array:
        breakpoints, optimal_breakpoints = (
            _breakpoints(w, statistics.x) for w in (params, statistics.optimum)
        )
        ends = jnp.array([0, len(statistics.x)], breakpoints.dtype)
        edges = jnp.sort(jnp.concatenate([ends, breakpoints, optimal_breakpoints]))
        slope, intercept = (
            here - there
            for here, there in zip(
                _lines(params, breakpoints, edges),
                _lines(statistics.optimum, optimal_breakpoints, edges),
                strict=True,
            )
        )
        count, x, x_squared, r, x_r = jnp.diff(statistics.moments[edges], axis=0).sum(axis=1).T
        squares = slope**2 * x_squared + 2 * slope * intercept * x + intercept**2 * count
        total = jnp.sum(squares - 2 * (slope * x_r + intercept * r))
        return -0.5 * statistics.beta * total / self.noise**2


class _Units(NamedTuple):
    """Units relu(bx + c), b and c [H], with the range of sorted data on which each is active."""

    b: Array
    c: Array
    first: Array
    last: Array

    @classmethod
    def of(cls, b: Array, c: Array, statistics: SortedStatistics) -> "_Units":
        """Find the range of the units with weights b and c [H]."""
        breakpoints = _breakpoints({"b": b, "c": c}, statistics.x)
        first = jnp.where(b > 0, breakpoints, 0)
        everywhere = jnp.where((b > 0) | (c > 0), len(statistics.x), 0)
        last = jnp.where(b < 0, breakpoints, everywhere)
        return cls(b, c, first, last)

    def products(self, other: "_Units", statistics: SortedStatistics) -> Array:
        """Return Σ a_i u_g(x_i) v_h(x_i) [G, H] for units u and v."""
        b, c, first, last = (values[:, None] for values in self)
        sums = statistics.between(jnp.maximum(first, other.first), jnp.minimum(last, other.last))
        count, x, x_squared, _, _ = jnp.moveaxis(sums, -1, 0)
        return b * other.b * x_squared + (b * other.c + c * other.b) * x + c * other.c * count

    def residuals(self, statistics: SortedStatistics) -> Array:
        """Return Σ a_i u_g(x_i) r_i [G]."""
        _, _, _, r, x_r = statistics.between(self.first, self.last).T
        return self.b * x_r + self.c * r


def _breakpoints(params: Params, x: Array) -> Array:
    """Count the sorted data on the left of each unit's breakpoint, [H]; any number without one.

    A datum exactly at a breakpoint may be on either side: the net is the same, and the derivative
    one of its two.
    """
    b, c = (jax.lax.stop_gradient(params[name]) for name in "bc")
    return jnp.searchsorted(x, -c / jnp.where(b == 0, 1, b))


def _lines(params: Params, breakpoints: Array, edges: Array) -> tuple[Array, Array]:
    """Return slope and intercept of the net on each piece [P] of data between P + 1 ``edges``."""
    a, b, c = (params[name] for name in "abc")
    starts, stops = edges[:-1, None], edges[1:, None]
    off = jnp.where(b > 0, starts < breakpoints, (b < 0) & (breakpoints < stops)) | (
        (b == 0) & (c <= 0)
    )
    # A sum, not a matrix product: accelerators round the factors of those to ten bits.
    slope, intercept = (jnp.sum(jnp.where(off, 0, a * weight), axis=1) for weight in (b, c))
    return slope, intercept


def with_teacher(
    name: str,
    model: ReluNet | BiasedReluNet,
    known: theory.Theory | None,
    title: str,
    **teacher: Sequence[float],
) -> Problem:
    """Return the problem whose truth is the net of the units given as ``a``, ``b`` and ``c``.

    The other units of the optimum are zero; with none given the truth is the zero function. Raises
    ValueError for parameters that the model does not have, for parameters of different lengths,
    and for more units than the model has.
    """
    optimum = {parameter: np.zeros(model.hidden_dim) for parameter in model.priors()}
    units = {len(values) for values in teacher.values()} or {0}
    if not (set(teacher) <= set(optimum) and len(units) == 1 and max(units) <= model.hidden_dim):
        raise ValueError(
            f"teacher {teacher}: {', '.join(optimum)} must be of one length, "
            f"at most {model.hidden_dim}"
        )
    for parameter, values in teacher.items():
        optimum[parameter][: len(values)] = values
    return Problem(name, model, optimum, known, title=title, showcase=False)


def problems() -> tuple[Problem, ...]:
    """Return truth 0 and a teacher without biases, and a true unit learnt by two with biases."""
    return (
        *(
            with_teacher(
                f"relu_{hidden_dim}",
                ReluNet(hidden_dim=hidden_dim),
                theory.relu_zero_truth(hidden_dim),
                f"ReLU net without biases, {units}, truth 0",
            )
            for hidden_dim, units in ((1, "1 hidden unit"), (2, "2 hidden units"))
        ),
        with_teacher(
            "relu_4_teacher_2",
            ReluNet(hidden_dim=4),
            theory.relu_slopes(4, 2),
            "ReLU net without biases, 4 hidden units, 2 in the truth",
            a=(1.0, 0.5),
            b=(1.0, -2.0),
        ),
        with_teacher(
            "relu_biased_2_teacher_1",
            BiasedReluNet(hidden_dim=2),
            None,
            "ReLU net with biases, 2 hidden units, 1 in the truth",
            a=(1.0,),
            b=(1.0,),
            c=(-0.5,),
        ),
    )
