"""The predictive densities of data under draws of a posterior, and what its figure shows."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from slt_jax.curves.jobs import unravelled
from slt_jax.data import in_doubles, real_weights
from slt_jax.estimators import LossAccumulator, LossMoments
from slt_jax.model import Model, Regression
from slt_jax.oracles.criteria import HeldOut
from slt_jax.problem import Problem, require_problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.precision import in_default_precision, in_float64
from slt_jax.shapes import datum_of
from slt_jax.statistics import Data
from slt_jax.validation import check_kind, real_array

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]


class TemperedEnergies(NamedTuple):
    """β(E_β[nL_n] − nL_n(w₀)) in nats at inverse temperatures ``beta``, with ``half_width``."""

    beta: Floats
    value: Floats
    half_width: Floats


class Predictions(NamedTuple):
    """Predictions at increasing scalar inputs ``x`` [N], and the data (x, y) [n] seen."""

    x: Floats
    predicted: xr.Dataset
    seen: tuple[Floats, Floats]


@in_float64
def predictive_moments(
    problem: Problem, data: Data, positions: Floats, beta: float, held_out: bool = False
) -> LossMoments:
    """Moments of ℓ_i(w) over draws [S, D, d] of a posterior at β, by run, in float64."""
    moments = _predictive(
        problem.model, jnp.asarray(positions), Data(*map(jnp.asarray, data)), beta, held_out
    )
    return moments.finalised()


def predictive(
    model: Model, positions: Array, data: Data, beta: Array | float, held_out: bool
) -> LossAccumulator:
    """Accumulate ℓ_i(w) of the data over draws [S, D, d], by run."""

    def add(moments: LossAccumulator, w: Array) -> tuple[LossAccumulator, None]:
        losses = jax.vmap(lambda one: model.log_likelihoods(unravelled(model, one), data))(w)
        return moments.updated(losses, 0), None

    empty = LossAccumulator.empty(len(positions), 1, len(data.y), beta, held_out)
    return jax.lax.scan(add, empty, jnp.swapaxes(positions, 0, 1))[0]


_predictive = jit_at_first_call(predictive, static_argnums=(0, 4))


@in_float64
def terms_at_optimum(problem: Problem, data: Data) -> Floats:
    """ℓ_i(w₀) [n] of data, in nats, in float64."""
    optimum = in_default_precision(problem.optimum)
    return np.asarray(problem.model.log_likelihoods(optimum, Data(*map(jnp.asarray, data))))


def relative_to(terms: Floats, moments: LossMoments) -> LossMoments:
    """Moments of ℓ_i(w) − ``terms`` [n] of held-out data, from those of ℓ_i(w)."""
    return moments._replace(log_means=moments.log_means - terms, means=moments.means - terms)


@in_float64
def pointwise_log_likelihood(problem: Problem, data: Data, positions: Floats) -> Floats:
    """ℓ_i(w) of the data [n] at draws or endpoints [..., d], shape [..., n], in nats."""
    flat = jnp.asarray(positions.reshape(-1, positions.shape[-1]))
    terms = _pointwise(problem.model, flat, Data(*map(jnp.asarray, data)))
    return np.asarray(terms).reshape(*positions.shape[:-1], -1)


def terms_of_draws(model: Model, positions: Array, data: Data) -> Array:
    """ℓ_i(w) at draws [K, d], shape [K, n]."""
    return jax.lax.map(lambda w: model.log_likelihoods(unravelled(model, w), data), positions)


@in_float64
def function_values(problem: Problem, positions: ArrayLike, x: ArrayLike) -> Floats:
    """Return f(x, w) of a regression at draws or endpoints [..., d] and inputs [N, ...].

    Shape [..., N, q], in float64: what a run or a draw is as a function, whatever its parameters.
    A classifier is the function P(y = c | x, w) = exp of ``pointwise_log_likelihood`` of
    ``Data(x, c)``. Raises ValueError for another problem, inputs and positions.

    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> function_values(problem, np.ones((2, 5, 3)), [[1.0, 2.0, 3.0]])[1, 4].tolist()
    [[6.0]]
    """
    require_problem(problem)
    if not isinstance(problem.model, Regression):
        raise ValueError(
            f"{problem.name}: function values need a regression; pointwise_log_likelihood gives "
            "the density of any (x, y)"
        )
    inputs = checked_inputs(problem, x)
    flat, shape = _flattened(problem, positions)
    values = np.asarray(_predict_each(problem.model, jnp.asarray(flat), jnp.asarray(inputs)))
    return values.reshape(*shape, len(inputs), -1)


def checked_inputs(problem: Problem, x: ArrayLike) -> Floats:
    """Return inputs [N, ...] that the model can have in float64, or raise a ValueError."""
    inputs: Any = np.asarray(x)
    outputs: Any = np.zeros((len(inputs) if inputs.ndim else 1, *datum_of(problem)[1].shape))
    return np.asarray(in_doubles(problem, Data(inputs, outputs)).x)


def predictions_of(model: Any, positions: Array, inputs: Array) -> Array:
    """Return f(x, w) at draws [K, d] and inputs [N, ...], shape [K, N, ...]."""

    def of_draw(w: Array) -> Array:
        return jax.vmap(functools.partial(model.predict, unravelled(model, w)))(inputs)

    return jax.lax.map(of_draw, positions)


@in_float64
def mean_losses(problem: Problem, positions: ArrayLike, points: Data | HeldOut) -> Floats:
    """Return −Σ_j weight_j ℓ_j(w) at draws or endpoints [..., d], nats per datum, shape [...].

    ``points`` are data, which weigh alike, or weighted points: with those of
    ``slt_jax.quadrature_points`` it is the population loss L(w). In float64; the memory does not
    grow with the number of positions. Raises ValueError as ``function_values``.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> data = slt.simulate(problem, jax.random.key(0), 10)
    >>> mean_losses(problem, np.zeros((4, 7, 3)), data).shape
    (4, 7)
    """
    require_problem(problem)
    check_kind("points", points, (Data, HeldOut), "Data(x, y), or HeldOut points")
    given, weights = points[:2] if isinstance(points, HeldOut) else (points, None)
    data = in_doubles(problem, given, "points", least=1)
    n = len(data.y)
    weights = np.ones(n) / n if weights is None else real_weights(weights, n, "points.weights")
    flat, shape = _flattened(problem, positions)
    arrays = (jnp.asarray(flat), Data(*map(jnp.asarray, data)), jnp.asarray(weights))
    return np.asarray(_mean_losses(problem.model, *arrays)).reshape(shape)


def mean_losses_of(model: Model, positions: Array, data: Data, weights: Array) -> Array:
    """Return −Σ_j weight_j ℓ_j(w) at draws [K, d], shape [K]."""

    def of_draw(w: Array) -> Array:
        return -jnp.sum(weights * model.log_likelihoods(unravelled(model, w), data))

    return jax.lax.map(of_draw, positions)


def _flattened(problem: Problem, positions: ArrayLike) -> tuple[Floats, tuple[int, ...]]:
    """Positions as [K, d], and their shape without d."""
    array = real_array("positions", positions)
    if array.shape[-1:] != (problem.model.dimension,):
        raise ValueError(
            f"positions have shape {array.shape}; allowed is [..., d] with "
            f"d = {problem.model.dimension}"
        )
    return array.reshape(-1, array.shape[-1]), array.shape[:-1]


_pointwise = jit_at_first_call(terms_of_draws, static_argnums=(0,))
_predict_each = jit_at_first_call(predictions_of, static_argnums=(0,))
_mean_losses = jit_at_first_call(mean_losses_of, static_argnums=(0,))
