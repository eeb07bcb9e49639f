"""The predictive densities of data under draws of a posterior, and what its figure shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from slt_jax.curves.jobs import unravelled
from slt_jax.estimators import LossAccumulator, LossMoments
from slt_jax.model import Model
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.precision import in_default_precision, in_float64
from slt_jax.statistics import Data

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
    """ℓ_i(w) of the data [n] at draws [chain, draw, d], shape [chain, draw, n], in nats."""
    flat = jnp.asarray(positions.reshape(-1, positions.shape[-1]))
    terms = _pointwise(problem.model, flat, Data(*map(jnp.asarray, data)))
    return np.asarray(terms).reshape(*positions.shape[:2], -1)


def terms_of_draws(model: Model, positions: Array, data: Data) -> Array:
    """ℓ_i(w) at draws [K, d], shape [K, n]."""
    return jax.lax.map(lambda w: model.log_likelihoods(unravelled(model, w), data), positions)


_pointwise = jit_at_first_call(terms_of_draws, static_argnums=(0,))
