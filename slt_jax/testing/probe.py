"""Data and points at which a problem is looked at, and its likelihoods there, in float64."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray
from numpyro.distributions import Distribution, constraints

from slt_jax.model import Model, Regression
from slt_jax.problem import Problem
from slt_jax.run.precision import in_default_precision
from slt_jax.statistics import Data, Params

Floats = NDArray[np.float64]
Limits = Mapping[str, float]

NUM_DATA = 10_000
NUM_DRAWS = 32
SCALES = (0.01, 0.1, 1.0)

# Programs that run once are compiled in the least time.
once = functools.partial(
    jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)


@once
def each(draw: Callable[[Array], Any], keys: Array) -> Any:
    """Apply a function of a key to many keys."""
    return jax.vmap(draw)(keys)


def draw_data(problem: Problem) -> Data:
    """Draw 10⁴ data of a problem in float64."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), NUM_DATA)
        drawn: Data = jax.tree.map(np.asarray, Data(*each(problem.simulate, keys)))
        return drawn


data_of = functools.cache(draw_data)


@functools.cache
def prior_draws(model: Model) -> Params:
    """Draw NUM_DRAWS times from the prior, leading axis [draw], in float64."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(1), NUM_DRAWS)
        drawn: Params = jax.tree.map(np.asarray, each(model.sample_prior, keys))
        return drawn


def points(problem: Problem, limits: Limits | None = None) -> dict[str, Any]:
    """Return w₀, then draws of the prior, and w₀ plus 0.01, 0.1 and 1 standard normals.

    There are NUM_DRAWS of each, in float64. Parameters stay within ``limits``, the largest moduli
    at which a model is meant to be accurate. Where the prior is not on the whole line only its
    draws are added to w₀.
    """
    rng, draws, stacked = np.random.default_rng(2), prior_draws(problem.model), {}
    scales = np.repeat((0.0, *SCALES), (1, *len(SCALES) * (NUM_DRAWS,)))
    everywhere = is_unconstrained(problem.model)
    for name, leaf in problem.optimum.items():
        noise = rng.standard_normal((len(scales), *np.shape(leaf)))
        around = np.asarray(leaf) + noise * scales.reshape(-1, *np.ndim(leaf) * (1,))
        parts = [around[:1], draws[name], *([around[1:]] if everywhere else [])]
        stacked[name] = np.concatenate(parts)
    for name, limit in (limits or {}).items():
        stacked[name] = np.clip(stacked[name], -limit, limit)
    return stacked


def is_unconstrained(model: Model) -> bool:
    """Say if every prior is on the whole line, and depends on no other parameter."""
    priors = model.priors().values()
    return all(isinstance(prior, Distribution) and is_real(prior.support) for prior in priors)


def is_real(support: Any) -> bool:
    """Say if a support of numpyro is the line, in any number of dimensions."""
    while isinstance(support, type(constraints.independent(constraints.real, 1))):
        support = support.base_constraint
    return bool(support is constraints.real)


@once
def evaluate_terms(model: Model, params: Params, data: Data) -> Array:
    """ℓ_i(w) of parameters with a leading axis, shape [point, n]."""
    return jax.vmap(jax.vmap(model.log_likelihood, (None, 0, 0)), (0, None, None))(params, *data)


def terms(problem: Problem, limits: Limits | None = None) -> Floats:
    """ℓ_i(w) at ``points``, shape [point, n], straight from ``log_likelihood`` in float64."""
    with jax.enable_x64(True):
        return np.asarray(evaluate_terms(problem.model, points(problem, limits), data_of(problem)))


@once
def evaluate_ratios(model: Model, params: Params, statistics: Any) -> Array:
    """``log_likelihood_ratio`` of parameters with a leading axis, shape [point]."""
    return jax.vmap(model.log_likelihood_ratio, (0, None))(params, statistics)


def ratios(problem: Problem, statistics: Any, params: Params) -> Floats:
    """``log_likelihood_ratio`` of parameters with a leading axis in float64, shape [point]."""
    with jax.enable_x64(True):
        return np.asarray(evaluate_ratios(problem.model, params, statistics))


@once
def evaluate_predictions(model: Regression, params: Params, x: Array) -> Array:
    """f(x_i, w) of parameters with a leading axis, shape [point, n, q]."""
    return jax.vmap(jax.vmap(model.predict, (None, 0)), (0, None))(params, x)


@once
def evaluate_along_y(model: Model, params: Params, x: Array, y: Array) -> Array:
    """Log p(y | x, w) at one x and many y, shape [point, y]."""
    over_y = jax.vmap(model.log_likelihood, (None, None, 0))
    return jax.vmap(over_y, (0, None, None))(params, x, y)


@once
def evaluate_posterior(model: Model, params: Params, statistics: Any) -> tuple[Array, Params]:
    """Ratio, and gradient of ratio and log prior, at each of the points."""

    def log_posterior(w: Params) -> Array:
        return model.log_likelihood_ratio(w, statistics) + model.log_prior(w)

    ratio = jax.vmap(model.log_likelihood_ratio, (0, None))(params, statistics)
    return ratio, jax.vmap(jax.grad(log_posterior))(params)


def losses(problem: Problem, params: Params, data: Data) -> Floats:
    """−ℓ_i(w) of parameters with a leading axis in float64, shape [point, n]."""
    with jax.enable_x64(True):
        params = in_default_precision(params)
        return -np.asarray(evaluate_terms(problem.model, params, data))


def is_discrete(values: Any) -> bool:
    """Say if all values are whole numbers, which no draw of a density is."""
    return bool(np.all(values == np.round(values)))
