"""A reference point for data of which no true parameters are known: the best posterior mode."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.curves.jobs import target_of, unravelled
from slt_jax.data import in_doubles
from slt_jax.model import Model
from slt_jax.problem import Problem, require_problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.precision import in_float64
from slt_jax.samplers.mode import posterior_mode
from slt_jax.statistics import Data
from slt_jax.validation import check_kind

STARTS = 16
PRIOR_DRAWS = 64
MOST_STEPS = 1000


@in_float64
def with_reference(problem: Problem, data: Data) -> Problem:
    """Return a problem whose optimum is, if it has none, the best posterior mode of the data.

    The mode is that of log φ(w) + Σ_i ℓ_i(w) in real coordinates (``slt_jax/priors.py``). Of 64
    draws from the prior the best 16 start Adam, and the best end is refined by L-BFGS. It depends
    on the model and the data alone. Statistics of the data are relative to nL_n of this point, and
    so is λ̂, while differences between free energies of the same data are not. Raises ValueError
    for data that ``validate_data`` refuses, and where their likelihood is zero at all draws.

    >>> import numpy as np
    >>> import slt_jax as slt
    >>> from slt_jax.models.linear import LinearRegression
    >>> data = slt.Data(np.ones((100, 1)), np.full((100, 1), 2.0))
    >>> problem = slt.with_reference(slt.Problem("own", LinearRegression(input_dim=1)), data)
    >>> problem.optimum["w"].round(3), problem.optimum_is_fitted  # 100 data against a prior N(0, 1)
    (array([1.98]), True)
    """
    require_problem(problem)
    check_kind("data", data, Data, "Data(x, y)")
    if problem.optimum:
        return problem
    data = Data(*map(jnp.asarray, in_doubles(problem, data)))
    model = problem.model
    draws, scores = map(np.asarray, _prior_scores(model, data))
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf, posinf=-np.inf))[:STARTS]
    if not np.isfinite(scores[order[0]]):
        raise ValueError(
            f"{problem.name}: the likelihood of the data is zero at all of {PRIOR_DRAWS} draws of "
            "the prior; give the problem an optimum"
        )
    ends, values = map(np.asarray, _ends(model, data, jnp.asarray(draws[order])))
    best = ends[np.nanargmin(np.where(np.isfinite(values), values, np.inf))]
    mode = _refined(lambda w: _value_and_slope(model, data, w, draws[order[0]]), best)
    params = jax.tree.map(np.asarray, dict(unravelled(model, jnp.asarray(mode))))
    return dataclasses.replace(problem, optimum=params, optimum_is_fitted=True)


def _scores(model: Model, data: Data) -> tuple[Array, Array]:
    """Draws of the prior [N, d] and log φ + Σ ℓ_i of each, total nats."""
    target, weights = target_of(model), jnp.ones(len(data.y))

    def one(key: Array) -> tuple[Array, Array]:
        w = target.sample_prior(key)
        statistics = model.statistics(unravelled(model, w), data, weights)
        return w, target.log_prior(w) + statistics.log_likelihood_at_optimum

    return jax.lax.map(one, jax.random.split(jax.random.key(0), PRIOR_DRAWS))


def _objective(model: Model, data: Data, origin: Array) -> tuple[Callable[[Array], Array], Any]:
    """−log φ − Σ(ℓ_i(w) − ℓ_i(origin)) of w [d], total nats, with the statistics at the origin."""
    target = target_of(model)
    statistics = model.statistics(unravelled(model, origin), data, jnp.ones(len(data.y)))
    return lambda w: -target.log_prior(w) - target.log_likelihood(w, statistics), statistics


def _modes(model: Model, data: Data, starts: Array) -> tuple[Array, Array]:
    """The ends of Adam from each of the starts [S, d], and the objective there."""
    objective, statistics = _objective(model, data, starts[0])
    ends = jax.vmap(lambda start: posterior_mode(target_of(model), statistics, start))(starts)
    return ends, jax.vmap(objective)(ends)


def _slope(model: Model, data: Data, w: Array, origin: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(_objective(model, data, origin)[0])(w)


_prior_scores = jit_at_first_call(_scores, static_argnums=(0,))
_ends = jit_at_first_call(_modes, static_argnums=(0,))
_value_and_slope = jit_at_first_call(_slope, static_argnums=(0,))


def _refined(value_and_slope: Callable[[Any], Any], start: np.ndarray) -> np.ndarray:
    """Go downhill by L-BFGS as far as that lowers the objective."""

    from scipy.optimize import minimize

    def evaluate(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = value_and_slope(w)
        return float(value), np.asarray(slope)

    found = minimize(
        evaluate, start, jac=True, method="L-BFGS-B",
        options={"maxiter": MOST_STEPS, "ftol": 1e-15, "gtol": 1e-8},
    )  # fmt: skip
    is_better = np.all(np.isfinite(found.x)) and found.fun <= evaluate(start)[0]
    return found.x if is_better else start
